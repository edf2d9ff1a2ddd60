"""Comparison of an integer network with xylosim, in every spike and state."""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neurosim.errors import NothingCompared
from neurosim.files.notebook import text_html
from neurosim.hardware.xylo.mapping import XyloExport, chip_input, to_xylo
from neurosim.hardware.xylo.reference import XyloRun, order_matters
from neurosim.hardware.xylo.runner import run_xylosim
from neurosim.network.network import Network


@dataclass(frozen=True)
class XyloNode:
    """The comparison of one population.

    Attributes
    ----------
    name : str
    compared : int
        Steps times samples times neurons.
    spikes : int
        Spikes on xylosim.
    differing : int
        Neuron-steps whose numbers of spikes differ.
    states : int
        Currents and membranes compared.
    states_differing : int
    first : tuple of int or None
        Step, sample and neuron of the first difference.
    """

    name: str
    compared: int
    spikes: int
    differing: int
    states: int
    states_differing: int
    first: tuple[int, int, int] | None


@dataclass(frozen=True)
class XyloVerification:
    """Result of `verify_xylo`.

    Attributes
    ----------
    steps, samples : int
        Size of the run.
    nodes : tuple of XyloNode
    order_matters : int
        Currents that may depend on the order of the arrivals in a step; see `neurosim.hardware.xylo.order_matters`.
    """

    steps: int
    samples: int
    nodes: tuple[XyloNode, ...]
    order_matters: int

    @property
    def agrees(self) -> bool:
        """Whether no spike and no state differs."""
        return not any(node.differing or node.states_differing for node in self.nodes)

    @property
    def compared(self) -> int:
        """Number of spikes and states compared."""
        return sum(node.compared + node.states for node in self.nodes)

    @property
    def differing(self) -> int:
        """Number of them that differ."""
        return sum(node.differing + node.states_differing for node in self.nodes)

    @property
    def silent(self) -> tuple[str, ...]:
        """Populations without a spike: of their spikes nothing was shown."""
        return tuple(node.name for node in self.nodes if not node.spikes)

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def _repr_html_(self) -> str:
        return text_html(self.summary())

    def summary(self) -> str:
        """Return the result in a few lines."""
        lines = [
            f"xylosim and simulator: {self.differing} of {self.compared} spikes and states differ ({self.samples} "
            f"samples of {self.steps} steps)"
        ]
        for node in self.nodes:
            line = f"  {node.name}: {node.differing} of {node.compared} neuron-steps differ, {node.spikes} spikes; "
            line += f"{node.states_differing} of {node.states} states differ"
            if node.first is not None:
                step, sample, neuron = node.first
                line += f"; first at step {step}, sample {sample}, neuron {neuron}"
            lines.append(line)
        if self.order_matters:
            lines.append(
                f"  {self.order_matters} currents exceed 16 bits within a step, where the order of the spikes counts: "
                "the network adds them first. Use smaller weights or shifts."
            )
        if self.silent:
            lines.append(f"  no spike was compared of {', '.join(self.silent)}: give an input at which they spike.")
        return "\n".join(lines)


def verify_xylo(
    net: Network, x: Any, *, timeout: float = 300.0, python: str | os.PathLike[str] | None = None
) -> XyloVerification:
    """Run an integer network here and its configuration on xylosim, and compare every spike and state.

    Parameters
    ----------
    net : Network
        As in `to_xylo`.
    x : Tensor or array [T, B, ...], or mapping of input name to such
        Numbers of spikes, 0 ... 15.
    timeout : float
        Seconds for the run of xylosim.
    python : path, optional
        Interpreter that has xylosim; the running one if left out.

    Raises
    ------
    ExportError
        When the chip cannot hold the network.
    ShapeError, InputError
        When x does not fit.
    TargetRunError
        When xylosim is missing, fails or takes too long.

    Warns
    -----
    NothingCompared
        When a population sent no spike.
    """
    export = to_xylo(net)
    data = chip_input(net, export, x)
    found = run_xylosim(export.configuration, data, timeout=timeout, python=python)
    result = compare(net, export, x, found)
    if result.silent:
        warnings.warn(
            f"no spike was compared of {', '.join(result.silent)}, which sent none: that shows nothing. Give an input "
            "at which they spike.",
            NothingCompared,
            stacklevel=2,
        )
    return result


def compare(net: Network, export: XyloExport, x: Any, found: XyloRun) -> XyloVerification:
    """Compare a network with a run of its configuration on the same data; see `verify_xylo`."""
    data = chip_input(net, export, x)
    ours = _simulated(net, export, x)
    nodes = []
    for name, place in export.hidden.items():
        values = (found.hidden, found.i_syn, found.i_syn2, found.v)
        nodes.append(_node(name, ours[name], [each[..., place] for each in values]))
    outputs = [found.output, found.i_syn_out, np.zeros_like(found.i_syn_out), found.v_out]
    nodes.append(_node(export.output, ours[export.output], outputs))
    steps, samples = data.shape[:2]
    return XyloVerification(steps, samples, tuple(nodes), order_matters(export.configuration, data, found))


def _simulated(net: Network, export: XyloExport, x: Any) -> dict[str, list[np.ndarray]]:
    """Return spikes, currents and membrane of each population [T, B, neurons]."""
    dtype = next((p.dtype for p in net.parameters()), torch.float64)
    given = dict(x) if isinstance(x, dict) else {net.inputs[0]: x}
    tensors = {name: torch.as_tensor(values).to(dtype) for name, values in given.items()}
    names = {node: [node, f"{node}.i_syn", f"{node}.i_syn2", f"{node}.v"] for node in (*export.hidden, export.output)}
    with torch.no_grad():
        recorded = net.run(tensors, None, [each for several in names.values() for each in several]).recorded
    return {node: [recorded[each].flatten(2).numpy() for each in several] for node, several in names.items()}


def _node(name: str, ours: list[np.ndarray], theirs: list[np.ndarray]) -> XyloNode:
    off = [a != b for a, b in zip(ours, theirs, strict=True)]
    places = np.argwhere(off[0] | off[1] | off[2] | off[3])
    first = tuple(int(k) for k in places[0]) if len(places) else None
    states = sum(int(each.sum()) for each in off[1:])
    return XyloNode(
        name,
        off[0].size,
        int(theirs[0].sum()),
        int(off[0].sum()),
        3 * off[0].size,
        states,
        first,  # type: ignore[arg-type]
    )
