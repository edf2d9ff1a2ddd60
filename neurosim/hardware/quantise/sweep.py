"""How accurate a network stays as its weights get fewer bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from neurosim.hardware.quantise.network import quantise
from neurosim.hardware.quantise.whole import fixed
from neurosim.learning import evaluate
from neurosim.learning.losses import Loss
from neurosim.network.network import Network

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class BitsResult:
    """One network of a `BitsReport`.

    Attributes
    ----------
    bits : int or None
        Of the weights; None for the network in real numbers.
    trained : bool
        Whether it was trained further in whole numbers.
    accuracy : float
    mismatch : mapping of str to float
        By population, as in `Choice`; of networks that were not trained further.
    """

    bits: int | None
    trained: bool
    accuracy: float
    mismatch: Mapping[str, float]


@dataclass(frozen=True)
class BitsReport:
    """Accuracy against bits.

    Attributes
    ----------
    results : tuple of BitsResult
        The network in real numbers first.
    """

    results: tuple[BitsResult, ...]

    @property
    def real(self) -> float:
        """Accuracy in real numbers."""
        return self.results[0].accuracy

    def table(self) -> str:
        """Return the results as text, a line each, with the difference to real numbers in points."""
        lines = [f"{'weights':20} {'accuracy':>9} {'points':>7}"]
        for result in self.results:
            name = "real" if result.bits is None else f"{result.bits} bits" + (", trained" if result.trained else "")
            lines.append(f"{name:20} {result.accuracy:9.2%} {100 * (result.accuracy - self.real):+7.2f}")
        return "\n".join(lines)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the results as plain data."""
        return [{**asdict(result), "mismatch": dict(result.mismatch)} for result in self.results]


def accuracy_against_bits(
    net: Network,
    x: Tensor,
    test: Batches,
    loss: Loss,
    *,
    bits: Iterable[int] = (8, 6, 4),
    train: Callable[[Network], Any] | None = None,
    train_bits: Iterable[int] = (4,),
) -> BitsReport:
    """Quantise a network to different numbers of bits and evaluate each in whole numbers.

    Parameters
    ----------
    net : Network
        In real numbers, trained.
    x : Tensor [T, B, ...]
        Data to choose scales with, as `quantise` takes it.
    test : iterable of (x, y)
        Data to evaluate with.
    loss : Loss
        Says how a class is predicted from an output.
    bits : iterable of int
        After training.
    train : callable, optional
        Given a network on the grid, trains it in place, for instance by `neurosim.fit`.
    train_bits : iterable of int
        For which it is called.
    """
    results = [BitsResult(None, False, evaluate(net, test, loss)["accuracy"], {})]
    for number in bits:
        made = quantise(net, x, bits=number)
        mismatch = {name: choice.mismatch for name, choice in made.choices.items()}
        results.append(BitsResult(number, False, _accuracy(made.net, test, loss), mismatch))
    for number in train_bits if train is not None else ():
        assert train is not None
        on_grid = quantise(net, x, bits=number, trained=True).net
        train(on_grid)
        results.append(BitsResult(number, True, _accuracy(fixed(on_grid), test, loss), {}))
    return BitsReport(tuple(results))


def _accuracy(net: Network, test: Batches, loss: Loss) -> float:
    """Evaluate in the precision of the network."""
    dtype = next(net.parameters()).dtype
    return evaluate(net, test if dtype is torch.float32 else _Wide(test), loss)["accuracy"]


@dataclass(frozen=True)
class _Wide:
    """Batches in double precision."""

    batches: Batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((x.double(), y) for x, y in self.batches)
