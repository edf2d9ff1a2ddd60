"""Synapses whose probability depends on the distance: the profile is met, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit import ByDistance, ExponentialProfile, GaussianProfile
from neurosim.errors import InputError, NeurosimError, ShapeError
from neurosim.synapses import distance

GRID = np.stack(np.meshgrid(np.arange(30.0), np.arange(30.0)), -1).reshape(-1, 2)


@pytest.mark.parametrize(
    ("profile", "given"),
    [
        (GaussianProfile(0.6, 3.0), {}),
        (ExponentialProfile(0.9, 4.0), {}),
        (lambda d: np.where(d < 5.0, 0.25, 0.01), dict(maximum=0.25)),
        (lambda d: 1.0 / (1.0 + d), {}),
    ],
)
@pytest.mark.parametrize("period", [None, (30, 30)])
def test_pairs_are_as_probable_as_their_distance_says(profile, given, period):
    rule = ByDistance(torch.from_numpy(GRID), GRID, profile, period=period, **given)
    synapse = ns.Sparse.drawn(900, 900, rule, seed=1)
    assert synapse.multapses == 0
    apart = GRID[:, None] - GRID[None]
    if period:
        apart -= 30 * np.rint(apart / 30)
    law = profile(np.sqrt((apart**2).sum(-1)))
    found = (synapse.to_scipy().toarray() != 0).T
    shells = np.digitize(np.sqrt((apart**2).sum(-1)), [0.5, 2, 4, 6, 9, 13, 20])
    for shell in range(8):
        mine = shells == shell
        expected = law[mine].sum()
        deviation = (law[mine] * (1 - law[mine])).sum() ** 0.5
        assert abs(found[mine].sum() - expected) <= 4.5 * deviation + 1e-9
    plan = ns.Drawn(rule, 0.5).bind(900, 900, "a->a", 0, 1e-3, True).plan()
    assert abs(plan.synapses / law.sum() - 1) < 0.03


def test_a_neuron_itself_and_blocks(monkeypatch):
    rule = ByDistance(GRID, GRID, GaussianProfile(1.0, 2.0), autapses="excluded")
    one = ns.Sparse.drawn(900, 900, rule, seed=3)
    assert not (one.connections[0] == one.connections[1]).any()
    monkeypatch.setattr(distance, "_BLOCK", 100)
    assert torch.equal(ns.Sparse.drawn(900, 900, rule, seed=3).connections, one.connections)


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda: GaussianProfile(0.0, 1.0), InputError, "peak must be in (0, 1] and width above 0; got 0.0 and 1.0"),
        (lambda: ExponentialProfile(0.5, -1.0), InputError, "ExponentialProfile: peak must be in (0, 1]"),
        (lambda: ByDistance(GRID[:, 0], GRID, GaussianProfile(1.0, 1.0)), ShapeError, "positions_in must be finite"),
        (lambda: ByDistance(GRID, GRID * np.nan, GaussianProfile(1.0, 1.0)), ShapeError, "a number that is not finite"),
        (lambda: ByDistance(GRID, GRID[:, :1], GaussianProfile(1.0, 1.0)), ShapeError, "equal dimensions; got 2 and 1"),
        (lambda: ByDistance(GRID, GRID, 0.5), InputError, "probability must be a function of distances"),
        (lambda: ByDistance(GRID, GRID, np.cos, maximum=2), InputError, "maximum in (0, 1]"),
        (lambda: ByDistance(GRID, GRID, np.cos, period=(1,)), InputError, "period must be 2 numbers above 0"),
        (
            lambda: drawn(lambda d: 1 + d),
            InputError,
            "probability must lie in [0, maximum=1]; got 14 at the distance 13.",
        ),
        (lambda: drawn(lambda d: 0.5), ShapeError, "probability must return"),
        (
            lambda: ns.Sparse.drawn(8, 900, ByDistance(GRID, GRID, GaussianProfile(1.0, 1.0)), seed=0),
            ShapeError,
            "positions_in must be of 8 neurons; got 900 positions.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, kind, said):
    with pytest.raises(NeurosimError) as caught:
        make()
    assert isinstance(caught.value, kind) and said in str(caught.value)


def drawn(profile: object) -> ns.Sparse:
    return ns.Sparse.drawn(900, 900, ByDistance(GRID, GRID, profile), seed=0)  # type: ignore[arg-type]
