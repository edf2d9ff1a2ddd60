"""From a trained network to Xylo's integers; and training in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from neurosim.errors import ExportError, InputError
from neurosim.hardware.quantise.grid import WeightGrid
from neurosim.hardware.quantise.onto_grid import chain_of, train_on_grid
from neurosim.hardware.quantise.real import RealEdge
from neurosim.hardware.quantise.replay import difference, recorded_on, replayed
from neurosim.hardware.xylo.configuration import (
    DASH,
    MOST_HIDDEN,
    MOST_INPUT,
    MOST_OUTPUT,
    SHIFT,
    STATE,
    THRESHOLD,
    WEIGHT,
)
from neurosim.hardware.xylo.neurons import xylo_neurons
from neurosim.hardware.xylo.real import RealXylo, XyloPopulation, read
from neurosim.network.folding import fold
from neurosim.network.graph import Edge, Input
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import Synapse

# Candidate scales: three for each shift, at, below and above the one at which the largest weight just fits.
_PARTS = (0.71, 1.0, 1.3)
_LARGEST_CURRENT = STATE[1] / 2
_FIRST_SHIFT = 3  # at which dashes are searched


@dataclass(frozen=True, eq=False)
class XyloChoice:
    """What was chosen for a population.

    Attributes
    ----------
    scale : float
        Voltage of the chip for a membrane of 1.
    dash_mem, dash_syn : int or Tensor
    shifts : mapping of str to int
        Of the weights of each edge, by its name.
    mismatch : float
        Of the neuron-steps with a spike here or in floating point, the share that differs, with the inputs that the
        population had in floating point; 1 more where a current fills over half of its 16 bits.
    tried : int
        Number of candidates.
    """

    scale: float
    dash_mem: int | Tensor
    dash_syn: int | Tensor
    shifts: Mapping[str, int]
    mismatch: float = math.inf
    tried: int = 0


@dataclass(frozen=True, eq=False)
class XyloQuantised:
    """A network in Xylo's integers, and the choices made for it. Made by `quantise_xylo`.

    Attributes
    ----------
    net : Network
        As `to_xylo` takes it; for training, one whose weights are rounded at each use.
    choices : mapping of str to XyloChoice
        By population.
    latency : mapping of str to int
        Steps by which each population is behind the network given: each connection takes one on the chip.
    """

    net: Network
    choices: Mapping[str, XyloChoice]
    latency: Mapping[str, int]

    def summary(self) -> str:
        """Return a line for each population."""
        lines = [f"{'population':16} {'scale':>9} {'dashes':12} {'shifts':12} {'behind':>6} {'mismatch':>9}"]
        for name, choice in self.choices.items():
            dashes = f"{_shown(choice.dash_mem)}/{_shown(choice.dash_syn)}"
            shifts = ",".join(map(str, choice.shifts.values()))
            lines.append(
                f"{name:16} {choice.scale:9.1f} {dashes:12} {shifts:12} {self.latency[name]:6} {choice.mismatch:9.2%}"
            )
        return "\n".join(lines)


def quantise_xylo(net: Network, x: Tensor | Mapping[str, Tensor], *, trained: bool = False) -> XyloQuantised:
    """Convert a network to Xylo's integers.

    Weights get 8 bits and a shift, time constants become powers of two of the step, thresholds 16 bits. Scale, shift
    and dashes of each population are chosen on data: with the inputs that the population had in floating point, its
    spikes differ least from those it had. Edges of a kind (from inputs, between hidden neurons, to outputs) share a
    shift on the chip: the largest that one of them needs.

    Parameters
    ----------
    net : Network
        Of CubaLIF with ``reset="subtract"`` and linear synapses without bias; `net.output` are the output neurons,
        which send one spike in a step at most. Normalisation is folded into the weights. The network is not changed.
    x : Tensor [T, B, ...], or mapping of input name to such
        Data to choose on: numbers of spikes, 0 ... 15.
    trained : bool
        Return a network for further training: weights stay in floating point and are rounded at each use, and
        gradients pass straight through the rounding. `neurosim.hardware.quantise.fixed` ends that.

    Returns
    -------
    XyloQuantised

    Raises
    ------
    ExportError
        With all that the chip cannot hold: node or edge, what it is, what to change.
    InputError
        When x is empty, not integer, or outside 0 ... 15.

    Warns
    -----
    NothingCompared
        When a population sends no spike on `x`.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.hardware.xylo import quantise_xylo, dash_time_constant
    >>> _ = torch.manual_seed(0)
    >>> taus = dict(tau_mem=dash_time_constant(4, 1e-3), tau_syn=dash_time_constant(3, 1e-3))
    >>> net = ns.Sequential(
    ...     ns.Linear(16, 20), ns.CubaLIF(dt=1e-3, r=4.0, reset="subtract", **taus),
    ...     ns.Linear(20, 4), ns.CubaLIF(dt=1e-3, r=4.0, reset="subtract", **taus), names=["hidden", "out"],
    ... )
    >>> x = (torch.rand(100, 4, 16) < 0.2).float()
    >>> quantised = quantise_xylo(net, x)
    >>> dict(quantised.latency), all(choice.mismatch < 0.3 for choice in quantised.choices.values())
    ({'hidden': 0, 'out': 1}, True)
    """
    real = read(fold(net))
    for name, values in (x if isinstance(x, Mapping) else {net.inputs[0]: x}).items():
        if isinstance(values, Tensor) and ((values < 0) | (values > MOST_INPUT)).any():
            wrong = values[(values < 0) | (values > MOST_INPUT)][0].item()
            raise InputError(
                f"x for {name!r} must hold numbers of spikes from 0 to {MOST_INPUT}, the most of an input of Xylo in a "
                f"step; got {wrong:g}."
            )
    recorded = recorded_on(net, x, real.populations)
    choices = {name: _searched(real, name, recorded) for name in real.populations}
    shared = {
        group: max(
            (choices[e.target].shifts[e.name] for e in real.edges if real.group(e) == group and e.target in choices),
            default=0,
        )
        for group in ("in", "rec", "out")
    }
    for name, choice in choices.items():
        into = [edge for edge in real.edges if edge.target == name]
        shifts = {edge.name: shared[real.group(edge)] for edge in into}
        if shifts != choice.shifts:
            changed = replace(choice, shifts=shifts)
            choices[name] = replace(changed, mismatch=_mismatch(real, name, changed, recorded))
    latency = {name: population.latency for name, population in real.populations.items()}
    return XyloQuantised(_network(real, choices, trained), MappingProxyType(choices), MappingProxyType(latency))


def _searched(real: RealXylo, name: str, recorded: Mapping[str, Tensor]) -> XyloChoice:
    """Return dashes that are best at one scale, and the scale that is best with them."""
    population, into = real.populations[name], [edge for edge in real.edges if edge.target == name]
    tried: list[XyloChoice] = []

    def best(candidates: Iterator[XyloChoice]) -> XyloChoice:
        for candidate in candidates:
            tried.append(replace(candidate, mismatch=_mismatch(real, name, candidate, recorded)))
        return min(tried, key=lambda choice: choice.mismatch)

    pairs = [(mem, syn) for mem in _dashes(population.dash_mem) for syn in _dashes(population.dash_syn)]
    fitting, most = _fitting(into), float(THRESHOLD[1] / population.v_th.max())
    first = best(_choice(population, into, min(fitting * 2.0**_FIRST_SHIFT, most), *pair) for pair in pairs)
    dashes = first.dash_mem, first.dash_syn
    scales = sorted({min(fitting * part * 2.0**shift, most) for shift in range(SHIFT[1] + 1) for part in _PARTS})
    found = best(_choice(population, into, scale, *dashes) for scale in scales)
    return replace(found, tried=len(tried))


def _choice(
    population: XyloPopulation, into: list[RealEdge], scale: float, dash_mem: int | Tensor, dash_syn: int | Tensor
) -> XyloChoice:
    """Return a candidate with the smallest shifts at which the weights fit, up to a clip of a third."""
    shifts = {}
    for edge in into:
        size = float(edge.weight.abs().max()) * scale / _kept(dash_syn) if edge.weight.numel() else 0.0
        needed = math.ceil(math.log2(size / (WEIGHT[1] * 1.31))) if size > 0 else 0
        shifts[edge.name] = min(max(needed, SHIFT[0]), SHIFT[1])
    return XyloChoice(scale, dash_mem, dash_syn, MappingProxyType(shifts))


def _fitting(into: list[RealEdge]) -> float:
    """Return the scale at which the largest weight just fits without a shift."""
    sizes = [float(edge.weight.abs().max()) for edge in into if edge.weight.any()]
    return WEIGHT[1] * 0.5 / max(sizes) if sizes else 1.0


def _dashes(real: Tensor) -> list[int | Tensor]:
    """Return the dashes on both sides of a real one, of tensors the nearest and those half a dash to either side."""
    if real.dim() == 0:
        low = math.floor(float(real) + 1e-9)
        around = {low} if abs(float(real) - low) < 1e-6 else {low, low + 1}
        return [min(max(dash, 1), DASH[1]) for dash in sorted(around)]
    return [(real + offset).round().clamp(1, DASH[1]) for offset in (0.0, -0.5, 0.5)]


def _kept(dash: int | Tensor) -> float:
    """Return the share of a current that a step keeps, the smallest of several."""
    return float((1.0 - 2.0 ** -torch.as_tensor(dash, dtype=torch.float64)).min())


def _neurons(population: XyloPopulation, choice: XyloChoice, most: int) -> Neuron:
    v_th = (population.v_th * choice.scale).round().clamp(*THRESHOLD)
    return xylo_neurons(
        dt=population.dt,
        dash_mem=choice.dash_mem,
        dash_syn=choice.dash_syn,
        v_th=int(v_th) if v_th.dim() == 0 else v_th,
        most=most,
        unit=choice.scale,
        size=population.shape,
        spike=population.spike,
    )


def _synapses(edge: RealEdge, choice: XyloChoice) -> tuple[list[Synapse], int, WeightGrid]:
    """Return the synapses of an edge with integer weights, the place of the weights among them, and their grid."""
    step = 1 << choice.shifts[edge.name]
    grid = WeightGrid(choice.scale, WEIGHT[0] * step, WEIGHT[1] * step, step)
    chain = chain_of(edge, grid(edge.weight))
    return chain, len(chain) - 1, grid


def _arriving(real: RealXylo, edge: RealEdge, choice: XyloChoice) -> RealEdge:
    """Return the edge with the weights that arrive: the decay of the step they arrive in takes a part of them."""
    shape = real.populations[edge.target].shape
    kept = 1.0 - 2.0 ** -torch.as_tensor(choice.dash_syn, dtype=torch.float64)
    factors = edge.connectivity.row_factors(1.0 / kept, shape)
    if factors is None:
        raise ExportError(
            f"edge {edge.name!r}: the neurons after it differ in tau_syn within a channel, which shared weights cannot "
            "hold; give each channel one value."
        )
    return replace(edge, weight=replace(edge.connectivity, weight=edge.weight, bias=None).times(factors).weight)


def _mismatch(real: RealXylo, name: str, choice: XyloChoice, recorded: Mapping[str, Tensor]) -> float:
    into = [_arriving(real, edge, choice) for edge in real.edges if edge.target == name]
    chains = [(edge, _synapses(edge, choice)[0]) for edge in into]
    neurons = _neurons(real.populations[name], choice, _most(real, name))
    z, current = replayed(neurons, chains, recorded, "i", ("i_syn",))
    mismatch = difference(z, recorded[name].double(), spikes=True)
    # In the upper half of the range the order of the arrivals may count, which the layers do not keep.
    return mismatch + (1.0 if float(current.abs().max()) > _LARGEST_CURRENT else 0.0)


def _most(real: RealXylo, name: str) -> int:
    return MOST_OUTPUT if name == real.output else MOST_HIDDEN


def _network(real: RealXylo, choices: Mapping[str, XyloChoice], trained: bool) -> Network:
    nodes: dict[str, Any] = {name: Input(shape) for name, shape in real.inputs.items()}
    nodes |= {name: _neurons(each, choices[name], _most(real, name)) for name, each in real.populations.items()}
    edges = []
    for edge in (_arriving(real, edge, choices[edge.target]) for edge in real.edges):
        chain, place, grid = _synapses(edge, choices[edge.target])
        if trained:
            unrounded = chain_of(edge, edge.weight)[place].get_parameter("weight").detach()
            train_on_grid(chain[place], "weight", unrounded, grid)
        delay = 0.0 if edge.source in real.inputs else edge.dt
        edges.append(Edge(edge.source, edge.target, chain, delay, edge.name, "i"))
    return Network(nodes, edges, output=real.output)


def _shown(dash: int | Tensor) -> str:
    if not isinstance(dash, Tensor):
        return str(dash)
    low, high = int(dash.min()), int(dash.max())
    return f"{low}..{high}"
