"""Correlation histogram: rates around spikes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurosim.analysis import auto_correlation, cross_correlation
from neurosim.report.plots.raster import _names
from neurosim.report.plots.style import FAINT, INK, colour, new_figure, tidy, time_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from neurosim.recording.recording import Recording


def correlogram(
    recording: Recording,
    name: str,
    other: str | None = None,
    *,
    bin: float,
    window: float,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Plot the rate of a neuron around its own spikes, or of another population around the spikes of one.

    The dashed line is the mean rate: what an independent neuron has at every lag.

    Parameters
    ----------
    recording : Recording
        From `simulate`, with spikes.
    name : str
        Population whose spikes are at lag 0.
    other : str, optional
        Population whose rate is drawn; without it the rate of each neuron around its own spikes.
    bin, window : float
        Width of a bin and longest lag, s; multiples of dt, and `window` of `bin`.
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
        For widths that are not multiples of dt.
    InputError
        For a population that was not recorded, and a window that does not fit the bins or the recording.
    """
    _names(recording, [name] if other is None else [name, other])
    events = recording.spikes[name]
    if other is None:
        found = auto_correlation(events, bin, window)
        # The lags below 0 are the same pairs, seen from the later spike.
        lag, rate = np.r_[-found.lag[:0:-1], found.lag], np.r_[found.rate[:0:-1], found.rate]
        text, mean = f"rate of a neuron of {name}\naround its own spikes (Hz)", events.rate()
    else:
        lag, _, rate = cross_correlation(events, recording.spikes[other], bin, window)
        text, mean = f"rate of a neuron of {other}\naround spikes of {name} (Hz)", recording.spikes[other].rate()
    unit, unit_name = time_unit(window)
    figure = new_figure(4.8, 2.8, ax)
    axes = figure.subplots()
    edges = (np.r_[lag, lag[-1] + bin] - bin / 2) / unit
    # From the mean, not from 0: a modulation of a few percent would be a flat block.
    axes.stairs(rate, edges, baseline=mean, fill=True, color=colour(0), alpha=0.35)
    axes.stairs(rate, edges, baseline=None, color=colour(0), linewidth=1.2)
    axes.axhline(mean, color=INK, linewidth=0.9, linestyle="--")
    axes.axvline(0.0, color=FAINT, linewidth=0.7)
    axes.set(xlabel=f"lag ({unit_name}); bins of {bin * 1e3:.3g} ms", ylabel=text, xlim=(edges[0], edges[-1]))
    tidy(axes, grid="y")
    if title:
        figure.suptitle(title, fontsize=10, color=INK)
    return figure
