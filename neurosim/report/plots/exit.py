"""Accuracy over mean steps, for networks that stop early."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from neurosim.errors import InputError
from neurosim.models.exit_calibration import OperatingPoint
from neurosim.report.plots.style import INK, colour, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def exit_curve(
    early: Mapping[str, Sequence[OperatingPoint]],
    fixed: Iterable[float],
    bound: tuple[float, float] | None = None,
    *,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Plot accuracy over the mean number of steps, for early exit.

    Parameters
    ----------
    early : mapping of str to sequence of OperatingPoint
        Curves by name, of `operating_points` at many thresholds or the front of a `Calibration`.
    fixed : iterable of float
        Accuracy when every sample runs for 1, 2, ... T steps, as `fixed_steps` returns it.
    bound : tuple of float, optional
        Accuracy and mean steps of an agent that knows the answer, as `optimal_stop` returns them; drawn as a star.
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
        When there is no step to draw.

    Examples
    --------
    >>> from neurosim.models.exit_calibration import OperatingPoint
    >>> from neurosim.report import exit_curve
    >>> points = [OperatingPoint(0.5, 0.90, 1.5), OperatingPoint(0.9, 0.95, 3.0)]
    >>> figure = exit_curve({"stopped when sure": points}, [0.88, 0.92, 0.94, 0.95], (0.98, 1.2))
    """
    from matplotlib.ticker import PercentFormatter, ScalarFormatter

    accuracies = [float(value) for value in fixed]
    if not accuracies:
        raise InputError("fixed holds no accuracy. Give the accuracy after every number of steps, 1 to T.")
    figure = new_figure(4.6, 3.2, ax)
    axes = tidy(figure.subplots(), grid="y")
    steps = range(1, len(accuracies) + 1)
    axes.plot(steps, accuracies, color=INK, linewidth=1.0, marker=".", markersize=4, label="same steps for all")
    for k, (name, points) in enumerate(early.items()):
        line = sorted(points, key=lambda point: point.steps)
        axes.plot(
            [point.steps for point in line],
            [point.accuracy for point in line],
            color=colour(k),
            linewidth=1.4,
            label=name,
        )
    if bound is not None:
        label = f"bound: answer known ({bound[0]:.2%} at {bound[1]:.2f})"
        axes.plot([bound[1]], [bound[0]], color=INK, marker="*", markersize=9, linestyle="", label=label)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel="mean steps", ylabel="accuracy", title=title)
    axes.title.set(fontsize=10, color=INK)
    axes.legend(frameon=False, fontsize=7)
    return figure
