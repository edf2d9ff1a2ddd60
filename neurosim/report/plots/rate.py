"""Firing rates of recorded layers: their distribution over neurons and their course over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurosim.analysis import firing_rates, population_rate
from neurosim.errors import InputError
from neurosim.quantities import significant
from neurosim.report.plots.raster import _names
from neurosim.report.plots.style import FAINT, INK, colour, new_figure, tidy, time_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from neurosim.recording.recording import Recording


def rates(
    recording: Recording,
    names: Sequence[str] | None = None,
    *,
    bins: int = 50,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Plot rates of layers: their distribution over neurons on the left, the mean over time on the right.

    Parameters
    ----------
    recording : Recording
        From `simulate`, with spikes.
    names : sequence of str, optional
        Layers; all recorded ones by default.
    bins : int
        Time bins on the right; no bin is shorter than a step.
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
    InputError
        For a layer that was not recorded, or `bins` below 1.
    """
    names = _names(recording, names)
    if bins < 1:
        raise InputError(f"bins must be at least 1; got {bins}.")
    duration = recording.T * recording.dt
    unit, unit_name = time_unit(duration)
    width = -(-recording.T // bins)
    edges = np.minimum(np.arange(-(-recording.T // width) + 1) * width, recording.T)
    figure = new_figure(7.2, 2.9, ax)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    for k, name in enumerate(names):
        spikes = recording.spikes[name]
        count = int(np.prod(spikes.shape))
        each = firing_rates(spikes).mean(axis=0).ravel()
        label = f"{name}: mean {significant(float(each.mean()))} Hz, {np.mean(each == 0):.0%} silent"
        order = np.sort(each)
        left.plot(
            np.r_[order[0], order], np.arange(count + 1) / count, drawstyle="steps-post", color=colour(k), linewidth=1.4
        )
        inside = population_rate(spikes, width * recording.dt).mean(axis=1)
        right.stairs(inside, edges * recording.dt / unit, baseline=None, color=colour(k), linewidth=1.4, label=label)
    left.set(xlabel="rate of a neuron (Hz)", ylabel="fraction of neurons", ylim=(0, 1.02))
    left.axhline(0.5, color=FAINT, linewidth=0.6, linestyle=":")
    left.set_xlim(left=0)
    right.set(xlabel=f"time ({unit_name})", ylabel="mean rate (Hz)", xlim=(0, duration / unit))
    right.set_ylim(bottom=0)
    tidy(left, grid="y")
    tidy(right, grid="y")
    figure.legend(
        *right.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(len(names), 2),
        frameon=False,
        fontsize=8,
    )
    if title:
        figure.suptitle(title, fontsize=10, color=INK)
    return figure
