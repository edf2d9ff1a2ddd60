from __future__ import annotations

import dataclasses
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neurosim.datasets import delta_modulation, direct, latency, rate
from neurosim.errors import InputError, ShapeError, UnitError

EVERY = {
    "rate": rate(10, max_rate=200.0, dt=1e-3),
    "latency": latency(10),
    "membrane": latency(10, tau=20e-3, threshold=0.1, dt=1e-3),
    "delta": delta_modulation(0.1),
    "direct": direct(10),
}
unit = st.floats(0, 1, width=32)
seeded = settings(derandomize=True, deadline=None, max_examples=60)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spike_step(spikes: torch.Tensor) -> list[int | None]:
    """In which step each neuron of [T, N] spikes; None: in no step."""
    assert spikes.sum(0).max() <= 1
    return [int(column.argmax()) if column.any() else None for column in spikes.T]


# rate


@seeded
@given(value=unit, share=st.floats(0.05, 1.0), seed=st.integers(0, 2**31))
def test_rate_converges_to_the_probability(value, share, seed):
    steps, neurons, dt = 100, 200, 1e-3
    spikes = rate(steps, max_rate=share / dt, dt=dt)(torch.full((1, neurons), value), generator(seed))
    n, p = steps * neurons, value * share
    # Five standard deviations of the binomial, and one spike for values whose deviation is below that.
    assert abs(spikes.sum().item() - n * p) <= 5 * math.sqrt(n * p * (1 - p)) + 1
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}


def test_rate_is_in_hertz():
    spikes = rate(1000, max_rate=50.0, dt=2e-3)(torch.ones(1, 500), generator())
    seconds = 1000 * 2e-3 * 500
    assert spikes.sum().item() / seconds == pytest.approx(50.0, rel=0.03)


def test_rate_draws_every_step_and_neuron_anew():
    spikes = rate(400, max_rate=500.0, dt=1e-3)(torch.ones(1, 400), generator())[:, 0]
    assert abs(np.corrcoef(spikes[:-1].flatten(), spikes[1:].flatten())[0, 1]) < 0.02
    assert abs(np.corrcoef(spikes[:, :-1].flatten(), spikes[:, 1:].flatten())[0, 1]) < 0.02


def test_rate_is_exact_at_both_ends():
    spikes = rate(1000, max_rate=1000.0, dt=1e-3)(torch.tensor([[0.0, 1.0]]), generator())
    assert spikes.sum(0).tolist() == [[0.0, 1000.0]]


def test_rate_depends_on_its_generator_alone():
    encode, x = rate(20, max_rate=500.0, dt=1e-3), torch.rand(3, 4)
    assert torch.equal(encode(x, generator(1)), encode(x, generator(1)))
    assert not torch.equal(encode(x, generator(1)), encode(x, generator(2)))


@pytest.mark.parametrize("dt", [1e-3, 3e-4, 7e-3])
def test_rate_allows_one_spike_a_step_and_no_more(dt):
    assert rate(5, max_rate=1 / dt, dt=dt)(torch.ones(1, 3)).sum() == 15
    with pytest.raises(
        InputError, match=r"asks for a spike with probability 1\.01 in each step; at most 1 .*max_rate <="
    ):
        rate(5, max_rate=1.01 / dt, dt=dt)


def test_rate_forgives_a_dt_that_was_rounded_up():
    dt = math.nextafter(1e-3, 1)
    assert 1000.0 * dt > 1
    assert rate(5, max_rate=1000.0, dt=dt)(torch.ones(1, 3)).sum() == 15


@pytest.mark.parametrize("max_rate", [0.0, -5.0, math.inf, math.nan])
def test_rate_needs_a_positive_rate(max_rate):
    with pytest.raises(InputError, match=r"max_rate = .* Hz, but it must be positive and finite"):
        rate(5, max_rate=max_rate, dt=1e-3)


# latency


@seeded
@given(values=st.lists(unit, min_size=1, max_size=30), steps=st.integers(1, 50), leaky=st.booleans())
def test_latency_is_monotone_with_one_spike_at_most(values, steps, leaky):
    encode = latency(steps, tau=20e-3, threshold=0.05, dt=1e-3) if leaky else latency(steps)
    values = sorted(values)
    found = spike_step(encode(torch.tensor([values]))[:, 0])
    when = [math.inf if step is None else step for step in found]
    assert when == sorted(when, reverse=True)


@seeded
@given(value=unit, steps=st.integers(1, 50))
def test_latency_follows_its_linear_law(value, steps):
    (found,) = spike_step(latency(steps)(torch.tensor([[value]]))[:, 0])
    assert found == (None if value == 0 else round((1 - value) * (steps - 1)))


@seeded
@given(
    value=st.floats(1 / 64, 1, width=32),
    threshold=st.floats(0.01, 0.9),
    tau=st.floats(1e-3, 0.1),
    dt=st.sampled_from([1e-4, 5e-4, 1e-3]),
)
def test_latency_with_tau_is_the_first_spike_of_a_leaky_membrane(value, threshold, tau, dt):
    steps, decay, v, expected = 60, math.exp(-dt / tau), 0.0, None
    closest = math.inf
    for step in range(steps):
        v = decay * v + (1 - decay) * value
        closest = min(closest, abs(v - threshold))
        if v > threshold:
            expected = step
            break
    assume(closest > 1e-9)  # where the membrane touches the threshold, rounding decides
    encode = latency(steps, tau=tau, threshold=threshold, dt=dt)
    assert spike_step(encode(torch.tensor([[value]]))[:, 0]) == [expected]


def test_latency_is_silent_where_the_membrane_needs_longer_than_there_is():
    def value(time):  # the current that reaches 0.1 at this time
        return 0.1 / (1 - math.exp(-time / 20e-3))

    encode = latency(5, tau=20e-3, threshold=0.1, dt=1e-3)
    x = torch.tensor([[value(4.5e-3), value(5.5e-3), value(6.5e-3)]])
    assert spike_step(encode(x)[:, 0]) == [4, None, None]


def test_latency_silences_what_is_not_above_the_threshold():
    assert spike_step(latency(5, threshold=0.5)(torch.tensor([[0.0, 0.5, 0.75, 1.0]]))[:, 0]) == [None, None, 1, 0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tau": 20e-3}, InputError, r"tau = 0\.02 and dt = None: give both"),
        ({"dt": 1e-3}, InputError, r"tau = None and dt = 0\.001: give both"),
        (
            {"tau": 20.0, "dt": 1e-3, "threshold": 0.1},
            UnitError,
            r"latency: tau must be .*got 20\.0\. Did you pass milliseconds\? 20 ms is 0\.02 s",
        ),
        ({"tau": -1e-3, "dt": 1e-3, "threshold": 0.1}, UnitError, r"latency: tau must be .*got -0\.001"),
        ({"tau": 20e-3, "dt": 1e-3}, InputError, r"threshold = 0 with tau: .*Give a threshold above 0"),
        ({"threshold": 1.0}, InputError, r"threshold = 1\.0, but it must be at least 0 and below 1"),
        ({"threshold": math.nan}, InputError, r"threshold = nan, but"),
    ],
)
def test_latency_parameters_that_do_not_fit_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        latency(5, **change)


# delta

signals = st.lists(st.lists(st.floats(-5, 5, width=32), min_size=3, max_size=3), min_size=1, max_size=40)


@seeded
@given(signal=signals, threshold=st.floats(0.01, 2))
def test_graded_delta_is_never_a_threshold_away(signal, threshold):
    x = torch.tensor(signal)[:, None]
    encode = delta_modulation(threshold, graded=True)
    spikes = encode(x)
    assert (encode.decode(spikes, x[0]) - x).abs().max() <= threshold * (1 + 1e-5) + 1e-5
    assert torch.equal(spikes, spikes.round()) and spikes.min() >= 0
    assert not (spikes[:, :, 0] * spikes[:, :, 1]).any()  # never up and down at once


@seeded
@given(signal=signals, threshold=st.floats(0.01, 2))
def test_delta_is_never_a_threshold_away_from_slow_signals(signal, threshold):
    # Made slow: no step changes by more than the threshold.
    x = torch.tensor(signal)[:, None].clamp(-1, 1).cumsum(0) * (threshold * 0.999)
    encode = delta_modulation(threshold)
    spikes = encode(x)
    assert (encode.decode(spikes, x[0]) - x).abs().max() <= threshold * (1 + 1e-5) + 1e-5
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}


def test_delta_lags_behind_a_jump_and_catches_up():
    x = torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0])[:, None]
    spikes = delta_modulation(0.5)(x)
    assert spikes[:, 0].tolist() == [[0, 0], [1, 0], [1, 0], [0, 0], [0, 0]]
    assert delta_modulation(0.5).decode(spikes, x[0]).flatten().tolist() == [0, 0.5, 1, 1, 1]
    assert delta_modulation(0.5, graded=True)(x)[1, 0].tolist() == [2, 0]


@pytest.mark.parametrize("graded", [False, True])
def test_delta_waits_for_a_whole_threshold(graded):
    x = torch.tensor([0.0, 0.9, 1.0, 0.1, 0.0])[:, None]
    assert delta_modulation(1.0, graded=graded)(x)[:, 0].tolist() == [[0, 0], [0, 0], [1, 0], [0, 0], [0, 1]]


def test_delta_puts_its_channels_after_the_batch():
    assert delta_modulation(0.1)(torch.rand(7, 2, 3, 4)).shape == (7, 2, 2, 3, 4)
    assert delta_modulation(0.1)(torch.rand(7, 2)).shape == (7, 2, 2)
    with pytest.raises(ShapeError, match=r"shape \(7,\); delta_modulation needs time and batch first"):
        delta_modulation(0.1)(torch.rand(7))
    with pytest.raises(
        ShapeError, match=r"spikes have shape \(7, 2, 3\) .*expected \[T, B, 2, \.\.\.\] and \[B, \.\.\.\]"
    ):
        delta_modulation(0.1).decode(torch.zeros(7, 2, 3), torch.zeros(2))
    with pytest.raises(ShapeError, match=r"first value \(1,\)"):
        delta_modulation(0.1).decode(torch.zeros(7, 2, 2), torch.zeros(1))


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan, math.inf])
def test_delta_needs_a_positive_threshold(threshold):
    with pytest.raises(InputError, match=r"threshold = .*must be positive and finite"):
        delta_modulation(threshold)


# direct


def test_direct_is_exact_and_copies_nothing():
    x = torch.randn(3, 4)
    current = direct(1000)(x)
    assert current.shape == (1000, 3, 4)
    assert (current == x).all()
    assert current.data_ptr() == x.data_ptr() and current.stride(0) == 0


# all of them


@pytest.mark.parametrize("encode", EVERY.values(), ids=EVERY)
def test_encoders_are_frozen_values(encode):
    assert pickle.loads(pickle.dumps(encode)) == encode
    assert hash(dataclasses.replace(encode)) == hash(encode)
    with pytest.raises(dataclasses.FrozenInstanceError):
        encode.steps = 3


@pytest.mark.parametrize("encode", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("shape", [(2, 3), (2, 1, 4, 4), (2, 0)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_output_is_float32_time_first(encode, shape, dtype):
    x = torch.rand(shape).to(dtype)
    x = x.expand(10, *shape) if encode.timed_input else x
    z = encode(x)
    assert z.dtype == torch.float32
    assert z.shape == ((10, 2, 2, *shape[1:]) if encode.timed_input else (10, *shape))


@pytest.mark.parametrize("name", ["rate", "latency", "membrane"])
@pytest.mark.parametrize(("bad", "shown"), [(math.nan, "nan"), (-0.25, "-0.25"), (1.5, "1.5"), (math.inf, "inf")])
def test_values_outside_the_unit_range_are_named_with_their_place(name, bad, shown):
    x = torch.full((3, 4), 0.5)
    x[2, 1] = bad
    with pytest.raises(
        InputError, match=rf"x\[2, 1\] = {shown} \(1 of 12 values .* must be in \[0, 1\]\. Scale the data"
    ):
        EVERY[name](x)


@pytest.mark.parametrize("name", ["delta", "direct"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_named_with_their_place(name, bad):
    x = torch.full((3, 4), -2.5)
    EVERY[name](x)
    x[0, 3] = bad
    with pytest.raises(InputError, match=rf"x\[0, 3\] = {bad} .* must be finite\. Repair or drop the sample"):
        EVERY[name](x)


@pytest.mark.parametrize("encode", EVERY.values(), ids=EVERY)
def test_whole_numbers_are_refused_with_what_to_do(encode):
    with pytest.raises(InputError, match=r"x is torch\.uint8, but encoders take floating point.*8-bit pixels by 255"):
        encode(torch.zeros(3, 4, dtype=torch.uint8))


@pytest.mark.parametrize("make", [lambda n: rate(n, max_rate=1.0, dt=1e-3), latency, direct])
@pytest.mark.parametrize("steps", [0, -1, 2.5, True])
def test_steps_are_a_positive_whole_number(make, steps):
    with pytest.raises(InputError, match=r"steps = .*must be an integer from 1"):
        make(steps)


@pytest.mark.parametrize("make", [lambda dt: rate(5, max_rate=0.5, dt=dt), lambda dt: latency(5, tau=0.02, dt=dt)])
def test_dt_that_looks_like_milliseconds_gets_that_question(make):
    with pytest.raises(
        UnitError, match=r"(rate|latency): dt .*got 1\.0\. Did you pass milliseconds\? 1 ms is 0\.001 s"
    ):
        make(1.0)
    for dt in (0.0, -1e-3, math.nan, math.inf):
        with pytest.raises(UnitError, match=r"dt must be a number in \(0, 0.1\) s; got"):
            make(dt)
