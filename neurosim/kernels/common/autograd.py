"""Calling kernels from autograd functions: when that is possible, under transforms of torch.func, and only once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from neurosim.errors import InputError
from neurosim.kernels.common import policy

_PLAIN = frozenset({Tensor, nn.Parameter, type(None)})


def can_call_directly(tensors: Iterable[Tensor | None]) -> bool:
    """Return whether kernels may be called without a torch operator: no compiler traces, no tensor is of a subclass."""
    if torch.compiler.is_compiling() or policy.through_operators:
        return False
    return _PLAIN.issuperset(map(type, tensors))


def under_transform() -> bool:
    """Return whether a transform of torch.func is active, so that a tensor may have no memory of its own, or a tangent.

    Kernels compute no tangents of forward-mode differentiation: torch refuses these where an autograd function is
    called, but not where a kernel is called without one.
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def check_devices(tensors: Iterable[Tensor | None]) -> None:
    """Raise unless all tensors are on one device: a kernel reads their addresses."""
    devices = {t.device for t in tensors if t is not None}
    if len(devices) > 1:
        names = " and on ".join(sorted(map(str, devices)))
        raise InputError(f"the input, the weights and the state of a layer are on {names}; move them with .to().")


class VmapByElement(torch.autograd.Function):
    """A function that ``torch.func.vmap`` calls once for each element."""

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
        """Return the outputs stacked along a new first axis."""
        results = []
        for number in range(info.batch_size):
            elements = [a.select(d, number) if isinstance(d, int) else a for a, d in zip(args, in_dims, strict=True)]
            results.append(cls.apply(*elements))
        stacked = [None if each[0] is None else torch.stack(each) for each in zip(*results, strict=True)]
        # A tuple, as `forward` returns: torch takes no element of a list for differentiable.
        return tuple(stacked), tuple(None if each is None else 0 for each in stacked)


def call_under_transform(function: Callable[..., Sequence[Tensor]], *arguments: Any) -> Sequence[Tensor]:
    """Call `function` in a backward pass that a transform of torch.func follows."""
    leaves, layout = tree_flatten(arguments)
    results: Sequence[Tensor] = _Transformed.apply(function, layout, *leaves)
    return results


def forbid_double_backward(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return `gradients`, which refuse to be differentiated again if autograd records them (create_graph=True)."""
    if not torch.is_grad_enabled():
        return list(gradients)
    recorded = torch.ones((), requires_grad=True)
    marked = iter(_OnceDifferentiable.apply(recorded, *(g for g in gradients if g is not None)))
    return [None if g is None else next(marked) for g in gradients]


class _OnceDifferentiable(torch.autograd.Function):
    """Values that may be used but not differentiated."""

    @staticmethod
    def forward(ctx: Any, _: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        return tuple(value.clone() for value in values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise InputError(
            "the fused kernels give no gradient of a gradient; differentiate the plain definition instead, which "
            "layers with kernels offer as `run_reference`."
        )


class _Transformed(VmapByElement):
    @staticmethod
    def forward(function: Callable[..., Sequence[Tensor]], layout: TreeSpec, *leaves: Any) -> tuple[Tensor, ...]:
        return tuple(function(*tree_unflatten(leaves, layout)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep nothing: there is no gradient of a gradient."""

    backward = staticmethod(_OnceDifferentiable.backward)
