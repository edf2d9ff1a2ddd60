"""What synapses with delays refuse."""

from __future__ import annotations

import math

import pytest
import torch

from neurosim.errors import InputError, ShapeError
from neurosim.synapses import DelayedLinear, RoundedDelays
from neurosim.synapses.delay_schedule import decreasing_width
from tests.synapses.delays import DT, layer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DelayedLinear(0, 2, 5e-3, dt=DT), "n_in must be an integer from 1; got 0"),
        (
            lambda: DelayedLinear(3, 2, 5.5e-3, dt=DT),
            "must be an integer number of steps of 0.001 s; got 0.0055",
        ),
        (lambda: DelayedLinear(3, 2, 25.0, dt=DT), "Did you pass milliseconds?"),
        (lambda: DelayedLinear(3, 2, math.nan, dt=DT), "max_delay must be an integer number"),
        (lambda: DelayedLinear(3, 2, 0.0, dt=DT), "max_delay must be at least one step"),
        (lambda: DelayedLinear(3, 2, 5e-3, dt=DT, variant="book"), 'variant must be "code" or "paper"; got \'book\''),
        (lambda: layer(3, 2).narrow(0.0), "width must be above 0 steps; got 0.0"),
        (lambda: decreasing_width(24, -1, 10), "epoch must be an integer from 0; got -1"),
        (
            lambda: RoundedDelays(torch.ones(2, 3), torch.full((2, 3), -1), max_delay=0.0, dt=DT),
            "lie in 0 to 0 steps; got -1",
        ),
        (lambda: RoundedDelays(torch.ones(2, 3), torch.full((2, 3), 4), max_delay=3e-3, dt=DT), "in 0 to 3 steps"),
        (
            lambda: RoundedDelays(torch.ones(2, 3), torch.ones(2, 3), dt=DT),
            "in steps, of int64; got torch.float32",
        ),
    ],
)
def test_numbers_that_cannot_be_are_refused(make, message):
    with pytest.raises(InputError) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layer(3, 2)(torch.ones(5, 3)), "spikes must be [T, B, 3]; got [5, 3]"),
        (lambda: layer(3, 2)(torch.ones(5, 1, 4)), "spikes must be [T, B, 3]; got [5, 1, 4]"),
        (lambda: layer(3, 2)(torch.ones(5, 1, 3), torch.ones(4, 1, 3)), "last 24 steps, [24, 1, 3]; got [4, 1, 3]"),
        (lambda: RoundedDelays(torch.ones(2, 3), torch.zeros(3, 2).long(), dt=DT), "got [2, 3] of torch.float32 and"),
        (lambda: RoundedDelays(torch.ones(2, 3), torch.zeros(2, 3).long(), torch.ones(3), dt=DT), "bias must be [2]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ShapeError) as error:
        make()
    assert message in str(error.value)


def test_integers_and_delays_that_are_not_finite_are_refused():
    made = layer(3, 2)
    with pytest.raises(InputError, match=r"floating point; got torch.int64. Use x.float\(\)"):
        made(torch.ones(5, 1, 3, dtype=torch.int64))
    with torch.no_grad():
        made.delay[0, 0] = math.nan
    with pytest.raises(InputError, match="delay holds NaN or infinity"):
        made.rounded()
