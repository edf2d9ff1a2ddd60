"""The counter-based generator against published vectors, its own definition and statistics."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neurosim.kernels.common import philox as module
from neurosim.kernels.common.philox import WORD, philox, random_words, stream_of

# Random123's known answers for philox4x32 with 10 rounds: counter, key, words.
KNOWN = [
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def numbers(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, ...], words: tuple[int, ...]) -> None:
    assert philox(counter, key) == words
    tensors = philox([numbers(c) for c in counter], [numbers(k) for k in key])
    assert tuple(int(word) for word in tensors) == words


def test_tensors_and_integers_give_the_same_words() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, WORD, (6, 300), generator=generator)
    words = torch.stack(philox(rows[:4], rows[4:]), 1)
    assert words.tolist() == [list(philox(row[:4], row[4:])) for row in rows.T.tolist()]


SEED, TRIAL, STEP = numbers(5, 5, 2**62 + 3), numbers(0, 7, WORD - 1), numbers(0, 3, 100)


def test_a_number_is_the_word_of_its_place() -> None:
    words = random_words(99, SEED, TRIAL, STEP, steps=3, neurons=10)
    for t in range(3):
        for b in range(3):
            key = int(SEED[b]) % WORD, int(SEED[b]) // WORD
            for n in range(10):
                counter = n // 4, int(STEP[b]) + t, int(TRIAL[b]), 99
                assert int(words[t, b, n]) == philox(counter, key)[n % 4]


@pytest.mark.parametrize("block", [1, 2, 5, 12, 1000])
def test_blocks_do_not_change_numbers(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = random_words(1, SEED, TRIAL, STEP, steps=7, neurons=13)
    monkeypatch.setattr(module, "_BLOCK", {"cpu": block})
    assert torch.equal(random_words(1, SEED, TRIAL, STEP, steps=7, neurons=13), expected)


def test_numbers_do_not_depend_on_the_batch_the_chunk_or_the_size() -> None:
    every = random_words(1, SEED, TRIAL, STEP, steps=20, neurons=13)
    for b in range(3):
        alone = random_words(1, SEED[b : b + 1], TRIAL[b : b + 1], STEP[b : b + 1], steps=20, neurons=13)
        assert torch.equal(alone[:, 0], every[:, b])
    later = random_words(1, SEED, TRIAL, STEP + 8, steps=12, neurons=13)
    assert torch.equal(later, every[8:])
    assert torch.equal(random_words(1, SEED, TRIAL, STEP, steps=20, neurons=7), every[..., :7])


def test_empty_shapes_are_drawn() -> None:
    assert random_words(1, SEED, TRIAL, STEP, steps=0, neurons=4).shape == (0, 3, 4)
    assert random_words(1, SEED[:0], TRIAL[:0], STEP[:0], steps=5, neurons=4).shape == (5, 0, 4)


def z_of_chi_square(statistic: float, degrees: int) -> float:
    """Return the normal deviate of a chi-square statistic (Wilson and Hilferty)."""
    return ((statistic / degrees) ** (1 / 3) - (1 - 2 / (9 * degrees))) / math.sqrt(2 / (9 * degrees))


def bits(words: Tensor) -> Tensor:
    return (words.flatten()[:, None] >> torch.arange(32)) & 1


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**40])
def test_bytes_are_uniform(seed: int) -> None:
    words = random_words(0, numbers(seed), numbers(0), numbers(0), steps=250, neurons=256)
    for byte in range(4):
        counts = torch.bincount((words.flatten() >> (8 * byte)) & 255, minlength=256).double()
        expected = counts.sum() / 256
        assert abs(z_of_chi_square(float(((counts - expected) ** 2 / expected).sum()), 255)) < 4


@pytest.mark.parametrize("neighbour", ["stream", "seed", "trial", "step", "neuron"])
def test_neighbouring_places_are_independent(neighbour: str) -> None:
    def words(stream: int = 3, seed: int = 3, trial: int = 3, step: int = 3, first: int = 0) -> Tensor:
        at = (numbers(seed), numbers(trial), numbers(step))
        return random_words(stream, *at, steps=200, neurons=101)[..., first : first + 100]

    other = {"first": 1} if neighbour == "neuron" else {neighbour: 4}
    equal = (bits(words()) == bits(words(**other))).double()
    z = (equal.mean(0) - 0.5) * 2 * math.sqrt(len(equal))
    assert z.abs().max() < 4.5
    assert abs(z_of_chi_square(float((z**2).sum()), 32)) < 4


def test_streams_are_named() -> None:
    assert stream_of("source noise") != stream_of("source noise2")
    assert 0 <= stream_of("source noise") < WORD
    assert stream_of("123456789") == 0xCBF43926  # the check value of CRC-32
