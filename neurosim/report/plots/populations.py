"""The raster of all populations of a circuit in one axes, and their rates below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurosim.analysis import population_rate
from neurosim.errors import InputError
from neurosim.report.plots.raster import _choose, _names, _rows, _samples
from neurosim.report.plots.style import FAINT, INK, colour, new_figure, tidy, time_unit
from neurosim.units import steps_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from neurosim.recording.events import Events
    from neurosim.recording.recording import Recording

_BINS = 200
_FEWEST = 12  # rows of a small population


def population_raster(
    recording: Recording,
    names: Sequence[str] | None = None,
    *,
    sample: int = 0,
    start: float = 0.0,
    stop: float | None = None,
    neurons: int = 300,
    bin: float | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Plot the spikes of the populations of a circuit in one raster, a colour each, and their mean rates below.

    Parameters
    ----------
    recording : Recording
        From `simulate`, with spikes.
    names : sequence of str, optional
        Populations from top to bottom; all recorded ones by default.
    sample : int
        Which sample of the batch.
    start, stop : float
        What to draw, s, multiples of dt; the entire recording by default.
    neurons : int
        About how many neurons to draw, divided among the populations by their sizes, and evenly spaced in each.
    bin : float, optional
        Width of the bins of the rate, s, a multiple of dt; 200 bins in the interval by default.
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
        For times that are not multiples of dt.
    InputError
        For a population or sample that was not recorded, and times beyond the recording.
    """
    names = _names(recording, names)
    (sample,) = _samples(recording, [sample])
    if neurons < 1:
        raise InputError(f"neurons must be at least 1; got {neurons}.")
    first, last = _interval(recording, start, stop)
    events = {name: recording.spikes[name].samples(sample).between(first, last) for name in names}
    width = max(round((last - first) / _BINS), 1) * recording.dt if bin is None else bin
    rates = {name: population_rate(spikes, width)[:, 0] for name, spikes in events.items()}

    unit, unit_name = time_unit((last - first) * recording.dt)
    figure = new_figure(4.8, 4.6, ax)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    shown = _draw(upper, events, neurons, start, unit)
    for k, name in enumerate(names):
        edges = np.minimum(np.arange(len(rates[name]) + 1) * width, (last - first) * recording.dt) + start
        lower.stairs(rates[name], edges / unit, baseline=None, color=colour(k), linewidth=1.0)
    end = last * recording.dt / unit
    upper.set_xlim(start / unit, end)
    upper.tick_params(labelbottom=False)
    upper.set_ylabel(shown)
    lower.set_ylabel("rate (Hz)")
    lower.set_xlabel(f"time ({unit_name}); rates in bins of {width * 1e3:.3g} ms")
    lower.set_ylim(bottom=0)
    tidy(lower, grid="y")
    figure.align_ylabels()
    if title:
        figure.suptitle(title, fontsize=10, color=INK)
    return figure


def _interval(recording: Recording, start: float, stop: float | None) -> tuple[int, int]:
    """Return the first step to draw and the one after the last."""
    end = recording.T * recording.dt if stop is None else stop
    first, last = (steps_of("population_raster", n, t, recording.dt) for n, t in (("start", start), ("stop", end)))
    if not first < last <= recording.T:
        raise InputError(
            f"population_raster: start must be before stop, and stop at most {recording.T * recording.dt:g} s; "
            f"got {start!r} and {end!r}."
        )
    return first, last


def _draw(axes: Axes, events: dict[str, Events], neurons: int, start: float, unit: float) -> str:
    """Draw the populations below each other; return how many neurons of how many are drawn."""
    sizes = {name: math.prod(spikes.shape) for name, spikes in events.items()}
    total = sum(sizes.values())
    top, drawn, middles = 0.0, 0, []
    for k, (name, spikes) in enumerate(events.items()):
        keep = _choose(sizes[name], max(round(neurons * sizes[name] / total), _FEWEST))
        step, row = _rows(spikes, keep, 0)
        axes.plot(
            (step * (spikes.dt or 0.0) + start) / unit,
            top - row,
            linestyle="none",
            marker="|",
            markersize=float(np.clip(600 / max(neurons, 1), 1.2, 6.0)),
            markeredgewidth=0.7,
            color=colour(k),
            # A vector file with more marks takes seconds to open.
            rasterized=len(row) > 20_000,
        )
        middles.append(top - (len(keep) - 1) / 2)
        if k:
            axes.axhline(top + 0.5, color=FAINT, linewidth=0.6)
        top, drawn = top - len(keep), drawn + len(keep)
    tidy(axes)
    axes.set_ylim(top - 0.2, 1.2)
    axes.set_yticks(middles, [*events])
    for k, label in enumerate(axes.get_yticklabels()):
        label.set_color(colour(k))
    axes.tick_params(axis="y", length=0)
    return f"{drawn:,} neurons" if drawn == total else f"{drawn:,} of {total:,} neurons"
