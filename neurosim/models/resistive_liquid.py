"""A liquid state machine whose random weights are pairs of cells of resistive memory, and a readout of two senses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurosim.errors import InputError, ShapeError
from neurosim.network.graph import NetworkState
from neurosim.network.layers import LIF
from neurosim.network.sequential import Recurrent, Sequential
from neurosim.synapses import Linear
from neurosim.synapses.synapse import count
from neurosim.units import check_dt

Noise = Literal["run", "step"]


@dataclass(frozen=True)
class ResistiveCells:
    """How cells of resistive memory differ from each other, and from read to read.

    A weight is the difference of the conductances of two cells, in units of its standard deviation without stuck cells:
    random numbers of mean 0 that a production process gives for nothing. No measured chip is behind the defaults; the
    values of a device are given by the user.

    Parameters
    ----------
    mean, deviation : float
        Of a formed cell's conductance, which is normal and never below 0. In any unit; only their ratio counts.
    unformed : float
        Probability in [0, 1] that a cell is not formed: it conducts nothing.
    stuck : float
        Probability in [0, 1] that a cell is stuck at a high conductance, ``mean + 3 deviation``.
    read_noise : float
        Standard deviation of the factor, of mean 1, by which a conductance differs at each read.

    Raises
    ------
    InputError
        When a value is out of range.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import ResistiveCells
    >>> cells = ResistiveCells(read_noise=0.1)
    >>> pair = cells.drawn((200, 100), torch.Generator().manual_seed(0))
    >>> w = cells.weights(pair)
    >>> tuple(w.shape), abs(float(w.mean())) < 0.02, abs(float(w.std()) - 1.0) < 0.02
    ((200, 100), True, True)
    """

    mean: float = 1.0
    deviation: float = 0.3
    unformed: float = 0.0
    stuck: float = 0.0
    read_noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mean", "deviation", "read_noise"):
            value, low = getattr(self, name), name == "deviation"
            if not isinstance(value, int | float) or not (0 <= value < math.inf) or (low and not value):
                raise InputError(
                    f"ResistiveCells: {name} must be a number {'above' if low else 'from'} 0; got {value!r}."
                )
        for name in ("unformed", "stuck"):
            if not isinstance(getattr(self, name), int | float) or not 0 <= getattr(self, name) <= 1:
                raise InputError(f"ResistiveCells: {name} must be in [0, 1]; got {getattr(self, name)!r}.")
        if self.unformed + self.stuck > 1:
            raise InputError(
                f"ResistiveCells: unformed and stuck are of different cells; their sum is {self.unformed + self.stuck}."
            )

    def drawn(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Return the conductances [2, *shape] of pairs of cells."""
        sizes = (2, *shape)
        formed = self.mean + self.deviation * torch.randn(sizes, generator=generator)
        chance = torch.rand(sizes, generator=generator)
        formed = torch.where(chance < self.unformed, 0.0, formed.clamp(min=0.0))
        return torch.where(chance >= 1.0 - self.stuck, self.mean + 3.0 * self.deviation, formed)

    def read(self, pair: Tensor, generator: torch.Generator) -> Tensor:
        """Return the conductances of one read; `pair` itself without read noise."""
        if not self.read_noise:
            return pair
        factor = 1.0 + self.read_noise * torch.randn(pair.shape, generator=generator)
        return pair * factor.clamp(min=0.0)

    def weights(self, pair: Tensor) -> Tensor:
        """Return the weights of pairs of conductances [2, ...]."""
        return (pair[0] - pair[1]) / (math.sqrt(2.0) * self.deviation)


class ResistiveLiquid(nn.Module):
    r"""Recurrent spiking neurons with fixed random weights of resistive memory; their spikes are counted.

    .. math::
        u_t = d\, u_{t-1} (1 - s_{t-1}) + c (W_{in} x_t + W_{rec} s_{t-1}), \quad s_t = [u_t > v_{th}]

    The feature of a neuron is its number of spikes. Nothing is trained: no parameter requires a gradient. The network
    runs in the fused calls of `Network`, once for a read of the cells.

    Parameters
    ----------
    n_in, neurons : int
        Inputs, and neurons of the liquid.
    cells : ResistiveCells
    dt : float
        Length of a step, s.
    decay : float
        d, in (0, 1).
    v_th : float
        Threshold.
    scale : float
        c.
    noise : {"run", "step"}
        Whether the cells are read once for all steps of a call, or at each step, which runs step by step.
    seed : int
        Of the cells and of their reads.

    Attributes
    ----------
    cells_in, cells_loop : Tensor [2, N, n_in], [2, N, N]
        Conductances of the pairs of cells.

    References
    ----------
    Lin et al., arXiv:2307.00771 (Nature Computational Science, 2025). Equations of the neuron, sizes, decay, threshold
    and scale are those of its program for recorded digits; the spread of the cells and the read noise are not given
    there.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import ResistiveCells, ResistiveLiquid
    >>> liquid = ResistiveLiquid(64, 200, ResistiveCells(), dt=1e-3)
    >>> counts = liquid((torch.rand(50, 4, 64) < 0.3).float())
    >>> tuple(counts.shape), any(p.requires_grad for p in liquid.parameters())
    ((4, 200), False)
    """

    cells_in: Tensor
    cells_loop: Tensor

    def __init__(
        self,
        n_in: int,
        neurons: int,
        cells: ResistiveCells,
        *,
        dt: float,
        decay: float = 0.97,
        v_th: float = 5.3,
        scale: float = 0.08,
        noise: Noise = "run",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.n_in, self.neurons = count("ResistiveLiquid", "n_in", n_in), count("ResistiveLiquid", "neurons", neurons)
        if not 0 < decay < 1:
            raise InputError(f"ResistiveLiquid: decay must be in (0, 1); got {decay!r}.")
        if noise not in ("run", "step"):
            raise InputError(f"ResistiveLiquid: noise must be 'run' or 'step'; got {noise!r}.")
        self.cells, self.scale, self.noise = cells, float(scale), noise
        self.seed = count("ResistiveLiquid", "seed", seed, low=0)
        generator = torch.Generator().manual_seed(self.seed << 24)
        self.register_buffer("cells_in", cells.drawn((neurons, n_in), generator))
        self.register_buffer("cells_loop", cells.drawn((neurons, neurons), generator))
        tau = -check_dt("ResistiveLiquid", dt) / math.log(decay)
        neuron = LIF(tau_mem=tau, r=1.0 / (1.0 - decay), v_th=v_th, dt=dt)
        parts = Linear(n_in, neurons), Recurrent(neuron, Linear(neurons, neurons))
        self.net = Sequential(*parts, names=["liquid"]).requires_grad_(False)
        with torch.no_grad():
            self._read(self._generator(0))

    def forward(self, x: Tensor, read: int = 0) -> Tensor:
        """Return how many spikes each neuron sends [B, N]; the arguments are those of `spikes`."""
        return self.spikes(x, read).sum(0)

    @torch.no_grad()
    def spikes(self, x: Tensor, read: int = 0) -> Tensor:
        """Return the spikes [T, B, N].

        Parameters
        ----------
        x : Tensor [T, B, n_in]
            Input.
        read : int
            Number of the read, from 0, on which the read noise depends, beside the seed.
        """
        if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != self.n_in:
            got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ShapeError(f"ResistiveLiquid: x must be a tensor [T, B, {self.n_in}]; got {got}. Time comes first.")
        generator = self._generator(read)
        if self.noise == "run" or not self.cells.read_noise:
            self._read(generator)
            return self.net(x)[0]
        state: NetworkState | None = None
        steps = []
        for now in x:
            self._read(generator)
            spikes, state = self.net(now[None], state)
            steps.append(spikes[0])
        return torch.stack(steps) if steps else x.new_empty(0, x.shape[1], self.neurons)

    def _generator(self, read: int) -> torch.Generator:
        number = count("ResistiveLiquid", "read", read, low=0)
        return torch.Generator().manual_seed((self.seed << 24) + number + 1)

    def _read(self, generator: torch.Generator) -> None:
        pairs = {"input->liquid": self.cells_in, "liquid->liquid": self.cells_loop}
        for edge, pair in pairs.items():
            weight = self.scale * self.cells.weights(self.cells.read(pair, generator))
            synapse = self.net.synapses[edge][0]  # type: ignore[index]
            synapse.weight.copy_(weight)


class SharedReadout(nn.Module):
    """Projections of two senses into one space, trained so that features of the same thing lie near each other.

    Parameters
    ----------
    sizes : tuple of int
        Features of each of the two senses.
    dim : int
        Dimensions of the shared space.
    temperature : float
        Above 0; similarities are divided by it.

    References
    ----------
    The readout of arXiv:2307.00771: one linear layer and GELU for each sense; the loss is the symmetric cross-entropy
    of CLIP (Radford et al. 2021).
    """

    def __init__(self, sizes: tuple[int, int], dim: int = 64, temperature: float = 1.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise InputError(f"SharedReadout: temperature must be above 0; got {temperature!r}.")
        self.projections = nn.ModuleList(nn.Linear(count("SharedReadout", "sizes", size), dim) for size in sizes)
        self.temperature = float(temperature)

    def forward(self, features: Tensor, sense: int) -> Tensor:
        """Return the directions [B, dim] of features [B, n] of sense 0 or 1."""
        return functional.normalize(functional.gelu(self.projections[sense](features)), dim=1)

    def similarities(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the similarity of each pair of features [A, n] and [B, m] of the two senses, [A, B]."""
        return self(first, 0) @ self(second, 1).T / self.temperature

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the mean cross-entropy of finding the partner in both directions; row k of both is the same thing."""
        if len(first) != len(second):
            raise ShapeError(f"SharedReadout: pairs are needed; got {len(first)} and {len(second)} rows.")
        found, target = self.similarities(first, second), torch.arange(len(first), device=first.device)
        return (functional.cross_entropy(found, target) + functional.cross_entropy(found.T, target)) / 2.0
