"""Parts of the networks for images: shapes along the way, channels by width, the default neurons, the read-out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from torch import Tensor

from neurosim.cores import relay
from neurosim.errors import InputError
from neurosim.language import rectangle
from neurosim.network.graph import Edge, Input
from neurosim.network.layers import LIF
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.synapses import Synapse
from neurosim.units import check_dt, time_constant

Neurons = Callable[[], Population]
SMALL = 64  # images up to this height and width get the small stem


class ImageNetwork:
    """A network for images that is built population by population, with the shape of each.

    Parameters
    ----------
    name : str
        Of the function that builds it, for errors.
    shape : sequence of int
        Channels, height and width of an image.
    classes : int
    width : float
        Factor of all numbers of channels, above 0.
    neuron : callable
        Returns the neurons of one population; called once for each.
    dt : float
        Of the read-out, s.
    """

    def __init__(self, name: str, shape: Sequence[int], classes: int, width: float, neuron: Neurons, dt: float) -> None:
        if not isinstance(shape, (tuple, list)) or len(shape) != 3:
            raise InputError(f"{name}: shape must be (channels, height, width), such as (3, 32, 32); got {shape!r}.")
        if isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
            raise InputError(f"{name}: classes must be an integer from 2; got {classes!r}.")
        if isinstance(width, bool) or not isinstance(width, (int, float)) or not 0 < width < math.inf:
            raise InputError(f"{name}: width must be a number above 0, a factor of the channels; got {width!r}.")
        if not callable(neuron) or isinstance(neuron, Population):
            raise InputError(
                f"{name}: neuron must be a function without arguments that returns a new population, such as "
                f"lambda: ns.LIF(dt=1e-3); got {type(neuron).__name__}."
            )
        self.name, self.width, self.neuron, self.dt = name, width, neuron, check_dt(name, dt)
        source = Input(tuple(shape))
        self.nodes: dict[str, Input | Population] = {"input": source}
        self.edges: list[Edge] = []
        self.shapes: dict[str, tuple[int, ...]] = {"input": source.shape}
        self.classes = classes

    @property
    def is_small(self) -> bool:
        """Whether the images have at most `SMALL` rows and columns."""
        return max(self.shapes["input"][1:]) <= SMALL

    def channels(self, full: int) -> int:
        """Return the number of channels for `full` at width 1."""
        return max(1, round(full * self.width))

    def threshold(self) -> float:
        """Return the threshold of the neurons, for the start of normalisation."""
        population = self.neuron()
        has_threshold = isinstance(population, Neuron) and "v_th" in population.declared
        threshold = cast(Neuron, population).value("v_th") if has_threshold else None
        if threshold is None or isinstance(threshold, Tensor):
            raise InputError(
                f"{self.name}: the normalisation starts at a share of the threshold v_th, one number for all neurons; "
                f"neuron() returned {getattr(population, 'kind', type(population).__name__)}. Return LIF, IF or "
                "another core with a parameter v_th."
            )
        return float(threshold)

    def join(self, target: str, inputs: Mapping[str, Iterable[Synapse]], population: Population | None = None) -> str:
        """Add a population that edges drive, whose currents add up.

        Parameters
        ----------
        target : str
            Name of the new population.
        inputs : mapping of str to iterable of Synapse
            By source, the synapses in order.
        population : Population, optional
            The next of `neuron` if left out.

        Returns
        -------
        str
            `target`.
        """
        shapes = set()
        for source, synapses in inputs.items():
            chain, shape = tuple(synapses), self.shapes[source]
            for synapse in chain:
                shape = synapse.output_shape(shape)
            shapes.add(shape)
            self.edges.append(Edge(source, target, chain))
        (self.shapes[target],) = shapes
        self.nodes[target] = self.neuron() if population is None else population
        return target

    def passed_on(self, target: str, inputs: Mapping[str, Iterable[Synapse]]) -> str:
        """Add a relay: the sum of its inputs in the same step."""
        return self.join(target, inputs, Neuron(relay, dt=self.dt))

    def read_out(self, source: str, synapses: Iterable[Synapse]) -> Network:
        """Return the network whose output is the current of each step through the last synapses."""
        self.passed_on("out", {source: synapses})
        return Network(self.nodes, self.edges)


def iterative_lif(dt: float, *, decay: float = 0.25, v_th: float = 0.5) -> Neuron:
    r"""Return the neurons of tdBN, :math:`u[t] = \lambda u[t-1] (1 - z[t-1]) + i[t]`, `dt` in s.

    They are `LIF` with the time constant :math:`-dt / \ln \lambda` and a resistance of :math:`1 / (1 - \lambda)`. The
    decay and the threshold are those of Zheng et al. 2021, the surrogate is the rectangle of Wu et al. 2018.
    """
    return LIF(dt=dt, tau_mem=time_constant(decay, dt), r=1.0 / (1.0 - decay), v_th=v_th, spike=rectangle(1.0))
