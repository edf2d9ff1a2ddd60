"""Pruning in training, sparse training, pruning of neurons by firing, and lists of what remains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError, ShapeError
from neurosim.learning.sparsity import (
    CubicSparsity,
    DynamicSparsity,
    MagnitudePruning,
    mean_rates,
    most_active,
    sparsified,
    without_neurons,
)
from neurosim.synapses import BatchNorm, Sparse

DT = 1e-3


def net() -> ns.Network:
    torch.manual_seed(0)
    return ns.Sequential(ns.Linear(20, 30), ns.LIF(dt=DT, r=20.0), ns.Linear(30, 4), ns.LI(dt=DT))


def batches(number: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [((torch.rand(8, 6, 20, generator=generator) < 0.3).float(), torch.arange(6) % 4) for _ in range(number)]


def train(network: ns.Network, sparsity: object, **choices: object) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    ns.fit(
        network, batches(), loss=ns.MeanMembrane(), optimizer=optimizer, on_batch=sparsity, progress=False,
        **{"epochs": 3, **choices},
    )  # fmt: skip


def weights(network: ns.Network) -> list[torch.Tensor]:
    return [edge.synapses[0].weight.detach() for edge in network.edges]


def test_the_schedule_is_the_cubic_of_the_paper() -> None:
    schedule = CubicSparsity(0.9, begin=10, end=110, initial=0.3)
    for step in (0, 10, 35, 60, 109, 110, 500):
        t = min(max(step - 10, 0), 100) / 100
        assert schedule(step) == pytest.approx(0.9 + (0.3 - 0.9) * (1 - t) ** 3, abs=1e-15)
    assert schedule(0) == schedule(10) == 0.3 and schedule(110) == schedule(10**9) == 0.9


@pytest.mark.parametrize("scope", ["layer", "network"])
def test_the_smallest_weights_are_pruned_and_stay_pruned(scope: str) -> None:
    network = net()
    pruning = MagnitudePruning(network, CubicSparsity(0.8, begin=0, end=9), scope=scope)
    before: list[torch.Tensor] = []

    def check(progress: object) -> None:
        moved = torch.cat([w.abs().flatten() for w in weights(network)])
        pruning(progress)
        zero = [w == 0 for w in weights(network)]
        if before:
            assert all(bool((now | ~then).all()) for then, now in zip(before, zero, strict=True))
        before[:] = zero
        if scope == "network":
            kept = torch.cat([~each.flatten() for each in zero])
            fresh = moved[~kept]
            assert len(fresh) == round(pruning.sparsity(int(network.sparsity_steps)) * len(kept))

    train(network, check)
    total = 1.0 - sum(int((w == 0).sum()) for w in weights(network)) / sum(w.numel() for w in weights(network))
    assert pruning.density == pytest.approx(0.2, abs=1e-3) and total == pytest.approx(pruning.density)
    densities = list(pruning.densities().values())
    assert (densities[0] == densities[1]) is (scope == "layer")
    pruning.finish()
    assert set(network.state_dict()) == set(net().state_dict())


def test_of_a_layer_the_smallest_go_first() -> None:
    network = net()
    sizes = weights(network)[0].abs().flatten()
    pruning = MagnitudePruning(network, lambda step: 0.5)
    pruning()
    assert torch.equal(weights(network)[0].flatten() != 0, sizes > sizes.sort().values[len(sizes) // 2 - 1])


def test_a_resumed_run_has_the_bits_of_one_that_was_not(tmp_path: Path) -> None:
    results = []
    for parts in ((4,), (2, 4)):
        for kind in ("magnitude", "dynamic"):
            for epochs in parts:
                network = net()
                sparsity = (
                    MagnitudePruning(network, CubicSparsity(0.8, begin=2, end=14), every=2)
                    if kind == "magnitude"
                    else DynamicSparsity(network, 0.3, every=3, until=15, grow="random")
                )
                folder = tmp_path / f"{parts}{kind}"
                train(network, sparsity, epochs=epochs, checkpoint=folder, resume=epochs == 4 and len(parts) == 2)
            results.append(network.state_dict())
    for one, other in ((0, 2), (1, 3)):
        assert all(torch.equal(results[one][name], value) for name, value in results[other].items())
    assert results[0]["sparsity_steps"] == 16


@pytest.mark.parametrize("grow", ["gradient", "random"])
def test_dropped_weights_are_replaced_and_their_number_stays(grow: str) -> None:
    network = net()
    sparsity = DynamicSparsity(network, 0.25, every=2, until=10, drop=0.5, grow=grow)
    first = [w != 0 for w in weights(network)]
    numbers = [int(each.sum()) for each in first]
    assert numbers == [150, 30]
    grown: list[int] = []

    def check(progress: object) -> None:
        kept = [s.kept.clone() for s in sparsity.synapses.values()]
        moved, gradient = weights(network)[0].clone(), network.edges[0].synapses[0].weight.grad.abs()
        sparsity(progress)
        now = [s.kept for s in sparsity.synapses.values()]
        assert [int(each.sum()) for each in now] == numbers
        new, lost = now[0] & ~kept[0], kept[0] & ~now[0]
        grown.append(int(new.sum()))
        assert not weights(network)[0][new].any()
        if new.any() and grow == "gradient":
            assert gradient[new].min() >= gradient[~kept[0] & ~new].max()
        if lost.any():
            # One that was dropped and grew at once is 0.
            assert moved[lost].abs().max() <= moved[kept[0] & (weights(network)[0] != 0)].abs().min()

    train(network, check)
    assert grown[0] == 0 and grown[1] > grown[3] > grown[7] > 0 and not any(grown[10:])


def test_layers_of_erdos_renyi_hold_the_density_together() -> None:
    network = net()
    sparsity = DynamicSparsity(network, 0.25, every=2, until=10, spread="erdos_renyi")
    first, second = sparsity.densities().values()
    assert sparsity.density == pytest.approx(0.25, abs=2e-3)
    assert first / second == pytest.approx((50 / 600) / (34 / 120), rel=0.02)
    full = DynamicSparsity(net(), 0.6, every=2, until=10, spread="erdos_renyi")
    assert list(full.densities().values())[1] == 1.0 and full.density == pytest.approx(0.6, abs=2e-3)


def test_a_network_without_silent_neurons_has_the_same_output() -> None:
    torch.manual_seed(0)
    network = ns.Sequential(
        ns.Input((2, 8, 8)),
        ns.Conv2d(2, 6, 3, padding=1),
        BatchNorm(6),
        ns.LIF(dt=DT, tau_mem=torch.rand(6, 8, 8) * 1e-2 + 5e-3, r=20.0),
        ns.AvgPool2d(2),
        ns.Conv2d(6, 5, 3, bias=True),
        ns.LIF(dt=DT, r=200.0),
        ns.Flatten(),
        ns.Linear(20, 12),
        ns.Recurrent(ns.LIF(dt=DT, r=200.0), ns.Linear(12, 12)),
        ns.Linear(12, 3),
        ns.LI(dt=DT),
    ).eval()
    x = (torch.rand(20, 3, 2, 8, 8) < 0.3).float()
    with torch.no_grad():
        convs = [edge.synapses for edge in network.edges]
        for weight in (convs[1][1].weight, convs[2][1].weight):
            weight.abs_()
        network.edges[0].synapses[1].weight[[1, 4]] = 0.0
        network.edges[0].synapses[1].bias[[1, 4]] = -5.0
        convs[1][1].weight[2] = -1.0
        convs[1][1].bias[2] = -5.0
        convs[2][1].weight[[0, 7, 9]] = -1.0
        rates = mean_rates(network, [x, (x, None)])
        stay = {name: rate.flatten(1).mean(1) > 0 if rate.dim() > 1 else rate > 0 for name, rate in rates.items()}
        assert all(1 < s.sum() < len(s) for s in stay.values()), stay
        smaller = without_neurons(network, stay)
        assert torch.allclose(smaller(x)[0], network(x)[0], atol=1e-5) and network(x)[0].abs().max() > 0.01
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in network.parameters())
    assert smaller.shape("lif1") == (int(stay["lif1"].sum()), 8, 8)


def test_the_most_active_stay() -> None:
    rates = {"a": torch.tensor([0.1, 0.4, 0.0, 0.3]).double(), "b": torch.tensor([[0.0, 0.1], [0.4, 0.2]]).double()}
    stay = most_active(rates, 0.5)
    assert stay["a"].tolist() == [False, True, False, True] and stay["b"].tolist() == [False, True]
    assert most_active(rates, 0.0, least=0.2)["a"].tolist() == [False, True, False, True]
    assert most_active(rates, 0.99)["a"].tolist() == [False, True, False, False]


def test_lists_compute_what_the_matrix_does() -> None:
    network = net()
    MagnitudePruning(network, lambda step: 0.9)()
    listed = sparsified(network)
    assert all(isinstance(edge.synapses[0], Sparse) for edge in listed.edges)
    x = batches(1)[0][0]
    assert torch.allclose(listed(x)[0], network(x)[0], atol=1e-6)
    assert isinstance(sparsified(network, below=0.05).edges[0].synapses[0], ns.Linear)


def test_bad_arguments_are_refused_by_name() -> None:
    network = net()
    for call, message in (
        (lambda: CubicSparsity(1.0, begin=0, end=1), r"final must be a share in \[0, 1\); got 1.0"),
        (lambda: CubicSparsity(0.5, begin=5, end=5), "end must be an integer from 6; got 5"),
        (lambda: CubicSparsity(0.5, begin=0, end=5, initial=0.6), "initial=0.6 is above final=0.5"),
        (lambda: MagnitudePruning(network, 0.5), "sparsity=0.5: such as CubicSparsity"),
        (lambda: MagnitudePruning(network, CubicSparsity(0.5, 0, 5), skip=["x"]), "no synapse 'x' to skip"),
        (lambda: DynamicSparsity(network, 0.0, every=1, until=2), "density=0 keeps no weight"),
        (lambda: most_active({}, -0.1), r"share must be a share in \[0, 1\)"),
        (lambda: without_neurons(network, {"none": torch.ones(3).bool()}), "no population 'none'"),
        (lambda: without_neurons(network, {"leaky_integrator2": torch.ones(4).bool()}), "is the output"),
        (lambda: without_neurons(network, {"lif1": torch.zeros(30).bool()}), "no neuron of 'lif1' stays"),
        (lambda: mean_rates(network, []), "no batch"),
        (lambda: sparsified(network, below=0.0), "below must be in"),
    ):
        with pytest.raises(InputError, match=message):
            call()
    with pytest.raises(ShapeError, match=r"'lif1' needs a tensor of bool \[30\]"):
        without_neurons(network, {"lif1": torch.ones(29).bool()})
    MagnitudePruning(network, CubicSparsity(0.5, 0, 5))
    with pytest.raises(InputError, match="is pruned already"):
        MagnitudePruning(network, CubicSparsity(0.5, 0, 5))
