"""HLOP against its definition, and what it promises: nothing that earlier tasks use is changed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import neurosim as ns
from neurosim.errors import InputError, ShapeError
from neurosim.learning import HLOP, LateralBanks, average_accuracy, backward_transfer
from neurosim.synapses.lateral import RoundedResponses
from tests.learning.rules.small_networks import DECAY, DT, TAU, batch, chain, close, gradients, ottt_by_hand

RULES = [ns.BPTT(), ns.BPTT(recompute=True), ns.SLTT(), ns.SLTT(chunk=3), ns.OTTT(), ns.OTTT(chunk=4)]
WAYS = ["gradients", "inputs"]


def frozen_banks(net, rows=4, more=0, **choices) -> LateralBanks:
    """Banks with `rows` frozen orthonormal rows each, and `more` that learn."""
    torch.manual_seed(5)
    banks = LateralBanks(net, **choices)
    banks.begin_task(rows)
    banks.begin_task(more)
    return banks


def projected(net, banks: LateralBanks, found: list[Tensor]) -> list[Tensor]:
    """Gradients of the weights times 1 - H^T H."""
    out = []
    for (_, bank), g in zip(banks.each(), found, strict=True):
        h = bank.weight[: bank.frozen]
        out.append((g.flatten(1) @ (torch.eye(bank.inputs, dtype=h.dtype) - h.T @ h)).view_as(g))
    return out


def conv_net() -> ns.Network:
    torch.manual_seed(0)
    neurons = dict(tau_mem=TAU, r=1 / (1 - DECAY), dt=DT, reset="subtract", v_th=0.3)
    return ns.Sequential(
        ns.Input((2, 6, 6)),
        ns.Conv2d(2, 3, 3, stride=2, padding=1),
        ns.LIF(**neurons),
        ns.Conv2d(3, 4, (2, 1), dilation=(2, 1)),
        ns.LIF(**neurons),
        ns.Flatten(),
        ns.Linear(12, 5),
        ns.LI(tau_mem=TAU, dt=DT),
    ).double()


def images(steps: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    x = (torch.rand(steps, 4, 2, 6, 6, generator=generator) < 0.5).double()
    return x, torch.randint(5, (4,), generator=generator)


@pytest.mark.parametrize("project", WAYS)
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_the_gradient_is_that_of_the_rule_projected_off_the_frozen_rows(rule, project):
    net, (x, y) = chain(), batch(13)
    banks = frozen_banks(net)
    wanted = projected(net, banks, gradients(rule, net, x, y))
    found = gradients(HLOP(rule, banks, project), net, x, y)
    assert close(found, wanted, 1e-12)
    assert not close(found, gradients(rule, net, x, y), 1e-2)


@pytest.mark.parametrize("project", WAYS)
@pytest.mark.parametrize("rule", [ns.BPTT(), ns.SLTT(), ns.OTTT(chunk=4)], ids=repr)
def test_convolutions_are_projected_patch_by_patch(rule, project):
    net, (x, y) = conv_net(), images()
    banks = frozen_banks(net)
    wanted = projected(net, banks, gradients(rule, net, x, y))
    assert all(g.abs().max() > 0 for g in wanted)
    assert close(gradients(HLOP(rule, banks, project), net, x, y), wanted, 1e-12)


def test_convolutions_over_one_axis_are_projected_too():
    torch.manual_seed(0)
    net = ns.Sequential(
        ns.Input((2, 9)),
        ns.Conv1d(2, 3, 3, stride=2, padding=1, dilation=2),
        ns.LIF(tau_mem=TAU, dt=DT, v_th=0.1),
        ns.Flatten(),
        ns.Linear(12, 5),
        ns.LI(dt=DT),
    ).double()
    x, y = (torch.rand(9, 4, 2, 9, dtype=torch.float64) < 0.5).double(), torch.tensor([0, 1, 2, 3])
    banks = frozen_banks(net)
    wanted = projected(net, banks, gradients(ns.BPTT(), net, x, y))
    for project in WAYS:
        assert close(gradients(HLOP(ns.BPTT(), banks, project), net, x, y), wanted, 1e-12)


def test_the_update_of_ottt_has_the_trace_of_the_projected_spikes():
    # The definition with each input x replaced by its part outside the frozen rows, in the weights' gradient alone.
    net, (x, y) = chain(sizes=(20, 5)), batch(11)
    banks = frozen_banks(net)
    (_, bank), *_ = banks.each()
    wanted = ottt_by_hand(net, x, y, bias=False)[0]
    h = bank.weight
    trace, found, v = torch.zeros(4, 20).double(), torch.zeros_like(wanted), torch.zeros(4, 5).double()
    weight = next(net.parameters()).detach()
    for x_t in x:
        trace = DECAY * trace + (x_t - x_t @ h.T @ h)
        current = (x_t @ weight.T).requires_grad_()
        u = DECAY * v + current
        smooth = torch.atan(torch.pi * (u - 1)) / torch.pi
        z = (u > 1).double() + smooth - smooth.detach()
        v = (u - z).detach()
        (F.cross_entropy(z, y) / len(x)).backward()
        found += current.grad.T @ trace
    assert close(gradients(HLOP(ns.OTTT(), banks), net, x, y), [found], 1e-12)
    assert not close([found], [wanted], 1e-2)


@pytest.mark.parametrize("project", WAYS)
def test_input_in_the_span_of_the_frozen_rows_gives_the_same_currents_after_any_training(project):
    net, (x, y) = chain(), batch(13)
    banks = frozen_banks(net, rows=4, more=3)
    inside = {}
    for place, bank in banks.each():
        inside[place.name] = torch.randn(6, 4, dtype=torch.float64) @ bank.weight[:4]
    before = [place.synapse(inside[place.name][None]) for place, _ in banks.each()]
    old = [place.synapse.weight.clone() for place, _ in banks.each()]
    optimizer = torch.optim.SGD(net.parameters(), lr=5.0)
    ns.fit(net, [(x, y)] * 5, rule=HLOP(ns.BPTT(), banks, project), optimizer=optimizer, epochs=2, progress=False)
    for (place, _), current, weight in zip(banks.each(), before, old, strict=True):
        assert (place.synapse.weight - weight).abs().max() > 0.01
        assert (place.synapse(inside[place.name][None]) - current).abs().max() < 1e-13


def test_rows_off_the_subspace_pass_the_sine_of_their_angle():
    torch.manual_seed(0)
    net, (x, y) = chain(sizes=(20, 5)), batch(13)
    basis = torch.linalg.qr(torch.randn(20, 2, dtype=torch.float64)).Q
    change = []
    for angle in (0.0, 1e-3, 1e-2, 1e-1):
        banks = frozen_banks(net, rows=1)
        (_, bank), *_ = banks.each()
        bank.weight[:] = torch.cos(torch.tensor(angle)) * basis[:, 0] + torch.sin(torch.tensor(angle)) * basis[:, 1]
        bank.weight /= bank.weight.norm()
        (g,) = gradients(HLOP(ns.BPTT(), banks), net, x, y)
        change.append(float((g @ basis[:, 0]).norm()))
    assert change[0] < 1e-15
    assert change[2] / change[1] == pytest.approx(10, rel=0.1)
    assert change[3] / change[2] == pytest.approx(10, rel=0.2)


def test_the_first_task_learns_as_without_banks():
    net, (x, y) = chain(bias=True), batch(13)
    banks = LateralBanks(net)
    banks.begin_task(4)
    assert close(gradients(HLOP(ns.BPTT(), banks), net, x, y), gradients(ns.BPTT(), net, x, y), 1e-14)
    banks.begin_task(3)
    for project in WAYS:
        _, out = HLOP(ns.BPTT(), banks, project).gradients(net, x, y, ns.CrossEntropy())
        assert torch.equal(out, net(x)[0])
    assert not any(part._forward_hooks for part in net.modules())


def test_biases_are_not_trained_after_the_first_task():
    net, (x, y) = chain(bias=True), batch(13)
    banks = frozen_banks(net)
    names = [name for name, parameter in net.named_parameters() if any(parameter is p for p in banks.unprotected())]
    assert len(names) == 3 and all(name.endswith("bias") for name in names)
    net.zero_grad()
    HLOP(ns.SLTT(), banks).gradients(net, x, y, ns.CrossEntropy())
    assert all((parameter.grad is None) == (name in names) for name, parameter in net.named_parameters())


def test_gradients_are_added_to_those_that_are_there():
    net, (x, y) = chain(), batch(13)
    rule = HLOP(ns.BPTT(), frozen_banks(net))
    once = gradients(rule, net, x, y)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    rule.gradients(net, x, y, ns.CrossEntropy())
    assert close([parameter.grad for parameter in net.parameters()], [g + 1 for g in once], 1e-14)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_each_bank_learns_from_the_input_of_its_synapse(rule):
    net, (x, y) = chain(), batch(13)
    banks, byhand = frozen_banks(net, 4, 3, rate=0.3), frozen_banks(net, 4, 3, rate=0.3)
    names = ["input", "lif1", "lif2"]
    seen = net.run(x, None, names).recorded
    for name, (_, bank) in zip(names, byhand.each(), strict=True):
        values, traces = seen[name], []
        if isinstance(rule, ns.OTTT):
            for step in seen[name]:
                traces.append(step + (DECAY * traces[-1] if traces else 0.0))
            values = torch.cat((values, torch.stack(traces)))
        bank.learn(values.flatten(0, 1))
    HLOP(rule, banks).gradients(net, x, y, ns.CrossEntropy())
    for (_, found), (_, wanted) in zip(banks.each(), byhand.each(), strict=True):
        torch.testing.assert_close(found.weight, wanted.weight, rtol=0, atol=1e-12)
        assert not torch.equal(found.drift[4:], torch.zeros(3, found.inputs).double())


def test_a_bank_of_a_convolution_learns_from_the_patches():
    net, (x, y) = conv_net(), images()
    banks, byhand = frozen_banks(net, 2, 3), frozen_banks(net, 2, 3)
    patches = F.unfold(x.flatten(0, 1), 3, padding=1, stride=2).transpose(1, 2).flatten(0, 1)
    (_, bank), *_ = byhand.each()
    bank.learn(patches)
    HLOP(ns.BPTT(), banks).gradients(net, x, y, ns.CrossEntropy())
    torch.testing.assert_close(next(banks.each())[1].weight, bank.weight, rtol=0, atol=1e-12)


def test_spiking_lateral_neurons_project_with_their_rounded_responses():
    net, (x, y) = chain(sizes=(20, 5)), batch(11)
    spiking = RoundedResponses(scale=2.0, steps=3)
    banks, exact = frozen_banks(net, spiking=spiking), frozen_banks(net)
    (_, bank), *_ = banks.each()
    found = gradients(HLOP(ns.BPTT(), banks), net, x, y)
    rest = x - spiking(x @ bank.weight.T) @ bank.weight
    # The gradient of currents, from a network whose weights are not in it.
    current = (x @ next(net.parameters()).T).detach().requires_grad_()
    out, _ = net.nodes["lif1"](current)
    ns.CrossEntropy()(out, y).backward()
    assert close(found, [torch.einsum("tbo,tbi->oi", current.grad, rest)], 1e-12)
    assert not close(found, gradients(HLOP(ns.BPTT(), exact), net, x, y), 1e-3)


def test_spiking_lateral_neurons_learn_from_the_samples_themselves():
    net, (x, y) = chain(), batch(13)
    choices = dict(rate=0.3, spiking=RoundedResponses(scale=2.0, steps=3))
    banks, byhand = frozen_banks(net, 4, 3, **choices), frozen_banks(net, 4, 3, **choices)
    (_, bank), *_ = byhand.each()
    bank.learn(x.flatten(0, 1))
    HLOP(ns.SLTT(chunk=4), banks).gradients(net, x, y, ns.CrossEntropy())
    torch.testing.assert_close(next(banks.each())[1].weight, bank.weight, rtol=0, atol=1e-12)


def test_frozen_rows_stay_bit_for_bit_through_tasks():
    net, (x, y) = chain(), batch(13)
    banks = LateralBanks(net, rate=0.1)
    kept: list[Tensor] = []
    for task, rows in enumerate((4, 3, 2)):
        banks.begin_task(rows)
        assert [bank.frozen for _, bank in banks.each()] == [sum((4, 3, 2)[:task])] * 3
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        ns.fit(net, [(x, y)] * 4, rule=HLOP(ns.BPTT(), banks), optimizer=optimizer, epochs=1, progress=False)
        for (_, bank), old in zip(banks.each(), kept, strict=False):
            assert torch.equal(bank.weight[: len(old)], old)
        kept = [bank.weight.clone() for _, bank in banks.each()]


def test_loops_have_banks():
    torch.manual_seed(0)
    lif = dict(tau_mem=TAU, dt=DT, v_th=0.2)
    net = ns.Sequential(
        ns.Linear(20, 8), ns.Recurrent(ns.LIF(**lif), ns.Linear(8, 8)), ns.Linear(8, 5), ns.LI(dt=DT)
    ).double()
    x, y = batch(13)
    banks, byhand = frozen_banks(net, 3, 2), frozen_banks(net, 3, 2)
    assert list(banks.banks) == ["input->lif1", "lif1->lif1", "lif1->leaky_integrator2"]
    wanted = projected(net, banks, gradients(ns.BPTT(), net, x, y))
    late = torch.cat((torch.zeros(1, 4, 8).double(), net.run(x, None, ["lif1"]).recorded["lif1"][:-1]))
    loop = byhand.banks["lif1->lif1"]
    loop.learn(late.flatten(0, 1))
    assert close(gradients(HLOP(ns.BPTT(), banks), net, x, y), wanted, 1e-12)
    torch.testing.assert_close(banks.banks["lif1->lif1"].weight, loop.weight, rtol=0, atol=1e-12)


def test_tasks_with_orthogonal_inputs_do_not_interfere():
    # Task B lies in other input directions than task A: with the projection A's answers stay, without they move.
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(30, 30)).Q
    generator = torch.Generator().manual_seed(1)

    def task(number: int) -> list[tuple[Tensor, Tensor]]:
        mixed = axes[:, 5 * number : 5 * number + 8]  # three directions are shared
        x = torch.randn(64, 8, generator=generator) @ mixed.T
        return [(x.expand(5, -1, -1).contiguous(), torch.randint(3, (64,), generator=generator))]

    tasks, moved = [task(0) * 40, task(1) * 40], []
    for protected in (True, False):
        torch.manual_seed(2)
        net = ns.Sequential(ns.Linear(30, 3), ns.LI(tau_mem=TAU, dt=DT))
        banks = LateralBanks(net, rate=0.05)
        rule = HLOP(ns.BPTT(), banks) if protected else ns.BPTT()
        for number, data in enumerate(tasks):
            banks.begin_task(8 - 3 * number)
            optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
            ns.fit(net, data, rule=rule, optimizer=optimizer, epochs=1, progress=False)
            if not number:
                before = net(tasks[0][0][0])[0].detach()
        moved.append(float((net(tasks[0][0][0])[0] - before).detach().norm() / before.norm()))
    assert moved[0] < 0.05 < 0.3 < moved[1]


def test_the_two_scores_are_those_of_the_matrix():
    matrix = [[0.9, 0.1, 0.2], [0.8, 0.95, 0.3], [0.6, 0.85, 0.98]]
    assert average_accuracy(matrix) == pytest.approx((0.6 + 0.85 + 0.98) / 3)
    assert backward_transfer(matrix) == pytest.approx(((0.6 - 0.9) + (0.85 - 0.95)) / 2)
    with pytest.raises(ShapeError, match=r"matrix \[tasks, tasks\]; got \[2, 3\]"):
        average_accuracy(matrix[:2])
    with pytest.raises(InputError, match="two tasks or more; got one"):
        backward_transfer([[0.9]])


def test_banks_are_saved_and_loaded_with_their_rows():
    net = chain()
    banks = frozen_banks(net, 4, 3)
    again = LateralBanks(net)
    again.load_state_dict(banks.state_dict())
    for (_, a), (_, b) in zip(banks.each(), again.each(), strict=True):
        assert torch.equal(a.weight, b.weight) and a.frozen == b.frozen == 4
    assert not any(name.startswith("nodes") or "synapse" in name for name in banks.state_dict())


def test_rates_and_rows_can_be_given_by_name():
    net = chain()
    names = ["input->lif1", "lif1->lif2", "lif2->lif3"]
    banks = LateralBanks(net, rate=dict(zip(names, (0.1, 0.2, 0.3), strict=True)))
    banks.begin_task(dict(zip(names, (1, 2, 3), strict=True)))
    assert [(bank.rate, len(bank.weight)) for _, bank in banks.each()] == [(0.1, 1), (0.2, 2), (0.3, 3)]
    assert repr(HLOP(ns.BPTT(), banks)) == "HLOP(rule=BPTT(), project=None)"


def twice() -> ns.Network:
    shared = ns.Linear(4, 4)
    nodes = {"input": ns.Input(4), "a": ns.LIF(dt=DT), "b": ns.LIF(dt=DT)}
    return ns.Network(nodes, [ns.Edge("input", "a", shared), ns.Edge("a", "b", shared)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LateralBanks(twice()), "edge 'a->b': its synapses are also on another edge"),
        (
            lambda: LateralBanks(ns.Sequential(ns.Input(4), ns.BlockLinear(4, 4, 2), ns.LIF(dt=DT))),
            "BlockLinear has no bank of lateral neurons; use Linear, Conv1d or Conv2d",
        ),
        (
            lambda: LateralBanks(ns.Sequential(ns.Input((2, 4)), ns.Conv1d(2, 2, 3, groups=2), ns.LIF(dt=DT))),
            "a convolution with groups=2",
        ),
        (lambda: LateralBanks(chain(), rate={"a": 1.0}), r"rate must name the banks \['input->lif1'.*got \['a'\]"),
        (lambda: LateralBanks(chain()).begin_task({"a": 1}), "rows must name the banks"),
        (lambda: LateralBanks(chain()).begin_task([1, 2]), r"a number for each of the banks .*; got \[1, 2\]"),
        (lambda: HLOP(ns.BPTT(), LateralBanks(chain()), "weights"), 'project must be "gradients", "inputs" or None'),
        (
            lambda: HLOP(ns.BPTT(), LateralBanks(chain(), spiking=RoundedResponses()), "gradients"),
            "would round gradients to 0",
        ),
    ],
)
def test_wrong_arguments_are_refused_by_name(make, message):
    with pytest.raises(InputError, match=message):
        make()
