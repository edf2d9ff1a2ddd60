"""Delta activation layers: bounds, gradients of the author's layer, and a network of changes equal to one of values."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim import cores
from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.models.delta import DeltaActivation, DeltaState, WithActivity, activity_loss, send_changes

DT = 1e-2


def layer(size: int | tuple[int, ...] = 5, **choices) -> DeltaActivation:
    return DeltaActivation(size, dt=DT, **choices).double()


def wandering(steps: int = 60, size: tuple[int, ...] = (2, 5), scale: float = 0.1) -> Tensor:
    return (scale * torch.randn(steps, *size, dtype=torch.float64)).cumsum(0)


def test_the_error_is_half_a_threshold_and_does_not_drift() -> None:
    x = wandering(3000)
    sent = layer(sends="changes")(x)[0].detach()
    error = (sent.cumsum(0) - x.relu()).abs()
    assert 0.0499 < error.max() <= 0.05 + 1e-9 and error[-300:].max() <= 0.05 + 1e-9


def test_what_is_sent_is_a_multiple_of_the_threshold() -> None:
    sent = layer(sends="changes", threshold=0.125)(wandering())[0].detach()
    assert torch.equal(sent / 0.125, (sent / 0.125).round()) and sent.unique().numel() > 3


def test_values_and_changes_say_the_same() -> None:
    x = wandering()
    values, changes = (layer(sends=flow)(x)[0] for flow in ("values", "changes"))
    torch.testing.assert_close(changes.cumsum(0), values, rtol=0, atol=1e-12)
    added = layer(takes="changes")(x.diff(dim=0, prepend=torch.zeros_like(x[:1])))[0]
    torch.testing.assert_close(added, values, rtol=0, atol=1e-12)


def test_a_fine_threshold_is_the_activation_itself() -> None:
    x = wandering()
    assert (layer(threshold=1e-9)(x)[0] - x.relu()).abs().max() <= 0.5e-9 + 1e-12
    assert torch.equal(layer(threshold=None)(x)[0], x.relu())
    assert torch.equal(layer(threshold=None, rectify=False)(x)[0], x)


def test_derivatives_of_the_authors_layer() -> None:
    one = layer(1)
    x = torch.full((1, 1, 1), 0.37, dtype=torch.float64, requires_grad=True)
    o = one(x)[0].sum()
    to_x, to_theta = torch.autograd.grad(o, [x, one.theta])
    assert o.item() == pytest.approx(0.4)
    assert (to_x.item(), to_theta.item()) == (1.0, -4.0)
    with torch.no_grad():
        one.theta.neg_()
    o = one(x)[0].sum()
    assert o.item() == pytest.approx(0.4)
    assert torch.autograd.grad(o, one.theta)[0].item() == 4.0


def test_lowering_the_activity_raises_the_threshold_and_lowers_the_events() -> None:
    one, x = layer(4, rate=1.0), wandering(200, (3, 4), 0.05)
    before = []
    optimizer = torch.optim.SGD([one.theta], lr=0.02)
    for _ in range(100):
        o, _ = one(x)
        error = float((o - x.relu()).detach().square().mean())
        before.append((one.theta.detach().clone(), one.activity.events, error))
        optimizer.zero_grad()
        activity_loss(one).backward()
        optimizer.step()
    (first, events, error), (last, fewer, larger) = before[0], before[-1]
    assert bool((last > 1.2 * first).all()) and fewer < 0.9 * events and larger > error


def test_activity_leaves_out_the_first_frame_and_goes_on_after_a_cut() -> None:
    one, x = layer(5, rate=2.0, fan_out=7), wandering(20)
    o = one(x)[0]
    changes = o.diff(dim=0)
    seen = one.activity
    torch.testing.assert_close(seen.mean_change, changes.abs().mean())
    assert (seen.events, seen.nonzero, seen.outputs) == (
        int(changes.count_nonzero()),
        int(o[1:].count_nonzero()),
        19 * 2 * 5,
    )
    assert seen.nonzero > 0
    torch.testing.assert_close(activity_loss(one), 14.0 * changes.abs().mean())
    first, state = one(x[:8])
    part = one.activity
    second, _ = one(x[8:], state)
    assert torch.equal(torch.cat((first, second)), o)
    assert part.outputs + one.activity.outputs == seen.outputs and part.events + one.activity.events == seen.events


@pytest.mark.parametrize("through_time", [True, False])
def test_the_gradient_of_the_activity_is_that_of_its_definition(through_time: bool) -> None:
    one, x = layer(5), wandering(9).requires_grad_()
    _, state = one(wandering(3))
    state = state._replace(
        sent=(state.sent + 0.3).detach().requires_grad_(), begun=torch.tensor([1.0, 0.0], dtype=x.dtype)
    )
    for given in (None, state):
        o, _ = one(x, given, through_time=through_time)
        leaves = (x, one.theta) if given is None else (x, one.theta, given.sent)
        weights = torch.linspace(0.5, 1.5, o.numel(), dtype=x.dtype).reshape(o.shape)
        found = torch.autograd.grad(one.activity.mean_change + (weights * o).sum(), leaves, allow_unused=True)
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


def test_a_cut_run_of_changes_goes_on() -> None:
    one, x = layer(5, takes="changes", sends="changes"), wandering(20).diff(dim=0)
    whole, end = one(x)
    first, state = one(x[:7])
    second, after = one(x[7:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole, rtol=0, atol=1e-12)
    assert all(torch.allclose(a, b) for a, b in zip(end, after, strict=True))


@pytest.mark.parametrize(("per", "shape"), [("channel", (4, 1, 1)), ("neuron", (4, 3, 2)), ("layer", ())])
def test_thresholds_per_channel_neuron_or_layer(per: str, shape: tuple[int, ...]) -> None:
    one = layer((4, 3, 2), per=per)
    assert tuple(one.theta.shape) == shape and tuple(one.bias.shape) == (4, 1, 1)
    with torch.no_grad():
        one.theta.copy_(torch.linspace(0.1, 0.9, one.theta.numel()).reshape(shape))
    x = 3 * torch.rand(2, 1, 4, 3, 2, dtype=torch.float64)
    o = one(x)[0]
    assert torch.equal(o, torch.round(x / one.theta) * one.theta)
    o.sum().backward()
    torch.testing.assert_close(one.theta.grad, -torch.round(x / one.theta).sum_to_size(shape).detach())


def test_gradients_are_cut_between_frames_where_asked() -> None:
    for through_time, wanted in ((True, [3.0, 2.0, 1.0]), (False, [1.0, 1.0, 1.0])):
        one = layer(1, takes="changes", threshold=1e-6)
        x = torch.ones(3, 1, 1, dtype=torch.float64, requires_grad=True)
        o, _ = one(x, through_time=through_time)
        assert torch.autograd.grad(o.sum(), x)[0].flatten().tolist() == wanted


def network(**choices) -> ns.Network:
    torch.manual_seed(1)
    return ns.Sequential(
        ns.Input((1, 8, 8)),
        ns.Conv2d(1, 4, 3),
        DeltaActivation((4, 6, 6), dt=DT, **choices),
        ns.AvgPool2d(2),
        ns.Flatten(),
        ns.Linear(36, 12),
        DeltaActivation(12, dt=DT, **choices),
        ns.Linear(12, 3),
        DeltaActivation(3, dt=DT, threshold=None, rectify=False),
        names=("one", "two", "out"),
    ).double()


def biased(net: ns.Network) -> ns.Network:
    with torch.no_grad():
        for node in net.populations().values():
            node.bias.normal_(0.0, 0.1)
    return net


def test_a_network_of_changes_gives_what_a_network_of_values_gives() -> None:
    net, x = biased(network(threshold=0.03)), wandering(30, (2, 1, 8, 8), 0.2)
    values, _ = net(x)
    send_changes(net)
    changes, _, sent = net.recorded(x, None, ("one", "two"))
    torch.testing.assert_close(changes, values, rtol=0, atol=1e-12)
    assert all(bool((s < 0).any()) for s in sent.values()), "changes have both signs, rectified values have not"
    send_changes(net, False)
    assert torch.equal(net(x)[0], values)


def test_a_frozen_video_sends_nothing_after_the_first_frame() -> None:
    net = biased(network(threshold=0.03))
    send_changes(net)
    x = torch.randn(1, 2, 1, 8, 8, dtype=torch.float64).expand(12, -1, -1, -1, -1)
    _, _, sent = net.recorded(x, None, ("one", "two"))
    assert all(bool(s[0].any()) and not bool(s[1:].any()) for s in sent.values())
    assert [net.nodes[name].activity.events for name in ("one", "two")] == [0, 0]
    assert net.nodes["one"].activity.nonzero > 0


@pytest.mark.parametrize("scale", [0.01, 0.03])
def test_static_noise_flickers_at_the_edges_of_the_quantiser_and_not_in_a_delta_core(scale: float) -> None:
    x = torch.rand(1, 1, 4000, dtype=torch.float64) + 0.5
    noisy = x + scale * torch.randn(60, 1, 4000, dtype=torch.float64)
    one = layer(4000, per="layer")
    one(noisy)
    rate = one.activity.events / one.activity.outputs
    # An edge lies between two values with probability |difference| / threshold, up to 1.
    d = torch.randn(200_000, dtype=torch.float64).abs() * scale * math.sqrt(2)
    assert rate == pytest.approx(float((d / 0.1).clamp(max=1).mean()), rel=0.03)
    sent, _ = ns.layer(cores.delta)(dt=DT, v_th=0.1)(noisy)
    assert float((sent[1:] != 0).double().mean()) < rate / 5


def test_it_trains_in_the_training_loop_and_more_rate_sends_less() -> None:
    x = torch.rand(24, 1, 8, 8)
    y = (x[:, 0, :4].mean((1, 2)) > x[:, 0, 4:].mean((1, 2))).long()
    clips = (x + 0.02 * torch.randn(6, 24, 1, 8, 8), y)
    sent = []
    for rate in (0.0, 3.0):
        net = network(rate=rate).float()
        loss = WithActivity(ns.MeanMembrane(), net)
        history = ns.fit(
            net, [clips], loss=loss, epochs=15, progress=False, optimizer=torch.optim.Adam(net.parameters(), 0.01)
        )
        assert history.rows[-1]["loss"] < history.rows[0]["loss"]
        assert torch.equal(loss.prediction(torch.eye(3)[None]), torch.arange(3))
        net(clips[0])
        sent.append(net.nodes["one"].activity.events)
    assert sent[1] < 0.7 * sent[0]


def test_a_layer_that_has_run_can_be_copied_and_kept() -> None:
    one, x = layer(), wandering()
    o = one(x)[0]
    for twin in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert twin.activity is None and torch.equal(twin(x)[0], o)
    other = layer()
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(x)[0], o)


def test_messages_say_what_is_wrong() -> None:
    for choice, text in (
        (dict(per="row"), "per must be"),
        (dict(sends="spikes"), "sends must be"),
        (dict(threshold=0.0), "threshold must be"),
        (dict(rate=-1.0), "rate must be"),
        (dict(fan_out=0), "rate must be"),
    ):
        with pytest.raises(InputError, match=text):
            layer(**choice)
    one, x = layer(), wandering()
    with pytest.raises(InputError, match="cannot record"):
        one.recorded(x, None, ("v",))
    with pytest.raises(ShapeError, match="must hold"):
        one(x, (x[0],))
    with pytest.raises(ShapeError, match=r"state.sent must be"):
        one(x, DeltaState(x[0], x[0, :1], torch.zeros(2)))
    with pytest.raises(NetworkError, match="has been run"):
        activity_loss(nn.Linear(2, 2))
    made = lambda *parts: ns.Sequential(ns.Linear(4, 4), DeltaActivation(4, dt=DT), *parts)  # noqa: E731
    with pytest.raises(NetworkError, match="does not add them up"):
        send_changes(made(ns.Linear(4, 2), ns.LI(dt=DT)))
    with pytest.raises(NetworkError, match="has a bias"):
        send_changes(made(ns.Linear(4, 2, bias=True), DeltaActivation(2, dt=DT)))
    pooled = ns.Sequential(
        ns.Input((1, 4, 4)), ns.Conv2d(1, 1, 1), DeltaActivation((1, 4, 4), dt=DT), ns.MaxPool2d(2),
        DeltaActivation((1, 2, 2), dt=DT),
    )  # fmt: skip
    with pytest.raises(NetworkError, match="MaxPool2d of changes is not"):
        send_changes(pooled)
    mixed = ns.Network(
        nodes={"input": ns.Input(4), "one": DeltaActivation(4, dt=DT), "two": DeltaActivation(4, dt=DT)},
        edges=[ns.Edge(a, b, ns.Linear(4, 4)) for a, b in (("input", "one"), ("one", "two"), ("input", "two"))],
    )
    with pytest.raises(NetworkError, match="would get changes and"):
        send_changes(mixed)
