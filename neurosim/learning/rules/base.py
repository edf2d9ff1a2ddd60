"""Learning rules: how gradients are computed, through all of time (BPTT) or step by step (SLTT).

A rule is a frozen value with one method, `gradients`, which adds the gradients of one batch to `.grad`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.learning.losses.base import Loss, Steps, check_per_step
from neurosim.network.graph import NetworkState
from neurosim.synapses.dropout import Masks, shared_masks

Backward = Callable[[Tensor], Any]


class Forward(Protocol):
    """A network as rules call it: input and state in, output and state out."""

    def __call__(self, x: Tensor, state: NetworkState | None = None, **choices: Any) -> tuple[Tensor, NetworkState]:
        """Run `x` [T, B, ...] from `state`; `choices` are those of `Network.forward`."""
        ...


class Rule(ABC):
    """How the gradients of one batch are computed."""

    @abstractmethod
    def gradients(
        self,
        net: Forward,
        x: Tensor,
        target: Tensor,
        loss: Loss,
        generator: torch.Generator | None = None,
        *,
        backward: Backward = torch.Tensor.backward,
    ) -> tuple[Tensor, Tensor]:
        """Add the gradients of `loss(net(x), target)` to `.grad` of the parameters.

        Parameters
        ----------
        net : Network
            Called as `net(x, state, through_time=...)`.
        x : Tensor
            Input [T, B, ...].
        target : Tensor
            Classes [B], int64, or what the loss takes: [B, ...], or [B, T, ...] with a value for each step.
        loss : Loss
            One of `neurosim.learning.losses`, or a subclass of `Loss`.
        generator : torch.Generator, optional
            Source of random choices, for rules that make any; torch's global generator by default.
        backward : callable
            Called on the scalar loss; `fit` passes its gradient scaler for half precision here.

        Returns
        -------
        value : Tensor
            The loss, mean over all steps and samples, detached.
        output : Tensor
            The network's output [T, B, ...], detached.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what the rule keeps from batch to batch, as plain data for the checkpoints of `fit`."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of `state_dict`, or raise before anything changes."""
        if state:
            raise InputError(f"{self!r} keeps nothing from batch to batch; got {list(state)}.")


@dataclass(frozen=True)
class BPTT(Rule):
    """Backpropagation through time: the exact gradient of the surrogate model.

    Memory is proportional to the number of steps T. Any loss can be used.

    Parameters
    ----------
    recompute : bool
        Keep only the spikes between layers, one bit each, and the neurons' state at about sqrt(T) steps, and recompute
        the steps between in the backward pass: the same gradients with far less memory in somewhat more time.

    References
    ----------
    Neftci, Mostafa, Zenke, "Surrogate gradient learning in spiking neural networks", IEEE Signal Processing
    Magazine 36, 2019, doi:10.1109/MSP.2019.2931595.
    """

    recompute: bool = field(default=False, repr=False)  # changes no result, so it is not part of the identity of a run

    def gradients(
        self,
        net: Forward,
        x: Tensor,
        target: Tensor,
        loss: Loss,
        generator: torch.Generator | None = None,
        *,
        backward: Backward = torch.Tensor.backward,
    ) -> tuple[Tensor, Tensor]:
        """Run all steps forward, then all backward; see `Rule.gradients`."""
        check_steps(x)
        output, _ = called(net, x, recompute=True) if self.recompute else called(net, x)
        value = loss(output, target)
        backward(value)
        return value.detach(), output.detach()


@dataclass(frozen=True)
class SLTT(Rule):
    r"""Spatial learning through time: the gradient inside each step, none from step to step.

    With a loss that is a mean over steps, :math:`L = \frac1T \sum_t \ell(o[t], y)`, the gradient of layer l is

    .. math:: \nabla W_l = \sum_t \delta_l[t]\, s_{l-1}[t]^\top, \quad
              \delta_l[t] = (W_{l+1}^\top \delta_{l+1}[t]) \odot \sigma'(u_l[t])

    that is, backpropagation with :math:`\partial u[t+1] / \partial u[t]` set to zero. The graph of a step is freed
    before later steps run, so the memory of the backward pass does not depend on T.

    No gradient passes from one step to a later one: not through membranes, loops, or edges with a delay. Populations
    that reach the output only through a delay are therefore not trained; use `BPTT` for them.

    Parameters
    ----------
    k : int, optional
        SLTT-K: on each call only `k` steps, drawn at random without replacement, are differentiated; the others
        run forward only. The loss is divided by T and not by `k`, so gradients are on average k/T of those of SLTT, as
        in the authors' program: increase the learning rate where that matters. The value returned is the loss over
        all T steps. By default every step is differentiated.
    chunk : int
        Steps per call of the network, >= 1. The gradient is cut between the steps of a chunk too: a longer chunk is
        faster, uses more memory and gives the same gradient.

    Raises
    ------
    InputError
        When `k` or `chunk` is below 1; in `gradients`, when T < `k` or the loss is not a mean over steps.

    References
    ----------
    Meng et al., "Towards memory- and time-efficient backpropagation for training spiking neural networks",
    ICCV 2023, arXiv:2302.14311.
    """

    k: int | None = None
    chunk: int = 8

    def __post_init__(self) -> None:
        """Check the two numbers."""
        check_number("SLTT", "chunk", self.chunk)
        if self.k is not None:
            check_number("SLTT", "k", self.k)

    def gradients(
        self,
        net: Forward,
        x: Tensor,
        target: Tensor,
        loss: Loss,
        generator: torch.Generator | None = None,
        *,
        backward: Backward = torch.Tensor.backward,
    ) -> tuple[Tensor, Tensor]:
        """Run each chunk forward and backward before the next; see `Rule.gradients`."""
        learned = self._draw(check_steps(x), generator)
        spans = [(start, stop, learned[start]) for start, stop in self._chunks(learned)]
        return forward_in_time(self, net, x, target, loss, spans, backward, through_time=False)

    def _draw(self, steps: int, generator: torch.Generator | None) -> list[bool]:
        """Return for each step whether it is differentiated."""
        if self.k is None:
            return [True] * steps
        if self.k > steps:
            raise InputError(f"SLTT(k={self.k}) draws {self.k} steps, the input has only T = {steps}. Lower k.")
        chosen = set(torch.randperm(steps, generator=generator)[: self.k].tolist())
        return [step in chosen for step in range(steps)]

    def _chunks(self, learned: list[bool]) -> Iterator[tuple[int, int]]:
        """Split the steps into chunks that are differentiated as a whole or not at all."""
        start = 0
        for step in range(1, len(learned) + 1):
            if step == len(learned) or learned[step] != learned[start] or step - start == self.chunk:
                yield start, step
                start = step


def forward_in_time(
    rule: Rule,
    net: Forward,
    x: Tensor,
    target: Tensor,
    loss: Loss,
    spans: Iterable[tuple[int, int, bool]],
    backward: Backward,
    **choices: Any,
) -> tuple[Tensor, Tensor]:
    """Run each span forward and backward before the next; return the loss over all steps and the output.

    Parameters
    ----------
    rule : Rule
        The rule, for messages.
    net, x, target, loss, backward
        As in `Rule.gradients`.
    spans : iterable of (int, int, bool)
        First step, end, and whether the span is differentiated.
    **choices
        For the network.
    """
    check_per_step(repr(rule), loss)
    state: NetworkState | None = None
    total = torch.zeros((), device=x.device)
    outputs: Tensor | None = None
    masks: Masks = {}
    for start, stop, learns in spans:
        with torch.set_grad_enabled(learns), shared_masks(masks):
            output, state = called(net, x[start:stop], state, **choices)
            value = loss.over(output, target, Steps(start, len(x))) * ((stop - start) / len(x))
        if learns:
            backward(value)
        state = state.detach()
        total = total + value.detach()
        if outputs is None:
            outputs = output.new_empty((len(x), *output.shape[1:]))
        outputs[start:stop] = output.detach()
    assert outputs is not None  # there is at least one step
    return total, outputs


def called(net: Forward, x: Tensor, *state: NetworkState | None, **choices: Any) -> tuple[Tensor, NetworkState]:
    """Return output and state of a call of the network, or raise if it returns anything else."""
    result: Any = net(x, *state, **choices)
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Tensor)):
        raise InputError(
            f"the forward of {type(net).__name__} returned {type(result).__name__}; a network returns "
            "(output [T, B, ...], state), as ns.Network does. Return the state of the ns.Network inside as well."
        )
    return result


def check_number(rule: str, name: str, number: object) -> None:
    """Raise `InputError` unless `number` is a number of steps."""
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InputError(f"{rule}({name}={number!r}): {name} is a number of steps, an integer from 1.")


def check_steps(x: object) -> int:
    """Return the number of steps of `x` [T, B, ...]."""
    if not isinstance(x, Tensor) or x.ndim < 2 or x.shape[0] == 0:
        got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(f"x is {got}; a tensor [T, B, ...] with at least one step is needed, time first.")
    if x.shape[1] == 0:
        raise ShapeError(f"x is {list(x.shape)}; a batch [T, B, ...] with at least one sample is needed.")
    return x.shape[0]
