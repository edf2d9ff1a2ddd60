"""The continuous thought machine: a model of each neuron, and their synchronisation as representation."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurosim.errors import InputError, ShapeError
from neurosim.synapses.synapse import count

Pairing = Literal["first-last", "random", "random-pairing"]


class NeuronModels(nn.Module):
    """A small perceptron for each neuron, with weights of its own, on the last currents of that neuron.

    Two layers with gated linear units, divided by a learned temperature; weights of a layer are drawn from
    U(-a, a) with ``a = 1 / sqrt(n_in + n_out)``.

    Parameters
    ----------
    neurons, memory, hidden : int
        Neurons, currents of each, hidden units of each perceptron.
    """

    def __init__(self, neurons: int, memory: int, hidden: int) -> None:
        super().__init__()
        self.first, self.first_bias = _super_linear(neurons, memory, 2 * hidden)
        self.second, self.second_bias = _super_linear(neurons, hidden, 2)
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, currents: Tensor) -> Tensor:
        """Return the activity [B, neurons] for the currents [B, neurons, memory], the oldest first."""
        hidden = functional.glu(torch.einsum("bnm,mhn->bnh", currents, self.first) + self.first_bias)
        out = functional.glu(torch.einsum("bnh,hon->bno", hidden, self.second) + self.second_bias)
        return out[..., 0] / self.temperature


class SynchronyState(NamedTuple):
    """Decayed sums of `Synchrony`.

    Attributes
    ----------
    products : Tensor [B, pairs]
        Of products of the activities of a pair.
    weights : Tensor [B, pairs]
        Of ones.
    """

    products: Tensor
    weights: Tensor


class Synchrony(nn.Module):
    r"""Synchronisation of pairs of neurons: a decayed sum of products of their activities.

    .. math:: \alpha \leftarrow r \alpha + z_i z_j, \quad \beta \leftarrow r \beta + 1, \quad
              S = \alpha / \sqrt{\beta}, \qquad r = e^{-\mathrm{clip}(\rho, 0, 15)}

    with a learned :math:`\rho` for each pair, 0 at first.

    Parameters
    ----------
    neurons : int
    number : int
        Neurons on each side.
    pairing : {"first-last", "random", "random-pairing"}
        Which neurons: the first `number` (or the last, with `last`) on both sides, random ones on both sides, whose
        pairs are the upper triangle of their product, ``number (number + 1) / 2`` of them; or `number` random pairs.
    last : bool
        Of "first-last", whether the last neurons are taken.
    """

    left: Tensor
    right: Tensor

    def __init__(self, neurons: int, number: int, pairing: Pairing = "first-last", *, last: bool = False) -> None:
        super().__init__()
        if pairing not in ("first-last", "random", "random-pairing"):
            raise InputError(f'Synchrony: pairing={pairing!r}: "first-last", "random" or "random-pairing".')
        if number > neurons:
            raise InputError(f"Synchrony: number={number} neurons of {neurons}.")
        if pairing == "first-last":
            left = right = torch.arange(neurons)[-number:] if last else torch.arange(number)
        else:
            left, right = torch.randperm(neurons)[:number], torch.randperm(neurons)[:number]
        if pairing != "random-pairing":
            i, j = torch.triu_indices(number, number)
            left, right = left[i], right[j]
        self.register_buffer("left", left)
        self.register_buffer("right", right)
        self.decay = nn.Parameter(torch.zeros(len(left)))

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return len(self.left)

    def forward(self, z: Tensor, state: SynchronyState | None = None) -> tuple[Tensor, SynchronyState]:
        """Return the synchronisation [B, pairs] with the activity z [B, neurons] of one more tick."""
        product = z[:, self.left] * z[:, self.right]
        if state is None:
            state = SynchronyState(product, torch.ones_like(product))
        else:
            keep = torch.exp(-self.decay.clamp(0.0, 15.0))
            state = SynchronyState(keep * state.products + product, keep * state.weights + 1.0)
        return state.products / state.weights.sqrt(), state


class Thoughts(NamedTuple):
    """What a `ThoughtMachine` returns.

    Attributes
    ----------
    output : Tensor [ticks, B, out]
    activity : Tensor [ticks, B, neurons]
        After each tick.
    """

    output: Tensor
    activity: Tensor


class ThoughtMachine(nn.Module):
    """Continuous thought machine: neurons with models of their own think over an input for some ticks.

    At a tick the synchronisation of some pairs is the query of an attention over the tokens; a synapse model computes
    currents from its result and from the activity of all neurons; each neuron's model turns its last currents into its
    activity; a linear read-out gets the synchronisation of other pairs. The first activity and currents are learned.
    The synapse model is one layer with a gated linear unit and layer normalisation, the depth 1 of the authors'
    program; its U-Net is not here.

    Parameters
    ----------
    tokens : int
        Features of a token.
    out : int
        Outputs.
    neurons : int
    ticks : int
        Of internal time.
    memory : int
        Currents that the model of a neuron sees.
    hidden : int
        Hidden units of it.
    synchronised : int
        Neurons on each side of the pairs of the read-out; the same number of the attention.
    heads : int
        Of the attention.
    pairing : {"first-last", "random", "random-pairing"}
        As in `Synchrony`.
    dropout : float
        Before the synapse model, in [0, 1).

    Raises
    ------
    InputError
        For a number out of range.

    References
    ----------
    Darlow et al., "Continuous thought machines", 2025, arXiv:2505.05522, and its program
    github.com/SakanaAI/continuous-thought-machines.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import ThoughtMachine
    >>> machine = ThoughtMachine(tokens=8, out=2, neurons=32, ticks=5, memory=4, synchronised=8)
    >>> machine(torch.rand(3, 10, 8)).output.shape
    torch.Size([5, 3, 2])
    """

    def __init__(
        self,
        *,
        tokens: int,
        out: int,
        neurons: int = 128,
        ticks: int = 20,
        memory: int = 10,
        hidden: int = 8,
        synchronised: int = 32,
        heads: int = 4,
        pairing: Pairing = "first-last",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = dict(
            tokens=tokens, out=out, neurons=neurons, ticks=ticks, memory=memory, hidden=hidden,
            synchronised=synchronised, heads=heads,
        )  # fmt: skip
        for name, value in sizes.items():
            count("ThoughtMachine", name, value)
        if tokens % heads:
            raise InputError(f"ThoughtMachine: tokens={tokens} features are not a multiple of heads={heads}.")
        self.ticks, self.tokens = ticks, tokens
        self.asked = Synchrony(neurons, synchronised, pairing, last=True)
        self.shown = Synchrony(neurons, synchronised, pairing)
        self.query = nn.Linear(self.asked.pairs, tokens)
        self.attention = nn.MultiheadAttention(tokens, heads, dropout, batch_first=True)
        self.synapses = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(tokens + neurons, 2 * neurons), nn.GLU(), nn.LayerNorm(neurons)
        )
        self.models = NeuronModels(neurons, memory, hidden)
        self.readout = nn.Linear(self.shown.pairs, out)
        self.first_activity = nn.Parameter(torch.empty(neurons).uniform_(-1.0, 1.0) / math.sqrt(neurons))
        self.first_currents = nn.Parameter(
            torch.empty(neurons, memory).uniform_(-1.0, 1.0) / math.sqrt(neurons + memory)
        )

    def forward(self, x: Tensor) -> Thoughts:
        """Return output and activity of all ticks for the tokens x [B, n, features]."""
        if x.dim() != 3 or x.shape[2] != self.tokens:
            raise ShapeError(f"ThoughtMachine: x must be [B, n, {self.tokens}]; got {list(x.shape)}.")
        z = self.first_activity.expand(len(x), -1)
        currents = self.first_currents.expand(len(x), -1, -1)
        asked: SynchronyState | None = None
        _, shown = self.shown(z)
        outputs, activity = [], []
        for _ in range(self.ticks):
            question, asked = self.asked(z, asked)
            found, _ = self.attention(self.query(question)[:, None], x, x, need_weights=False)
            current = self.synapses(torch.cat((found[:, 0], z), 1))
            currents = torch.cat((currents[:, :, 1:], current[:, :, None]), 2)
            z = self.models(currents)
            synchrony, shown = self.shown(z, shown)
            outputs.append(self.readout(synchrony))
            activity.append(z)
        return Thoughts(torch.stack(outputs), torch.stack(activity))


def certainty(logits: Tensor) -> Tensor:
    """Return ``1 - H(p) / log C`` of logits [..., C]: 0 for equal probabilities, 1 for a single class."""
    log = functional.log_softmax(logits, -1)
    return 1.0 + (log.exp() * log).sum(-1) / math.log(logits.shape[-1])


def thought_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the loss of a machine: the mean of that at the tick of least loss and at the tick of largest certainty.

    Parameters
    ----------
    logits : Tensor [ticks, B, C] or [ticks, B, n, C]
        With n answers a sample counts with the means of its losses and certainties.
    target : Tensor [B] or [B, n] of int64
    """
    if logits.shape[1:-1] != target.shape:
        raise ShapeError(f"thought_loss: logits {list(logits.shape)} do not fit targets {list(target.shape)}.")
    flat = logits.flatten(0, -2)
    losses = functional.cross_entropy(flat, target.expand(logits.shape[:-1]).flatten(), reduction="none")
    losses, sure = losses.view(logits.shape[:-1]), certainty(logits)
    if target.dim() == 2:
        losses, sure = losses.mean(2), sure.mean(2)
    sample = torch.arange(losses.shape[1], device=losses.device)
    return 0.5 * (losses[losses.argmin(0), sample] + losses[sure.argmax(0), sample]).mean()


def _super_linear(neurons: int, n_in: int, n_out: int) -> tuple[nn.Parameter, nn.Parameter]:
    bound = 1.0 / math.sqrt(n_in + n_out)
    return nn.Parameter(torch.empty(n_in, n_out, neurons).uniform_(-bound, bound)), nn.Parameter(
        torch.zeros(neurons, n_out)
    )
