"""Tensors of a NamedTuple as a flat list, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from neurosim.kernels.common.fields import Fields


class Example(NamedTuple):
    key: str
    weights: Sequence[Tensor]
    x: Tensor
    steps: int
    bias: Tensor | None
    states: Sequence[Tensor]
    decay: float
    trains: bool = True
    numbers: Sequence[float] = ()
    sizes: Sequence[int] = ()


A, B, C, D, E = (torch.tensor(float(n)) for n in range(5))
VALUES = Example("lif", [A, B], C, 7, None, (D, E), 0.5, False, [1.0], [2])


def test_the_flat_list_has_the_groups_in_order_and_in_each_the_single_tensors_first():
    assert Fields(Example).flat()(VALUES) == [C, None, A, B, D, E]
    grouped = Fields(Example, ["states", "bias"], ["x"])
    assert grouped.flat()(VALUES) == [None, D, E, C, A, B]
    assert grouped.flat(1)(VALUES) == [None, D, E]
    assert grouped.flat(2)(VALUES) == [None, D, E, C]


def test_counts_are_those_of_the_flat_list():
    fields = Fields(Example, ["states", "bias"], ["x"])
    for groups in (1, 2, 3, None):
        assert fields.count(groups)(VALUES) == len(fields.flat(groups)(VALUES))


@pytest.mark.parametrize("groups", [[], [["x"]], [["weights", "bias"], ["states"]]])
def test_values_are_rebuilt_from_the_flat_list(groups):
    fields = Fields(Example, *groups)
    rest, lengths = fields.without_tensors()(VALUES)
    assert [value for value in rest if isinstance(value, Tensor)] == []
    rebuilt = fields.rebuilt()(fields.flat()(VALUES), rest, lengths)
    assert isinstance(rebuilt, Example)
    assert all(
        list(a) == list(b) if isinstance(a, (list, tuple)) else a is b for a, b in zip(rebuilt, VALUES, strict=True)
    )


def test_a_rebuilt_group_takes_the_others_from_the_rest():
    fields = Fields(Example, ["states"])
    _, lengths = fields.without_tensors()(VALUES)
    rebuilt = fields.rebuilt(1)([E, D], fields.defaults, lengths)
    assert rebuilt.states == [E, D] and rebuilt.x is None and rebuilt.trains is True and rebuilt.numbers == ()


def test_the_schema_of_torch():
    assert Fields(Example).schema == (
        "str key, Tensor[] weights, Tensor x, SymInt steps, Tensor? bias, Tensor[] states, float decay, bool trains, "
        "float[] numbers, SymInt[] sizes"
    )


def test_only_tensors_form_groups():
    with pytest.raises(TypeError, match=r"Example: fields with gradients must be of type Tensor.*\['steps'\] are not"):
        Fields(Example, ["x", "steps"])
