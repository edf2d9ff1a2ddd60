"""Fixed random readouts of every population of a network, for local losses."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurosim.cores import decolle
from neurosim.errors import InputError
from neurosim.network.graph import NetworkState
from neurosim.network.layers import layer
from neurosim.network.network import Network
from neurosim.network.portability import refuse_sources
from neurosim.synapses import MaxPool2d

DecolleLIF = layer(decolle)


class LocalReadouts(nn.Module):
    r"""A network with a fixed random readout of every population; its output is that of the last readout.

    .. math:: y_l[t] = G_l\, \sigma(U_l[t]) \quad \text{or} \quad y_l[t] = G_l\, S_l[t]

    Parameters
    ----------
    net : Network
        Of `DecolleLIF` populations, with one input; its output is one of the populations.
    classes : int
        Outputs of each readout.
    variant : {"membrane", "spikes"}
        What is read: the sigmoid of the membrane, as in the authors' program, or the spikes, as in the paper.
    scale : float
        The entries of G are uniform in ``+-scale / sqrt(neurons)``.
    generator : torch.Generator, optional
        Source of the entries; torch's global generator by default.

    Raises
    ------
    InputError
        When the network has several inputs, another core, time constants that are tensors, or a synapse that is not
        linear.
    """

    def __init__(
        self,
        net: Network,
        classes: int,
        *,
        variant: Literal["membrane", "spikes"] = "membrane",
        scale: float = 0.5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if variant not in ("membrane", "spikes"):
            raise InputError(f'LocalReadouts: variant must be "membrane" or "spikes"; got {variant!r}.')
        _check(net)
        self.net, self.variant = net, variant
        like = next(net.parameters())
        for name in net.populations():
            size = math.prod(net.shape(name))
            entries = (2 * torch.rand(classes, size, generator=generator) - 1).to(like)
            self.register_buffer(_buffer(name), entries * (scale / math.sqrt(size)))

    def read(self, name: str, u: Tensor, z: Tensor, lead: int = 2) -> Tensor:
        """Return the readout of a population.

        Parameters
        ----------
        name : str
            The population.
        u, z : Tensor [t, B, ...]
            Membranes before the spike, and spikes; [B, ...] with ``lead=1``.
        lead : int
            Number of leading dimensions that are not neurons.

        Returns
        -------
        Tensor [t, B, classes]
        """
        values = torch.sigmoid(u) if self.variant == "membrane" else z
        return F.linear(values.flatten(lead), getattr(self, _buffer(name)))

    def forward(self, x: Tensor, state: NetworkState | None = None, **choices: Any) -> tuple[Tensor, NetworkState]:
        """Return the readout of the output population [T, B, classes] and the state; no gradient."""
        name = self.net.output
        with torch.no_grad():
            z, after, values, *_ = self.net.run(x, state, (f"{name}.u",), **choices)
            return self.read(name, values[f"{name}.u"], z), after


def _buffer(name: str) -> str:
    return f"readout_{name}"


def _check(net: Network) -> None:
    if not isinstance(net, Network) or len(net.inputs) != 1:
        got = list(net.inputs) if isinstance(net, Network) else type(net).__name__
        raise InputError(f"LocalReadouts needs a Network with one input; got {got}.")
    refuse_sources(net, "LocalReadouts")
    for name, node in net.neurons().items():
        if node.core is not decolle:
            raise InputError(f"LocalReadouts: {name!r} must be DecolleLIF; it is {node.core.name}.")
        tensors = [p for p in ("tau_syn", "tau_mem") if isinstance(node.value(p), Tensor)]
        if tensors:
            raise InputError(f"LocalReadouts: {name!r} must have plain numbers for {tensors}, which are tensors.")
    for edge in net.edges:
        for synapse in edge.synapses:
            if isinstance(synapse, MaxPool2d) or not synapse.traced:
                kind, instead = type(synapse).__name__, "use AvgPool2d" if isinstance(synapse, MaxPool2d) else "fold it"
                raise InputError(f"LocalReadouts: edge {edge.name!r} has {kind}, which is not linear; {instead}.")
