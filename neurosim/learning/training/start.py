"""The start of training: populations that would never fire get weights with which they do."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import ActivityWarning, InputError
from neurosim.learning.training import random_state
from neurosim.network import init
from neurosim.network.activity import rates_of, warn_of
from neurosim.network.network import Network
from neurosim.synapses import Synapse
from neurosim.synapses.norm import repeating

QUIET = 1e-3  # spikes per neuron and step


def wake(net: nn.Module, x: Tensor, *, scale: bool = True) -> list[init.Scaled]:
    """Scale the weights into populations that hardly fire, if they are as their constructor drew them.

    Parameters
    ----------
    net : Module
        Left as it is, without a warning, if it is no `Network` or has sources of its own.
    x : Tensor [T, B, ...]
        The first batch.
    scale : bool
        Whether to scale; without it populations are only warned of.

    Returns
    -------
    list of Scaled
        What was scaled; each is warned of, and so is any population that is still silent or saturated.
    """
    if not isinstance(net, Network) or net.sources:
        return []
    with random_state.kept(), torch.no_grad(), repeating():
        rates, scaled = _rates(net, x), []
        for name in net.populations():
            if scale and rates.get(name, 1.0) < QUIET and _is_drawn(net, name):
                with contextlib.suppress(InputError):  # nothing reaches it in this batch
                    scaled += init.fluctuation_driven(net, x, populations=[name])
                    rates = _rates(net, x)
    for row in scaled:
        warnings.warn(
            f"hardly a spike in the first batch with the weights as drawn, so they were multiplied: {row}. Call "
            "ns.init.fluctuation_driven(net, x) before fit to do this yourself, or pass wake=False to train without.",
            ActivityWarning,
            stacklevel=5,
        )
    warn_of(rates, "the first batch", stacklevel=5)
    return scaled


def _rates(net: Network, x: Tensor) -> dict[str, float]:
    names = [name for name, population in net.populations().items() if population.is_spiking]
    return rates_of(net, net.run(x, record=names).recorded)


def _is_drawn(net: Network, name: str) -> bool:
    if init.obstacle(net, name) is not None:
        return False
    return all(synapse.has_drawn_weights() for synapse in init.scaled_synapses(net, name))


def state(net: nn.Module) -> dict[str, Any]:
    """Return, for a checkpoint, which weights are as drawn, and by what others were multiplied."""
    synapses = {name: module for name, module in net.named_modules() if isinstance(module, Synapse)}
    return {
        "drawn": [name for name, synapse in synapses.items() if synapse.has_drawn_weights()],
        "scales": {name: synapse.initial_scale for name, synapse in synapses.items() if synapse.initial_scale != 1.0},
    }


def restore(net: nn.Module, saved: dict[str, Any]) -> None:
    """Set what `state` returned, after the weights were loaded."""
    for name, module in net.named_modules():
        if isinstance(module, Synapse):
            module.initial_scale = float(saved["scales"].get(name, 1.0))
            if name in saved["drawn"]:
                module.note_drawn_weights()
