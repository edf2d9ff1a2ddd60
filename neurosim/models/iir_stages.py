"""Training of IIR-SNN: a network trained at several steps is retrained at fewer and fewer, down to one.

Iterative initialisation and retraining of Chowdhury, Rathi & Roy, arXiv:2110.05929. The list of stages that they
published with is not in their program (its file names show 5, 3, 1): `stages` is a choice of the caller.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import MultiStepLR

from neurosim.errors import InputError
from neurosim.learning.losses import Loss, RateCrossEntropy
from neurosim.learning.training.batches import Batches
from neurosim.learning.training.evaluation import evaluate
from neurosim.learning.training.fit import fit
from neurosim.learning.training.history import History
from neurosim.models.iir import limit_leaks
from neurosim.network.network import Network


class Stage(NamedTuple):
    """One stage of `reduce_steps`.

    Attributes
    ----------
    steps : int
        T of the stage.
    before, after : float
        Accuracy at this T before and after the stage, 0 to 1.
    history : History
        Its training.
    """

    steps: int
    before: float
    after: float
    history: History


_SUMMED = RateCrossEntropy()


def adam(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Return the authors' optimizer: Adam with amsgrad, learning rate 1e-4."""
    return Adam(parameters, lr=1e-4, amsgrad=True)


def reduce_steps(
    net: Network,
    train: Callable[[int], Batches],
    test: Callable[[int], Batches],
    *,
    stages: Sequence[int] = (5, 3, 2, 1),
    epochs: int = 5,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = adam,
    loss: Loss = _SUMMED,
    seed: int = 0,
    progress: bool = True,
) -> Iterator[Stage]:
    """Train at the first number of steps, then at fewer and fewer, each stage from the parameters of the one before.

    Weights, thresholds and leaks pass from stage to stage unchanged. Each stage has a new optimizer, whose learning
    rate is divided by 5 at 60, 80 and 90 % of the epochs. Leaks are clamped to 1 after every step of the optimizer. At
    T = 1 the leaks have no effect and the network is one with binary activations.

    Parameters
    ----------
    net : Network
        Of `hidden` layers and an `output`; changed in place.
    train, test : callable
        Given T, return batches (x [T, B, ...], y [B]) to train on and to measure the accuracy on.
    stages : sequence of int
        Numbers of steps, each smaller than the one before.
    epochs : int
        Of each stage.
    optimizer : callable
        Makes the optimizer of a stage from the parameters.
    loss : Loss
        Of the summed outputs: cross-entropy.
    seed, progress
        As in `fit`; each stage adds its number to the seed.

    Yields
    ------
    Stage
        After each stage; the next stage is trained when the next value is requested.

    Raises
    ------
    InputError
        When `stages` are not decreasing integers from 1.
    """
    integers = all(isinstance(steps, int) and not isinstance(steps, bool) and steps >= 1 for steps in stages)
    if not stages or not integers or any(a <= b for a, b in itertools.pairwise(stages)):
        raise InputError(
            f"reduce_steps: stages must be decreasing integers from 1, such as (5, 3, 2, 1); got {stages!r}."
        )
    return _stages(net, train, test, stages, epochs, optimizer, loss, seed, progress)


def _stages(
    net: Network,
    train: Callable[[int], Batches],
    test: Callable[[int], Batches],
    stages: Sequence[int],
    epochs: int,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
    loss: Loss,
    seed: int,
    progress: bool,
) -> Iterator[Stage]:
    for number, steps in enumerate(stages):
        before = evaluate(net, test(steps), loss)["accuracy"]
        made = optimizer(net.parameters())
        made.register_step_post_hook(lambda *_: limit_leaks(net))
        falls = MultiStepLR(made, [max(1, int(epochs * share)) for share in (0.6, 0.8, 0.9)], gamma=0.2)
        history = fit(
            net,
            train(steps),
            loss=loss,
            optimizer=made,
            scheduler=falls,
            epochs=epochs,
            seed=seed + number,
            progress=progress,
        )
        yield Stage(steps, before, evaluate(net, test(steps), loss)["accuracy"], history)
