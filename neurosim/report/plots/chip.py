"""The map of a chip: its cores, coloured by population and filled by utilisation."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.hardware.placement import Placement
from neurosim.hardware.placement.keys import LIMITS
from neurosim.hardware.placement.mesh import Mesh
from neurosim.report.plots.style import FAINT, INK, MUTED, colour, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CHIPS = 4  # most chips drawn
_CELLS = 1600  # most cores drawn per chip; beyond, only the rows in use
_POPULATIONS = 14  # most rows of the table
_EMPTY = "#F3F3F3"


def chip_map(placement: Placement) -> Figure:
    """Draw the cores of the chip with the populations on them.

    Every square is a core; its colour is that of its population, and the height of the colour its utilisation of the
    tightest limit. A table shows the utilisation of the fullest core of each population by each limit; misfits are
    listed below.

    Parameters
    ----------
    placement : Placement
        From `neurosim.hardware.placement.place`.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with `save_figure`.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.hardware.placement import place
    >>> from neurosim.report import chip_map
    >>> net = ns.Sequential(ns.Linear(784, 256), ns.LIF(dt=1e-3), ns.Linear(256, 10), ns.LIF(dt=1e-3))
    >>> chip_map(place(net, "loihi1")).axes[0].get_title(loc="left")
    'chip 1: 3 of 128 cores'
    """
    mesh = Mesh.of(placement.target)
    chips = min(max(placement.chips_used, 1), _CHIPS)
    below = _below(placement, chips, wide=105 + 75 * (chips > 1))
    shown = placement.populations[:_POPULATIONS]
    height = max(3.4, 0.33 * len(shown) + 2.0) * (1 + (chips > 2)) + 0.13 * len(below)
    widths = (4.6 * min(chips, 2), 2.4 + 0.66 * len(placement.limits))
    figure = new_figure(sum(widths), height)
    halves: Any = figure.subfigures(1, 2, width_ratios=widths)
    left, right = halves
    grid = left.subplots(1 + (chips > 2), min(chips, 2), squeeze=False)
    for chip, axes in enumerate(grid.flat):
        if chip < chips:
            _chip(axes, placement, mesh, chip)
        else:
            axes.set_axis_off()
    _table(right.subplots(), placement)
    figure.suptitle(placement.heading(), fontsize=10, color=INK)
    figure.supxlabel("\n".join(below), fontsize=7.5, color=INK, x=0.01, ha="left")
    return figure


def _chip(axes: Axes, placement: Placement, mesh: Mesh, chip: int) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_hex, to_rgba
    from matplotlib.patches import Rectangle

    each = placement.cores_per_chip
    used = {part.core - chip * each: (k, part) for k, one in enumerate(placement.populations) for part in one.parts}
    used = {core: value for core, value in used.items() if 0 <= core < each}
    drawn = each
    if each > _CELLS:
        row = mesh.columns * mesh.cores_per_tile
        drawn = min(each, max(_CELLS // row, 1) * row, max((max(used, default=0) // row + 2) * row, row), 4 * _CELLS)
    side = int(np.ceil(np.sqrt(mesh.cores_per_tile)))
    cores = np.arange(drawn)
    column, row_of = mesh.tile(cores)
    inside = cores % mesh.cores_per_tile
    gap = 0.12 if mesh.cores_per_tile > 1 else 0.0
    x = column * (side + gap) + inside % side
    y = row_of * (side + gap) + inside // side
    squares, full, tints, edges, colours = [], [], [], [], []
    for core in range(drawn):
        squares.append(Rectangle((x[core] + 0.05, y[core] + 0.05), 0.9, 0.9))
        tints.append(_EMPTY)
        edges.append(FAINT)
        if core in used:
            k, part = used[core]
            share = min(max(placement.share(part, key) for key in placement.limits), 1.0)
            full.append(Rectangle((x[core] + 0.05, y[core] + 0.95 - 0.9 * share), 0.9, 0.9 * share))
            colours.append(colour(k))
            tints[-1], edges[-1] = to_hex(to_rgba(colour(k), 0.2), keep_alpha=True), colour(k)
    axes.add_collection(PatchCollection(squares, facecolor=tints, edgecolor=edges, linewidth=0.5))
    if full:
        axes.add_collection(PatchCollection(full, facecolor=colours, edgecolor="none"))
    axes.set_xlim(-0.2, float(x.max()) + 1.2)
    axes.set_ylim(float(y.max()) + 1.2, -0.2)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(f"chip {chip + 1}: {len(used)} of {each} cores", fontsize=9, color=INK, loc="left")


def _table(axes: Axes, placement: Placement) -> None:
    """Write the utilisation of each limit in the fullest core of each population, on a tint of that strength."""
    keys = list(placement.limits)
    shown = placement.populations[:_POPULATIONS]
    axes.set_xlim(-0.5, len(keys) - 0.5)
    axes.set_ylim(max(len(shown), 5) - 0.4, -0.6)
    for row, one in enumerate(shown):
        for k, key in enumerate(keys):
            if not one.parts:
                continue
            share = max(placement.share(part, key) for part in one.parts)
            axes.add_patch(_cell(k, row, colour(row), min(share, 1.0)))
            axes.text(k, row, f"{share:.0%}", ha="center", va="center", fontsize=7.5, color=INK)
        if not one.parts:
            axes.text(0, row, "not placed, see below", va="center", fontsize=7.5, color=MUTED)
    names = [f"{one.name} ({len(one.parts)})" for one in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=8)
    for row, label in enumerate(axes.get_yticklabels()):
        label.set_color(colour(row))
        label.set_fontweight("bold")
    axes.set_xticks(range(len(keys)), [LIMITS[key].replace(" ", "\n") for key in keys], fontsize=7)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.text(-0.45, len(shown) - 0.35, "the fullest core of each population", va="top", fontsize=7.5, color=INK)


def _cell(column: int, row: int, tint: str, strength: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.47, row - 0.42), 0.94, 0.84, facecolor=tint, alpha=0.08 + 0.42 * strength, linewidth=0)


def _below(placement: Placement, chips: int, wide: int) -> list[str]:
    first = ["A square is a core, filled by its utilisation of the tightest limit."]
    if not Mesh.of(placement.target).known:
        first[0] += " The layout of this chip is unknown; cores are drawn in rows."
    if placement.chips_used > chips:
        first[0] += f" The first {chips} of {placement.chips_used} chips are shown."
    if len(placement.populations) > _POPULATIONS:
        first[0] += f" The first {_POPULATIONS} of {len(placement.populations)} populations are listed."
    lines = textwrap.wrap(first[0], wide)
    findings = [line for text in placement.findings() for line in textwrap.wrap(text, wide, subsequent_indent="    ")]
    return lines + findings[:12] + ([f"... and {len(findings) - 12} lines more"] if len(findings) > 12 else [])
