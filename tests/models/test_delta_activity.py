"""Activity of delta layers: its definition, its gradient, and training with a loss on it."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError, NetworkError
from neurosim.learning.rules.base import SLTT
from neurosim.models import DeltaActivation, WithActivity, activity, activity_loss
from tests.models.delta_layers import layer, network, wandering


def test_activity_excludes_the_first_frame_and_continues_after_a_split() -> None:
    one, x = layer(5), wandering(20)
    o, end = one(x)
    changes = o.diff(dim=0)
    seen = activity(end)
    torch.testing.assert_close(seen.mean_change, changes.abs().mean())
    assert (seen.events, seen.nonzero, seen.outputs) == (
        int(changes.count_nonzero()),
        int(o[1:].count_nonzero()),
        19 * 2 * 5,
    )
    assert seen.nonzero > 0
    first, state = one(x[:8])
    second, after = one(x[8:], state)
    assert torch.equal(torch.cat((first, second)), o)
    part, rest = activity(state), activity(after, state)
    assert part.outputs + rest.outputs == seen.outputs == activity(after).outputs
    assert part.events + rest.events == seen.events == activity(after).events
    assert part.nonzero + rest.nonzero == seen.nonzero == activity(after).nonzero
    torch.testing.assert_close(activity(after).mean_change, seen.mean_change)
    torch.testing.assert_close(rest.mean_change, changes[7:].abs().mean())


def test_the_loss_on_activity_is_the_sum_over_layers_by_rate_and_fan_out() -> None:
    net, x = network(rate=2.0, threshold=0.03), wandering(9, (2, 1, 8, 8), 0.2)
    two = net.nodes["two"]
    assert isinstance(two, DeltaActivation)
    two.fan_out = 3
    _, state, values, *_ = net.run(x, None, ("one", "two"))
    mean = {name: value.diff(dim=0).abs().mean() for name, value in values.items()}
    torch.testing.assert_close(activity_loss(net, state).detach(), 2.0 * mean["one"] + 6.0 * mean["two"])


@pytest.mark.parametrize("through_time", [True, False])
def test_the_gradient_of_the_activity_is_that_of_its_definition(through_time: bool) -> None:
    one, x = layer(5), wandering(9).requires_grad_()
    _, state = one(wandering(3))
    state = state._replace(
        sent=(state.sent + 0.3).detach().requires_grad_(), begun=torch.tensor([1.0, 0.0], dtype=x.dtype)
    )
    for given in (None, state):
        o, after = one(x, given, through_time=through_time)
        leaves = (x, one.theta) if given is None else (x, one.theta, given.sent)
        weights = torch.linspace(0.5, 1.5, o.numel(), dtype=x.dtype).reshape(o.shape)
        found = torch.autograd.grad(activity(after, given).mean_change + (weights * o).sum(), leaves, allow_unused=True)
        o, _ = one(x, given)
        sent = torch.zeros_like(o[0]) if given is None else given.sent
        earlier = torch.cat((sent[None], o[:-1]))
        change = (o - (earlier if through_time else earlier.detach())).abs()
        counted = change[1:].sum() + (change[0, 0].sum() if given is not None else 0.0)
        mean = counted / (8 * 2 * 5 + (0 if given is None else 5))
        wanted = torch.autograd.grad(mean + (weights * o).sum(), leaves, allow_unused=True)
        for a, b in zip(found, wanted, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_lowering_the_activity_raises_the_threshold_and_lowers_the_events() -> None:
    one, x = layer(4), wandering(200, (3, 4), 0.05)
    before = []
    optimizer = torch.optim.SGD([one.theta], lr=0.02)
    for _ in range(100):
        o, state = one(x)
        error = float((o - x.relu()).detach().square().mean())
        before.append((one.theta.detach().clone(), activity(state).events, error))
        optimizer.zero_grad()
        activity(state).mean_change.backward()
        optimizer.step()
    (first, events, error), (last, fewer, larger) = before[0], before[-1]
    assert bool((last > 1.2 * first).all()) and fewer < 0.9 * events and larger > error


def test_it_trains_in_the_training_loop_and_more_rate_sends_less() -> None:
    x = torch.rand(24, 1, 8, 8)
    y = (x[:, 0, :4].mean((1, 2)) > x[:, 0, 4:].mean((1, 2))).long()
    clips = (x + 0.02 * torch.randn(6, 24, 1, 8, 8), y)
    sent = []
    for rate in (0.0, 3.0):
        net = network(rate=rate).float()
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        history = ns.fit(
            net, [clips], loss=ns.MeanMembrane(), rule=WithActivity(), epochs=15, progress=False, optimizer=optimizer
        )
        assert history.rows[-1]["loss"] < history.rows[0]["loss"]
        sent.append(activity(net(clips[0])[1].nodes["one"]).events)
    assert sent[1] < 0.7 * sent[0]


def test_the_gradients_are_those_of_both_losses() -> None:
    x, y = wandering(9, (2, 1, 8, 8), 0.2), torch.tensor([0, 2])
    net, twin = (network(rate=2.0, threshold=0.03) for _ in range(2))
    value, _ = WithActivity().gradients(net, x, y, ns.MeanMembrane())
    output, state = twin(x)
    total = ns.MeanMembrane()(output, y) + activity_loss(twin, state)
    total.backward()
    torch.testing.assert_close(value, total.detach())
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_a_rule_step_by_step_adds_the_activity_of_each_chunk() -> None:
    x, y, net = wandering(9, (2, 1, 8, 8), 0.2), torch.tensor([0, 2]), network(rate=2.0, threshold=0.03)
    value, _ = WithActivity(SLTT(chunk=3)).gradients(net, x, y, ns.CrossEntropy())
    total, state = torch.zeros(()), None
    for part in x.split(3):
        output, after = net(part, state)
        total = total + (ns.CrossEntropy()(output, y) + activity_loss(net, after, state)).detach() / 3
        state = after.detach()
    torch.testing.assert_close(value, total, check_dtype=False)
    with pytest.raises(InputError, match="a mean over steps"):
        WithActivity(SLTT()).gradients(net, x, y, ns.MeanMembrane())


def test_other_networks_are_refused() -> None:
    x, y = torch.rand(3, 2, 4), torch.tensor([0, 1])
    plain = ns.Sequential(ns.Linear(4, 2), ns.LI(dt=1e-3))
    with pytest.raises(NetworkError, match="no DeltaActivation with a threshold"):
        WithActivity().gradients(plain, x, y, ns.MeanMembrane())
    with pytest.raises(InputError, match="WithActivity needs a Network; got Linear"):
        WithActivity().gradients(torch.nn.Linear(4, 2), x, y, ns.MeanMembrane())
