"""The adding task: pairs drawn anew, sums of digits modulo 10, an endless training set and a fixed test set."""

from __future__ import annotations

import pytest
import torch

from neurosim.datasets import Labelled
from neurosim.datasets.adding import Adding
from neurosim.errors import InputError


def words(number: int = 40) -> Labelled:
    """Make words whose every value says which they are."""
    x = torch.arange(number, dtype=torch.float32)[:, None, None].expand(number, 5, 3)
    return Labelled(x, torch.arange(number) % 20, tuple(map(str, range(20))), timed=True)


def drawn(batches: Adding) -> torch.Tensor:
    return torch.stack([x for x, _ in batches])


def test_two_words_follow_one_another_and_the_class_is_the_sum_of_the_digits():
    task = Adding(words(), 64, batches=3)
    assert len(task) == 3 and task.classes == 19
    for x, y in task:
        assert x.shape == (10, 64, 3) and y.dtype == torch.int64
        first, second = x[0, :, 0].long(), x[9, :, 0].long()
        assert (x[:5] == first[:, None]).all() and (x[5:] == second[:, None]).all()
        # Word k has label k mod 20 of twenty, so that its digit is k mod 10 in either language.
        assert torch.equal(y, first % 10 + second % 10)
    assert set(torch.cat([y for _, y in Adding(words(), 500, batches=4)]).tolist()) == set(range(19))


def test_words_are_drawn_with_replacement():
    first, second = Adding(words(4), 100).pairs(0, 0)
    assert set(first.tolist()) == set(second.tolist()) == {0, 1, 2, 3}
    assert (first == second).any() and (first != second).any()


def test_every_epoch_draws_other_pairs_that_depend_on_nothing_but_seed_and_epoch():
    task = Adding(words(), 8, batches=4, seed=3)
    first = drawn(task)
    assert torch.equal(first, drawn(task)) and not torch.equal(first[0], first[1])
    task.set_epoch(1)
    assert not torch.equal(first, drawn(task))
    task.set_epoch(0)
    assert torch.equal(first, drawn(task))
    assert not torch.equal(first, drawn(Adding(words(), 8, batches=4, seed=4)))


def test_a_fixed_set_is_the_same_in_every_epoch():
    task = Adding(words(), 8, batches=2, fixed=True)
    first = drawn(task)
    task.set_epoch(5)
    assert torch.equal(first, drawn(task))


def test_what_is_refused():
    with pytest.raises(InputError, match="the data must run over time"):
        Adding(Labelled(torch.rand(3, 4), torch.arange(3), ("a", "b", "c")), 2)
    with pytest.raises(InputError, match="holds no words"):
        Adding(words().subset(slice(0)), 2)
    with pytest.raises(InputError, match="batch_size = 0"):
        Adding(words(), 0)
