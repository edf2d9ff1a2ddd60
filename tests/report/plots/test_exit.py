"""The picture of early exits shows what it was given."""

from __future__ import annotations

import pytest

from neurosim.errors import InputError
from neurosim.models.exit_calibration import OperatingPoint
from neurosim.report import exit_curve


def test_every_curve_is_drawn_by_rising_steps() -> None:
    points = [OperatingPoint(0.9, 0.95, 3.0), OperatingPoint(0.5, 0.90, 1.5)]
    figure = exit_curve({"one": points, "each": points[:1]}, [0.8, 0.9, 0.95], (0.99, 1.25), title="Digits")
    (axes,) = figure.axes
    fixed, one, each, bound = axes.lines
    assert (list(fixed.get_xdata()), list(fixed.get_ydata())) == ([1, 2, 3], [0.8, 0.9, 0.95])
    assert (list(one.get_xdata()), list(one.get_ydata())) == ([1.5, 3.0], [0.90, 0.95])
    assert list(each.get_xdata()) == [3.0]
    assert (list(bound.get_xdata()), list(bound.get_ydata())) == ([1.25], [0.99])
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["same steps for all", "one", "each", "bound: answer known (99.00% at 1.25)"]
    assert axes.get_title() == "Digits"


def test_without_a_bound_there_is_no_star() -> None:
    assert len(exit_curve({}, [0.8]).axes[0].lines) == 1


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(InputError, match="fixed holds no accuracy"):
        exit_curve({}, [])
