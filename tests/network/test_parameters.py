"""Parameters that differ from trial to trial of a batch, and from neuron to neuron within a trial."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.errors import ShapeError, UnitError
from neurosim.language import Core
from tests.battery import gradients
from tests.user_cores import coba

TRIALS, NEURONS = 4, 7
TAUS = torch.tensor([4e-3, 9e-3, 20e-3, 45e-3])
CASES = {
    "lif": (ns.LIF, dict(tau_mem=TAUS[:, None], v_th=torch.tensor([[0.8], [1.0], [1.1], [1.3]]))),
    "cubalif": (ns.CubaLIF, dict(tau_syn=TAUS[:, None], r=torch.tensor([[1.0], [2.0], [3.0], [4.0]]))),
    "reset amount": (ns.LIF, dict(reset="subtract", reset_amount=torch.tensor([[0.4], [0.6], [0.9], [1.2]]))),
    "frequency": (ns.layer(cores.resonate_and_fire), dict(f_osc=torch.tensor([[20.0], [50.0], [80.0], [110.0]]))),
    "readout": (ns.LI, dict(tau_mem=TAUS[:, None], r=torch.tensor([[1.0]]))),
    "ports": (lambda **choices: ns.layer(coba)(**choices), dict(tau_exc=TAUS[:, None], e_inh=torch.full((4, 1), -1.5))),
}
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def numbers_of(choices: dict[str, Any], trial: int) -> dict[str, Any]:
    """Return the choices with which a layer runs one trial alone: plain numbers."""
    return {k: v[min(trial, len(v) - 1)].item() if isinstance(v, torch.Tensor) else v for k, v in choices.items()}


def drive(layer: ns.Neuron, *shape: int, dtype: torch.dtype = torch.float32) -> Any:
    draw = torch.Generator().manual_seed(3)
    given = {port: torch.rand(shape, generator=draw, dtype=dtype) * 2.5 for port in layer.ports}
    return given if len(given) > 1 else given["i"]


def one(i: Any, trial: int) -> Any:
    take = slice(trial, trial + 1)
    return {port: x[:, take] for port, x in i.items()} if isinstance(i, dict) else i[:, take]


def run_with_gradient(layer: ns.Neuron, run: Any, i: Any) -> list[torch.Tensor]:
    """Return output, states and the gradients of every port."""
    named = i if isinstance(i, dict) else {"i": i}
    leaves = {port: x.detach().clone().requires_grad_() for port, x in named.items()}
    z, state = run(leaves if isinstance(i, dict) else leaves["i"])
    time = torch.linspace(0.5, 1.5, len(z), dtype=z.dtype)[:, None, None]
    found = torch.autograd.grad((z * time).sum() + sum(s.sum() for s in state), list(leaves.values()))
    return [z.detach(), *(s.detach() for s in state), *found]


@PRECISIONS
@pytest.mark.parametrize("name", CASES)
def test_a_trial_is_the_run_with_its_numbers_alone_bit_for_bit(name, dtype):
    make, choices = CASES[name]
    layer = make(dt=1e-3, **choices)
    i = drive(layer, 60, TRIALS, NEURONS, dtype=dtype)
    together = run_with_gradient(layer, layer, i)
    for trial in range(TRIALS):
        alone = make(dt=1e-3, **numbers_of(choices, trial))
        assert not list(alone.buffers())
        for whole, part in zip(together, run_with_gradient(alone, alone, one(i, trial)), strict=True):
            axis = whole.dim() - 2
            assert torch.equal(whole.narrow(axis, trial, 1), part)
    assert not torch.equal(together[0][:, 0], together[0][:, 1])


@PRECISIONS
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_has_the_bits_of_the_definition(name, dtype):
    make, choices = CASES[name]
    layer = make(dt=1e-3, detach_reset=False, **choices)
    i = drive(layer, 40, TRIALS, NEURONS, dtype=dtype)
    fused = run_with_gradient(layer, layer, i)
    defined = run_with_gradient(layer, lambda x: layer.run_reference(x)[:2], i)
    assert all(map(torch.equal, fused, defined))


def test_values_for_each_neuron_of_each_trial():
    taus = torch.rand(TRIALS, NEURONS) * 30e-3 + 3e-3
    layer = ns.LIF(dt=1e-3, tau_mem=taus)
    i = drive(layer, 60, TRIALS, NEURONS)
    together = run_with_gradient(layer, layer, i)
    for trial in range(TRIALS):
        alone = ns.LIF(dt=1e-3, tau_mem=taus[trial])
        for whole, part in zip(together, run_with_gradient(alone, alone, one(i, trial)), strict=True):
            assert torch.equal(whole.narrow(whole.dim() - 2, trial, 1), part)
    assert torch.equal(together[0], layer.run_reference(i).out)


@pytest.mark.parametrize("shape", [(TRIALS, 1), (TRIALS, NEURONS)], ids=str)
def test_values_of_each_trial_are_learned(shape):
    layer = ns.LIF(dt=1e-3, tau_mem=torch.full(shape, 12e-3), v_th=torch.full(shape, 0.9), learn=("tau_mem", "v_th"))
    i = drive(layer, 60, TRIALS, NEURONS, dtype=torch.float64)
    layer = layer.double()
    fused, defined = (
        gradients(run, layer, i, None) for run in (layer, lambda *a, **k: layer.run_reference(*a, **k)[:2])
    )
    assert torch.equal(fused[0], defined[0]) and fused[2]["log_tau_mem"].shape == shape
    for name, gradient in fused[2].items():
        torch.testing.assert_close(gradient, defined[2][name], rtol=1e-10, atol=1e-12)
        assert gradient.abs().sum() > 0
    alone = ns.LIF(dt=1e-3, tau_mem=torch.full((1, *shape[1:]), 12e-3), v_th=torch.full((1, *shape[1:]), 0.9)).double()
    assert torch.equal(alone(i[:, 2:3])[0], fused[0][:, 2:3])


def test_a_sweep_through_a_network_is_its_trials_one_by_one():
    def net(tau: Any, v_th: Any) -> ns.Network:
        torch.manual_seed(5)
        return ns.Sequential(
            ns.Linear(20, 32),
            ns.Recurrent(ns.LIF(dt=1e-3, tau_mem=tau), ns.Linear(32, 32)),
            ns.Linear(32, 6),
            ns.LIF(dt=1e-3, v_th=v_th),
        )

    v_th = torch.tensor([[0.5], [0.7], [1.0], [1.4]])
    x = (torch.rand(50, 1, 20) < 0.2).float().expand(-1, TRIALS, -1)
    sweep = net(TAUS[:, None], v_th)
    with torch.no_grad():
        for synapses in sweep.synapses.values():  # on a grid, so that no order of a sum matters
            synapses[0].weight.mul_(30.0 * 64.0).round_().div_(64.0)
            synapses[0].bias.zero_() if synapses[0].bias is not None else None
    z, state = sweep(x)
    assert 0.0 < z.mean() < 1.0
    for trial in range(TRIALS):
        alone = net(TAUS[trial].item(), v_th[trial].item())
        alone.synapses.load_state_dict(sweep.synapses.state_dict())
        z_alone, state_alone = alone(x[:, :1])
        assert torch.equal(z[:, trial : trial + 1], z_alone)
        assert torch.equal(state.nodes["lif1"].v[trial : trial + 1], state_alone.nodes["lif1"].v)


def test_a_split_run_is_the_same_run():
    layer = ns.CubaLIF(dt=1e-3, tau_syn=TAUS[:, None])
    i = drive(layer, 60, TRIALS, NEURONS)
    z, state = layer(i)
    first, between = layer(i[:23])
    second, after = layer(i[23:], between)
    assert torch.equal(torch.cat((first, second)), z) and all(map(torch.equal, after, state))


def test_the_batch_of_the_input_must_be_that_of_the_values():
    layer = ns.LIF(dt=1e-3, tau_mem=TAUS[:, None])
    message = (
        r"lif: tau_mem of shape \[4, 1\] holds values for 4 trials, the input has a batch of 3; give an input \[T, 4"
    )
    with pytest.raises(ShapeError, match=message):
        layer(torch.zeros(5, 3, NEURONS))
    with pytest.raises(ShapeError, match=r"tau_mem of shape \[4, 1\] does not fit neurons of shape \[\]"):
        layer(torch.zeros(5, 3))
    with pytest.raises(UnitError, match="got 20"):
        ns.LIF(dt=1e-3, tau_mem=torch.tensor([[20e-3], [20.0]]))


def test_one_value_more_than_the_population_has_dimensions_is_that_of_a_trial():
    maps = torch.tensor([0.8, 1.2]).view(2, 1, 1)
    layer = ns.LIF(dt=1e-3, v_th=maps, tau_mem=TAUS.view(4, 1, 1, 1))
    i = drive(layer, 30, TRIALS, 2, 3, 5)
    z = layer(i)[0]
    assert torch.equal(z[:, 1:2], ns.LIF(dt=1e-3, v_th=maps, tau_mem=TAUS[1].item())(i[:, 1:2])[0])
    assert torch.equal(z, layer.run_reference(i).out)


def test_changed_values_take_effect():
    layer = ns.LIF(dt=1e-3, tau_mem=TAUS[:, None])
    i = drive(layer, 40, TRIALS, NEURONS)
    before = layer(i)[1].v
    changes = (
        lambda: layer.tau_mem.mul_(1.5),
        lambda: layer.tau_mem.data.mul_(1.5),
        lambda: layer.load_state_dict({"tau_mem": TAUS.flip(0)[:, None]}),
        lambda: setattr(layer, "tau_mem", TAUS[:, None] * 0.5),
    )
    for change in changes:
        change()
        after = layer(i)[1].v
        assert not torch.equal(after, before)
        assert torch.equal(after, ns.LIF(dt=1e-3, tau_mem=layer.tau_mem)(i)[1].v)
        before = after


def test_values_of_each_trial_are_kept_with_the_layer():
    layer = ns.LIF(dt=1e-3, tau_mem=TAUS[:, None], v_th=torch.full((4, 1), 0.9), learn=("v_th",))
    i = drive(layer, 40, TRIALS, NEURONS)
    expected = layer(i)[1].v
    assert "tau_mem=tensor[4, 1], v_th=tensor[4, 1] (learned)" in repr(layer)
    other = ns.LIF(dt=1e-3, tau_mem=torch.full((4, 1), 0.5), v_th=torch.ones(4, 1), learn=("v_th",))
    other.load_state_dict(layer.state_dict())
    for twin in (other, pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert torch.equal(twin(i)[1].v, expected)
    fresh = copy.deepcopy(layer)
    with torch.inference_mode():
        fresh(i)
    x = i.clone().requires_grad_()
    assert torch.autograd.grad(fresh(x)[0].sum(), x)[0].abs().sum() > 0


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
def test_under_a_compiler_values_of_each_trial_are_tensors_like_others():
    torch._dynamo.reset()
    layer = ns.LIF(dt=1e-3, tau_mem=TAUS[:, None])
    i = drive(layer, 40, TRIALS, NEURONS)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(i)[1].v, layer(i)[1].v)
    with torch.no_grad():
        layer.tau_mem.mul_(1.5)
    torch.testing.assert_close(compiled(i)[1].v, layer(i)[1].v)


def test_half_precision_and_no_trials():
    layer = ns.LIF(dt=1e-3, tau_mem=TAUS[:, None])
    i = drive(layer, 40, TRIALS, NEURONS)
    assert torch.equal(layer(i.bfloat16())[0].float(), layer(i.bfloat16().float())[0])
    assert layer(torch.zeros(0, TRIALS, 3))[0].shape == (0, TRIALS, 3)
    assert ns.LIF(dt=1e-3, tau_mem=torch.zeros(0, 1))(torch.zeros(5, 0, 3))[0].shape == (5, 0, 3)


LEARNABLE = [
    (core, name)
    for core in vars(cores).values()
    for name, declared in (core.parameters.items() if isinstance(core, Core) else ())
    if declared.is_learnable and (declared.low > -math.inf or declared.high < math.inf)
]


@pytest.mark.parametrize(("core", "name"), LEARNABLE, ids=lambda case: getattr(case, "name", case))
def test_a_learned_parameter_stays_in_its_declared_range_and_comes_back(core, name):
    declared, layer = core.parameters[name], ns.layer(core)(dt=1e-3, size=3, learn=(name,))
    stored, start = layer.tensor(name), layer.value(name).detach().clone()
    assert torch.equal(start, torch.full((3,), declared.default))
    for push in (-60.0, 60.0):
        with torch.no_grad():
            stored.copy_(torch.full((3,), push) if declared.unit == "s" else start + push * 1e6)
        value = layer.value(name)
        assert bool(declared.holds(value).all()) and torch.isfinite(value).all()
        again = ns.layer(core)(dt=1e-3, size=3, **{name: value.detach()})
        assert torch.equal(again.value(name), value)
        if not torch.equal(value, stored):  # the gradient passes at the bound, so that training brings it back
            (gradient,) = torch.autograd.grad(value.sum(), stored)
            assert (gradient > 0).all()


def test_a_start_outside_the_bounds_of_training_is_kept():
    for tau in (1e-9, 0.9999999):
        layer = ns.LIF(dt=1e-3, tau_mem=tau, learn=("tau_mem",)).double()
        assert float(layer.value("tau_mem").detach()) == pytest.approx(tau, rel=1e-6)


def test_weight_decay_pulls_a_time_constant_to_its_start_and_not_to_a_second():
    layer = ns.LIF(dt=1e-3, tau_mem=torch.tensor([5e-3, 8e-3]), learn=("tau_mem",))
    optimizer = torch.optim.AdamW(layer.parameters(), lr=5e-3, weight_decay=0.1)
    for _ in range(500):  # a silent neuron: only the decay acts
        optimizer.zero_grad()
        (0.0 * layer(torch.zeros(5, 1, 2))[1].v.sum() + 0.0 * layer.value("tau_mem").sum()).backward()
        optimizer.step()
    assert torch.equal(layer.value("tau_mem").detach(), torch.tensor([5e-3, 8e-3]))
    with torch.no_grad():
        layer.tensor("tau_mem").fill_(1.0)
    for _ in range(2000):
        optimizer.step()
    assert (layer.value("tau_mem").detach() < torch.tensor([10e-3, 16e-3])).all()


def test_a_learned_time_constant_is_saved_with_its_start():
    layer = ns.LIF(dt=1e-3, tau_mem=5e-3, learn=("tau_mem",))
    with torch.no_grad():
        layer.tensor("tau_mem").fill_(0.3)
    other = ns.LIF(dt=1e-3, tau_mem=50e-3, learn=("tau_mem",))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.value("tau_mem"), layer.value("tau_mem"))


def test_a_time_constant_that_training_pushed_up_is_exported_and_read_back(tmp_path):
    pytest.importorskip("nir")
    from neurosim.exchange.nir import from_nir, to_nir

    net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=1e-3, r=99.0, learn=("tau_mem",)), names=["out"])
    with torch.no_grad():
        net.nodes["out"].tensor("tau_mem").fill_(9.0)  # 160 s, were it not for the range
        net.edges[0].synapses[0].weight.fill_(1.0)
    assert float(torch.as_tensor(from_nir(to_nir(net), dt=1e-3).nodes["out"].value("tau_mem"))) < 1.0
