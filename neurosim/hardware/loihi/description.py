"""What a network of Loihi neurons says to whoever brings it to a chip: registers and weights in whole numbers.

An integer network is an ordinary `Network`. Its populations are made by `loihi`, its edges hold whole weights, and
where an edge has a weight exponent a `Shift` stands after its weights. Nothing is written beside it: sign mode, bits,
mantissas and exponents follow from the numbers, and `describe` works them out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from neurosim.cores.loihi import SINGLE
from neurosim.errors import ExportError, InputError
from neurosim.hardware.loihi.neurons import CORES, split_bias
from neurosim.hardware.loihi.weights import SignMode, storage
from neurosim.hardware.targets import Target, load_target
from neurosim.network.graph import Connection as Edge
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.synapses import Conv1d, Conv2d, Flatten, Linear, RoundedDelays, Sparse, SumPool2d, Synapse
from neurosim.synapses.shift import Shift

Weighted = Linear | Conv1d | Conv2d | Sparse | RoundedDelays
_WEIGHTED = (Linear, Conv1d, Conv2d, Sparse, RoundedDelays)
_BEFORE = (Flatten, SumPool2d)
LONGEST_DELAY = 63


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
class Connection:
    """An edge as the chip's synapses hold it.

    Attributes
    ----------
    name, source, target : str
    before : tuple of Synapse
        `Flatten` and `SumPool2d` that stand before the weights.
    synapse : Linear, Conv1d, Conv2d, Sparse or RoundedDelays
        The map with the weights, which says how they connect.
    weight : numpy.ndarray
        Its weights, int64: the mantissas.
    exponent : int
        What they add up to is multiplied by two to this, -7 ... 7, rounded down.
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
    before: tuple[Synapse, ...]
    synapse: Weighted
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
    connections : mapping of str to Connection
        By the name of the edge.
    """

    populations: Mapping[str, Registers]
    connections: Mapping[str, Connection]

    def largest(self, population: str) -> int:
        """Return the largest current that spikes 0/1 can bring to a neuron of `population` in a step."""
        return sum(c.largest for c in self.connections.values() if c.target == population)

    @property
    def fits_single(self) -> bool:
        """Whether single precision is exact for any spikes; double precision always is."""
        return all(self.largest(name) <= SINGLE for name in self.populations)


def describe(net: Network, target: str | Target | None = None) -> Description:
    """Work out registers and weights of an integer network.

    Parameters
    ----------
    net : Network
        Of populations made by `loihi`, with whole weights.
    target : str or Target, optional
        A chip of `hardware_targets`, whose ranges are looked at as well: ``"loihi1"``, ``"loihi2"``.

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
    >>> from neurosim.hardware.loihi import describe, loihi
    >>> net = ns.Sequential(ns.Linear(4, 2), loihi(dt=1e-3, dv=128, v_th=80), names=["out"])
    >>> with torch.no_grad():
    ...     _ = net.edges[0].synapses[0].weight.copy_(torch.tensor([[2.0, -4, 8, 0], [254, -256, 16, 2]]))
    >>> found = describe(net)
    >>> found.connections["input->out"].sign_mode.value, found.connections["input->out"].bits, found.largest("out")
    ('mixed', 8, 528)
    """
    problems: list[str] = []
    populations = {name: _registers(name, node, net, problems) for name, node in net.populations().items()}
    connections = {edge.name: _connection(edge, problems) for edge in net.edges}
    if target is not None and not problems:
        chip = target if isinstance(target, Target) else load_target(target)
        problems += _beyond(chip, [p for p in populations.values() if p], [c for c in connections.values() if c])
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise ExportError(f"Loihi cannot hold this network in whole numbers:\n{listed}")
    return Description(
        MappingProxyType({name: p for name, p in populations.items() if p}),
        MappingProxyType({name: c for name, c in connections.items() if c}),
    )


def _registers(name: str, node: Population, net: Network, problems: list[str]) -> Registers | None:
    where = f"node {name!r}"
    if not isinstance(node, Neuron) or node.core not in CORES:
        problems.append(f"{where}: its model is {node.kind!r}; quantise the network, or make it with loihi(...)")
        return None
    if node.is_spiking and node.reset != "value":
        problems.append(f'{where}: reset={node.reset!r}; the chip resets to 0; use reset="value"')
    numbers = {key: _whole(node.value(key)) for key in node.core.parameters if key != "unit"}
    try:
        mantissa, exponent = split_bias(torch.as_tensor(numbers["bias"]))
    except InputError as error:
        problems.append(f"{where}: {error}")
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


def _connection(edge: Edge, problems: list[str]) -> Connection | None:
    where = f"edge {edge.name!r}"
    *before, last = edge.synapses
    shift = last if isinstance(last, Shift) else None
    if shift is not None:
        last = before.pop() if before else last
    strange = [s for s in before if not isinstance(s, _BEFORE)]
    if strange or not isinstance(last, _WEIGHTED):
        shown = ", ".join(type(s).__name__ for s in edge.synapses)
        problems.append(
            f"{where}: holds {shown}; it can hold Flatten and SumPool2d, then one of "
            f"{', '.join(kind.__name__ for kind in _WEIGHTED)}, then a Shift"
        )
        return None
    exponent = 0 if shift is None else shift.exponent
    if last.bias is not None if hasattr(last, "bias") else False:
        problems.append(f"{where}: {type(last).__name__} has a bias; the bias of the chip belongs to the neurons")
    weight = last.weight.detach()
    mode, bits = storage(weight)
    if not bits:
        problems.append(
            f"{where}: weights must be whole, at most 255, at least -255, or even numbers from -256 to 254 where signs "
            "mix; see held_weight"
        )
        return None
    delay = np.zeros((), dtype=np.int64)
    if isinstance(last, RoundedDelays):
        delay = _whole(last.delay)
        if delay.max(initial=0) > LONGEST_DELAY:
            problems.append(f"{where}: a delay of {delay.max()} steps; the chip holds up to {LONGEST_DELAY}")
        if exponent < 0:
            problems.append(
                f"{where}: Shift({exponent}) after delays of their own; the chip rounds what comes from each step "
                "apart: give each delay an edge of its own, see RoundedDelays.by_delay"
            )
    largest = _largest(last, weight, tuple(before), exponent)
    return Connection(
        edge.name,
        edge.source,
        edge.target,
        tuple(before),
        last,
        _whole(weight),
        exponent,
        mode,
        bits,
        delay,
        edge.delay_steps,
        largest,
    )


def _largest(synapse: Weighted, weight: Tensor, before: tuple[Synapse, ...], exponent: int) -> int:
    size = weight.double().abs()
    if isinstance(synapse, Sparse):
        rows = torch.zeros(synapse.n_out, dtype=torch.float64, device=size.device)
        rows = rows.index_add(0, synapse.connections[0], size)
    else:
        rows = size.flatten(1).sum(1)
    most = float(rows.max()) if rows.numel() else 0.0
    pooled = math.prod(math.prod(s.kernel) for s in before if isinstance(s, SumPool2d))
    return math.ceil(most * pooled * 2.0**exponent)


def _whole(value: float | Tensor) -> np.ndarray:
    """Return a number, or a tensor of numbers, as int64."""
    return np.asarray(torch.as_tensor(value).detach().cpu().numpy()).astype(np.int64)


def _beyond(chip: Target, populations: list[Registers], connections: list[Connection]) -> list[str]:
    """List what is outside the ranges that the file of a chip states."""
    found: list[str] = []

    def look(where: str, what: str, key: str, values: np.ndarray | int) -> None:
        if key in chip.precision:
            low, high = chip.precision[key].value  # type: ignore[misc]
            outside = np.asarray(values)[(np.asarray(values) < low) | (np.asarray(values) > high)]
            if outside.size:
                found.append(f"{where}: {what}={outside.flat[0]}; {chip.title} holds {low:.0f} to {high:.0f}")

    for p in populations:
        # A decay one below or above the register's range is a matter of the offset bit beside it.
        look(f"node {p.name!r}", "du", "decay", np.maximum(p.du, 0))
        look(f"node {p.name!r}", "dv", "decay", np.minimum(p.dv, 4095))
        look(f"node {p.name!r}", "bias_mant", "bias_mantissa", p.bias_mant)
        if p.v_th is not None:
            look(f"node {p.name!r}", "v_th", "threshold_mantissa", p.v_th)
    for c in connections:
        look(f"edge {c.name!r}", "exponent", "weight_exponent", c.exponent)
        allowed = chip.precision["weight_bits"].value if "weight_bits" in chip.precision else ()
        if allowed and not any(bits >= c.bits for bits in np.atleast_1d(allowed)):
            found.append(f"edge {c.name!r}: weights of {c.bits} bits; {chip.title} holds {allowed}")
        if "delay_steps" in chip.limits and c.delay.max(initial=0) > chip.limits["delay_steps"].number:
            found.append(f"edge {c.name!r}: a delay of {c.delay.max()} steps; {chip.title} holds less")
    return found
