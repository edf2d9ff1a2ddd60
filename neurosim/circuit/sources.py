"""Sources that make their own input: Poisson spikes, spike trains, currents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosim.circuit.waveform import Array, Waveform
from neurosim.errors import InputError
from neurosim.kernels.common.philox import WORD, random_blocks
from neurosim.network.noise import NormalSource
from neurosim.network.source import Source, SourceState
from neurosim.recording.events import Events

MAX_MEAN = 100.0  # spikes a step: each takes a comparison
MOST_SPIKES = 200  # in a step: at a mean of 100 more have a probability below 2^-32


class PoissonLaws(NamedTuple):
    """The law of the number of spikes in each of some steps.

    A neuron sends as many spikes as there are limits that its random word reaches.

    Attributes
    ----------
    limits : Tensor [K, n] of uint32
        Of each rate.
    counts : Tensor [K] of int64
        How many limits each rate has.
    rows : Tensor [steps] of int64
        Which rate each step has.
    """

    limits: Tensor
    counts: Tensor
    rows: Tensor


class Poisson(Source):
    """Independent Poisson spike trains, one for each neuron.

    The output is the number of spikes in each step, which follows the Poisson law of mean ``rate dt``; several spikes a
    step are possible, as in NEST's ``poisson_generator``. With ``binary=True`` a step holds one spike at most, with
    probability ``rate dt`` (Bernoulli), as in Brian2's ``PoissonGroup`` and the encoder `neurosim.datasets.rate`.

    A number depends on the seed, the name of the node, trial, neuron and step alone: it is the same in any batch, in
    any chunk of a run, on any number of threads and on any device. One 32-bit word is drawn for each neuron and step
    and compared with the cumulative distribution, so that probabilities are multiples of 2^-32.

    Parameters
    ----------
    rate : float, array-like, or callable
        Hz: a number, one for each neuron [*shape], over time [T, *shape], or over time and trial [T, B, *shape], where
        an axis of length 1 stands for any length. A callable takes times [T] in s, the beginnings of the steps, and
        returns rates [T], [T, *shape] or [T, B, *shape].
    shape : int or tuple of int
        Shape of the population.
    binary : bool
        At most one spike a step.
    times : sequence of float, optional
        Change points, s: rate k of [K], [K, *shape] or [K, B, *shape] holds from ``times[k]`` to the next, 0 before
        the first.
    start, stop : float, optional
        s; the rate is 0 before `start`, and from `stop` on. All times must be integer numbers of steps.

    Raises
    ------
    InputError
        When a rate is negative or not finite; when the network is made or run, if ``rate dt`` is above 100, or above 1
        with ``binary=True``.
    ShapeError
        When the rates have another shape.

    Examples
    --------
    >>> import neurosim as ns
    >>> net = ns.Network(
    ...     {"noise": Poisson(800.0, 50), "out": ns.LIF(dt=1e-3)}, [ns.Edge("noise", "out", ns.Linear(50, 3))]
    ... )
    >>> run = ns.simulate(net, steps=1000, batch=2, seed=1, record=["noise"])
    >>> round(run.rates()["noise"], -1)
    800.0
    """

    def __init__(
        self,
        rate: Any,
        shape: int | Sequence[int],
        *,
        binary: bool = False,
        times: Sequence[float] | None = None,
        start: float | None = None,
        stop: float | None = None,
    ) -> None:
        super().__init__("Poisson", shape)
        self.binary = binary
        self.rate = Waveform("Poisson", "rate", rate, self.shape, times=times, start=start, stop=stop)
        if self.rate.values is not None:
            _check_rates(self.rate.values)

    @property
    def is_spiking(self) -> bool:
        """True."""
        return True

    def check(self, dt: float) -> None:
        """Check that times lie on the grid, and that the mean number of spikes a step is one the source can draw."""
        self.rate.check(dt)
        if self.rate.values is not None:
            self._means(self.rate.values, dt)

    def values(self, state: SourceState, steps: int, *, stream: int, dt: float, dtype: torch.dtype) -> Tensor:
        """Return the number of spikes of each neuron in each step."""
        size, device = math.prod(self.shape), state.step.device
        rates = _flat(self.rate.at(state, steps, dt), self.shape)
        limits = [torch.from_numpy(limit).to(device) for limit in _limits(self._means(rates, dt), self.binary)]
        _check_end(state, steps)
        out = torch.zeros((steps, len(state.seed), size), dtype=dtype, device=device)
        for rows, columns, words in random_blocks(stream, state.seed, state.trial, state.step, steps, size):
            part = out[rows, :, columns]
            for limit in limits:
                part += words >= _part(limit, rows, columns)
        return out.reshape(steps, len(state.seed), *self.shape)

    def laws(self, state: SourceState, steps: int, dt: float) -> list[PoissonLaws]:
        """Return what the random words of the next steps are compared with, for each trial.

        All neurons have one rate; see `Waveform.is_shared`.
        """
        _check_end(state, steps)
        values = self.rate.at(state, steps, dt)
        found = [self._law(rates, steps, dt) for rates in values.reshape(values.shape[:2]).T]
        return found * len(state.step) if len(found) == 1 else found

    def _law(self, rates: Array, steps: int, dt: float) -> PoissonLaws:
        """Return the laws of one trial, given its rates [T or 1]."""
        different, rows = np.unique(rates, return_inverse=True)
        limits = np.array(_limits(self._means(different, dt), self.binary)).reshape(-1, len(different))
        counts = (limits < WORD).sum(0)  # limits ascend
        table = np.where(limits < WORD, limits, 0)[: counts.max(initial=0)].T.astype(np.uint32)
        numbers = torch.from_numpy(np.ascontiguousarray(np.broadcast_to(rows, steps)).astype(np.int64))
        return PoissonLaws(torch.from_numpy(table.copy()), torch.from_numpy(counts.astype(np.int64)), numbers)

    def _means(self, rates: Array, dt: float) -> Array:
        """Return mean numbers of spikes a step, checked."""
        _check_rates(rates)
        means = rates * dt
        limit = 1.0 if self.binary else MAX_MEAN
        if means.size and means.max() > limit * (1 + 1e-9):  # a dt that was computed may lie a rounding above
            law = ", one a step with binary=True" if self.binary else ""
            raise InputError(
                f"Poisson: rate = {rates.max():g} Hz at dt = {dt:g} s gives {means.max():g} spikes a step; at most "
                f"{limit:g} are possible{law}. Take a shorter dt, or several neurons of a lower rate."
            )
        return means

    def extra_repr(self) -> str:
        """Return shape and law."""
        return f"{self.shape}, binary={self.binary}"


class SpikeTrain(Source):
    """Given spikes: a recording, a data set or a list of times.

    After the last step of `events` the source is silent.

    Parameters
    ----------
    events : Events
        On the grid of the network, or at real times, which are put on that grid. With ``B = 1`` every trial gets the
        same spikes; else trial k gets those of sample k.

    Raises
    ------
    InputError
        When the events lie on a grid of another dt; when a run has a trial of which there are no events.

    Examples
    --------
    >>> import neurosim as ns
    >>> spikes = ns.Events(time=[0.5e-3, 3e-3], neuron=[0, 1], duration=5e-3, shape=2)
    >>> net = ns.Network(
    ...     {"spikes": SpikeTrain(spikes), "out": ns.LIF(dt=1e-3)}, [ns.Edge("spikes", "out", ns.Linear(2, 3))]
    ... )
    >>> ns.simulate(net, steps=5, record=["spikes"]).spikes["spikes"].step
    array([0, 3])
    """

    def __init__(self, events: Events) -> None:
        if not isinstance(events, Events):
            raise InputError(f"SpikeTrain: events must be an Events; got {type(events).__name__}.")
        super().__init__("SpikeTrain", events.shape)
        self.events = events.numpy()
        self._binned: dict[float, Events] = {}

    @property
    def is_spiking(self) -> bool:
        """True."""
        return True

    def check(self, dt: float) -> None:
        """Check that the events lie on the grid of `dt`, or can be put on it."""
        self._on_grid(dt)

    def values(self, state: SourceState, steps: int, *, stream: int, dt: float, dtype: torch.dtype) -> Tensor:
        """Return the number of spikes of each neuron in each step."""
        events, trials = self._on_grid(dt), state.trial.tolist()
        if events.B == 1:
            trials = [0] * len(trials)
        elif max(trials, default=0) >= events.B:
            raise InputError(f"SpikeTrain: events holds {events.B} samples; the run has trial {max(trials)}.")
        out = torch.zeros((steps, len(trials), *self.shape), dtype=dtype, device=state.step.device)
        for start in sorted(set(state.step.tolist())):
            mine = (state.step == start).nonzero().reshape(-1)
            part = events.between(start, start + steps)
            grid = part.samples([trials[k] for k in mine.tolist()]).to_grid()
            out[: len(grid), mine] = grid.to(out)
        return out

    def most_in_a_step(self, dt: float) -> int:
        """Return the largest number of spikes of a neuron in a step."""
        events = self._on_grid(dt)
        places = (events.step * events.B + events.batch) * math.prod(self.shape) + events.neuron
        return int(np.unique(places, return_counts=True)[1].max(initial=0))

    def _on_grid(self, dt: float) -> Events:
        if self.events.dt is None:
            if dt not in self._binned:
                steps = math.ceil(self.events.duration / dt) + 1  # an event at the very end needs a step of its own
                self._binned[dt] = self.events.binned(dt, steps)
            return self._binned[dt]
        if not math.isclose(self.events.dt, dt, rel_tol=1e-9):
            raise InputError(
                f"SpikeTrain: events lie on a grid of {self.events.dt:g} s, but the network has dt = {dt:g} s. Give "
                "them at real times: Events(time=events.time, ..., duration=events.duration)."
            )
        return self.events

    def extra_repr(self) -> str:
        """Return the events."""
        return repr(self.events)


class Current(Source):
    """A given current.

    Parameters
    ----------
    waveform : float, array-like, or callable
        A number, one for each neuron [*shape], over time [T, *shape], or over time and trial [T, B, *shape], where an
        axis of length 1 stands for any length. A callable takes times [T] in s, the beginnings of the steps, and
        returns values [T], [T, *shape] or [T, B, *shape]. In the units that the synapses of its edges take.
    shape : int or tuple of int
        Shape of the population.
    times : sequence of float, optional
        Change points, s: current k of [K], [K, *shape] or [K, B, *shape] holds from ``times[k]`` to the next, 0 before
        the first.
    start, stop : float, optional
        s; the current is 0 before `start`, and from `stop` on. All times must be integer numbers of steps.

    Raises
    ------
    ShapeError, InputError
        When the values have another shape or are not finite; when a run is longer than the values given.

    Examples
    --------
    >>> import math, torch, neurosim as ns
    >>> drive = Current(lambda t: 1.0 + np.sin(2 * math.pi * 5.0 * t), 1)
    >>> net = ns.Network({"drive": drive, "out": ns.LI(dt=1e-3)}, [ns.Edge("drive", "out", ns.Linear(1, 1))])
    >>> v, state = net(steps=100)
    >>> v.shape, state.nodes["drive"].step
    (torch.Size([100, 1, 1]), tensor([100]))
    >>> pulse = Current([0.5, 2.0, 0.0], 1, times=[0.0, 10e-3, 30e-3])
    """

    def __init__(
        self,
        waveform: Any,
        shape: int | Sequence[int],
        *,
        times: Sequence[float] | None = None,
        start: float | None = None,
        stop: float | None = None,
    ) -> None:
        super().__init__("Current", shape)
        self.waveform = Waveform("Current", "waveform", waveform, self.shape, times=times, start=start, stop=stop)

    @property
    def is_spiking(self) -> bool:
        """False."""
        return False

    def check(self, dt: float) -> None:
        """Check that times lie on the grid."""
        self.waveform.check(dt)

    def values(self, state: SourceState, steps: int, *, stream: int, dt: float, dtype: torch.dtype) -> Tensor:
        """Return the current of each neuron in each step."""
        values = torch.from_numpy(np.ascontiguousarray(self.waveform.at(state, steps, dt)))
        return values.to(state.step.device, dtype).expand(steps, len(state.step), *self.shape)

    def extra_repr(self) -> str:
        """Return the shape."""
        return str(self.shape)


class Noise(NormalSource):
    """White noise: independent normal numbers of mean 0, one for each neuron and step.

    The numbers are those of `neurosim.network.noise.NormalSource`, which a core with ``normal`` gets too. The standard
    deviation is that of one step: for a current of intensity D per second, ``std = sqrt(D / dt)``.

    Parameters
    ----------
    std : float
        Standard deviation of a step, from 0, in the units that the synapses of its edges take.
    shape : int or tuple of int
        Shape of the population.

    Raises
    ------
    InputError
        When `std` is negative or not finite.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.synapses import Identity
    >>> net = ns.Network({"noise": Noise(0.2, 4), "out": ns.LI()}, [ns.Edge("noise", "out", Identity())], dt=1e-3)
    >>> ns.simulate(net, seconds=0.1, seed=1, record=["noise"]).traces["noise"].shape
    (100, 1, 4)
    """

    def __init__(self, std: float, shape: int | Sequence[int]) -> None:
        super().__init__(shape, std, "Noise")


def _check_end(state: SourceState, steps: int) -> None:
    end = max(state.step.tolist(), default=0) + steps
    if end > WORD:
        raise InputError(f"Poisson: a run may have 2^32 steps; this one would reach {end}.")


def _check_rates(rates: Array) -> None:
    if rates.size and rates.min() < 0:
        raise InputError(f"Poisson: rate must be 0 or more; got {rates.min():g} Hz.")


def _flat(values: Array, shape: tuple[int, ...]) -> Array:
    """Return [T, B, N or 1] of values [T, B, *shape or 1 ...]."""
    if math.prod(values.shape[2:]) > 1:
        values = np.broadcast_to(values, (*values.shape[:2], *shape))
    return values.reshape(*values.shape[:2], -1)


def _limits(means: Array, binary: bool) -> list[Array]:
    """Return int64 arrays of the shape of `means`; a word that is at or above k of them stands for k spikes.

    Limit k is the probability of at most k spikes, in units of 2^-32.
    """
    if binary:
        return [np.rint((1.0 - np.minimum(means, 1.0)) * WORD).astype(np.int64)]
    limits: list[Array] = []
    term = np.exp(-means)  # the probability of k spikes, for k = 0, 1, ...
    total = term.copy()
    for k in range(1, MOST_SPIKES):
        limit = np.minimum(np.rint(total * WORD), WORD).astype(np.int64)
        if (limit == WORD).all():
            break
        limits.append(limit)
        term = term * means / k
        total = total + term
    return limits


def _part(limit: Tensor, rows: slice, columns: slice) -> Tensor:
    """Return the part of a limit [T or 1, B, N or 1] that belongs to a block."""
    limit = limit[rows] if limit.shape[0] > 1 else limit
    return limit[:, :, columns] if limit.shape[2] > 1 else limit
