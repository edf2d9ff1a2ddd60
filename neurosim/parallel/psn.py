"""The parallel spiking neuron: every step depends on every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.availability import DTYPES
from neurosim.language import Surrogate
from neurosim.parallel.layer import ParallelNeurons


class WholeRunState(NamedTuple):
    """State of neurons that run all steps at once: the number of finished steps.

    Attributes
    ----------
    seen : Tensor [steps, B]
        0 rows before the run and T rows of zeros after it.
    """

    seen: Tensor


class PSN(ParallelNeurons):
    r"""Parallel spiking neuron: the membrane is a learned mix of the input at all T steps.

    .. math:: H = W X, \quad Z = \Theta(H - v_{th}), \quad W \in \mathbb{R}^{T \times T}, \; v_{th} \in \mathbb{R}^T

    with X the input [T, B...]; W and the threshold are shared by all neurons of the layer and learned. There is no
    reset. W is full, so a step depends on later steps: the layer classifies complete runs and cannot be used on a
    stream, in a loop, or with SLTT. It is not a LIF.

    Parameters
    ----------
    steps : int
        T, the length of every run.
    dt : float, optional
        Length of a step, s, in (0, 0.1); that of its network if left out.
    size : int or tuple of int, optional
        Shape of the population, if it is to be checked.
    spike : Surrogate, optional
        ``atan(2.0)`` by default, as in the authors' program.

    Attributes
    ----------
    weight : Parameter [T, T]
        W, initially uniform in ``(-1/sqrt(T), 1/sqrt(T))`` as of ``torch.nn.Linear``.
    v_th : Parameter [T]
        Threshold of each step, initially 1.

    Raises
    ------
    ShapeError
        When a run is not of T steps.
    InputError
        When a state of an earlier run is passed, or the gradient is to be cut between steps.

    References
    ----------
    Fang et al. 2023, "Parallel Spiking Neurons with High Efficiency and Ability to Learn Long-term Dependencies",
    NeurIPS, arXiv:2304.12760. Its step function also fires at the threshold; here, as everywhere in neurosim, a
    neuron fires strictly above.

    Examples
    --------
    >>> import torch
    >>> from neurosim.parallel import PSN
    >>> layer = PSN(50, dt=1e-3)
    >>> z, state = layer(torch.randn(50, 8, 3))    # [T, B, N]
    >>> z.shape
    torch.Size([50, 8, 3])
    >>> layer(torch.randn(20, 8, 3))
    Traceback (most recent call last):
        ...
    neurosim.errors.ShapeError: PSN: made for runs of 50 steps, which it runs all at once; got 20. ...
    """

    def __init__(
        self,
        steps: int,
        *,
        dt: float | None = None,
        size: int | Sequence[int] | None = None,
        spike: Surrogate | None = None,
    ) -> None:
        super().__init__(type(self).__name__, dt, size, spike)
        self.steps = check_count(self.kind, "steps", steps)
        bound = 1.0 / math.sqrt(steps)
        self.weight = nn.Parameter(torch.empty(steps, steps).uniform_(-bound, bound))
        self.v_th = nn.Parameter(torch.ones(steps))

    def mixing(self) -> Tensor:
        """Return the matrix [T, T] that multiplies the input over time."""
        return self.weight

    def initial_state(self, i: Tensor) -> WholeRunState:
        """Return the state before a run: no finished steps."""
        return WholeRunState(i.new_zeros((0, i.shape[1]), dtype=i.dtype if i.dtype in DTYPES else torch.float32))

    def _distance(self, i: Tensor, state: WholeRunState, through_time: bool) -> tuple[Tensor, WholeRunState]:
        if not through_time:
            raise InputError(
                f"{self.kind}: through_time=False needs the gradient within each step, but its weights mix all "
                "steps, later ones too: there is none. Train with BPTT, or use SlidingPSN."
            )
        if i.shape[0] != self.steps:
            raise ShapeError(
                f"{self.kind}: made for runs of {self.steps} steps, which it runs all at once; got {i.shape[0]}. "
                f"It cannot be in a loop, and simulate needs chunk={self.steps}; SlidingPSN takes any number of steps."
            )
        if state.seen.shape[0]:
            raise InputError(
                f"{self.kind}: state is that of an earlier run of {state.seen.shape[0]} steps, and a run that is over "
                "cannot be continued. Start with state=None, or use SlidingPSN."
            )
        mixing = self.mixing().to(i.dtype)
        distance = torch.addmm(-self.v_th.to(i.dtype)[:, None], mixing, i.flatten(1))
        return distance.view(i.shape), WholeRunState(state.seen.new_zeros((self.steps, i.shape[1])))

    def extra_repr(self) -> str:
        """Return the arguments of this layer."""
        return f"{self.steps}, {super().extra_repr()}"


def check_count(kind: str, name: str, value: int) -> int:
    """Return `value` if it is an integer from 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{kind}: {name} must be an integer from 1; got {value!r}.")
    return value
