from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.errors import InputError, ShapeError
from neurosim.learning import CrossEntropy, accuracy, evaluate
from neurosim.learning.training.evaluation import modes_kept

Batch = tuple[Tensor, Tensor]


def network() -> Any:
    return ns.Sequential(ns.Linear(6, 3), ns.LI(dt=1e-3))


def batches(sizes: tuple[int, ...] = (4, 2)) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.rand(5, size, 6, generator=generator), torch.randint(3, (size,), generator=generator)) for size in sizes
    ]


def test_means_are_over_samples_not_batches() -> None:
    net, (first, second) = network(), batches()
    whole = (torch.cat([first[0], second[0]], 1), torch.cat([first[1], second[1]]))
    z = net(whole[0])[0].detach()
    found = evaluate(net, [first, second])
    assert found["loss"] == pytest.approx(float(CrossEntropy()(z, whole[1])), rel=1e-6)
    assert found["accuracy"] == pytest.approx(float((CrossEntropy().prediction(z) == whole[1]).double().mean()))
    assert found == pytest.approx(evaluate(net, [whole]), rel=1e-6)


def test_metrics_get_output_target_and_prediction() -> None:
    def shapes(output: Tensor, target: Tensor, predicted: Tensor) -> float:
        assert not output.requires_grad
        return 100 * output.shape[2] + 10 * target.ndim + predicted.ndim

    assert evaluate(network(), batches(), CrossEntropy(), [shapes, accuracy])["shapes"] == 311


def test_it_runs_in_eval_mode_without_gradients_and_restores_every_mode() -> None:
    seen = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.quiet = network(), nn.Dropout()

        def forward(self, x: Tensor, state: Any = None, *, through_time: bool = True) -> Any:
            seen.append((self.training, self.quiet.training, torch.is_grad_enabled()))
            return self.net(x, state, through_time=through_time)

    net = Watched()
    net.quiet.eval()
    evaluate(net, batches())
    assert seen == [(False, False, False)] * 2
    assert net.training and not net.quiet.training


def test_modes_are_restored_after_an_error() -> None:
    net = network()
    with pytest.raises(KeyError), modes_kept(net):
        net.eval()
        raise KeyError
    assert all(module.training for module in net.modules())


def test_whole_number_inputs_are_taken() -> None:
    net, (x, y) = network(), batches()[0]
    assert evaluate(net, [((x > 0.5).to(torch.uint8), y)]) == evaluate(net, [((x > 0.5).float(), y)])
    assert evaluate(net, [(x > 0.5, y)]) == evaluate(net, [((x > 0.5).float(), y)])


def test_no_batch_is_refused() -> None:
    with pytest.raises(InputError, match=r"evaluation: the data has no batch\. Check the data set"):
        evaluate(network(), [])


def test_a_batch_that_is_not_a_pair_is_named() -> None:
    x, y = batches()[0]
    with pytest.raises(ShapeError, match=r"evaluation, batch 2 is a Tensor; a pair of tensors is needed"):
        evaluate(network(), [(x, y), x])  # type: ignore[list-item]
    with pytest.raises(ShapeError, match=r"evaluation, batch 1: x is \[5, 4, 6\] and y is \[3\]"):
        evaluate(network(), [(x, y[:3])])


def test_batch_first_is_recognised() -> None:
    x, y = batches()[0]
    with pytest.raises(ShapeError, match=r"x is \[4, 5, 6\] and y is \[4\].*x looks batch first.*x\.transpose\(0, 1\)"):
        evaluate(network(), [(x.transpose(0, 1), y)])


def test_a_loss_that_is_not_finite_is_named_with_its_likely_cause() -> None:
    net, (x, y) = network(), batches()[0]
    with torch.no_grad():
        next(net.parameters()).fill_(float("nan"))
    with pytest.raises(
        InputError, match=r"evaluation, batch 1: the loss is nan\. Parameters of the network are no longer"
    ):
        evaluate(net, [(x, y)])
