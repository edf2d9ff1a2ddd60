"""Time of a run on chips, by published times of their operations: bounds, the barrier, and what dominates."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from neurosim.energy.counting import data_of, extent
from neurosim.energy.traffic import Traffic, chip_steps, count_traffic, distances
from neurosim.errors import InputError, NeurosimError
from neurosim.files.atomic import json_text
from neurosim.files.notebook import text_html
from neurosim.hardware.placement import Placement, place
from neurosim.hardware.placement.mesh import Mesh
from neurosim.hardware.placement.placement import aligned
from neurosim.hardware.targets import Target, load_target
from neurosim.network.network import Network
from neurosim.quantities import quantity

DEFAULT_CHIPS = ("loihi1", "loihi1_board", "loihi2", "truenorth", "spinnaker", "spinnaker2")
_PRICED = {
    "neuron updates": "neuron_update",
    "spikes": "spike",
    "messages sent": "message_out",
    "messages received": "message_in",
    "synapses": "synaptic_operation",
}
_HOPS = ("hop_within_tile", "hop_east_west", "hop_north_south")
_NOT_INCLUDED = ("spike input and output", "the host", "messages that wait for each other on the mesh")


@dataclass(frozen=True)
class LatencyColumn:
    """The times on one target, means over the samples.

    A core updates its neurons and processes the messages that arrive. Where both overlap fully, a step takes as long as
    the slower of the two on the slowest core (`least`); where no message is processed before the last neuron of the
    chip is updated, the two add up, and so does the way of a message (`most`).

    Attributes
    ----------
    target : Target
        The chip.
    refused : str
        Reason why there is no time; empty where there is one.
    steps : int
        Steps of an inference on the chip.
    least, most : float
        Bounds of the time of an inference, s.
    longest_step : float
        Upper bound of the longest step of the run, s.
    parts : mapping of str to float
        What the slowest core of each step does, and the barrier, in seconds of an inference; the sum is `least`.
    core : int or None
        The core that is the slowest in most steps; None where a step has a fixed length.
    population : str
        The population on it.
    share : float
        Share of the steps in which it is.
    unknown : tuple of str
        Times that the file of the target does not state; they are counted as 0.
    graded : tuple of str
        Nodes that send graded values to a chip of binary spikes; each value is counted as one spike.
    """

    target: Target
    refused: str = ""
    steps: int = 0
    least: float = 0.0
    most: float = 0.0
    longest_step: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    core: int | None = None
    population: str = ""
    share: float = 0.0
    unknown: tuple[str, ...] = ()
    graded: tuple[str, ...] = ()

    @property
    def dominant(self) -> str:
        """The largest of `parts`."""
        return max(self.parts, key=self.parts.__getitem__) if self.parts else ""

    def row(self) -> dict[str, Any]:
        """Return the row of a table."""
        if self.refused:
            return {"target": self.target.name, "per inference": "refused"}
        core = None if self.core is None else f"{self.core} ({self.population}), {self.share:.0%} of steps"
        return {
            "target": self.target.name,
            "per inference": _between(self.least, self.most),
            "steps": self.steps,
            "per step": _between(self.least / self.steps, self.most / self.steps),
            "longest step": quantity(self.longest_step, "s"),
            "barriers": quantity(self.parts["barrier"], "s") if "barrier" in self.parts else None,
            "slowest core": core,
            "dominant": f"{self.dominant}, {self.parts[self.dominant] / self.least:.0%}",
        }


@dataclass(frozen=True)
class LatencyReport:
    """Time of one run on several chips. Made by `chip_latency`.

    Attributes
    ----------
    columns : tuple of LatencyColumn
        One for each target, in the order given.
    samples, data_steps : int
        Extent of the run.
    dt : float
        Length of a step of the network, s.
    """

    columns: tuple[LatencyColumn, ...]
    samples: int
    data_steps: int
    dt: float

    def __getitem__(self, name: str) -> LatencyColumn:
        """Return the column of a target by its name."""
        for column in self.columns:
            if column.target.name == name:
                return column
        names = ", ".join(column.target.name for column in self.columns)
        raise InputError(f"no column {name!r} in this report. There are: {names}.")

    def heading(self) -> str:
        """Return the extent of the run in one sentence."""
        return (
            f"Time per inference on chips, from messages counted over {self.samples} sample(s) of {self.data_steps} "
            f"steps of {quantity(self.dt, 's')}; from full overlap within a core to none."
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each target."""
        rows = [column.row() for column in self.columns]
        names = max(rows, key=len)
        return [{name: row.get(name) for name in names} for row in rows]

    def findings(self) -> tuple[str, ...]:
        """Return the reasons of refusals, what is unknown, and what no figure includes."""
        lines = [f"{c.target.name} is refused: {c.refused}" for c in self.columns if c.refused]
        lines += [
            f"{c.target.name} states no time of {', '.join(c.unknown)}: counted as 0."
            for c in self.columns
            if c.unknown
        ]
        lines += [
            f"{column.target.name}: {', '.join(column.graded)} sends graded values, which the spikes of this target "
            "cannot be; each is counted as one spike. Encode them as spikes for a valid figure."
            for column in self.columns
            if column.graded
        ]
        if not all(c.refused for c in self.columns):
            lines.append(f"From published times per operation, not measured. Not included: {'; '.join(_NOT_INCLUDED)}.")
        return tuple(lines)

    def _repr_html_(self) -> str:
        return text_html(self.table())

    def table(self) -> str:
        """Return aligned text: a row for each target, and the findings."""
        rows = aligned(self.rows(), ("target", "slowest core", "dominant"))
        return "\n".join((self.heading(), *rows, "", *self.findings()))

    __str__ = table

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values; times in seconds per inference."""
        return {
            "unit": "s per inference",
            "samples": self.samples,
            "data_steps": self.data_steps,
            "dt_s": self.dt,
            "targets": {
                c.target.name: {
                    "title": c.target.title,
                    "refused": c.refused or None,
                    "steps": None if c.refused else c.steps,
                    "least_s": None if c.refused else c.least,
                    "most_s": None if c.refused else c.most,
                    "longest_step_s": None if c.refused else c.longest_step,
                    "parts_of_least_s": dict(c.parts),
                    "slowest_core": c.core,
                    "population_of_slowest_core": c.population or None,
                    "share_of_steps": c.share,
                    "unknown": list(c.unknown),
                    "graded": list(c.graded),
                    "sources": {
                        key: {"value": item.value, "unit": item.unit, "source": item.source, "note": item.note}
                        for key, item in c.target.time.items()
                    },
                }
                for c in self.columns
            },
            "not_included": list(_NOT_INCLUDED),
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Write `to_dict` as JSON.

        Parameters
        ----------
        path : path-like, optional
            Also write the text there, atomically.

        Returns
        -------
        str
            The JSON text.

        Raises
        ------
        FileError
            When the file cannot be written.
        """
        return json_text(self.to_dict(), path)


def chip_latency(
    net: Network,
    x: Tensor | Mapping[str, Tensor],
    targets: str | os.PathLike[str] | Target | Iterable[str | os.PathLike[str] | Target] = DEFAULT_CHIPS,
    traffic: Iterable[Traffic] = (),
    *,
    weight_bits: int | None = None,
) -> LatencyReport:
    """Estimate how long a run takes on one or several chips.

    Parameters
    ----------
    net : Network
        It is placed on each target that states times.
    x : Tensor [T, B, *input shape], or mapping of input node to such
        The samples; times are means over them.
    targets : name, path, Target, or several of them
        Names of `neurosim.hardware.target_names`, TOML files of your own, or loaded targets.
    traffic : iterable of Traffic
        Of the same run, by `count_traffic`; the network is then not placed again on their targets.
    weight_bits : int, optional
        Bits of a weight where the network is placed here, as in `neurosim.hardware.placement.place`.

    Returns
    -------
    LatencyReport
        ``print(report)`` prints the table. A target without published times, or on which the network does not fit, has
        the reason instead of a time.

    Raises
    ------
    FileError
        For an unknown or faulty target.
    InputError
        Without a target or with one twice, with the traffic of another run, or for data that do not fit.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.energy import chip_latency
    >>> net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=1e-3), names=("out",))
    >>> report = chip_latency(net, torch.zeros(3, 1, 3), ("loihi1", "loihi2"))
    >>> column = report["loihi1"]      # four steps of two updates of 8.4 ns and a barrier of 113 ns
    >>> round(column.least * 1e9, 6), column.dominant
    (519.2, 'barrier')
    >>> report["loihi2"].refused
    'Intel has published no time per operation for Loihi 2, ...'
    """
    if isinstance(targets, (str, os.PathLike, Target)):
        targets = (targets,)
    loaded = [item if isinstance(item, Target) else load_target(item) for item in targets]
    names = [target.name for target in loaded]
    if not names or len(set(names)) < len(names):
        raise InputError(f"chip_latency needs at least one target and each once; got {names}.")
    steps, samples = extent(data_of(net, x))
    counted = {each.placement.target.name: each for each in traffic}
    sizes = {name: math.prod(net.shape(name)) for name in net.populations()}
    for name, each in counted.items():
        if (each.placement.sizes, each.data_steps, each.samples) != (sizes, steps, samples):
            raise InputError(f"the traffic on {name} is of another network or run. Count it on the same data.")
    columns = tuple(_column(net, x, target, counted.get(target.name), weight_bits) for target in loaded)
    return LatencyReport(columns, samples, steps, net.dt)


def _column(
    net: Network,
    x: Tensor | Mapping[str, Tensor],
    target: Target,
    traffic: Traffic | None,
    weight_bits: int | None,
) -> LatencyColumn:
    if not target.time:
        return LatencyColumn(target, target.time_not_public or f"{target.path.name} states no time of an operation.")
    try:
        chip_steps(net)
        placement = place(net, target, weight_bits=weight_bits) if traffic is None else traffic.placement
    except NeurosimError as error:
        return LatencyColumn(target, str(error))
    if placement.misfits:
        return LatencyColumn(target, f"the network does not fit: {placement.misfits[0].what}")
    if placement.chips_used > 1:
        return LatencyColumn(target, f"{placement.chips_used} chips are needed, and no time between chips is stated.")
    return time_of(count_traffic(net, x, placement) if traffic is None else traffic)


def time_of(traffic: Traffic) -> LatencyColumn:
    """Price counted traffic with the times of its target, which must state some."""
    target = traffic.placement.target
    if "step" in target.time:
        total = traffic.steps * target.time["step"].number
        step = target.time["step"].number
        return LatencyColumn(target, "", traffic.steps, total, total, step, {"fixed step": total})
    price = {name: target.time[key].number if key in target.time else 0.0 for name, key in _PRICED.items()}
    counts = {
        "neuron updates": np.broadcast_to(traffic.updates, traffic.spikes.shape),
        "spikes": traffic.spikes,
        "messages sent": traffic.sent,
        "messages received": traffic.received,
        "synapses": traffic.events,
    }
    times = {name: count * price[name] for name, count in counts.items()}
    updating = times["neuron updates"] + times["spikes"] + times["messages sent"]
    receiving = times["messages received"] + times["synapses"]
    low, high = _barrier(traffic.placement)
    busy = np.maximum(updating, receiving)
    slowest = busy.argmax(2)  # [steps, samples]
    most = updating.max(2) + receiving.max(2) + _farthest(traffic) + high
    sends = np.take_along_axis(updating >= receiving, slowest[..., None], 2)[..., 0]
    parts = {}
    for name, values in times.items():
        of_slowest = np.take_along_axis(values, slowest[..., None], 2)[..., 0]
        counted = sends if name in ("neuron updates", "spikes", "messages sent") else ~sends
        parts[name] = float((of_slowest * counted).sum()) / traffic.samples
    parts["barrier"] = low * traffic.steps
    core, share = _mode(slowest)
    return LatencyColumn(
        target=target,
        steps=traffic.steps,
        least=float(busy.max(2).sum()) / traffic.samples + parts["barrier"],
        most=float(most.sum()) / traffic.samples,
        longest_step=float(most.max()),
        parts=parts,
        core=core,
        population=_population(traffic.placement, core),
        share=share,
        unknown=tuple(key for key in (*_PRICED.values(), *_HOPS) if key not in target.time),
        graded=traffic.graded if target.spikes == "binary" else (),
    )


def _barrier(placement: Placement) -> tuple[float, float]:
    """Return bounds of the time of the barrier: those stated for at most and at least the tiles that are used."""
    target = placement.target
    values = _numbers(target.time["barrier"].value)
    tiles = _numbers(target.mesh["barrier_tiles"].value) if "barrier_tiles" in target.mesh else (1.0,)
    used = -(-placement.cores // Mesh.of(target).cores_per_tile)
    low = max(k for k, count in enumerate(tiles) if count <= used)
    high = min((k for k, count in enumerate(tiles) if count >= used), default=len(tiles) - 1)
    return values[low], values[high]


def _farthest(traffic: Traffic) -> float:
    """Return the longest time that a message between two cores that are connected is on its way."""
    if not len(traffic.routes):
        return 0.0
    inside, east_west, north_south = (
        traffic.placement.target.time[key].number if key in traffic.placement.target.time else 0.0 for key in _HOPS
    )
    x, y = distances(traffic.placement)[:, traffic.routes[:, 0], traffic.routes[:, 1]]
    return float((inside + x * east_west + y * north_south).max())


def _numbers(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _mode(cores: np.ndarray) -> tuple[int, float]:
    counts = np.bincount(cores.ravel())
    return int(counts.argmax()), float(counts.max() / cores.size)


def _population(placement: Placement, core: int) -> str:
    return next(one.name for one in placement.populations for part in one.parts if part.core == core)


def _between(low: float, high: float) -> str:
    shown = quantity(low, "s"), quantity(high, "s")
    return shown[0] if shown[0] == shown[1] else f"{shown[0]} to {shown[1]}"
