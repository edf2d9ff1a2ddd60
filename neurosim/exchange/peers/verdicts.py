"""What a conversion keeps of each layer: the same arithmetic, the same up to rounding, or nothing."""

from __future__ import annotations

import contextvars
import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from neurosim.exchange.peers.errors import ConversionError
from neurosim.network import Network


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of one layer.

    Attributes
    ----------
    layer : str
        Its name in messages.
    verdict : {"exact", "bounded", "refused"}
        Exact: the same arithmetic, up to the order in which a product adds its terms. Bounded: equal up to rounding, so
        that a spike may differ where a membrane is within rounding of the threshold.
    result : str
        Classes of the synapses and names of the nodes that it became.
    note : str
        What rounds, what differs in training, or the reason of a refusal.
    """

    layer: str
    verdict: Literal["exact", "bounded", "refused"]
    result: str = ""
    note: str = ""

    def __str__(self) -> str:
        """Return one line."""
        result = f" -> {self.result}" if self.result else ""
        note = f" ({self.note})" if self.note and self.verdict != "refused" else f": {self.note}" if self.note else ""
        return f"{self.verdict:8}{self.layer}{result}{note}"


@dataclasses.dataclass(frozen=True)
class Conversion:
    """The verdicts of all layers, in the order in which they are called.

    Attributes
    ----------
    verdicts : tuple of Verdict
    network : Network or None
        None where a layer was refused.
    """

    verdicts: tuple[Verdict, ...]
    network: Network | None

    @property
    def refused(self) -> tuple[Verdict, ...]:
        """The layers without an equivalent."""
        return tuple(one for one in self.verdicts if one.verdict == "refused")

    @property
    def is_exact(self) -> bool:
        """Whether every layer keeps its arithmetic."""
        return self.network is not None and all(one.verdict == "exact" for one in self.verdicts)

    def __str__(self) -> str:
        """Return one line for each layer."""
        return "\n".join(map(str, self.verdicts))


_log: contextvars.ContextVar[list[Verdict] | None] = contextvars.ContextVar("verdicts of a conversion", default=None)


def examine(convert: Callable[..., Network], module: Any, **arguments: Any) -> Conversion:
    """Convert a module and say for each layer whether the result is exact, bounded or refused.

    Parameters
    ----------
    convert : callable
        `from_snntorch`, `from_norse`, `from_spikingjelly`, `from_sinabs`, `from_rockpool` or `from_slayer`.
    module : nn.Module or list of nn.Module
    **arguments
        Other arguments of `convert`.

    Returns
    -------
    Conversion
        With the network if no layer was refused. Layers behind a refused one are read too, for an input of the shape
        that a call of the refused one gives.

    Examples
    --------
    >>> import torch, snntorch
    >>> from neurosim.exchange.peers import examine, from_snntorch
    >>> theirs = [torch.nn.Linear(4, 3), snntorch.Leaky(beta=0.5), torch.nn.Softmax(1), torch.nn.Linear(3, 2)]
    >>> print(examine(from_snntorch, theirs, dt=1e-3))
    exact   layer '0' (Linear) -> Linear
    bounded layer '1' (Leaky) -> lif1 (subtracts after the decay, in neurosim before it)
    refused layer '2' (Softmax): is no layer of torch or snnTorch that is converted. ...
    exact   layer '3' (Linear) -> Linear
    """
    found: list[Verdict] = []
    token = _log.set(found)
    network = None
    try:
        network = convert(module, **arguments)
    except ConversionError as error:
        if not any(one.verdict == "refused" for one in found):
            where, _, why = str(error).partition(": ")
            found.append(Verdict(where if why else "network", "refused", note=why or where))
    finally:
        _log.reset(token)
    return Conversion(tuple(found), None if any(one.verdict == "refused" for one in found) else network)


def log() -> list[Verdict] | None:
    """Return the list that verdicts are added to, where a conversion is examined."""
    return _log.get()
