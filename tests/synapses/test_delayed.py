"""Learnable delays against their equations, rounded ones against a sum written out, and what networks take of them."""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

import neurosim as ns
from neurosim.errors import ExportError, InputError, ShapeError
from neurosim.synapses.delayed import (
    DelayedLinear,
    RoundedDelays,
    decreasing_width,
    delay_groups,
    keep_in_range,
    narrow,
)

DT = 1e-3
D = 24  # steps, 25 taps


def layer(n_in: int, n_out: int, memory: int = D, seed: int = 0, **choices: Any) -> DelayedLinear:
    """A layer in double precision with its delays in range."""
    torch.manual_seed(seed)
    made = DelayedLinear(n_in, n_out, memory * DT, dt=DT, **choices).double()
    made.clamp_()
    return made


def spikes(steps: int, batch: int, n: int, share: float = 0.1, seed: int = 1) -> torch.Tensor:
    """Random spikes in double precision."""
    return (torch.rand(steps, batch, n, generator=torch.Generator().manual_seed(seed)) < share).double()


def written_out(x: torch.Tensor, weight: torch.Tensor, delay: torch.Tensor) -> torch.Tensor:
    """Each spike at its delays, one after the other in order of step and neuron."""
    steps, batch, _ = x.shape
    out = x.new_zeros(steps, batch, weight.shape[0])
    for s, b, j in x.nonzero().tolist():
        for o in range(weight.shape[0]):
            if s + delay[o, j] < steps:
                out[s + delay[o, j], b, o] += weight[o, j] * x[s, b, j]
    return out


# The kernel.


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


# The schedule.


def test_the_width_of_the_program_falls_to_one_half_in_a_quarter_of_the_epochs():
    widths = [decreasing_width(24, epoch, 150) for epoch in range(150)]
    assert widths[0] == 12.27
    ratios = [(b - 0.27) / (a - 0.27) for a, b in pairwise(widths[:38])]
    assert ratios == pytest.approx([(0.23 / 12) ** (1 / 37)] * 37)
    assert widths[37:] == pytest.approx([0.5] * 113)


def test_the_width_of_the_paper_falls_from_half_the_taps():
    widths = [decreasing_width(24, epoch, 40, "paper") for epoch in range(40)]
    assert widths[0] == 12.5 and widths[10:] == pytest.approx([0.5] * 30)
    assert [b / a for a, b in pairwise(widths[:11])] == pytest.approx([(0.5 / 12.5) ** 0.1] * 10)


def test_narrow_sets_all_layers_and_the_width_is_saved():
    net = nn.Sequential(layer(2, 3), layer(3, 2, memory=10, variant="paper"))
    narrow(net, 2, 8)
    assert [float(m.width) for m in net] == [decreasing_width(24, 2, 8), decreasing_width(10, 2, 8, "paper")]
    other = nn.Sequential(layer(2, 3), layer(3, 2, memory=10, variant="paper"))
    other.load_state_dict(net.state_dict())
    assert float(other[0].width) == float(net[0].width) == 0.5


def test_delays_start_uniform_and_a_few_of_the_programs_at_the_longest():
    torch.manual_seed(0)
    code, paper = (DelayedLinear(200, 100, D * DT, dt=DT, variant=v) for v in ("code", "paper"))
    drawn = paper.delay.detach()
    assert float(drawn.min()) >= 0 and float(drawn.max()) < D and float(drawn.mean()) == pytest.approx(12, abs=0.2)
    code.clamp_()
    assert float((code.delay == D).double().mean()) == pytest.approx(1 / 25, abs=0.01)
    bound = float(code.weight.detach().abs().max())
    assert 0.99 * math.sqrt(6 / 200) < bound <= math.sqrt(6 / 200)


# Learning.


def recovered(seed: int, fixed: float | None = None, *, steps: int = 400, spread: bool = False) -> float:
    """Return the share of 16 delays found from the currents of a spike each; the width falls unless it is `fixed`.

    They start in the middle, or `spread` as they are drawn. A step moves a delay by about 0.1 while all goes one way.
    """
    torch.manual_seed(seed)
    target = torch.randint(0, D + 1, (16,))
    made = DelayedLinear(16, 1, D * DT, dt=DT)
    with torch.no_grad():
        made.weight.fill_(1.0)
        if not spread:
            made.delay.fill_(D / 2)
    x = torch.zeros(D + 1, 16, 16)  # a sample for each synapse
    x[0] = torch.eye(16)
    wanted = nn.functional.one_hot(target, D + 1).T.float().unsqueeze(2)
    optimizer = torch.optim.Adam([made.delay], lr=0.1)
    keep_in_range(optimizer, made)
    for step in range(steps):
        made.narrow(fixed or 0.27 + 12 * (0.23 / 12) ** (step / steps))
        optimizer.zero_grad()
        (made(x)[0] - wanted).square().mean().backward()
        optimizer.step()
    return float((made.delay_steps()[0] == target).double().mean())


@pytest.mark.parametrize("seed", range(3))
def test_all_delays_are_recovered_as_the_width_falls(seed):
    assert recovered(seed) == 1.0


@pytest.mark.parametrize("seed", [0, 1, 17])
def test_all_are_recovered_from_where_they_are_drawn_when_they_have_the_time_to_get_there(seed):
    assert recovered(seed, steps=800, spread=True) == 1.0


def test_half_the_time_is_too_short_for_the_longest_way():
    # One of seed 1 is drawn at 0.6 and shall be 24.
    assert recovered(1, spread=True) == 15 / 16


def test_a_narrow_width_from_the_start_finds_few_delays():
    assert recovered(0, 0.5) <= 0.25


def test_delays_are_clamped_after_each_step_until_the_hook_is_removed():
    made = layer(2, 2)
    optimizer = torch.optim.SGD([{"params": [made.delay], "lr": 1e3}])
    hook = keep_in_range(optimizer, made)
    made.delay.grad = torch.tensor([[1.0, -1.0], [1.0, -1.0]], dtype=torch.float64)
    optimizer.step()
    assert made.delay.tolist() == [[0.0, D], [0.0, D]]
    hook.remove()
    optimizer.step()
    assert made.delay[0].tolist() == [-1000.0, D + 1000.0]


def test_delays_get_a_rate_of_their_own_and_no_weight_decay():
    net = nn.Sequential(layer(4, 3, bias=True), nn.BatchNorm1d(3), layer(3, 2))
    net[2].delay.requires_grad_(False)
    weights, norms, delays = delay_groups(net)
    assert [id(p) for p in weights["params"]] == [id(p) for p in (net[0].weight, net[0].bias, net[2].weight)]
    assert [id(p) for p in norms["params"]] == [id(p) for p in net[1].parameters()]
    assert [id(p) for p in delays["params"]] == [id(net[0].delay)]
    assert [g["lr"] for g in (weights, norms, delays)] == [1e-3, 1e-3, 0.1]
    assert [g["weight_decay"] for g in (weights, norms, delays)] == [1e-5, 0.0, 0.0]
    torch.optim.Adam(delay_groups(net))
    with pytest.raises(InputError, match="holds no DelayedLinear whose delays are learned"):
        delay_groups(nn.Linear(2, 2))


def test_the_network_of_the_paper_has_its_number_of_parameters():
    torch.manual_seed(0)
    sizes = [(140, 256), (256, 256), (256, 20)]
    net = nn.ModuleList([DelayedLinear(a, b, D * DT, dt=DT) for a, b in sizes] + [nn.BatchNorm1d(256) for _ in "12"])
    assert sum(p.numel() for p in net.parameters()) == 214_016


# Rounded delays.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_events_give_the_bits_of_the_sum_in_order(dtype):
    made = layer(7, 5, memory=6).to(dtype).eval()
    x = spikes(30, 3, 7, 0.3).to(dtype)
    wanted = written_out(x, made.weight.detach(), made.delay_steps())
    with torch.no_grad():
        assert torch.equal(made.rounded()(x)[0], wanted)
        torch.testing.assert_close(made(x)[0], wanted)
    torch.testing.assert_close(made(x)[0].detach(), wanted)  # with gradient, by convolution


def test_events_and_the_dense_sum_are_equal_where_sums_are_exact():
    made = layer(70, 33).eval()
    with torch.no_grad():
        made.weight.copy_((made.weight * 256).round() / 256)
    x = spikes(64, 5, 70, 0.05)
    dense = made(x)[0].detach()  # a gradient is asked for: by convolution
    with torch.no_grad():
        assert torch.equal(made(x)[0], dense) and torch.equal(made.rounded()(x)[0], dense)
    assert dense.abs().sum() > 0


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_cut_anywhere_gives_the_same_bits(threads):
    made = layer(70, 40).rounded()
    x = spikes(40, 24, 70, 0.2)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole, end = made(x)
        for cuts in ([17, 23], [1] * 40, [0, 3, 0, 37], [30, 10]):
            state, parts = None, []
            for part in x.split(cuts):
                current, state = made(part, state)
                parts.append(current)
            assert torch.equal(torch.cat(parts), whole) and torch.equal(state, end)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("training", [True, False])
def test_a_learning_layer_cut_in_two_gives_the_same_currents_and_gradients(training):
    made = layer(6, 4).train(training)
    x = spikes(40, 2, 6, 0.3).requires_grad_()
    whole, _ = made(x)
    first, state = made(x[:13])
    second, _ = made(x[13:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole)
    g = torch.randn_like(whole)
    wanted = torch.autograd.grad(whole, (x, made.weight), g)
    torch.testing.assert_close(torch.autograd.grad(torch.cat((first, second)), (x, made.weight), g), wanted)


def test_graded_input_and_crowded_spikes_go_through_the_convolution_to_the_same_currents():
    made = layer(6, 4, memory=3).eval()
    for x in (torch.randn(20, 2, 6, dtype=torch.float64), spikes(20, 2, 6, 0.9)):
        wanted = written_out(x, made.weight.detach(), made.delay_steps())
        with torch.no_grad():
            torch.testing.assert_close(made(x)[0], wanted)
            torch.testing.assert_close(made.rounded()(x)[0], wanted)


def test_empty_runs():
    made = layer(3, 2)
    state = spikes(D, 2, 3)
    for each in (made, copy.deepcopy(made).eval(), made.rounded()):
        with torch.no_grad():
            current, after = each(torch.zeros(0, 2, 3, dtype=torch.float64), state)
            assert current.shape == (0, 2, 2) and torch.equal(after, state)
            assert each(torch.zeros(4, 0, 3, dtype=torch.float64))[0].shape == (4, 0, 2)


def test_rounded_lists_follow_a_change_of_weights_and_of_precision():
    made = layer(4, 3).rounded()
    x = spikes(40, 2, 4)
    once = made(x)[0]
    made.weight.mul_(2.0)
    assert torch.equal(made(x)[0], 2.0 * once)
    assert made.float()(x.float())[0].dtype == torch.float32
    other = layer(4, 3, seed=5).rounded()
    made.double().load_state_dict(other.state_dict())
    assert torch.equal(made(x)[0], other(x)[0])


def test_the_norm_behind_the_synapses_becomes_part_of_them():
    made = layer(5, 4, bias=True).eval()
    norm = nn.BatchNorm1d(4).double()
    norm.train()(3.0 + 2.0 * torch.randn(50, 4, dtype=torch.float64))
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.uniform_(-1.0, 1.0)
        made.bias.uniform_(-1.0, 1.0)
        x = spikes(30, 2, 5)
        wanted = norm.eval()(made(x)[0].flatten(0, 1)).view(30, 2, 4)
        torch.testing.assert_close(made.rounded(norm)(x)[0], wanted)
    with pytest.raises(InputError, match="running statistics of 4 neurons"):
        made.rounded(nn.BatchNorm1d(3))


# Without gradients through time.


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


# In a network, and beyond.


def unrolled(rounded: RoundedDelays, v_th: float = 1.0, **choices: Any) -> ns.Network:
    """A network whose edges are the synapses of each delay."""
    edges = [
        ns.Edge("input", "a", synapse, delay=delay, name=f"input->a after {round(delay / DT)} steps")
        for delay, synapse in rounded.by_delay()
    ]
    nodes = {"input": ns.Input(rounded.n_in), "a": ns.LIF(dt=DT, tau_mem=5e-3, v_th=v_th, **choices)}
    return ns.Network(nodes, edges).to(rounded.weight)


def test_edges_of_each_delay_are_the_same_network():
    made = layer(8, 5)
    with torch.no_grad():
        made.weight.copy_((made.weight * 256).round() / 256)
    rounded = made.rounded()
    maps = rounded.by_delay()
    assert [round(delay / DT) for delay, _ in maps] == rounded.delay.unique().tolist()
    x = spikes(80, 3, 8, 0.2)
    net = unrolled(rounded, 0.1)
    wanted, _ = net.nodes["a"](rounded(x)[0])
    assert torch.equal(net(x)[0], wanted) and wanted.sum() > 50
    first, state = net(x[:33])
    assert torch.equal(torch.cat((first, net(x[33:], state)[0])), wanted)


def test_the_bias_goes_with_the_first_edge_only():
    maps = layer(3, 2, bias=True).rounded().by_delay()
    assert [synapse.bias is not None for _, synapse in maps] == [True] + [False] * (len(maps) - 1)


def test_lava_is_given_a_delayed_connection_for_each_delay():
    from neurosim.hardware.lava import to_lava

    rounded = layer(8, 5).rounded()
    graph = to_lava(unrolled(rounded, 0.1)).graph
    assert sorted(dense.delay for dense in graph.dense) == rounded.delay.unique().tolist()
    gain = 1.0 - math.exp(-DT / 5e-3)
    for dense in graph.dense:
        wanted = gain * rounded.weight * (rounded.delay == dense.delay)
        torch.testing.assert_close(torch.as_tensor(dense.weight), wanted)
    with pytest.raises(ExportError, match="node 'a': reset='subtract'"):
        to_lava(unrolled(rounded, reset="subtract"))


def test_lava_fires_the_same_spikes():
    pytest.importorskip("lava.magma")
    from neurosim.hardware.lava import verify

    compared = verify(unrolled(layer(8, 5).rounded(), 0.1), spikes(40, 1, 8, 0.3))
    assert compared.spikes > 10 and compared.spikes_differing == 0


def test_lava_refuses_delays_between_steps_by_name_and_says_what_to_do():
    from neurosim.hardware.lava import to_lava

    net = ns.Network({"in": ns.Input(3), "a": ns.LIF(dt=DT)}, [ns.Edge("in", "a", layer(3, 2))])
    with pytest.raises(ExportError, match=r"edge 'in->a': holds DelayedLinear; .*round them with rounded\(\)"):
        to_lava(net)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DelayedLinear(0, 2, 5e-3, dt=DT), "n_in must be a whole number from 1; got 0"),
        (
            lambda: DelayedLinear(3, 2, 5.5e-3, dt=DT),
            "must be a whole number of steps of 0.001 s; got 0.0055",
        ),
        (lambda: DelayedLinear(3, 2, 25.0, dt=DT), "Did you pass milliseconds?"),
        (lambda: DelayedLinear(3, 2, math.nan, dt=DT), "max_delay must be a whole number"),
        (lambda: DelayedLinear(3, 2, 0.0, dt=DT), "max_delay must be at least one step"),
        (lambda: DelayedLinear(3, 2, 5e-3, dt=DT, variant="book"), 'variant must be "code" or "paper"; got \'book\''),
        (lambda: layer(3, 2).narrow(0.0), "width must be above 0 steps; got 0.0"),
        (lambda: decreasing_width(24, -1, 10), "epoch must be a whole number from 0; got -1"),
        (
            lambda: RoundedDelays(torch.ones(2, 3), torch.full((2, 3), -1), max_delay=0.0, dt=DT),
            "lie in 0 to 0 steps; got -1",
        ),
        (lambda: RoundedDelays(torch.ones(2, 3), torch.full((2, 3), 4), max_delay=3e-3, dt=DT), "in 0 to 3 steps"),
        (
            lambda: RoundedDelays(torch.ones(2, 3), torch.ones(2, 3), dt=DT),
            "whole steps, of int64; got torch.float32",
        ),
    ],
)
def test_numbers_that_cannot_be_are_refused(make, message):
    with pytest.raises(InputError) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layer(3, 2)(torch.ones(5, 3)), "spikes must be [T, B, 3]; got [5, 3]"),
        (lambda: layer(3, 2)(torch.ones(5, 1, 4)), "spikes must be [T, B, 3]; got [5, 1, 4]"),
        (lambda: layer(3, 2)(torch.ones(5, 1, 3), torch.ones(4, 1, 3)), "last 24 steps, [24, 1, 3]; got [4, 1, 3]"),
        (lambda: RoundedDelays(torch.ones(2, 3), torch.zeros(3, 2).long(), dt=DT), "got [2, 3] of torch.float32 and"),
        (lambda: RoundedDelays(torch.ones(2, 3), torch.zeros(2, 3).long(), torch.ones(3), dt=DT), "bias must be [2]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ShapeError) as error:
        make()
    assert message in str(error.value)


def test_whole_numbers_and_delays_that_are_not_finite_are_refused():
    made = layer(3, 2)
    with pytest.raises(InputError, match=r"floating point; got torch.int64. Use x.float\(\)"):
        made(torch.ones(5, 1, 3, dtype=torch.int64))
    with torch.no_grad():
        made.delay[0, 0] = math.nan
    with pytest.raises(InputError, match="delay holds NaN or infinity"):
        made.rounded()
