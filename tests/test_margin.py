"""The margin rule itself: it lets pass what rounding does and nothing more."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from tests.margin import assert_parts_only_at_threshold


def run(nudge: float, at: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return spikes with one input nudged, without, and the distance to threshold without."""
    layer = ns.LIF(dt=1e-3)
    i = torch.randn(60, 2, 50, dtype=torch.float64) * 4 + 1
    nudged = i.clone()
    nudged[at] += nudge
    z, _, values, *_ = layer.run(i, record=("u",))
    return layer(nudged)[0], z, values["u"] - 1.0


def closest() -> tuple[int, int, int]:
    _, _, distance = run(0.0, (0, 0, 0))
    flat = int(distance.abs().argmin())
    torch.manual_seed(0)
    step, sample, neuron = (int(n) for n in torch.unravel_index(torch.tensor(flat), distance.shape))
    return step, sample, neuron


def test_equal_spikes_pass():
    z, reference, distance = run(0.0, (0, 0, 0))
    assert assert_parts_only_at_threshold(z, reference, distance, 0.0) == 0


def test_a_flip_within_the_tolerance_passes_with_all_that_follows_from_it():
    at = closest()
    _, _, distance = run(0.0, at)
    gap = float(distance[at])
    torch.manual_seed(0)
    z, reference, distance = run(-3 * gap / (1 - float(ns.LIF(dt=1e-3).decay("tau_mem"))), at)
    assert assert_parts_only_at_threshold(z, reference, distance, abs(gap) * 1.01) == 1


def test_a_flip_away_from_threshold_is_refused():
    z, reference, distance = run(0.0, (0, 0, 0))
    far = int((distance[:, 0, 7].abs() > 0.1).nonzero()[0])
    z[far, 0, 7] = 1 - z[far, 0, 7]
    with pytest.raises(AssertionError, match=rf"1 neuron\(s\) part .* number 7 at step {far}"):
        assert_parts_only_at_threshold(z, reference, distance, 1e-3)


def test_a_large_flip_is_not_hidden_by_a_small_one_elsewhere():
    z, reference, distance = run(0.0, (0, 0, 0))
    distance[5, 1, 3] = 1e-9
    z[5, 1, 3] = 1 - z[5, 1, 3]
    z[9, 0, 4] = 1 - z[9, 0, 4]
    distance[9, 0, 4] = 0.2
    with pytest.raises(AssertionError, match=r"1 neuron\(s\) part .* number 4 at step 9"):
        assert_parts_only_at_threshold(z, reference, distance, 1e-6)


def test_a_membrane_that_is_not_a_number_is_no_excuse():
    z, reference, distance = run(0.0, (0, 0, 0))
    z[3, 0, 0] = 1 - z[3, 0, 0]
    distance[3, 0, 0] = torch.nan
    with pytest.raises(AssertionError, match="number 0 at step 3"):
        assert_parts_only_at_threshold(z, reference, distance, 1.0)


def test_no_steps_no_parting():
    nothing = torch.zeros(0, 2, 3)
    assert assert_parts_only_at_threshold(nothing, nothing, nothing, 0.0) == 0
