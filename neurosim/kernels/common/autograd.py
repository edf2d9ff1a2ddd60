"""Calling kernels straight from autograd in plain eager code, and what torch.func makes of such calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from neurosim.errors import InputError

_PLAIN = (Tensor, nn.Parameter)


def can_call_directly(tensors: Iterable[Tensor | None]) -> bool:
    """Whether a straight call serves: no compiler looks on, and no tensor is of a kind of its own."""
    return not torch.compiler.is_compiling() and all(t is None or type(t) in _PLAIN for t in tensors)


def under_transform() -> bool:
    """Whether a transform of torch.func is at work, so that a tensor may have no memory."""
    return torch._C._are_functorch_transforms_active()


class DirectFunction(torch.autograd.Function):
    """What the straight calls share: under ``torch.func.vmap`` one call for each element.

    A subclass gives `forward` without a context, `setup_context` and `backward`. In plain code they run as one function
    with a context: torch looks at the signature of the other form at every call, which costs as much as a small kernel.
    """

    def __init_subclass__(cls) -> None:
        def forward(ctx: Any, *args: Any) -> Any:
            output = cls.forward(*args)
            cls.setup_context(ctx, args, output)
            return output

        members = {"forward": staticmethod(forward), "backward": staticmethod(cls.backward)}
        cls._plain = type(cls.__name__, (torch.autograd.Function,), members)

    _plain: type[torch.autograd.Function]

    @classmethod
    def run(cls, *args: Any) -> Any:
        """Apply the function, as a transform can follow it where one is at work; `forward` is told first if none is."""
        return cls.apply(False, *args) if under_transform() else cls._plain.apply(True, *args)

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
        """Return the outputs stacked along a new first axis."""
        results = []
        for number in range(info.batch_size):
            elements = [a.select(d, number) if isinstance(d, int) else a for a, d in zip(args, in_dims, strict=True)]
            results.append(cls.apply(*elements))
        stacked = [None if each[0] is None else torch.stack(each) for each in zip(*results, strict=True)]
        # Tuples, as `forward` returns: of a list torch would take no element for differentiable.
        return tuple(stacked), tuple(None if each is None else 0 for each in stacked)


def call_under_transform(function: Callable[..., Sequence[Tensor]], *arguments: Any) -> Sequence[Tensor]:
    """Call `function` from a backward pass that a transform of torch.func is to follow: not through an operator."""
    leaves, layout = tree_flatten(arguments)
    found: Sequence[Tensor] = _Transformed.apply(function, layout, *leaves)
    return found


def forbid_double_backward(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return `gradients` such that a gradient of theirs is refused, where someone may ask for it (create_graph)."""
    if not torch.is_grad_enabled():
        return list(gradients)
    there = iter(
        _OnceDifferentiable.apply(torch.ones((), requires_grad=True), *(g for g in gradients if g is not None))
    )
    return [None if g is None else next(there) for g in gradients]


class _OnceDifferentiable(torch.autograd.Function):
    """Values that may be used but not differentiated again."""

    @staticmethod
    def forward(ctx: Any, _: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        return tuple(value.clone() for value in values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise InputError(
            "the fused kernels give no gradient of a gradient; differentiate the plain definition instead, which "
            "layers with kernels offer as `run_reference`."
        )


class _Transformed(DirectFunction):
    @staticmethod
    def forward(function: Callable[..., Sequence[Tensor]], layout: TreeSpec, *leaves: Any) -> tuple[Tensor, ...]:
        return tuple(function(*tree_unflatten(leaves, layout)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep nothing: there is no gradient of a gradient."""

    backward = staticmethod(_OnceDifferentiable.backward)
