"""A Lava process graph as plain data: numbers and arrays in Lava's own layout, in one npz file without pickle.

Shapes are Lava's: images are (width, height, channels), all others as in the network. This file needs only the standard
library and numpy.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

FORMAT = "neurosim-lava-3"
LARGEST = 2**31  # bytes of a graph file, unpacked


@dataclass(frozen=True)
class SourceProcess:
    """An input: a ring buffer that sends one column per step."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class PopulationProcess:
    """A population, as a neuron process of Lava.

    Attributes
    ----------
    shape : tuple of int
        Lava layout.
    latency : int
        Lava step at which the first data arrive; the simulator's step t is the Lava step ``t + latency``.
    process : str
        Class of lava-nc, such as ``"LIF"``.
    arguments : dict of str to numpy.ndarray
        Arguments of its constructor, zero-dimensional where all neurons share them, else of `shape`. For ``LIF``:
        ``u = u (1-du) + a; v = v (1-dv) + u + bias_mant; spike if v > vth; v = 0``, starting from the voltage `v`.
    """

    name: str
    shape: tuple[int, ...]
    latency: int
    process: str = "LIF"
    arguments: dict[str, np.ndarray] = field(default_factory=dict)

    def argument(self, name: str) -> np.ndarray:
        """Return an argument of the constructor, 0 if it is not there."""
        return self.arguments.get(name, np.zeros(()))


@dataclass(frozen=True)
class DenseProcess:
    """All-to-all weights [out, in]; images are read in channel, height, width order. Takes ``1 + delay`` steps.

    Attributes
    ----------
    delay : numpy.ndarray of int64
        Zero-dimensional, or [out, in] where synapses have delays of their own.
    exponent, bits, signs
        For fixed-point models: the exponent of the power of two that multiplies the sums, the bits of a weight, and
        ``"excitatory"``, ``"inhibitory"`` or ``"mixed"``.
    """

    name: str
    source: str
    target: str
    weight: np.ndarray
    delay: np.ndarray = field(default_factory=lambda: np.zeros((), np.int64))
    exponent: int = 0
    bits: int = 8
    signs: str = "mixed"


@dataclass(frozen=True)
class SparseProcess:
    """Weights listed one by one: ``weight[k]`` from neuron ``pre[k]`` to ``post[k]``.

    Attributes
    ----------
    shape : tuple of int
        Numbers of neurons (post, pre).
    post, pre, delay : numpy.ndarray of int64
        One for each connection; `delay` may be zero-dimensional.
    exponent, bits, signs
        As in `DenseProcess`.
    """

    name: str
    source: str
    target: str
    shape: tuple[int, ...]
    post: np.ndarray
    pre: np.ndarray
    weight: np.ndarray
    delay: np.ndarray = field(default_factory=lambda: np.zeros((), np.int64))
    exponent: int = 0
    bits: int = 8
    signs: str = "mixed"


@dataclass(frozen=True)
class ConvProcess:
    """A true convolution, kernel [out channels, width, height, in channels / groups]; pairs are (width, height)."""

    name: str
    source: str
    target: str
    weight: np.ndarray
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


@dataclass(frozen=True)
class LearningProcess:
    """All-to-all weights [out, in] that learn from pairs of spikes, in floating point.

    Each step the traces ``x <- exp(-1/tau_plus) x + s_pre`` and ``y <- exp(-1/tau_minus) y + s_post`` change the weight
    by ``a_plus x s_post - a_minus y s_pre``, with s_post as it returns to the synapse one step later. With a `rate`
    the change is added to an eligibility e instead, ``e <- decay e``, and the weight changes by rate times reward
    times e.

    Attributes
    ----------
    tau_plus, tau_minus : float
        In steps.
    rate : float or None
        None without a reward.
    """

    name: str
    source: str
    target: str
    weight: np.ndarray
    a_plus: float
    a_minus: float
    tau_plus: float
    tau_minus: float
    rate: float | None = None
    decay: float = 0.0


@dataclass(frozen=True)
class BiasCurrent:
    """A constant current `weight` [neurons, in Lava's order] into `target` from its first data step on.

    Attributes
    ----------
    once : bool
        Only at the first data step.
    """

    target: str
    weight: np.ndarray
    once: bool = False

    @property
    def name(self) -> str:
        """Unique name of this current."""
        return f"{self.target} {'once' if self.once else 'always'}"


@dataclass(frozen=True)
class LavaGraph:
    """All processes of a network.

    Attributes
    ----------
    model : str
        Which of Lava's process models run: ``"floating_pt"`` or ``"fixed_pt"``.
    """

    sources: tuple[SourceProcess, ...]
    populations: tuple[PopulationProcess, ...]
    dense: tuple[DenseProcess, ...] = ()
    conv: tuple[ConvProcess, ...] = ()
    bias_currents: tuple[BiasCurrent, ...] = ()
    sparse: tuple[SparseProcess, ...] = ()
    learning: tuple[LearningProcess, ...] = ()
    model: str = "floating_pt"

    @property
    def latency(self) -> int:
        """Steps that Lava needs beyond those of the input."""
        return max(population.latency for population in self.populations)

    def population(self, name: str) -> PopulationProcess:
        """Return the population of that name."""
        return next(population for population in self.populations if population.name == name)


_PARTS: dict[str, type] = {
    "sources": SourceProcess,
    "populations": PopulationProcess,
    "dense": DenseProcess,
    "conv": ConvProcess,
    "bias_currents": BiasCurrent,
    "sparse": SparseProcess,
    "learning": LearningProcess,
}


def write(graph: LavaGraph, stream: BinaryIO) -> None:
    """Write `graph` as one npz: the arrays, and a JSON text with the place of each."""
    arrays: dict[str, Any] = {}
    text: dict[str, Any] = {"format": FORMAT, "model": graph.model}
    for part in _PARTS:
        text[part] = [_plain(asdict(item), f"{part}.{k}", arrays) for k, item in enumerate(getattr(graph, part))]
    arrays["graph"] = np.array(json.dumps(text))
    np.savez(stream, **arrays)


def read(path: str | Path) -> LavaGraph:
    """Read what `write` wrote; nothing in the file is executed.

    Raises
    ------
    ValueError
        If the file has another format, is damaged, or is larger than 2 GiB unpacked.
    OSError
        If it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST:
            raise ValueError(f"it unpacks to {size:,} bytes; {LARGEST:,} are allowed")
        with np.load(path, allow_pickle=False) as arrays:
            text = json.loads(str(arrays["graph"])) if "graph" in arrays else {}
            if text.get("format") != FORMAT:
                raise ValueError(f"it holds {text.get('format')!r}")
            parts = {part: tuple(_restored(kind, item, arrays) for item in text[part]) for part, kind in _PARTS.items()}
        return LavaGraph(**parts, model=text["model"])
    except (AttributeError, EOFError, KeyError, MemoryError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a {FORMAT} graph ({error}); it was not changed") from error


def _plain(item: dict[str, Any], place: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    for key, value in item.items():
        if isinstance(value, np.ndarray):
            arrays[f"{place}.{key}"] = value
            item[key] = {"array": f"{place}.{key}"}
        elif isinstance(value, dict):
            item[key] = {"arrays": _plain(value, f"{place}.{key}", arrays)}
    return item


def _restored(kind: type, item: dict[str, Any], arrays: Any) -> Any:
    values: dict[str, Any] = {}
    for f in fields(kind):
        value = item[f.name]
        if isinstance(value, dict) and "arrays" in value:
            value = {key: np.array(arrays[entry["array"]]) for key, entry in value["arrays"].items()}
        elif isinstance(value, dict):
            value = np.array(arrays[value["array"]])
        elif isinstance(value, list):
            value = tuple(value)
        values[f.name] = value
    return kind(**values)
