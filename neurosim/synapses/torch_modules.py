"""Which computation a module of torch runs: its class, and its numbers as its forward method uses them.

A subclass, a hook or an assigned method may compute something else than the class that it is derived from, and hooks
and parametrisations compute weights anew at each call. The functions of this file refuse such a module by name, or
compute its numbers, instead of reading attributes that do not act.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from neurosim.errors import InputError

_CALL = frozenset({"forward", "__call__", "_call_impl", "_wrapped_call_impl"})
_NO_ARITHMETIC = frozenset({"extra_repr", "reset_parameters"})
_OF_ALL_MODULES = frozenset(dir(nn.Module)) - _CALL


def nearest(module: nn.Module, known: Iterable[type]) -> type | None:
    """Return the class of `known` that a module is an instance of, the most derived one; None if there is none."""
    kinds = frozenset(known)
    return next((kind for kind in type(module).__mro__ if kind in kinds), None)


def check_unchanged(module: nn.Module, kind: type, *, computed_weights: bool = False) -> None:
    """Check that a call of `module` runs the methods of the class `kind` and nothing else.

    Parameters
    ----------
    module : torch.nn.Module
    kind : type
        A class of `module`. A subclass may define names that its bases do not have.
    computed_weights : bool
        Whether the hooks of `torch.nn.utils` that compute weights are accepted, because `numbers` evaluates them.

    Raises
    ------
    InputError
        Names the hook, or the method and the class that defines it.
    """
    if module._forward_hooks:
        raise InputError(f"has the forward hook {_shown(module._forward_hooks)}, which may change what it computes.")
    hooks = module._forward_pre_hooks.values()
    foreign = [hook for hook in hooks if not (computed_weights and _computes_weights(hook))]
    if foreign:
        raise InputError(f"has the forward pre-hook {_name(foreign[0])}, which may change what it computes.")
    order = type(module).__mro__
    for name in vars(module):
        if _is_arithmetic(name, order):
            raise InputError(f"its method {name!r} was assigned on this object, not its class, and cannot be read.")
    for place, owner in enumerate(order[: order.index(kind)]):
        for name in vars(owner):
            if _is_arithmetic(name, order[place + 1 :]):
                raise InputError(
                    f"its class {owner.__name__} has a method {name!r} of its own in place of that of {kind.__name__}, "
                    "which cannot be read."
                )


def numbers(module: nn.Module, *names: str) -> list[Tensor | None]:
    """Return parameters or buffers of a module as its next call uses them, without gradient.

    Weights that the hooks of `torch.nn.utils` (weight_norm, spectral_norm, prune) or parametrisations compute are
    computed; the module is not changed.

    Raises
    ------
    InputError
        For weights that change from call to call in training, as those of spectral_norm do.
    """
    return [_number(module, name) for name in names]


def _number(module: nn.Module, name: str) -> Tensor | None:
    with torch.no_grad():
        for hook in module._forward_pre_hooks.values():
            if _computes_weights(hook) and name == (getattr(hook, "name", None) or getattr(hook, "_tensor_name", None)):
                return _of_hook(module, hook, name)
        if not parametrize.is_parametrized(module, name):
            value: Tensor | None = getattr(module, name)
            return None if value is None else value.detach()
        copied = copy.deepcopy(module)
        first, second = getattr(copied, name).clone(), getattr(copied, name).clone()
        if not torch.equal(first, second):
            raise _changing(name)
        return first


def _of_hook(module: nn.Module, hook: Any, name: str) -> Tensor:
    if isinstance(hook, prune.BasePruningMethod):
        value = hook.apply_mask(module)
    elif isinstance(hook, SpectralNorm):
        if module.training:
            raise _changing(name)
        value = hook.compute_weight(module, do_power_iteration=False)
    else:
        value = hook.compute_weight(module)
    return value.detach().clone()


def _changing(name: str) -> InputError:
    return InputError(f"computes another {name} at each call in training; call .eval() on the module.")


def _computes_weights(hook: Any) -> bool:
    kind = type(hook)
    if kind in (WeightNorm, SpectralNorm):
        return True
    is_pruning = isinstance(hook, prune.BasePruningMethod)
    own = ("__call__", "apply_mask")
    return is_pruning and all(getattr(kind, name) is getattr(prune.BasePruningMethod, name) for name in own)


def _is_arithmetic(name: str, bases: tuple[type, ...]) -> bool:
    """Whether a definition of this name replaces a method of `bases` that a call may run."""
    if name in _NO_ARITHMETIC or name in _OF_ALL_MODULES or (name.startswith("__") and name not in _CALL):
        return False
    return any(inspect.isroutine(vars(base)[name]) for base in bases if name in vars(base))


def _name(hook: Any) -> str:
    return getattr(hook, "__name__", type(hook).__name__)


def _shown(hooks: Any) -> str:
    return _name(next(iter(hooks.values())))
