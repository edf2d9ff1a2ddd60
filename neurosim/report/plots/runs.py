"""Learning curves of several runs."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from neurosim.errors import InputError
from neurosim.report.plots.style import INK, colour, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN = ("validation_accuracy", "validation_loss", "accuracy", "loss")
_SETTINGS = ("epoch", "seconds", "learning_rate")


def compare_curves(
    histories: Mapping[str, Iterable[Mapping[str, Any]]], *, title: str = "", ax: Axes | None = None
) -> Figure:
    """Plot the metrics of several training runs, a panel for each metric and a line for each run.

    Parameters
    ----------
    histories : mapping of str to iterable of mapping
        By the name of a run, a `History` of `fit`, or dicts with one entry per epoch.
    title : str
        Title of the figure.
    ax : matplotlib.axes.Axes, optional
        Axes of ``plt.subplots`` to draw in place of.

    Returns
    -------
    matplotlib.figure.Figure
        At most four panels: those of validation first.

    Raises
    ------
    InputError
        When there is no number in any.
    """
    rows = {name: list(history) for name, history in histories.items()}
    found = {key for entries in rows.values() for entry in entries for key, v in entry.items() if _is_number(v)}
    names = [key for key in _SHOWN if key in found] + sorted(found - {*_SHOWN, *_SETTINGS})
    if not names:
        raise InputError("the histories hold no numbers. Give a list of dicts, one per epoch, for each run.")
    names = names[:4]
    figure = new_figure(min(3.6 * len(names), 7.2), 2.7 * math.ceil(len(names) / 2), ax)
    grid = figure.subplots(math.ceil(len(names) / 2), min(len(names), 2), squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        tidy(axes, grid="y")
        for k, (run, entries) in enumerate(rows.items()):
            points = [(e.get("epoch", n), e[name]) for n, e in enumerate(entries, 1) if _is_number(e.get(name))]
            if points:
                axes.plot(*zip(*points, strict=True), color=colour(k), linewidth=1.4, label=run)
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
    for axes in list(grid.flat)[len(names) :]:
        axes.set_visible(False)
    grid.flat[0].legend(frameon=False, fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10, color=INK)
    return figure


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
