"""IIR: the neuron of the paper's program, one step as a binary network, and stages that hand everything on."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.learning import RateCrossEntropy
from neurosim.models.iir import (
    Dropout,
    absorb_batch_norm,
    adam,
    hidden,
    limit_leaks,
    output,
    reduce_steps,
    set_thresholds,
)


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return (z > 0).to(z.dtype)

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * 0.3 * (1 - z.abs()).clamp(min=0)


def by_hand(i: Tensor, leak: Tensor, threshold: Tensor) -> Tensor:
    """The five lines of the method, in the order of the authors' program."""
    m, spikes = torch.zeros_like(i[0]), []
    for current in i:
        m = leak * m + current
        z = m / threshold - 1.0
        spikes.append(_Fire.apply(z))
        reset = threshold * (z > 0).to(i.dtype)
        m = m - reset
    return torch.stack(spikes)


def network(seed: int = 0, width: int = 24, dropout: float | None = None) -> ns.Network:
    torch.manual_seed(seed)
    drop = [] if dropout is None else [Dropout(dropout)]
    return ns.Sequential(
        ns.Linear(16, width, bias=True),
        hidden(),
        *drop,
        ns.Linear(width, width, bias=True),
        hidden(),
        ns.Linear(width, 3, bias=True),
        output(),
        names=("one", "two", "out"),
    ).double()


def settled(seed: int = 0, dropout: float | None = None) -> ns.Network:
    """A network whose leaks and thresholds are no round numbers."""
    net = network(seed, dropout=dropout)
    with torch.no_grad():
        for number, name in enumerate(("one", "two")):
            net.nodes[name].leak.fill_(0.8 - 0.1 * number)
            net.nodes[name].v_th.fill_(0.15 + 0.1 * number)
    return net


def test_spikes_and_gradients_are_those_of_the_equations() -> None:
    layer = hidden().double()
    with torch.no_grad():
        layer.leak.fill_(0.9)
        layer.v_th.fill_(0.7)
    i = torch.randn(12, 5, 7, dtype=torch.float64, requires_grad=True)
    weights = torch.randn_like(i)
    z, _ = layer(i)
    found = torch.autograd.grad((z * weights).sum(), [i, layer.leak, layer.v_th])
    leak, threshold = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.9, 0.7))
    leak.data.copy_(layer.leak.data), threshold.data.copy_(layer.v_th.data)
    wanted_z = by_hand(i, leak, threshold)
    wanted = torch.autograd.grad((wanted_z * weights).sum(), [i, leak, threshold])
    assert torch.equal(z, wanted_z) and 0.1 < z.mean() < 0.5
    for a, b in zip(found, wanted, strict=True):
        assert b.abs().max() > 0.1
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_derivatives_of_one_step() -> None:
    layer = hidden().double()
    with torch.no_grad():
        layer.v_th.fill_(0.5)
    i = torch.tensor([[[0.4]]], dtype=torch.float64, requires_grad=True)
    z, _ = layer(i)
    to_current, to_threshold = torch.autograd.grad(z.sum(), [i, layer.v_th])
    slope = 0.3 * (1 - abs(0.4 / 0.5 - 1))
    assert float(to_current) == pytest.approx(slope / 0.5, rel=1e-12)
    assert float(to_threshold) == pytest.approx(-slope * 0.4 / 0.5**2, rel=1e-12)


def test_a_membrane_at_the_threshold_does_not_fire() -> None:
    z, _ = hidden()(torch.tensor([[[1.0, 1.001]]]))
    assert z.flatten().tolist() == [0.0, 1.0]


def test_the_output_is_summed_and_neither_leaks_nor_is_divided() -> None:
    i = torch.randn(6, 4, 3)
    z, _ = output()(i)
    assert torch.equal(z, i)
    target = torch.tensor([0, 1, 2, 0])
    assert torch.equal(RateCrossEntropy()(z, target), nn.functional.cross_entropy(i.sum(0), target))


def test_at_one_step_the_leak_changes_nothing() -> None:
    net, x = settled(), torch.randn(5, 40, 16, dtype=torch.float64)
    one, five = net(x[:1])[0], net(x)[0]
    with torch.no_grad():
        for name in ("one", "two"):
            net.nodes[name].leak.fill_(0.1)
    assert torch.equal(net(x[:1])[0], one)
    assert not torch.equal(net(x)[0], five)


def test_at_one_step_the_net_is_one_with_binary_activations() -> None:
    net, x = settled(), torch.randn(1, 40, 16, dtype=torch.float64)
    a = x[0]
    for name, edge in zip(("one", "two"), net.edges, strict=False):
        (linear,) = edge.synapses
        a = (a @ linear.weight.T + linear.bias > net.nodes[name].v_th).double()
        assert 0.05 < a.mean() < 0.8
    (linear,) = net.edges[2].synapses
    torch.testing.assert_close(net(x)[0][0], a @ linear.weight.T + linear.bias, rtol=1e-12, atol=1e-12)


def test_all_steps_share_one_dropout_mask() -> None:
    drop, x = Dropout(0.4), torch.rand(6, 50, 20) + 0.5
    dropped = drop(x)
    mask = dropped != 0
    assert bool((mask == mask[0]).all()) and 0.5 < mask.double().mean() < 0.7
    torch.testing.assert_close(dropped[mask], (x / 0.6)[mask])
    assert not torch.equal(drop(x) != 0, mask)
    assert not bool((mask[0] == mask[0, 0]).all()), "samples have masks of their own"
    assert torch.equal(drop.eval()(x), x)
    net = settled(dropout=0.5)
    x = torch.randn(1, 8, 16, dtype=torch.float64)
    assert not torch.equal(net(x)[0], net(x)[0])


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("biased", [True, False])
def test_batch_normalisation_is_absorbed(affine: bool, biased: bool) -> None:
    conv, norm = nn.Conv2d(3, 5, 3, bias=biased).double(), nn.BatchNorm2d(5, affine=affine).double()
    x = 2.0 * torch.randn(8, 3, 6, 6, dtype=torch.float64) + 1.0
    norm(conv(x))
    if affine:
        nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    norm.eval()
    weight, bias = absorb_batch_norm(conv.weight, conv.bias, norm)
    torch.testing.assert_close(nn.functional.conv2d(x, weight, bias), norm(conv(x)), rtol=1e-10, atol=1e-12)


def test_thresholds_are_percentiles_of_the_current_and_not_of_the_membrane() -> None:
    net, x = settled(), torch.randn(5, 60, 16, dtype=torch.float64)
    leaks = [net.nodes[name].leak.item() for name in ("one", "two")]
    found = set_thresholds(net, x, 90.0)
    a = x
    for name, edge in zip(("one", "two"), net.edges, strict=False):
        (linear,) = edge.synapses
        current = (a @ linear.weight.T + linear.bias).detach()
        wanted = max(np.percentile(step.numpy(), 90) for step in current)
        assert found[name] == pytest.approx(wanted, rel=1e-9) == float(net.nodes[name].v_th.detach())
        a = by_hand(current, torch.tensor(1.0), torch.tensor(wanted))  # leak 1 while thresholds are found
    assert [net.nodes[name].leak.item() for name in ("one", "two")] == leaks


def test_leaks_are_held_at_one_and_not_from_below() -> None:
    net = network()
    with torch.no_grad():
        net.nodes["one"].leak.fill_(1.3)
        net.nodes["two"].leak.fill_(-0.4)
    limit_leaks(net)
    assert [net.nodes[name].leak.item() for name in ("one", "two")] == [1.0, -0.4]


def batches(steps: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Three classes that differ in which third of the input is strong."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (120,), generator=draw)
    x = torch.rand(120, 16, generator=draw, dtype=torch.float64)
    x += 1.2 * (torch.arange(16) // 6 == y[:, None])
    return [(part.expand(steps, -1, -1), label) for part, label in zip(x.split(40), y.split(40), strict=True)]


def test_stages_hand_on_weights_thresholds_and_leaks_bit_for_bit() -> None:
    net, made, starts, ends = network(), [], [], []
    set_thresholds(net, batches(5)[0][0])
    with torch.no_grad():
        net.nodes["one"].leak.fill_(0.9)

    def optimizer(parameters):
        made.append(torch.optim.Adam(parameters, lr=5e-3, amsgrad=True))
        starts.append((copy.deepcopy(net.state_dict()), len(made[-1].state)))
        return made[-1]

    stages = []
    for stage in reduce_steps(
        net, batches, lambda t: batches(t, 1), stages=(4, 2, 1), epochs=3, optimizer=optimizer, progress=False
    ):
        stages.append(stage)
        ends.append(copy.deepcopy(net.state_dict()))
    assert [stage.steps for stage in stages] == [4, 2, 1]
    assert len({id(m) for m in made}) == 3 and [held for _, held in starts] == [0, 0, 0], "each stage: a new optimizer"
    for end, (start, _) in zip(ends, starts[1:], strict=False):
        assert all(torch.equal(start[name], end[name]) for name in end)
    changed = {name for name in ends[0] if not torch.equal(ends[0][name], ends[1][name])}
    assert {"nodes.one.v_th", "nodes.two.v_th", "nodes.one.leak"} <= changed
    assert all(float(end[f"nodes.{name}.leak"]) <= 1.0 for end in ends for name in ("one", "two"))
    assert stages[-1].after > 0.8 and stages[-1].after >= stages[-1].before
    # 3 epochs: divided by 5 after the first (60 %) and twice after the second (80 % and 90 %).
    assert made[0].param_groups[0]["lr"] == pytest.approx(5e-3 / 5**3)


def test_the_leak_is_clamped_after_every_optimizer_step() -> None:
    net, above = settled(), []
    with torch.no_grad():
        net.nodes["one"].leak.fill_(1.0)

    def pushing(parameters):
        made = torch.optim.SGD(parameters, lr=5.0)
        made.register_step_post_hook(lambda *_: above.append(net.nodes["one"].leak.item()))
        return made

    list(reduce_steps(net, batches, batches, stages=(3,), epochs=1, optimizer=pushing, progress=False))
    assert max(above) > 1.0, "the optimizer would have raised it"
    assert net.nodes["one"].leak.item() <= 1.0


def test_the_authors_optimizer() -> None:
    group = adam([nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"], group["amsgrad"]) == (1e-4, (0.9, 0.999), 0, True)


def test_messages_say_what_is_wrong() -> None:
    net, x = network(), torch.randn(2, 4, 16, dtype=torch.float64)
    for stages in ((), (1, 2), (3, 3), (2, 0), (2.0, 1)):
        with pytest.raises(InputError, match="numbers from 1 that fall"):
            reduce_steps(net, batches, batches, stages=stages)
    with pytest.raises(InputError, match="p must be in"):
        Dropout(1.0)
    with pytest.raises(InputError, match="percentile must be"):
        set_thresholds(net, x, 0.0)
    plain = ns.Sequential(ns.Linear(16, 3), ns.LIF(dt=1e-3)).double()
    with pytest.raises(NetworkError, match="no hidden"):
        set_thresholds(plain, x)
    with pytest.raises(NetworkError, match="must be above 0"):
        set_thresholds(net, torch.zeros_like(x), 1.0)
    late = ns.Network(
        nodes={"input": ns.Input(16), "one": hidden()}, edges=[ns.Edge("input", "one", ns.Linear(16, 3), delay=1e-3)]
    ).double()
    with pytest.raises(NetworkError, match="have a delay"):
        set_thresholds(late, x)
    with pytest.raises(ShapeError, match="does not fit 5 features"):
        absorb_batch_norm(torch.zeros(4, 2), None, nn.BatchNorm1d(5))
    with pytest.raises(InputError, match="running statistics"):
        absorb_batch_norm(torch.zeros(5, 2), None, nn.BatchNorm1d(5, track_running_stats=False))
