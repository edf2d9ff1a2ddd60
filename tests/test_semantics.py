"""One test for each sentence of docs/semantics.md."""

from __future__ import annotations

import collections
import math
import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.circuit import FixedInDegree, OneToOne, Poisson, Uniform
from neurosim.cores import loihi_refractory
from neurosim.errors import InputError, KernelError, NetworkError, ShapeError, UnitError
from neurosim.kernels.common import availability
from neurosim.kernels.common.float32 import same_for_convolutions
from neurosim.kernels.common.integer_checks import check_products
from neurosim.synapses import DelayedSparse, Drawn
from neurosim.units import steps_of
from tests.battery import gradients
from tests.user_cores import coba


def one_to_one(weight: float, n: int = 1) -> ns.Linear:
    synapse = ns.Linear(n, n)
    with torch.no_grad():
        synapse.weight.copy_(weight * torch.eye(n))
    return synapse


def impulse(at: int, steps: int = 12, size: float = 1.0) -> torch.Tensor:
    x = torch.zeros(steps, 1, 1)
    x[at] = size
    return x


def times(z: torch.Tensor) -> list[int]:
    return z.flatten().nonzero().flatten().tolist()


def relay() -> ns.Neuron:
    """Make a neuron that spikes in the step in which it gets a whole spike, and forgets."""
    return ns.IF(dt=1e-3, v_th=0.5)


def chain(delay: float | None = None) -> ns.Network:
    return ns.Network(
        nodes={"input": ns.Input(1), "first": relay(), "second": relay()},
        edges=[
            ns.Edge("input", "first", one_to_one(1.0)),
            ns.Edge("first", "second", one_to_one(1.0), delay=delay),
        ],
    )


def test_sentences_and_tests_correspond_one_to_one(root):
    text = (root / "docs" / "semantics.md").read_text(encoding="utf-8")
    sentences = [line for line in text.splitlines() if line.startswith("- ")]
    named = [re.fullmatch(r"- .+\. `(test_\w+)`", line) for line in sentences]
    assert all(named), [line for line, match in zip(sentences, named, strict=True) if not match]
    held = [match[1] for match in named if match]
    every = [name for name in globals() if name.startswith("test_")]
    here = [name for name in every if name != "test_sentences_and_tests_correspond_one_to_one"]
    assert collections.Counter(held) == collections.Counter(here)
    assert held == here, "the tests stand in the order of the sentences"


def test_time_comes_first():
    z, state = ns.LIF(dt=1e-3)(torch.full((30, 2, 5), 3.0))
    assert z.shape == (30, 2, 5) and state.v.shape == (2, 5)
    assert torch.equal(z[0], torch.zeros(2, 5)) and z.sum() > 0
    with pytest.raises(ShapeError, match="Time comes first, then the batch"):
        ns.LIF(dt=1e-3)(torch.ones(30))
    with pytest.raises(TypeError, match="batch_first"):
        ns.LIF(dt=1e-3)(torch.ones(3, 1, 1), batch_first=True)


def test_dt_is_given_to_the_network_or_to_each_layer():
    every: tuple[Any, ...] = (ns.IF, ns.LI, ns.LIF, ns.CubaLIF, ns.ALIF)
    for layer in every:
        with pytest.raises(InputError, match="dt is not set"):
            layer()(torch.ones(3, 1, 1))
        assert ns.Sequential(ns.Linear(1, 1), layer(), dt=1e-4)[1].dt == 1e-4
    # After a time of tau the membrane has come 1 - 1/e of the way, at any step.
    for dt in (1e-3, 1e-4):
        z, _ = ns.LI(dt=dt, tau_mem=20e-3)(torch.ones(round(20e-3 / dt), 1, 1))
        assert z[-1].item() == pytest.approx(1 - math.exp(-1), rel=1e-5)


def test_milliseconds_raise_the_question():
    for make in (lambda: ns.LIF(tau_mem=20, dt=1e-3), lambda: ns.LIF(dt=1), lambda: ns.CubaLIF(tau_syn=10.0, dt=1e-3)):
        with pytest.raises(UnitError, match="Did you pass milliseconds"):
            make()


def test_decays_are_made_in_double_precision():
    layer = ns.LIF(dt=1e-5, tau_mem=torch.tensor([0.5]))
    decay = torch.as_tensor(layer.decay("tau_mem"))
    assert decay.dtype is torch.float64 and decay.item() == math.exp(-1e-5 / 0.5)
    # 1 - alpha is 2e-5: made in single precision it would be wrong by a part in a thousand.
    z, _ = ns.LI(dt=1e-5, tau_mem=0.5)(torch.ones(1, 1, 1))
    assert z.item() == pytest.approx(-math.expm1(-2e-5), rel=1e-7)


def test_a_spike_has_the_time_at_which_its_step_begins():
    x = impulse(at=0) + impulse(at=7) + impulse(at=11)
    spikes = ns.simulate(chain(), x).spikes["second"]
    assert spikes.step.tolist() == [0, 7, 11]
    assert spikes.time.tolist() == [0.0, 7 * 1e-3, 11 * 1e-3]
    data = ns.Events(time=[0.0, 7.9e-3, 11e-3], neuron=[0, 0, 0], duration=12e-3, shape=1).binned(1e-3, 12)
    assert torch.equal(data.to_grid(), x)
    again = ns.Events(time=spikes.time, neuron=spikes.neuron, duration=spikes.duration, shape=1).binned(1e-3, 12)
    assert torch.equal(again.to_grid(), spikes.to_grid())
    nest = (spikes.step + 1) * 1e-3
    assert (nest - spikes.time).tolist() == pytest.approx([1e-3] * 3)


def test_a_time_lies_on_the_grid_or_is_refused():
    for steps in (1, 3, 333):
        assert steps_of("run", "seconds", steps * 1e-3, 1e-3) == steps
    with pytest.raises(UnitError, match=r"got 0\.0015 s\. The nearest are 0\.001 s and 0\.002 s"):
        steps_of("run", "seconds", 1.5e-3, 1e-3)
    with pytest.raises(UnitError, match="integer number of steps"):
        steps_of("run", "seconds", 1000.00001, 1e-3)


def test_nothing_is_remembered_on_a_layer():
    layer, i = ns.LIF(dt=1e-3), torch.full((7, 1, 1), 2.0)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    first, state = layer(i)
    again, same = layer(i)
    assert torch.equal(first, again) and torch.equal(state.v, same.v)
    on, _ = layer(i, state)
    assert not torch.equal(on, first)
    assert layer.state_dict().keys() == before.keys() and not list(layer.buffers())


def test_no_state_means_the_initial_state():
    layer = ns.layer(ns.core(state={"v": 0.75})(_integrate))(dt=1e-3)
    i = torch.full((1, 2, 3), 0.125)
    assert torch.equal(layer(i)[0], torch.full((1, 2, 3), 0.875))
    assert torch.equal(layer(i, layer.initial_state(i))[0], layer(i)[0])


def test_start_values_depend_on_their_place():
    layer = ns.LIF(size=3, init=dict(v=torch.tensor([0.1, 0.2, 0.3])))
    net = ns.Network({"n": layer}, [], dt=1e-3)
    assert torch.equal(net.initial_state(batch=2).nodes["n"].v, torch.tensor([[0.1, 0.2, 0.3]]).expand(2, 3))
    drawn = ns.Network({"n": ns.LIF(size=3, init=dict(v=Uniform(0.0, 1.0)))}, [], dt=1e-3)
    batch = drawn.initial_state(batch=4, seed=1).nodes["n"].v
    alone = drawn.initial_state(seed=1, trials=[2]).nodes["n"].v
    assert torch.equal(batch[2:3], alone) and len(batch.unique()) == 12


def test_connectivity_start_and_noise_have_seeds_of_their_own():
    def streams(connectivity, start, noise):
        nodes = {"x": Poisson(300.0, 9), "n": ns.LIF(size=9, init=dict(v=Uniform(0.0, 1.0)))}
        edge = ns.Edge("x", "n", Drawn(FixedInDegree(3), weight=1.0))
        net = ns.Network(nodes, [edge], dt=1e-3, seed=connectivity)
        state = net.initial_state(seed=dict(start=start, noise=noise))
        spikes = net.run(None, state, ["x"], steps=50).recorded["x"]
        return net["x->n"][0].materialised().dense(), state.nodes["n"].v, spikes

    first = streams(1, 1, 1)
    for changed, seeds in enumerate([(2, 1, 1), (1, 2, 1), (1, 1, 2)]):
        same = [torch.equal(a, b) for a, b in zip(first, streams(*seeds), strict=True)]
        assert same == [stream != changed for stream in range(3)]


def _integrate(i, v):
    return v + i, v + i


def test_state_is_a_named_tuple():
    _, state = ns.CubaLIF(dt=1e-3)(torch.ones(3, 2, 5))
    assert issubclass(type(state), tuple) and state._fields == ("j", "v") and state.j.shape == state.v.shape == (2, 5)


def test_a_split_run_is_the_same_run():
    torch.manual_seed(0)
    net = ns.Network(
        nodes={"input": ns.Input(4), "a": ns.ALIF(dt=1e-3), "b": ns.CubaLIF(dt=1e-3, v_th=0.1)},
        edges=[
            ns.Edge("input", "a", ns.Linear(4, 9)),
            ns.Edge("a", "a", ns.Linear(9, 9)),
            ns.Edge("a", "b", ns.Linear(9, 6), delay=3e-3),
            ns.Edge("b", "a", ns.Linear(6, 9), delay=2e-3),
        ],
    )
    # Weights in sixteenths and small whole inputs: every sum is exact, in whatever order it is taken.
    x = torch.randint(-20, 21, (41, 3, 4)).float()
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(16).round_().div_(16)
        z, whole = net(x)
        for cut in (1, 2, 20):
            first, state = net(x[:cut])
            second, after = net(x[cut:], state)
            assert torch.equal(torch.cat((first, second)), z)
            for name, held in whole.nodes.items():
                assert all(map(torch.equal, after.nodes[name], held))
            assert all(torch.equal(after.in_flight[name], held) for name, held in whole.in_flight.items())
    assert 0 < z.mean() < 1


def test_samples_are_independent():
    layer, i = ns.LIF(dt=1e-3), torch.randn(30, 4, 5) * 4
    z, _ = layer(i)
    other = i.clone()
    other[:, 0] = 100.0
    assert torch.equal(layer(other)[0][:, 1:], z[:, 1:])


def test_order_within_a_step():
    # All in the first step: the input reaches j, j reaches v, v is over the threshold, the spike resets v.
    layer = ns.CubaLIF(dt=1e-3, r=100.0, v_reset=0.25)
    z, state, values, *_ = layer.run(torch.ones(1, 1, 1), record=("u",))
    assert state.j.item() == 1.0
    assert values["u"].item() == pytest.approx((1 - layer.decay("tau_mem")) * 100.0, rel=1e-6)
    assert z.item() == 1.0 and state.v.item() == 0.25


def test_the_threshold_is_strict():
    above = math.nextafter(1.0, 2.0)
    i = torch.tensor([[[1.0, above]]], dtype=torch.float64)
    assert ns.IF(dt=1e-3)(i)[0].tolist() == [[[0.0, 1.0]]]
    assert ns.IF(dt=1e-3).run_reference(i).out.tolist() == [[[0.0, 1.0]]]


def test_reset_to_a_value_in_the_same_step():
    z, state = ns.IF(dt=1e-3, v_reset=-0.5)(torch.full((1, 1, 1), 1.75))
    assert z.item() == 1.0 and state.v.item() == -0.5


def test_reset_by_subtraction_and_none():
    i = torch.full((1, 1, 1), 1.75)
    assert ns.IF(dt=1e-3, reset="subtract")(i)[1].v.item() == 0.75
    assert ns.IF(dt=1e-3, reset=None)(i)[1].v.item() == 1.75


def test_a_reset_amount_is_taken_off_instead_of_the_threshold():
    i = torch.full((1, 1, 1), 1.75)
    assert ns.IF(dt=1e-3, reset="subtract", reset_amount=0.5)(i)[1].v.item() == 1.25
    assert ns.IF(dt=1e-3, reset="subtract", reset_amount=0.5).run_reference(i).state.v.item() == 1.25


def test_the_reset_passes_no_gradient():
    i = torch.full((1, 1, 1), 0.75, requires_grad=True)
    cut, whole = ns.IF(dt=1e-3, reset="subtract"), ns.IF(dt=1e-3, reset="subtract", detach_reset=False)
    assert torch.autograd.grad(cut(i)[1].v.sum(), i)[0].item() == 1.0
    slope = ns.atan().derivative(-0.25)
    assert torch.autograd.grad(whole(i)[1].v.sum(), i)[0].item() == pytest.approx(1.0 - slope, rel=1e-6)


def test_the_gradient_of_a_spike_is_its_surrogate():
    i = torch.full((1, 1, 1), 1.75, requires_grad=True)
    z, _ = ns.IF(dt=1e-3, v_th=1.5, spike=ns.triangle())(i)
    assert z.item() == 1.0 and torch.autograd.grad(z.sum(), i)[0].item() == 0.75


def test_a_core_that_never_fires_sends_its_membrane():
    layer = ns.LI(dt=1e-3)
    z, state = layer(torch.randn(9, 2, 3))
    assert not layer.is_spiking and torch.equal(z[-1], state.v)


def test_spikes_are_zero_or_one():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        z, _ = ns.LIF(dt=1e-3)((torch.randn(50, 2, 3) * 4).to(dtype))
        assert z.dtype is dtype and z.unique().tolist() == [0.0, 1.0]


def test_half_precision_is_computed_in_single():
    half = (torch.randn(50, 2, 3) * 4).half()
    z, state = ns.LIF(dt=1e-3)(half)
    expected, after = ns.LIF(dt=1e-3)(half.float())
    assert state.v.dtype is torch.float32 and torch.equal(state.v, after.v) and torch.equal(z.float(), expected)


def test_several_ports_take_a_mapping():
    layer = ns.layer(coba)(dt=1e-3)
    ge, gi = torch.rand(20, 2, 3), torch.rand(20, 2, 3)
    assert torch.equal(layer({"ge": ge, "gi": gi})[0], layer({"gi": gi, "ge": ge})[0])
    with pytest.raises(InputError, match="must be a mapping from the input ports"):
        layer(ge)
    with pytest.raises(ShapeError, match="ge and gi must be alike"):
        layer({"ge": ge, "gi": gi[:, :, :2]})


def test_a_port_that_nothing_feeds():
    layer, ge = ns.layer(coba)(dt=1e-3), torch.rand(20, 2, 3)
    assert coba.inputs == {"ge": None, "gi": 0.0}
    assert torch.equal(layer({"ge": ge})[1].v, layer({"ge": ge, "gi": torch.zeros(20, 2, 3)})[1].v)
    with pytest.raises(InputError, match=r"\['ge'\] must be fed"):
        layer({"gi": ge})


def test_a_population_that_nothing_drives_gets_zero():
    layer = ns.LIF(size=3, init=dict(v=0.5))
    z, state = ns.Network({"n": layer}, [], dt=1e-3)(steps=4)
    fed, after = layer(torch.zeros(4, 1, 3))
    assert torch.equal(z, fed) and torch.equal(state.nodes["n"].v, after.v) and after.v.all()


@ns.core(state=("last",))
def white(i, last, *, normal):
    """Return current and noise."""
    return i + normal, normal


def test_noise_depends_on_its_place():
    torch.manual_seed(0)
    edge = ns.Edge("x", "n", ns.Linear(2, 3))
    net = ns.Network({"x": ns.Input(2), "n": ns.layer(white)(size=3)}, [edge], dt=1e-3)
    x = torch.zeros(9, 4, 2)
    out, _ = net(x, net.initial_state(x, seed=1))
    one, _ = net(x[:, :1], net.initial_state(x[:, :1], seed=1, trials=[2]))
    assert torch.equal(one, out[:, 2:3]) and len(out.unique()) == out.numel()
    first, state = net(x[:4], net.initial_state(x, seed=1))
    assert torch.equal(torch.cat((first, net(x[4:], state)[0])), out)
    out.sum().backward()
    assert not net["x->n"][0].weight.grad.any()  # the input is 0


def test_shapes_of_a_parameter():
    i = torch.full((1, 2, 3), 10.0)
    for shape in ((), (3,), (2, 1), (2, 3)):
        r = torch.arange(1.0, 1.0 + math.prod(shape)).view(shape)
        v = ns.LI(dt=1e-3, tau_mem=5e-3, r=r if shape else 1.0)(i)[0][0]
        expected = 10.0 * -math.expm1(-0.2) * r.expand(2, 3)
        torch.testing.assert_close(v, expected)


def test_a_trial_has_the_bits_of_a_run_alone():
    i = torch.rand(100, 3, 5) * 3
    taus = torch.tensor([[3e-3], [11e-3], [42e-3]])
    together = ns.LIF(dt=1e-3, tau_mem=taus)(i)
    each = torch.rand(3, 5) * 30e-3 + 2e-3
    apart = ns.LIF(dt=1e-3, tau_mem=each)(i)
    for b in range(3):
        trial = slice(b, b + 1)
        z, state = ns.LIF(dt=1e-3, tau_mem=taus[b].item())(i[:, trial])
        assert torch.equal(together[0][:, trial], z) and torch.equal(together[1].v[trial], state.v)
        z, state = ns.LIF(dt=1e-3, tau_mem=each[b])(i[:, trial])
        assert torch.equal(apart[0][:, trial], z) and torch.equal(apart[1].v[trial], state.v)


def test_values_for_each_trial_need_as_many_trials():
    layer = ns.LIF(dt=1e-3, tau_mem=torch.full((3, 1), 0.01))
    message = r"tau_mem of shape \[3, 1\] holds values for 3 trials, the input has a batch of 2"
    with pytest.raises(ShapeError, match=message):
        layer(torch.zeros(5, 2, 4))


def test_a_learned_parameter_stays_in_its_range():
    layer = ns.LIF(dt=1e-3, tau_mem=5e-3, learn=("tau_mem",))
    assert float(layer.log_tau_mem.detach()) == 0.0 and torch.equal(layer.value("tau_mem").detach(), torch.tensor(5e-3))
    for push in (-100.0, 100.0):
        with torch.no_grad():
            layer.log_tau_mem.fill_(push)
        assert 0.0 < float(layer.value("tau_mem").detach()) < 1.0


def test_feedforward_input_arrives_in_the_same_step():
    z, _ = chain()(impulse(4))
    assert times(z) == [4]


def test_recurrent_input_is_one_step_late():
    net = ns.Network(
        nodes={"input": ns.Input(1), "loop": relay()},
        edges=[ns.Edge("input", "loop", one_to_one(1.0)), ns.Edge("loop", "loop", one_to_one(1.0))],
    )
    assert times(net(impulse(4, 8))[0]) == [4, 5, 6, 7]


def test_delays_are_whole_steps():
    assert [edge.delay_steps for edge in chain(3e-3).edges] == [0, 3]
    for delay in (1.5e-3, -1e-3):
        message = rf"'first->second': delay must be an integer number of steps .* got {delay}"
        with pytest.raises(NetworkError, match=message):
            chain(delay)
    with pytest.raises(NetworkError, match="Did you pass milliseconds"):
        chain(20.0)


def test_a_delay_shifts_the_input():
    for steps in (1, 3, 7):
        z, state = chain(steps * 1e-3)(impulse(2))
        assert times(z) == [2 + steps] and state.in_flight["first"].shape == (steps, 1, 1)


def test_spikes_in_flight_are_kept_once():
    edges = [ns.Edge("input", "first", one_to_one(1.0))]
    edges += [ns.Edge("first", "second", one_to_one(1.0), delay=n * 1e-3, name=f"after {n}") for n in (1, 2, 4)]
    net = ns.Network({"input": ns.Input(1), "first": relay(), "second": relay()}, edges)
    z, state = net(impulse(2, 5))
    assert times(z) == [3, 4] and state.in_flight.keys() == {"first"}
    assert state.in_flight["first"].flatten().tolist() == [0, 1, 0, 0]
    assert times(net(torch.zeros(5, 1, 1), state)[0]) == [1]


def test_currents_add_up():
    net = ns.Network(
        nodes={"input": ns.Input(1), "sum": ns.LI(dt=1e-3)},
        edges=[
            ns.Edge("input", "sum", one_to_one(0.5)),
            ns.Edge("input", "sum", one_to_one(0.25), name="second"),
        ],
    )
    x = torch.ones(5, 1, 1)
    assert torch.equal(net(x)[0], ns.LI(dt=1e-3)(0.75 * x)[0])


def test_several_synapses_of_a_pair_each_count():
    pairs = torch.tensor([[0, 0, 1], [0, 0, 1]])
    synapse = ns.Sparse(2, 2, pairs, torch.tensor([0.5, 0.25, 1.0]))
    assert synapse(torch.ones(1, 1, 2)).tolist() == [[[0.75, 1.0]]]
    late = DelayedSparse(2, 2, pairs, torch.tensor([0, 1, 2]), torch.tensor([0.5, 0.25, 1.0]), dt=1e-3)
    x = torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]], [[0.0, 0.0]]])
    assert late(x)[0].tolist() == [[[0.5, 0.0]], [[0.25, 0.0]], [[0.0, 1.0]]]
    loop = ns.Sparse(2, 2, torch.tensor([[1], [1]]), torch.ones(1))  # of neuron 1 onto itself
    net = ns.Network(
        {"x": ns.Input(2), "n": ns.LI(dt=1e-3)}, [ns.Edge("x", "n", one_to_one(1.0, 2)), ns.Edge("n", "n", loop)]
    )
    alone = ns.Network({"x": ns.Input(2), "n": ns.LI(dt=1e-3)}, [ns.Edge("x", "n", one_to_one(1.0, 2))])
    difference = net(x)[0] - alone(x)[0]
    assert not difference[..., 0].any() and difference[1:, 0, 1].all()


def test_delays_of_synapses_come_on_top():
    synapse = DelayedSparse(1, 1, torch.zeros(2, 1).long(), torch.tensor([2]), torch.ones(1), dt=1e-3)
    net = ns.Network({"x": ns.Input(1), "n": ns.LI(dt=1e-3)}, [ns.Edge("x", "n", synapse, delay=3e-3)])
    x = torch.zeros(9, 1, 1)
    x[0] = 1.0
    assert net(x)[0].flatten().nonzero().min() == 5


def test_an_edge_names_the_port_that_it_feeds():
    def net(port: str = "") -> ns.Network:
        edges = [ns.Edge("x", "n", one_to_one(0.1), port="ge"), ns.Edge("x", "n", one_to_one(0.1), port=port)]
        return ns.Network({"x": ns.Input(1), "n": ns.layer(coba)(dt=1e-3)}, edges)

    v = net("gi")(impulse(0, steps=1))[1].nodes["n"].v
    assert v.item() == pytest.approx(0.05 * (0.1 * 6.0 - 0.1 * 2.0))
    with pytest.raises(NetworkError, match="name the one to feed"):
        net()


def test_a_random_number_depends_on_its_place_alone():
    def circuit(**more):
        nodes = {"noise": Poisson(800.0, 5), **more, "out": ns.LIF(dt=1e-3)}
        return ns.Network(nodes, [ns.Edge("noise", "out", ns.Linear(5, 2))])

    def spikes(net, **choices):
        return ns.simulate(net, steps=40, record=["noise"], **choices).spikes["noise"].to_grid()

    expected = spikes(circuit(), batch=4, seed=1)
    assert expected.sum() > 100
    assert torch.equal(spikes(circuit(), batch=4, seed=1, chunk=7), expected)
    assert torch.equal(spikes(circuit(), trials=[3, 1], seed=1), expected[:, [3, 1]])
    assert torch.equal(spikes(circuit().double(), batch=4, seed=1), expected)
    assert torch.equal(spikes(circuit(more=Poisson(800.0, 5)), batch=4, seed=1), expected)
    renamed = circuit(other=Poisson(800.0, 5))
    other = ns.simulate(renamed, steps=40, batch=4, seed=1, record=["other"]).spikes["other"].to_grid()
    for different in (other, spikes(circuit(), batch=4, seed=2), spikes(circuit(), trials=[4, 5, 6, 7], seed=1)):
        assert not torch.equal(different, expected)
    assert not torch.equal(expected[1:], expected[:-1]) and not torch.equal(expected[..., 1:], expected[..., :-1])


def test_no_gradient_through_time():
    net = ns.Network(
        nodes={"input": ns.Input(1), "a": ns.LIF(dt=1e-3), "b": ns.LI(dt=1e-3)},
        edges=[
            ns.Edge("input", "a", one_to_one(1.0)),
            ns.Edge("a", "a", one_to_one(0.5)),
            ns.Edge("a", "b", one_to_one(1.0)),
            ns.Edge("a", "b", one_to_one(1.0), delay=2e-3, name="late"),
        ],
    )
    x = torch.full((9, 1, 1), 1.5, requires_grad=True)
    (cut,) = torch.autograd.grad(net(x, through_time=False)[0][5].sum(), x)
    (whole,) = torch.autograd.grad(net(x)[0][5].sum(), x)
    assert cut.flatten().nonzero().flatten().tolist() == [5]
    assert whole.flatten().nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(net(x, through_time=False)[0], net(x)[0])


def test_kernels_give_the_bits_of_the_definition():
    for layer in (ns.LIF(dt=1e-3), ns.ALIF(dt=1e-3, detach_reset=False, spike=ns.triangle())):
        i = torch.randn(40, 3, 50) * 4
        fused, reference = (gradients(run, layer, i, None) for run in (layer, layer.run_reference))
        assert torch.equal(fused[0], reference[0]) and all(map(torch.equal, fused[1], reference[1]))
        assert all(torch.equal(fused[2][name], reference[2][name]) for name in fused[2])


def test_results_do_not_depend_on_threads():
    layer, i, before = ns.LIF(dt=1e-3), torch.randn(50, 4, 1000) * 4, torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = gradients(layer, layer, i, None)
        torch.set_num_threads(2)
        together = gradients(layer, layer, i, None)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone[0], together[0]) and torch.equal(alone[2]["i"], together[2]["i"])


def test_a_circuit_is_the_same_on_every_device(monkeypatch):
    pytest.importorskip("triton")
    from neurosim.circuit.cuda_engine import CudaEngine
    from neurosim.circuit.engine import Engine
    from neurosim.kernels.circuit import cuda

    monkeypatch.setattr(cuda, "ROOM", 1 << 10)  # without a GPU the interpreter copies it at each launch
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cell = ns.Neuron(cores.lif_cond, dt=1e-4, size=20, init=dict(v=Uniform(-58e-3, -49e-3)))
    noise, loop = Drawn(OneToOne(), weight=20e-9), Drawn(FixedInDegree(5), weight=9e-9, delay=2e-4)
    net = ns.Network(
        {"noise": Poisson(9e3, 20), "n": cell},
        [ns.Edge("noise", "n", noise, port="ge"), ns.Edge("n", "n", loop, port="gi")],
    )
    with torch.no_grad():
        start = net.initial_state(batch=1, seed=3)
        engines = Engine(net, start, ["n"]), CudaEngine(net.to(device), start.to(device), ["n"])
        cpu, gpu = (engine.advance(8)["n"] for engine in engines)
    assert len(cpu) > 5 and np.array_equal(cpu.step, gpu.step) and np.array_equal(cpu.neuron, gpu.neuron)
    states = [engine.state().nodes["n"] for engine in engines]
    assert all(torch.equal(a, b.cpu()) for a, b in zip(*states, strict=True))


def test_no_kernel_is_replaced_silently(monkeypatch):
    monkeypatch.setattr(availability, "obstacle", lambda device: "this test took them away")
    availability._warn.cache_clear()
    i = torch.randn(5, 1, 3)
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "1")
    with pytest.raises(KernelError, match="this test took them away"):
        ns.LIF(dt=1e-3)(i)
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "0")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        z, _ = ns.LIF(dt=1e-3)(i)
    availability._warn.cache_clear()
    assert ["this test took them away" in str(w.message) for w in caught] == [True]
    assert torch.equal(z, ns.LIF(dt=1e-3).run_reference(i).out)


def test_products_on_cuda_have_one_precision():
    def is_full():
        with same_for_convolutions():
            return torch.backends.cudnn.allow_tf32 is False

    assert torch.backends.cudnn.allow_tf32 and is_full()  # torch's own default is another
    assert torch.backends.cudnn.allow_tf32
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        assert not is_full()
        with pytest.raises(InputError, match="TensorFloat-32"):
            check_products(loihi_refractory, "cuda")
    finally:
        torch.set_float32_matmul_precision(before)
    check_products(loihi_refractory, "cuda")


def test_a_gradient_of_a_gradient_is_refused():
    i = torch.randn(5, 1, 3, requires_grad=True)
    (once,) = torch.autograd.grad(ns.LIF(dt=1e-3)(i)[0].sum(), i, create_graph=True)
    with pytest.raises(InputError, match="no gradient of a gradient"):
        once.sum().backward()
