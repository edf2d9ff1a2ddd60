"""The machine code of the ELM memory against its definition, forward and backward."""

from __future__ import annotations

import pytest
import torch

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.tanh import tanh
from neurosim.errors import InputError
from neurosim.kernels.common.bits import REAL
from neurosim.kernels.common.policy import forced
from neurosim.kernels.elm import operator, reference
from neurosim.kernels.elm.arguments import Call
from neurosim.kernels.elm.cpu import padded_size
from neurosim.models import ELM, ELMLayer, ELMState

MS = 1e-3
CASES = {
    "plain": dict(n_in=12, n_out=2, d_m=7),
    "v2": dict(n_in=12, n_out=2, d_m=7, variant="v2"),
    "branched": dict(n_in=12, n_out=3, d_m=5, branches=5, synapses=4),
    "several": dict(
        n_in=9, n_out=1, d_m=4, neurons=3, branches=6, synapses=4, routing="random", learn_tau_m=True, activation="silu"
    ),
    "wide": dict(n_in=6, n_out=2, d_m=33, d_mlp=50, learn_tau_m=True),
}
BATCHES = [1, 3, 8, 11]  # a part of a unit, whole ones, and units that overlap


def run(case: str, batch: int, dtype: torch.dtype, fused: bool) -> list[torch.Tensor]:
    """Return outputs, states and all gradients."""
    torch.manual_seed(0)
    neuron = ELM(dt=MS, **CASES[case]).to(dtype)
    with torch.no_grad():
        neuron.proto_w_s.normal_(0.3, 0.4)
    x = torch.randn(25, batch, neuron.n_in, dtype=dtype, requires_grad=True)
    state = ELMState(*(torch.randn_like(s).requires_grad_() for s in neuron.initial_state(x)))
    y, after, *_ = neuron(x, state) if fused else neuron.run_reference(x, state)
    loss = y.sin().sum() + after.branch.square().sum() + after.memory.cos().sum()
    return [y, *after, *torch.autograd.grad(loss, [x, *state, *neuron.parameters()])]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("case", CASES)
def test_fused_and_definition_agree(case, batch):
    for a, b in zip(run(case, batch, torch.float64, True), run(case, batch, torch.float64, False), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_in_single_precision_as_well(case):
    exact = run(case, 5, torch.float64, False)
    for a, b, c in zip(run(case, 5, torch.float32, True), run(case, 5, torch.float32, False), exact, strict=True):
        assert a.dtype == torch.float32
        limit = 4.0 * (b - c).abs().max() + 1e-5 * c.abs().max()
        assert (a - c).abs().max() <= limit


@pytest.mark.parametrize("case", CASES)
def test_from_rest_as_well(case):
    torch.manual_seed(0)
    neuron = ELM(dt=MS, **CASES[case]).double()
    x = (torch.rand(25, 3, neuron.n_in) < 0.3).double()
    found = []
    for call in (neuron, neuron.run_reference):
        y, after, *_ = call(x)
        loss = y.sin().sum() + after.branch.square().sum() + after.memory.cos().sum()
        found.append([y, *after, *torch.autograd.grad(loss, list(neuron.parameters()))])
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-10)


def test_a_long_run_with_few_outputs_and_with_many():
    torch.manual_seed(0)
    neuron = ELM(10, 9, dt=MS, d_m=17).double()
    x = torch.rand(450, 10, 10, dtype=torch.float64)
    wide = ELM(10, 40, dt=MS, d_m=17).double()
    for each in (neuron, wide):
        found = [
            torch.autograd.grad(call(x)[0].sin().sum(), list(each.parameters())) for call in (each, each.run_reference)
        ]
        for a, b in zip(*found, strict=True):
            assert torch.allclose(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("case", ["plain", "branched", "several"])
def test_autocast_leaves_single_precision(case, with_state):
    torch.manual_seed(0)
    neuron = ELM(dt=MS, **CASES[case])
    x = torch.randn(12, 4, neuron.n_in)
    state = neuron(x)[1] if with_state else None
    plain, wanted = neuron(x, state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, after = neuron(x, state)
    assert found.dtype == torch.float32
    for a, b in zip((found, *after), (plain, *wanted), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_training_after_a_run_in_inference_mode():
    neuron = ELM(6, 2, dt=3 * MS, d_m=4, branches=3, synapses=2)
    x = torch.rand(31, 2, 6)
    with torch.inference_mode():
        neuron(x)
    y, state = neuron(x)
    (y.sum() + state.branch.sum()).backward()
    assert neuron.proto_w_s.grad.any()


@pytest.mark.parametrize("smooth", [False, True])
def test_gradcheck_and_reference(smooth):
    torch.manual_seed(0)
    d, h, neurons = 3, 6, 2
    wide = [padded_size(n, torch.float64) for n in (d, h)]

    def run_it(drive, trace, start, *weights):
        filled = [
            torch.nn.functional.pad(t, (0, wide[n] - t.shape[-1])) for t, n in ((drive, 1), (trace, 1), (start, 0))
        ]
        found = operator.run_elm(Call(*filled, weights, 0.8, 0.6, smooth))
        return found.output, found.last[..., :d]

    shapes = [(4, 3, neurons, h), (3, neurons, h), (3, neurons, d)]
    shapes += [(neurons, h, d), (neurons, h), (neurons, d, h), (neurons, d), (neurons, d), (neurons, d)]
    shapes += [(neurons, 2, d), (neurons, 2)]
    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(run_it, given)
    output, last = run_it(*given)
    expected, memory = reference.run(Call(*given[:3], given[3:], 0.8, 0.6, smooth))
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(last, memory[-1], rtol=1e-12, atol=1e-12)


def test_gradcheck_of_the_neuron():
    torch.manual_seed(0)
    neuron = ELM(4, 2, dt=MS, d_m=2, branches=2, synapses=3, learn_tau_m=True).double()
    names = [name for name, _ in neuron.named_parameters()]
    x = torch.randn(5, 2, 4, dtype=torch.float64, requires_grad=True)
    state = [torch.randn_like(s).requires_grad_() for s in neuron.initial_state(x)]

    def outputs(x, branch, memory, *values):
        given = (x, ELMState(branch, memory))
        y, after = torch.func.functional_call(neuron, dict(zip(names, values, strict=True)), given)
        return y, *after

    assert torch.autograd.gradcheck(outputs, (x, *state, *neuron.parameters()))


def test_the_machine_code_runs_where_it_can(monkeypatch):
    calls = []
    original = operator.run_elm
    monkeypatch.setattr(operator, "run_elm", lambda call: calls.append(1) or original(call))
    neuron = ELM(4, 1, dt=MS, d_m=3)
    x = torch.rand(6, 2, 4)
    neuron(x)
    assert calls == [1]
    # Under torch.func, and for types without code, the definition runs.
    jacobian = torch.func.jacrev(lambda x: neuron(x)[0].sum((1, 2, 3)))(x)
    assert jacobian.shape == (6, 6, 2, 4) and calls == [1]
    half, _ = ELM(4, 1, dt=MS, d_m=3).bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16 and calls == [1]
    empty, state = neuron(x[:0])
    assert empty.shape == (0, 2, 1, 1) and torch.equal(state.memory, torch.zeros(2, 1, 3)) and calls == [1]


def test_without_gradient_nothing_is_kept_and_the_result_is_the_same():
    neuron = ELM(4, 2, dt=MS, d_m=3)
    x = torch.rand(30, 10, 4)
    y, state = neuron(x)
    with torch.no_grad():
        again, last = neuron(x)
    assert torch.equal(y, again) and torch.equal(state.memory, last.memory) and not again.requires_grad


@pytest.mark.parametrize("batch", [2, 7, 24])
def test_any_number_of_threads(batch):
    results = []
    for threads in (1, 3):
        with forced(threads=threads):
            results.append(run("several", batch, torch.float64, True))
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tanh(dtype):
    code = IRBuilder(REAL[dtype], 64 // dtype.itemsize)
    source, target = code.pointer_argument("source"), code.pointer_argument("target")
    with code.loop("0", code.integer_argument("n"), str(code.lanes)) as place:
        code.store(tanh(code, code.load(source, place)), target, place)
    x = torch.cat((torch.linspace(-30, 30, 4093), torch.logspace(-30, 2, 4096), torch.tensor([0.0, 1e30, -1e30]))).to(
        dtype
    )
    found = torch.empty_like(x)
    machine = code.compile()
    machine.call(x.data_ptr(), found.data_ptr(), len(x))
    exact = torch.tanh(x.double())
    unit = torch.finfo(dtype).eps
    assert ((found.double() - exact).abs() <= 4 * unit * exact.abs()).all()
    assert found[-3:].tolist() == [0.0, 1.0, -1.0]


def test_a_value_that_is_no_number_stays_one():
    neuron = ELM(4, 1, dt=MS, d_m=3)
    x = torch.rand(5, 2, 4)
    x[2, 1, 0] = torch.nan
    y, _ = neuron(x)
    assert y[:, 0].isfinite().all() and y[:2, 1].isfinite().all()
    assert y[2:, 1].isnan().all()


def test_a_gradient_of_the_gradient_is_refused():
    neuron = ELM(4, 1, dt=MS, d_m=3)
    x = torch.rand(5, 2, 4, requires_grad=True)
    (g,) = torch.autograd.grad(neuron(x)[0].square().sum(), x, create_graph=True)
    with pytest.raises(InputError, match="no gradient of a gradient"):
        g.square().sum().backward()


def test_the_recurrent_layer_is_the_neuron_fed_back():
    torch.manual_seed(0)
    layer = ELMLayer(5, 4, dt=MS, d_m=3, branches=4, synapses=3).double()
    x = torch.rand(12, 2, 5).double()
    found, after = layer(x)
    kappa = torch.exp(torch.tensor(-MS / 5e-3, dtype=torch.float64))
    state, slow, activity = None, torch.zeros(2, 4).double(), torch.zeros(2, 4).double()
    for t in range(12):
        y, state, *_ = layer.elm.run_reference(torch.cat((x[t], activity), 1)[None], state)
        slow = kappa * slow + (1 - kappa) * y[0, ..., 0]
        activity = torch.relu(y[0, ..., 0] - slow)
        assert torch.allclose(found[t], activity, atol=1e-10)
    for a, b in zip(after, (*state, slow, activity), strict=True):
        assert torch.allclose(a, b, atol=1e-10)
