"""The plot of an energy report."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from neurosim.quantities import quantity, scale_for
from neurosim.report.plots.style import FAINT, INK, MUTED, colour, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from neurosim.energy.report import EnergyColumn, EnergyReport

# Beyond this range of totals, bars on a common linear axis would leave the small ones invisible.
_LINEAR_RANGE = 20.0
_VISIBLE = 0.01
_SHOWN = 8
_OTHER = "other"


def energy_figure(report: EnergyReport) -> Figure:
    """Plot totals by target on the left, their shares by layer and by component on the right, refused targets below.

    Totals within a factor of 20 are bars on a linear axis, stacked by layer. Beyond that they are points on a
    logarithmic axis (a bar needs a zero). The shares are stacked to 100 %.
    """
    columns = report.columns
    estimated = [column for column in columns if not column.refused]
    totals = [value for column in estimated for value in (column.total, column.ann) if value]
    linear = bool(totals) and max(totals) / min(totals) <= _LINEAR_RANGE
    layers, by_layer = _largest([{name: column.layer(name) for name in column.layers} for column in columns])
    components, by_component = _largest([column.components() for column in columns])
    refused = _refusals(report)
    keys = 0.1 * (max(len(components), len(layers)) // 2)
    figure = new_figure(10.2, 1.9 + 0.33 * len(columns) + 0.13 * len(refused) + keys)
    grid = figure.subplots(1, 3, sharey=True, width_ratios=(1.55, 1, 1))
    if linear:
        _stacked(grid[0], columns, by_layer, layers, scale_for(max(totals), "J"))
    else:
        _points(grid[0], columns, totals)
    _shares(grid[1], by_layer, layers, "share by layer", first=0)
    _shares(grid[2], by_component, components, "share by component", first=len(layers))
    for row, column in enumerate(columns):
        if column.refused:
            grid[0].annotate(
                "refused: no public figure, see below",
                (0.02, row),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
                color=MUTED,
            )
    grid[0].set_yticks(range(len(columns)), [column.target.title for column in columns])
    grid[0].set_ylim(len(columns) - 0.4, -0.6)
    ops = report.operations
    figure.suptitle(
        f"Energy per inference of {ops.steps} steps, estimated from counted operations (mean of {ops.samples} samples)",
        fontsize=10,
        color=INK,
    )
    note = "Estimates from published figures per operation, not measured power; the table lists what each omits."
    figure.supxlabel("\n".join((note, *refused)), fontsize=7.5, color=INK, x=0.01, ha="left")
    return figure


def _largest(parts: Sequence[Mapping[str, float]]) -> tuple[list[str], list[dict[str, float]]]:
    """Keep the names with a visible share, at most `_SHOWN`; sum the rest as ``other``."""
    best: dict[str, float] = {}
    for shares in parts:
        total = sum(shares.values())
        for name, value in shares.items():
            best[name] = max(best.get(name, 0.0), value / total if total else 0.0)
    ranked = sorted(best, key=best.__getitem__, reverse=True)[:_SHOWN]
    kept = [name for name in best if name in ranked and best[name] >= _VISIBLE]
    result = []
    for shares in parts:
        rest = sum(value for name, value in shares.items() if name not in kept)
        result.append({**{name: shares.get(name, 0.0) for name in kept}, _OTHER: rest})
    if any(shares[_OTHER] for shares in result):
        kept.append(_OTHER)
    return kept, result


def _points(axes: Axes, columns: Sequence[EnergyColumn], values: Sequence[float]) -> None:
    tidy(axes, grid="x")
    axes.set_xscale("log")
    if values:
        axes.set_xlim(min(values) / 2.5, max(values) * 12)
    for row, column in enumerate(columns):
        if column.refused:
            continue
        if column.total > 0:
            axes.plot(column.total, row, marker="o", markersize=6, color=INK, linestyle="none")
        if column.ann:
            axes.plot(column.ann, row, marker="D", markersize=5, markerfacecolor="white", color=INK, linestyle="none")
        right = max(column.total, column.ann or 0.0)
        axes.annotate(
            quantity(column.total, "J"),
            (right, row) if right else (axes.get_xlim()[0], row),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
        )
    axes.xaxis.set_major_formatter(lambda value, _: quantity(value, "J"))
    axes.set_xlabel("energy per inference, logarithmic")
    _key(axes, [("o", INK, "this run"), ("D", "white", "equal dense ANN, one pass")])


def _stacked(
    axes: Axes,
    columns: Sequence[EnergyColumn],
    parts: Sequence[Mapping[str, float]],
    layers: Sequence[str],
    unit: tuple[float, str],
) -> None:
    tidy(axes, grid="x")
    scale, name = unit
    for row, (column, shares) in enumerate(zip(columns, parts, strict=True)):
        if column.refused:
            continue
        left = 0.0
        for k, layer in enumerate(layers):
            axes.barh(row, shares[layer] / scale, left=left, height=0.62, color=_tint(layer, k))
            left += shares[layer] / scale
        if column.ann:
            axes.plot(column.ann / scale, row, marker="D", markersize=5, markerfacecolor="white", color=INK)
        axes.annotate(
            quantity(column.total, "J"),
            (max(left, (column.ann or 0.0) / scale), row),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
        )
    axes.margins(x=0.22)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"energy per inference ({name})")
    if any(column.ann for column in columns):
        _key(axes, [("D", "white", "equal dense ANN, one pass")])


def _shares(axes: Axes, parts: Sequence[Mapping[str, float]], names: Sequence[str], label: str, *, first: int) -> None:
    from matplotlib.ticker import PercentFormatter

    tidy(axes)
    for k, name in enumerate(names):
        widths, lefts = [], []
        for shares in parts:
            total = sum(shares.values()) or 1.0
            lefts.append(sum(shares.get(other, 0.0) for other in names[:k]) / total)
            widths.append(shares.get(name, 0.0) / total)
        axes.barh(range(len(parts)), widths, left=lefts, height=0.62, color=_tint(name, first + k), label=name)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.tick_params(left=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label)
    if names:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            ncols=2,
            frameon=False,
            fontsize=7.5,
            handlelength=1.0,
            columnspacing=1.0,
        )


def _key(axes: Axes, entries: Sequence[tuple[str, str, str]]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="none", marker=marker, markersize=5, markerfacecolor=face, color=INK, label=label)
        for marker, face, label in entries
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=7.5)


def _tint(name: str, k: int) -> str:
    return FAINT if name == _OTHER else colour(k)


def _refusals(report: EnergyReport) -> list[str]:
    return [
        line
        for column in report.columns
        if column.refused
        for line in textwrap.wrap(f"{column.target.title} is refused: {column.refused}", 170)
    ]
