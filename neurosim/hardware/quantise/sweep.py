"""Accuracy of a network against the bits of its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from neurosim.files.notebook import text_html
from neurosim.hardware.quantise.network import quantise
from neurosim.hardware.quantise.onto_grid import fixed
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
        Of the weights; None for the network in floating point.
    trained : bool
        Whether it was trained further in integers.
    accuracy : float
    mismatch : mapping of str to float
        By population, as in `Choice`; empty for networks that were trained further.
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
        The network in floating point first.
    """

    results: tuple[BitsResult, ...]

    @property
    def real(self) -> float:
        """Accuracy in floating point."""
        return self.results[0].accuracy

    def _repr_html_(self) -> str:
        return text_html(self.table())

    def table(self) -> str:
        """Return the results as text, a line each, with the difference from floating point in percentage points."""
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
    """Quantise a network to different numbers of bits and evaluate each.

    Parameters
    ----------
    net : Network
        Trained, in floating point.
    x : Tensor [T, B, ...]
        Data to choose scales on, as in `quantise`.
    test : iterable of (x, y)
        Data to evaluate with.
    loss : Loss
        Predicts a class from an output.
    bits : iterable of int
        Without further training.
    train : callable, optional
        Trains a network on the grid in place, for instance by `neurosim.fit`.
    train_bits : iterable of int
        Bits for which `train` is called.
    """
    results = [BitsResult(None, False, evaluate(net, test, loss)["accuracy"], {})]
    for number in bits:
        quantised = quantise(net, x, bits=number)
        mismatch = {name: choice.mismatch for name, choice in quantised.choices.items()}
        results.append(BitsResult(number, False, _accuracy(quantised.net, test, loss), mismatch))
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
