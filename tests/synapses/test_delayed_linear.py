"""Learnable delays against their equations, with and without gradients through time."""

from __future__ import annotations

import math

import pytest
import torch

from neurosim.synapses import DelayedLinear
from tests.synapses.delays import DT, D, layer, spikes


@pytest.mark.parametrize(("position", "delay"), [(12, 0), (0, 12), (-12, 24), (3, 9)])
def test_a_position_of_the_paper_is_a_delay_from_the_middle_of_the_kernel(position, delay):
    made = layer(1, 1).eval()
    with torch.no_grad():
        made.weight.fill_(1.0)
        made.delay.fill_(D // 2 - position)
    x = torch.zeros(60, 1, 1, dtype=torch.float64)
    x[5] = 1.0
    for current, _ in (made(x), made.rounded()(x)):
        assert current.detach().flatten().nonzero().tolist() == [[5 + delay]]


@pytest.mark.parametrize("width", [0.5, 1.0, 3.7, 12.27, 100.0])
def test_a_kernel_sums_to_its_weight_at_any_width(width):
    made = layer(5, 4)
    made.narrow(width)
    kernel = made.kernel()
    assert kernel.shape == (4, 5, D + 1)
    torch.testing.assert_close(kernel.sum(-1), made.weight, rtol=3e-7, atol=0.0)


def test_a_kernel_is_a_gaussian_around_the_delay():
    made = layer(1, 1)
    made.narrow(2.0)
    with torch.no_grad():
        made.weight.fill_(3.0)
        made.delay.fill_(7.25)
    bell = [math.exp(-0.5 * ((n - 7.25) / 2.0) ** 2) for n in range(D + 1)]
    wanted = torch.tensor([3.0 * k / (sum(bell) + 1e-7) for k in bell], dtype=torch.float64)
    torch.testing.assert_close(made.kernel()[0, 0], wanted)


@pytest.mark.parametrize("training", [True, False])
def test_currents_are_the_sum_over_taps(training):
    made = layer(3, 2, memory=4, bias=True).train(training)
    with torch.no_grad():
        made.bias.copy_(torch.tensor([0.25, -1.0]))
    x = torch.randn(9, 2, 3, dtype=torch.float64)
    delays = torch.nn.functional.one_hot(made.delay.round().long(), 5)
    kernel = made.kernel() if training else made.weight[..., None] * delays
    wanted = made.bias.expand(9, 2, 2).clone()
    for t in range(9):
        for n in range(min(t, 4) + 1):
            wanted[t] += x[t - n] @ kernel[:, :, n].T
    torch.testing.assert_close(made(x)[0], wanted)


def test_no_current_comes_before_its_spike():
    made = layer(3, 2)
    x = spikes(40, 2, 3, 0.3)
    later = x.clone()
    later[20:] = 1.0 - later[20:]
    assert torch.equal(made(x)[0][:20], made(later)[0][:20])


def test_gradients_of_weights_delays_and_input():
    made = layer(3, 2, memory=6)
    made.narrow(1.3)
    x = torch.randn(8, 2, 3, dtype=torch.float64, requires_grad=True)
    state = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)

    def run(weight, delay, x, state):
        held = {"weight": weight, "delay": delay, "width": made.width}
        return torch.func.functional_call(made, held, (x, state))[0]

    assert torch.autograd.gradcheck(run, (made.weight, made.delay, x, state))


def test_delays_start_uniform_and_a_few_of_the_programs_at_the_longest():
    torch.manual_seed(0)
    code, paper = (DelayedLinear(200, 100, D * DT, dt=DT, variant=v) for v in ("code", "paper"))
    drawn = paper.delay.detach()
    assert float(drawn.min()) >= 0 and float(drawn.max()) < D and float(drawn.mean()) == pytest.approx(12, abs=0.2)
    code.clamp_()
    assert float((code.delay == D).double().mean()) == pytest.approx(1 / 25, abs=0.01)
    bound = float(code.weight.detach().abs().max())
    assert 0.99 * math.sqrt(6 / 200) < bound <= math.sqrt(6 / 200)


@pytest.mark.parametrize("training", [True, False])
def test_without_gradients_through_time_only_the_tap_of_delay_0_goes_back(training):
    made = layer(4, 3, memory=5).train(training)
    with torch.no_grad():
        made.delay[0, 0] = 0.0
    x = spikes(20, 2, 4, 0.3).requires_grad_()
    state = spikes(5, 2, 4).requires_grad_()
    current, after = made(x, state, through_time=False)
    torch.testing.assert_close(current, made(x, state)[0], rtol=0.0, atol=0.0)
    assert not after.requires_grad
    g = torch.randn_like(current)
    current.backward(g)
    kernel = made.kernel() if training else made.weight[..., None] * (made.delay_steps()[..., None] == torch.arange(6))
    torch.testing.assert_close(x.grad, g @ kernel[:, :, 0].detach())
    assert state.grad is None and x.grad.abs().sum() > 0
    found = made.weight.grad.clone()
    made.weight.grad = None
    made(x.detach(), state.detach())[0].backward(g)
    torch.testing.assert_close(found, made.weight.grad)


def test_step_by_step_without_gradients_through_time_gives_the_gradients_of_the_whole():
    made = layer(4, 3, memory=5)
    x, g = spikes(12, 2, 4, 0.3), torch.randn(12, 2, 3, dtype=torch.float64)
    made(x, through_time=False)[0].backward(g)
    wanted = made.weight.grad.clone(), made.delay.grad.clone()
    made.zero_grad()
    state = None
    for t in range(12):
        current, state = made(x[t : t + 1], state, through_time=False)
        current.backward(g[t : t + 1])
    torch.testing.assert_close((made.weight.grad, made.delay.grad), wanted)
