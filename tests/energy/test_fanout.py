"""Fan-out against a count of every pair, one by one."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from neurosim import AvgPool2d, Conv1d, Conv2d, Flatten, Linear, MaxPool2d, Sparse, SumPool2d
from neurosim.energy.fanout import fan_out
from neurosim.errors import InputError
from neurosim.synapses import Synapse

SYNAPSES = {
    "linear": (lambda: Linear(7, 5), (7,)),
    "linear with bias": (lambda: Linear(7, 5, bias=True), (7,)),
    "sparse": (lambda: Sparse.random(7, 5, 0.4), (7,)),
    "conv1d": (lambda: Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (4, 9)),
    "conv": (lambda: Conv2d(2, 3, 3), (2, 6, 5)),
    "conv padded": (lambda: Conv2d(2, 3, 3, padding=1, bias=True), (2, 5, 5)),
    "conv strided": (lambda: Conv2d(2, 3, 3, stride=2, padding=1), (2, 6, 7)),
    "conv stride above kernel": (lambda: Conv2d(1, 2, 2, stride=3), (1, 8, 8)),
    "conv dilated": (lambda: Conv2d(2, 2, 3, dilation=2, padding=2), (2, 7, 6)),
    "conv grouped": (lambda: Conv2d(4, 6, (3, 2), groups=2, stride=(1, 2), padding=(1, 0)), (4, 5, 6)),
    "conv depthwise": (lambda: Conv2d(3, 3, 3, groups=3, padding=1), (3, 4, 4)),
    "avg": (lambda: AvgPool2d(2), (2, 5, 4)),
    "sum": (lambda: SumPool2d(3, stride=2), (2, 7, 6)),
    "max": (lambda: MaxPool2d((2, 3), stride=1), (1, 4, 5)),
}


def matrix(synapse: Synapse, shape: tuple[int, ...]) -> Tensor:
    """Whether input j reaches output i with a weight that is not zero: the module is run on every unit vector."""
    bias = getattr(synapse, "bias", None)
    if bias is not None:
        nn.init.zeros_(bias)
    unit = torch.eye(math.prod(shape)).reshape(1, -1, *shape)
    with torch.no_grad():
        return (synapse(unit)[0].flatten(1) != 0).T


@pytest.mark.parametrize("name", SYNAPSES)
def test_fan_out_is_the_number_of_outputs_that_a_unit_input_changes(name: str) -> None:
    make, shape = SYNAPSES[name]
    synapse = make()
    weight = getattr(synapse, "weight", None)
    if weight is not None:
        with torch.no_grad():
            weight.abs_().add_(0.1)
    reached = matrix(synapse, shape)
    fan = fan_out(synapse, shape)
    assert fan is not None
    assert torch.equal(fan.existing, reached.sum(0))
    if weight is not None:
        with torch.no_grad():
            weight.mul_((torch.rand_like(weight) < 0.5).float() * torch.where(torch.rand_like(weight) < 0.5, 1.0, -1.0))
        pruned = fan_out(synapse, shape)
        assert pruned is not None
        assert torch.equal(pruned.effective, matrix(synapse, shape).sum(0))
        assert torch.equal(pruned.existing, fan.existing)
        assert 0 < pruned.effective.sum() < pruned.existing.sum()
        assert pruned.weights == weight.numel()
    else:
        assert torch.equal(fan.effective, fan.existing) and fan.weights == 0


def test_padding_gives_border_events_fewer_targets_than_the_middle() -> None:
    fan = fan_out(Conv2d(1, 1, 3, padding=1), (1, 4, 4))
    assert fan is not None
    corner, edge, middle = 4, 6, 9
    expected = torch.full((4, 4), middle)
    for i, j in itertools.product(range(4), repeat=2):
        sides = (i in (0, 3)) + (j in (0, 3))
        expected[i, j] = (middle, edge, corner)[sides]
    assert torch.equal(fan.existing.reshape(4, 4), expected)


def test_flatten_computes_nothing() -> None:
    assert fan_out(Flatten(), (2, 3, 3)) is None


class Squared(Synapse):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def apply_step(self, x: Tensor) -> Tensor:
        return self.weight * x**2


class Plain(Synapse):
    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def apply_step(self, x: Tensor) -> Tensor:
        return x


class Diagonal(Plain):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def apply_step(self, x: Tensor) -> Tensor:
        return self.weight * x


def test_a_linear_synapse_of_ones_own_is_counted() -> None:
    fan = fan_out(Diagonal(torch.tensor([0.5, 0.0, -2.0])), (3,))
    assert fan is not None
    assert fan.effective.tolist() == [1, 0, 1] and fan.existing.tolist() == [1, 1, 1]


class Differences(Plain):
    """Each neuron after gets the difference of two neighbours; no weight to read."""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0] - 1,)

    def apply_step(self, x: Tensor) -> Tensor:
        return x[:, 1:] - x[:, :-1]


def test_a_synapse_without_a_weight_is_counted_by_what_it_computes() -> None:
    fan = fan_out(Differences(), (6,))
    assert fan is not None
    assert fan.effective.tolist() == fan.existing.tolist() == [1, 2, 2, 2, 2, 1] and fan.weights == 10


def test_what_is_not_linear_is_refused_by_name() -> None:
    assert fan_out(Plain(), (3,)) is None  # passes on its input
    with pytest.raises(InputError, match="operations of Squared cannot be counted: it is not linear"):
        fan_out(Squared(), (3,))
