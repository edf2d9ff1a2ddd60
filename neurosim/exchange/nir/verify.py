"""Comparison of a network with its NIR file: write, read back, run both."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from neurosim.errors import NothingCompared
from neurosim.exchange.nir.exporting import Gain, to_nir
from neurosim.exchange.nir.files import write_graph
from neurosim.exchange.nir.importing import Discretisation, network_of
from neurosim.files.notebook import text_html
from neurosim.network.network import Network


@dataclass(frozen=True)
class NodeAgreement:
    """The comparison of one population.

    Attributes
    ----------
    name : str
    compared : int
        Steps times samples times neurons.
    spikes : int
        Spikes of the network; 0 for a population whose output is its membrane.
    differing : int
        Values that differ in any bit.
    first : tuple of int or None
        Step, sample and neuron of the first difference.
    largest : float
        Largest difference.
    is_silent : bool
        Whether all values of both are 0, so that none could have differed.
    """

    name: str
    compared: int
    spikes: int
    differing: int
    first: tuple[int, ...] | None
    largest: float
    is_silent: bool = False


@dataclass(frozen=True)
class NirVerification:
    """Result of `verify_nir`.

    Attributes
    ----------
    nodes : tuple of NodeAgreement
        One for each population.
    """

    nodes: tuple[NodeAgreement, ...]

    @property
    def agrees(self) -> bool:
        """Whether the outputs of all populations are equal, bit for bit."""
        return not any(node.differing for node in self.nodes)

    @property
    def silent(self) -> tuple[str, ...]:
        """Populations whose values are all 0 on both sides: of them nothing was shown."""
        return tuple(node.name for node in self.nodes if node.is_silent)

    def _repr_html_(self) -> str:
        return text_html(str(self))

    def __str__(self) -> str:
        """Return one line for each population."""
        lines = []
        for node in self.nodes:
            line = f"{node.name}: {node.differing} of {node.compared} values differ, {node.spikes} spikes"
            if node.first is not None:
                step, sample, *neuron = node.first
                line += f"; first at step {step}, sample {sample}, neuron {neuron}; at most by {node.largest:g}"
            if node.is_silent:
                line += "; that shows nothing: give an input at which it spikes"
            lines.append(line)
        return "\n".join(lines)


def verify_nir(
    net: Network,
    x: Tensor | Mapping[str, Tensor],
    *,
    path: str | os.PathLike[str] | None = None,
    discretisation: Discretisation = "euler",
    gain: Gain = "weights",
) -> NirVerification:
    """Compare a network with its NIR file.

    Parameters
    ----------
    net : Network
    x : Tensor [T, B, ...], or mapping of input name to such
        Input of both.
    path : path-like, optional
        Path of the file; temporary if left out.
    discretisation, gain
        As in `to_nir`. With ``gain="network"`` the two are equal to the last bit; otherwise the gain of a current is
        rounded at another place, and a spike may differ where a membrane is within rounding of the threshold.

    Returns
    -------
    NirVerification

    Warns
    -----
    NothingCompared
        When all values of a population are 0.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.exchange.nir import verify_nir
    >>> net = ns.Sequential(ns.Linear(8, 5), ns.LIF(dt=1e-3, r=20.0), names=("out",))
    >>> verify_nir(net, (torch.rand(50, 2, 8) < 0.5).float(), gain="network").agrees
    True
    """
    graph = to_nir(net, discretisation=discretisation, gain=gain)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.nir" if path is None else Path(path)
        write_graph(file, graph)
        again = network_of(file, dt=net.dt, discretisation=discretisation, dtype=_dtype(net))
    sent = {name: _sender(again, name) for name in net.populations()}
    data = dict(x) if isinstance(x, Mapping) else {net.inputs[0]: x}
    with torch.no_grad():
        ours = net.run(data, record=tuple(sent)).recorded
        theirs = again.run(data, record=tuple(sent.values())).recorded
    spiking = {name: node.is_spiking for name, node in net.populations().items()}
    result = NirVerification(
        tuple(_compared(name, ours[name], theirs[other], spiking[name]) for name, other in sent.items())
    )
    if result.silent:
        warnings.warn(
            f"nothing was compared of {', '.join(result.silent)}, whose values are all 0. Give an input at which they "
            "spike.",
            NothingCompared,
            stacklevel=2,
        )
    return result


def _dtype(net: Network) -> torch.dtype:
    return next((p.dtype for p in net.synapses.parameters()), torch.float32)


def _sender(again: Network, name: str) -> str:
    """Return the node with the output of the population `name`: its threshold for one without reset."""
    behind = f"{name}_threshold"
    return behind if behind in again.nodes and name in again.nodes else name if name in again.nodes else again.output


def _compared(name: str, ours: Tensor, theirs: Tensor, spiking: bool) -> NodeAgreement:
    off = ours != theirs
    places = off.nonzero()
    first = tuple(int(n) for n in places[0]) if len(places) else None
    largest = (ours - theirs).abs().max().item() if ours.numel() else 0.0
    is_silent = not bool(ours.any() or theirs.any())
    return NodeAgreement(name, ours.numel(), int(ours.sum()) if spiking else 0, len(places), first, largest, is_silent)
