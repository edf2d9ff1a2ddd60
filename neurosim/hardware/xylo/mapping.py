"""From an integer network of Xylo's neurons to the configuration of a chip, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neurosim import cores
from neurosim.errors import ExportError, InputError, ShapeError
from neurosim.files.problems import Problems
from neurosim.hardware.xylo.configuration import (
    MOST_HIDDEN,
    MOST_OUTPUT,
    SHIFT,
    STATE,
    WEIGHT,
    XyloConfiguration,
)
from neurosim.hardware.xylo.neurons import xylo_neurons
from neurosim.network.graph import Connection, Edge, Input
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.portability import sources, start_values, values_per_trial
from neurosim.synapses import Linear
from neurosim.synapses.lowering import Convolution, Dense, Opaque, Pooling, Reshape, Scaling, Shifted, SparseRows
from neurosim.synapses.shift import Shift
from neurosim.synapses.synapse import lowered_chain

PORTS = {"i": 0, "i2": 1}
_REGISTERS = ("dash_mem", "dash_syn", "dash_syn2", "v_th", "bias")


@dataclass(frozen=True, eq=False)
class XyloExport:
    """A network as the configuration of a chip. Made by `to_xylo`.

    Attributes
    ----------
    configuration : XyloConfiguration
    inputs : mapping of str to slice
        Inputs of the chip that each input of the network has, its values flattened.
    hidden : mapping of str to slice
        Hidden neurons of each population.
    output : str
        The population of the output neurons.
    """

    configuration: XyloConfiguration
    inputs: Mapping[str, slice]
    hidden: Mapping[str, slice]
    output: str


def to_xylo(net: Network, name: str = "neurosim") -> XyloExport:
    """Return the configuration that computes an integer network on a Xylo.

    Parameters
    ----------
    net : Network
        Of populations made by `xylo_neurons`; `net.output` has ``most=1`` and feeds nothing, the others have
        ``most=31``. Edges hold linear synapses whose weights are integers of 8 bits times a power of two, which edges
        of a kind share; a `Shift` behind them may be a part of it. Those from an input have no delay, those from a
        population one step. An edge into the port ``alias`` has no delay and the weights 0 and 1.
    name : str
        Name in the document.

    Raises
    ------
    ExportError
        With all that the chip cannot hold: node or edge, what it is, what to change. Sizes are not limited here; see
        `neurosim.hardware.placement.place`.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.hardware.xylo import to_xylo, xylo_neurons
    >>> net = ns.Network(
    ...     {"in": ns.Input(2), "hidden": xylo_neurons(dt=1e-3), "out": xylo_neurons(dt=1e-3, most=1)},
    ...     [ns.Edge("in", "hidden", ns.Linear(2, 3), port="i"),
    ...      ns.Edge("hidden", "out", ns.Linear(3, 1), delay=1e-3, port="i")],
    ... )
    >>> for synapse in net.synapses.values():
    ...     _ = torch.nn.init.constant_(synapse[0].weight, 100.0)
    >>> to_xylo(net).configuration.weights_out.tolist()
    [[100], [100], [100]]
    """
    problems = Problems("Xylo cannot hold this network")
    for where, what in (*sources(net), *values_per_trial(net), *start_values(net)):
        problems.add(where, what)
    for where, node in net.populations().items():
        _check_node(net, where, node, problems)
    problems.raise_if_any()
    inputs = _slices(net, list(net.inputs))
    hidden = _slices(net, [each for each in net.populations() if each != net.output])
    sizes = [sum(s.stop - s.start for s in each.values()) for each in (inputs, hidden)]
    outputs = math.prod(net.shape(net.output))
    weights = {
        "in": np.zeros((sizes[0], sizes[1], 2), np.int64),
        "rec": np.zeros((sizes[1], sizes[1], 2), np.int64),
        "out": np.zeros((sizes[1], outputs, 1), np.int64),
    }
    aliases = np.full(sizes[1], -1)
    read = [(edge, *_group(net, edge, problems)) for edge in net.edges]
    for edge, group, matrix, _ in read:
        if group == "alias" and matrix is not None:
            _add_aliases(aliases, matrix, hidden[edge.source], hidden[edge.target], edge, problems)
    shifts = {}
    for group in weights:
        members = [(e, m, s) for e, g, m, s in read if g == group and m is not None]
        shifts[group] = _shared_shift(members, problems)
        for edge, matrix, shift in members:
            mantissas = (matrix << shift) >> shifts[group]
            _add_weights(weights[group], mantissas, edge, inputs, hidden, problems)
    registers = {each: _registers(net, each) for each in net.populations()}
    problems.raise_if_any()
    joined = {key: np.concatenate([registers[each][key] for each in hidden] or [np.zeros(0)]) for key in _REGISTERS}
    out = registers[net.output]
    configuration = XyloConfiguration(
        weights_in=weights["in"],
        weights_rec=weights["rec"],
        weights_out=weights["out"][..., 0],
        aliases=aliases,
        threshold=joined["v_th"],
        threshold_out=out["v_th"],
        bias=joined["bias"],
        bias_out=out["bias"],
        dash_mem=joined["dash_mem"],
        dash_mem_out=out["dash_mem"],
        dash_syn=np.stack([joined["dash_syn"], joined["dash_syn2"]], 1),
        dash_syn_out=out["dash_syn"],
        shift_in=shifts["in"],
        shift_rec=shifts["rec"],
        shift_out=shifts["out"],
        name=name,
    )
    return XyloExport(configuration, inputs, hidden, net.output)


def from_xylo(chip: XyloConfiguration, dt: float) -> Network:
    """Return the network that a configuration computes: nodes ``input``, ``hidden`` and ``output``.

    Raises
    ------
    ExportError
        When neurons have aliases, which act within a step: run those with `evolve`.
    """
    if (chip.aliases >= 0).any():
        number = int(np.flatnonzero(chip.aliases >= 0)[0])
        raise ExportError(
            f"hidden neuron {number} copies its spikes to neuron {chip.aliases[number]} in the same step, which "
            "neurons of one population cannot; run the configuration with evolve, or give the target of the alias to "
            "a population of its own."
        )

    def neurons(v_th: np.ndarray, dash_mem: np.ndarray, dash_syn: np.ndarray, bias: np.ndarray, most: int) -> Neuron:
        dash, dash2 = (torch.from_numpy(each.copy()) for each in dash_syn.T)
        registers = [torch.from_numpy(each) for each in (v_th, dash_mem, bias)]
        return xylo_neurons(
            dt=dt,
            v_th=registers[0],
            dash_mem=registers[1],
            bias=registers[2],
            dash_syn=dash,
            dash_syn2=dash2,
            most=most,
        )

    out_dash = np.stack([chip.dash_syn_out, np.ones_like(chip.dash_syn_out)], 1)
    nodes: dict[str, Any] = {
        "input": Input(chip.inputs),
        "hidden": neurons(chip.threshold, chip.dash_mem, chip.dash_syn, chip.bias, MOST_HIDDEN),
        "output": neurons(chip.threshold_out, chip.dash_mem_out, out_dash, chip.bias_out, MOST_OUTPUT),
    }
    edges = []
    for source, target, weights, shift in (
        ("input", "hidden", chip.weights_in, chip.shift_in),
        ("hidden", "hidden", chip.weights_rec, chip.shift_rec),
        ("hidden", "output", chip.weights_out[..., None], chip.shift_out),
    ):
        for port, synapse in PORTS.items():
            if synapse < weights.shape[2] and (weights[..., synapse].any() or port == "i"):
                chain = [_linear(weights[..., synapse]), *([Shift(shift)] if shift else [])]
                edges.append(Edge(source, target, chain, None if source == "input" else dt, port=port))
    return Network(nodes, edges, output="output")


def _linear(weights: np.ndarray) -> Linear:
    linear = Linear(*weights.shape)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weights.T))
    return linear.requires_grad_(False)


def _check_node(net: Network, name: str, node: Any, problems: Problems) -> None:
    where = f"node {name!r}"
    if not isinstance(node, Neuron) or node.core is not cores.xylo:
        problems.add(where, f"its model is {node.kind!r}; quantise the network, or make it with xylo_neurons(...)")
        return
    most, expected = node.value("most"), MOST_OUTPUT if name == net.output else MOST_HIDDEN
    if torch.as_tensor(most).ne(expected).any():
        kind = "the output neurons send" if name == net.output else "hidden neurons send"
        problems.add(where, f"most={most}; {kind} at most {expected} on the chip; use most={expected}")


def _group(net: Network, edge: Connection, problems: Problems) -> tuple[str, np.ndarray | None, int]:
    """Return the group of weights that an edge belongs to, its weights [pre, post], and their shift."""
    where = f"edge {edge.name!r}"
    from_input, to_output = edge.source in net.inputs, edge.target == net.output
    group = "alias" if edge.port == "alias" else "in" if from_input else "out" if to_output else "rec"
    needed = 0 if from_input or group == "alias" else 1
    refusals = [
        (edge.port not in (*PORTS, "alias"), f"feeds the port {edge.port!r}, which holds no synapses; feed i or i2"),
        (from_input and to_output, "joins an input to output neurons; put hidden neurons between"),
        (edge.source == net.output, "comes from output neurons, whose spikes leave the chip"),
        (to_output and edge.port != "i", f"feeds the port {edge.port!r}; an output neuron has the current i alone"),
        (group == "alias" and from_input, "copies spikes of an input; an alias is of a hidden neuron"),
        (edge.delay_steps != needed, f"has a delay of {edge.delay_steps} steps; on the chip it is {needed}"),
    ]  # fmt: skip
    for holds, what in refusals:
        if holds:
            problems.add(where, what)
            return group, None, 0
    shape, values = net.shape(edge.source), lowered_chain(edge.synapses, net.shape(edge.source))
    shift = values[-1].exponent if isinstance(values[-1], Shifted) else 0
    if not SHIFT[0] <= shift <= SHIFT[1]:
        problems.add(where, f"Shift({shift}); weights of the chip are shifted by {SHIFT[0]} to {SHIFT[1]} bits")
        return group, None, 0
    held = values[:-1] if isinstance(values[-1], Shifted) else values
    matrix = _matrix(edge, held, shape, problems)
    return group, matrix, shift


def _matrix(edge: Connection, values: list[Any], shape: tuple[int, ...], problems: Problems) -> np.ndarray | None:
    """Return what spikes of each source neuron bring to each target neuron [pre, post], integers."""
    where = f"edge {edge.name!r}"
    kinds = [type(synapse).__name__ for synapse in edge.synapses]
    for kind, value in zip(kinds, values, strict=False):
        delayed = isinstance(value, (Dense, SparseRows)) and value.delay is not None
        linear = isinstance(value, (Dense, SparseRows, Convolution, Scaling, Reshape))
        linear = linear or (isinstance(value, Pooling) and value.kind != "max")
        why = f"which {value.reason}" if isinstance(value, Opaque) else "whose synapses have delays" if delayed else ""
        if why or not linear:
            problems.add(where, f"holds {kind}, {why or 'which is not linear'}; use linear synapses without delays")
            return None
        if getattr(value, "bias", None) is not None:
            problems.add(where, f"{kind} has a bias; the bias of the chip belongs to the neurons")
            return None
    response = torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, *shape)
    for value in values:
        response = value.to(torch.float64).apply(response)
    matrix = response.flatten(1).numpy()
    outside = matrix[(matrix != np.trunc(matrix)) | (np.abs(matrix) > -STATE[0])]
    if outside.size:
        problems.add(where, f"weights must be integers; got {outside[0]:g}: quantise the network")
        return None
    return matrix.astype(np.int64)


def _shared_shift(members: list[tuple[Connection, np.ndarray, int]], problems: Problems) -> int:
    """Return a shift at which the weights of all edges of a kind have 8 bits: of their `Shift`, or the smallest."""
    asked = min((shift for _, _, shift in members), default=0)
    for candidate in (asked, *range(SHIFT[1] + 1)):
        if all(_fits(matrix << shift, candidate) for _, matrix, shift in members):
            return candidate
    for edge, matrix, shift in members:
        alone = any(_fits(matrix << shift, candidate) for candidate in range(SHIFT[1] + 1))
        problems.add(
            f"edge {edge.name!r}",
            "needs a shift of its own; the chip has one for inputs, one for hidden neurons and one for outputs"
            if alone
            else f"weights must be integers from {WEIGHT[0]} to {WEIGHT[1]} times one power of two up to "
            f"{1 << SHIFT[1]}; got up to {np.abs(matrix << shift).max()}: quantise the network",
        )
    return asked


def _fits(weights: np.ndarray, shift: int) -> bool:
    mantissas = weights >> shift
    in_range = mantissas.min(initial=0) >= WEIGHT[0] and mantissas.max(initial=0) <= WEIGHT[1]
    return bool(in_range and np.array_equal(mantissas << shift, weights))


def _add_weights(
    weights: np.ndarray,
    matrix: np.ndarray,
    edge: Connection,
    inputs: Mapping[str, slice],
    hidden: Mapping[str, slice],
    problems: Problems,
) -> None:
    place = weights[{**inputs, **hidden}[edge.source], hidden.get(edge.target, slice(None)), PORTS[edge.port]]
    if np.any((place != 0) & (matrix != 0)):
        problems.add(
            f"edge {edge.name!r}",
            "connects neurons that another edge into the same port connects too; give one edge the sum",
        )
    else:
        place += matrix


def _add_aliases(
    aliases: np.ndarray, matrix: np.ndarray, source: slice, target: slice, edge: Connection, problems: Problems
) -> None:
    if not np.isin(matrix, (0, 1)).all() or (matrix.sum(1) > 1).any():
        problems.add(
            f"edge {edge.name!r}",
            "must copy spikes of a neuron to one other at most: weights of 0 and 1",
        )
        return
    copied = np.flatnonzero(matrix.any(1))
    if (aliases[source][copied] >= 0).any():
        problems.add(f"edge {edge.name!r}", "copies spikes of neurons that have an alias; each can have one")
        return
    aliases[source.start + copied] = target.start + matrix[copied].argmax(1)


def _registers(net: Network, name: str) -> dict[str, np.ndarray]:
    node, shape = net.neurons()[name], net.shape(name)
    values = {key: torch.as_tensor(node.value(key)).detach().cpu().numpy() for key in _REGISTERS}
    return {key: np.broadcast_to(value, shape).ravel() for key, value in values.items()}


def _slices(net: Network, names: list[str]) -> dict[str, slice]:
    slices, start = {}, 0
    for name in names:
        stop = start + math.prod(net.shape(name))
        slices[name] = slice(start, stop)
        start = stop
    return slices


def chip_input(net: Network, export: XyloExport, x: Any) -> np.ndarray:
    """Return data of a network as the input of the chip [T, B, inputs].

    Raises
    ------
    InputError
        When an input is missing or unknown.
    ShapeError
        When data are no tensor or array [T, B, ...] of the shape of the input.
    """
    given = dict(x) if isinstance(x, Mapping) else {net.inputs[0]: x}
    if set(given) != set(export.inputs):
        raise InputError(f"x must give data for the inputs {list(export.inputs)}; got {list(given)}.")
    for name, values in given.items():
        found = tuple(values.shape) if isinstance(values, (torch.Tensor, np.ndarray)) else None
        if found is None or len(found) < 2 or found[2:] != net.shape(name):
            wanted, got = ", ".join(map(str, net.shape(name))), type(values).__name__ if found is None else list(found)
            raise ShapeError(f"x for {name!r} must be a tensor or array [T, B, {wanted}]; got {got}.")
    return np.concatenate([torch.as_tensor(given[name]).flatten(2).cpu().numpy() for name in export.inputs], axis=2)
