"""Membrane traces with threshold and spikes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.errors import InputError
from neurosim.report.plots.style import INK, colour, new_figure, tidy, time_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from neurosim.recording.recording import Recording

_NAMES = {"v": "membrane v", "u": "membrane before reset u", "j": "synaptic current j"}


def traces(
    recording: Recording,
    name: str,
    *,
    neurons: Sequence[int] | None = None,
    sample: int = 0,
    threshold: float | Any | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Plot one state variable of several neurons over time, one row each.

    Parameters
    ----------
    recording : Recording
        From `simulate` with ``record=("hidden", "hidden.v")``.
    name : str
        The trace, such as ``"hidden.v"``. Spikes of the same node are marked if they were recorded.
    neurons : sequence of int, optional
        Flat indices; by default the (up to) four that spiked most, or the first four.
    sample : int
        Index of the sample in the batch.
    threshold : float or array, optional
        Threshold of the node (``net.nodes["hidden"].value("v_th")``), one value or one per neuron: a dashed line.
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
        For a trace, sample or neuron that was not recorded.
    """
    if name not in recording.traces:
        raise InputError(f"no trace {name!r} was recorded. Recorded: {', '.join(recording.traces) or 'none'}.")
    if not 0 <= sample < recording.B:
        raise InputError(f"sample {sample} is not among the {recording.B} recorded ones (0 to {recording.B - 1}).")
    values = np.asarray(recording.traces[name][:, sample])
    values = values.reshape(len(values), math.prod(values.shape[1:]))
    sampling = recording.samplings.get(name)
    recorded = np.arange(values.shape[1]) if sampling is None else sampling.neurons
    column = {int(neuron): place for place, neuron in enumerate(recorded)}
    node, _, variable = name.rpartition(".")
    steps = _spike_steps(recording, node, sample, column)
    chosen = _busiest(steps) if neurons is None else [int(k) for k in neurons]
    if not chosen:
        raise InputError("no neuron was chosen; give at least one.")
    for neuron in chosen:
        if neuron not in column:
            which = f"{len(column)} of {node!r}" + (
                "" if sampling is None else f" that were traced, {[*column][:10]} ..."
            )
            raise InputError(f"neuron {neuron} is not among the {which}.")
    levels = _levels(threshold, len(column), node)

    unit, unit_name = time_unit(recording.T * recording.dt)
    # What step k leaves is drawn at k dt, as in `Events.time` and in the raster.
    time = recording.times(name) / unit
    figure = new_figure(7.2, 0.9 + 1.05 * len(chosen), ax)
    rows = figure.subplots(len(chosen), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, neuron in zip(rows, chosen, strict=True):
        axes.plot(time, values[:, column[neuron]], color=colour(0), linewidth=0.9)
        if levels is not None:
            axes.axhline(levels[column[neuron]], color=INK, linewidth=0.7, linestyle=(0, (4, 3)))
        _mark(axes, steps[neuron] * recording.dt / unit)
        axes.set_ylabel(f"neuron {neuron}")
        tidy(axes)
        axes.set_xlim(0, recording.T * recording.dt / unit)
        axes.margins(y=0.08)
    rows[-1].set_xlabel(f"time ({unit_name})")
    figure.supylabel(f"{node or name}: {_NAMES.get(variable, variable)}", fontsize=9, color=INK)
    if title:
        figure.suptitle(title, fontsize=10, color=INK)
    return figure


def _mark(axes: Any, times: np.ndarray) -> None:
    if not len(times):
        return  # an empty line outside the axes has no extent, and the layout would collapse
    # In units of the axes' height, so that a spike mark is never behind the trace and does not change its scale.
    axes.plot(
        times,
        np.full(len(times), 1.0),
        transform=axes.get_xaxis_transform(),
        linestyle="none",
        marker="v",
        markersize=4,
        color=colour(1),
        clip_on=False,
    )


def _spike_steps(recording: Recording, node: str, sample: int, neurons: Iterable[int]) -> dict[int, np.ndarray]:
    """Return the steps in which each of some neurons fired."""
    if node not in recording.spikes:
        return dict.fromkeys(neurons, np.zeros(0, np.int64))
    spikes = recording.spikes[node]
    mine = np.asarray(spikes.batch) == sample
    step, neuron = np.asarray(spikes.step)[mine], np.asarray(spikes.neuron)[mine]
    order = np.argsort(neuron, kind="stable")
    step, neuron = step[order], neuron[order]
    return {k: step[np.searchsorted(neuron, k) : np.searchsorted(neuron, k, side="right")] for k in neurons}


def _busiest(steps: dict[int, np.ndarray]) -> list[int]:
    return sorted(sorted(steps, key=lambda neuron: -len(steps[neuron]))[:4])


def _levels(threshold: Any, count: int, node: str) -> np.ndarray | None:
    if threshold is None:
        return None
    plain = threshold.detach().cpu().numpy() if hasattr(threshold, "detach") else threshold
    levels = np.asarray(plain, dtype=float).reshape(-1)
    if len(levels) not in (1, count):
        raise InputError(f"threshold must be one number or one per neuron, {count} of {node!r}; got {len(levels)}.")
    return np.broadcast_to(levels, (count,))
