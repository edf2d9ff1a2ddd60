"""The configuration document of a Xylo: all registers and weights of the chip, as the maker's tools take them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import FileError, InputError
from neurosim.files.atomic import replaced
from neurosim.files.tables import read_json

WEIGHT = (-128, 127)
STATE = (-32768, 32767)
THRESHOLD = (1, 32767)
DASH = (0, 15)
SHIFT = (0, 7)
MOST_INPUT, MOST_HIDDEN, MOST_OUTPUT = 15, 31, 1
"""Most spikes of a step: of an input, a hidden neuron and an output neuron."""

# Keys of the document, those of the constructor of the maker's simulator, in its order.
FIELDS = (
    "synapses_in",
    "synapses_rec",
    "synapses_out",
    "aliases",
    "threshold",
    "threshold_out",
    "has_bias",
    "bias",
    "bias_out",
    "weight_shift_inp",
    "weight_shift_rec",
    "weight_shift_out",
    "dash_mem",
    "dash_mem_out",
    "dash_syns",
    "dash_syns_out",
    "name",
)


@dataclass(frozen=True, eq=False)
class XyloConfiguration:
    """The contents of a chip. All arrays are int64; wrong sizes and values out of range are refused.

    Attributes
    ----------
    weights_in : numpy.ndarray [inputs, hidden, 2]
        Weights onto the two synaptic currents of each hidden neuron, -128 ... 127.
    weights_rec : numpy.ndarray [hidden, hidden, 2]
        From the neuron of the first index to that of the second, one step late.
    weights_out : numpy.ndarray [hidden, outputs]
        One step late.
    aliases : numpy.ndarray [hidden]
        The neuron that each neuron copies its spikes to, -1 for none.
    threshold : numpy.ndarray [hidden]
        1 ... 32767.
    threshold_out : numpy.ndarray [outputs]
    bias : numpy.ndarray [hidden]
        Added to the membrane at each step, -32768 ... 32767.
    bias_out : numpy.ndarray [outputs]
    dash_mem : numpy.ndarray [hidden]
        Shift of the decay of the membrane, 0 ... 15: a step keeps about ``1 - 2^-dash`` of it.
    dash_mem_out : numpy.ndarray [outputs]
    dash_syn : numpy.ndarray [hidden, 2]
        Of the two synaptic currents.
    dash_syn_out : numpy.ndarray [outputs]
    shift_in, shift_rec, shift_out : int
        Weights are multiplied by two to this, 0 ... 7.
    name : str
    """

    weights_in: np.ndarray
    weights_rec: np.ndarray
    weights_out: np.ndarray
    aliases: np.ndarray
    threshold: np.ndarray
    threshold_out: np.ndarray
    bias: np.ndarray
    bias_out: np.ndarray
    dash_mem: np.ndarray
    dash_mem_out: np.ndarray
    dash_syn: np.ndarray
    dash_syn_out: np.ndarray
    shift_in: int = 0
    shift_rec: int = 0
    shift_out: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        shapes = _shapes(self.inputs, self.hidden, self.outputs)
        for field, (shape, (low, high)) in shapes.items():
            values = np.asarray(getattr(self, field))
            if values.shape != shape:
                raise InputError(f"XyloConfiguration: {field} must be of shape {shape}; got {values.shape}.")
            outside = values[~((values >= low) & (values <= high) & (values == np.trunc(values)))]
            if outside.size:
                raise InputError(
                    f"XyloConfiguration: {field} must hold integers from {low} to {high}; got {outside.flat[0]}."
                )
            object.__setattr__(self, field, values.astype(np.int64))
        for field in ("shift_in", "shift_rec", "shift_out"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or not SHIFT[0] <= value <= SHIFT[1]:
                raise InputError(
                    f"XyloConfiguration: {field} must be an integer from {SHIFT[0]} to {SHIFT[1]}; got {value!r}."
                )

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return int(np.shape(self.weights_in)[0])

    @property
    def hidden(self) -> int:
        """Number of hidden neurons."""
        return int(np.shape(self.aliases)[0])

    @property
    def outputs(self) -> int:
        """Number of output neurons."""
        return int(np.shape(self.threshold_out)[0])

    @property
    def has_bias(self) -> bool:
        """Whether a neuron has a bias; without one the chip skips the addition."""
        return bool(self.bias.any() or self.bias_out.any())

    def document(self) -> dict[str, Any]:
        """Return the document: plain values under the keys of `FIELDS`.

        A synapse is the list [target neuron, target synapse, weight], in a list for each presynaptic neuron.
        """
        return {
            "synapses_in": [_synapses(rows) for rows in self.weights_in],
            "synapses_rec": [_synapses(rows) for rows in self.weights_rec],
            "synapses_out": [_synapses(rows[:, None]) for rows in self.weights_out],
            "aliases": [[] if target < 0 else [int(target)] for target in self.aliases],
            "threshold": self.threshold.tolist(),
            "threshold_out": self.threshold_out.tolist(),
            "has_bias": self.has_bias,
            "bias": self.bias.tolist(),
            "bias_out": self.bias_out.tolist(),
            "weight_shift_inp": self.shift_in,
            "weight_shift_rec": self.shift_rec,
            "weight_shift_out": self.shift_out,
            "dash_mem": self.dash_mem.tolist(),
            "dash_mem_out": self.dash_mem_out.tolist(),
            "dash_syns": self.dash_syn.tolist(),
            "dash_syns_out": self.dash_syn_out[:, None].tolist(),
            "name": self.name,
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the document as JSON text, and write it to `path` if given, completely or not at all."""
        fields = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in self.document().items())
        text = "{\n" + ",\n".join(fields) + "\n}\n"
        if path is not None:
            with replaced(path) as part:
                part.write_text(text, encoding="utf-8")
        return text

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> XyloConfiguration:
        """Read a document from a JSON file.

        Raises
        ------
        FileError
            When the file is missing, no JSON, lacks a key, or holds values that no chip has; with the key.
        """
        table = read_json(Path(path))
        if not isinstance(table, Mapping) or set(table) != set(FIELDS):
            found = sorted(table) if isinstance(table, Mapping) else type(table).__name__
            raise FileError(f"{path}: a Xylo configuration has the keys {', '.join(FIELDS)}; found {found}.")
        try:
            return _configuration(table)
        except (InputError, ValueError, TypeError, IndexError, OverflowError) as error:
            raise FileError(f"{path} holds no Xylo configuration: {error}") from error


def _shapes(inputs: int, hidden: int, outputs: int) -> dict[str, tuple[tuple[int, ...], tuple[int, int]]]:
    """Return shape and range of each array."""
    return {
        "weights_in": ((inputs, hidden, 2), WEIGHT),
        "weights_rec": ((hidden, hidden, 2), WEIGHT),
        "weights_out": ((hidden, outputs), WEIGHT),
        "aliases": ((hidden,), (-1, hidden - 1)),
        "threshold": ((hidden,), THRESHOLD),
        "threshold_out": ((outputs,), THRESHOLD),
        "bias": ((hidden,), STATE),
        "bias_out": ((outputs,), STATE),
        "dash_mem": ((hidden,), DASH),
        "dash_mem_out": ((outputs,), DASH),
        "dash_syn": ((hidden, 2), DASH),
        "dash_syn_out": ((outputs,), DASH),
    }


def _synapses(rows: np.ndarray) -> list[list[int]]:
    return [[int(target), int(synapse), int(rows[target, synapse])] for target, synapse in np.argwhere(rows)]


def _configuration(table: Mapping[str, Any]) -> XyloConfiguration:
    hidden, outputs = len(table["threshold"]), len(table["threshold_out"])
    aliases = np.full(hidden, -1)
    for number, targets in enumerate(table["aliases"]):
        if len(targets) > 1:
            raise InputError(f"aliases: neuron {number} has {targets}; a neuron of the chip has one alias at most")
        if targets:
            aliases[number] = _integer("aliases", targets[0], 0, hidden - 1)
    if len(table["aliases"]) != hidden or len(table["synapses_rec"]) != hidden or len(table["synapses_out"]) != hidden:
        raise InputError(f"aliases, synapses_rec and synapses_out must have an entry for each of {hidden} neurons")
    if not isinstance(table["has_bias"], bool):
        raise InputError(f"has_bias must be true or false; got {table['has_bias']!r}")
    biases = {key: table[key] if table["has_bias"] else np.zeros_like(table[key]) for key in ("bias", "bias_out")}
    if any(len(each) != 1 for each in table["dash_syns_out"]):
        raise InputError("dash_syns_out: an output neuron has one synaptic current")
    return XyloConfiguration(
        weights_in=_weights(table["synapses_in"], hidden, 2),
        weights_rec=_weights(table["synapses_rec"], hidden, 2),
        weights_out=_weights(table["synapses_out"], outputs, 1)[..., 0],
        aliases=aliases,
        threshold=np.asarray(table["threshold"]),
        threshold_out=np.asarray(table["threshold_out"]),
        bias=np.asarray(biases["bias"]),
        bias_out=np.asarray(biases["bias_out"]),
        dash_mem=np.asarray(table["dash_mem"]),
        dash_mem_out=np.asarray(table["dash_mem_out"]),
        dash_syn=np.asarray(table["dash_syns"]),
        dash_syn_out=np.asarray(table["dash_syns_out"])[:, 0],
        shift_in=table["weight_shift_inp"],
        shift_rec=table["weight_shift_rec"],
        shift_out=table["weight_shift_out"],
        name=str(table["name"]),
    )


def _integer(what: str, value: object, low: float = -math.inf, high: float = math.inf) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{what} must be an integer; got {value!r}")
    if not low <= value <= high:
        raise InputError(f"{what} must be an integer from {low} to {high}; got {value}")
    return value


def _weights(synapses: list[list[list[int]]], targets: int, currents: int) -> np.ndarray:
    weights = np.zeros((len(synapses), targets, currents), np.int64)
    for pre, rows in enumerate(synapses):
        for entry in rows:
            if not isinstance(entry, list) or len(entry) != 3:
                raise InputError(f"a synapse of {pre} is {entry!r}; it must be [target neuron, target synapse, weight]")
            target, synapse = (_integer(f"the target of a synapse of {pre}", each) for each in entry[:2])
            weight = _integer(f"the weight of a synapse of {pre}", entry[2], *WEIGHT)
            if not (0 <= target < targets and 0 <= synapse < currents):
                raise InputError(f"a synapse of {pre} goes to current {synapse} of neuron {target}, which is not there")
            if weights[pre, target, synapse]:
                raise InputError(f"two synapses go from {pre} to current {synapse} of neuron {target}; give their sum")
            weights[pre, target, synapse] = weight
    return weights
