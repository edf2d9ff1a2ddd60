"""The learning curve draws what is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurosim.errors import InputError
from neurosim.learning.training.history import History
from neurosim.report import learning_curve


def axes_of(figure: Any) -> Any:
    """Untyped on purpose: matplotlib's stubs know less of artists than these tests ask."""
    return figure.axes


HISTORY: list[dict[str, Any]] = [
    {"epoch": 1, "train_loss": 2.0, "val_loss": 2.2, "val_accuracy": 0.5, "note": "warm-up"},
    {"epoch": 2, "train_loss": 1.0, "val_accuracy": 0.9},
    {"epoch": 3, "train_loss": 0.5, "val_loss": 0.9, "val_accuracy": 0.8, "rate": np.float32(12.0)},
]


def test_losses_and_accuracies_have_a_panel_each_and_gaps_are_left_out() -> None:
    loss, accuracy, rate = axes_of(learning_curve(HISTORY))
    assert [axes.get_ylabel() for axes in (loss, accuracy, rate)] == ["loss", "accuracy", "rate"]
    assert loss.lines[0].get_xydata().tolist() == [[1, 2.0], [2, 1.0], [3, 0.5]]
    assert loss.lines[1].get_xydata().tolist() == [[1, 2.2], [3, 0.9]]
    assert accuracy.lines[0].get_ydata().tolist() == [0.5, 0.9, 0.8]
    assert rate.lines[0].get_xydata().tolist() == [[3, 12.0]]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training, best 0.5", "validation, best 0.9"]
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["validation, best 90.00%"]


def test_the_history_of_a_training_run_is_drawn_as_it_is() -> None:
    history = History(
        [
            {"epoch": k, "loss": 1.0 / k, "validation_loss": 2.0 / k, "learning_rate": 1e-3, "accuracy": 0.5}
            for k in (1, 2)
        ]
    )
    loss, accuracy, rate = axes_of(learning_curve(history))
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training, best 0.5", "validation, best 1"]
    assert accuracy.lines[0].get_ydata().tolist() == [0.5, 0.5]
    assert rate.get_ylabel() == "learning rate" and rate.get_legend() is None


def test_without_epochs_the_entries_are_counted() -> None:
    (axes,) = axes_of(learning_curve([{"loss": 3.0}, {"loss": 2.0}]))
    assert axes.lines[0].get_xdata().tolist() == [1, 2]


def test_a_loss_over_decades_is_logarithmic() -> None:
    (wide,) = axes_of(learning_curve([{"loss": 3.0}, {"loss": 0.01}]))
    (narrow,) = axes_of(learning_curve([{"loss": 3.0}, {"loss": 1.0}]))
    assert (wide.get_yscale(), narrow.get_yscale()) == ("log", "linear")


def test_values_that_are_not_finite_leave_a_gap_and_no_best() -> None:
    (axes,) = axes_of(learning_curve([{"train_loss": float("nan")}, {"train_loss": 2.0}, {"train_loss": 3.0}]))
    assert axes.get_legend().get_texts()[0].get_text() == "training, best 2"
    (empty,) = axes_of(learning_curve([{"train_loss": float("nan")}]))
    assert empty.get_legend().get_texts()[0].get_text() == "training"


@pytest.mark.parametrize("history", [[], [{"epoch": 1}], [{"note": "none"}, {"done": True}]])
def test_nothing_to_draw_is_refused(history: list) -> None:
    with pytest.raises(InputError, match="the history holds no numbers"):
        learning_curve(history)
