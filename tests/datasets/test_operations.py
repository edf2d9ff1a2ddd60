"""ListOps: an evaluator of the text, which knows nothing of trees, gives the labels."""

from __future__ import annotations

import re
import statistics

import pytest
import torch

from neurosim.datasets import LISTOPS_TOKENS, listops
from neurosim.errors import InputError

INNERMOST = re.compile(r"\[(MIN|MAX|MED|SM)((?: \d)+) \]")


def text(row: torch.Tensor) -> str:
    return " ".join(LISTOPS_TOKENS[token] for token in row).strip()


def reduced(match: re.Match[str]) -> str:
    values = [int(digit) for digit in match[2].split()]
    of = {"MIN": min, "MAX": max, "SM": lambda v: sum(v) % 10, "MED": lambda v: int(statistics.median(v))}
    return str(of[match[1]](values))


def evaluated(expression: str) -> tuple[int, int]:
    """Replace innermost operations by their values; return the value and the number of rounds, its depth."""
    for rounds in range(100):
        if expression.isdigit():
            return int(expression), rounds
        expression = INNERMOST.sub(reduced, expression)
    raise AssertionError(expression)


@pytest.mark.parametrize(("number", "length", "depth", "most"), [(300, 40, 10, 10), (8, 2000, 10, 10), (60, 90, 4, 5)])
def test_the_label_is_the_value(number: int, length: int, depth: int, most: int) -> None:
    data = listops(number, length, depth=depth, arguments=most, seed=3)
    assert data.x.shape == (number, length) and data.classes == tuple("0123456789")
    found = [evaluated(text(row)) for row in data.x]
    assert [value for value, _ in found] == data.y.tolist()
    assert max(rounds for _, rounds in found) <= depth
    lengths = (data.x > 0).sum(1)
    assert int(lengths.min()) >= length * 9 // 10
    assert bool((data.x.gather(1, lengths[:, None] - 1) == LISTOPS_TOKENS.index("]")).all())
    if number > 100:
        assert lengths.unique().tolist() == [36, 37, 38, 39, 40] and set(data.y.tolist()) == set(range(10))
        assert set(data.x.unique().tolist()) == set(range(16))


def test_the_known_example_is_evaluated() -> None:
    assert evaluated("[MAX 4 [MIN 2 3 ] 1 [SM 9 5 ] ]") == (4, 2)
    assert evaluated("[MED 2 9 ]") == (5, 1)


def test_the_number_of_arguments_is_bounded() -> None:
    for row in listops(50, 60, arguments=3, seed=1).x:
        while (match := INNERMOST.search(text(row))) is not None:
            assert 2 <= len(match[2].split()) <= 3
            break


def test_the_seed_decides() -> None:
    assert torch.equal(listops(4, 50, seed=1).x, listops(4, 50, seed=1).x)
    assert not torch.equal(listops(4, 50, seed=1).x, listops(4, 50, seed=2).x)


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="length = 3, but it must be an integer from 4"):
        listops(1, 3)
    with pytest.raises(InputError, match="shortest = 9 tokens, more than length = 8"):
        listops(1, 8, shortest=9)
    with pytest.raises(InputError, match="1000 expressions of depth 1 with 4 arguments had fewer than 45 tokens"):
        listops(1, 50, depth=1, arguments=4)
    with pytest.raises(InputError, match="arguments = 1"):
        listops(1, 50, arguments=1)
