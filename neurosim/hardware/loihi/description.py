"""Registers and integer weights of a network of Loihi neurons, for exporters.

An integer network is an ordinary `Network`. Its populations are made by `loihi_neurons`, its weights are integers, and
an edge with a weight exponent has a `Shift` after its weights. Nothing else is stored: sign mode, bits, mantissas and
exponents follow from the numbers, and `describe` computes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from neurosim.cores.loihi import SINGLE
from neurosim.errors import InputError
from neurosim.files.problems import Problems
from neurosim.hardware.loihi.neurons import CORES, split_bias
from neurosim.hardware.loihi.weights import SignMode, storage
from neurosim.hardware.targets import Target, load_target
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.network.portability import refuse_unportable
from neurosim.synapses.lowering import (
    Convolution,
    Dense,
    Lowered,
    Opaque,
    Pooling,
    Reshape,
    Scaling,
    Shifted,
    SparseRows,
    Weighted,
)
from neurosim.synapses.synapse import lowered_chain

LONGEST_DELAY = 63
HELD = "Flatten and SumPool2d, then a linear synapse with weights (Linear, Sparse, Conv2d, RoundedDelays), then Shift"


@dataclass(frozen=True)
class Registers:
    """A population as the chip's registers hold it.

    Attributes
    ----------
    name : str
    shape : tuple of int
        As in the network, [C, H, W] for images.
    du, dv : numpy.ndarray
        Decays as in `loihi`, -1 ... 4095 and 0 ... 4096; int64, without dimensions where all neurons share the value,
        else of a shape that broadcasts against the population. So are all that follow.
    v_th : numpy.ndarray or None
        Mantissa of the threshold; None for neurons that never fire.
    bias_mant, bias_exp : numpy.ndarray
        The bias, with the smallest exponent 0 ... 7 that holds it.
    refractory : numpy.ndarray
        1 where there is no refractory delay.
    """

    name: str
    shape: tuple[int, ...]
    du: np.ndarray
    dv: np.ndarray
    v_th: np.ndarray | None
    bias_mant: np.ndarray
    bias_exp: np.ndarray
    refractory: np.ndarray

    @property
    def neurons(self) -> int:
        """How many neurons there are."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class IntegerEdge:
    """An edge as the chip's synapses hold it.

    Attributes
    ----------
    name, source, target : str
    before : tuple of Reshape and Pooling
        Flattening and sums over windows before the weights.
    connectivity : Dense, SparseRows or Convolution
        How the weights connect, as `Synapse.lowered` returns it.
    weight : numpy.ndarray
        The weights, int64, of the shape of ``connectivity.weight``: the mantissas.
    exponent : int
        The sum of the weights of a step's spikes is multiplied by two to this, -7 ... 7, and rounded down.
    sign_mode : SignMode
    bits : int
        Fewest bits of weight that hold all of them, 1 ... 8.
    delay : numpy.ndarray
        Steps of each weight, int64 of its shape, where synapses have delays of their own; else without dimensions.
    delay_steps : int
        Steps of the edge itself, on top of those.
    largest : int
        Largest current that spikes 0/1 can bring to a neuron through it.
    """

    name: str
    source: str
    target: str
    before: tuple[Reshape | Pooling, ...]
    connectivity: Weighted
    weight: np.ndarray
    exponent: int
    sign_mode: SignMode
    bits: int
    delay: np.ndarray
    delay_steps: int
    largest: int


@dataclass(frozen=True)
class Description:
    """An integer network, population by population and edge by edge.

    Attributes
    ----------
    populations : mapping of str to Registers
        In order of computation.
    edges : mapping of str to IntegerEdge
        By the name of the edge.
    """

    populations: Mapping[str, Registers]
    edges: Mapping[str, IntegerEdge]

    def largest(self, population: str) -> int:
        """Return the largest current that spikes 0/1 can bring to a neuron of `population` in a step."""
        return sum(edge.largest for edge in self.edges.values() if edge.target == population)

    @property
    def fits_single(self) -> bool:
        """Whether single precision is exact for any spikes; double precision always is."""
        return all(self.largest(name) <= SINGLE for name in self.populations)


def describe(net: Network, target: str | Target | None = None) -> Description:
    """Return the registers and weights of an integer network.

    Parameters
    ----------
    net : Network
        Of populations made by `loihi_neurons`, with integer weights.
    target : str or Target, optional
        A chip of `hardware_targets`, whose ranges are checked as well: ``"loihi1"``, ``"loihi2"``.

    Returns
    -------
    Description

    Raises
    ------
    ExportError
        With all that is not an integer network: node or edge, value, what to change.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.hardware.loihi import describe, loihi_neurons
    >>> net = ns.Sequential(ns.Linear(4, 2), loihi_neurons(dt=1e-3, dv=128, v_th=80), names=["out"])
    >>> with torch.no_grad():
    ...     _ = net.edges[0].synapses[0].weight.copy_(torch.tensor([[2.0, -4, 8, 0], [254, -256, 16, 2]]))
    >>> registers = describe(net)
    >>> registers.edges["input->out"].sign_mode.value, registers.edges["input->out"].bits, registers.largest("out")
    ('mixed', 8, 528)
    """
    problems = Problems("Loihi cannot hold this network in integers")
    refuse_unportable(net, problems)
    populations = {name: _registers(name, node, net, problems) for name, node in net.populations().items()}
    edges = {edge.name: _edge(edge, net.shape(edge.source), problems) for edge in net.edges}
    if target is not None and not problems:
        chip = target if isinstance(target, Target) else load_target(target)
        _check_ranges(chip, [p for p in populations.values() if p], [e for e in edges.values() if e], problems)
    problems.raise_if_any()
    return Description(
        MappingProxyType({name: p for name, p in populations.items() if p}),
        MappingProxyType({name: e for name, e in edges.items() if e}),
    )


def _registers(name: str, node: Population, net: Network, problems: Problems) -> Registers | None:
    where = f"node {name!r}"
    if not isinstance(node, Neuron) or node.core not in CORES:
        problems.add(where, f"its model is {node.kind!r}; quantise the network, or make it with loihi_neurons(...)")
        return None
    if node.is_spiking and node.reset != "value":
        problems.add(where, f'reset={node.reset!r}; the chip resets to 0; use reset="value"')
    numbers = {key: _integers(node.value(key)) for key in node.core.parameters if key != "unit"}
    try:
        mantissa, exponent = split_bias(torch.as_tensor(numbers["bias"]))
    except InputError as error:
        problems.add(where, str(error))
        return None
    return Registers(
        name,
        net.shape(name),
        numbers["du"],
        numbers["dv"],
        numbers.get("v_th"),
        mantissa.numpy(),
        exponent.numpy(),
        numbers.get("refractory", np.ones((), dtype=np.int64)),
    )


def _edge(edge: Connection, shape: tuple[int, ...], problems: Problems) -> IntegerEdge | None:
    where = f"edge {edge.name!r}"
    kinds = [type(synapse).__name__ for synapse in edge.synapses]
    values = lowered_chain(edge.synapses, shape)
    for kind, value in zip(kinds, values, strict=True):
        if isinstance(value, Opaque):
            problems.add(where, f"holds {kind}, which {value.reason}; it can hold {HELD}")
            return None
    exponent = values.pop().exponent if isinstance(values[-1], Shifted) else 0  # type: ignore[union-attr]
    for synapse in edge.synapses[: len(values) - 1]:
        shape = synapse.output_shape(shape)
    connectivity = _weighted(values, shape)
    before = [v for v in values[:-1] if isinstance(v, Reshape) or (isinstance(v, Pooling) and v.kind == "sum")]
    if connectivity is None or len(before) != len(values) - 1:
        problems.add(where, f"holds {', '.join(kinds)}; it can hold {HELD}")
        return None
    if connectivity.bias is not None:
        problems.add(where, f"{kinds[len(before)]} has a bias; the bias of the chip belongs to the neurons")
    mode, bits = storage(connectivity.weight)
    if not bits:
        problems.add(
            where,
            "weights must be integers, at most 255, at least -255, or even from -256 to 254 where signs mix; see "
            "chip_weight",
        )
        return None
    delay = np.zeros((), dtype=np.int64)
    if not isinstance(connectivity, Convolution) and connectivity.delay is not None:
        if connectivity.delay.is_floating_point():
            problems.add(where, f"{kinds[len(before)]}: its delays are not in whole steps; round them with rounded()")
            return None
        delay = _integers(connectivity.delay)
        if delay.max(initial=0) > LONGEST_DELAY:
            problems.add(where, f"a delay of {delay.max()} steps; the chip holds up to {LONGEST_DELAY}")
        if exponent < 0:
            problems.add(
                where,
                f"Shift({exponent}) after delays of their own; the chip rounds the current of each step by itself: "
                "give each delay an edge of its own, see RoundedDelays.by_delay",
            )
    return IntegerEdge(
        edge.name,
        edge.source,
        edge.target,
        tuple(before),
        connectivity,
        _integers(connectivity.weight),
        exponent,
        mode,
        bits,
        delay,
        edge.delay_steps,
        _largest(connectivity, before, exponent),
    )


def _weighted(values: Sequence[Lowered], shape: tuple[int, ...]) -> Weighted | None:
    """Return the value with the weights, the last one; factors of each neuron are connections one to one."""
    last = values[-1] if values else None
    if isinstance(last, Scaling):
        return last.rows(shape)
    return last if isinstance(last, (Dense, SparseRows, Convolution)) else None


def _largest(connectivity: Weighted, before: Sequence[Reshape | Pooling], exponent: int) -> int:
    size = connectivity.weight.double().abs()
    if isinstance(connectivity, SparseRows):
        rows = size.new_zeros(connectivity.n_out).index_add(0, connectivity.post, size)
    else:
        rows = size.flatten(1).sum(1)
    most = float(rows.max()) if rows.numel() else 0.0
    pooled = math.prod(math.prod(value.kernel) for value in before if isinstance(value, Pooling))
    return math.ceil(most * pooled * 2.0**exponent)


def _integers(value: float | Tensor) -> np.ndarray:
    """Return a number, or a tensor of numbers, as int64."""
    return np.asarray(torch.as_tensor(value).detach().cpu().numpy()).astype(np.int64)


def _check_ranges(
    chip: Target, populations: Sequence[Registers], edges: Sequence[IntegerEdge], problems: Problems
) -> None:
    """Add what is outside the ranges that the file of a chip states."""

    def check(where: str, what: str, key: str, values: np.ndarray | int) -> None:
        if key in chip.precision:
            low, high = chip.precision[key].value  # type: ignore[misc]
            outside = np.asarray(values)[(np.asarray(values) < low) | (np.asarray(values) > high)]
            if outside.size:
                problems.add(where, f"{what}={outside.flat[0]}; {chip.title} holds {low:.0f} to {high:.0f}")

    for p in populations:
        # A decay one below or above the register's range uses the offset bit beside it.
        check(f"node {p.name!r}", "du", "decay", np.maximum(p.du, 0))
        check(f"node {p.name!r}", "dv", "decay", np.minimum(p.dv, 4095))
        check(f"node {p.name!r}", "bias_mant", "bias_mantissa", p.bias_mant)
        if p.v_th is not None:
            check(f"node {p.name!r}", "v_th", "threshold_mantissa", p.v_th)
    for e in edges:
        check(f"edge {e.name!r}", "exponent", "weight_exponent", e.exponent)
        allowed = chip.precision["weight_bits"].value if "weight_bits" in chip.precision else ()
        if allowed and not any(bits >= e.bits for bits in np.atleast_1d(allowed)):
            problems.add(f"edge {e.name!r}", f"weights of {e.bits} bits; {chip.title} holds {allowed}")
        if "delay_steps" in chip.limits and e.delay.max(initial=0) > chip.limits["delay_steps"].number:
            problems.add(f"edge {e.name!r}", f"a delay of {e.delay.max()} steps; {chip.title} holds less")
