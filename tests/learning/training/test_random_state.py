from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from neurosim.errors import InputError
from neurosim.learning.training.random_state import capture, generators_of, kept, restore, seed_all


def draws(own: torch.Generator) -> list[Any]:
    return [
        torch.rand(3).tolist(),
        np.random.rand(3).tolist(),
        np.random.randn(3).tolist(),
        random.random(),
        random.gauss(0, 1),
        torch.rand(3, generator=own).tolist(),
    ]


def test_every_generator_continues_its_sequence() -> None:
    own = torch.Generator().manual_seed(1)
    # An odd number of normal draws leaves half a pair inside numpy's and Python's generators.
    np.random.randn(1), random.gauss(0, 1)
    states = capture([own])
    first = draws(own)
    assert first != draws(own)
    restore(states, [own])
    assert draws(own) == first


def test_seeds_reach_all_three_libraries() -> None:
    own = torch.Generator()
    seed_all(5)
    own.manual_seed(0)
    first = draws(own)
    seed_all(5)
    own.manual_seed(0)
    assert draws(own) == first
    seed_all(6)
    own.manual_seed(0)
    assert all(a != b for a, b in zip(draws(own)[:-1], first[:-1], strict=True))


def test_kept_restores_the_global_generators_even_after_an_error() -> None:
    own = torch.Generator().manual_seed(1)
    before = capture()
    with pytest.raises(KeyError), kept():
        seed_all(99)
        raise KeyError
    first = draws(own)
    restore(before)
    own.manual_seed(1)
    assert draws(own) == first


def test_generators_of_a_loader_are_found_once_each() -> None:
    data, own, other = TensorDataset(torch.zeros(4, 1)), torch.Generator(), torch.Generator()
    assert generators_of([1, 2]) == []
    assert generators_of(DataLoader(data, shuffle=True)) == []
    assert generators_of(DataLoader(data, shuffle=True, generator=own)) == [own]
    assert generators_of(DataLoader(data, sampler=RandomSampler(data, generator=other))) == [other]
    batches = BatchSampler(RandomSampler(data, generator=other), 2, drop_last=False)
    assert generators_of(DataLoader(data, batch_sampler=batches, generator=own)) == [own, other]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True, "0"])
def test_seeds_are_checked(seed: Any) -> None:
    with pytest.raises(InputError, match=r"an integer from 0 to 2\*\*32 - 1, or None"):
        seed_all(seed)
