"""Nested operations on lists of digits, as one long sequence of tokens."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.labelled import Labelled
from neurosim.errors import InputError

LISTOPS_TOKENS = (" ", *map(str, range(10)), "[MIN", "[MAX", "[MED", "[SM", "]")
_FIRST_OPERATION, _CLOSE = 11, 15
_OPERATIONS: tuple[Callable[[list[int]], int], ...] = (
    min,
    max,
    lambda values: (sorted(values)[(len(values) - 1) // 2] + sorted(values)[len(values) // 2]) // 2,
    lambda values: sum(values) % 10,
)


def listops(
    number: int, length: int, *, shortest: int | None = None, depth: int = 10, arguments: int = 10, seed: int = 0
) -> Labelled:
    """Make random expressions of nested operations, labelled with their value, a digit.

    ``[MAX 4 [MIN 2 3 ] 1 [SM 9 5 ] ]`` is 4: the least, the greatest, the median (of an even number the mean of the
    middle two, rounded down) and the sum modulo 10, as in Nangia & Bowman 2018. Tokens are those of Long Range Arena,
    where an operation opens its own bracket. The expressions are drawn otherwise than there: their tokens are divided
    at random among the arguments of each operation, so that few are drawn in vain.

    Parameters
    ----------
    number : int
        Expressions.
    length : int
        Tokens of a sequence, from 4 on; token 0 fills the rest after shorter expressions.
    shortest : int, optional
        Tokens of the shortest expression; nine tenths of `length` if left out.
    depth : int
        Largest number of operations within each other.
    arguments : int
        Largest number of arguments of an operation, from 2 on.
    seed : int
        Not negative.

    Returns
    -------
    Labelled
        `x` int64 [number, length], places in `LISTOPS_TOKENS`; `y` int64, the value.

    Raises
    ------
    InputError
        For sizes out of range, or expressions that so few operations and arguments cannot make.

    References
    ----------
    Nangia, Bowman 2018, "ListOps: a diagnostic dataset for latent tree learning", arXiv:1804.06028; Tay et al. 2021,
    "Long range arena: a benchmark for efficient transformers", arXiv:2011.04006.

    Examples
    --------
    >>> from neurosim.datasets import LISTOPS_TOKENS, listops
    >>> data = listops(1, 12, seed=1)
    >>> " ".join(LISTOPS_TOKENS[token] for token in data.x[0]), data.y.tolist()
    ('[SM 9 [MAX [MAX 2 4 ] 2 0 ] ]    ', [3])
    """
    checked_integer("number", number)
    checked_integer("length", length, least=4)
    checked_integer("depth", depth)
    checked_integer("arguments", arguments, least=2)
    least = max(4, length * 9 // 10) if shortest is None else checked_integer("shortest", shortest, least=4)
    if least > length:
        raise InputError(f"listops: shortest = {least} tokens, more than length = {length}.")
    draw = random.Random(checked_integer("seed", seed, least=0)).random
    x, y = torch.zeros(number, length, dtype=torch.int64), torch.zeros(number, dtype=torch.int64)
    for row in range(number):
        for _ in range(1000):
            tokens: list[int] = []
            value = _grow(tokens, least + int(draw() * (length - least + 1)), depth, arguments, draw)
            if least <= len(tokens):
                break
        else:
            raise InputError(
                f"listops: 1000 expressions of depth {depth} with {arguments} arguments had fewer than {least} tokens. "
                "Give more depth or arguments, or a smaller shortest."
            )
        x[row, : len(tokens)], y[row] = torch.tensor(tokens), value
    return Labelled(x, y, tuple(map(str, range(10))))


def _grow(tokens: list[int], budget: int, depth: int, most: int, draw: Callable[[], float]) -> int:
    """Append an expression of at most `budget` tokens; return its value."""
    if budget < 4 or not depth:
        digit = int(draw() * 10)
        tokens.append(1 + digit)
        return digit
    inner = budget - 2
    operation = int(draw() * 4)
    tokens.append(_FIRST_OPERATION + operation)
    shares = [draw() ** 3 for _ in range(2 + int(draw() * (min(most, inner) - 1)))]
    free, total, values = inner - len(shares), sum(shares), []
    for share in shares:
        # What one argument leaves of its tokens is for the next ones.
        part = int(free * share / total) if total > share else free
        free, total = free - part, total - share
        before = len(tokens)
        values.append(_grow(tokens, 1 + part, depth - 1, most, draw))
        free += 1 + part - (len(tokens) - before)
    tokens.append(_CLOSE)
    return _OPERATIONS[operation](values)
