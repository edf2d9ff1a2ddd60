"""Energy of one run on several targets, and what the figures leave out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from neurosim.energy.models import HOPS, model_of, transport
from neurosim.energy.operations import Operations
from neurosim.energy.traffic import Traffic
from neurosim.errors import InputError
from neurosim.files.atomic import json_text
from neurosim.files.notebook import text_html
from neurosim.hardware.targets import Target, load_target
from neurosim.quantities import quantity, significant

DEFAULT_TARGETS = (
    "loihi1",
    "loihi1_board",
    "loihi2",
    "truenorth",
    "spinnaker2",
    "spinnaker",
    "horowitz45",
    "horowitz45_int8",
    "lemaire2022",
    "lemaire2022_int8",
    "gpu",
    "cpu",
)


@dataclass(frozen=True)
class EnergyColumn:
    """The report of one target, per inference.

    Attributes
    ----------
    target : Target
        The chip or arithmetic.
    layers : mapping of str to mapping of str to float
        Joules by layer and component; empty where refused.
    ann : float or None
        Joules of one pass of the equal dense network on the same target; None where the target has no such price.
    refused : str
        Reason why there is no figure; empty where there is one.
    notes : tuple of str
        Restrictions of the figure for this network.
    """

    target: Target
    layers: Mapping[str, Mapping[str, float]]
    ann: float | None
    refused: str
    notes: tuple[str, ...]

    @property
    def total(self) -> float:
        """Joules per inference.

        Raises
        ------
        InputError
            When the column is refused.
        """
        if self.refused:
            raise InputError(f"there is no energy for {self.target.name}: {self.refused}")
        return sum(self.layer(name) for name in self.layers)

    def layer(self, name: str) -> float:
        """Joules of one layer per inference."""
        return sum(self.layers[name].values())

    def components(self) -> dict[str, float]:
        """Joules per inference by component, over all layers."""
        result: dict[str, float] = {}
        for parts in self.layers.values():
            for key, value in parts.items():
                result[key] = result.get(key, 0.0) + value
        return result


@dataclass(frozen=True)
class EnergyReport:
    """Energy of one run on several targets. Made by `energy`.

    Attributes
    ----------
    operations : Operations
        The counts.
    columns : tuple of EnergyColumn
        One for each target, in the order given.
    """

    operations: Operations
    columns: tuple[EnergyColumn, ...]

    def __getitem__(self, name: str) -> EnergyColumn:
        """Return the column of a target by its name."""
        for column in self.columns:
            if column.target.name == name:
                return column
        names = ", ".join(column.target.name for column in self.columns)
        raise InputError(f"no column {name!r} in this report. There are: {names}.")

    def _repr_html_(self) -> str:
        return text_html(self.table())

    def table(self) -> str:
        """Return aligned text: joules per inference by layer and target, the verdict, and what is left out."""
        layers = self.operations.layers
        rows = [["target", *layers, "total", "dense ANN, 1 pass"]]
        for column in self.columns:
            if column.refused:
                rows.append([column.target.name, *("-" for _ in layers), "refused", "-"])
                continue
            cells = [quantity(column.layer(name), "J") for name in layers]
            ann = "-" if column.ann is None else quantity(column.ann, "J")
            rows.append([column.target.name, *cells, quantity(column.total, "J"), ann])
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = [
            "  ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        ]
        lines.insert(1, "-" * len(lines[0]))
        lines += [f"{c.target.name} is refused: {c.refused}" for c in self.columns if c.refused]
        return "\n".join((self.heading(), *lines, "", *self.verdict(), "", *self._left_out()))

    __str__ = table

    def verdict(self) -> tuple[str, ...]:
        """Return the sparsity of the run, and the comparison with a dense network by arithmetic and with memory.

        Returns
        -------
        tuple of str
            Lines of text. The break-even of the 4.6 / 0.9 pJ convention is printed only beside the result of the
            model that prices memory, where the report has both.
        """
        ops = self.operations
        per_layer = ", ".join(
            f"{node.name} {significant(node.spikes / (node.neurons * ops.samples))}"
            for node in ops.nodes
            if node.spiking
        )
        lines = [
            f"Spikes per neuron per inference, T r: {significant(ops.spikes_per_neuron)}"
            + (f" ({per_layer})." if per_layer else ".")
        ]
        for column in self.columns:
            if column.target.model == "arithmetic" and column.ann is not None:
                lines.append(_convention(ops, column))
        for column in self.columns:
            if column.target.model == "memory" and column.ann is not None:
                lines.append(_with_memory(column))
        lines.append(
            "Published with data movement included: at T = 5 a spiking network wins only below 0.29 spikes per neuron "
            "per inference (arXiv:2409.08290)."
        )
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values; joules per inference."""
        return {
            "unit": "J per inference",
            "targets": {
                column.target.name: {
                    "title": column.target.title,
                    "model": column.target.model,
                    "total_J": None if column.refused else column.total,
                    "layers_J": {name: dict(parts) for name, parts in column.layers.items()},
                    "components_J": column.components(),
                    "dense_ann_one_pass_J": column.ann,
                    "refused": column.refused or None,
                    "excluded": list(column.target.excluded),
                    "notes": list(column.notes),
                    "sources": {
                        key: {"value": item.value, "unit": item.unit, "source": item.source, "note": item.note}
                        for key, item in column.target.energy.items()
                    },
                }
                for column in self.columns
            },
            "verdict": list(self.verdict()),
            "operations": self.operations.to_dict(),
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

    def heading(self) -> str:
        """Return the counts in one sentence."""
        ops = self.operations
        return (
            f"Energy per inference, estimated from operations counted over {ops.samples} sample(s) of {ops.steps} "
            f"steps of {quantity(ops.dt, 's')}: {_count(ops.accumulates / ops.samples)} accumulates, "
            f"{_count(ops.multiply_accumulates / ops.samples)} multiply-accumulates, "
            f"{_count(ops.dense / ops.samples)} if dense, {_count(ops.spikes / ops.samples)} spikes."
        )

    def _left_out(self) -> tuple[str, ...]:
        lines = ["These are estimates from published figures per operation, not measured power. Left out:"]
        lines += [f"  {c.target.name}: {'; '.join(c.target.excluded)}." for c in self.columns if not c.refused]
        notes = [f"  {c.target.name}: {note}" for c in self.columns for note in c.notes]
        return (*lines, *(("Notes:", *notes) if notes else ()))


def energy(
    operations: Operations,
    targets: str | os.PathLike[str] | Target | Iterable[str | os.PathLike[str] | Target] = DEFAULT_TARGETS,
    traffic: Iterable[Traffic] = (),
) -> EnergyReport:
    """Price counted operations on one or several targets.

    Parameters
    ----------
    operations : Operations
        From `count_operations`.
    targets : name, path, Target, or several of them
        Names of `neurosim.hardware.target_names`, TOML files of your own, or loaded targets.
    traffic : iterable of Traffic
        Of the same run, by `count_traffic`. Where a target states the energy of a message and of a hop from tile to
        tile and the traffic on it is given, each message to a core and its hops are priced.

    Returns
    -------
    EnergyReport
        ``print(report)`` prints the table, `to_json` returns the rest and `neurosim.report.energy_figure` draws the
        picture. The column of a target without public energies has the reason instead of a figure.

    Raises
    ------
    FileError
        For an unknown or faulty target, or one without the numbers that its energy model needs.
    InputError
        Without a target, with one twice, or with the traffic of another network or run.
    """
    if isinstance(targets, (str, os.PathLike, Target)):
        targets = (targets,)
    loaded = [item if isinstance(item, Target) else load_target(item) for item in targets]
    names = [target.name for target in loaded]
    if not names or len(set(names)) < len(names):
        raise InputError(f"energy needs at least one target and each once; got {names}.")
    counted = {each.placement.target.name: each for each in traffic}
    for each in counted.values():
        _check_traffic(operations, each)
    return EnergyReport(operations, tuple(_column(operations, target, counted.get(target.name)) for target in loaded))


def _check_traffic(operations: Operations, traffic: Traffic) -> None:
    neurons = {node.name: node.neurons for node in operations.nodes}
    name, placed = traffic.placement.target.name, traffic.placement.sizes
    if placed != neurons:
        raise InputError(f"the traffic on {name} is of {placed}, the counts are of {neurons}.")
    if (traffic.data_steps, traffic.samples) != (operations.steps, operations.samples):
        raise InputError(
            f"the traffic on {name} is of {traffic.samples} samples of {traffic.data_steps} steps, the counts are of "
            f"{operations.samples} of {operations.steps}. Count both on the same data."
        )


def _column(operations: Operations, target: Target, traffic: Traffic | None) -> EnergyColumn:
    if target.model is None:
        return EnergyColumn(target, {}, None, target.energy_not_public, ())
    model = model_of(target)
    joules = model.price(operations, target)
    ann = None if model.ann is None else model.ann(operations, target)
    notes = list(_notes(operations, target))
    if traffic is not None and {"message", *HOPS} <= set(target.energy):
        for layer, parts in transport(traffic, target).items():
            joules[layer].update(parts)
        left = tuple(text for text in target.excluded if not text.startswith("mesh hops"))
        target = dataclasses.replace(target, excluded=left)
        notes.append(
            f"messages and hops of the placement on {traffic.placement.cores} cores; inputs and other chips have "
            "distance 0."
        )
    layers = {
        layer: {key: value / operations.samples for key, value in parts.items()} for layer, parts in joules.items()
    }
    return EnergyColumn(target, layers, ann, "", tuple(notes))


def _notes(operations: Operations, target: Target) -> tuple[str, ...]:
    notes = []
    graded = [item.name for item in operations.synapses if item.multiplies]
    if graded and target.spikes == "binary":
        notes.append(
            f"{', '.join(graded)}: inputs are graded, which the spikes of this target cannot be; "
            "each is priced as one spike. Encode them as spikes for a valid figure."
        )
    if target.model == "per_operation" and "neuron_update" not in target.energy:
        notes.append("neuron updates have no separate price.")
    unpriced = [node.name for node in operations.nodes if node.unpriced]
    if unpriced and target.model == "arithmetic":
        notes.append(f"{', '.join(unpriced)}: divisions and functions of the neuron have no price.")
    return tuple(notes)


def _convention(operations: Operations, column: EnergyColumn) -> str:
    snn = column.components().get("synapses", 0.0)
    price = column.target.energy
    even = price["multiply_accumulate"].number / price["accumulate"].number
    ann = column.ann or 0.0
    graded = " (graded inputs are charged as multiply-accumulates)" if operations.multiply_accumulates else ""
    return (
        f"Arithmetic alone, {column.target.title}: synapses {quantity(snn, 'J')}, "
        f"equal dense ANN {quantity(ann, 'J')}. Break-even is T r = {even:.2f} spikes per synapse per inference, "
        f"here {significant(operations.events_per_connection)}{graded}: "
        f"{'lower' if snn < ann else 'not lower'} than the ANN."
    )


def _with_memory(column: EnergyColumn) -> str:
    ann = column.ann or 0.0
    return (
        f"With memory, {column.target.title}: {quantity(column.total, 'J')}, equal dense ANN {quantity(ann, 'J')}: "
        f"{significant(column.total / ann) if ann else 'infinitely'} times the ANN's."
    )


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"
