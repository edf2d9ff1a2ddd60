"""The definition: the step function of a core, run step by step on tensors with plain autograd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.language import Core


def run(
    core: Core,
    i: Tensor,
    state: Sequence[Tensor],
    given: Mapping[str, Any],
    *,
    through_time: bool = True,
    watch: Mapping[str, list[Tensor]] | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run `core` over ``i`` [T, ...] from `state`; every fused kernel is compared with this.

    Parameters
    ----------
    core : Core
        The neuron model.
    i : Tensor [T, ...]
        Input current.
    state : sequence of Tensor [...]
        State before the first step.
    given : mapping
        What the step asks for by keyword.
    through_time : bool
        Without it the state is cut off from the gradient before every step.
    watch : mapping of state name to list, optional
        Lists that receive the new value of that state after each step.

    Returns
    -------
    out : Tensor [T, ...]
    state : tuple of Tensor [...]
        After the last step.
    """
    outputs = []
    current = tuple(state)
    for i_t in i:
        if not through_time:
            current = tuple(s.detach() for s in current)
        # A step may return the same number for all neurons, such as a state that is set to 0.
        out, *new = (x if isinstance(x, Tensor) else torch.full_like(i_t, x) for x in core(i_t, *current, **given))
        current = tuple(new)
        outputs.append(out)
        for name, value in zip(core.state, current, strict=True):
            if watch and name in watch:
                watch[name].append(value)
    return (torch.stack(outputs) if outputs else torch.empty_like(i)), current
