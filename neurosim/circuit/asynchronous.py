"""Leaky integrate-and-fire neurons whose synapses are voltage jumps, from spike to spike, without a time grid."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.recording.events import Events
from neurosim.units import milliseconds_question

Array = np.ndarray[Any, np.dtype[Any]]


def jump_events(
    pre: Any,
    post: Any,
    weight: Any,
    v: Any,
    *,
    tau_mem: float,
    t_ref: float,
    v_leak: float,
    v_th: float,
    v_reset: float,
    delay: float,
    duration: float,
) -> Events:
    r"""Run a network of leaky integrate-and-fire neurons with voltage jumps, each spike time exact to rounding.

    .. math:: \tau_m \dot V = E_L - V; \qquad \text{a spike of i arrives: } V_j \leftarrow V_j + w_{ji}; \qquad
              V_j \ge \vartheta: \text{ spike, } V_j \leftarrow V_{reset}

    Between arrivals the membrane is known in closed form, and so is when a neuron fires by itself, which it does if
    :math:`E_L > \vartheta`:

    .. math:: V(t) = E_L + (V(t_0) - E_L)\, e^{-(t - t_0) / \tau_m}, \qquad
              t_{fire} = t_0 + \tau_m \ln \frac{E_L - V(t_0)}{E_L - \vartheta}

    Two rules make the result unique. All arrivals at one neuron at the same time are added before the threshold is
    tested; volleys in which a spike makes others at once arrive as such. Arrivals while the neuron is refractory,
    ``t_spike <= t < t_spike + t_ref``, are discarded. A neuron that reaches the threshold by itself at the time of an
    arrival fires first.

    Written plainly: it defines what simulations on a grid approach, for tests and for small networks. A volley and a
    neuron that fires by itself are each a few operations on arrays.

    Parameters
    ----------
    pre, post : array-like [n] of integers
        Neurons that each synapse connects; several synapses of a pair are allowed.
    weight : array-like [n]
        Jump of the membrane, in the unit of `v`.
    v : array-like [N]
        Membranes at time 0, below the threshold.
    tau_mem : float
        Membrane time constant, s, in (0, 1).
    t_ref : float
        Refractory time, s, in [0, 1).
    v_leak, v_th, v_reset : float
        Resting potential, threshold and reset, ``v_reset < v_th``; ``v_leak > v_th`` fires without input.
    delay : float
        From a spike to its arrivals, s, in (0, 1); one for all synapses.
    duration : float
        Length of the run, s.

    Returns
    -------
    Events
        At real times, float64.

    Raises
    ------
    ShapeError, InputError, UnitError
        When shapes or numbers do not fit.

    References
    ----------
    Brette et al., "Simulation of networks of spiking neurons: a review of tools and strategies", Journal of
    Computational Neuroscience 23, 2007, doi:10.1007/s10827-007-0038-6, benchmark 4 (Vogels and Abbott with voltage
    jumps). With its parameters the spikes are those of NEST's `iaf_psc_delta_ps`.

    Examples
    --------
    >>> cell = dict(tau_mem=20e-3, t_ref=5e-3, v_leak=-49e-3, v_th=-50e-3, v_reset=-60e-3)
    >>> spikes = jump_events([0], [1], [5e-3], [-52e-3, -54e-3], **cell, delay=1e-3, duration=50e-3)
    >>> spikes.neuron.tolist(), (spikes.time * 1e3).round(3).tolist()
    ([0, 1], [21.972, 22.972])
    """
    state, synapses = _checked(pre, post, weight, v, v_th, v_reset)
    for name, value, bounds in (("tau_mem", tau_mem, "()"), ("t_ref", t_ref, "[)"), ("delay", delay, "()")):
        if not 0 <= value < 1 or (value == 0 and bounds == "()"):
            hint = f" {milliseconds_question(value)}" if 1 <= value < math.inf else ""
            raise UnitError(f"jump_events: {name} must be in {bounds[0]}0, 1) s; got {value!r}.{hint}")
    if not 0 < duration < math.inf or not math.isfinite(v_leak):
        raise InputError(f"jump_events: duration must be above 0 and v_leak finite; got {duration!r} and {v_leak!r}.")
    network = _Network(*synapses, state, tau_mem, t_ref, v_leak, v_th, v_reset)
    times, neurons = network.run(delay, duration)
    return Events(time=times, neuron=neurons, shape=len(state), duration=duration)


def _checked(
    pre: Any, post: Any, weight: Any, v: Any, v_th: float, v_reset: float
) -> tuple[Array, tuple[Array, Array, Array]]:
    """Return the membranes, and the synapses as rows: where each begins, targets, weights."""
    state = np.array(v, dtype=np.float64)
    sources, targets, weights = np.asarray(pre), np.asarray(post), np.asarray(weight, dtype=np.float64)
    if state.ndim != 1 or not len(state) or not sources.shape == targets.shape == weights.shape == (sources.size,):
        raise ShapeError(
            f"jump_events: v must be [N], and pre, post and weight [n]; got {list(state.shape)}, "
            f"{list(sources.shape)}, {list(targets.shape)} and {list(weights.shape)}."
        )
    for name, values in (("pre", sources), ("post", targets)):
        if values.size and (values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= len(state)):
            raise InputError(f"jump_events: {name} must hold integers in 0 ... {len(state) - 1}.")
    if not -math.inf < v_reset < v_th < math.inf:
        raise InputError(f"jump_events: v_reset must be below v_th; got {v_reset!r} and {v_th!r}.")
    if not np.isfinite(state).all() or (state >= v_th).any() or not np.isfinite(weights).all():
        raise InputError("jump_events: v must be finite and below v_th, and weight finite.")
    order = np.argsort(sources, kind="stable")
    starts = np.searchsorted(sources[order], np.arange(len(state) + 1))
    return state, (starts, targets[order].astype(np.int64), weights[order])


class _Network:
    """Membranes at the time of their last change, when each neuron fires by itself, and the rows of its synapses."""

    def __init__(
        self,
        starts: Array,
        targets: Array,
        weights: Array,
        v: Array,
        tau_mem: float,
        t_ref: float,
        v_leak: float,
        v_th: float,
        v_reset: float,
    ) -> None:
        self.starts, self.targets, self.weights = starts, targets, weights
        self.v, self.since = v, np.zeros(len(v))  # a refractory neuron is at v_reset since a time to come
        self.tau_mem, self.t_ref, self.v_leak, self.v_th, self.v_reset = tau_mem, t_ref, v_leak, v_th, v_reset
        self.fires = self.next_fire(np.arange(len(v)))

    def next_fire(self, neurons: Array) -> Array:
        """Return when neurons reach the threshold without further input."""
        if self.v_leak <= self.v_th:
            return np.full(len(neurons), math.inf)
        ratio = (self.v_leak - self.v[neurons]) / (self.v_leak - self.v_th)
        return self.since[neurons] + self.tau_mem * np.log(ratio)

    def run(self, delay: float, duration: float) -> tuple[list[float], list[int]]:
        times: list[float] = []
        neurons: list[int] = []
        # One delay for all: spikes arrive in the order in which they were fired.
        volleys: deque[tuple[float, list[int]]] = deque()
        while True:
            # The least of an array of a few thousand is found faster than a heap in Python is kept.
            first = int(self.fires.argmin())
            own, arrives = float(self.fires[first]), volleys[0][0] if volleys else math.inf
            now = min(own, arrives)
            if now > duration:
                return times, neurons
            fired = [first] if own <= arrives else self.arrive(*volleys.popleft())
            if not fired:
                continue
            self.reset(fired, now)
            times += [now] * len(fired)
            neurons += fired
            if volleys and volleys[-1][0] == now + delay:
                volleys[-1][1].extend(fired)
            else:
                volleys.append((now + delay, fired))

    def arrive(self, now: float, sources: list[int]) -> list[int]:
        """Add the jumps of a volley; return the neurons that fire."""
        rows = [slice(self.starts[i], self.starts[i + 1]) for i in sources]
        targets, place = np.unique(np.concatenate([self.targets[row] for row in rows]), return_inverse=True)
        jumps = np.bincount(place, np.concatenate([self.weights[row] for row in rows]), len(targets))
        ready = self.since[targets] <= now
        targets, jumps = targets[ready], jumps[ready]
        decay = np.exp((self.since[targets] - now) / self.tau_mem)
        self.v[targets] = self.v_leak + (self.v[targets] - self.v_leak) * decay + jumps
        self.since[targets] = now
        above = self.v[targets] >= self.v_th
        below = targets[~above]
        self.fires[below] = self.next_fire(below)
        return targets[above].tolist()

    def reset(self, fired: list[int], now: float) -> None:
        self.v[fired], self.since[fired] = self.v_reset, now + self.t_ref
        self.fires[fired] = self.next_fire(np.array(fired))
