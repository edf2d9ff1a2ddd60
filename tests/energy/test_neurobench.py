"""Operations and sparsity as the package neurobench counts them on the same model, where its definitions apply.

``pip install --no-deps neurobench==2.3.0`` beside snntorch; skipped where it is not installed.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.energy import count_operations

neurobench = pytest.importorskip("neurobench.models")
STEPS, SAMPLES, DT = 6, 4, 1e-3


class Plain(nn.Module):
    """The same network in modules of torch, a step at a time, with the spikes of the network given."""

    def __init__(self, layers: list[nn.Module], between: list[nn.Module], spikes: list[Tensor]) -> None:
        super().__init__()
        self.layers, self.between, self.spikes = nn.ModuleList(layers), nn.ModuleList(between), spikes

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for t in range(x.shape[1]):
            sent = [x[:, t], *(spikes[t] for spikes in self.spikes)]
            for z, shape, layer in zip(sent, self.between, self.layers, strict=True):
                out = layer(shape(z))
        return out


def compared(net: ns.Network, layers: list[nn.Module], between: list[nn.Module], x: Tensor) -> None:
    """Compare counts with those of the package; the weights of `net` are copied to `layers`."""
    from neurobench.metrics.static import ConnectionSparsity
    from neurobench.metrics.workload import SynapticOperations

    weighted = [s for edge in net.edges for s in edge.synapses if hasattr(s, "weight")]
    for layer, synapse in zip(layers, weighted, strict=True):
        layer.weight.data = synapse.weight.detach().clone()
    hidden = [name for name in net.neurons() if name != net.output]
    with torch.no_grad():
        found = net.run(x, record=hidden)
    assert all(0.0 < found.recorded[name].mean() < 1.0 for name in hidden)
    model = neurobench.TorchModel(Plain(layers, between, [found.recorded[name] for name in hidden]))
    model.register_hooks()
    data = x.transpose(0, 1)
    with torch.no_grad():
        out = model(data)
        theirs = SynapticOperations()(model, out, (data, None))
    ours = count_operations(net, x).neurobench()
    assert ours["effective_acs"] == theirs["Effective_ACs"]
    assert ours["effective_macs"] == theirs["Effective_MACs"]
    assert ours["dense"] == theirs["Dense"]
    assert ours["effective_acs"] + ours["effective_macs"] > 0
    zeros = sum(int((s.weight == 0).sum()) for s in weighted) / sum(s.weight.numel() for s in weighted)
    assert float(ConnectionSparsity()(model)) == pytest.approx(zeros, abs=1e-3)


def spikes(*shape: int) -> Tensor:
    return (torch.rand(STEPS, SAMPLES, *shape) < 0.3).float()


@pytest.mark.parametrize("graded", [False, True], ids=["spikes", "graded"])
def test_rows_of_linear_layers(graded: bool) -> None:
    torch.manual_seed(0)
    net = ns.Sequential(ns.Linear(20, 30), ns.LIF(dt=DT, r=60.0), ns.Linear(30, 5), ns.LIF(dt=DT)).eval()
    with torch.no_grad():
        for edge in net.edges:
            edge.synapses[0].weight[torch.rand_like(edge.synapses[0].weight) < 0.4] = 0.0
    x = spikes(20) * (torch.rand(STEPS, SAMPLES, 20) if graded else 1.0)
    layers = [nn.Linear(20, 30, bias=False), nn.Linear(30, 5, bias=False)]
    compared(net, layers, [nn.Identity(), nn.Identity()], x)


@pytest.mark.parametrize(
    ("stride", "padding", "groups"), [(1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 1, 4)], ids=lambda value: str(value)
)
def test_convolutions_with_borders(stride: int, padding: int, groups: int) -> None:
    torch.manual_seed(stride + padding)
    conv = nn.Conv2d(4, 8, 3, stride=stride, padding=padding, groups=groups, bias=False)
    height, width = conv(torch.zeros(1, 4, 9, 8)).shape[2:]
    net = ns.Sequential(
        ns.Input((4, 9, 8)),
        ns.Conv2d(4, 8, 3, stride=stride, padding=padding, groups=groups),
        ns.LIF(dt=DT, r=60.0),
        ns.Flatten(),
        ns.Linear(8 * height * width, 5),
        ns.LIF(dt=DT),
    ).eval()
    last = nn.Linear(8 * height * width, 5, bias=False)
    compared(net, [conv, last], [nn.Identity(), nn.Flatten()], spikes(4, 9, 8))
