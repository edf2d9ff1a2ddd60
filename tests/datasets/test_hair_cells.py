"""Hair cells: filters, rest, adaptation, saturation and phase locking of the model's publication."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from neurosim.datasets import HairCells
from neurosim.errors import InputError, ShapeError

RATE = 20_000.0


def tone(hertz: float, seconds: float = 0.3) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)


def test_a_filter_passes_its_centre_and_little_an_octave_away() -> None:
    cells = HairCells(9, low=200.0, high=5000.0)
    for k, f in enumerate(cells.centres):
        passed = cells.filtered(tone(f, 0.5), RATE)[5000:, k]
        assert np.abs(passed).max() == pytest.approx(math.sqrt(2) * 10 ** (30 / 20), rel=0.02)
        # The magnitude of a gammatone filter of order 4 beside its centre.
        b = 1.019 * 24.7 * (4.37e-3 * f + 1)
        beside = cells.filtered(tone(f + 2 * b, 0.5), RATE)[5000:, k]
        assert np.abs(beside).max() / np.abs(passed).max() == pytest.approx((1 + 2**2) ** -2, rel=0.15)


def test_silence_keeps_the_spontaneous_rate() -> None:
    cells = HairCells(3)
    # The fixed point of the three equations: 64.8 Hz with the constants of the publication.
    k = 2000 * 5 / 305
    assert (
        cells.spontaneous_rate
        == pytest.approx(50000 * k * 5.05 / (5.05 * 9080 + 2500 * k))
        == pytest.approx(64.8, abs=0.1)
    )
    rates = cells.rates(np.zeros(4000), RATE)
    assert np.allclose(rates, cells.spontaneous_rate, rtol=1e-9)
    events = dataclasses.replace(cells, channels=40, refractory=0.0)(np.zeros(20_000), RATE, seed=1)
    assert len(events) / (40 * 1.0) == pytest.approx(64.8, rel=0.1)


def test_rates_adapt_and_saturate() -> None:
    means, onsets = [], []
    for level in (40.0, 60.0, 80.0, 100.0):
        cells = HairCells(1, low=999.0, high=1001.0, level=level)
        rate = cells.rates(tone(1000.0), RATE)[:, 0].reshape(-1, 20).mean(1)  # over a period of 1 ms
        onsets.append(rate.max())
        means.append(rate[-50:].mean())
    assert all(onset > 1.7 * mean for onset, mean in zip(onsets[1:], means[1:], strict=True))
    # The pool is filled at y at most, so that the rate stays below h y / l, whatever the level.
    assert np.all(np.diff(means) > 0) and np.diff(means)[-1] < np.diff(means)[0] / 2 and means[-1] < 50000 * 5.05 / 2500


def test_low_tones_lock_the_phase_and_high_ones_do_not() -> None:
    def vector_strength(hertz: float) -> float:
        cells = HairCells(1, low=hertz - 1, high=hertz + 1, refractory=0.0)
        rate = cells.rates(tone(hertz, 0.2), RATE)[2000:, 0]
        turn = np.exp(2j * np.pi * hertz * np.arange(len(rate)) / RATE)
        return float(abs((rate * turn).sum()) / rate.sum())

    low, high = vector_strength(300.0), vector_strength(5000.0)
    assert low > 0.6 and high < 0.3


def test_spikes_follow_the_rates_and_the_seed() -> None:
    cells = HairCells(12, low=200.0, high=5000.0)
    events = cells(tone(1000.0), RATE, seed=3)
    assert events == cells(tone(1000.0), RATE, seed=3) != cells(tone(1000.0), RATE, seed=4)
    rates = cells.rates(tone(1000.0), RATE)
    assert rates.mean(0).argmax() == np.abs(cells.centres - 1000).argmin() and events.last < 300_000
    many = dataclasses.replace(cells, refractory=0.0)
    count = sum(many(tone(1000.0, 0.1), RATE, seed=seed).count()[0] for seed in range(8))
    wanted = 8 * (rates[:2000] / RATE).sum(0)
    assert (np.abs(count - wanted) < 5 * np.sqrt(wanted)).all()
    gaps = [np.diff(events.t[events.x == k]) for k in range(12)]
    assert min(gap.min() for gap in gaps if len(gap)) >= 1000


def test_other_sounds_are_refused() -> None:
    for sound, rate, message in (
        (np.zeros((2, 3)), RATE, "samples"),
        (np.zeros(9), 8000.0, "must be above 2 high = 12000 Hz"),
        (np.full(9, np.nan), RATE, "NaN or infinity"),
    ):
        with pytest.raises((InputError, ShapeError), match=message):
            HairCells()(sound, rate)
    with pytest.raises(InputError, match="low < high"):
        HairCells(low=900.0, high=800.0)
    with pytest.raises(InputError, match=r"HairCells: g = 0"):
        HairCells(g=0.0)


def test_sounds_are_real_numbers() -> None:
    cells, sound = HairCells(2), np.sin(0.3 * np.arange(50))
    assert np.array_equal(cells.rates(sound.tolist(), 20000.0), cells.rates(sound, 20000.0))  # type: ignore[arg-type]
    for wrong in (sound + 1j, ["a"]):
        with pytest.raises(InputError, match="real numbers are expected"):
            cells.rates(wrong, 20000.0)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error")
def test_a_sound_may_have_any_scale() -> None:
    cells, sound = HairCells(2), np.sin(0.3 * np.arange(200))
    wanted = cells.rates(sound, 20000.0)
    for scale in (1e200, 1e-200, 1e308):
        assert np.allclose(cells.rates(scale * sound, 20000.0), wanted, rtol=1e-9)


def test_parameters_are_in_range() -> None:
    for about in ({"level": 1e5}, {"level": np.nan}, {"low": "a"}, {"h": True}):
        with pytest.raises(InputError, match=f"{next(iter(about))} = "):
            HairCells(3, **about)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="rate = '2e4'"):
        HairCells(3).rates(np.ones(5), "2e4")  # type: ignore[arg-type]
