"""When the gradients that come back through a recurrent edge are computed one by one on the CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from neurosim.compiler.plan import Plan
from neurosim.kernels.common import policy

# Share of neurons near threshold from which a dense product back in time is faster than a sum for each of them.
FEW = 0.5
_COUNTED = 16  # steps, at most, at which that share is measured


def few_near_threshold(plan: Plan, saved: Sequence[Tensor], numbers: Sequence[float]) -> bool:
    """Return whether so few neurons are near threshold that their gradients are computed one by one.

    Parameters
    ----------
    plan : Plan
    saved : sequence of Tensor [T, B, N]
        What the plan stored for the backward pass; T is 1 or more.
    numbers : sequence of float
        Those of the backward kernel.
    """
    if not saved:
        return False
    return is_few(count_near(plan, saved, numbers, 0, len(saved[0])), len(saved[0]), saved[0][0].numel())


def is_few(near: float, steps: int, neurons: int) -> bool:
    """Return whether `near` is few, as counted by `count_near` over `steps` steps of `neurons` neurons."""
    few = near < FEW * len(range(0, steps, -(-steps // _COUNTED))) * neurons
    return policy.choose(few) and near < math.inf


def count_near(plan: Plan, saved: Sequence[Tensor], numbers: Sequence[float], first: int, steps: int) -> float:
    """Return how many neurons are near threshold at some of the steps from `first` on; infinity if that is not known.

    The steps counted are the same however a run of `steps` steps is cut.
    """
    if not plan.program.is_limited or plan.program.output.args[0] not in plan.saved:
        return math.inf
    distance, support = plan.program.output.args[0], numbers[-1]
    interval = -(-steps // _COUNTED)
    some = saved[plan.saved.index(distance)][-first % interval :: interval]
    return int((some.abs() < support).sum())
