"""Graphs that the exporters of other libraries really write, read here."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from torch import nn

import neurosim as ns

nir = pytest.importorskip("nir")
pytest.importorskip("nirtorch")

from neurosim.exchange.nir import from_nir  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph is being deprecated:DeprecationWarning")
DT = 1e-4  # of snnTorch's and SpikingJelly's exporters


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def weighted(module: nn.Module, scale: float = 3.0) -> nn.Module:
    for value in module.parameters():
        if value.dim() > 1:
            value.mul_(scale)
    return module


def through_a_file(graph, folder) -> ns.Network:
    nir.write(folder / "theirs.nir", graph)
    return from_nir(folder / "theirs.nir", dt=DT)


def test_snntorch(tmp_path):
    snntorch = pytest.importorskip("snntorch")
    from snntorch.export_nir import export_to_nir

    # Shared numbers it writes as scalars, which the type check of nir then refuses.
    def leaky(n: int) -> dict[str, object]:
        each = dict(beta=torch.full((n,), 0.9), threshold=torch.ones(n))
        return {**each, "reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}

    theirs = weighted(nn.Sequential(nn.Linear(12, 20), snntorch.Leaky(**leaky(20)), nn.Linear(20, 6, bias=False)))
    theirs.append(snntorch.Synaptic(alpha=torch.full((6,), 0.8), **leaky(6)))
    with contextlib.redirect_stdout(io.StringIO()):
        graph = export_to_nir(theirs, torch.zeros(12))
    net = through_a_file(graph, tmp_path)
    x = (torch.rand(200, 2, 12) < 0.4).float()
    for layer in (theirs[1], theirs[3]):
        layer.reset_mem()
    spikes = torch.stack([theirs(i) for i in x])
    assert spikes.sum() > 200 and int((net(x)[0] != spikes).sum()) == 0


def test_snntorch_recurrent(tmp_path):
    snntorch = pytest.importorskip("snntorch")
    from snntorch.export_nir import export_to_nir

    loop = snntorch.RLeaky(beta=0.9, reset_mechanism="zero", reset_delay=False, linear_features=20, init_hidden=True)
    theirs = weighted(nn.Sequential(nn.Linear(12, 20), loop))
    with contextlib.redirect_stdout(io.StringIO()):
        graph = export_to_nir(theirs, torch.zeros(12))
    net = through_a_file(graph, tmp_path)
    x = (torch.rand(200, 2, 12) < 0.4).float()
    loop.reset_mem()
    spikes = torch.stack([theirs(i) for i in x])
    assert spikes.sum() > 200 and int((net(x)[0] != spikes).sum()) == 0


def test_spikingjelly(tmp_path):
    pytest.importorskip("spikingjelly")
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    theirs = weighted(
        nn.Sequential(
            layer.Linear(12, 20),
            neuron.LIFNode(tau=4.0),
            layer.Linear(20, 6),
            neuron.LIFNode(tau=8.0, decay_input=False),
        ),
        4.0,
    )
    graph = export_to_nir(theirs, torch.zeros(1, 12))
    net = through_a_file(graph, tmp_path)
    functional.reset_net(theirs)
    x = torch.rand(300, 1, 12)
    spikes = torch.stack([theirs(i) for i in x])
    assert spikes.sum() > 200 and int((net(x)[0] != spikes).sum()) == 0


def test_norse_writes_dt_times_its_time_constants():
    # It writes tau = dt / tau_mem_inv, a time constant in units of 1/dt seconds.
    norse = pytest.importorskip("norse.torch")
    theirs = norse.SequentialState(weighted(nn.Linear(12, 20), 9.0), norse.LIFBoxCell())
    graph = norse.to_nir(theirs, torch.zeros(12))
    with pytest.raises(ns.NeurosimError, match=r"LIF.tau is 1e-05 s, shorter .* pass time_unit=1000, which is 1/dt"):
        from_nir(graph, dt=1e-3)
    net = from_nir(graph, dt=1e-3, time_unit=1e3)
    assert next(iter(net.neurons().values())).decay("tau_mem") == pytest.approx(0.9, rel=1e-6)
    x = (torch.rand(400, 2, 12) < 0.4).float()
    steps, state = [], None
    for step in x:
        z, state = theirs(step, state)
        steps.append(z)
    spikes = torch.stack(steps)
    assert spikes.sum() > 500 and int((net(x)[0] != spikes).sum()) == 0


def test_sinabs_writes_tensors():
    layers = pytest.importorskip("sinabs.layers")
    from sinabs.nir import to_nir

    theirs = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False),
        layers.IAFSqueeze(batch_size=1),
        layers.SumPool2d(2),
        nn.Flatten(),
        nn.Linear(27, 4),
    )
    weighted(theirs)
    graph = to_nir(theirs, torch.rand(1, 2, 8, 8))
    net = from_nir(graph, dt=1e-3, time_unit=1e-3)
    first = next(iter(net.neurons()))
    assert net.shape(first) == (3, 6, 6)
    assert net.shape(net.output) == (4,) and np.isclose(net.neurons()[first].value("r"), 1.0)
