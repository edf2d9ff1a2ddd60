"""Forward-forward: the loss by its equation, layers that know nothing of each other, goodness that tells classes."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.errors import InputError
from neurosim.learning import ForwardForward, Goodness
from tests.learning.rules.small_networks import close

DT, CLASSES = 1e-3, 3


def judged(seed: int = 0, sizes: tuple[int, ...] = (12, 10, 9, 8)) -> Goodness:
    torch.manual_seed(seed)
    parts: list[ns.Linear | ns.Neuron] = []
    for n_in, n_out in itertools.pairwise(sizes):
        parts += [ns.Linear(n_in, n_out), ns.LIF(dt=DT, tau_mem=3e-3, r=4.0)]
        torch.nn.init.normal_(parts[-2].weight, 0.1, 0.5)
    return Goodness(ns.Sequential(*parts).double(), CLASSES)


def batch(samples: int = 5, steps: int = 6) -> tuple[Tensor, Tensor]:
    x = torch.rand(steps, samples, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x, torch.arange(samples) % CLASSES


def test_it_is_the_equation_layer_by_layer() -> None:
    net, (x, y) = judged(), batch()
    rule = ForwardForward(threshold=1.5)
    value, output = rule.gradients(net, x, y, ns.CrossEntropy(), torch.Generator().manual_seed(3))
    step = torch.randint(1, CLASSES, y.shape, generator=torch.Generator().manual_seed(3))
    wrong = (y + step) % CLASSES
    total = 0.0
    goodness = []
    for k, (edge, name) in enumerate(zip(net.net.edges, net.net.populations(), strict=True)):
        weight = edge.synapses[0].weight.detach().clone().requires_grad_()
        found = []
        for classes in (y, wrong):
            z = x.clone()
            for b, label in enumerate(classes.tolist()):
                z[:, b, :CLASSES] = torch.eye(CLASSES).double()[label]
            for before, source in zip(net.net.edges[:k], list(net.net.populations())[:k], strict=True):
                with torch.no_grad():
                    z, _ = net.net.nodes[source](before(z))
                rates = z.mean(0)
                z = z / rates.square().mean(1, keepdim=True).sqrt().clamp(min=1e-8)
            out, _ = net.net.nodes[name](z @ weight.T)
            found.append(out.mean(0).square().sum(1))
        loss = torch.log1p(torch.exp(1.5 - found[0])).mean() + torch.log1p(torch.exp(found[1] - 1.5)).mean()
        (wanted,) = torch.autograd.grad(loss, weight)
        assert wanted.any() and isinstance(edge.synapses[0], ns.Linear)
        assert edge.synapses[0].weight.grad is not None and close([edge.synapses[0].weight.grad], [wanted], 1e-12)
        total += loss.item()
        goodness.append(found)
    assert value.item() == pytest.approx(total, rel=1e-12)
    for b in range(len(y)):
        assert output[0, b, y[b]].item() == pytest.approx(sum(g[0][b].item() for g in goodness[1:]))
        assert output[0, b, wrong[b]].item() == pytest.approx(sum(g[1][b].item() for g in goodness[1:]))


def test_the_goodness_of_a_layer_reaches_its_own_weights_alone() -> None:
    net, (x, y) = judged(), batch()
    weights = [edge.synapses[0].weight for edge in net.net.edges]
    for k, (_, goodness) in enumerate(net.layers(net.with_classes(x, y))):
        found = torch.autograd.grad(goodness.sum(), weights, allow_unused=True)
        assert [g is not None and bool(g.any()) for g in found] == [j == k for j in range(3)]


def test_layers_get_normalised_activity() -> None:
    net, (x, y) = judged(), batch()
    with torch.no_grad():
        shown = net.with_classes(x, y)
        z, _ = net.net.nodes["lif1"](net.net.edges[0](shown))
    assert z.any()
    size = z.mean(0).square().mean(1).sqrt()
    scaled = (z / size[:, None]).mean(0).square().mean(1)
    torch.testing.assert_close(scaled, torch.ones(len(y)).double())
    first, second, *_ = [g for _, g in net.layers(shown)]
    with torch.no_grad():
        again, _ = net.net.nodes["lif2"](net.net.edges[1](z / size[:, None]))
    torch.testing.assert_close(second.detach(), again.mean(0).square().sum(1))
    assert first.requires_grad


def test_training_separates_positive_from_negative_data_and_the_classes() -> None:
    torch.manual_seed(0)
    x = torch.rand(8, 60, 12)
    y = torch.arange(60) % CLASSES
    for label in range(CLASSES):
        x[:, y == label, 3 + 3 * label : 6 + 3 * label] += 1.0
    net = judged(sizes=(12, 40, 40)).float()
    rule = ForwardForward(threshold=4.0)

    def gap() -> float:
        _, output = rule.gradients(net, x, y, ns.CrossEntropy(), torch.Generator().manual_seed(0))
        right = output[0].gather(1, y[:, None])[:, 0]
        return float((right - (output[0].sum(1) - right)).mean())

    before = gap()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    ns.fit(net, [(x, y)], rule=rule, optimizer=optimizer, epochs=60, progress=False)
    assert gap() > before + 1
    assert ns.evaluate(net, [(x, y)])["accuracy"] > 0.9


def test_convolutions_learn_and_the_gradient_can_stay_inside_each_step() -> None:
    torch.manual_seed(0)
    net = Goodness(
        ns.Sequential(
            ns.Input((1, 6, 6)),
            ns.Conv2d(1, 4, 3),
            ns.LIF(dt=DT, r=4.0),
            ns.AvgPool2d(2),
            ns.Flatten(),
            ns.Linear(16, 8),
            ns.LIF(dt=DT, r=4.0),
        ),
        2,
    )
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, 0.2, 0.5)
    x, y = torch.rand(5, 4, 1, 6, 6), torch.tensor([0, 1, 1, 0])
    assert torch.equal(net.with_classes(x, y)[0, :, 0, 0, :2], torch.eye(2)[y]) and torch.equal(
        net.with_classes(x, y)[:, :, :, 1:], x[:, :, :, 1:]
    )
    found = []
    for through_time in (True, False):
        net.zero_grad()
        rule = ForwardForward(through_time=through_time)
        rule.gradients(net, x, y, ns.CrossEntropy(), torch.Generator().manual_seed(0))
        found.append([p.grad.clone() for p in net.parameters()])
    assert all(g.any() for g in found[0] + found[1])
    assert not torch.allclose(found[0][0], found[1][0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Goodness(ns.Sequential(ns.Linear(4, 2), ns.LI(dt=DT)), 2), "never fires"),
        (lambda: Goodness(ns.Sequential(ns.Linear(4, 2), ns.LIF(dt=DT)), 5), "classes must be from 2"),
        (lambda: Goodness(ns.Sequential(ns.Linear(4, 2), ns.LIF(dt=DT)), 2, strength=0.0), "strength must be"),
        (
            lambda: Goodness(ns.Sequential(ns.Linear(4, 2), ns.Recurrent(ns.LIF(dt=DT), ns.Linear(2, 2))), 2),
            "in a row without",
        ),
        (lambda: Goodness(torch.nn.Linear(2, 2), 2), "needs a Network with one input; got Linear"),
        (lambda: ForwardForward(threshold=0.0), "threshold must be a number above 0"),
        (
            lambda: ForwardForward().gradients(judged().net, *batch(), ns.CrossEntropy()),
            r"needs Goodness\(net, classes\); got Network",
        ),
    ],
)
def test_wrong_arguments_are_refused_by_name(make, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        make()
