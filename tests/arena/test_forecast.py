"""The forecast of the Mackey-Glass series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from neurosim.arena import forecast
from neurosim.datasets import mackey_glass


def test_smape_is_that_of_its_definition():
    assert forecast.smape(np.array([1.0, 3.0]), np.array([1.0, 1.0])) == 50.0
    assert forecast.smape(np.array([1.0]), np.array([-1.0])) == 200.0


def test_counts_are_the_integer_part_of_the_drive():
    net = forecast.hidden(0, 50)
    taps = np.random.RandomState(1).standard_normal((4, forecast.TAPS))
    found = forecast.counts(net, taps, 32)
    values = [each.detach().double().numpy() for each in net.parameters()]
    weight, bias = sorted(values, key=lambda each: -each.ndim)
    drive = np.clip(taps.astype(np.float32).astype(np.float64) @ weight.T + bias, None, 1.0)
    # The threshold is strict, and sums of single precision are rounded: a spike more or less.
    assert np.abs(found[:, :50] - np.maximum(drive, 0)).max() <= 1.001 / 32
    assert np.allclose(found[:, 50:-1], taps) and (found[:, -1] == 1).all()


def test_ridge_solves_its_equation_for_any_shape():
    draw = np.random.RandomState(0)
    for n, width in ((9, 4), (4, 9)):
        features, target = draw.standard_normal((n, width)), draw.standard_normal(n)
        found = forecast.ridge(features, target, 0.3)
        gradient = features.T @ (features @ found - target) + 0.3 * found
        assert np.abs(gradient).max() < 1e-12


def test_a_small_forecast_is_the_same_again(monkeypatch):
    def shorter(offset):
        parts = dict(mackey_glass(offset))
        test = parts["test"]
        return {**parts, "test": replace(test, x=(test.x[0][:10],), y=(test.y[0][:10],))}

    monkeypatch.setattr(forecast, "mackey_glass", shorter)
    monkeypatch.setattr(forecast, "HELD_OUT", 10)
    first, again = (forecast.forecast(3, series=1, neurons=40, steps=8) for _ in range(2))
    assert first.error == again.error and 0 < first.error < 100
    assert first.drive.shape == (8, 64, forecast.TAPS) and torch.isfinite(first.drive).all()
