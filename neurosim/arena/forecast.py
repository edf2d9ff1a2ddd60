"""Forecasts of the Mackey-Glass series by counts of spikes, by NeuroBench's protocol.

The last `TAPS` points drive integrate-and-fire neurons through random weights as constant currents for `STEPS` steps.
Their spike counts and the points themselves, read out by weights from ridge regression, give the change to the next
point; behind the training part the forecast is its own input. The strength of the regression is chosen on the last part
of the training points of all series, which is forecast from the points before it; then the regression is repeated on
all training points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosim.datasets import mackey_glass
from neurosim.network.layers import IF
from neurosim.network.network import Network
from neurosim.network.sequential import Sequential
from neurosim.synapses import Linear

SERIES, TAPS, NEURONS, STEPS = 30, 8, 1000, 256
HIGHEST = 3.0  # standard deviations at which a neuron of mean weights fires in each step
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2)
HELD_OUT = 225  # points, 3 of 10 Lyapunov times


class Forecast(NamedTuple):
    """What `forecast` returns.

    Attributes
    ----------
    error, validation : float
        sMAPE in percent, means over the series: of the test part, and of the part held out for the choice of ridge.
    net : Network
        Weights and neurons before the read-out.
    drive : Tensor [T, B, TAPS]
        Inputs of the training part of the first series.
    """

    error: float
    validation: float
    net: Network
    drive: Tensor


def smape(forecast: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the symmetric mean absolute percentage error over the last axis, from 0 to 200."""
    return 200.0 * np.mean(np.abs(forecast - target) / (np.abs(forecast) + np.abs(target)), axis=-1)


def hidden(seed: int, neurons: int = NEURONS) -> Network:
    """Draw the weights, the same for all series of a seed."""
    draw = np.random.RandomState(seed)
    weight = draw.standard_normal((neurons, TAPS)) / np.sqrt(TAPS)
    bias = draw.uniform(-2.0, 2.0, neurons)
    linear = Linear(TAPS, neurons, bias=True)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight / HIGHEST))
        assert linear.bias is not None
        linear.bias.copy_(torch.from_numpy(bias / HIGHEST))
    return Sequential(linear, IF(dt=1e-3, reset="subtract"), names=("if",))


def counts(net: Network, taps: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """Return what is read out, float64 [n, neurons + TAPS + 1]: shares of steps with a spike, the inputs, and 1."""
    x = torch.from_numpy(taps.astype(np.float32))[None].expand(steps, -1, -1)
    with torch.no_grad():
        z, _ = net(x)
    found = z.sum(0).double().numpy() / steps
    return np.concatenate([found, taps, np.ones((len(found), 1))], axis=1)


def _forecasts(net: Network, weights: np.ndarray, taps: np.ndarray, points: int, steps: int) -> np.ndarray:
    """Continue series from their last points; weights [n, neurons + 1], taps [n, TAPS], both standardised."""
    out = np.empty((len(taps), points))
    for k in range(points):
        change = np.einsum("bn,bn->b", counts(net, taps, steps), weights)
        out[:, k] = np.clip(taps[:, -1] + change, -6.0, 6.0)
        taps = np.concatenate([taps[:, 1:], out[:, k : k + 1]], axis=1)
    return out


def forecast(seed: int, *, series: int = SERIES, neurons: int = NEURONS, steps: int = STEPS) -> Forecast:
    """Train and test on all series.

    Parameters
    ----------
    seed : int
        Of the weights.
    series : int
        The first ones of NeuroBench's 30.
    neurons, steps : int
    """
    net = hidden(seed, neurons)
    train, test = [], []
    for offset in range(series):
        parts = mackey_glass(offset)
        x, y = (parts["train"].x[0][:, 0].numpy(), parts["test"].y[0][:, 0].numpy())
        train.append(np.append(x, parts["test"].x[0][0, 0].item()))
        test.append(y)
    points, targets = np.array(train), np.array(test)
    mean, deviation = points.mean(1, keepdims=True), points.std(1, keepdims=True)
    scaled = (points - mean) / deviation
    windows = np.lib.stride_tricks.sliding_window_view(scaled, TAPS, axis=1)  # [series, 751 - TAPS + 1, TAPS]
    features = [counts(net, each, steps) for each in windows]
    changes = np.diff(scaled[:, TAPS - 1 :], axis=1)
    kept = changes.shape[1] - HELD_OUT
    # Without what is held out: all strengths of all series are forecast at once.
    tried = [
        [ridge(f[:kept], c[:kept], strength) for strength in RIDGES] for f, c in zip(features, changes, strict=True)
    ]
    begin = np.repeat(windows[:, kept], len(RIDGES), axis=0)
    found = _forecasts(net, np.concatenate([np.array(each) for each in tried]), begin, HELD_OUT, steps)
    found = found.reshape(series, len(RIDGES), HELD_OUT) * deviation[:, None] + mean[:, None]
    errors = smape(found, points[:, None, -HELD_OUT:])
    best = int(errors.mean(0).argmin())
    weights = [ridge(f[:-1], c, RIDGES[best]) for f, c in zip(features, changes, strict=True)]
    result = _forecasts(net, np.array(weights), windows[:, -1], targets.shape[1], steps) * deviation + mean
    drive = torch.from_numpy(windows[0][:64].astype(np.float32))[None].expand(steps, -1, -1)
    return Forecast(float(smape(result, targets).mean()), float(errors.mean(0).min()), net, drive)


def ridge(features: np.ndarray, target: np.ndarray, strength: float) -> np.ndarray:
    """Return the weights w of least ``|features w - target|^2 + strength |w|^2``."""
    n, width = features.shape
    if width <= n:
        return np.linalg.solve(features.T @ features + strength * np.eye(width), features.T @ target)
    inner = features @ features.T + strength * np.eye(n)
    return features.T @ np.linalg.solve(inner, target)
