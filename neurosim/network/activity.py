"""Populations that never fire or always fire, and what to do about them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from torch import Tensor

from neurosim.errors import ActivityWarning
from neurosim.network.network import Network
from neurosim.units.doubles import widened

SATURATED = 0.9  # spikes per neuron and step


def rates_of(net: Network, outputs: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the spikes per neuron and step of each population that spikes, given its outputs [T, B, ...]."""
    populations = net.populations()
    return {
        name: float(widened(out != 0).mean())
        for name, out in outputs.items()
        if name in populations and populations[name].is_spiking and out.numel()
    }


def warn_of(rates: Mapping[str, float], of: str, stacklevel: int) -> None:
    """Warn of populations that send no spike, or a spike at almost every step.

    Parameters
    ----------
    rates : mapping of str to float
        Spikes per neuron and step, by population.
    of : str
        What was run, for the message.
    stacklevel : int
        As in `warnings.warn`.
    """
    silent = [name for name, rate in rates.items() if rate == 0]
    if silent:
        warnings.warn(
            f"no spike in {of}: {', '.join(silent)}. Their membranes do not reach the threshold: multiply the weights "
            "with ns.init.fluctuation_driven(net, x), raise r or tau_mem, or lower v_th.",
            ActivityWarning,
            stacklevel=stacklevel + 1,
        )
    busy = {name: rate for name, rate in rates.items() if rate > SATURATED}
    if busy:
        found = ", ".join(f"{name} ({rate:.0%})" for name, rate in busy.items())
        warnings.warn(
            f"almost every neuron fires at every step in {of}: {found}. Such spikes carry nothing: reduce the weights "
            "with ns.init.fluctuation_driven(net, x), lower r, or raise v_th.",
            ActivityWarning,
            stacklevel=stacklevel + 1,
        )
