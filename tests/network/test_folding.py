"""Normalisation goes into weights and biases without a trace, or is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

import neurosim as ns
from neurosim.energy.fanout import fan_out
from neurosim.errors import ExportError, InputError
from neurosim.hardware.lava.mapping import map_network
from neurosim.network import fold
from neurosim.synapses import BatchNorm, RoundedDelays, Standardised, Synapse

DT = 1e-3


def trained() -> ns.Network:
    """A network whose running statistics, scales and shifts are not those it began with."""
    torch.manual_seed(0)
    net = ns.Network(
        {"input": ns.Input((2, 8, 8)), "a": ns.LIF(dt=DT, r=3.0), "b": ns.LIF(dt=DT, r=3.0), "out": ns.LI(dt=DT)},
        [
            ns.Edge("input", "a", (ns.Conv2d(2, 6, 3, bias=True), BatchNorm(6))),
            ns.Edge("a", "b", (ns.Flatten(), Standardised(ns.Linear(216, 10, bias=True), scale=2.74), BatchNorm(10))),
            ns.Edge("b", "b", (ns.Linear(10, 10), BatchNorm(10, affine=False)), delay=2 * DT),
            ns.Edge("b", "out", Standardised(ns.Linear(10, 3))),
        ],
    ).double()
    for norm in (m for m in net.modules() if isinstance(m, BatchNorm) and m.weight is not None):
        torch.nn.init.uniform_(norm.weight, 0.5, 2.0)
        torch.nn.init.uniform_(norm.bias, 0.0, 1.0)
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(10, 4, 2, 8, 8).double())
    return net.eval()


def test_the_folded_network_does_the_same() -> None:
    net = trained()
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    plain, x = fold(net), torch.rand(30, 3, 2, 8, 8).double()
    assert not any(isinstance(m, (BatchNorm, Standardised)) for m in plain.modules())
    assert [edge.name for edge in plain.edges] == [edge.name for edge in net.edges]
    for old, new in zip(net.edges, plain.edges, strict=True):
        spikes = (torch.rand(4, 3, *net.shape(old.source)) < 0.3).double()
        torch.testing.assert_close(new(spikes), old(spikes), rtol=1e-12, atol=1e-12)
        assert new.delay_steps == old.delay_steps
    with torch.no_grad():
        v, _, seen, *_ = net.run(x, None, ("a", "b"))
        w, _, other, *_ = plain.run(x, None, ("a", "b"))
    assert all(torch.equal(seen[n], other[n]) and 0.01 < seen[n].mean() < 0.9 for n in ("a", "b"))
    torch.testing.assert_close(v, w, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(value, kept[name]) for name, value in net.state_dict().items())


def test_what_is_not_right_behind_weights_is_refused() -> None:
    parts = (ns.Linear(16, 2), ns.LI(dt=DT))
    for before, kind in (((ns.Conv2d(1, 2, 3), ns.AvgPool2d(3)), "AvgPool2d"), ((), "the spikes")):
        channels = 2 if before else 1
        net = ns.Sequential(
            ns.Input((1, 6, 6)),
            *before,
            BatchNorm(channels),
            ns.LIF(dt=DT),
            ns.Flatten(),
            *((ns.Linear(2, 2), ns.LI(dt=DT)) if before else (ns.Linear(36, 2), parts[1])),
        )
        with pytest.raises(ExportError, match=f"BatchNorm is behind {kind}, but only weights right before it"):
            fold(net)


def test_lava_takes_normalisation_as_it_acts_in_evaluation() -> None:
    torch.manual_seed(0)
    net = ns.Sequential(
        ns.Linear(6, 4), filled(4), ns.LIF(dt=DT), Standardised(ns.Linear(4, 2)), ns.LIF(dt=DT)
    ).double()
    with pytest.raises(ExportError, match=r"holds BatchNorm, which normalises by the statistics .*; call eval\(\)"):
        map_network(net)
    with pytest.raises(InputError, match=r"count those of neurosim.network.fold\(net\)"):
        fan_out(net.edges[0].synapses[1], (4,))
    own, folded = map_network(net.eval()).graph, map_network(fold(net)).graph
    assert len(own.dense) == len(folded.dense) == 2
    for a, b in zip(own.dense, folded.dense, strict=True):
        np.testing.assert_allclose(a.weight, b.weight, rtol=1e-12)
    np.testing.assert_allclose(own.populations[0].argument("bias_mant"), folded.populations[0].argument("bias_mant"))
    assert own.populations[0].argument("bias_mant").any()


class Differences(Synapse):
    """A linear synapse without a weight to read."""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0] - 1,)

    def apply_step(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 1:] - x[:, :-1]


def filled(channels: int) -> BatchNorm:
    norm = BatchNorm(channels)
    for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        torch.nn.init.uniform_(values, 0.5, 2.0)
    return norm


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (Differences, ns.Linear),
        (lambda: ns.Sparse.random(6, 5, 0.5), ns.Linear),
        (lambda: ns.BlockLinear(6, 5, 1), ns.Linear),
        (lambda: RoundedDelays(torch.randn(5, 6), torch.randint(0, 4, (5, 6)), dt=DT), RoundedDelays),
        (lambda: prune.random_unstructured(ns.Linear(6, 5), "weight", 0.5), ns.Linear),
    ],
)
def test_whatever_has_weights_takes_the_normalisation_in(make, kind) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    first = make()
    entry = [] if hasattr(first, "n_in") else [ns.Input(6)]  # of any synapse with n_in the input is known
    net = ns.Sequential(*entry, first, filled(5), ns.LI(dt=DT)).eval()
    plain = fold(net)
    assert [type(synapse) for synapse in plain.edges[0].synapses] == [kind]
    x = (torch.rand(12, 3, 6) < 0.4).float()
    torch.testing.assert_close(plain(x)[0], net(x)[0])


def test_pruned_weights_become_plain() -> None:
    torch.manual_seed(1)
    net = ns.Sequential(prune.random_unstructured(ns.Linear(6, 5), "weight", 0.5), ns.LIF(dt=DT, r=60.0))
    plain = fold(net)
    (synapse,) = plain.edges[0].synapses
    assert type(synapse) is ns.Linear and not synapse._forward_pre_hooks and int((synapse.weight == 0).sum()) == 15
    x = (torch.rand(30, 3, 6) < 0.4).float()
    assert torch.equal(plain(x)[0], net(x)[0]) and net(x)[0].any()


def test_connections_of_too_many_neurons_take_no_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neurosim.synapses.building.LARGEST_MATRIX", 29)
    net = ns.Sequential(ns.Sparse.random(6, 5, 0.5), filled(5), ns.LI(dt=DT))
    with pytest.raises(
        ExportError, match=r"edge 'input->leaky_integrator1': connections of 6 to 5 neurons with a bias"
    ):
        fold(net)
