"""Normal numbers as a source: noise of each neuron at each step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from neurosim.errors import InputError, NetworkError
from neurosim.kernels.common.availability import fused
from neurosim.kernels.common.normal import normal_quantile
from neurosim.kernels.common.normal_code import normal_numbers
from neurosim.kernels.common.philox import WORD, random_blocks
from neurosim.network.graph import Edge, Input
from neurosim.network.population import Population
from neurosim.network.source import Source, SourceState
from neurosim.synapses.scale import Identity


class NormalSource(Source):
    """Independent normal numbers of mean 0, one for each neuron and step.

    A number is the quantile of the normal distribution at ``(w + 1/2) / 2^32``, computed in double precision, of the
    32-bit word w of seed, trial, node, neuron and step; see `neurosim.kernels.common.philox`. So it lies within 6.34
    standard deviations, and is the same in any batch, in any chunk of a run, on any number of threads and any device.

    Parameters
    ----------
    shape : int or sequence of int
        Shape of the population.
    std : float
        Standard deviation, from 0.
    """

    def __init__(self, shape: int | Sequence[int], std: float = 1.0, kind: str = "NormalSource") -> None:
        super().__init__(kind, shape)
        if isinstance(std, bool) or not isinstance(std, (int, float)) or not 0 <= std < math.inf:
            raise InputError(f"{kind}: std must be a number from 0; got {std!r}.")
        self.std = float(std)

    @property
    def is_spiking(self) -> bool:
        """False."""
        return False

    def check(self, dt: float) -> None:
        """Do nothing: any dt serves."""

    def values(self, state: SourceState, steps: int, *, stream: int, dt: float, dtype: torch.dtype) -> Tensor:
        """Return the numbers of the next steps."""
        size, device = math.prod(self.shape), state.step.device
        end = max(state.step.tolist(), default=0) + steps
        if end > WORD:
            raise InputError(f"{self.kind}: a run may have 2^32 steps; this one would reach {end}.")
        if device.type == "cpu" and fused(device):
            numbers = normal_numbers(stream, state.seed, state.trial, state.step, steps, size, self.std)
            return numbers.to(dtype).reshape(steps, len(state.seed), *self.shape)
        out = torch.empty((steps, len(state.seed), size), dtype=dtype, device=device)
        for rows, columns, words in random_blocks(stream, state.seed, state.trial, state.step, steps, size):
            out[rows, :, columns] = (normal_quantile((words.double() + 0.5) / WORD) * self.std).to(dtype)
        return out.reshape(steps, len(state.seed), *self.shape)

    def extra_repr(self) -> str:
        """Return shape and standard deviation."""
        return f"{self.shape}, std={self.std:g}"


def with_noise(
    nodes: Mapping[str, Input | Source | Population], edges: Sequence[Edge]
) -> tuple[dict[str, Input | Source | Population], list[Edge]]:
    """Return nodes and edges with a source of normal numbers for each population whose core takes ``normal``.

    A population whose port ``normal`` has an edge keeps that one.

    Raises
    ------
    NetworkError
        When the size of such a population is not given, or the name of its source is taken.
    """
    every, joined = dict(nodes), list(edges)
    for name, node in nodes.items():
        port = node.noise_port if isinstance(node, Population) else None
        if port is None or any(edge.target == name and edge.port == port for edge in edges):
            continue
        assert isinstance(node, Population)
        source = f"{name} {port}"
        if node.size is None:
            raise NetworkError(f"node {name!r} draws {port!r} for each neuron; pass size= when making its neurons.")
        if source in nodes:
            raise NetworkError(f"node {source!r} has the name of the noise of {name!r}; rename it.")
        every[source] = NormalSource(node.size)
        joined.append(Edge(source, name, Identity(), port=port))
    return every, joined
