"""Values of state variables before the first step: numbers, tensors, or drawn from distributions."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.normal import normal_quantile
from neurosim.kernels.common.philox import philox, stream_of
from neurosim.kernels.common.under_compile import constant_in_graph
from neurosim.synapses.distributions import Constant, Distribution, LogNormal, Normal, Uniform

_MASK = 2**32 - 1
_DRAWABLE = (Constant, Uniform, Normal, LogNormal)


class StartDraw(NamedTuple):
    """What start values that are drawn depend on, beside the variable and the neuron.

    Attributes
    ----------
    node : str
        Name of the population in its network.
    seed, trial : Tensor [B] of int64
    """

    node: str
    seed: Tensor
    trial: Tensor


@constant_in_graph
def start_stream(node: str, variable: str) -> int:
    """Return the stream of random numbers of the start values of a variable."""
    return stream_of(f"start {node}.{variable}")


class StartValues(nn.Module):
    """Start values of some state variables of a population.

    A number that is drawn depends on the start seed, the trial, the names of node and variable, and the neuron alone:
    a trial starts alike in any batch.

    Parameters
    ----------
    kind : str
        Name of the population, in messages.
    state : mapping of str to float
        The state variables of the population, with the values that the others start from.
    values : mapping of str to float, Tensor or Distribution
        By variable: a number, a tensor [*shape] or [B, *shape], or a distribution.
    size : tuple of int, optional
        Shape of the population, if it is fixed.

    Raises
    ------
    InputError
        For an unknown variable, a value that is not finite, or of another kind.
    ShapeError
        For a tensor of another shape.
    """

    def __init__(
        self, kind: str, state: Mapping[str, float], values: Mapping[str, Any], size: tuple[int, ...] | None
    ) -> None:
        super().__init__()
        if not isinstance(values, Mapping):
            raise InputError(f"{kind}: init must be a mapping such as dict(v=0.5); got {values!r}.")
        unknown = [name for name in values if name not in state]
        if unknown:
            raise InputError(f"{kind}: init has values for {unknown}; this core has the state {list(state)}.")
        self._kind, self._state = kind, dict(state)
        self._numbers: dict[str, float] = {}
        self._distributions: dict[str, Distribution] = {}
        self._stored: dict[str, str] = {}  # of each variable with a tensor the buffer
        for name, value in values.items():
            self._set(name, value, size)

    def _set(self, name: str, value: Any, size: tuple[int, ...] | None) -> None:
        if isinstance(value, _DRAWABLE):
            self._distributions[name] = value
            return
        if isinstance(value, (np.ndarray, Tensor)):
            value = torch.as_tensor(value).detach().clone()
            if value.dtype == torch.bool or value.is_complex():
                raise InputError(f"{self._kind}: init of {name} must hold real numbers; got {value.dtype}.")
            value = value if value.is_floating_point() else value.to(torch.get_default_dtype())
            if not bool(torch.isfinite(value).all()):
                raise InputError(f"{self._kind}: init of {name} holds NaN or infinity.")
            if size is not None and tuple(value.shape) != size and tuple(value.shape[1:]) != size:
                raise self._shape_error(name, value, size)
            self._stored[name] = f"{name}_start"
            self.register_buffer(self._stored[name], value)
            return
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            drawn = ", ".join(kind.__name__ for kind in _DRAWABLE)
            raise InputError(
                f"{self._kind}: init of {name} must be a finite number, a tensor [*shape] or [B, *shape], or one of "
                f"{drawn}; got {value!r}."
            )
        self._numbers[name] = float(value)

    def _shape_error(self, name: str, value: Tensor, shape: Sequence[int]) -> ShapeError:
        wanted = ", ".join(map(str, shape))
        return ShapeError(
            f"{self._kind}: init of {name} must be [{wanted}] or, with a value for each trial, [B, {wanted}]; got "
            f"{list(value.shape)}."
        )

    @property
    def drawn(self) -> tuple[str, ...]:
        """The variables whose values are drawn."""
        return tuple(self._distributions)

    def start(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device, draw: StartDraw) -> list[Tensor]:
        """Return the value of each state variable before the first step.

        Parameters
        ----------
        shape : sequence of int
            ``[B, *shape]`` of the population.
        dtype, device
            Of the values.
        draw : StartDraw
            Seed and trial of each sample.
        """
        values = []
        for name, default in self._state.items():
            if name in self._distributions:
                value = self._drawn(name, shape, draw).to(device, dtype)
            elif name in self._stored:
                value = self._expanded(name, shape).to(device, dtype)
            else:
                value = torch.full(tuple(shape), self._numbers.get(name, default), dtype=dtype, device=device)
            values.append(value)
        return values

    def _expanded(self, name: str, shape: Sequence[int]) -> Tensor:
        stored = self.get_buffer(self._stored[name])
        batch, *population = shape
        if list(stored.shape) == population:
            return stored.expand(tuple(shape)).clone()
        if list(stored.shape[1:]) != population:
            raise self._shape_error(name, stored, population)
        if stored.shape[0] != batch:
            raise ShapeError(
                f"{self._kind}: init of {name} holds values for {stored.shape[0]} trials; the run has a batch of "
                f"{batch}."
            )
        return stored.clone()

    def _drawn(self, name: str, shape: Sequence[int], draw: StartDraw) -> Tensor:
        stream = start_stream(draw.node, name)
        neuron = torch.arange(math.prod(shape[1:]))
        values = torch.empty((shape[0], len(neuron)), dtype=torch.float64)
        for b, (seed, trial) in enumerate(zip(draw.seed.tolist(), draw.trial.tolist(), strict=True)):
            high, low, *_ = philox((neuron, 0, trial, stream), (seed & _MASK, seed >> 32))
            share = ((high << 20 | low >> 12).double() + 0.5) * 2.0**-52
            values[b] = quantile(self._distributions[name], share)
        return values.view(*shape)

    def texts(self) -> dict[str, str]:
        """Return the values by variable, a tensor by its shape alone."""
        found: dict[str, Any] = {**self._numbers, **self._distributions}
        found |= {name: f"tensor{list(self.get_buffer(stored).shape)}" for name, stored in self._stored.items()}
        return {name: str(value) for name, value in found.items()}

    def extra_repr(self) -> str:
        """Return the values by variable."""
        return ", ".join(f"{name}={value}" for name, value in self.texts().items())


def quantile(distribution: Distribution, share: Tensor) -> Tensor:
    """Return the numbers below which a distribution has given shares.

    Parameters
    ----------
    distribution : Constant, Uniform, Normal or LogNormal
        Clipped ones have the bounds with the probability of the numbers beyond; redrawn ones are truncated.
    share : Tensor of float64
        In (0, 1).
    """
    if isinstance(distribution, Constant):
        return torch.full_like(share, distribution.value)
    if isinstance(distribution, Uniform):
        return distribution.low + share * (distribution.high - distribution.low)
    is_normal = isinstance(distribution, Normal)
    if isinstance(distribution, Normal):
        mean, std = distribution.mean, distribution.std
    else:
        assert isinstance(distribution, LogNormal)
        mean, std = distribution.mu, distribution.sigma
    if distribution.outside == "redrawn" and std:
        low, high = distribution.low, distribution.high
        if not is_normal:
            low, high = (math.log(bound) if bound > 0 else -math.inf for bound in (low, high))
        below, up_to = (0.5 * math.erfc((mean - bound) / (std * math.sqrt(2.0))) for bound in (low, high))
        share = below + share * (up_to - below)
    # The end of a share that is rounded to 0 or 1 is beyond a bound, which acts below.
    values = mean + std * normal_quantile(share.clamp(2.0**-1022, 1.0 - 2.0**-53))
    if not is_normal:
        values = torch.from_numpy(np.exp(values.numpy()))
    return values if distribution.outside is None else values.clamp(distribution.low, distribution.high)
