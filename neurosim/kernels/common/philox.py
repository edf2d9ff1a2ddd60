"""Random numbers from a counter (Philox4x32-10): a number depends on its place and on nothing else.

The place is (stream, seed, trial, step, neuron). So a number is the same in any batch, in any chunk of a run, on any
number of threads and on any device. All arithmetic is on integers below 2^32.

Layout, for other kernels that draw the same numbers: key = (seed modulo 2^32, seed / 2^32), counter = (neuron / 4,
step, trial, stream), and the number of a neuron is word ``neuron % 4`` of the result.

References
----------
Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

WORD = 2**32  # numbers that a word can hold
_MASK = WORD - 1
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
INCREMENTS = (0x9E3779B9, 0xBB67AE85)
# Counters at a time. On the CPU their words stay below the 32,768 elements from which torch uses several threads:
# threads that wait for each other on a busy machine cost more than they gain.
_BLOCK = {"cpu": 7 * 2**10}
_LARGE_BLOCK = 2**22


def philox(counter: Sequence[Any], key: Sequence[Any]) -> tuple[Any, Any, Any, Any]:
    """Return the four words of a counter under a key.

    Parameters
    ----------
    counter : four int or Tensor of int64
        Each in ``0 ... 2^32 - 1``; tensors broadcast.
    key : two int or Tensor of int64
        As `counter`.

    Returns
    -------
    four int or Tensor of int64
        Each in ``0 ... 2^32 - 1``.

    Examples
    --------
    >>> [hex(word) for word in philox((0, 0, 0, 0), (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    (a, b, c, d), (k0, k1) = counter, key
    for _ in range(ROUNDS):
        # A product of two words fills 64 bits. In int64 its sign is wrong, but its bits are right.
        left, right = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (right >> 32 & _MASK) ^ b ^ k0, right & _MASK, (left >> 32 & _MASK) ^ d ^ k1, left & _MASK
        k0, k1 = k0 + INCREMENTS[0] & _MASK, k1 + INCREMENTS[1] & _MASK
    return a, b, c, d


def stream_of(name: str) -> int:
    """Return the number of the stream called `name`: its CRC-32."""
    return zlib.crc32(name.encode())


def random_blocks(
    stream: int, seed: Tensor, trial: Tensor, step: Tensor, steps: int, neurons: int
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Draw one word for each step, sample and neuron, block by block.

    Parameters
    ----------
    stream : int
        In ``0 ... 2^32 - 1``.
    seed, trial, step : Tensor [B] of int64
        Seed (``0 ... 2^63 - 1``), trial and first step (``0 ... 2^32 - 1``) of each sample.
    steps, neurons : int

    Yields
    ------
    rows, columns : slice
        Steps and neurons of the block.
    words : Tensor [rows, B, columns] of int64
        Each in ``0 ... 2^32 - 1``.
    """
    samples, device = len(seed), seed.device
    block = _BLOCK.get(device.type, _LARGE_BLOCK)
    quads = max(1, min(-(-neurons // 4), block // max(samples, 1)))
    height = max(1, block // max(samples * quads, 1))
    key = (seed & _MASK)[:, None], (seed >> 32)[:, None]
    for top in range(0, steps, height):
        rows = slice(top, min(top + height, steps))
        when = step[:, None] + torch.arange(rows.start, rows.stop, device=device)[:, None, None]
        for left in range(0, neurons, 4 * quads):
            columns = slice(left, min(left + 4 * quads, neurons))
            quad = torch.arange(left // 4, -(-columns.stop // 4), device=device)
            words = torch.stack(philox((quad, when, trial[:, None], stream), key), dim=-1)
            yield rows, columns, words.flatten(2)[..., : columns.stop - left]


def random_words(stream: int, seed: Tensor, trial: Tensor, step: Tensor, steps: int, neurons: int) -> Tensor:
    """Return what `random_blocks` draws as one tensor [steps, B, neurons] of int64.

    Examples
    --------
    >>> zero = torch.zeros(1, dtype=torch.int64)
    >>> [hex(word) for word in random_words(0, zero, zero, zero, steps=1, neurons=4).flatten().tolist()]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    out = torch.empty((steps, len(seed), neurons), dtype=torch.int64, device=seed.device)
    for rows, columns, words in random_blocks(stream, seed, trial, step, steps, neurons):
        out[rows, :, columns] = words
    return out
