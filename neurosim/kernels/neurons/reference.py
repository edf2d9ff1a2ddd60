"""The definition: the step function of a core, run step by step on tensors with autograd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.language import Core
from neurosim.language.functions import numbers_of
from neurosim.language.local_variables import with_locals


def run(
    core: Core,
    inputs: Sequence[Tensor | float],
    state: Sequence[Tensor],
    given: Mapping[str, Any],
    *,
    through_time: bool = True,
    watch: Mapping[str, list[Tensor]] | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run `core` over its `inputs` from `state`; every fused kernel is compared with this.

    Parameters
    ----------
    core : Core
        The neuron model.
    inputs : sequence of Tensor [T, ...] or float
        One for each input port, in the core's order; a number stands for a port that nothing feeds. At least one is a
        tensor.
    state : sequence of Tensor [...]
        State before the first step.
    given : mapping
        The keyword arguments of the step.
    through_time : bool
        Without it the state before every step is detached.
    watch : mapping of str to list, optional
        Lists that receive the new value of a state, or that of a local variable of the step function, at each step.

    Returns
    -------
    out : Tensor [T, ...]
    state : tuple of Tensor [...]
        After the last step.
    """
    watch = watch or {}
    local = [name for name in watch if name not in core.state]
    like = next(x for x in inputs if isinstance(x, Tensor))

    def steps() -> tuple[Tensor, tuple[Tensor, ...]]:
        outputs, current = [], tuple(state)
        for t in range(len(like)):
            if not through_time:
                current = tuple(s.detach() for s in current)
            # A step may return the same number for all neurons, such as a state that is set to 0.
            at_t = [x[t] if isinstance(x, Tensor) else x for x in inputs]
            with numbers_of(like.dtype):
                returned = core(*at_t, *current, **given)
            out, *new = (_for_all(x, like[t]) for x in returned)
            current = tuple(new)
            outputs.append(out)
            for name, value in zip(core.state, current, strict=True):
                if name in watch:
                    watch[name].append(value)
        return (torch.stack(outputs) if outputs else torch.empty_like(like)), current

    def note(values: Mapping[str, Any]) -> None:
        for name in local:
            watch[name].append(_for_all(values[name], like[0]))

    return with_locals(core.step, steps, note) if local else steps()


def _for_all(value: Any, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else torch.full_like(like, value)
