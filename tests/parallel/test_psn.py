"""PSN and masked PSN: one matrix over the whole run, and what they refuse."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError, ShapeError
from neurosim.language import smooth
from neurosim.parallel import PSN, MaskedPSN, masking_at

DT = 1e-3


def stepwise(layer, i):
    """Work out the membrane of a PSN from its definition, one step and one earlier or later input at a time."""
    mixing = layer.mixing()
    h = torch.stack([sum(mixing[t, s] * i[s] for s in range(len(i))) for t in range(len(i))])
    return h, h - layer.v_th.reshape(-1, *[1] * (i.dim() - 1))


def random(layer):
    with torch.no_grad():
        layer.v_th.add_(0.2 * torch.randn_like(layer.v_th))
    return layer.double()


@pytest.mark.parametrize("shape", [(9, 2), (9, 2, 3), (9, 2, 3, 4), (9, 0, 3)])
@pytest.mark.parametrize("make", [lambda: PSN(9, dt=DT), lambda: MaskedPSN(9, 3, dt=DT, masking=0.4)])
def test_it_equals_its_definition(make, shape):
    layer, i = random(make()), 4 * torch.randn(shape, dtype=torch.float64)
    z, _, values, *_ = layer.run(i, record=["h"])
    h, distance = stepwise(layer, i)
    assert z.shape == i.shape and z.dtype is i.dtype
    assert torch.allclose(values["h"], h, rtol=0, atol=1e-13) and not values["h"].requires_grad
    assert torch.equal(z, (distance > 0).to(z.dtype))
    if i.numel():
        assert 0.05 < z.mean() < 0.95


def test_the_spike_is_strict_and_its_gradient_that_of_the_surrogate():
    layer = PSN(2, dt=DT, spike=ns.triangle())
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    i = torch.tensor([1.0, 0.25]).reshape(2, 1, 1).requires_grad_()
    z, _ = layer(i)
    assert z.flatten().tolist() == [0.0, 1.0]
    z.sum().backward()
    # Distances 0 and 0.25: slopes 1 and 0.75.
    assert i.grad.flatten().tolist() == [1.75, 0.75]
    assert layer.v_th.grad.tolist() == [-1.0, -0.75]
    assert layer.weight.grad.tolist() == [[1.0, 0.25], [0.75, 0.1875]]
    assert PSN(2, dt=DT).fire.spike.name == ns.atan(2.0).name


@pytest.mark.parametrize("make", [lambda **c: PSN(6, dt=DT, **c), lambda **c: MaskedPSN(6, 2, dt=DT, masking=0.3, **c)])
def test_gradients_are_those_of_finite_differences(make):
    layer = random(make(spike=smooth()))
    i = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)

    def run(x, weight, v_th):
        return torch.func.functional_call(layer, {"weight": weight, "v_th": v_th}, (x,))[0]

    assert torch.autograd.gradcheck(run, (i, layer.weight, layer.v_th))


def test_first_weights_are_those_of_the_paper():
    layer = PSN(400, dt=DT)
    assert layer.weight.abs().max() < 0.05 and layer.weight.std().item() == pytest.approx(0.05 / 3**0.5, rel=0.02)
    assert layer.weight.mean().abs() < 1e-3 and torch.equal(layer.v_th, torch.ones(400))


def test_a_psn_sees_later_steps_and_a_fully_masked_one_does_not():
    i = 4 * torch.randn(12, 2, 3)
    other = i.clone()
    other[-1] += 100.0
    for masking, causal in ((0.0, False), (0.5, False), (1.0, True)):
        layer = MaskedPSN(12, 4, dt=DT, masking=masking)
        a, b = (layer.run(x, record=["h"]).recorded for x in (i, other))
        assert torch.equal(a["h"][:-1], b["h"][:-1]) is causal


def test_fully_masked_each_output_depends_on_the_last_order_steps():
    layer, full = MaskedPSN(7, 3, dt=DT, masking=1.0), PSN(7, dt=DT)
    full.load_state_dict({"weight": layer.weight, "v_th": layer.v_th, **_fire(full)})
    with torch.no_grad():
        for t in range(7):
            for s in range(7):
                if not t - 3 < s <= t:
                    full.weight[t, s] = 0.0
    i = 4 * torch.randn(7, 2, 3)
    assert torch.equal(layer.mixing(), full.weight) and torch.equal(layer(i)[0], full(i)[0])
    layer.masking = 0.0
    assert torch.equal(layer.mixing(), layer.weight)
    z, _ = layer(i)
    (gradient,) = torch.autograd.grad(z.sum(), layer.weight)
    assert (gradient != 0).all()
    layer.masking = 1.0
    (masked,) = torch.autograd.grad(layer(i)[0].sum(), layer.weight)
    assert torch.equal(masked == 0, layer.band == 0)


def _fire(layer):
    return {name: value for name, value in layer.state_dict().items() if name not in ("weight", "v_th")}


def test_masking_travels_with_the_layer():
    layer = MaskedPSN(5, 2, dt=DT, masking=0.25)
    other = MaskedPSN(5, 2, dt=DT)
    other.load_state_dict(layer.state_dict())
    assert other.masking == 0.25 and torch.equal(other.mixing(), layer.mixing())
    i = 4 * torch.randn(5, 2, 3)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.masking == 0.25 and torch.equal(twin(i)[0], layer(i)[0]) and repr(twin) == repr(layer)
    assert "MaskedPSN(\n  5, 2, masking=0.25, dt=0.001, spike=atan(slope=2.0)" in repr(layer)


def test_a_checkpoint_keeps_the_masking(tmp_path):
    net = ns.Sequential(ns.Linear(3, 4), MaskedPSN(5, 2, dt=DT, masking=0.75))
    again = ns.Sequential(ns.Linear(3, 4), MaskedPSN(5, 2, dt=DT))
    ns.save_checkpoint(tmp_path / "net.pt", net)
    ns.load_checkpoint(tmp_path / "net.pt", again)
    assert again.nodes["MaskedPSN1"].masking == 0.75


def test_samples_are_independent():
    layer, i = PSN(8, dt=DT).double(), 4 * torch.randn(8, 4, 5, dtype=torch.float64)
    z, _, values, *_ = layer.run(i, record=["h"])
    other = i.clone()
    other[:, 0] = 100.0
    assert torch.allclose(layer.run(other, record=["h"]).recorded["h"][:, 1:], values["h"][:, 1:], rtol=0, atol=1e-13)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(layer(i[:, order])[0], z[:, order])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    layer, i = PSN(8, dt=DT), (4 * torch.randn(8, 4, 5)).to(dtype)
    z, _ = layer(i)
    assert z.dtype is dtype and torch.equal(z, layer(i.float())[0].to(dtype))


@pytest.mark.parametrize("make", [lambda: PSN(20, dt=DT), lambda: MaskedPSN(20, 4, dt=DT, masking=0.5)])
def test_it_compiles_into_one_graph(make):
    torch._dynamo.reset()
    layer, i = make(), 4 * torch.randn(20, 2, 3)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found = [torch.autograd.grad(run(i)[0].sum(), layer.weight)[0] for run in (layer, compiled)]
    assert torch.equal(layer(i)[0], compiled(i)[0]) and torch.equal(*found)


def test_the_threshold_runs_on_a_fused_kernel_equal_to_plain_autograd():
    layer, d = PSN(30, dt=DT), torch.randn(30, 4, 5)
    fused, plain = (d.clone().requires_grad_() for _ in range(2))
    a, b = layer.fire(fused)[0], layer.fire.spike(plain)
    g = torch.randn_like(d)
    a.backward(g)
    b.backward(g)
    assert type(a.grad_fn).__name__ == "PlainFunctionBackward"
    assert torch.equal(a, b) and torch.equal(fused.grad, plain.grad)


def test_another_length_of_run_is_refused():
    with pytest.raises(
        ShapeError, match=r"PSN: made for runs of 9 steps, which it runs all at once; got 8\. It cannot"
    ):
        PSN(9, dt=DT)(torch.randn(8, 2, 3))


def test_the_state_of_a_finished_run_is_refused():
    layer, i = MaskedPSN(9, 3, dt=DT), torch.randn(9, 2, 3)
    _, state = layer(i, layer.initial_state(i))
    with pytest.raises(InputError, match=r"MaskedPSN: state is that of an earlier run of 9 steps, .* state=None"):
        layer(i, state)
    with pytest.raises(ShapeError, match=r"MaskedPSN: state must hold \['seen'\]; got 2 tensor\(s\)"):
        layer(i, (*state, *state))


def test_a_gradient_within_the_step_is_refused():
    with pytest.raises(InputError, match=r"PSN: through_time=False needs .* Train with BPTT, or use SlidingPSN"):
        PSN(9, dt=DT)(torch.randn(9, 2, 3), through_time=False)


def test_a_gradient_of_a_gradient_is_refused():
    layer, i = PSN(4, dt=DT), torch.randn(4, 2, 3, requires_grad=True)
    (g,) = torch.autograd.grad(layer(i)[0].sum(), i, create_graph=True)
    with pytest.raises(InputError, match="no gradient of a gradient"):
        g.sum().backward()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: PSN(0, dt=DT), InputError, r"PSN: steps must be an integer from 1; got 0"),
        (lambda: PSN(True, dt=DT), InputError, r"PSN: steps must be an integer from 1; got True"),
        (lambda: PSN(5, dt=1.0), ns.NeurosimError, r"PSN: dt must be .* Did you pass milliseconds"),
        (lambda: PSN(5, dt=DT, spike="atan"), InputError, r"spike must be a surrogate such as atan\(2.0\); got 'atan'"),
        (lambda: MaskedPSN(5, 1.5, dt=DT), InputError, r"MaskedPSN: order must be an integer from 1; got 1.5"),
        (lambda: MaskedPSN(5, 2, dt=DT, masking=1.01), InputError, r"MaskedPSN: masking must be .* got 1.01"),
        (lambda: MaskedPSN(5, 2, dt=DT, masking=float("nan")), InputError, r"masking must be .* got nan"),
        (lambda: PSN(5, dt=DT)(torch.randn(5)), ShapeError, r"PSN: i must be a tensor \[T, B, ...\]; got shape \[5\]"),
        (lambda: PSN(5, dt=DT)(torch.ones(5, 1, dtype=torch.long)), InputError, r"PSN: i must be a current in float"),
        (lambda: PSN(5, dt=DT, size=4)(torch.randn(5, 1, 3)), ShapeError, r"PSN: i must be \[T, B, 4\]; got \[5, 1, 3"),
        (lambda: PSN(5, dt=DT).run(torch.ones(5, 1), record=["v"]), InputError, r"PSN: cannot record \['v'\]"),
        (lambda: PSN(5, dt=DT).to("meta")(torch.ones(5, 1)), InputError, r"PSN: v_th is on meta, i on cpu; move one"),
        (lambda: masking_at(0, 0), InputError, r"masking_at: epoch counts from 0 and epochs from 1; got 0 of 0"),
        (lambda: masking_at(-1, 3), InputError, r"masking_at: .* got -1 of 3"),
    ],
)
def test_wrong_arguments_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_schedule_ends_at_one_and_stays_there():
    assert [masking_at(epoch, 3) for epoch in range(5)] == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert masking_at(0, 1) == 1.0
