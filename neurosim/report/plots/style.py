"""The style of the plots: palette, axes, saving. No global state of matplotlib is read or written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from neurosim.errors import InputError
from neurosim.files.atomic import replaced
from neurosim.quantities import scale_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# After Okabe and Ito, distinguishable by every common form of colour vision, with a dark red, a teal and a grey for ten
# classes; black is reserved for text and lines.
PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#B8A900",
    "#44AA99",
    "#7F7F7F",
)
INK = "#222222"
MUTED = "#8A4B00"
FAINT = "#B0B0B0"
_FORMATS = ("png", "pdf", "svg")


def colour(k: int) -> str:
    """Return the k-th colour of the palette, which repeats after ten."""
    return PALETTE[k % len(PALETTE)]


def new_figure(width: float, height: float, ax: Axes | None = None) -> Figure:
    """Return a figure of this size in inches, independent of windows and of pyplot; a notebook shows it.

    With `ax`, return a subfigure in the place of these axes, which are removed.
    """
    from neurosim.report.plots.picture import Picture

    if ax is None:
        return Picture(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")
    place = getattr(ax, "get_subplotspec", lambda: None)()
    if place is None:
        raise InputError(
            f"ax is a {type(ax).__name__} without a place in a grid. Give axes of plt.subplots or Figure.subplots."
        )
    figure = ax.figure
    ax.remove()
    return cast("Figure", figure.add_subfigure(place))


def tidy(axes: Axes, *, grid: str = "") -> Axes:
    """Remove the box and lighten the ticks; `grid` names an axis (``"x"`` or ``"y"``) to draw grid lines for."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8, length=3, width=0.6)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
    if grid in ("x", "y"):
        axes.grid(axis=grid, color="#E6E6E6", linewidth=0.6)  # type: ignore[arg-type]
        axes.set_axisbelow(True)
    return axes


def time_unit(duration: float) -> tuple[float, str]:
    """Return the unit of a time axis of `duration` seconds: the divisor and its name."""
    scale, unit = scale_for(duration, "s")
    # A recording of 1000.4 ms would change to seconds and hide the step size.
    return (1e-3, "ms") if 1.0 <= duration < 2.0 else (scale, unit)


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 150) -> Path:
    """Save a figure, completely or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        From any plot of this package; of a plot that was drawn with `ax`, the entire figure is saved.
    path : path-like
        Ends in ``.png``, ``.pdf`` or ``.svg``.
    dpi : int
        Resolution of a PNG.

    Returns
    -------
    pathlib.Path
        The path of the file.

    Raises
    ------
    InputError
        For another ending.
    FileError
        When the file cannot be written; an existing file does not change.
    """
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    if kind not in _FORMATS:
        raise InputError(f"cannot save a figure as {path.name!r}. The name must end in .{', .'.join(_FORMATS)}.")
    whole: Any = figure
    while not hasattr(whole, "savefig"):
        whole = whole.figure
    with replaced(path) as part:
        whole.savefig(part, format=kind, dpi=dpi)
    return path
