"""An amount of its own for the reset by subtraction: the definition, every kernel, gradients, files and refusals."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import neurosim as ns
from neurosim.errors import ExportError, InputError
from neurosim.hardware.lava import to_lava
from tests import battery
from tests.core_list import BY_NAME

MAKERS = {"lif": ns.LIF, "cubalif": ns.CubaLIF, "integrate_and_fire": ns.IF, "alif": ns.ALIF}


def drive(name: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return battery.current(BY_NAME[name], dtype=dtype)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("own", ["number", "tensor", "learned"])
def test_kernels_give_the_bits_of_the_definition(name, own):
    amount = {"number": 0.7, "tensor": torch.rand(battery.SHAPE) + 0.5, "learned": 0.7}[own]
    learn = ("reset_amount", "v_th") if own == "learned" else ()
    layer = MAKERS[name](
        dt=1e-3, size=battery.SHAPE, reset="subtract", reset_amount=amount, learn=learn, detach_reset=False
    )
    i = drive(name)
    for through_time in (True, False):
        fused, reference = (
            battery.gradients(run, layer, i, None, through_time) for run in (layer, layer.run_reference)
        )
        assert fused[0].sum() > 20 and torch.equal(fused[0], reference[0])
        assert all(map(torch.equal, fused[1], reference[1]))
        for key, gradient in fused[2].items():
            if key in learn:  # a sum over time, whose order is the kernel's own
                torch.testing.assert_close(gradient, reference[2][key], rtol=1e-4, atol=1e-5)
            else:
                assert torch.equal(gradient, reference[2][key])
    if own == "learned":
        assert fused[2]["reset_amount"].any() and fused[2]["v_th"].any()


def test_the_amount_is_what_comes_off():
    i = torch.full((1, 1, 1), 1.75)
    assert ns.IF(dt=1e-3, reset="subtract", reset_amount=0.5)(i)[1].v.item() == 1.25
    assert ns.IF(dt=1e-3, reset="subtract")(i)[1].v.item() == 0.75


def test_the_threshold_as_amount_gives_the_bits_of_none():
    i = drive("lif")
    plain, own = ns.LIF(dt=1e-3, reset="subtract"), ns.LIF(dt=1e-3, reset="subtract", reset_amount=1.0)
    (z, state), (z_own, state_own) = plain(i), own(i)
    assert z.sum() > 20 and torch.equal(z, z_own) and torch.equal(state.v, state_own.v)


@pytest.mark.parametrize("amount", [0.6, torch.linspace(0.4, 1.2, 64)])
def test_layers_run_in_one_pass_and_in_loops(amount):
    def net(own: float | torch.Tensor) -> ns.Network:
        torch.manual_seed(3)
        return ns.Network(
            {
                "input": ns.Input(20),
                "a": ns.LIF(dt=1e-3, reset="subtract", reset_amount=own, r=8.0),
                "b": ns.CubaLIF(dt=1e-3, reset="subtract", reset_amount=own, r=8.0),
            },
            [
                ns.Edge("input", "a", ns.Linear(20, 64)),
                ns.Edge("a", "b", ns.Linear(64, 64)),
                ns.Edge("b", "b", ns.Linear(64, 64)),
            ],
        )

    x = (torch.rand(50, 3, 20) < 0.5).float()
    ours = net(amount)
    z, _, values, *_ = ours.run(x, record=("a", "b"))
    # By hand, from the layers' own definitions.
    a = ours.nodes["a"].run_reference(ours.edges[0](x)).out
    state, before, spikes = None, torch.zeros(3, 64), []
    for current in ours.edges[1](a):
        one, state, *_ = ours.nodes["b"].run_reference(
            (current + ours.edges[2].synapses[0].apply_step(before))[None], state
        )
        before = one[0]
        spikes.append(before)
    assert torch.equal(values["a"], a) and a.sum() > 200
    assert (torch.stack(spikes) != z).float().mean() < 0.002 and z.sum() > 100
    assert not torch.equal(net(1.0)(x)[0], z)


def test_pickling_copying_and_saved_states():
    layer = ns.LIF(dt=1e-3, size=5, reset="subtract", reset_amount=0.7, learn=("reset_amount",))
    i = torch.randn(40, 3, 5) * 4 + 2
    with torch.no_grad():
        layer.reset_amount.mul_(torch.linspace(0.5, 1.5, 5))
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert torch.equal(twin(i)[0], layer(i)[0]) and repr(twin) == repr(layer)
    other = ns.LIF(dt=1e-3, size=5, reset="subtract", reset_amount=0.7, learn=("reset_amount",))
    assert not torch.equal(other(i)[0], layer(i)[0])
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(i)[0], layer(i)[0])
    assert "reset_amount=tensor[5] (learned)" in repr(layer)
    assert "reset_amount" not in repr(ns.LIF(dt=1e-3, reset="subtract"))


def test_latex_shows_the_amount():
    assert ns.latex(ns.cores.lif, "subtract", reset_amount=True).splitlines()[-2] == (
        r"v[t] &= u[t] - z[t]\,\mathrm{reset}_{amount}"
    )


@pytest.mark.parametrize("reset", ["value", None])
def test_an_amount_without_a_subtraction_is_refused(reset):
    with pytest.raises(InputError, match=r"lif: reset_amount is what reset=\"subtract\" subtracts; this layer has"):
        ns.LIF(dt=1e-3, reset=reset, reset_amount=0.5)


def test_a_core_that_does_not_reset_refuses_an_amount():
    with pytest.raises(InputError, match=r"its core does not reset\. Leave reset_amount out"):
        ns.LI(dt=1e-3, reset="subtract", reset_amount=0.5)
    with pytest.raises(InputError, match="a parameter cannot be called"):
        ns.core(parameters=dict(reset_amount=1.0))(lambda i, v: (v, v))


def test_an_amount_must_be_finite():
    with pytest.raises(ns.NeurosimError, match="lif: reset_amount must be a finite number"):
        ns.LIF(dt=1e-3, reset="subtract", reset_amount=float("nan"))


def test_lava_refuses_it_by_name():
    net = ns.Sequential(ns.Linear(4, 3), ns.LIF(dt=1e-3, reset="subtract", reset_amount=0.5))
    with pytest.raises(ExportError, match=r"node 'lif1': reset='subtract' with reset_amount=0.5; Lava"):
        to_lava(net)
