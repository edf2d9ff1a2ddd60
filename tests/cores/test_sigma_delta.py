"""Sigma-delta cores: the trace of Lava's own program, bounds on the receiver's error, the network they compute."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim import cores, language

DT = 1e-3


@pytest.mark.parametrize("core", [cores.delta, cores.sigma_delta, cores.sigma_delta_cumulative], ids=lambda c: c.name)
def test_the_threshold_gets_no_gradient_and_what_is_sent_one(core: language.Core) -> None:
    layer = ns.layer(core)(dt=DT, v_th=0.5, learn=("v_th",))
    i = torch.tensor([0.3, 0.9, 0.1]).reshape(3, 1, 1).requires_grad_()
    z, _ = layer(i)
    to_input, to_threshold = torch.autograd.grad(z.sum(), [i, layer.v_th], allow_unused=True)
    assert to_threshold is None or not to_threshold.any()
    # All that was sent adds up to what the input was, or had added up to, when something was sent last.
    assert to_input.flatten().tolist() == ([0.0, 0.0, 1.0] if core is cores.delta else [1.0, 1.0, 0.0])


def run(core: language.Core, i: Tensor, **choices) -> Tensor:
    z, _ = ns.layer(core)(dt=DT, **choices)(i)
    return z


# Recorded from AbstractSigmaDeltaModel of lava-nc 0.10.0 in float with vth = 0.1, bias = 0.25, ReLU; all times 64.
LAVA_INPUT = [12, -15, 3, -3, -3, -1, -12, -1, -5, 20, 1, -2, -2, -4, -6, -2, 3, -1, 6, -1, 0, 9, 3, -3]
LAVA_SENT = [28, -15, 0, 0, 0, 0, -13, 0, 0, 11, 0, 0, 0, -7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]
LAVA_SENT_CUMULATIVE = [28, -15, 0, 0, 0, 0, -13, 0, 0, 11, 0, 0, 0, -7, 0, -4, 0, 0, 0, 3, 0, 9, 0, 0]


@pytest.mark.parametrize(
    ("core", "wanted"), [(cores.sigma_delta, LAVA_SENT), (cores.sigma_delta_cumulative, LAVA_SENT_CUMULATIVE)]
)
def test_trace_of_lava(core: language.Core, wanted: list[int]) -> None:
    i = torch.tensor(LAVA_INPUT, dtype=torch.float64).reshape(-1, 1, 1) / 64
    assert (64 * run(core, i, v_th=0.1, bias=0.25)).flatten().tolist() == wanted


def test_a_change_that_equals_the_threshold_is_sent() -> None:
    i = torch.tensor([0.25, 0.375, 0.5]).reshape(3, 1, 1)
    assert run(cores.delta, i, v_th=0.25).flatten().tolist() == [0.25, 0.0, 0.25]


def wandering(steps: int = 2000, size: int = 50, scale: float = 0.03) -> Tensor:
    return (scale * torch.randn(steps, 1, size, dtype=torch.float64)).cumsum(0)


def test_the_receiver_is_never_further_off_than_the_threshold() -> None:
    act = wandering()
    sent = run(cores.delta, act, v_th=0.1)
    error = (sent.cumsum(0) - act).abs()
    assert 0.099 < error.max() < 0.1
    assert 0.01 < (sent != 0).double().mean() < 0.3
    assert error[-500:].max() < 0.1 and error[:500].max() > 0.09, "the error does not grow"


def test_the_receiver_of_the_cumulative_kind_is_within_twice_the_threshold() -> None:
    i = wandering().diff(dim=0)
    act = i.cumsum(0).clamp(min=0.0)
    plain, cumulative = (run(core, i, v_th=0.1) for core in (cores.sigma_delta, cores.sigma_delta_cumulative))
    assert (plain.cumsum(0) - act).abs().max() < 0.1
    assert (cumulative.cumsum(0) - act).abs().max() < 0.2
    # A small change that lasts is sent in the end, which the plain kind never does.
    step = torch.zeros(40, 1, 1, dtype=torch.float64)
    step[0] = 0.03
    assert run(cores.sigma_delta, step, v_th=0.1).sum() == 0
    assert run(cores.sigma_delta_cumulative, step, v_th=0.1).sum() == 0.03


def test_without_the_residue_a_slow_ramp_would_be_lost() -> None:
    ramp = 0.004 * torch.arange(1, 501, dtype=torch.float64).reshape(-1, 1, 1)
    steps = ramp.diff(dim=0, prepend=torch.zeros(1, 1, 1, dtype=torch.float64))
    forgetful = torch.where(steps.abs() >= 0.1, steps, 0.0)  # |x[t] - x[t-1]| against the threshold
    assert (forgetful.cumsum(0) - ramp).abs().max() == pytest.approx(2.0)
    assert (run(cores.delta, ramp, v_th=0.1).cumsum(0) - ramp).abs().max() < 0.1


def deep(v_th: float) -> tuple[ns.Network, tuple[Tensor, ...]]:
    """Delta encoder, two sigma-delta layers, decoder: ReLU(W x + b) twice and a linear readout."""
    torch.manual_seed(5)
    biases = 0.2 * torch.randn(14, dtype=torch.float64), 0.2 * torch.randn(9, dtype=torch.float64)
    neurons = ns.layer(cores.sigma_delta)
    net = ns.Network(
        nodes={
            "input": ns.Input(6),
            "encoder": ns.layer(cores.delta)(dt=DT, v_th=v_th),
            "one": neurons(dt=DT, v_th=v_th, bias=biases[0]),
            "two": neurons(dt=DT, v_th=v_th, bias=biases[1]),
            "out": ns.layer(cores.sigma)(dt=DT),
        },
        edges=[
            ns.Edge("input", "encoder", ns.Flatten()),
            ns.Edge("encoder", "one", ns.Linear(6, 14)),
            ns.Edge("one", "two", ns.Linear(14, 9)),
            ns.Edge("two", "out", ns.Linear(9, 4)),
        ],
    ).double()
    weights = tuple(edge.synapses[0].weight.detach() for edge in net.edges[1:])
    return net, (*weights, *biases)


def test_with_a_threshold_of_zero_the_network_is_the_ordinary_one() -> None:
    net, (w1, w2, w3, b1, b2) = deep(0.0)
    x = wandering(80, 6, 0.3)
    wanted = (((x @ w1.T + b1).relu() @ w2.T + b2).relu()) @ w3.T
    torch.testing.assert_close(net(x)[0].detach(), wanted, rtol=0, atol=1e-12)


def test_the_error_of_two_layers_is_bounded() -> None:
    net, (w1, w2, _, b1, b2) = deep(0.02)
    x = wandering(400, 6, 0.1)
    with torch.no_grad():
        values = net.run(x, None, ("encoder", "one", "two")).recorded
    first = (x @ w1.T + b1).relu()
    norm = float(w1.abs().sum(1).max())
    error = (values["one"].cumsum(0) - first).abs().max()
    assert 0.02 < error <= (norm + 1) * 0.02
    second = (first @ w2.T + b2).relu()
    norm2 = float(w2.abs().sum(1).max())
    assert (values["two"].cumsum(0) - second).abs().max() <= (norm2 * (norm + 1) + 1) * 0.02
    assert (values["two"] != 0).double().mean() < 0.9 * (second != 0).double().mean()


def test_a_frozen_input_sends_nothing_after_the_first_step() -> None:
    net, _ = deep(0.02)
    x = torch.randn(1, 3, 6, dtype=torch.float64).expand(20, -1, -1)
    values = net.run(x, None, ("encoder", "one", "two")).recorded
    for sent in values.values():
        assert (sent[0] != 0).any() and not sent[1:].any()
