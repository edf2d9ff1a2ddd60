"""Networks behave as modules: hooks run, replaced parts act, assignments act or are refused."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import neurosim as ns
from neurosim.circuit import Poisson
from neurosim.errors import InputError, NetworkError, NeurosimError
from neurosim.models import LiquidNeurons
from neurosim.parallel import PSN

DT = 1e-3


def chain(hidden=None):
    torch.manual_seed(0)
    hidden = ns.LIF(dt=DT, tau_mem=5e-3, r=8.0) if hidden is None else hidden
    net = ns.Sequential(ns.Linear(6, 8), hidden, ns.Linear(8, 3), ns.LI(dt=DT, r=5.0), names=["h", "o"])
    return net.double()


def loop():
    torch.manual_seed(0)
    hidden = ns.Recurrent(ns.LIF(dt=DT, tau_mem=5e-3, r=8.0), ns.Linear(8, 8))
    return ns.Sequential(ns.Linear(6, 8), hidden, ns.Linear(8, 3), ns.LI(dt=DT, r=5.0), names=["h", "o"]).double()


def data():
    return (torch.rand(12, 4, 6, generator=torch.Generator().manual_seed(1)) < 0.5).double()


def gradients(net, **how):
    z, _ = net(data(), **how)
    net.zero_grad()
    z.square().sum().backward()
    return [z.detach(), *(p.grad.clone() for p in net.parameters())]


@pytest.mark.parametrize("make", [chain, loop], ids=["chain", "loop"])
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_hooks_on_a_population_run_and_change_nothing_by_themselves(make, recompute):
    expected = gradients(make(), recompute=recompute)
    net, seen = make(), []
    node = net.nodes["h"]
    node.register_forward_pre_hook(lambda module, inputs: seen.append("pre"))
    node.register_forward_hook(lambda module, inputs, output: seen.append("forward"))
    node.register_full_backward_hook(lambda module, g_in, g_out: seen.append("backward"))
    found = gradients(net, recompute=recompute)
    assert set(seen) == {"pre", "forward", "backward"}
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert found[0].any()


@pytest.mark.parametrize("make", [chain, loop], ids=["chain", "loop"])
def test_a_hook_can_change_the_output(make):
    net = make()
    handle = net.nodes["h"].register_forward_hook(lambda module, inputs, output: (output[0] * 0.0, output[1]))
    assert make()(data())[0].any() and not net(data())[0].any()
    assert not net.run(data(), record=["h"]).recorded["h"].any()
    with pytest.raises(InputError, match=r"cannot record h\.v: 'h' has a hook"):
        net.run(data(), record=["h.v"])
    handle.remove()
    assert torch.equal(net(data())[0], make()(data())[0])
    net.nodes["h"].register_forward_hook(lambda module, inputs, output: output[0])
    with pytest.raises(InputError, match=r"'h': a hook .* returned Tensor; \(output, state\) is needed"):
        net(data())


def test_a_replaced_forward_of_a_population_runs():
    class Louder(ns.Neuron):
        def forward(self, i, state=None, *, through_time=True):
            z, state = super().forward(i, state, through_time=through_time)
            return 2.0 * z, state

    core = ns.LIF(dt=DT).core
    net = chain(Louder(core, dt=DT, tau_mem=5e-3, r=8.0))
    plain = chain().run(data(), record=["h"]).recorded["h"]
    assert torch.equal(net.run(data(), record=["h"]).recorded["h"], 2.0 * plain) and plain.any()
    row = net.explain(data()).rows[0]
    assert "replaced forward" in row.skipped["fused linear"]


def test_hooks_that_would_never_run_are_refused():
    for node in (ns.Input(3), Poisson(10.0, 3)):
        for register in (node.register_forward_hook, node.register_forward_pre_hook, node.register_full_backward_hook):
            with pytest.raises(InputError, match="is not called as a module, so that a hook would never run"):
                register(lambda *_: None)


@pytest.mark.parametrize("how", ["item", "attribute"])
def test_a_replaced_synapse_acts(how):
    net, other = chain(), ns.Linear(8, 3, bias=True).double()
    before = net(data())[0]
    if how == "item":
        net.synapses["h->o"][0] = other
    else:
        setattr(net.synapses["h->o"], "0", other)
    assert net.edges[1].synapses == (other,) and any(p is other.weight for p in net.parameters())
    expected = chain()
    with torch.no_grad():
        expected.synapses["h->o"][0].weight.copy_(other.weight)
    expected.synapses["h->o"][0].bias = torch.nn.Parameter(other.bias.detach().clone())
    assert torch.equal(net(data())[0], expected(data())[0]) and not torch.equal(net(data())[0], before)
    for same in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(same(data())[0], net(data())[0])
        same.synapses["h->o"][0] = ns.Linear(8, 3).double()
        assert not torch.equal(same(data())[0], net(data())[0])


def test_parts_that_do_not_fit_are_refused():
    net = chain()
    before = net(data())[0]
    synapses = net.synapses["h->o"]

    def refused(message, change):
        with pytest.raises(NeurosimError, match=message):
            change()

    refused("would be", lambda: synapses.__setitem__(0, ns.Linear(8, 4)))
    refused("must be a synapse", lambda: synapses.__setitem__(0, torch.nn.Linear(8, 3)))
    refused("fixed number", lambda: synapses.append(ns.Flatten()))
    refused("fixed number", lambda: synapses.__delitem__(0))
    refused("number is fixed", lambda: setattr(synapses, "1", ns.Flatten()))
    refused("delays of", lambda: synapses.__setitem__(0, delayed()))
    refused("cannot be set", lambda: net.synapses.__setitem__("h->o", torch.nn.ModuleList([ns.Linear(8, 3)])))
    refused("cannot be set", lambda: net.nodes.__setitem__("input", ns.Input(7)))
    refused("cannot be set", lambda: net.nodes.__setitem__("new", ns.LIF(dt=DT)))
    refused("dt is 0.001", lambda: net.nodes.__setitem__("h", ns.LIF(dt=2e-3)))
    refused(r"shape is \(8,\)", lambda: net.nodes.__setitem__("h", ns.LIF(dt=DT, size=9)))
    refused("must be a population", lambda: net.nodes.__setitem__("h", torch.nn.ReLU()))
    refused("cannot be taken out", lambda: net.nodes.__delitem__("h"))
    assert torch.equal(net(data())[0], before)


def delayed():
    from neurosim.synapses import DelayedLinear

    return DelayedLinear(8, 3, max_delay=4e-3, dt=DT)


def test_a_replaced_population_acts():
    net = chain()
    net.nodes["h"] = ns.LIF(dt=DT, tau_mem=9e-3, r=8.0)
    expected = chain(ns.LIF(dt=DT, tau_mem=9e-3, r=8.0))
    assert torch.equal(net(data())[0], expected(data())[0])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("v_th", 2.0, "v_th of this layer is the number 1.0 and cannot be set; make a new layer with v_th=2.0"),
        ("tau_mem", 5e-3, "tau_mem of this layer is the number"),
        ("dt", 2e-3, "dt of a layer that is made cannot be set"),
        ("size", 3, "size of a layer that is made cannot be set"),
        ("reset", "zero", 'reset must be "value", "subtract" or None'),
        ("spike", "atan", "spike must be a surrogate such as"),
        ("detach_reset", 1, "detach_reset must be True or False"),
    ],
)
def test_assignments_that_would_not_act_are_refused(name, value, message):
    layer = ns.LIF(dt=DT)
    before = layer.extra_repr()
    with pytest.raises(InputError, match=message):
        setattr(layer, name, value)
    assert layer.extra_repr() == before
    if name in ("dt", "size"):
        for other in (PSN(5, dt=DT, size=2), LiquidNeurons(2, dt=DT)):
            with pytest.raises(InputError, match="of a layer that is made cannot be set"):
                setattr(other, name, value)


def test_assignments_that_act():
    i = torch.rand(30, 2, 3).double() * 3.0
    layer = ns.LIF(dt=DT, v_th=torch.full((3,), 1.0))
    first = layer(i)[0]
    layer.v_th = torch.full((3,), 0.5).double()
    assert torch.equal(layer(i)[0], ns.LIF(dt=DT, v_th=0.5)(i)[0]) and not torch.equal(layer(i)[0], first)
    layer.reset = "subtract"
    assert torch.equal(layer(i)[0], ns.LIF(dt=DT, v_th=0.5, reset="subtract")(i)[0])
    with pytest.raises(InputError, match=r"set it to one of shape \[3\]"):
        layer.v_th = 0.5
    with pytest.raises(NeurosimError, match="has shape"):
        layer.v_th = torch.ones(4)
    with pytest.raises(NeurosimError, match="v_th"):
        layer.v_th = torch.full((3,), float("nan"))
    learned = ns.LIF(dt=DT, size=3, learn=("tau_mem",))
    with pytest.raises(InputError, match=r"stored as log\(tau_mem / start\)"):
        learned.tau_mem = 5e-3


@pytest.mark.parametrize("make", [chain, loop], ids=["chain", "loop"])
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("spike", [ns.atan(), ns.triangle()], ids=["atan", "compact"])
def test_recorded_values_have_their_gradient(make, recompute, spike):
    """The gradient of a loss on the output and on hidden values is that of a network whose outputs are these values."""
    net = make()
    net.nodes["h"].spike = spike
    x = data()

    def found(net, **how):
        net.zero_grad()
        result = net.run(x, record=["h", "h.v", "o"], gradient=True, **how)
        hidden, v = result.recorded["h"], result.recorded["h.v"]
        (result.out.square().sum() + (hidden.mean(0) - 0.2).square().sum() + v.square().mean()).backward()
        return [result.out.detach(), hidden.detach(), *(p.grad.clone() for p in net.parameters())]

    values = found(net, recompute=recompute)
    reference = copy.deepcopy(net)
    result = reference.run(x, record=["h"], gradient=True, recompute=recompute)
    assert torch.equal(result.recorded["h"], values[1]) and result.recorded["h"].requires_grad
    assert not reference.run(x, record=["h"]).recorded["h"].requires_grad
    by_hand = _by_hand(reference, x)
    torch.testing.assert_close(values[2:], by_hand, rtol=1e-9, atol=1e-12)


def _by_hand(net, x):
    """Gradients from a plain loop over steps with the step functions of the cores."""
    net.zero_grad()
    (first, *_), loops = net.synapses["input->h"], [n for n in net.synapses if n == "h->h"]
    h, o = net.nodes["h"], net.nodes["o"]
    state_h = state_o = None
    z = x.new_zeros(4, 8)
    spikes, membranes, outputs = [], [], []
    for x_t in x:
        i = x_t @ first.weight.T + (z @ net.synapses[loops[0]][0].weight.T if loops else 0.0)
        z_t, state_h, *_ = h.run_reference(i[None], state_h)
        out, state_o, *_ = o.run_reference((z_t[0] @ net.synapses["h->o"][0].weight.T)[None], state_o)
        z = z_t[0]
        spikes.append(z), membranes.append(state_h.v), outputs.append(out[0])
    hidden, v, out = torch.stack(spikes), torch.stack(membranes), torch.stack(outputs)
    (out.square().sum() + (hidden.mean(0) - 0.2).square().sum() + v.square().mean()).backward()
    return [p.grad.clone() for p in net.parameters()]


def test_a_local_variable_has_its_value_and_its_gradient():
    net = chain()
    x = data()
    u = net.run(x, record=["h.u"], gradient=True).recorded["h.u"]
    plain = net.run(x, record=["h.u"]).recorded["h.u"]
    assert torch.equal(u, plain) and not plain.requires_grad
    (found,) = torch.autograd.grad(u.square().sum(), net.synapses["input->h"][0].weight)
    h, state, values = net.nodes["h"], None, []
    weight = net.synapses["input->h"][0].weight
    for x_t in x:
        before = x.new_zeros(x.shape[1], weight.shape[0]) if state is None else state.v
        current = x_t @ weight.T
        alpha, r = h.coefficient("alpha_mem"), h.coefficient("r")
        values.append(alpha * before + (1.0 - alpha) * r * current)
        _, state, *_ = h.run_reference(current[None], state)
    (expected,) = torch.autograd.grad(torch.stack(values).square().sum(), weight)
    assert torch.allclose(torch.stack(values), u) and torch.allclose(found, expected)
    with torch.no_grad():
        assert not net.run(x, record=["h.u"], gradient=True).recorded["h.u"].requires_grad
    with pytest.raises(InputError, match="'nothing'"):
        net.run(x, record=["h.nothing"], gradient=True)


def test_what_has_no_gradient_is_refused():
    liquid = ns.Sequential(ns.Linear(6, 8), LiquidNeurons(8, dt=DT), names=["h"])
    with pytest.raises(NeurosimError, match=r"no core|cannot record"):
        liquid.run(data().float(), record=["h.v"], gradient=True)
    assert liquid.run(data().float(), record=["h"], gradient=True).recorded["h"].requires_grad


@pytest.mark.parametrize("size", [-1, 0, True, (2, -1), 2.5, "three", ()])
def test_sizes_are_integers_from_1(size):
    with pytest.raises(InputError, match="size must"):
        ns.LIF(dt=DT, size=size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0.9}, r"tau_mem = -dt / ln\(beta\), here tau_mem=0\.00949122"),
        ({"beta": torch.rand(3)}, r"tau_mem = -dt / ln\(beta\)\. For snnTorch"),
        ({"threshold": 2.0}, "It is called v_th here"),
        ({"learn": "tau_mem"}, r"such as learn=\('tau_mem',\); got 'tau_mem'"),
        ({"learn": 3}, r"learn is a tuple of names of parameters"),
        ({"learn": (1,)}, r"learn is a tuple of names"),
        ({"spike": ns.atan}, "spike must be a surrogate such as"),
    ],
)
def test_arguments_of_a_layer_get_a_hint(options, message):
    with pytest.raises(InputError, match=message):
        ns.LIF(dt=DT, **options)
    assert issubclass(NetworkError, NeurosimError)
