"""The rule for comparing spikes where bits cannot agree: part only where the reference stood at its threshold."""

from __future__ import annotations

import torch
from torch import Tensor


def assert_parts_only_at_threshold(z: Tensor, reference: Tensor, distance: Tensor, tolerance: float) -> int:
    """Check spikes against a reference that was computed with other rounding.

    A neuron's spikes must be those of the reference up to a step where the reference stood within a tolerance
    of its threshold; what a neuron does after it has parted says nothing.

    Parameters
    ----------
    z, reference : Tensor [T, ...]
        Spikes of the two.
    distance : Tensor [T, ...]
        Membrane minus threshold of the reference at each step, before reset.
    tolerance : float
        Largest ``|distance|`` at which a neuron may part.

    Returns
    -------
    int
        How many neurons parted.

    Raises
    ------
    AssertionError
        Naming the neuron that parted furthest from its threshold, and the step.
    """
    assert z.shape == reference.shape == distance.shape, (z.shape, reference.shape, distance.shape)
    differs = (z != reference).flatten(1)
    if not differs.numel():
        return 0
    parted = differs.any(0)
    first = differs.to(torch.uint8).argmax(0)
    away = distance.flatten(1).abs().gather(0, first[None])[0]
    # Written so that a distance that is not a number fails.
    wrong = parted & ~(away <= tolerance)
    if wrong.any():
        worst = int(torch.where(wrong, away.nan_to_num(torch.inf), -1.0).argmax())
        raise AssertionError(
            f"{int(wrong.sum())} neuron(s) part from the reference away from threshold; the furthest is number {worst} "
            f"at step {int(first[worst])}, {float(away[worst]):.3g} from it (allowed {tolerance:.3g})."
        )
    return int(parted.sum())
