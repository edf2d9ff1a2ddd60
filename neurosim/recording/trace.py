"""Which values of a state variable a run keeps: of which neurons, in which steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from neurosim.errors import InputError
from neurosim.units import steps_of


@dataclasses.dataclass(frozen=True)
class Trace:
    """A state variable, or the weights of a plastic edge, to record, of some neurons or synapses and at some times.

    The memory and the time that it takes grow with the values kept, not with the size of the population.

    Parameters
    ----------
    variable : str
        ``"node.variable"``, a state variable of the node's core; ``"edge.weight"`` of a plastic edge, and of one with
        rewiring ``"edge.post"`` and ``"edge.pre"``, the neurons that each synapse joins.
    neurons : int or sequence of int, optional
        The first so many neurons, or these, as indices into the flattened population; all if left out.
    synapses : int or sequence of int, optional
        Of an edge: the first so many synapses, or these, in the order of its weights; all if left out.
    every : float, optional
        Time from a value to the next, s, an integer number of steps; one step if left out. The value is that after the
        step.
    start, stop : float
        Values are kept from the step that begins at `start` up to before the one that begins at `stop`, s from the
        beginning of the run; to its end if `stop` is left out.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.circuit import Poisson
    >>> net = ns.Network(
    ...     {"noise": Poisson(800.0, 50), "out": ns.LIF()}, [ns.Edge("noise", "out", ns.Linear(50, 20))], dt=1e-4
    ... )
    >>> run = ns.simulate(net, seconds=0.1, seed=1, record=["out", ns.Trace("out.v", neurons=[3, 7], every=1e-3)])
    >>> run.traces["out.v"].shape, run.times("out.v")[:3]
    ((100, 1, 2), array([0.   , 0.001, 0.002]))
    """

    variable: str
    neurons: int | Sequence[int] | None = None
    every: float | None = None
    start: float = 0.0
    stop: float | None = None
    synapses: int | Sequence[int] | None = None

    def sampling(self, size: int, steps: int, dt: float, *, of_synapses: bool = False) -> Sampling:
        """Return which values are kept of `size` neurons, or synapses, in a run of `steps` steps of `dt` s.

        Raises
        ------
        InputError
            For a neuron or a synapse that there is not, and for times off the grid.
        """
        kind, other = ("synapses", "neurons") if of_synapses else ("neurons", "synapses")
        if getattr(self, other) is not None:
            raise InputError(f"Trace: {self.variable!r} has {kind}; give {kind}= instead of {other}=.")
        neurons = getattr(self, kind)
        chosen = np.arange(size) if neurons is None else np.arange(neurons) if isinstance(neurons, int) else neurons
        indices = np.asarray(chosen)
        if indices.ndim != 1 or not len(indices) or indices.dtype.kind not in "iu":
            raise InputError(f"Trace: {kind} must be integers, at least one; got {neurons!r}.")
        if indices.min() < 0 or indices.max() >= size:
            raise InputError(
                f"Trace: {self.variable.rpartition('.')[0]!r} has {kind} 0 ... {size - 1}; got {int(indices.max())}."
                if indices.max() >= size
                else f"Trace: {kind} must be 0 or more; got {int(indices.min())}."
            )
        every = 1 if self.every is None else steps_of("Trace", "every", self.every, dt)
        if every < 1:
            raise InputError(f"Trace: every must be a step of {dt:g} s or more; got {self.every!r}.")
        begin = steps_of("Trace", "start", self.start, dt)
        end = steps if self.stop is None else min(steps_of("Trace", "stop", self.stop, dt), steps)
        return Sampling(indices.astype(np.int64), begin, max(end, begin), every)


class Sampling(NamedTuple):
    """Which values of a variable are kept.

    Attributes
    ----------
    neurons : ndarray [n] of int64
        Or synapses.
    begin, end : int
        First step, and the one behind the last.
    every : int
        Steps from a value to the next.
    """

    neurons: np.ndarray
    begin: int
    end: int
    every: int

    def rows(self, stop: int) -> int:
        """Return how many values are kept before step `stop`."""
        return max(-(-(min(stop, self.end) - self.begin) // self.every), 0)

    def steps(self, stop: int) -> np.ndarray:
        """Return the steps whose values are kept before step `stop`."""
        return self.begin + self.every * np.arange(self.rows(stop))

    def shifted(self, start: int, steps: int) -> Sampling:
        """Return the same for the `steps` steps from `start` on, counted from there: the first value is kept first."""
        begin = max(self.begin + self.every * self.rows(start) - start, 0)
        return Sampling(self.neurons, begin, max(min(self.end - start, steps), begin), self.every)

    def of(self, values: Any, start: int) -> Any:
        """Return those of `values` [steps, B, *shape], which begin at step `start`, that are kept [rows, B, n]."""
        stop = start + len(values)
        steps = self.steps(stop)[self.rows(start) :] - start
        return values.reshape(*values.shape[:2], math.prod(values.shape[2:]))[steps][..., self.neurons]
