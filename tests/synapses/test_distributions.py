"""Distributions of weights and delays: moments, bounds, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

import neurosim as ns
from neurosim.errors import InputError
from neurosim.synapses.connectivity import AllToAll
from neurosim.synapses.delayed_sparse import DelayedSparse
from neurosim.synapses.distributions import Constant, Distribution, LogNormal, Normal, Uniform

N = 200_000


def numbers(distribution: Distribution, seed: int = 0) -> np.ndarray:
    return ns.Sparse.drawn(1, N, AllToAll(), weight=distribution, seed=seed).weight.detach().double().numpy()


@pytest.mark.parametrize(
    ("distribution", "mean", "variance"),
    [
        (Constant(2.5), 2.5, 0.0),
        (Uniform(-1.0, 3.0), 1.0, 16 / 12),
        (Normal(1.0, 0.5), 1.0, 0.25),
        (LogNormal(-1.0, 0.3), math.exp(-1 + 0.045), (math.exp(0.09) - 1) * math.exp(-2 + 0.09)),
        # Standard normal from 0 on: redrawn is half-normal; clipped has half of its numbers at 0.
        (Normal(0.0, 1.0, low=0.0, outside="redrawn"), math.sqrt(2 / math.pi), 1 - 2 / math.pi),
        (Normal(0.0, 1.0, low=0.0, outside="clipped"), 1 / math.sqrt(2 * math.pi), 0.5 - 1 / (2 * math.pi)),
        (Normal(0.0, 1.0, low=-1.0, high=1.0, outside="redrawn"), 0.0, 0.291125),
        (Normal(3.0, 0.0, low=3.0, outside="redrawn"), 3.0, 0.0),
    ],
)
def test_mean_and_variance(distribution, mean, variance):
    drawn = numbers(distribution)
    assert drawn.min() >= distribution.lowest
    assert abs(drawn.mean() - mean) <= 5 * math.sqrt(variance / N)
    assert abs(drawn.var() - variance) <= 0.02 * variance


def test_bounds_hold_and_a_clipped_number_is_the_bound():
    clipped = numbers(LogNormal(0.0, 1.0, low=0.5, high=2.0, outside="clipped"))
    redrawn = numbers(LogNormal(0.0, 1.0, low=0.5, high=2.0, outside="redrawn"))
    beyond = 0.5 * (1 + math.erf(math.log(0.5) / math.sqrt(2)))
    for drawn in (clipped, redrawn):
        assert drawn.min() >= 0.5 and drawn.max() <= 2.0
    assert abs((clipped == 0.5).mean() - beyond) < 0.005 and abs((clipped == 2.0).mean() - beyond) < 0.005
    assert ((redrawn == 0.5) | (redrawn == 2.0)).mean() < 1e-3  # within half a unit of a bound


def test_delays_of_a_microcircuit_are_redrawn_or_clipped():
    """Truncated at one step the mean is 0.7869 ms, with the mass on the bound 0.7630 ms."""
    means = {}
    for outside in ("redrawn", "clipped"):
        delay = Normal(0.75e-3, 0.375e-3, low=0.1e-3, outside=outside)
        steps = DelayedSparse.drawn(1, N, AllToAll(), delay=delay, seed=4, dt=0.1e-3).delay.double()
        assert steps.min() == 1
        means[outside] = float(steps.mean()) * 0.1e-3
    z = (0.1 - 0.75) / 0.375
    density, above = math.exp(-z * z / 2) / math.sqrt(2 * math.pi), 0.5 * math.erfc(z / math.sqrt(2))
    redrawn = 0.75 + 0.375 * density / above
    clipped = 0.1 * (1 - above) + 0.75 * above + 0.375 * density
    assert means["redrawn"] == pytest.approx(redrawn * 1e-3, abs=4e-6)  # 4.5 standard errors
    assert means["clipped"] == pytest.approx(clipped * 1e-3, abs=4e-6)
    assert redrawn - clipped > 0.02


def test_a_law_too_wide_for_a_grid_is_refused_by_name():
    with pytest.raises(InputError, match=r"weights of LogNormal\(.*sigma=200.0\) on a grid of 15 bits would be off by"):
        numbers(LogNormal(0.0, 200.0))
    bounded = numbers(LogNormal(0.0, 3.0, high=20.0, outside="redrawn"))
    assert bounded.min() >= 0 and bounded.max() <= 20.0


def test_the_law_of_a_clipped_number_is_that_of_its_bounds():
    law = Normal(0.0, 1.0, low=-1.0, high=2.0, outside="clipped")
    assert law.below(np.array([-1.0, -0.999999, 2.0, 2.1])) == pytest.approx([0.0, 0.15866, 0.97725, 1.0], abs=1e-5)
    assert law.support == (-1.0, 2.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Constant(math.nan), "Constant: value must be a finite number; got nan."),
        (lambda: Constant(True), "Constant: value must be a finite number; got True."),
        (lambda: Uniform(2.0, 1.0), "Uniform: low must be at most high; got 2.0 and 1.0."),
        (lambda: Normal(0.0, -1.0), "Normal: std must be at least 0; got -1.0."),
        (lambda: LogNormal(0.0, -1.0), "LogNormal: sigma must be at least 0; got -1.0."),
        (
            lambda: Normal(0.0, 1.0, low=0.0),
            "Normal: bounds need outside='clipped' (numbers beyond become the bound) or outside='redrawn', and outside "
            "needs a bound; got low=0.0, high=inf, outside=None.",
        ),
        (
            lambda: Normal(0.0, 1.0, outside="clipped"),
            "Normal: bounds need outside='clipped' (numbers beyond become the bound) or outside='redrawn', and outside "
            "needs a bound; got low=-inf, high=inf, outside='clipped'.",
        ),
        (
            lambda: Normal(0.0, 1.0, low=0.0, outside="cut"),
            "Normal: outside must be 'clipped' or 'redrawn'; got 'cut'.",
        ),
        (
            lambda: Normal(0.0, 1.0, low=1.0, high=1.0, outside="clipped"),
            "Normal: low must be below high; got 1.0 and 1.0.",
        ),
        (
            lambda: Normal(0.0, 1.0, low=5.0, outside="redrawn"),
            "Normal: a share of 2.9e-07 lies between low=5.0 and high=inf, too small to draw again until all do; move "
            "the bounds, or use outside='clipped'.",
        ),
    ],
)
def test_what_is_no_distribution_is_refused(make, said):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == said
