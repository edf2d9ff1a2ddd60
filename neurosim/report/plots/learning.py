"""Loss and accuracy over epochs."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from neurosim.errors import InputError
from neurosim.quantities import significant
from neurosim.report.plots.style import INK, colour, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STEPS = ("epoch", "step", "iteration")
_PARTS = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def learning_curve(history: Iterable[Mapping[str, Any]], *, title: str = "", ax: Axes | None = None) -> Figure:
    """Plot the metrics of a training run: losses in one panel, accuracies in another, each other metric in its own.

    Parameters
    ----------
    history : iterable of mapping
        One per epoch: a `History` of `fit`, or dicts such as ``{"epoch": 1, "loss": 0.4, "val_accuracy": 0.93}``.
        Every number is plotted; a key may be missing in some epochs. Names with the prefixes ``train_``, ``val_``,
        ``validation_`` and ``test_`` share a panel. Without ``"epoch"``, entries are numbered from 1.
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
        When there is no entry, or no number in any.
    """
    groups: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for number, entry in enumerate(history, start=1):
        place = next((entry[key] for key in _STEPS if _is_number(entry.get(key))), number)
        for key, value in entry.items():
            if key in _STEPS or not _is_number(value):
                continue
            part, metric = _split(key)
            xs, ys = groups.setdefault(metric, {}).setdefault(part, ([], []))
            xs.append(float(place))
            ys.append(float(value))
    if not groups:
        raise InputError("the history holds no numbers. Give a list of dicts, one per epoch.")
    panels = sorted(groups, key=lambda name: (name != "loss", name != "accuracy", name))
    figure = new_figure(min(3.6 * len(panels), 10.8), 2.7 * math.ceil(len(panels) / 3), ax)
    grid = figure.subplots(math.ceil(len(panels) / 3), min(len(panels), 3), squeeze=False)
    for axes, name in zip(grid.flat, panels, strict=False):
        _panel(axes, name, groups[name])
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=10, color=INK)
    return figure


def _panel(axes: Axes, name: str, lines: Mapping[str, tuple[list[float], list[float]]]) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    tidy(axes, grid="y")
    for k, (label, (xs, ys)) in enumerate(lines.items()):
        finite = [y for y in ys if math.isfinite(y)]
        if finite and name in ("loss", "accuracy"):
            best = min(finite) if name == "loss" else max(finite)
            label += f", best {best:.2%}" if name == "accuracy" else f", best {significant(best)}"
        marker = "o" if len(xs) < 30 else ""
        axes.plot(xs, ys, color=colour(k), linewidth=1.4, marker=marker, markersize=3, label=label)
    values = [y for _, ys in lines.values() for y in ys if math.isfinite(y)]
    if name == "loss" and values and min(values) > 0 and max(values) / min(values) > 30:
        axes.set_yscale("log")
    if name == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    if len(lines) > 1 or name in ("loss", "accuracy"):
        axes.legend(frameon=False, fontsize=8)


def _split(key: str) -> tuple[str, str]:
    """Return the part of the data and the metric that a key names; without a prefix it is training."""
    first, _, rest = key.partition("_")
    return (_PARTS[first], rest) if rest and first in _PARTS else ("training", key)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
