"""The same LIF layer in other libraries: alpha and threshold alike, hard reset to 0, reset detached where it can be.

Each function returns a callable from currents [T, B, N] to spikes [T, B, N], or raises ImportError. What cannot be
matched is said where it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Layer = Callable[[Tensor], Tensor]


def spikingjelly(alpha: float) -> Layer:
    """SpikingJelly, multi-step torch backend. It spikes at >= where neurosim spikes at >."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    node = neuron.LIFNode(
        tau=1.0 / (1.0 - alpha),
        decay_input=True,
        v_threshold=1.0,
        v_reset=0.0,
        surrogate_function=surrogate.ATan(alpha=2.0),
        detach_reset=True,
        step_mode="m",
    )

    def run(i: Tensor) -> Tensor:
        functional.reset_net(node)
        return node(i)

    return run


def snntorch(alpha: float) -> Layer:
    """Build snnTorch's `Leaky`, which does not scale its input: here that is one more product over all of it."""
    import snntorch
    from snntorch import surrogate

    node = snntorch.Leaky(beta=alpha, spike_grad=surrogate.atan(2.0), reset_mechanism="zero", reset_delay=False)

    def run(i: Tensor) -> Tensor:
        scaled = (1.0 - alpha) * i
        membrane = torch.zeros_like(scaled[0])
        spikes = []
        for current in scaled:
            z, membrane = node(current, membrane)
            spikes.append(z)
        return torch.stack(spikes)

    return run


def norse(alpha: float) -> Layer:
    """Build Norse's `lif_box`, a LIF without synaptic filter. It has no arctan: SuperSpike stands in."""
    from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters, lif_box_feed_forward_step

    dt = 1e-3
    parameters = LIFBoxParameters(tau_mem_inv=torch.as_tensor((1.0 - alpha) / dt))

    def run(i: Tensor) -> Tensor:
        state = LIFBoxFeedForwardState(v=torch.zeros_like(i[0]))
        spikes = []
        for current in i:
            z, state = lif_box_feed_forward_step(current, state, parameters, dt)
            spikes.append(z)
        return torch.stack(spikes)

    return run


PEERS: dict[str, Callable[[float], Layer]] = {"SpikingJelly": spikingjelly, "snnTorch": snntorch, "Norse": norse}


def available(dt: float, tau: float) -> tuple[dict[str, Layer], dict[str, str]]:
    """Return the peers that can be imported, and for each other one why not."""
    layers, missing = {}, {}
    for name, make in PEERS.items():
        try:
            layers[name] = make(math.exp(-dt / tau))
        except ImportError as error:
            missing[name] = str(error)
    return layers, missing
