"""Voltage jumps without a grid: closed forms, the rules for ties, and NEST's exact times.

`benchmarks/peers/golden_nest.py` wrote the spikes of NEST.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import wiring
from neurosim.circuit.asynchronous import jump_events
from neurosim.errors import InputError, ShapeError, UnitError

CELL = {"tau_mem": 20e-3, "t_ref": 5e-3, "v_leak": -49.0, "v_th": -50.0, "v_reset": -60.0}
QUIET = CELL | {"v_leak": -60.0}
NONE = ([], [], [])


def times_of(events, neuron: int) -> list[float]:
    return events.time[events.neuron == neuron].tolist()


def test_a_neuron_that_fires_by_itself_has_the_interval_of_the_closed_form() -> None:
    events = jump_events(*NONE, [-55.0, -50.5], **CELL, delay=1e-3, duration=0.5)
    period = 5e-3 + 20e-3 * math.log(11.0)
    for neuron, start in ((0, 20e-3 * math.log(6.0)), (1, 20e-3 * math.log(1.5))):
        expected = np.arange(start, 0.5, period)
        assert times_of(events, neuron) == pytest.approx(expected, abs=1e-14)


def test_a_neuron_fires_when_a_jump_reaches_the_threshold() -> None:
    pre, post = [0, 0, 0], [1, 2, 2]
    events = jump_events(pre, post, [9.0, 4.0, 5.0], [-50.5, -59.9, -59.9], **CELL, delay=1e-3, duration=15e-3)
    arrival = 20e-3 * math.log(1.5) + 1e-3
    v = -49 - 10.9 * math.exp(-arrival / 20e-3)
    assert v + 9.0 >= -50.0
    assert times_of(events, 1)[0] == times_of(events, 2)[0] == pytest.approx(arrival, abs=1e-15)


def test_the_membrane_decays_between_arrivals() -> None:
    # Two sources at known times; the target fires with the second if what is left of the first suffices.
    v0 = [-49 - 1.5, -49 - 2.5, -60.0]
    one, two = (20e-3 * math.log(x) + 2e-3 for x in (1.5, 2.5))
    free = -49 - 11 * math.exp(-two / 20e-3)
    left = 4.0 * math.exp(-(two - one) / 20e-3)
    needed = -50.0 - free - left
    for jump, fires in ((needed + 1e-9, True), (needed - 1e-9, False)):
        events = jump_events([0, 1], [2, 2], [4.0, jump], v0, **CELL, delay=2e-3, duration=two + 1e-6)
        assert (times_of(events, 2) == [pytest.approx(two, abs=1e-15)]) == fires


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_arrivals_at_one_time_are_added_before_the_threshold(order: list[int]) -> None:
    # Two neurons that start alike fire together; 12 and -11 arrive at once. One after the other, 12 alone would do.
    weight = np.array([12.0, -11.0])[order]
    events = jump_events([0, 1], [2, 2], weight, [-50.5, -50.5, -60.0], **CELL, delay=1e-3, duration=15e-3)
    assert times_of(events, 2) == []
    events = jump_events([0, 1], [2, 2], [6.0, 6.0], [-50.5, -50.5, -60.0], **CELL, delay=1e-3, duration=15e-3)
    assert len(times_of(events, 2)) == 1


def test_a_volley_makes_a_volley() -> None:
    # Neurons 1 and 2 fire with an arrival, so their spikes arrive at one time and are added.
    pre, post, weight = [0, 0, 1, 2], [1, 2, 3, 3], [12.0, 12.0, 12.0, -11.0]
    events = jump_events(pre, post, weight, [-50.5, -59.0, -60.0, -60.0], **CELL, delay=1e-3, duration=14e-3)
    assert times_of(events, 1) == times_of(events, 2) != []
    assert times_of(events, 3) == []


def test_arrivals_while_refractory_are_discarded() -> None:
    fires = 20e-3 * math.log(1.5)
    period = 5e-3 + 20e-3 * math.log(11.0)
    # The arrival at itself comes after the delay: within 5 ms it changes nothing, after that it does.
    for delay, changes in ((1e-3, False), (4.99e-3, False), (5.01e-3, True)):
        events = jump_events([0], [0], [3.0], [-50.5], **CELL, delay=delay, duration=0.1)
        assert (times_of(events, 0)[1] != pytest.approx(fires + period, abs=1e-14)) == changes


def test_refractoriness_ends_with_the_time_itself() -> None:
    events = jump_events([0], [0], [12.0], [-50.5], **CELL, delay=5e-3, duration=0.05)
    assert np.diff(times_of(events, 0)) == pytest.approx(np.full(8, 5e-3), abs=1e-15)


def test_without_a_drive_and_without_spikes_nothing_happens() -> None:
    assert len(jump_events([0, 1], [1, 0], [9.0, 9.0], [-55.0, -51.0], **QUIET, delay=1e-3, duration=1.0)) == 0


def test_several_synapses_of_a_pair_are_added() -> None:
    events = jump_events([0, 0, 0], [1, 1, 1], [4.0] * 3, [-50.5, -60.0], **CELL, delay=1e-3, duration=12e-3)
    assert len(times_of(events, 1)) == 1


def test_the_spikes_are_those_of_nest(root: Path) -> None:
    with np.load(root / "tests" / "data" / "nest_jumps.npz") as stored:
        theirs, neuron = stored["time_ms"] * 1e-3, stored["neuron"].astype(np.int64)
        matrix, nest = str(stored["matrix"]), str(stored["nest"])
    pre, post = wiring.pairwise(4000, 4000, 0.02, 2007)
    assert wiring.fingerprint(pre, post) == matrix
    weight = np.where(pre < 3200, 0.25, -2.25)
    v0 = wiring.uniform(4000, -60.0, -50.0, 23)
    events = jump_events(pre, post, weight, v0, **CELL, delay=1e-4, duration=0.3)
    # Spikes of one volley may be in another order in NEST: compare the trains of the neurons.
    ours, other = (np.lexsort((t, n)) for t, n in ((events.time, events.neuron), (theirs, neuron)))
    assert np.array_equal(events.neuron[ours], neuron[other]), f"NEST {nest}"
    assert len(theirs) == 11_436
    early = theirs[other] <= 0.2
    # 1e-9 s is the bar; within 0.2 s the times agree to 1e-12 s.
    np.testing.assert_allclose(events.time[ours], theirs[other], rtol=0.0, atol=1e-9, err_msg=f"NEST {nest}")
    assert np.abs(events.time[ours] - theirs[other])[early].max() <= 1e-12


@pytest.mark.parametrize(
    "wrong", [{"tau_mem": 20.0}, {"tau_mem": 0.0}, {"t_ref": -1e-3}, {"delay": 0.0}, {"delay": 1.5}]
)
def test_times_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(UnitError, match=f"{next(iter(wrong))} must be in"):
        jump_events(*NONE, [-55.0], **({**CELL, "delay": 1e-3, "duration": 0.1} | wrong))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(pre=[2]), r"pre must hold integers in 0 \.\.\. 1"),
        (dict(post=[-1]), "post must hold integers"),
        (dict(post=[0.0]), "post must hold integers"),
        (dict(weight=[math.inf]), "weight finite"),
        (dict(v=[-55.0, -50.0]), "below v_th"),
        (dict(v=[-55.0, math.nan]), "v must be finite"),
        (dict(v_reset=-50.0), "v_reset must be below v_th"),
        (dict(v_leak=math.nan), "v_leak finite"),
        (dict(duration=0.0), "duration must be above 0"),
    ],
)
def test_values_that_do_not_fit_are_refused(arguments: dict, message: str) -> None:
    good = dict(pre=[0], post=[1], weight=[1.0], v=[-55.0, -56.0], **CELL, delay=1e-3, duration=0.1)
    with pytest.raises(InputError, match=message):
        jump_events(**(good | arguments))


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"pre, post and weight \[n\]; got \[1\], \[2\], \[1\] and \[1\]"):
        jump_events([0, 0], [0], [1.0], [-55.0], **CELL, delay=1e-3, duration=0.1)
