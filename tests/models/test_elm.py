"""The ELM neuron: counts of parameters, equations of both variants, fixed points, routing, state, released weights."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.models import ELM, ELMState, windows

MS = 1e-3


def published(neuron: ELM, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Run one neuron as its authors write it, in ms, v1 with a trace at every synapse; return output, memory, branches.

    Written apart from the package: nothing of it is called but the parameters.
    """
    dt, tau_s = neuron.dt / MS, neuron.tau_s / MS
    low, high = neuron.tau_m_min / MS, neuron.tau_m_max / MS
    tau_m = low + (high - low) * torch.sigmoid(neuron.proto_tau_m[0])
    kappa_m, kappa_s = torch.exp(-dt / tau_m), math.exp(-dt / tau_s)
    weight = torch.relu(neuron.proto_w_s[0])
    synapses = neuron.routes.shape[2]
    memory = x.new_zeros(x.shape[1], neuron.d_m)
    trace = x.new_zeros(x.shape[1], neuron.branches, synapses if neuron.variant == "v1" else 1)
    outputs, memories, branches = [], [], []
    for now in x:
        come = now[:, neuron.routes[0]] * neuron.connected[0] * weight
        trace = kappa_s * trace + (come if neuron.variant == "v1" else come.sum(2, keepdim=True))
        branch = trace.sum(2)
        held = kappa_m * memory
        hidden = functional.linear(torch.cat((branch, held), 1), neuron.inward[0], neuron.inward_bias[0])
        hidden = functional.silu(hidden) if neuron.activation == "silu" else torch.relu(hidden)
        raw = functional.linear(hidden, neuron.outward[0], neuron.outward_bias[0])
        change = 1.7159 * torch.tanh(2 / 3 * raw)
        if neuron.variant == "v1":
            memory = held + neuron.gain * (1 - kappa_m) * change
        else:
            memory = held + (1 - torch.exp(-neuron.gain * dt / tau_m)) * change
        outputs.append(functional.linear(memory, neuron.readout[0], neuron.readout_bias[0]))
        memories.append(memory)
        branches.append(branch)
    return torch.stack(outputs), torch.stack(memories), torch.stack(branches)


def signed(steps: int, batch: int, n: int) -> torch.Tensor:
    """Draw spikes of which some are inhibitory."""
    return torch.randint(-1, 2, (steps, batch, n)).double()


# 4601 at one memory unit, ... as the authors list them for their Branch-ELM on NeuronIO.
COUNTS = {1: 4601, 2: 4708, 3: 4823, 5: 5077, 7: 5363, 10: 5852, 15: 6827, 20: 8002, 100: 54002}


@pytest.mark.parametrize(("d_m", "total"), COUNTS.items())
def test_parameters_of_the_branch_elm_on_neuronio(d_m, total):
    neuron = ELM(1278, 2, dt=MS, d_m=d_m, branches=45, synapses=100)
    assert sum(p.numel() for p in neuron.parameters()) == total


def test_parameters_of_the_plain_neuron_and_of_learned_time_constants():
    def total(**options):
        return sum(p.numel() for p in ELM(700, 20, dt=10 * MS, d_m=100, **options).parameters())

    assert total() == 183020
    assert total(learn_tau_m=True) == 183120


@pytest.mark.parametrize("variant", ["v1", "v2"])
@pytest.mark.parametrize("form", [{}, {"branches": 4, "synapses": 5}, {"d_mlp": 9, "activation": "silu"}])
def test_it_equals_the_equations_of_the_authors(variant, form):
    torch.manual_seed(0)
    neuron = ELM(12, 3, dt=2 * MS, d_m=6, variant=variant, tau_m_max=0.15, **form).double()
    with torch.no_grad():
        neuron.proto_w_s.normal_(0.3, 0.5)
    x = signed(40, 3, 12)
    wanted = published(neuron, x)
    y, state, kept, *_ = neuron.run(x, record=["memory", "branch"])
    got = y[:, :, 0], kept["memory"][:, :, 0], kept["branch"][:, :, 0]
    for a, b in zip(got, wanted, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)
    assert torch.allclose(state.branch[:, 0], wanted[2][-1], atol=1e-12)
    assert torch.equal(state.memory[:, 0], kept["memory"][-1, :, 0])


def test_the_variants_share_the_branch_traces_and_not_the_memory():
    made = {}
    for variant in ("v1", "v2"):
        torch.manual_seed(3)
        neuron = ELM(12, 1, dt=MS, d_m=6, branches=4, synapses=5, variant=variant)
        made[variant] = published(neuron, signed(50, 2, 12).float())
    assert torch.allclose(made["v1"][2], made["v2"][2], atol=1e-6)
    assert (made["v1"][1] - made["v2"][1]).abs().max() > 0.05


def constant(variant: str, raw: float) -> ELM:
    """Return a neuron whose perceptron gives `raw` to every memory unit, whatever it sees."""
    neuron = ELM(4, 1, dt=MS, d_m=5, variant=variant, tau_m_min=5 * MS, tau_m_max=50 * MS).double()
    with torch.no_grad():
        neuron.outward.zero_()
        neuron.outward_bias.fill_(raw)
    return neuron


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_without_a_change_the_memory_decays_by_kappa(variant):
    neuron = constant(variant, 0.0)
    kappa = torch.exp(-MS / neuron.tau_m[0])
    start = ELMState(torch.zeros(2, 1, 4).double(), torch.randn(2, 1, 5).double())
    kept = neuron.run(torch.randn(9, 2, 4).double(), start, ["memory"]).recorded
    for t in range(9):
        assert torch.allclose(kept["memory"][t], start.memory * kappa ** (t + 1), rtol=1e-12)


@pytest.mark.parametrize(
    ("variant", "factor"),
    [("v1", lambda kappa: 5.0 * torch.ones_like(kappa)), ("v2", lambda kappa: (1 - kappa**5) / (1 - kappa))],
)
def test_a_saturated_change_leads_to_the_fixed_point(variant, factor):
    neuron = constant(variant, math.inf)
    kappa = torch.exp(-MS / neuron.tau_m[0])
    _, state = neuron(torch.zeros(3000, 1, 4).double())
    assert torch.allclose(state.memory[0, 0], 1.7159 * factor(kappa), rtol=1e-9)


def test_the_fixed_points_of_the_two_variants_in_figures():
    # gain 5, tau 20 ms, a change of 0.3: 1.5 and 1.3607
    found = {}
    for variant in ("v1", "v2"):
        neuron = ELM(4, 1, dt=MS, d_m=1, variant=variant).double()
        with torch.no_grad():
            neuron.proto_tau_m.fill_(torch.logit(torch.tensor(19.0 / 999.0, dtype=torch.float64)))
            neuron.outward.zero_()
            neuron.outward_bias.fill_(1.5 * math.atanh(0.3 / 1.7159))
        found[variant] = float(neuron(torch.zeros(2000, 1, 4).double())[1].memory.detach())
    assert found["v1"] == pytest.approx(1.5, abs=1e-4)
    assert found["v2"] == pytest.approx(1.3607, abs=1e-4)


def test_time_constants_are_spread_on_a_logarithmic_scale_and_stay_in_their_bounds():
    neuron = ELM(4, 1, dt=MS, d_m=7, tau_m_max=0.5, learn_tau_m=True).double()
    log = torch.log(neuron.tau_m[0].detach())
    assert torch.allclose(log.diff(), log.diff().mean().expand(6), rtol=1e-3)
    assert log[0].exp().item() == pytest.approx(MS, rel=1e-3) and log[-1].exp().item() == pytest.approx(0.5, rel=1e-3)
    with torch.no_grad():
        neuron.proto_tau_m += 1e3 * torch.randn(7)
    assert (neuron.tau_m >= MS).all() and (neuron.tau_m <= 0.5).all()


def test_time_constants_are_learned_only_if_asked():
    x = torch.rand(9, 2, 4)
    for learned in (False, True):
        neuron = ELM(4, 1, dt=MS, d_m=3, learn_tau_m=learned)
        neuron(x)[0].square().sum().backward()
        assert ("proto_tau_m" in dict(neuron.named_parameters())) == learned
        assert (neuron.proto_tau_m.grad is not None and bool(neuron.proto_tau_m.grad.abs().sum() > 0)) == learned


def test_a_negative_weight_has_no_effect_and_no_gradient():
    neuron = ELM(6, 1, dt=MS, d_m=4)
    with torch.no_grad():
        neuron.proto_w_s[0, :3] = -0.1
    x = torch.rand(12, 2, 6).requires_grad_()
    neuron(x)[0].square().sum().backward()
    assert torch.equal(neuron.proto_w_s.grad[0, :3], torch.zeros(3, 1))
    assert (neuron.proto_w_s.grad[0, 3:] != 0).all()
    assert torch.equal(x.grad[..., :3], torch.zeros(12, 2, 3))


def test_windows_of_neuronio():
    routes, connected = windows(1278, 45, 100)
    # Stride 29 over places that hold excitatory and inhibitory inputs in turns.
    assert routes[0, :4].tolist() == [0, 639, 1, 640]
    assert routes[1, :3].tolist() == [653, 15, 654]
    assert connected[:40].all() and not connected[44, -1]
    assert int(connected[44].sum()) == 1278 - 44 * 29
    assert set(routes[connected].tolist()) == set(range(1278))
    assert (routes[~connected] == 1277).all()
    assert connected.sum() / 1278 == pytest.approx(3.4, abs=0.1)


def test_an_index_beyond_the_inputs_is_no_synapse():
    neuron = ELM(6, 1, dt=MS, d_m=3, branches=3, synapses=4).double()
    x = torch.zeros(1, 1, 6).double()
    x[0, 0, 5] = 1.0
    # Input 5 stands at the last place, of branches 1 and 2; the two places beyond it are clamped to it and masked.
    assert neuron(x)[1].branch.flatten().tolist() == [0.0, 0.5, 0.5]


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_a_split_run_equals_the_run_in_one(variant):
    neuron = ELM(8, 2, dt=MS, neurons=2, d_m=5, branches=4, synapses=3, routing="random", variant=variant).double()
    x = signed(23, 3, 8)
    whole, after = neuron(x)
    state, parts = None, []
    for part in x.split([7, 1, 0, 15]):
        y, state = neuron(part, state)
        parts.append(y)
    assert torch.allclose(torch.cat(parts), whole, atol=1e-12)
    for a, b in zip(state, after, strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_several_neurons_equal_single_neurons():
    torch.manual_seed(1)
    both = ELM(8, 2, dt=MS, neurons=2, d_m=5, branches=4, synapses=3, routing="random").double()
    x = signed(15, 3, 8)
    y, _ = both(x)
    assert not torch.equal(both.routes[0], both.routes[1])
    for number in range(2):
        one = ELM(8, 2, dt=MS, d_m=5, branches=4, synapses=3, routing="random").double()
        one.load_state_dict({name: value[number : number + 1] for name, value in both.state_dict().items()})
        assert torch.allclose(one(x)[0][:, :, 0], y[:, :, number], atol=1e-12)


def released(d_m: int) -> dict[str, torch.Tensor]:
    """Make weights with the names and shapes of the authors' program."""
    return {
        "_proto_w_s": torch.rand(12),
        "tau_s": torch.full((12,), 5.0),
        "_proto_tau_m": torch.randn(d_m),
        "input_to_synapse_indices": torch.randint(6, (12,)),
        "valid_indices_mask": torch.rand(12) < 0.8,
        "mlp.network.0.weight": torch.randn(2 * d_m, 3 + d_m),
        "mlp.network.0.bias": torch.randn(2 * d_m),
        "mlp.network.2.weight": torch.randn(d_m, 2 * d_m),
        "mlp.network.2.bias": torch.randn(d_m),
        "w_y.weight": torch.randn(2, d_m),
        "w_y.bias": torch.randn(2),
    }


def test_released_weights_are_taken_over():
    neuron, weights = ELM(6, 2, dt=MS, d_m=4, branches=3, synapses=4, tau_m_max=0.15), released(4)
    neuron.load_released(weights)
    assert torch.equal(neuron.inward[0], weights["mlp.network.0.weight"])
    assert torch.equal(neuron.routes.flatten(), weights["input_to_synapse_indices"])
    assert torch.equal(neuron.connected.flatten(), weights["valid_indices_mask"])
    x = signed(30, 2, 6).float()
    assert torch.allclose(neuron(x)[0][:, :, 0], published(neuron, x)[0], atol=1e-5)


def test_released_weights_that_do_not_fit_are_refused():
    neuron, weights = ELM(6, 2, dt=MS, d_m=4, branches=3, synapses=4), released(4)
    with pytest.raises(InputError, match=r"lack \['w_y.bias'\]"):
        neuron.load_released({name: value for name, value in weights.items() if name != "w_y.bias"})
    with pytest.raises(InputError, match="tau_s is 7 ms there and 5 ms here"):
        neuron.load_released(weights | {"tau_s": torch.full((12,), 7.0)})
    with pytest.raises(ShapeError, match=r"w_y.weight has shape \[2, 5\]; \[2, 4\] is needed"):
        neuron.load_released(weights | {"w_y.weight": torch.randn(2, 5)})
    with pytest.raises(InputError, match="one neuron; this module has 2"):
        ELM(6, 2, dt=MS, neurons=2).load_released(weights)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tau_s": 200.0}, UnitError, "tau_s must be a number in .* milliseconds"),
        ({"tau_m_min": 0.5, "tau_m_max": 0.1}, UnitError, "tau_m_min must be below tau_m_max"),
        ({"gain": 0.0}, InputError, "gain must be a number above 0"),
        ({"variant": "v3"}, InputError, r"variant must be one of \['v1', 'v2'\]"),
        ({"activation": "gelu"}, InputError, "activation must be one of"),
        ({"routing": "near"}, InputError, "routing must be one of"),
        ({"branches": 3}, InputError, "both branches and synapses"),
        ({"branches": 3, "synapses": 2}, InputError, "n_in must be even; got 5"),
        ({"d_m": 0}, InputError, "d_m must be an integer from 1"),
        ({"dt": 1.0}, UnitError, "milliseconds"),
    ],
)
def test_wrong_arguments_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        ELM(5, 1, **{"dt": MS, **options})


def test_wrong_input_is_refused_by_name():
    neuron = ELM(5, 1, dt=MS, d_m=3)
    with pytest.raises(ShapeError, match=r"x must be a tensor \[T, B, 5\]; got \[2, 5\]"):
        neuron(torch.zeros(2, 5))
    with pytest.raises(InputError, match=r"Use x\.float\(\)"):
        neuron(torch.zeros(2, 1, 5, dtype=torch.int64))
    state = neuron.initial_state(torch.zeros(2, 4, 5))
    with pytest.raises(ShapeError, match=r"state.branch must be \[1, 1, 5\]; got \[4, 1, 5\]"):
        neuron(torch.zeros(2, 1, 5), state)
    with pytest.raises(ShapeError, match=r"state must hold \['branch', 'memory'\]"):
        neuron(torch.zeros(2, 1, 5), state[:1])
    with pytest.raises(InputError, match=r"cannot record \['spikes'\]"):
        neuron.run(torch.zeros(2, 1, 5), None, ["spikes"])


def test_importing_the_models_loads_no_compiler():
    script = "import sys, neurosim.models; sys.exit('llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
