"""Delta activation layers: bounds, gradients of the author's layer, and a network of changes equal to one of values."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.models import DeltaActivation, DeltaState, activity, send_changes
from tests.models.delta_layers import DT, layer, network, wandering


def test_the_error_is_half_a_threshold_and_does_not_drift() -> None:
    x = wandering(3000)
    sent = layer(sends="changes")(x)[0].detach()
    error = (sent.cumsum(0) - x.relu()).abs()
    assert 0.0499 < error.max() <= 0.05 + 1e-9 and error[-300:].max() <= 0.05 + 1e-9


def test_what_is_sent_is_a_multiple_of_the_threshold() -> None:
    sent = layer(sends="changes", threshold=0.125)(wandering())[0].detach()
    assert torch.equal(sent / 0.125, (sent / 0.125).round()) and sent.unique().numel() > 3


def test_changes_sum_to_the_values() -> None:
    x = wandering()
    values, changes = (layer(sends=flow)(x)[0] for flow in ("values", "changes"))
    torch.testing.assert_close(changes.cumsum(0), values, rtol=0, atol=1e-12)
    added = layer(takes="changes")(x.diff(dim=0, prepend=torch.zeros_like(x[:1])))[0]
    torch.testing.assert_close(added, values, rtol=0, atol=1e-12)


def test_a_small_threshold_converges_to_the_activation() -> None:
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


def test_a_split_run_of_changes_continues() -> None:
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


def test_gradients_are_cut_between_frames_without_through_time() -> None:
    for through_time, wanted in ((True, [3.0, 2.0, 1.0]), (False, [1.0, 1.0, 1.0])):
        one = layer(1, takes="changes", threshold=1e-6)
        x = torch.ones(3, 1, 1, dtype=torch.float64, requires_grad=True)
        o, _ = one(x, through_time=through_time)
        assert torch.autograd.grad(o.sum(), x)[0].flatten().tolist() == wanted


def biased(net: ns.Network) -> ns.Network:
    with torch.no_grad():
        for node in net.populations().values():
            node.bias.normal_(0.0, 0.1)
    return net


def test_a_network_of_changes_gives_what_a_network_of_values_gives() -> None:
    net, x = biased(network(threshold=0.03)), wandering(30, (2, 1, 8, 8), 0.2)
    values, _ = net(x)
    send_changes(net)
    changes, _, sent, *_ = net.run(x, None, ("one", "two"))
    torch.testing.assert_close(changes, values, rtol=0, atol=1e-12)
    assert all(bool((s < 0).any()) for s in sent.values()), "changes have both signs, rectified values have not"
    send_changes(net, False)
    assert torch.equal(net(x)[0], values)


def test_a_frozen_video_sends_nothing_after_the_first_frame() -> None:
    net = biased(network(threshold=0.03))
    send_changes(net)
    x = torch.randn(1, 2, 1, 8, 8, dtype=torch.float64).expand(12, -1, -1, -1, -1)
    _, state, sent, *_ = net.run(x, None, ("one", "two"))
    assert all(bool(s[0].any()) and not bool(s[1:].any()) for s in sent.values())
    assert [activity(state.nodes[name]).events for name in ("one", "two")] == [0, 0]
    assert activity(state.nodes["one"]).nonzero > 0


@pytest.mark.parametrize("scale", [0.01, 0.03])
def test_noise_toggles_at_the_edges_of_the_quantiser_and_not_in_a_delta_core(scale: float) -> None:
    x = torch.rand(1, 1, 4000, dtype=torch.float64) + 0.5
    noisy = x + scale * torch.randn(60, 1, 4000, dtype=torch.float64)
    one = layer(4000, per="layer")
    seen = activity(one(noisy)[1])
    rate = seen.events / seen.outputs
    # An edge lies between two values with probability |difference| / threshold, up to 1.
    d = torch.randn(200_000, dtype=torch.float64).abs() * scale * math.sqrt(2)
    assert rate == pytest.approx(float((d / 0.1).clamp(max=1).mean()), rel=0.03)
    sent, _ = ns.layer(cores.delta)(dt=DT, v_th=0.1)(noisy)
    assert float((sent[1:] != 0).double().mean()) < rate / 5


def test_a_layer_that_has_run_can_be_copied_and_kept() -> None:
    one, x = layer(), wandering()
    o = one(x)[0]
    for twin in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert torch.equal(twin(x)[0], o)
    other = layer()
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(x)[0], o)


def test_wrong_input_is_refused_by_name() -> None:
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
        one.run(x, None, ("v",))
    with pytest.raises(ShapeError, match="must hold"):
        one(x, (x[0],))
    with pytest.raises(ShapeError, match=r"state.sent must be"):
        one(x, DeltaState(x[0], x[0, :1], *(torch.zeros(2) for _ in range(5))))
    made = lambda *parts: ns.Sequential(ns.Linear(4, 4), DeltaActivation(4, dt=DT), *parts)  # noqa: E731
    with pytest.raises(NetworkError, match="does not sum them"):
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
