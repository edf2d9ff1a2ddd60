from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from neurosim.datasets import events_to_grid, grid_to_events
from neurosim.errors import InputError, ShapeError, UnitError

seeded = settings(derandomize=True, deadline=None, max_examples=80)
steps_of_time = st.sampled_from([1e-3, 1e-4, 3e-4, 5e-3, 1 / 300, 7.3e-4])


@seeded
@given(
    grid=arrays.arrays(
        np.int64, arrays.array_shapes(min_dims=3, max_dims=4, min_side=1, max_side=6), elements=st.integers(0, 3)
    ),
    dt=steps_of_time,
)
def test_a_grid_of_counts_survives_the_round_trip(grid, dt):
    events = grid_to_events(torch.from_numpy(grid), dt=dt)
    steps, batches, *shape = grid.shape
    back = events_to_grid(*events, dt=dt, steps=steps, shape=tuple(shape), batches=batches, counts=True)
    assert back.dtype == torch.float32
    assert np.array_equal(back.numpy(), grid)
    binary = events_to_grid(*events, dt=dt, steps=steps, shape=tuple(shape), batches=batches)
    assert np.array_equal(binary.numpy(), grid > 0)


@seeded
@given(
    events=st.lists(
        st.tuples(st.integers(0, 99), st.floats(0, 0.99), st.integers(0, 2), st.integers(0, 4)), max_size=30
    ),
    dt=steps_of_time,
)
def test_events_come_back_at_the_beginning_of_their_step(events, dt):
    time = np.array([(step + part) * dt for step, part, _, _ in events])
    grid = events_to_grid(
        time,
        np.array([neuron for *_, neuron in events], np.int64),
        np.array([batch for *_, batch, _ in events], np.int64),
        dt=dt,
        steps=100,
        shape=5,
        batches=3,
        counts=True,
    )
    back = grid_to_events(grid, dt=dt)
    expected = sorted((step, batch, neuron) for step, _, batch, neuron in events)
    found = list(zip(np.rint(back.time / dt).astype(int), back.batch, back.neuron, strict=True))
    assert found == expected  # the order of step, sample, neuron too


@seeded
@given(step=st.integers(0, 10**6), dt=steps_of_time, dtype=st.sampled_from([np.float64, np.float32]))
def test_a_boundary_belongs_to_the_step_that_begins_there(step, dt, dtype):
    from neurosim.datasets.events import _step

    time = np.array([step * dt], dtype=dtype)
    assert _step(time, dt, step + 1).tolist() == [step]


def test_the_boundary_rule_in_numbers():
    def step(time):
        return events_to_grid([time], [0], dt=1e-3, steps=10, shape=1).flatten().argmax().item()

    assert step(3 * 0.001) == 3
    assert step(0.0029999) == 2
    assert step(0.003 - 1e-10) == 3  # below by less than a millionth of a step
    assert step(0.0039) == 3
    assert step(np.nextafter(0.004, 0)) == 4
    assert step(np.float32(0.009)) == 9  # float32 cannot be nearer


def test_events_in_one_step_become_one_spike_unless_counted():
    args = ([1.1e-3, 1.9e-3, 1.5e-3], [0, 0, 1])
    assert events_to_grid(*args, dt=1e-3, steps=2, shape=2)[1, 0].tolist() == [1, 1]
    assert events_to_grid(*args, dt=1e-3, steps=2, shape=2, counts=True)[1, 0].tolist() == [2, 1]


def test_shapes_and_empty_lists():
    assert events_to_grid([], [], dt=1e-3, steps=3, shape=(2, 4, 5), batches=2).shape == (3, 2, 2, 4, 5)
    grid = events_to_grid([0.0], [2 * 20 - 1], [1], dt=1e-3, steps=1, shape=(2, 4, 5), batches=2)
    assert grid[0, 1, 1, 3, 4] == 1 and grid.sum() == 1
    nothing = grid_to_events(torch.zeros(3, 2, 4), dt=1e-3)
    assert [len(part) for part in nothing] == [0, 0, 0]
    assert [part.dtype for part in nothing] == [np.float64, np.int64, np.int64]
    assert grid_to_events(torch.ones(2, 2), dt=1e-3).neuron.tolist() == [0] * 4


@pytest.mark.parametrize("time", [-1e-4, 3e-3, 5.0, np.nan, np.inf, -np.inf])
def test_times_outside_are_named_with_what_the_grid_holds(time):
    with pytest.raises(InputError, match=r"time\[1\] = \S+ s \(1 of 2 .* 3 steps of 0\.001 s hold 0 <= t < 0\.003 s"):
        events_to_grid([0.0, time], [0, 0], dt=1e-3, steps=3, shape=1)


@pytest.mark.parametrize(
    ("time", "neuron", "batch", "error", "message"),
    [
        ([1000], [0], None, InputError, r"times are int64, but they are floating point seconds\. Divide microseconds"),
        ([0.0], [2], None, InputError, "neuron holds 2, but it must lie in 0 to 1"),
        ([0.0], [-1], None, InputError, "neuron holds -1, but it must lie in 0 to 1"),
        ([0.0], [0], [3], InputError, "batch holds 3, but it must lie in 0 to 2"),
        ([0.0], [0.5], None, InputError, "neuron is float64, but it must hold whole numbers"),
        (
            [0.0, 1e-3],
            [0],
            None,
            ShapeError,
            r"have shapes \(2,\), \(1,\) and \(1,\); they must be lists of one length",
        ),
        ([[0.0]], [0], None, ShapeError, r"have shapes \(1, 1\)"),
        ([0.0], [[0]], None, ShapeError, r"have shapes \(1,\), \(1, 1\) and \(1, 1\)"),
    ],
)
def test_faulty_events_are_refused(time, neuron, batch, error, message):
    with pytest.raises(error, match=message):
        events_to_grid(time, neuron, batch, dt=1e-3, steps=5, shape=2, batches=3)


@pytest.mark.parametrize("bad", [0.5, -1.0, float("nan"), float("inf")])
def test_a_cell_that_is_no_number_of_spikes_is_shown(bad):
    with pytest.raises(InputError, match=rf"the grid holds {bad}, but a cell holds a number of spikes"):
        grid_to_events(torch.tensor([[[1.0, bad]]]), dt=1e-3)


def test_grids_have_time_and_batch():
    with pytest.raises(ShapeError, match=r"the grid has shape \(3,\); it must be \[T, B, \.\.\.\]"):
        grid_to_events(torch.zeros(3), dt=1e-3)


def test_dt_in_milliseconds_gets_that_question():
    with pytest.raises(UnitError, match=r"events_to_grid: dt .*got 1\.0\. Did you pass milliseconds\?"):
        events_to_grid([0.0], [0], dt=1.0, steps=1, shape=1)
    with pytest.raises(UnitError, match=r"grid_to_events: dt .*got 1\.0\. Did you pass milliseconds\?"):
        grid_to_events(torch.zeros(1, 1), dt=1.0)


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("batches", -1), ("shape", (2, 0)), ("shape", 1.5)])
def test_sizes_are_positive_whole_numbers(name, value):
    with pytest.raises(InputError, match=rf"{name} = .*must be a whole number from 1 on"):
        events_to_grid([], [], **{"dt": 1e-3, "steps": 3, "shape": 2, name: value})
