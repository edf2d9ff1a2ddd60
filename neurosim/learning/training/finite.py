"""Checks that losses and gradients are finite; on CUDA the host does not wait for them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neurosim.errors import InputError

AHEAD = 8  # steps by which the host may be ahead of what it has seen

_KEPT = "Checkpoints written so far are kept."


class FiniteChecks:
    """Checks of one run, in the order of its steps.

    On CUDA the values of a step are copied to the host behind its work, and read when they are there: at a later step,
    or by `finish`. The host waits only if it is more than `AHEAD` steps ahead.

    Parameters
    ----------
    net : Module
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self._sent: deque[_Sent] = deque()

    def add(self, place: str, **values: Tensor) -> None:
        """Check values of no axes, such as a loss; `place` begins the error message.

        Raises
        ------
        InputError
            If one of these, or of an earlier step, is NaN or infinite.
        """
        if not is_late(next(iter(values.values())).device):
            check_finite(place, self.net, **{name: float(value) for name, value in values.items()})
            return
        self._sent.append(_send(place, values))
        while self._sent and (len(self._sent) > AHEAD or self._sent[0].is_there()):
            self._look(self._sent.popleft())

    def finish(self) -> None:
        """Check what is left; waits for it."""
        while self._sent:
            self._look(self._sent.popleft())

    def _look(self, sent: _Sent) -> None:
        sent.wait()
        for name, value in zip(sent.names, sent.values.tolist(), strict=True):
            if not math.isfinite(value):
                where = "x holds NaN or infinity" if name == "x" else f"the {name} is {value}"
                raise InputError(
                    f"{sent.place}: {where}. On CUDA this is seen after the step, so the parameters may no longer be "
                    "finite: start from an earlier checkpoint, with finite data (torch.nan_to_num), a lower learning "
                    f"rate, a clipped gradient (clip=1.0), or a surrogate with a smaller slope. {_KEPT}"
                )


class _Sent(NamedTuple):
    """Values on their way to the host."""

    place: str
    names: Sequence[str]
    values: Tensor
    event: Any

    def is_there(self) -> bool:
        return bool(self.event.query())

    def wait(self) -> None:
        self.event.synchronize()


def is_late(device: torch.device) -> bool:
    """Return whether values on `device` are read later than they are computed."""
    return device.type == "cuda"


def _send(place: str, values: dict[str, Tensor]) -> _Sent:
    together = torch.stack([value.detach().double() for value in values.values()])
    host = torch.empty(together.shape, dtype=together.dtype, pin_memory=True)
    host.copy_(together, non_blocking=True)
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(together.device))
    return _Sent(place, tuple(values), host, event)


def check_finite(place: str, net: nn.Module, **values: float) -> None:
    """Raise for a loss or gradient that is NaN or infinite, with the most likely cause."""
    for name, value in values.items():
        if math.isfinite(value):
            continue
        if not all(torch.isfinite(parameter).all() for parameter in net.parameters()):
            cause = "Parameters of the network are no longer finite: start from an earlier checkpoint."
        else:
            cause = "Lower the learning rate, clip the gradient (clip=1.0), or use a surrogate with a smaller slope."
        raise InputError(f"{place}: the {name} is {value}. {cause} {_KEPT}")
