"""The conversions of docs/conversions.md, run beside the installed libraries: no differing spike."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import neurosim as ns

STEPS, NEURONS, DT = 400, 64, 1e-3


def current(scale: float, shift: float = 0.0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(STEPS, 1, NEURONS, dtype=dtype) * scale + shift


def tau(alpha: float) -> float:
    """Return the time constant whose decay over a step is `alpha`."""
    return -DT / math.log(alpha)


def check(layer: ns.Neuron, i: torch.Tensor, theirs: torch.Tensor, start: float = 0.0) -> None:
    state = layer.initial_state(i)
    z, _ = layer(i, state._replace(v=state.v + start))
    assert theirs.sum() > 1000
    assert int((z != theirs).sum()) == 0


def stepped(neuron, i: torch.Tensor) -> torch.Tensor:
    """Run a neuron whose call gives spikes and keeps its state to itself."""
    return torch.stack([neuron(i_t) for i_t in i]).detach()


def carried(neuron, i: torch.Tensor, *state: torch.Tensor) -> torch.Tensor:
    """Run a neuron whose call takes and gives its state."""
    spikes = []
    for i_t in i:
        z, *state = neuron(i_t, *state)
        spikes.append(z)
    return torch.stack(spikes).detach()


def zeros() -> torch.Tensor:
    return torch.zeros(1, NEURONS, dtype=torch.float64)


@pytest.mark.parametrize("reset_delay", [True, False])
def test_snntorch_leaky_with_reset_to_zero(reset_delay):
    snntorch = pytest.importorskip("snntorch")
    beta, i = 0.9, current(0.5, 0.1)
    theirs = snntorch.Leaky(beta=beta, reset_mechanism="zero", reset_delay=reset_delay).double()
    check(ns.LIF(tau_mem=tau(beta), r=1 / (1 - beta), dt=DT), i, carried(theirs, i, zeros()))


def test_snntorch_leaky_with_its_default_reset_is_not_a_reset_by_the_threshold():
    snntorch = pytest.importorskip("snntorch")
    beta, i = 0.9, current(0.5, 0.1)
    theirs = carried(snntorch.Leaky(beta=beta).double(), i, zeros())
    z, _ = ns.LIF(tau_mem=tau(beta), r=1 / (1 - beta), dt=DT, reset="subtract")(i)
    assert int((z != theirs).sum()) > 100


def test_snntorch_synaptic_with_reset_to_zero_at_once():
    snntorch = pytest.importorskip("snntorch")
    alpha, beta, i = 0.8, 0.9, current(0.3)
    theirs = snntorch.Synaptic(alpha=alpha, beta=beta, reset_mechanism="zero", reset_delay=False).double()
    layer = ns.CubaLIF(tau_syn=tau(alpha), tau_mem=tau(beta), r=1 / (1 - beta), dt=DT)
    check(layer, i, carried(theirs, i, zeros(), zeros()))


def test_norse_lif_box():
    norse = pytest.importorskip("norse.torch")
    i = current(5.0, 0.5)
    theirs = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.tensor(100.0).double()), dt=DT)
    state, spikes = None, []
    for i_t in i:
        z, state = theirs(i_t, state)
        spikes.append(z)
    check(ns.LIF(tau_mem=tau(1 - DT * 100.0), dt=DT), i, torch.stack(spikes).detach())


def test_norse_lif():
    norse = pytest.importorskip("norse.torch")
    i = current(4.0, 0.5)
    inverse = {"tau_syn_inv": torch.tensor(200.0).double(), "tau_mem_inv": torch.tensor(100.0).double()}
    theirs = norse.LIFCell(norse.LIFParameters(**inverse), dt=DT)
    state, spikes = None, []
    for i_t in i:
        z, state = theirs(i_t, state)
        spikes.append(z)
    layer = ns.CubaLIF(tau_syn=tau(1 - DT * 200.0), tau_mem=tau(1 - DT * 100.0), dt=DT)
    check(layer, i, torch.stack(spikes).detach())


def just_below(threshold: float, dtype: type) -> float:
    """Return the threshold at which "above" says what "at or above" says at `threshold`."""
    return float(np.nextafter(dtype(threshold), dtype(-np.inf)))


@pytest.mark.parametrize("v_reset", [0.0, None])
def test_spikingjelly_if(v_reset):
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    # Inputs on a grid of halves: membranes stand exactly at the threshold all the time.
    i = torch.randint(-1, 3, (STEPS, 1, NEURONS)).float() / 2
    theirs = stepped(neuron.IFNode(v_reset=v_reset), i)
    if v_reset is None:
        # Taking off the lowered threshold would not be theirs: the two agree only away from the grid.
        i = i + 0.01 * torch.rand_like(i)
        theirs = stepped(neuron.IFNode(v_reset=None), i)
        check(ns.IF(dt=DT, reset="subtract"), i, theirs)
        return
    check(ns.IF(dt=DT, v_th=just_below(1.0, np.float32)), i, theirs)
    assert int((ns.IF(dt=DT)(i)[0] != theirs).sum()) > 500


@pytest.mark.parametrize("v_reset", [0.0, -0.3])
def test_spikingjelly_lif_with_decayed_input(v_reset):
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    i = current(2.0, 0.5)
    theirs = stepped(neuron.LIFNode(tau=2.0, decay_input=True, v_reset=v_reset), i)
    layer = ns.LIF(tau_mem=tau(0.5), v_reset=v_reset, v_th=just_below(1.0, np.float64), dt=DT)
    # It leaks towards v_reset, where it starts, ours towards zero: the difference is a constant current.
    check(layer, i + v_reset, theirs, start=v_reset)


def test_spikingjelly_lif_with_plain_input():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    i = current(0.8, 0.2)
    theirs = stepped(neuron.LIFNode(tau=4.0, decay_input=False), i)
    check(ns.LIF(tau_mem=tau(0.75), r=4.0, v_th=just_below(1.0, np.float64), dt=DT), i, theirs)
