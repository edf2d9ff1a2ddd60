"""How gradients are found: through all of time (BPTT) or step by step (SLTT).

A rule is a frozen value with one method, `gradients`, that adds the gradients of one batch to `.grad`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.learning.losses import Loss
from neurosim.network import NetworkState

Backward = Callable[[Tensor], Any]


class Forward(Protocol):
    """What a rule needs of a network: input and state in, output and state out."""

    def __call__(
        self, x: Tensor, state: NetworkState | None = None, *, through_time: bool = True
    ) -> tuple[Tensor, NetworkState]:
        """Run `x` [T, B, ...] from `state`; `through_time=False` cuts the gradient at every step."""
        ...


class Rule(ABC):
    """A way to find the gradients of one batch."""

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
            Classes [B], int64.
        loss : Loss
            Value from `neurosim.learning.losses`, or one of your own.
        generator : torch.Generator, optional
            Source of the random choices of rules that make any; torch's global one if None.
        backward : callable
            What is called on the scalar loss; a gradient scaler for half precision comes in here.

        Returns
        -------
        value : Tensor
            The loss, mean over all steps and samples, detached.
        output : Tensor
            The network's output [T, B, ...], detached.
        """


@dataclass(frozen=True)
class BPTT(Rule):
    """Backpropagation through time: the exact gradient of the surrogate model.

    Memory grows in proportion to the number of steps T. Any loss will do.

    References
    ----------
    Neftci, Mostafa, Zenke, "Surrogate gradient learning in spiking neural networks", IEEE Signal Processing
    Magazine 36, 2019, doi:10.1109/MSP.2019.2931595.
    """

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
        """Run all steps, then go back through all of them; see `Rule.gradients`."""
        _check_steps(x)
        output, _ = net(x)
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
    before later steps are run, so the memory for the backward pass does not depend on T.

    What crosses from one step to a later one carries no gradient: membranes, loops, and edges with a delay.
    Populations that reach the output through a delay only are therefore not trained; use `BPTT` for them.

    Parameters
    ----------
    k : int, optional
        SLTT-K: on each call only `k` steps, drawn at random without replacement, are differentiated; the others
        run forward only. The loss is still divided by T and not by `k`, so gradients are on average k/T of those
        of SLTT, as in the authors' program: raise the learning rate accordingly where that matters. The value
        returned is the loss over all T steps. None differentiates every step.
    chunk : int
        Steps handed to the network in one call, >= 1. The gradient is cut between the steps of a chunk as well:
        a longer chunk is faster and holds more memory, and gives the same gradient.

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
        _check_number("chunk", self.chunk)
        if self.k is not None:
            _check_number("k", self.k)

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
        """Run chunk by chunk and go back through each at once; see `Rule.gradients`."""
        steps = _check_steps(x)
        if not getattr(loss, "per_step", False):
            raise InputError(
                f"{self!r} needs a loss that is a mean over steps; {loss!r} looks at all steps at once. "
                "Use CrossEntropy() or CrossEntropyMSE(), a Loss of your own with per_step = True, or the rule BPTT()."
            )
        learned = self._draw(steps, generator)
        state: NetworkState | None = None
        total = torch.zeros((), device=x.device)
        outputs = []
        for start, stop in self._chunks(learned):
            with torch.set_grad_enabled(learned[start]):
                output, state = net(x[start:stop], state, through_time=False)
                value = loss(output, target) * ((stop - start) / steps)
            if learned[start]:
                backward(value)
            state = state.detach()
            total = total + value.detach()
            outputs.append(output.detach())
        return total, torch.cat(outputs)

    def _draw(self, steps: int, generator: torch.Generator | None) -> list[bool]:
        """Which steps are differentiated."""
        if self.k is None:
            return [True] * steps
        if self.k > steps:
            raise InputError(f"SLTT(k={self.k}) draws {self.k} steps, the input has only T = {steps}. Lower k.")
        chosen = set(torch.randperm(steps, generator=generator)[: self.k].tolist())
        return [step in chosen for step in range(steps)]

    def _chunks(self, learned: list[bool]) -> Iterator[tuple[int, int]]:
        """Split the steps into runs of at most `chunk` that are all differentiated or all not."""
        start = 0
        for step in range(1, len(learned) + 1):
            if step == len(learned) or learned[step] != learned[start] or step - start == self.chunk:
                yield start, step
                start = step


def _check_number(name: str, number: object) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InputError(f"SLTT({name}={number!r}): {name} is a number of steps, a whole number from 1 up.")


def _check_steps(x: object) -> int:
    if not isinstance(x, Tensor) or x.ndim < 2 or x.shape[0] == 0:
        got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(f"x is {got}; a tensor [T, B, ...] with at least one step is needed, time first.")
    return x.shape[0]
