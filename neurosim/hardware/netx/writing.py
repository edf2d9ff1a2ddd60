"""Write lava-dl's ``.net`` format with h5py alone."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import torch

from neurosim.files.atomic import replaced
from neurosim.files.problems import Problems
from neurosim.hardware.loihi import Description, IntegerEdge, Registers, describe
from neurosim.hardware.loihi.neurons import MANTISSA
from neurosim.hardware.netx.reading import BIAS_EXPONENT, LONGEST_DELAY
from neurosim.hardware.netx.timing import takes_step
from neurosim.network.network import Network
from neurosim.synapses.lowering import Convolution, Pooling, Reshape, SparseRows


def write_netx(net: Network, path: str | os.PathLike[str], *, early_bias: bool = False) -> None:
    """Write an integer network as lava-dl's netx reads it.

    Parameters
    ----------
    net : Network
        In Loihi's integers (`neurosim.hardware.loihi.describe`): populations in a row behind one input, joined by
        matrices (`Linear`, `Sparse`, `RoundedDelays`, a linear synapse of your own) or `Conv2d`; behind a matrix a
        population may have a loop of one step.
    path : path-like
        Conventionally ending in ``.net``; an earlier file is replaced once the new one is complete.
    early_bias : bool
        Write a network with biases although on the chip they act before the data arrive; see the notes.

    Raises
    ------
    ExportError
        With all that netx cannot hold: node or edge, value, what to change.
    FileError
        When it cannot be written.

    Notes
    -----
    netx adds one step per layer and computes weight bits and exponents itself; neither is in the file. Without biases
    the chip computes the same as the network, k steps later in layer k. With biases it does not: on the chip they act
    from the first step on, k steps before the data reach layer k. A network with biases is therefore written if each
    edge has a step of delay (`connection_steps`), which is then the step of netx, and refused otherwise unless
    `early_bias` is True.
    """
    described = describe(net)
    problems = Problems("netx cannot hold this network")
    row = _row(net, described, problems)
    has_bias = any(registers.bias_mant.any() for registers in described.populations.values())
    is_timed = has_bias and _has_connection_steps(net, described)
    if has_bias and not is_timed and not early_bias:
        _refuse_biases(net, described, problems)
    layers = [] if problems else _layers(net, row, described, is_timed, problems)
    problems.raise_if_any()
    with replaced(path) as part, h5py.File(part, "w") as file:
        for k, layer in enumerate(layers):
            _write(file.create_group(f"layer/{k}"), layer)
        file["simulation/Ts"] = 1
        file["simulation/tSample"] = 1


def _write(group: h5py.Group, content: dict[str, Any]) -> None:
    for name, value in content.items():
        if isinstance(value, dict):
            _write(group.create_group(name), value)
        elif isinstance(value, np.ndarray) and value.size > 256:
            group.create_dataset(name, data=value, compression="gzip", shuffle=True)
        else:
            group[name] = value


def _has_connection_steps(net: Network, described: Description) -> bool:
    """Return whether the delay of each edge contains the step that its connection takes on the chip."""
    edges = [described.edges[edge.name] for edge in net.edges if takes_step(net, edge)]
    return all(edge.delay_steps + edge.delay.min(initial=LONGEST_DELAY) >= 1 for edge in edges)


def _refuse_biases(net: Network, described: Description, problems: Problems) -> None:
    """Refuse biases of populations that the data reach later on the chip than in the network."""
    for edge in net.edges:
        registers = described.populations[edge.target]
        if takes_step(net, edge) and registers.bias_mant.any():
            bias = registers.bias_mant << registers.bias_exp
            problems.add(
                f"node {registers.name!r}",
                f"a bias of {bias[bias != 0].flat[0]}, which acts on the chip from the first step on, before the data "
                "arrive; write connection_steps(net), which computes the spikes of the chip, or pass early_bias=True",
            )


def _row(net: Network, described: Description, problems: Problems) -> list[tuple[IntegerEdge, IntegerEdge | None]]:
    """Return the edge into each population in a row, and its loop where it has one."""
    if len(net.inputs) != 1:
        problems.add("network", f"has the inputs {list(net.inputs)}; a file has one")
        return []
    row = []
    before = net.inputs[0]
    for name in described.populations:
        into = [edge for edge in described.edges.values() if edge.target == name]
        loops = [edge for edge in into if edge.source == name]
        from_before = [edge for edge in into if edge.source == before]
        if len(from_before) != 1 or len(loops) > 1 or len(into) != len(loops) + 1:
            names = ", ".join(edge.name for edge in into)
            problems.add(
                f"node {name!r}", f"its edges are {names}; a file has one, from {before!r}, and at most one loop"
            )
        else:
            row.append((from_before[0], loops[0] if loops else None))
        before = name
    if net.output != before:
        problems.add("network", f"its output is {net.output!r}; it must be the last population, {before!r}")
    return row


def _layers(
    net: Network,
    row: list[tuple[IntegerEdge, IntegerEdge | None]],
    described: Description,
    is_timed: bool,
    problems: Problems,
) -> list[dict[str, Any]]:
    shape = net.shape(net.inputs[0])
    layers: list[dict[str, Any]] = [{"type": _text("input"), "shape": _filled(shape)}]
    first, first_loop = row[0]
    if _is_input_layer(net, first) and first_loop is None and described.populations[first.target].v_th is not None:
        layers[0].update(_neuron(described.populations[first.target], problems))
        row = row[1:]
    for edge, loop in row:
        where, registers = f"edge {edge.name!r}", described.populations[edge.target]
        if any(isinstance(value, Pooling) for value in edge.before):
            problems.add(where, "netx has no pooling; train with a stride of the convolution instead")
            continue
        if any(len(value.shape) > 1 for value in edge.before if isinstance(value, Reshape)):
            problems.add(where, "netx reshapes spikes to one row only; leave Unflatten out")
            continue
        is_conv = isinstance(edge.connectivity, Convolution)
        if is_conv and len(edge.connectivity.weight.shape) != 4:
            problems.add(where, "netx has no convolution over one axis; write it as Conv2d or Linear")
            continue
        if not is_conv and len(registers.shape) > 1:
            problems.add(where, f"netx has no matrix onto a population of shape {list(registers.shape)}; use Conv2d")
            continue
        if edge.before or (not is_conv and len(shape) > 1):
            layers.append({"type": _text("flatten"), "shape": _filled((int(np.prod(shape)),))})
        layer: dict[str, Any] = {"shape": _filled(registers.shape)}
        layer.update(_conv(edge, is_timed, problems) if is_conv else _dense(edge, loop, is_timed, problems))
        if is_conv and loop is not None:
            problems.add(f"edge {loop.name!r}", "netx has loops only behind matrices")
        layer.update(_neuron(registers, problems))
        layers.append(layer)
        shape = registers.shape
    return layers


def _is_input_layer(net: Network, edge: IntegerEdge) -> bool:
    """Return whether an edge only passes the data to the neurons of the input layer."""
    connection = next(each for each in net.edges if each.name == edge.name)
    return not takes_step(net, connection) and not edge.delay_steps


def _dense(edge: IntegerEdge, loop: IntegerEdge | None, is_timed: bool, problems: Problems) -> dict[str, Any]:
    weight = _effective(edge, _as_matrix(edge), problems)
    content = {
        "type": _text("dense" if loop is None else "dense_rec"),
        "inFeatures": weight.shape[1],
        "outFeatures": weight.shape[0],
        "weight": weight,
    }
    delay = _delay(edge, is_timed, problems)
    if delay is not None and loop is not None:
        problems.add(
            f"edge {edge.name!r}", "netx drops the exponent of the weights where a loop and delays meet; leave one out"
        )
    elif delay is not None:
        content["delay"] = delay
    if loop is not None:
        if loop.delay_steps != 1 or loop.delay.ndim or isinstance(loop.connectivity, Convolution) or loop.before:
            problems.add(f"edge {loop.name!r}", "a loop of netx takes one step and is a matrix, such as Linear")
        else:
            content["weight_rec"] = _effective(loop, _as_matrix(loop), problems)
    return content


def _conv(edge: IntegerEdge, is_timed: bool, problems: Problems) -> dict[str, Any]:
    conv = edge.connectivity
    assert isinstance(conv, Convolution)  # _layers has checked
    if edge.delay_steps - is_timed:
        problems.add(
            f"edge {edge.name!r}",
            f"a delay of {edge.delay_steps} steps at a convolution; netx has only the step of each connection, which "
            f"is {'one of them' if is_timed else 'not part of the delay here'}. Leave the delay out",
        )
    return {
        "type": _text("conv"),
        "inChannels": conv.c_in,
        "outChannels": conv.c_out,
        "kernelSize": np.array(conv.kernel),
        "stride": np.array(conv.stride),
        "padding": np.array(conv.padding),
        "dilation": np.array(conv.dilation),
        "groups": conv.groups,
        "weight": _effective(edge, edge.weight, problems),
    }


def _as_matrix(edge: IntegerEdge) -> np.ndarray:
    if not isinstance(edge.connectivity, SparseRows):
        return edge.weight
    matrix: np.ndarray = replace(edge.connectivity, weight=torch.from_numpy(edge.weight)).matrix().numpy()
    return matrix


def _effective(edge: IntegerEdge, weight: np.ndarray, problems: Problems) -> np.ndarray:
    """Return the weights times two to their exponent, as float32."""
    where, exponent = f"edge {edge.name!r}", edge.exponent
    if exponent < 0 and (weight % 2**-exponent).any():
        problems.add(
            where,
            f"Shift({exponent}) rounds sums of weights that are no multiples of {2**-exponent}; a file has no "
            "exponents: quantise with weight_exponents=False",
        )
    values = weight << exponent if exponent >= 0 else weight >> -exponent
    if values.max(initial=0) > (254 if values.min(initial=0) < 0 else 255) or values.min(initial=0) < -256:
        problems.add(
            where,
            f"weights of {values.min()} to {values.max()} with their exponent; netx clips beyond -256 and 254: "
            "quantise with weight_exponents=False",
        )
    if not values.any():
        problems.add(where, "all weights are 0, by which netx divides; quantise to more bits, or leave the edge out")
    return values.astype(np.float32)


def _delay(edge: IntegerEdge, is_timed: bool, problems: Problems) -> np.ndarray | None:
    """Return the delays beyond the step that netx adds where `is_timed`."""
    delay = edge.delay + edge.delay_steps - is_timed
    if not delay.any():
        return None
    where = f"edge {edge.name!r}"
    if delay.max() > LONGEST_DELAY:
        problems.add(where, f"a delay of {delay.max()} steps; netx clips beyond {LONGEST_DELAY}")
    if delay.ndim == 0:
        return np.asarray(delay, np.float32)
    by_post, by_pre = _by_neuron(edge, delay)
    if by_post is not None:
        return by_post.astype(np.float32)
    if by_pre is not None and len(by_pre) != len(_as_matrix(edge)):
        return by_pre.astype(np.float32)
    problems.add(
        where,
        "its delays differ from synapse to synapse; a file has one for each neuron after, or, where the two "
        "populations differ in size, before",
    )
    return None


def _by_neuron(edge: IntegerEdge, delay: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the delays of the neurons after, and of those before; None where synapses of one neuron differ."""
    if isinstance(edge.connectivity, SparseRows):
        post, pre = edge.connectivity.post.numpy(), edge.connectivity.pre.numpy()
    else:
        post, pre = (axis.ravel() for axis in np.indices(delay.shape))
    by_neuron: list[np.ndarray | None] = []
    for neurons, size in zip((post, pre), _as_matrix(edge).shape, strict=True):
        each = np.zeros(size, np.int64)
        each[neurons] = delay.ravel()
        by_neuron.append(each if (each[neurons] == delay.ravel()).all() else None)
    return by_neuron[0], by_neuron[1]


def _neuron(registers: Registers, problems: Problems) -> dict[str, Any]:
    where = f"node {registers.name!r}"
    content: dict[str, Any] = {}
    bias = registers.bias_mant << registers.bias_exp
    if bias.any():
        mantissa = bias >> BIAS_EXPONENT
        if (bias % 2**BIAS_EXPONENT).any():
            problems.add(
                where,
                f"a bias of {bias[bias % 2**BIAS_EXPONENT != 0].flat[0]}; netx holds multiples of {2**BIAS_EXPONENT}: "
                f"quantise with bias_exponent={BIAS_EXPONENT}",
            )
        elif mantissa.min() < MANTISSA[0] or mantissa.max() > MANTISSA[1]:
            most = bias.flat[np.abs(bias).argmax()]
            problems.add(
                where,
                f"a bias of {most}; netx holds {MANTISSA[0]} to {MANTISSA[1]} times {2**BIAS_EXPONENT}: quantise with "
                f"bias_exponent={BIAS_EXPONENT}",
            )
        content["bias"] = _spread(mantissa, registers)
    if registers.v_th is None:
        if (registers.du != -1).any() or (registers.dv != 4096).any():
            problems.add(where, "never fires; netx holds such neurons only with du=-1 and dv=4096; give it a v_th")
        return content
    neuron = {"iDecay": registers.du + 1, "vDecay": registers.dv, "vThMant": registers.v_th}
    for key, value in neuron.items():
        if value.ndim and (len(registers.shape) > 1 or value.shape != registers.shape):
            problems.add(where, f"{key} differs from neuron to neuron of an image; make it one for all")
    if (registers.refractory != 1).any():
        problems.add(where, "a refractory delay, which netx drops; use refractory=1")
    content["neuron"] = {"type": "CUBA", **neuron, "refDelay": 1, "gradedSpike": False}
    return content


def _spread(bias: np.ndarray, registers: Registers) -> np.ndarray:
    """Return one bias for each neuron of a row or each channel of an image; else for each neuron, as (W, H, C)."""
    full = np.broadcast_to(bias, registers.shape)
    if full.ndim == 1:
        return np.ascontiguousarray(full)
    channels = full[:, 0, 0]
    if (full == channels[:, None, None]).all():
        return np.ascontiguousarray(channels)
    return np.ascontiguousarray(full.transpose(2, 1, 0))


def _text(name: str) -> np.ndarray:
    return np.array([name.encode()], "S10")


def _filled(shape: tuple[int, ...]) -> np.ndarray:
    return np.array((*shape, *(1,) * (3 - len(shape))))
