"""Values over time, trial and neuron."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurosim.circuit.waveform import Waveform
from neurosim.errors import InputError, ShapeError
from neurosim.network.source import SourceState

DT, SHAPE = 1e-3, (2, 3)
T, B = 5, 4


def at(values, step=0, trials=(0, 1, 2, 3), steps=3, shape=SHAPE):
    starts = [step] * len(trials) if isinstance(step, int) else step
    state = SourceState(*(torch.tensor(list(v), dtype=torch.int64) for v in ([0] * len(trials), trials, starts)))
    found = Waveform("Current", "waveform", values, shape).at(state, steps, DT)
    return np.broadcast_to(found, (steps, len(trials), *shape))


FULL = np.arange(T * B * 6.0).reshape(T, B, 2, 3)


@pytest.mark.parametrize(
    "values",
    [3.0, FULL[0, 0], FULL[:, 0], FULL, FULL[:1], FULL[:, :1], FULL[..., :1], FULL[:, :, :1], FULL[:1, :, :1, :1]],
)
def test_every_form_gives_the_value_of_its_place(values):
    array = np.asarray(values)
    full = {0: array, 2: array[None, None], 3: array[:, None] if array.ndim == 3 else array, 4: array}[array.ndim]
    full = np.broadcast_to(full, FULL.shape)
    for form in (values, torch.as_tensor(values)):
        assert np.array_equal(at(form), full[:3])
        assert np.array_equal(at(form, step=2, trials=(3, 1)), full[2:5][:, [3, 1]])
        mixed = at(form, step=(0, 2), trials=(2, 2))
        assert np.array_equal(mixed, np.stack((full[:3, 2], full[2:5, 2]), 1))


@pytest.mark.parametrize("shape", [(2, 3), (7,)])
def test_a_function_is_asked_for_the_times_of_the_steps(shape):
    asked = []

    def wave(t):
        asked.append(t)
        return 2 * t

    found = at(wave, step=4, steps=6, shape=shape)
    assert np.allclose(asked[0], np.arange(4, 10) * DT)
    assert np.allclose(found, np.broadcast_to(2e-3 * np.arange(4, 10).reshape(-1, 1, *(1,) * len(shape)), found.shape))


def test_a_function_may_return_values_of_each_neuron_and_trial():
    assert np.array_equal(at(lambda t: FULL[: len(t)])[:, [1]], FULL[:3, 1:2])
    assert np.array_equal(at(lambda t: FULL[: len(t), 0])[:, 2], FULL[:3, 0])
    assert np.array_equal(at(lambda t: 7.0), np.full((3, 4, 2, 3), 7.0))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.zeros(4), ShapeError, r"Current: waveform must be a number, \[2, 3\], \[T, 2, 3\] or .*; got \[4\]"),
        (np.zeros((2, 4)), ShapeError, r"got \[2, 4\]"),
        (np.zeros((9, 1, 1, 2, 3)), ShapeError, r"got \[9, 1, 1, 2, 3\]"),
        (float("nan"), InputError, "waveform holds NaN or infinity"),
        (np.full((2, 3), np.inf), InputError, "waveform holds NaN or infinity"),
        (lambda t: np.zeros((len(t), 4)), ShapeError, r"must be a number, \[T\], \[T, 2, 3\] or .*; got \[3, 4\]"),
        (lambda t: np.zeros(7), ShapeError, "waveform must give 3 values, one a step; got 7"),
        (lambda t: t * np.nan, InputError, "waveform holds NaN or infinity"),
    ],
)
def test_values_of_another_shape_are_refused(values, error, message):
    with pytest.raises(error, match=message):
        at(values)


def test_a_run_beyond_the_values_is_refused():
    with pytest.raises(InputError, match=r"waveform holds 5 steps; the run needs step 5\. Give more steps"):
        at(FULL, step=3)
    with pytest.raises(InputError, match="waveform holds 4 trials; the run has trial 4"):
        at(FULL, trials=(0, 4))
