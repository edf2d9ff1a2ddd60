"""Spike trains whose statistics are known."""

from __future__ import annotations

import numpy as np

from neurosim import Events


def poisson(rate: float, N: int, T: int, dt: float, seed: int, B: int = 1) -> Events:
    """Independent trains with at most one spike a step."""
    random = np.random.default_rng(seed)
    place = np.flatnonzero(random.random(T * B * N) < rate * dt)
    step, cell = np.divmod(place, B * N)
    return Events(step=step, batch=cell // N, neuron=cell % N, T=T, dt=dt, B=B, shape=N)


def renewal(steps: np.ndarray, T: int, dt: float) -> Events:
    """Trains whose intervals are the rows of `steps` [N, n], up to T."""
    at = np.cumsum(steps, axis=1)
    neuron, k = np.nonzero(at < T)
    return Events(step=at[neuron, k], neuron=neuron, T=T, dt=dt, shape=len(steps))


def gamma(order: int, mean: float, N: int, T: int, dt: float, seed: int) -> Events:
    """Gamma processes with this mean interval in steps."""
    random = np.random.default_rng(seed)
    drawn = random.gamma(order, mean / order, size=(N, int(2 * T / mean) + 50))
    return renewal(np.diff(np.floor(np.cumsum(drawn, axis=1)), axis=1, prepend=0.0).astype(np.int64), T, dt)


def multiple_interaction(rate: float, correlation: float, N: int, T: int, dt: float, seed: int) -> Events:
    """Copies of one mother train in which each spike is kept with the probability `correlation`."""
    random = np.random.default_rng(seed)
    mother = np.flatnonzero(random.random(T) < rate * dt / correlation)
    k, neuron = np.nonzero(random.random((len(mother), N)) < correlation)
    return Events(step=mother[k], neuron=neuron, T=T, dt=dt, shape=N)
