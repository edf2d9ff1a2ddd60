r"""IIR: train a network at several steps, then retrain it at fewer and fewer, down to one.

Chowdhury, Rathi & Roy, "One timestep is all you need: training spiking neural networks with ultra low latency"
(iterative initialisation and retraining), arXiv:2110.05929; in ECCV 2022 as "Towards ultra low latency spiking neural
networks ... using temporal pruning". Each layer l has one trained threshold and one trained leak:

.. math:: m[t] = \lambda_l m[t-1] + W_l o_{l-1}[t], \quad z[t] = m[t] / \theta_l - 1, \quad o[t] = [z[t] > 0],
          \quad m[t] \leftarrow m[t] - \theta_l o[t]

with :math:`\partial o / \partial z = 0.3 \max(0, 1 - |z|)`, no gradient through the spike in the reset (the threshold
there gets one), and outputs :math:`\sum_t W o[t]`, neither leaking nor divided by T. The analog input is given at every
step. The equations, the order of work and the defaults are those of the authors' program; the list of stages that they
published with is not in it (its file names show 5, 3, 1), so `stages` is yours to choose.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import MultiStepLR

from neurosim.cores import iir_lif, relay
from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.language import triangle
from neurosim.learning.losses import Loss, RateCrossEntropy
from neurosim.learning.training.evaluation import Batches, evaluate
from neurosim.learning.training.fit import fit
from neurosim.learning.training.history import History
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import Synapse
from neurosim.synapses.lowering import Dense
from neurosim.synapses.norm import norm_factors


def hidden(dt: float = 1e-3) -> Neuron:
    """Return neurons of IIR-SNN: one threshold and one leak for the layer, both trained.

    The leak is a factor per step: unlike a time constant it means another neuron at another `dt` (s).
    """
    return Neuron(iir_lif, dt=dt, spike=triangle(1.0, 0.3), learn=("leak", "v_th"))


def output(dt: float = 1e-3) -> Neuron:
    """Return the readout, `dt` in s: its output at each step is the current itself."""
    return Neuron(relay, dt=dt)


class Dropout(Synapse):
    """Dropout whose mask is drawn once for a call, so that all steps share it.

    A dropped input is silent at every step and the others are scaled by ``1 / (1 - p)``; nothing happens in eval mode.

    Parameters
    ----------
    p : float
        Share of inputs dropped, in [0, 1). 0.2 in the authors' program.
    """

    def __init__(self, p: float = 0.2) -> None:
        super().__init__()
        if not isinstance(p, (int, float)) or not 0 <= p < 1:
            raise InputError(f"Dropout: p must be in [0, 1); got {p!r}.")
        self.p = float(p)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return `shape`."""
        return shape

    def apply_step(self, x: Tensor) -> Tensor:
        """Drop inputs of x [n, ...], each row with a mask of its own."""
        return nn.functional.dropout(x, self.p, self.training)

    def forward(self, x: Tensor, bits: Tensor | None = None, active: Tensor | None = None) -> Tensor:
        """Drop inputs of x [T, B, ...] with one mask for all steps."""
        if not self.training or not self.p:
            return x
        return x * nn.functional.dropout(torch.ones_like(x[:1]), self.p)

    def extra_repr(self) -> str:
        """Return the share."""
        return f"{self.p:g}"


def absorb_batch_norm(
    weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm1d | nn.BatchNorm2d
) -> tuple[Tensor, Tensor]:
    r"""Return weights and bias of the layer that does what layer and batch normalisation did in eval mode.

    :math:`w \leftarrow w\gamma/\sqrt{\sigma^2+\epsilon}` and
    :math:`b \leftarrow (b-\mu)\gamma/\sqrt{\sigma^2+\epsilon}+\beta`.

    Parameters
    ----------
    weight : Tensor [out, ...]
    bias : Tensor [out], optional
    norm : BatchNorm1d or BatchNorm2d
        With running statistics.
    """
    if norm.num_features != weight.shape[0]:
        raise ShapeError(f"absorb_batch_norm: weight {list(weight.shape)} does not fit {norm.num_features} features.")
    folded = Dense(weight.flatten(1), bias).times(*norm_factors(norm))
    assert folded.bias is not None  # `times` was given a constant
    return folded.weight.view_as(weight), folded.bias


def set_thresholds(net: Network, x: Tensor, percentile: float = 90.0) -> dict[str, float]:
    """Set the thresholds of all `hidden` layers from currents, layer by layer, earlier layers already set.

    A threshold becomes the largest over time of the percentile, over samples and neurons, of the *current* that
    reaches the layer (not of its membrane); the network runs with every leak at 1 meanwhile.

    Parameters
    ----------
    net : Network
        Without delays and loops.
    x : Tensor [T, B, ...]
        One batch; the authors take 512 samples.
    percentile : float
        In (0, 100].

    Returns
    -------
    dict of str to float
        Threshold of each layer.

    Raises
    ------
    InputError, NetworkError
        For a percentile out of range, a network without `hidden` layers or with delays, or a layer whose currents give
        no threshold above 0.
    """
    if not 0 < percentile <= 100:
        raise InputError(f"set_thresholds: percentile must be in (0, 100]; got {percentile!r}.")
    delayed = [edge.name for edge in net.edges if edge.delay_steps]
    if delayed:
        raise NetworkError(f"set_thresholds: edges {delayed} have a delay; layers must follow one another at once.")
    layers = dict(_layers(net))
    if not layers:
        raise NetworkError("set_thresholds: this network has no hidden() layer whose threshold could be set.")
    found: dict[str, float] = {}
    with torch.no_grad():
        leaks = {name: layer.get_parameter("leak").clone() for name, layer in layers.items()}
        for layer in layers.values():
            layer.get_parameter("leak").fill_(1.0)
        for name, layer in layers.items():
            edges = [edge for edge in net.edges if edge.target == name]
            sources = tuple(dict.fromkeys(edge.source for edge in edges))
            _, _, values = net.recorded(x, None, tuple(s for s in sources if s not in net.inputs))
            current = sum(edge(values.get(edge.source, x)) for edge in edges)
            assert isinstance(current, Tensor)  # every layer receives something
            threshold = max(float(np.percentile(step.cpu().numpy(), percentile)) for step in current)
            if threshold <= 0:
                raise NetworkError(
                    f"set_thresholds: percentile {percentile:g} of the current into {name!r} is {threshold:g}; a "
                    "threshold must be above 0. Take a higher percentile or look at the weights."
                )
            layer.get_parameter("v_th").fill_(threshold)
            found[name] = threshold
        for name, layer in layers.items():
            layer.get_parameter("leak").copy_(leaks[name])
    return found


def limit_leaks(net: Network) -> None:
    """Bring every leak of a `hidden` layer down to 1 where it is above; there is no lower limit."""
    with torch.no_grad():
        for _, layer in _layers(net):
            layer.get_parameter("leak").clamp_(max=1.0)


class Stage(NamedTuple):
    """One stage of `reduce_steps`.

    Attributes
    ----------
    steps : int
        T of the stage.
    before, after : float
        Accuracy at this T as the stage was entered and when it was done, 0 to 1.
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
    """Train at the first number of steps, then go on at fewer and fewer, each stage from what the one before left.

    Weights, thresholds and leaks are handed on as they are; the optimizer is new at each stage, and its learning rate
    is divided by 5 at 60, 80 and 90 % of the epochs. Leaks are held at 1 or below after every step of it. At T = 1 the
    leaks have no effect and the network is one with binary activations.

    Parameters
    ----------
    net : Network
        Of `hidden` layers and an `output`; changed in place.
    train, test : callable
        Given T, return batches (x [T, B, ...], y [B]) to train on and to measure the accuracy on.
    stages : sequence of int
        Falling numbers of steps.
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
        As each is done; what is not asked for is not trained.

    Raises
    ------
    InputError
        When `stages` do not fall to 1 or above, or there is no epoch.
    """
    whole = all(isinstance(steps, int) and not isinstance(steps, bool) and steps >= 1 for steps in stages)
    if not stages or not whole or any(a <= b for a, b in itertools.pairwise(stages)):
        raise InputError(
            f"reduce_steps: stages must be whole numbers from 1 that fall, such as (5, 3, 2, 1); got {stages!r}."
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


def _layers(net: Network) -> Iterator[tuple[str, Neuron]]:
    """Yield the layers of IIR neurons that train both numbers, in order."""
    for name, population in net.populations().items():
        if isinstance(population, Neuron) and population.core is iir_lif and {"leak", "v_th"} <= {*population.learned}:
            yield name, population
