"""Distributions of rates, variation and intervals over the neurons of populations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurosim.analysis import firing_rates, interval_cv, intervals
from neurosim.errors import InputError
from neurosim.quantities import significant
from neurosim.report.plots.raster import _names
from neurosim.report.plots.style import INK, colour, new_figure, tidy
from neurosim.units import steps_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from neurosim.recording.events import Events
    from neurosim.recording.recording import Recording

_BINS = 40


def distributions(
    recording: Recording,
    names: Sequence[str] | None = None,
    *,
    after: float = 0.0,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Plot the distributions of rates, of the CV of intervals and of intervals, a line for each population.

    Parameters
    ----------
    recording : Recording
        From `simulate`, with spikes. All samples are taken together.
    names : sequence of str, optional
        Populations; all recorded ones by default.
    after : float
        Spikes before this time are left out, s; a multiple of dt.
    title : str
        Title of the figure.
    ax : matplotlib.axes.Axes, optional
        Axes of ``plt.subplots`` to draw in place of: the plot becomes a subfigure there, and `ax` is removed.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with `save_figure`.

    Raises
    ------
    UnitError
        For a time that is not a multiple of dt.
    InputError
        For a population that was not recorded, and a time beyond the recording.
    """
    names = _names(recording, names)
    first = steps_of("distributions", "after", after, recording.dt)
    if first >= recording.T:
        allowed = f"below the duration of {recording.T * recording.dt:g} s"
        raise InputError(f"distributions: after must be {allowed}; got {after!r} s.")
    events = {name: recording.spikes[name].between(first, recording.T) for name in names}
    figure = new_figure(4.8, 5.4, ax)
    rates, variations, gaps = figure.subplots(3, 1)
    _rates(rates, events)
    _variations(variations, events)
    _intervals(gaps, events, recording.dt)
    for axes in (rates, variations, gaps):
        axes.set_ylim(bottom=0)
        tidy(axes, grid="y")
    handles, labels = rates.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(names), 2), frameon=False, fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10, color=INK)
    return figure


def _rates(axes: Axes, events: dict[str, Events]) -> None:
    # A rate is an integer over the duration: bins of integers, or some would hold more values than their neighbours.
    counts = {name: np.asarray(spikes.numpy().count()).ravel() for name, spikes in events.items()}
    most = max(int(count.max()) for count in counts.values())
    width = max(-(-(most + 1) // _BINS), 1)
    for k, (name, count) in enumerate(counts.items()):
        duration = events[name].duration
        edges = np.arange(most // width + 2) * width
        share = np.histogram(count, edges)[0] / len(count)
        mean, silent = significant(float(firing_rates(events[name]).mean())), np.mean(count == 0)
        label = f"{name}: mean {mean} Hz, {silent:.0%} silent"
        axes.stairs(share, edges / duration, color=colour(k), linewidth=1.3, label=label)
    axes.set(xlabel="rate of a neuron (Hz)", ylabel="share of neurons")
    axes.set_xlim(left=0)


def _variations(axes: Axes, events: dict[str, Events]) -> None:
    found = {name: interval_cv(spikes).ravel() for name, spikes in events.items()}
    good = {name: values[~np.isnan(values)] for name, values in found.items()}
    most = max((float(values.max()) for values in good.values() if len(values)), default=1.0)
    edges = np.linspace(0.0, max(1.05 * most, 1.1), _BINS + 1)
    for k, values in enumerate(good.values()):
        if len(values):
            axes.stairs(np.histogram(values, edges)[0] / len(values), edges, color=colour(k), linewidth=1.3)
    axes.set(xlabel="CV of the intervals of a neuron", ylabel="share of neurons", xlim=(0, edges[-1]))


def _intervals(axes: Axes, events: dict[str, Events], dt: float) -> None:
    found = {name: intervals(spikes) for name, spikes in events.items()}
    steps = [gaps.steps for gaps in found.values() if len(gaps.steps)]
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="interval (ms)", ylabel="share per decade")
    if not steps:
        return
    low, high = max(min(int(s.min()) for s in steps), 1), max(int(s.max()) for s in steps) + 1
    # Edges are integers of steps: a bin between two of them would be empty.
    edges = np.unique(np.geomspace(low, max(high, low + 1), _BINS + 1).round())
    for k, gaps in enumerate(found.values()):
        if len(gaps.steps):
            share = np.histogram(gaps.steps, edges)[0] / len(gaps.steps) / np.diff(np.log10(edges))
            axes.stairs(share, edges * dt * 1e3, color=colour(k), linewidth=1.3)
    axes.set_xlim(edges[0] * dt * 1e3, edges[-1] * dt * 1e3)
