from __future__ import annotations

from functools import partial

import pytest
import torch

from neurosim.errors import InputError
from neurosim.learning import accuracy, spikes_per_step
from neurosim.learning.training.metrics import named_metrics


def test_accuracy_is_the_share_of_right_predictions() -> None:
    output = torch.zeros(3, 4, 2)
    assert float(accuracy(output, torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 0]))) == 0.75


def test_spikes_per_step_is_the_mean_output() -> None:
    output = torch.zeros(10, 2, 5)
    output[:3] = 1
    assert float(spikes_per_step(output, torch.zeros(2), torch.zeros(2))) == pytest.approx(0.3)


def test_columns_are_named_after_functions() -> None:
    assert list(named_metrics([accuracy, spikes_per_step])) == ["accuracy", "spikes_per_step"]
    with pytest.raises(InputError, match=r"has no __name__ for its column"):
        named_metrics([partial(accuracy)])
    with pytest.raises(InputError, match=r"two columns of the history would be called 'accuracy'"):
        named_metrics([accuracy, accuracy])

    def loss(output: torch.Tensor, target: torch.Tensor, predicted: torch.Tensor) -> float:
        return 0.0

    with pytest.raises(InputError, match=r"would be called 'loss'"):
        named_metrics([loss])
