"""Write lava-dl's ``.net`` format with h5py alone."""

from __future__ import annotations

import os
from typing import Any

import h5py
import numpy as np

from neurosim.errors import ExportError
from neurosim.files.atomic import replaced
from neurosim.hardware.loihi import Connection, Description, Registers, describe
from neurosim.hardware.netx.reading import BIAS_EXPONENT, LONGEST_DELAY
from neurosim.network.network import Network
from neurosim.synapses import Conv2d, Flatten, Linear, RoundedDelays, Sparse


def write_netx(net: Network, path: str | os.PathLike[str]) -> None:
    """Write an integer network as lava-dl's netx reads it.

    Parameters
    ----------
    net : Network
        In Loihi's whole numbers (`neurosim.hardware.loihi.describe`): populations in a row behind one input, joined by
        `Linear`, `Sparse`, `RoundedDelays` or `Conv2d`; each dense one may have a loop of one step.
    path : path-like
        By custom ending in ``.net``; an earlier file is replaced once the new one is complete.

    Raises
    ------
    ExportError
        With everything that netx cannot hold: node or edge, value, and what to change.
    FileError
        When it cannot be written.

    Notes
    -----
    netx gives each layer a step of its own and works out weight bits and exponents again; neither is in the file.
    """
    described = describe(net)
    problems: list[str] = []
    row = _row(net, described, problems)
    layers = [] if problems else _layers(net, row, described, problems)
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise ExportError(f"netx cannot hold this network:\n{listed}")
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


def _row(net: Network, described: Description, problems: list[str]) -> list[tuple[Connection, Connection | None]]:
    """Return the connection into each population in a row, and its loop where it has one."""
    if len(net.inputs) != 1:
        problems.append(f"the network has the inputs {list(net.inputs)}; a file has one")
        return []
    row = []
    before = net.inputs[0]
    for name in described.populations:
        into = [c for c in described.connections.values() if c.target == name]
        loops = [c for c in into if c.source == name]
        from_before = [c for c in into if c.source == before]
        if len(from_before) != 1 or len(loops) > 1 or len(into) != len(loops) + 1:
            listed = ", ".join(c.name for c in into)
            problems.append(
                f"node {name!r}: its edges are {listed}; a file has one, from {before!r}, and at most one loop"
            )
        else:
            row.append((from_before[0], loops[0] if loops else None))
        before = name
    if net.output != before:
        problems.append(f"the output is {net.output!r}; it must be the last population, {before!r}")
    return row


def _layers(
    net: Network, row: list[tuple[Connection, Connection | None]], described: Description, problems: list[str]
) -> list[dict[str, Any]]:
    shape = net.shape(net.inputs[0])
    layers: list[dict[str, Any]] = [{"type": _text("input"), "shape": _filled(shape)}]
    for connection, loop in row:
        registers = described.populations[connection.target]
        if any(not isinstance(one, Flatten) for one in connection.before):
            problems.append(f"edge {connection.name!r}: netx has no pooling; use a convolution with a stride")
            continue
        if connection.before:
            layers.append({"type": _text("flatten"), "shape": _filled((int(np.prod(shape)),))})
        is_conv = isinstance(connection.synapse, Conv2d)
        if not is_conv and not isinstance(connection.synapse, (Linear, Sparse, RoundedDelays)):
            kind = type(connection.synapse).__name__
            problems.append(f"edge {connection.name!r}: netx has no {kind}; write it as Conv2d or Linear")
            continue
        layer: dict[str, Any] = {"shape": _filled(registers.shape)}
        layer.update(_conv(connection, problems) if is_conv else _dense(connection, loop, problems))
        if is_conv and loop is not None:
            problems.append(f"edge {loop.name!r}: netx has loops behind dense layers alone")
        layer.update(_neuron(registers, problems))
        layers.append(layer)
        shape = registers.shape
    return layers


def _dense(connection: Connection, loop: Connection | None, problems: list[str]) -> dict[str, Any]:
    weight = _effective(connection, _as_matrix(connection), problems)
    content = {
        "type": _text("dense" if loop is None else "dense_rec"),
        "inFeatures": weight.shape[1],
        "outFeatures": weight.shape[0],
        "weight": weight,
    }
    delay = _delay(connection, problems)
    if delay is not None and loop is not None:
        problems.append(
            f"edge {connection.name!r}: netx drops the weights' exponent where a loop and delays meet; leave one out"
        )
    elif delay is not None:
        content["delay"] = delay
    if loop is not None:
        if loop.delay_steps != 1 or not isinstance(loop.synapse, (Linear, Sparse)) or loop.before:
            problems.append(f"edge {loop.name!r}: a loop of netx takes one step and is Linear or Sparse")
        else:
            content["weight_rec"] = _effective(loop, _as_matrix(loop), problems)
    return content


def _conv(connection: Connection, problems: list[str]) -> dict[str, Any]:
    conv = connection.synapse
    assert isinstance(conv, Conv2d)  # _layers has looked
    if connection.delay_steps:
        problems.append(f"edge {connection.name!r}: netx has no delayed convolution")
    return {
        "type": _text("conv"),
        "inChannels": conv.c_in,
        "outChannels": conv.c_out,
        "kernelSize": np.array(conv.kernel),
        "stride": np.array(conv.stride),
        "padding": np.array(conv.padding),
        "dilation": np.array(conv.dilation),
        "groups": conv.groups,
        "weight": _effective(connection, connection.weight, problems),
    }


def _as_matrix(connection: Connection) -> np.ndarray:
    if not isinstance(connection.synapse, Sparse):
        return connection.weight
    sparse = connection.synapse
    matrix = np.zeros((sparse.n_out, sparse.n_in), np.int64)
    post, pre = sparse.connections.cpu().numpy()
    np.add.at(matrix, (post, pre), connection.weight)  # a file has one weight for a pair of neurons
    return matrix


def _effective(connection: Connection, weight: np.ndarray, problems: list[str]) -> np.ndarray:
    """Return the weights with their exponent worked in, as float32."""
    where, exponent = f"edge {connection.name!r}", connection.exponent
    if exponent < 0 and (weight % 2**-exponent).any():
        problems.append(
            f"{where}: Shift({exponent}) rounds sums of weights that are no multiples of {2**-exponent}; a file has no "
            "exponents"
        )
    values = weight << exponent if exponent >= 0 else weight >> -exponent
    if values.max(initial=0) > (254 if values.min(initial=0) < 0 else 255) or values.min(initial=0) < -256:
        problems.append(
            f"{where}: weights of {values.min()} to {values.max()} with their exponent; netx clips beyond -256 and 254"
        )
    if not values.any():
        problems.append(f"{where}: all weights are 0, by which netx divides; leave the edge out")
    return values.astype(np.float32)


def _delay(connection: Connection, problems: list[str]) -> np.ndarray | None:
    delay = connection.delay + connection.delay_steps
    if not delay.any():
        return None
    where = f"edge {connection.name!r}"
    if delay.max() > LONGEST_DELAY:
        problems.append(f"{where}: a delay of {delay.max()} steps; netx clips beyond {LONGEST_DELAY}")
    if delay.ndim == 0:
        return np.asarray(delay, np.float32)
    if (delay == delay[:, :1]).all():
        return delay[:, 0].astype(np.float32)
    if (delay == delay[:1]).all() and delay.shape[0] != delay.shape[1]:
        return delay[0].astype(np.float32)
    problems.append(
        f"{where}: its delays differ from synapse to synapse; a file has one for each neuron after, or, where the two "
        "populations differ in size, before"
    )
    return None


def _neuron(registers: Registers, problems: list[str]) -> dict[str, Any]:
    where = f"node {registers.name!r}"
    content: dict[str, Any] = {}
    bias = registers.bias_mant << registers.bias_exp
    if bias.any():
        mantissa = bias >> BIAS_EXPONENT
        if (bias % 2**BIAS_EXPONENT).any():
            problems.append(f"{where}: a bias of {bias.flat[0]}; netx holds multiples of {2**BIAS_EXPONENT}")
        content["bias"] = _spread(mantissa, registers)
    if registers.v_th is None:
        if (registers.du != -1).any() or (registers.dv != 4096).any():
            problems.append(
                f"{where}: never fires; netx holds such neurons with du=-1 and dv=4096 alone; give it a v_th"
            )
        return content
    neuron = {"iDecay": registers.du + 1, "vDecay": registers.dv, "vThMant": registers.v_th}
    for key, value in neuron.items():
        if value.ndim and (len(registers.shape) > 1 or value.shape != registers.shape):
            problems.append(f"{where}: {key} differs from neuron to neuron of an image; make it one for all")
    if (registers.refractory != 1).any():
        problems.append(f"{where}: a refractory delay, which netx drops; use refractory=1")
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
