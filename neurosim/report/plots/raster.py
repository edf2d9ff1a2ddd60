"""Raster plot: when which neuron spiked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.errors import InputError
from neurosim.report.plots.style import FAINT, INK, colour, new_figure, tidy, time_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from neurosim.recording.events import Events
    from neurosim.recording.recording import Recording

_MOST_NEURONS = 200


def raster(
    recording: Recording,
    names: Sequence[str] | None = None,
    *,
    samples: Sequence[int] | None = None,
    labels: Sequence[Any] | None = None,
    colour_by: str = "layer",
    neurons: int = _MOST_NEURONS,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Plot the spikes of several layers and several samples, with the rates at the side.

    Parameters
    ----------
    recording : Recording
        From `simulate`, with the spikes of the layers to draw.
    names : sequence of str, optional
        Layers from top to bottom; all recorded ones by default.
    samples : sequence of int, optional
        Which samples of the batch, side by side; the first four by default.
    labels : sequence, optional
        Class of each sample of the batch, length B. Written above the samples.
    colour_by : {"layer", "class"}
        One colour per layer, or per class (needs `labels`).
    neurons : int
        Most neurons drawn per layer, evenly spaced; the axis states their number.
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
        For a layer or sample that was not recorded, labels of the wrong length, or nothing to draw.
    """
    names = _names(recording, names)
    samples = _samples(recording, samples)
    # Elements of a tensor or an array would differ by identity and print as "tensor(3)".
    labels = None if labels is None else [k.item() if hasattr(k, "item") else k for k in labels]
    if labels is not None and len(labels) != recording.B:
        raise InputError(f"labels must hold one class for each of the {recording.B} samples; got {len(labels)}.")
    if colour_by not in ("layer", "class"):
        raise InputError(f"colour_by is {colour_by!r}. Allowed: 'layer', 'class'.")
    if colour_by == "class" and labels is None:
        raise InputError("colour_by='class' needs labels, one for each sample.")
    if neurons < 1:
        raise InputError(f"neurons must be at least 1; got {neurons}.")

    chosen = [_choose(int(np.prod(recording.spikes[name].shape)), neurons) for name in names]
    heights = [_height(len(keep)) for keep in chosen]
    figure = new_figure(7.2, 0.9 + sum(heights), ax)
    grid = figure.add_gridspec(len(names), 2, width_ratios=(6, 1), height_ratios=heights, wspace=0.02)
    classes = sorted(set(labels), key=str) if labels is not None else []
    unit, unit_name = time_unit(recording.T * recording.dt)
    first: Axes | None = None
    rows: list[Axes] = []
    for row, (name, keep) in enumerate(zip(names, chosen, strict=True)):
        axes = figure.add_subplot(grid[row, 0], sharex=first)
        first = first or axes
        rows.append(axes)
        side = figure.add_subplot(grid[row, 1], sharey=axes)
        for place, sample in enumerate(samples):
            tint = colour(classes.index(labels[sample]) if colour_by == "class" and labels is not None else row)
            _draw(axes, recording, name, keep, place, sample, unit, tint)
        _rates(side, recording, name, keep, samples, colour(row) if colour_by == "layer" else FAINT)
        last = row == len(names) - 1
        _frame(axes, side, recording, name, keep, len(samples), unit, unit_name, last=last)
    _headings(rows[0], recording, samples, labels, unit)
    if title:
        figure.suptitle(title, fontsize=10, color=INK)
    return figure


def _names(recording: Recording, names: Sequence[str] | None) -> list[str]:
    recorded = list(recording.spikes)
    chosen = recorded if names is None else list(names)
    for name in chosen:
        if name not in recording.spikes:
            raise InputError(f"no spikes of {name!r} were recorded. Recorded: {', '.join(recorded) or 'none'}.")
    if not chosen:
        raise InputError("no spikes were recorded. Give simulate(..., record=(...)) the names of nodes.")
    return chosen


def _samples(recording: Recording, samples: Sequence[int] | None) -> list[int]:
    chosen = list(range(min(4, recording.B))) if samples is None else [int(k) for k in samples]
    for sample in chosen:
        if not 0 <= sample < recording.B:
            raise InputError(f"sample {sample} is not among the {recording.B} recorded ones (0 to {recording.B - 1}).")
    if not chosen:
        raise InputError("no sample was chosen; give at least one.")
    return chosen


def _choose(count: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _height(rows: int) -> float:
    # Ten output neurons must be distinguishable, two hundred hidden ones only visible.
    return float(np.clip(0.09 * rows, 0.9, 2.4))


def _draw(
    axes: Axes, recording: Recording, name: str, keep: np.ndarray, place: int, sample: int, unit: float, tint: str
) -> None:
    spikes = recording.spikes[name]
    steps, rows = _rows(spikes, keep, sample)
    # A spike of step k is drawn at k dt, as in `Events.time`.
    times = (place * recording.T + steps) * recording.dt / unit
    size = float(np.clip(_height(len(keep)) * 72 / len(keep) * 0.8, 2.2, 9.0))
    axes.plot(
        times,
        rows,
        linestyle="none",
        marker="|",
        markersize=size,
        markeredgewidth=0.9,
        color=tint,
        # A vector file with more marks takes seconds to open.
        rasterized=len(rows) > 20_000,
    )


def _rows(spikes: Events, keep: np.ndarray, sample: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps of one sample's spikes and the rows to draw them in, for the neurons in `keep`."""
    mine = np.asarray(spikes.batch) == sample
    neurons = np.asarray(spikes.neuron)[mine]
    row = np.minimum(np.searchsorted(keep, neurons), len(keep) - 1)
    drawn = keep[row] == neurons
    return np.asarray(spikes.step)[mine][drawn], row[drawn]


def _rates(side: Axes, recording: Recording, name: str, keep: np.ndarray, samples: Sequence[int], tint: str) -> None:
    counts = sum(np.bincount(_rows(recording.spikes[name], keep, k)[1], minlength=len(keep)) for k in samples)
    rate = counts / (len(samples) * recording.T * recording.dt)
    side.stairs(rate, np.arange(len(keep) + 1) - 0.5, orientation="horizontal", fill=True, color=tint)


def _frame(
    axes: Axes,
    side: Axes,
    recording: Recording,
    name: str,
    keep: np.ndarray,
    many: int,
    unit: float,
    unit_name: str,
    *,
    last: bool,
) -> None:
    duration = recording.T * recording.dt / unit
    total = int(np.prod(recording.spikes[name].shape))
    tidy(axes)
    tidy(side, grid="x")
    axes.set_xlim(-0.005 * duration, many * duration)
    axes.set_ylim(-0.7, len(keep) - 0.3)
    shown = "" if len(keep) == total else f"\n{len(keep)} of {total}"
    axes.set_ylabel(f"{name}{shown}")
    ticks = np.unique(np.linspace(0, len(keep) - 1, min(len(keep), 5)).astype(int))
    axes.set_yticks(ticks, [str(keep[k]) for k in ticks])
    for place in range(1, many):
        axes.axvline(place * duration, color=FAINT, linewidth=0.8)
    marks = np.arange(many)
    fractions = (0.0, 0.5) if many > 1 else (0.0, 0.25, 0.5, 0.75, 1.0)
    places = [(p + f) * duration for p in marks for f in fractions]
    axes.set_xticks(places, [f"{f * duration:g}" for _ in marks for f in fractions])
    axes.tick_params(labelbottom=last)
    side.tick_params(labelleft=False, left=False)
    side.spines["left"].set_visible(False)
    side.set_xlim(0, max(side.get_xlim()[1], 1e-9))
    if last:
        axes.set_xlabel(f"time ({unit_name})" if many == 1 else f"time in each sample ({unit_name})")
        side.set_xlabel("rate (Hz)")


def _headings(
    axes: Axes, recording: Recording, samples: Sequence[int], labels: Sequence[Any] | None, unit: float
) -> None:
    duration = recording.T * recording.dt / unit
    for place, sample in enumerate(samples):
        if len(samples) == 1 and labels is None:
            continue
        text = f"sample {sample}" if labels is None else f"sample {sample}, class {labels[sample]}"
        if labels is not None and len(samples) > 5:
            text = f"{labels[sample]}"
        axes.text(
            (place + 0.5) * duration,
            1.02,
            text,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=8,
            color=INK,
        )
