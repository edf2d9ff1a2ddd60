"""Read lava-dl's ``.net`` format: an HDF5 file of layers in sequence, their weights, delays and neurons."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import FileError, NeurosimError
from neurosim.files.untrusted_hdf5 import Group, opened
from neurosim.hardware.loihi import loihi_neurons, storage
from neurosim.hardware.netx.timing import connection_steps
from neurosim.network.graph import Edge, Input
from neurosim.network.network import Network
from neurosim.network.population import Population
from neurosim.synapses import Conv2d, Flatten, Identity, Linear, RoundedDelays, Synapse
from neurosim.synapses.shift import Shift

LONGEST_DELAY = 62  # what netx clips to
BIAS_EXPONENT = 6
_WHAT = "a network of lava-dl"
# Layers that netx itself does not run.
_NOT_RUN = ("average", "pool", "unpool", "convT", "concat")
_WITH_WEIGHTS = ("dense", "dense_rec", "conv")
_CUBA = ("CUBA", "LOIHI")


def read_netx(
    path: str | os.PathLike[str],
    *,
    dt: float = 1e-3,
    layers: int | None = None,
    input_shape: int | Sequence[int] | None = None,
    chip_timing: bool | None = None,
) -> Network:
    """Read a network that lava-dl exported, as netx runs it on Loihi.

    Parameters
    ----------
    path : path-like
        A ``.net`` file.
    dt : float
        Time of a step, s; netx does not use the file's own either.
    layers : int, optional
        Number of layers to read, from the first on, an input layer included.
    input_shape : int or sequence of int, optional
        Shape of the input, for a file without an input layer. A dense first layer does not need it: its weights have
        the number of inputs.
    chip_timing : bool, optional
        Whether each connection takes a step, as on the chip; see `neurosim.hardware.netx.connection_steps`. If left
        out, only for a file with biases. On the chip a bias acts from the first step, k steps before the data
        reach layer k, which changes the spikes; without biases the output is only k steps later. False: biases act
        when the data arrive, which is not what the chip computes.

    Returns
    -------
    Network
        An integer network (`neurosim.hardware.loihi.describe`): an input and a population for each layer of neurons,
        named ``layer1``, ``layer2`` ... by their numbers in the file. Single precision; an error of a layer says where
        ``.double()`` is needed.

    Raises
    ------
    FileError
        When the file is missing, damaged, or no such network (with the place in it and the fault), or holds what netx
        does not run: pooling, averages, graded spikes, neurons that are not current-based and leaky.
    """
    with opened(path, what=_WHAT) as root:
        group = root.group("layer")
        count = len(group.names)
        wrong = sorted(set(group.names) - {str(k) for k in range(count)})
        if wrong or not count:
            raise root.refusal("layer", f"must hold layers 0 to n - 1; it has {wrong[0] if wrong else 'none'!r}.")
        if layers is not None and not 1 <= layers <= count:
            raise root.refusal("layer", f"holds {count} layers; layers must be 1 to {count}, got {layers}.")
        row = _Row(dt, input_shape)
        for k in range(count if layers is None else layers):
            row.add(k, group.group(str(k)), group.group(str(k + 1)).text("type") if k + 1 < count else "")
        try:
            net = row.network()
        except NeurosimError as error:
            raise root.refusal("layer", f"does not form a network: {error}") from error
    return connection_steps(net) if (row.has_bias if chip_timing is None else chip_timing) else net


@dataclass
class _Row:
    """The network read so far."""

    dt: float
    input_shape: int | Sequence[int] | None
    nodes: dict[str, Input | Population] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    flatten: bool = False
    has_bias: bool = False

    def add(self, k: int, layer: Group, after: str) -> None:
        """Read layer `k`; `after` is the type of the next one."""
        kind = layer.text("type")
        if kind == "input" and k:
            raise layer.refusal("type", f"is {kind!r}; only the first layer can be an input.")
        if kind in _NOT_RUN:
            rest = f"Pass layers={k} to read what comes before it." if k else ""
            raise layer.refusal("type", f"is {kind!r}, which netx does not run. {rest}")
        if kind not in ("input", "flatten", *_WITH_WEIGHTS):
            raise layer.refusal("type", f"is {kind!r}; input, flatten, dense, dense_rec and conv are read.")
        if kind == "input":
            self._input(layer, after)
        elif not k:
            self._input_of(layer, kind)
        if kind == "flatten":
            self.flatten = True
        elif kind == "conv":
            self._conv(k, layer)
        elif kind != "input":
            self._dense(k, layer, recurrent=kind == "dense_rec")

    def network(self) -> Network:
        """Return the network of all layers read."""
        if len(self.nodes) < 2:
            raise FileError("it holds no layer of neurons; read more layers.")
        return Network(self.nodes, self.edges)

    def _input(self, layer: Group, after: str) -> None:
        """Read an input layer, and its neurons where it has some."""
        if self.input_shape is not None:
            raise layer.refusal("type", "is 'input', which has the shape of the input; leave input_shape out.")
        shape = _shape(layer)
        # [N, 1, 1] is N neurons, or an image of one pixel.
        self.shape = shape if after in ("conv", "flatten") or any(n != 1 for n in shape[1:]) else shape[:1]
        self.nodes["input"] = Input(self.shape)
        if "neuron" in layer:
            self._join(0, layer, [Identity()], self.shape, None)

    def _input_of(self, layer: Group, kind: str) -> None:
        """Make the input of a file whose first layer has weights, as plain exports of SLAYER do."""
        shape = self.input_shape
        if shape is None and kind in ("dense", "dense_rec"):
            weight = layer.integers("weight")
            shape = weight.shape[1] if weight.ndim > 1 else weight.size // math.prod(_shape(layer))
        if shape is None:
            raise layer.refusal(
                "type", f"is {kind!r}, and no input layer is before it; pass input_shape=(C, H, W) to read_netx."
            )
        try:
            source = Input(shape)
        except NeurosimError as error:
            raise layer.refusal("", f"has no input: {error}") from error
        self.nodes["input"], self.shape = source, source.shape

    def _dense(self, k: int, layer: Group, *, recurrent: bool) -> None:
        before = [Flatten()] if self.flatten or len(self.shape) > 1 else []
        if any(n != 1 for n in self.shape[1:]) and not self.flatten:
            raise layer.refusal(
                "type", f"is dense, but its input is {list(self.shape)}; a flatten layer must be before it."
            )
        n_in, n_out = math.prod(self.shape), math.prod(_shape(layer))
        for name, size in (("inFeatures", n_in), ("outFeatures", n_out)):
            if name in layer and layer.integer(name) != size:
                raise layer.refusal(name, f"is {layer.integer(name)}, where {size} is expected.")
        weight = _matrix(layer, "weight", n_out, n_in)
        loop = _matrix(layer, "weight_rec", n_out, n_out) if recurrent else None
        exponent = _exponent(layer, weight, loop)
        delay = _delay(layer, n_out, n_in) if "delay" in layer else None
        if delay is not None and recurrent:
            raise layer.refusal("delay", "is in a recurrent layer, where netx drops the exponent of the weights.")
        if isinstance(delay, Tensor):
            synapse: Synapse = RoundedDelays(_scaled(weight, exponent), delay, dt=self.dt)
        else:
            synapse = _linear(weight, exponent)
        after = [Shift(-exponent)] if exponent else []
        late = delay * self.dt if isinstance(delay, int) and delay else None
        name = self._join(k, layer, [*before, synapse, *after], (n_out,), late)
        if loop is not None:
            self.edges.append(Edge(name, name, [_linear(loop, exponent), *after]))

    def _conv(self, k: int, layer: Group) -> None:
        if self.flatten or len(self.shape) != 3:
            raise layer.refusal("type", f"is conv, but its input is no image: {list(self.shape)}.")
        if "delay" in layer:
            raise layer.refusal("delay", "is in a convolution, which netx runs without delays.")
        shape = _shape(layer)
        weight = _without_time(layer, "weight", 4)
        c_out, c_in, *kernel = weight.shape
        stride, padding, dilation = (_pair(layer, name) for name in ("stride", "padding", "dilation"))
        groups = layer.integer("groups", low=1) if "groups" in layer else 1
        try:
            conv = Conv2d(
                c_in * groups,
                c_out,
                (kernel[0], kernel[1]),
                stride=stride,
                padding=padding,
                dilation=dilation,
                groups=groups,
            )
            computed = conv.output_shape(self.shape)
        except NeurosimError as error:
            raise layer.refusal("", f"is no convolution of {list(self.shape)}: {error}") from error
        if computed != shape:
            raise layer.refusal("shape", f"is {list(shape)}; the convolution gives {list(computed)}.")
        exponent = _exponent(layer, weight)
        with torch.no_grad():
            conv.weight.copy_(_scaled(weight, exponent))
        self._join(k, layer, [conv, *([Shift(-exponent)] if exponent else [])], shape, None)

    def _join(self, k: int, layer: Group, synapses: list[Synapse], shape: tuple[int, ...], delay: float | None) -> str:
        name, before = f"layer{k}", list(self.nodes)[-1]
        try:
            self.nodes[name] = _neurons(layer, shape, self.dt)
        except NeurosimError as error:
            if isinstance(error, FileError):
                raise
            raise layer.refusal("neuron", f"is out of range: {error}") from error
        self.has_bias |= "bias" in layer and bool(layer.integers("bias").any())
        self.edges.append(Edge(before, name, synapses, delay))
        self.shape, self.flatten = shape, False
        return name


def _shape(layer: Group) -> tuple[int, ...]:
    """Return the shape: [N, 1, 1] of a dense layer is N neurons, and of a convolution an image of one pixel."""
    values = layer.integers("shape", shape=(None,)).tolist()
    if not 1 <= len(values) <= 3 or min(values) < 1:
        raise layer.refusal("shape", f"is {values}; one to three numbers from 1 are expected.")
    return tuple(values)


def _without_time(layer: Group, name: str, axes: int) -> np.ndarray:
    """Return integers with this number of axes; further axes, of time and place, must have length 1."""
    values = layer.integers(name)
    if values.ndim < axes or any(n != 1 for n in values.shape[axes:]):
        raise layer.refusal(name, f"is of shape {list(values.shape)}, where {axes} axes are expected.")
    return values.reshape(values.shape[:axes])


def _matrix(layer: Group, name: str, n_out: int, n_in: int) -> np.ndarray:
    values = layer.integers(name)
    flat = values.reshape(n_out, -1) if values.ndim == 1 and values.size % n_out == 0 else None
    matrix = _without_time(layer, name, 2) if flat is None else flat
    if matrix.shape != (n_out, n_in):
        raise layer.refusal(name, f"is of shape {list(values.shape)}, where [{n_out}, {n_in}] is expected.")
    return matrix


def _exponent(layer: Group, *weights: np.ndarray | None) -> int:
    """Return by how many bits weights are shifted up, and their sums down again, so that a synapse holds them.

    Where signs mix a synapse holds even numbers only; odd ones up to 127 are stored doubled.
    """
    joined = torch.from_numpy(np.concatenate([w.ravel() for w in weights if w is not None])).double()
    for exponent in range(8):
        if storage(joined * 2**exponent)[1]:
            return exponent
    low, high = int(joined.min()), int(joined.max())
    raise layer.refusal(
        "weight",
        f"holds weights from {low} to {high}; at most 255, at least -255, or where signs mix even ones from -256 to "
        "254 and odd ones from -128 to 127 are held.",
    )


def _scaled(weight: np.ndarray, exponent: int) -> Tensor:
    return torch.from_numpy(weight << exponent).float()


def _linear(weight: np.ndarray, exponent: int) -> Linear:
    synapse = Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        synapse.weight.copy_(_scaled(weight, exponent))
    return synapse


def _delay(layer: Group, n_out: int, n_in: int) -> int | Tensor:
    """Return one delay for all synapses, or one for each [n_out, n_in]."""
    values = layer.integers("delay")
    outside = values[(values < 0) | (values > LONGEST_DELAY)]
    if outside.size:
        raise layer.refusal("delay", f"holds {outside.flat[0]} steps; 0 to {LONGEST_DELAY} are held.")
    values = values.squeeze()
    if values.ndim == 0:
        return int(values)
    # Where both sizes agree the delays belong to the neurons of this layer, as in netx.
    if values.shape == (n_out,):
        spread = np.repeat(values[:, None], n_in, 1)
    elif values.shape == (n_in,):
        spread = np.repeat(values[None], n_out, 0)
    elif values.shape == (n_out, n_in):
        spread = values
    else:
        raise layer.refusal("delay", f"is of shape {list(values.shape)}; one number, {n_out} or {n_in} are expected.")
    return torch.from_numpy(spread)


def _pair(layer: Group, name: str) -> tuple[int, int]:
    values = layer.integers(name).ravel().tolist()
    if len(values) not in (1, 2):
        raise layer.refusal(name, f"holds {len(values)} numbers, where one or two are expected.")
    return values[0], values[-1]


def _neurons(layer: Group, shape: tuple[int, ...], dt: float) -> Population:
    bias = _bias(layer, shape) if "bias" in layer else 0
    if "neuron" not in layer:
        # netx: a current without decay, and a threshold above any voltage.
        return loihi_neurons(dt=dt, du=-1, dv=4096, v_th=None, bias_mant=bias, bias_exp=BIAS_EXPONENT, size=shape)
    neuron = layer.group("neuron")
    kind = neuron.text("type")
    if kind not in _CUBA:
        raise neuron.refusal("type", f"is {kind!r}; {' and '.join(_CUBA)} are read.")
    if "messageBits" in neuron and neuron.integer("messageBits", low=0):
        raise neuron.refusal("messageBits", "is above 0: graded spikes are not read.")
    if "gradedSpike" in neuron and neuron.integers("gradedSpike").any():
        raise neuron.refusal("gradedSpike", "is true: graded spikes are not read.")
    if "refDelay" in neuron and neuron.integers("refDelay").max(initial=1) > 1:
        raise neuron.refusal("refDelay", "is above 1: netx ignores it, so its meaning is not defined. Write 1 there.")
    values = {key: _values(neuron, key, shape) for key in ("iDecay", "vDecay", "vThMant")}
    return loihi_neurons(
        dt=dt,
        du=values["iDecay"] - 1,
        dv=values["vDecay"],
        v_th=values["vThMant"],
        bias_mant=bias,
        bias_exp=BIAS_EXPONENT,
        size=shape,
    )


def _values(neuron: Group, key: str, shape: tuple[int, ...]) -> Any:
    """Return the content of a register: one number for all, or a tensor with one for each neuron of a row."""
    values = neuron.integers(key)
    if values.size == 1:
        return int(values.flat[0])
    if len(shape) > 1 or values.shape != shape:
        raise neuron.refusal(key, f"is of shape {list(values.shape)}; one number, or one for each of {list(shape)}.")
    return torch.from_numpy(values)


def _bias(layer: Group, shape: tuple[int, ...]) -> Any:
    values = layer.integers("bias")
    if values.size == 1:
        return int(values.flat[0])
    if values.shape == shape[:1]:
        return torch.from_numpy(values).reshape(shape[:1] + (1,) * (len(shape) - 1))
    if len(shape) == 3 and values.shape == shape[::-1]:  # one for each neuron, in Lava's order of axes
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 1, 0)))
    raise layer.refusal("bias", f"is of shape {list(values.shape)}; {shape[0]} numbers are expected.")
