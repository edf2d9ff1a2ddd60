"""Accuracy against bits of weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurosim.hardware.quantise import BitsReport
from neurosim.report.plots.style import FAINT, INK, colour, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def bits_curve(report: BitsReport, *, title: str = "", ax: Axes | None = None) -> Figure:
    """Plot the accuracy of quantised networks against the bits of their weights, and that in floating point as a line.

    Parameters
    ----------
    report : BitsReport
        From `neurosim.hardware.quantise.accuracy_against_bits`.
    title : str
        Title of the figure.
    ax : matplotlib.axes.Axes, optional
        Axes of ``plt.subplots`` to draw in place of: the plot becomes a subfigure there, and `ax` is removed.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with `save_figure`.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = new_figure(3.6, 2.7, ax)
    axes = figure.subplots()
    tidy(axes, grid="y")
    axes.axhline(report.real, color=FAINT, linewidth=1, linestyle="--", label=f"floating point, {report.real:.2%}")
    for k, (trained, label) in enumerate(((False, "after training"), (True, "trained on the grid"))):
        points = sorted((r.bits, r.accuracy) for r in report.results if r.bits is not None and r.trained == trained)
        if points:
            bits, accuracy = zip(*points, strict=True)
            axes.plot(bits, accuracy, color=colour(k), linewidth=1.4, marker="o", markersize=4, label=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel="bits of a weight", ylabel="accuracy")
    axes.legend(frameon=False, fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10, color=INK)
    return figure
