"""What a synapse computes in one step, as data: read by exporters, placement, counting and quantisation.

`Synapse.lowered` returns one of these values. A reader supports the kinds of value that its target has and refuses the
others by name; it does not depend on the class of the synapse.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.errors import InputError

_V = TypeVar("_V", bound="_Value")
_W = TypeVar("_W", bound="_Weighted")


class _Value(abc.ABC):
    """What all values share: tensors without gradient history, and the current of a step."""

    def __post_init__(self) -> None:
        """Detach the tensors."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                object.__setattr__(self, name, value.detach())

    @abc.abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """Return the currents of one step, in the precision of `x`, delays aside.

        Parameters
        ----------
        x : Tensor [n, *in]
            n samples of one step.

        Returns
        -------
        Tensor [n, *out]
        """

    def to(self: _V, dtype: torch.dtype) -> _V:
        """Return the same value with its floating-point tensors in `dtype`, on the CPU."""
        moved = {
            field.name: value.cpu().to(dtype if value.is_floating_point() else value.dtype)
            for field in fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)  # type: ignore[type-var]


class _Weighted(_Value):
    """Values with one weight for each synapse or kernel position."""

    weight: Tensor
    bias: Tensor | None

    def counted(self: _W, *, all_positions: bool) -> _W:
        """Return the same synapses with the weight 1, and 0 where the weight is 0 unless `all_positions`; no bias."""
        ones = torch.ones_like(self.weight) if all_positions else (self.weight != 0).to(self.weight.dtype)
        return replace(self, weight=ones, bias=None)  # type: ignore[type-var]

    def times(self: _W, factor: Tensor, plus: Tensor | None = None) -> _W:
        """Return synapses whose current is that of these times `factor`, plus a constant.

        The numbers are computed in double precision and rounded once, to the precision of the weights.

        Parameters
        ----------
        factor : Tensor [] or [rows]
            One number, or one for each neuron after (for each channel of a convolution).
        plus : Tensor [rows], optional
        """
        factor = factor.detach().double().to(self.weight.device)
        weight = self.weight.double() * self._by_weight(factor)
        bias = None if self.bias is None else self.bias.double() * factor
        if plus is not None:
            plus = plus.detach().double().to(self.weight.device)
            bias = plus if bias is None else bias + plus
        like = self.weight.dtype
        return replace(self, weight=weight.to(like), bias=None if bias is None else bias.to(like))  # type: ignore[type-var]

    def _by_weight(self, factor: Tensor) -> Tensor:
        """Return the factor of each weight, for one of each row."""
        return factor.view(-1, *[1] * (self.weight.dim() - 1)) if factor.dim() else factor

    def row_factors(self, factor: Tensor, shape: tuple[int, ...]) -> Tensor | None:
        """Return what `times` takes so that each neuron's current is multiplied by its own factor.

        Parameters
        ----------
        factor : Tensor
            Broadcasts against `shape`.
        shape : tuple of int
            Of the population after.

        Returns
        -------
        Tensor [] or [rows], or None
            None where weights are shared by neurons whose factors differ.
        """
        return factor if factor.dim() == 0 else factor.expand(shape).reshape(-1)


@dataclass(frozen=True, eq=False)
class Dense(_Weighted):
    """All-to-all weights: ``i = W x + b``, axes flattened.

    Attributes
    ----------
    weight : Tensor [out, in]
    bias : Tensor [out] or None
    delay : Tensor [out, in] or None
        Steps from a spike to its current, beyond those of the edge: int64, or in floating point where the synapse has
        delays between two steps.
    out_shape : tuple of int or None
        Shape of the current where it is not [out].
    """

    weight: Tensor
    bias: Tensor | None = None
    delay: Tensor | None = None
    out_shape: tuple[int, ...] | None = None

    def apply(self, x: Tensor) -> Tensor:
        """Return the currents of ``x`` [n, *in]."""
        bias = None if self.bias is None else self.bias.to(x)
        y = functional.linear(x.flatten(1), self.weight.to(x), bias)
        return y if self.out_shape is None else y.unflatten(1, self.out_shape)


@dataclass(frozen=True, eq=False)
class SparseRows(_Weighted):
    """Weights listed one by one: ``i[post[k]] += weight[k] x[pre[k]]``, axes flattened.

    Attributes
    ----------
    n_out, n_in : int
    post, pre : Tensor [n] of int64
        In any order. A pair listed several times is several synapses.
    weight : Tensor [n]
    bias : Tensor [n_out] or None
    delay : Tensor [n] of int64 or None
        Steps, as in `Dense`.
    out_shape : tuple of int or None
        Shape of the current where it is not [n_out].
    """

    n_out: int
    n_in: int
    post: Tensor
    pre: Tensor
    weight: Tensor
    bias: Tensor | None = None
    delay: Tensor | None = None
    out_shape: tuple[int, ...] | None = None

    def apply(self, x: Tensor) -> Tensor:
        """Return the currents of ``x`` [n, *in]."""
        places = torch.stack((self.post, self.pre)).to(x.device)
        matrix = torch.sparse_coo_tensor(places, self.weight.to(x), (self.n_out, self.n_in), check_invariants=False)
        y = torch.sparse.mm(matrix, x.flatten(1).T).T
        y = y if self.bias is None else y + self.bias.to(x)
        return y if self.out_shape is None else y.unflatten(1, self.out_shape)

    def matrix(self) -> Tensor:
        """Return the weights as a matrix [n_out, n_in]; synapses of one pair add up, delays aside."""
        full = self.weight.new_zeros(self.n_out, self.n_in)
        return full.index_put((self.post, self.pre), self.weight, accumulate=True)

    def merged(self) -> SparseRows:
        """Return the synapses sorted by `post`, then `pre`, with those of one pair made one by adding their weights.

        Raises
        ------
        InputError
            When synapses of one pair have different delays.
        """
        pairs, place = torch.unique(self.post * self.n_in + self.pre, return_inverse=True)
        weight = self.weight.new_zeros(len(pairs)).index_add(0, place, self.weight)
        post = torch.div(pairs, self.n_in, rounding_mode="floor")
        pre = pairs - post * self.n_in
        delay = None
        if self.delay is not None:
            delay = self.delay.new_zeros(len(pairs))
            delay[place] = self.delay
            if (differing := delay[place] != self.delay).any():
                first = int(place[differing][0])
                steps = self.delay[place == first].unique().tolist()
                raise InputError(
                    f"the synapses from neuron {int(pre[first])} to {int(post[first])} have different delays "
                    f"({', '.join(map(str, steps))} steps) and cannot be merged; give each delay an edge of its own, "
                    "see DelayedSparse.by_delay."
                )
        return replace(self, post=post, pre=pre, weight=weight, delay=delay)

    def _by_weight(self, factor: Tensor) -> Tensor:
        return factor[self.post] if factor.dim() else factor


@dataclass(frozen=True, eq=False)
class Convolution(_Weighted):
    """A cross-correlation over one or two axes as torch defines it, padded with zeros.

    Attributes
    ----------
    weight : Tensor [c_out, c_in / groups, *kernel]
    stride, padding, dilation : tuple of int
        One for each axis.
    groups : int
    bias : Tensor [c_out] or None
    """

    weight: Tensor
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    bias: Tensor | None = None

    @property
    def kernel(self) -> tuple[int, ...]:
        """Length of the kernel along each axis."""
        return tuple(self.weight.shape[2:])

    @property
    def c_out(self) -> int:
        """Channels after."""
        return self.weight.shape[0]

    @property
    def c_in(self) -> int:
        """Channels before."""
        return self.weight.shape[1] * self.groups

    def apply(self, x: Tensor) -> Tensor:
        """Return the currents of ``x`` [n, c_in, *places]."""
        run = functional.conv1d if len(self.kernel) == 1 else functional.conv2d
        bias = None if self.bias is None else self.bias.to(x)
        y: Tensor = run(x, self.weight.to(x), bias, self.stride, self.padding, self.dilation, self.groups)
        return y

    def row_factors(self, factor: Tensor, shape: tuple[int, ...]) -> Tensor | None:
        """Return one factor for each channel, or None where they differ within a channel; see `times`."""
        if factor.dim() == 0:
            return factor
        channels = factor.expand(shape).reshape(shape[0], -1)
        return channels[:, 0] if bool((channels == channels[:, :1]).all()) else None


@dataclass(frozen=True)
class Pooling(_Value):
    """Sum, mean or maximum over windows of two axes: [C, H, W] -> [C, H', W'].

    Attributes
    ----------
    kind : {"sum", "mean", "max"}
    kernel, stride : (int, int)
        Places that do not fill a window are left out.
    """

    kind: Literal["sum", "mean", "max"]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]

    def apply(self, x: Tensor) -> Tensor:
        """Return each window of ``x`` [n, C, H, W] pooled."""
        if self.kind == "max":
            return functional.max_pool2d(x, self.kernel, self.stride)
        return functional.avg_pool2d(x, self.kernel, self.stride, divisor_override=1 if self.kind == "sum" else None)

    @property
    def factor(self) -> float:
        """What the sum of a window is multiplied by; 1 for a maximum, whose windows have the same members."""
        return 1.0 / math.prod(self.kernel) if self.kind == "mean" else 1.0

    def counted(self) -> Pooling:
        """Return the sum over the same windows."""
        return replace(self, kind="sum")


@dataclass(frozen=True, eq=False)
class Scaling(_Value):
    """One synapse from each neuron to its counterpart: ``i = s x + b``.

    Attributes
    ----------
    weight : Tensor
        Broadcasts against the population, [...] of its shape or without dimensions.
    bias : Tensor or None
        Broadcasts against the population.
    """

    weight: Tensor
    bias: Tensor | None = None

    @property
    def is_identity(self) -> bool:
        """Whether the current is the input."""
        return self.bias is None and bool((self.weight == 1).all())

    def apply(self, x: Tensor) -> Tensor:
        """Return ``x`` [n, ...] scaled."""
        y = x * self.weight.to(x)
        return y if self.bias is None else y + self.bias.to(x)

    def counted(self, *, all_positions: bool) -> Scaling:
        """Return the same synapses with the weight 1, and 0 where the weight is 0 unless `all_positions`; no bias."""
        return Scaling(torch.ones_like(self.weight) if all_positions else (self.weight != 0).to(self.weight.dtype))

    def rows(self, shape: tuple[int, ...]) -> SparseRows:
        """Return the same synapses listed one by one, for a population of `shape`."""
        n = math.prod(shape)
        every = torch.arange(n)
        weight, bias = (None if v is None else v.cpu().expand(shape).reshape(-1) for v in (self.weight, self.bias))
        assert weight is not None
        return SparseRows(n, n, every, every, weight, bias, out_shape=None if len(shape) == 1 else shape)


@dataclass(frozen=True)
class Reshape(_Value):
    """The same values in the same order, in another shape.

    Attributes
    ----------
    shape : tuple of int
        Of the current.
    """

    shape: tuple[int, ...]

    def apply(self, x: Tensor) -> Tensor:
        """Return ``x`` [n, ...] as [n, *shape]."""
        return x.reshape(len(x), *self.shape)


@dataclass(frozen=True)
class Shifted(_Value):
    """Sums times two to a power, rounded down: the weight exponent of a chip.

    Attributes
    ----------
    exponent : int
    """

    exponent: int

    def apply(self, x: Tensor) -> Tensor:
        """Return ``floor(x 2^exponent)``."""
        scaled = x * 2.0**self.exponent
        return scaled if self.exponent >= 0 else scaled.floor()


@dataclass(frozen=True)
class Opaque:
    """A synapse that none of the other values describes.

    Attributes
    ----------
    reason : str
        Ends a sentence that begins with the synapse, such as ``"is not linear in its input"``.
    """

    reason: str


Described = Dense | SparseRows | Convolution | Pooling | Scaling | Reshape | Shifted
Lowered = Described | Opaque
Weighted = Dense | SparseRows | Convolution
