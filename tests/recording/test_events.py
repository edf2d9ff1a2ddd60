"""The container of events: its time convention, conversions, slices and refusals."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import neurosim as ns
from neurosim import Events
from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.recording.columns import steps_of

DT = 1e-3
seeded = settings(derandomize=True, deadline=None, max_examples=80)
steps_of_time = st.sampled_from([1e-3, 1e-4, 3e-4, 5e-3, 1 / 300, 7.3e-4])
grids = arrays.arrays(
    np.int64, arrays.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=6), elements=st.integers(0, 3)
)


@pytest.fixture
def grid():
    return (np.random.default_rng(0).random((7, 3, 2, 4)) < 0.3).astype(np.float32)


def triples(events):
    return list(zip(*(np.asarray(c).tolist() for c in (events.step, events.batch, events.neuron)), strict=True))


def binned(time, neuron, dt=DT, T=10, shape=1, batch=None, B=1):
    return Events(time=time, neuron=neuron, batch=batch, duration=T * dt, shape=shape, B=B).binned(dt, T)


def at_times(events):
    lists = {name: getattr(events, name) for name in ("time", "neuron", "batch")}
    return Events(**lists, duration=events.duration, B=events.B, shape=events.shape)


# Round trips


@seeded
@given(grid=grids, dt=steps_of_time)
def test_a_grid_of_counts_survives_the_round_trip(grid, dt):
    for given_grid in (grid, torch.from_numpy(grid)):
        events = Events.from_grid(given_grid, dt)
        assert len(events) == grid.sum()
        assert events.to_grid().dtype == torch.float32
        assert np.array_equal(events.to_grid().numpy(), grid)
        assert np.array_equal(events.to_grid(binary=True).numpy(), grid > 0)
        again = Events.from_grid(events.to_grid(), dt)
        assert triples(again) == triples(events)


@seeded
@given(grid=grids, dt=steps_of_time)
def test_times_lead_back_to_the_same_steps(grid, dt):
    events = Events.from_grid(grid, dt)
    assert triples(at_times(events).binned(dt, events.T)) == triples(events)


def test_a_recording_survives_the_way_to_events_and_back():
    net = ns.Sequential(ns.Linear(4, 6), ns.LIF(dt=DT, v_th=0.05), names=["out"])
    spikes = ns.simulate(net, torch.rand(50, 3, 4)).spikes["out"]
    assert spikes.step.max() == 49, "the last step is not being tested"
    again = at_times(spikes).binned(spikes.dt, spikes.T)
    assert triples(again) == triples(spikes)
    assert torch.equal(again.to_grid(), spikes.to_grid())


def test_nir_has_the_same_convention(grid):
    nir = pytest.importorskip("nir")
    data = nir.TimeGriddedData(grid.reshape(7, 3, 8).astype(bool).transpose(1, 0, 2), DT)
    theirs = data.to_event(n_events=100)
    ours = Events.from_grid(grid.reshape(7, 3, 8), DT)
    for sample in range(3):
        mine, valid = ours.samples(sample), theirs.idx[sample] >= 0
        assert np.array_equal(mine.neuron, theirs.idx[sample][valid])
        assert np.array_equal(mine.time, theirs.time[sample][valid])


# From real times to steps


@seeded
@given(
    events=st.lists(
        st.tuples(st.integers(0, 99), st.floats(0, 0.99), st.integers(0, 2), st.integers(0, 4)), max_size=30
    ),
    dt=steps_of_time,
)
def test_events_come_back_at_the_beginning_of_their_step(events, dt):
    time = np.array([(step + part) * dt for step, part, _, _ in events])
    sample, neuron = (np.array([event[k] for event in events], np.int64) for k in (2, 3))
    found = binned(time, neuron, dt, 100, 5, sample, 3)
    expected = sorted((step, batch, neuron) for step, _, batch, neuron in events)
    assert triples(found) == expected
    assert np.array_equal(found.time, np.array([step for step, *_ in expected]) * dt)


@seeded
@given(step=st.integers(0, 10**6), dt=steps_of_time, dtype=st.sampled_from([torch.float64, torch.float32]))
def test_a_boundary_belongs_to_the_step_that_begins_there(step, dt, dtype):
    assert steps_of(torch.tensor([step * dt], dtype=dtype), dt, step + 1).tolist() == [step]


def test_the_boundary_rule_in_numbers():
    def step(time):
        return binned([time], [0]).step.item()

    assert step(3 * 0.001) == 3
    assert step(0.0029999) == 2
    assert step(0.003 - 1e-10) == 3  # below by less than a millionth of a step
    assert step(0.0039) == 3
    assert step(np.nextafter(0.004, 0)) == 4
    assert step(np.float32(0.009)) == 9  # float32 cannot be nearer


def test_several_events_of_a_neuron_in_a_step_are_counted():
    events = binned([1.1e-3, 1.9e-3, 1.5e-3], [0, 0, 1], shape=2)
    assert events.to_grid()[1, 0].tolist() == [2, 1]
    assert events.to_grid(binary=True)[1, 0].tolist() == [1, 1]


# Form


def test_events_are_sorted_and_hold_the_spikes(grid):
    spikes = Events.from_grid(grid, DT)
    assert triples(spikes) == sorted(triples(spikes))
    assert {(t, b, 4 * y + x) for t, b, y, x in np.argwhere(grid).tolist()} == set(triples(spikes))
    assert (spikes.step.dtype, spikes.T, spikes.B, spikes.shape, len(spikes)) == (np.int64, 7, 3, (2, 4), grid.sum())
    assert repr(spikes) == f"<Events n={len(spikes)} T=7 dt=0.001 s B=3 shape=[2, 4]>"
    assert repr(binned([], [])) == "<Events n=0 T=10 dt=0.001 s B=1 shape=[1]>"
    assert repr(Events(time=[0.1], neuron=[0], duration=1, shape=2)) == "<Events n=1 duration=1 s B=1 shape=[2]>"


@pytest.mark.parametrize("seed", range(5))
def test_lists_in_any_order_are_sorted(grid, seed):
    spikes = Events.from_grid(grid, DT)
    order = np.random.default_rng(seed).permutation(len(spikes))
    lists = {name: getattr(spikes, name)[order] for name in ("step", "batch", "neuron")}
    assert triples(Events(**lists, T=7, dt=DT, B=3, shape=(2, 4))) == triples(spikes)
    lists["time"] = lists.pop("step") * DT
    assert triples(Events(**lists, duration=7 * DT, B=3, shape=(2, 4)).binned(DT, 7)) == triples(spikes)


def test_tensors_stay_tensors_and_arrays_arrays(grid):
    for form, kind in ((grid, np.ndarray), (torch.from_numpy(grid), torch.Tensor)):
        events = Events.from_grid(form, DT)
        lists = {name: getattr(events, name) for name in ("step", "batch", "neuron")}
        for each in (events, Events(**lists, T=7, dt=DT, B=3, shape=(2, 4)), events.between(1, 5), events.samples([2])):
            assert all(isinstance(c, kind) for c in (each.step, each.time, each.batch, each.neuron, each.count()))
        assert isinstance(events.numpy().step, np.ndarray)
        assert triples(events.numpy()) == triples(events)


def test_times_keep_their_gradient():
    time = torch.tensor([3e-3, 1e-3], dtype=torch.float64, requires_grad=True)
    events = Events(time=time, neuron=[0, 1], duration=5e-3, shape=2)
    assert events.neuron.tolist() == [1, 0]
    (events.time * torch.tensor([2.0, 5.0])).sum().backward()
    assert time.grad.tolist() == [5.0, 2.0]


def test_events_can_be_copied_and_pickled(grid):
    events = Events.from_grid(grid, DT)
    for twin in (copy.deepcopy(events), pickle.loads(pickle.dumps(events))):
        assert (triples(twin), twin.T, twin.B, twin.dt, twin.shape) == (triples(events), 7, 3, DT, (2, 4))


def test_counts_rates_and_times(grid):
    spikes = Events.from_grid(grid, DT)
    assert np.array_equal(spikes.count(), grid.sum(0))
    assert spikes.rate() == pytest.approx(grid.mean() / DT)
    assert np.array_equal(spikes.time, np.nonzero(grid)[0] * DT)
    assert spikes.duration == pytest.approx(7e-3)
    assert Events(time=[0.1], neuron=[0], duration=0.5, shape=2).rate() == 1.0


def test_runs_without_steps_or_samples(grid):
    for part in (grid[:0], grid[:, :0]):
        events = Events.from_grid(part, DT)
        assert events.rate() == 0.0
        assert events.to_grid().shape == part.shape
        assert events.count().shape == part.shape[1:]
    assert Events.from_grid(torch.ones(2, 2), DT).neuron.tolist() == [0] * 4
    assert binned([], [], T=3, shape=(2, 4, 5), B=2).to_grid().shape == (3, 2, 2, 4, 5)


# Slices


@pytest.mark.parametrize(("start", "stop"), [(0, 7), (2, 5), (3, 3), (6, 99), (-4, 2), (5, 2)])
def test_a_part_counts_from_its_start(grid, start, stop):
    part = Events.from_grid(grid, DT).between(start, stop)
    expected = grid[max(start, 0) : max(stop, 0)]
    assert len(expected) == part.T
    assert np.array_equal(part.to_grid().numpy(), expected)


def test_a_part_of_real_times_counts_from_its_start():
    events = Events(time=[0.1, 0.2, 0.4], neuron=[0, 1, 2], duration=1.0, shape=3)
    part = events.between(0.2, 0.4)
    assert (part.time.tolist(), part.neuron.tolist()) == ([0.0], [1])
    assert part.duration == pytest.approx(0.2)


def test_parts_are_joined_again(grid):
    events = Events.from_grid(grid, DT)
    parts = [events.between(0, 3), events.between(3, 3), events.between(3, 7)]
    joined = Events.joined(parts)
    assert (triples(joined), joined.T) == (triples(events), 7)
    with pytest.raises(InputError, match=r"all parts must be on a grid of one shape, B and dt"):
        Events.joined([events, Events.from_grid(grid, 2 * DT)])


@pytest.mark.parametrize("which", [[0, 1, 2], [2, 0], [1], 1, [], [0, 0, 2]])
def test_samples_are_numbered_anew(grid, which):
    part = Events.from_grid(grid, DT).samples(which)
    expected = grid[:, [which] if isinstance(which, int) else which]
    assert expected.shape[1] == part.B
    assert np.array_equal(part.to_grid().numpy(), expected)
    assert triples(part) == sorted(triples(part))


# Refusals


@pytest.mark.parametrize("time", [-1e-4, 5.0, np.nan, np.inf, -np.inf])
def test_times_outside_are_named_with_what_is_allowed(time):
    with pytest.raises(InputError, match=r"time\[1\] = \S+ s lies outside 0 <= t <= 0\.003 s \(duration\), as 1 of 2"):
        Events(time=[0.0, time], neuron=[0, 0], duration=3e-3, shape=1)


def test_times_after_the_last_step_are_named_with_what_is_allowed():
    events = Events(time=[0.0, 3e-3], neuron=[0, 0], duration=3e-3, shape=1)
    said = r"time\[1\] = 0\.003 s lies outside 0 <= t < 0\.003 s \(3 steps of 0\.001 s\), as 1 of 2"
    with pytest.raises(InputError, match=said):
        events.binned(DT, 3)
    assert events.binned(DT, 4).step.tolist() == [0, 3]


GRID = dict(step=[0], neuron=[0], T=5, dt=DT, shape=2)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"step": [5]}, InputError, "step holds 5; allowed is 0 to 4"),
        ({"step": [-1]}, InputError, "step holds -1; allowed is 0 to 4"),
        ({"step": [0.5]}, InputError, "step must hold integers; got float64"),
        ({"neuron": [2]}, InputError, "neuron holds 2; allowed is 0 to 1"),
        ({"neuron": [-1]}, InputError, "neuron holds -1; allowed is 0 to 1"),
        ({"neuron": [True]}, InputError, "neuron must hold integers; got bool"),
        ({"neuron": np.array([2**64 - 1], np.uint64)}, InputError, "neuron must hold integers"),
        ({"batch": [3], "B": 3}, InputError, "batch holds 3; allowed is 0 to 2"),
        ({"batch": [0], "B": 0}, InputError, "batch holds 0; allowed is no value at all"),
        ({"step": [0, 1]}, ShapeError, r"step, batch and neuron have shapes \[2\], \[1\] and \[1\]; give lists of one"),
        ({"step": [[0]]}, ShapeError, r"have shapes \[1, 1\], \[1\] and \[1\]"),
        ({"T": -1}, InputError, "T must be an integer from 0; got -1"),
        ({"T": 2.0}, InputError, "T must be an integer from 0; got 2.0"),
        ({"B": -1}, InputError, "B must be an integer from 0; got -1"),
        ({"shape": (2, 0)}, InputError, "shape must be an integer from 1; got 0"),
        ({"shape": 1.5}, InputError, "shape must be an integer from 1; got 1.5"),
        ({"dt": 1.0}, UnitError, r"Events: dt .*got 1\.0\. Did you pass milliseconds\?"),
        ({"T": None}, InputError, r"give step=, T= and dt= .*; got \['step', 'dt'\]"),
        ({"time": [0.0]}, InputError, r"or time= and duration=; got \['step', 'T', 'dt', 'time'\]"),
    ],
)
def test_faulty_events_are_refused(changed, error, message):
    with pytest.raises(error, match=message):
        Events(**{**GRID, **changed})


@pytest.mark.parametrize(
    ("time", "duration", "message"),
    [
        ([1000], 1.0, r"time must be in seconds in floating point; got int64\. Divide microseconds by 1e6"),
        ([0.0], float("nan"), "duration must be a number of seconds from 0; got nan"),
        ([0.0], -1.0, "duration must be a number of seconds from 0; got -1.0"),
    ],
)
def test_faulty_times_are_refused(time, duration, message):
    with pytest.raises(InputError, match=message):
        Events(time=time, neuron=[0], duration=duration, shape=1)


@pytest.mark.parametrize("bad", [0.5, -1.0, float("nan"), float("inf")])
def test_a_cell_that_is_no_number_of_events_is_shown(bad):
    for grid in (torch.tensor([[[1.0, bad]]]), np.array([[[1.0, bad]]])):
        with pytest.raises(InputError, match=rf"a cell must hold a number of events \(0, 1, 2, \.\.\.\); got {bad}"):
            Events.from_grid(grid, DT)


@pytest.mark.parametrize("bad", [0.5, 2.0, -1.0, float("nan")])
def test_binary_events_come_from_zeros_and_ones_alone(bad):
    with pytest.raises(InputError) as caught:
        Events.from_grid(torch.tensor([[[1.0, bad]]]), DT, binary=True)
    assert str(caught.value) == "spikes must be 0 or 1 to be kept as events; record this node as a trace instead."


def test_grids_have_time_and_batch():
    with pytest.raises(ShapeError, match=r"the grid must be \[T, B, \.\.\.\]; got \[3\]"):
        Events.from_grid(torch.zeros(3), DT)
    with pytest.raises(UnitError, match=r"from_grid: dt .*got 1\.0\. Did you pass milliseconds\?"):
        Events.from_grid(torch.zeros(1, 1), dt=1.0)


def test_real_times_and_grids_are_not_confused():
    times = Events(time=[0.0], neuron=[0], duration=1.0, shape=1)
    assert times.step is None and times.T is None
    with pytest.raises(InputError, match=r"lie at real times; use binned\(dt, T\) first"):
        times.to_grid()
    with pytest.raises(InputError, match=r"lie on a grid of 0\.001 s already"):
        times.binned(DT, 1000).binned(DT, 1000)
    with pytest.raises(InputError, match=r"start must be an integer; got 0\.5"):
        times.binned(DT, 1000).between(0.5, 2)
