"""The sliding parallel spiking neuron: the same k weights at every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.availability import DTYPES
from neurosim.language import Surrogate
from neurosim.network.population import State
from neurosim.parallel.layer import ParallelNeurons
from neurosim.parallel.psn import check_count
from neurosim.parallel.window import filtered


class SlidingState(NamedTuple):
    """State of a `SlidingPSN`.

    Attributes
    ----------
    past : Tensor [order - 1, B, ...]
        The last inputs, the oldest first; zeros before the first step.
    """

    past: Tensor


class SlidingPSN(ParallelNeurons):
    r"""Sliding parallel spiking neuron of order k: the membrane is a learned filter over the last k inputs.

    .. math:: h[t] = \sum_{n=0}^{k-1} w_n\, x[t-n], \quad z[t] = \Theta(h[t] - v_{th})

    The k weights and the one threshold are shared by all steps and neurons of the layer and learned. It is causal and
    works on runs of any length, on a stream and in a loop: its state is the last k - 1 inputs. There is no reset; it
    is not a LIF. With ``through_time=False`` earlier inputs count as state: the weights are trained, and only the input
    of the current step gets a gradient.

    Parameters
    ----------
    order : int
        k, from 1.
    dt : float, optional
        Length of a step, s, in (0, 0.1); that of its network if left out.
    start : {"exponential", "uniform"}
        Initial weights: :math:`w_n = 2^{-n}`, or uniform in ``(-1/sqrt(k), 1/sqrt(k))``.
    size : int or tuple of int, optional
        Shape of the population, if it is to be checked.
    spike : Surrogate, optional
        ``atan(2.0)`` by default, as in the authors' program.

    Attributes
    ----------
    weight : Parameter [k]
        That of the current step first (the authors' program stores them in reverse order).
    v_th : Parameter []
        Threshold, initially 1.

    References
    ----------
    Fang et al. 2023, "Parallel Spiking Neurons with High Efficiency and Ability to Learn Long-term Dependencies",
    NeurIPS, arXiv:2304.12760.

    Examples
    --------
    >>> import torch
    >>> from neurosim.parallel import SlidingPSN
    >>> x = torch.tensor([0.75, 0.75, 0.75, 0.0, 0.0]).reshape(5, 1, 1)
    >>> z, state = SlidingPSN(3, dt=1e-3)(x)     # weights 1, 1/2, 1/4 and threshold 1
    >>> z.flatten().tolist(), state.past.flatten().tolist()
    ([0.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0])
    """

    def __init__(
        self,
        order: int,
        *,
        dt: float | None = None,
        start: Literal["exponential", "uniform"] = "exponential",
        size: int | Sequence[int] | None = None,
        spike: Surrogate | None = None,
    ) -> None:
        super().__init__(type(self).__name__, dt, size, spike)
        self.order = check_count(self.kind, "order", order)
        if start not in ("exponential", "uniform"):
            raise InputError(f'{self.kind}: start must be "exponential" or "uniform"; got {start!r}.')
        bound = 1.0 / math.sqrt(order)
        powers = 0.5 ** torch.arange(order, dtype=torch.get_default_dtype())
        self.weight = nn.Parameter(powers if start == "exponential" else powers.uniform_(-bound, bound))
        self.v_th = nn.Parameter(torch.ones(()))

    def initial_state(self, i: Tensor) -> SlidingState:
        """Return the state before the first step: inputs of zero."""
        dtype = i.dtype if i.dtype in DTYPES else torch.float32
        return SlidingState(i.new_zeros((self.order - 1, *i.shape[1:]), dtype=dtype))

    def _checked_state(self, state: State, i: Tensor) -> State:
        (past,) = super()._checked_state(state, i)
        wanted = (self.order - 1, *i.shape[1:])
        if past.shape != wanted:
            raise ShapeError(f"{self.kind}: state.past must be {list(wanted)}; got {list(past.shape)}.")
        return SlidingState(past)

    def _distance(self, i: Tensor, state: SlidingState, through_time: bool) -> tuple[Tensor, SlidingState]:
        past = state.past.to(i.dtype)
        line = torch.cat((past if through_time else past.detach(), i))
        distance = filtered(line.flatten(1), self.weight.to(i.dtype), -self.v_th.to(i.dtype), through_time)
        # A copy, so that the state does not keep the memory of the whole run.
        after = line[i.shape[0] :].clone()
        return distance.view(i.shape), SlidingState(after if through_time else after.detach())

    def extra_repr(self) -> str:
        """Return the arguments of this layer."""
        return f"{self.order}, {super().extra_repr()}"
