"""Start values of populations: numbers, tensors, and distributions drawn by a counter."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.circuit import Poisson
from neurosim.errors import InputError, NeurosimError, ShapeError
from neurosim.exchange.nir import to_nir
from neurosim.exchange.peers import to_snntorch
from neurosim.kernels.common.normal import normal_quantile
from neurosim.learning.rules.eventprop import EventProp
from neurosim.network.description import describe, differences
from neurosim.network.start_values import quantile
from neurosim.recording import Recording
from neurosim.synapses.distributions import Constant, LogNormal, Normal, Uniform

N = 40
UNIFORM = Uniform(0.2, 0.9)


def network(n=N, init=None, **options):
    torch.manual_seed(1)
    nodes = {"x": ns.Input(3), "E": ns.CubaLIF(size=n, init=init), "out": ns.LI(init=dict(v=0.25))}
    return ns.Network(nodes, [ns.Edge("x", "E", ns.Linear(3, n)), ns.Edge("E", "out", ns.Linear(n, 2))], dt=1e-3)


def noisy(init, **options):
    torch.manual_seed(1)
    nodes = {"x": Poisson(300.0, 3), "E": ns.LIF(size=N, init=init)}
    return ns.Network(nodes, [ns.Edge("x", "E", ns.Linear(3, N))], dt=1e-3, **options)


DATA = torch.rand(30, 4, 3, generator=torch.Generator().manual_seed(2)) * 9


def test_numbers_and_tensors_are_the_state_before_the_first_step():
    each, trials = torch.rand(N), torch.rand(4, N)
    net = network(init=dict(v=each, j=0.5))
    state = net.initial_state(DATA)
    assert torch.equal(state.nodes["E"].v, each.expand(4, N)) and (state.nodes["E"].j == 0.5).all()
    assert (state.nodes["out"].v == 0.25).all()
    own = network(init=dict(v=trials)).initial_state(DATA).nodes["E"]
    assert torch.equal(own.v, trials) and not own.j.any()
    plain = network()
    start = plain.initial_state(DATA)
    start.nodes["E"] = state.nodes["E"]
    assert torch.equal(net(DATA)[0], plain(DATA, start)[0])
    assert not torch.equal(net(DATA)[0], plain(DATA)[0])
    alone = net["E"].run(torch.zeros(1, 4, N), record=["j"]).recorded["j"]
    assert torch.allclose(alone, torch.full_like(alone, 0.5 * math.exp(-1e-3 / 5e-3)))
    double = net.double().initial_state(DATA.double()).nodes["E"].v
    assert double.dtype == torch.float64


@pytest.mark.parametrize(
    "law",
    [
        Constant(0.3),
        Uniform(-2.0, 3.0),
        Normal(-0.5, 2.0),
        Normal(1.0, 2.0, low=0.0, outside="redrawn"),
        Normal(1.0, 2.0, low=0.0, high=1.5, outside="clipped"),
        Normal(0.7, 0.0),
        LogNormal(-1.0, 0.5),
        LogNormal(0.0, 1.0, low=0.5, high=4.0, outside="redrawn"),
    ],
    ids=str,
)
def test_draws_follow_their_law(law):
    count = 200_000
    chance = np.random.default_rng(0)
    if isinstance(law, Constant):
        wanted = np.full(count, law.value)
    elif isinstance(law, Uniform):
        wanted = chance.uniform(law.low, law.high, count)
    else:
        is_normal = isinstance(law, Normal)
        draw = chance.normal if is_normal else chance.lognormal
        wanted = draw(*((law.mean, law.std) if is_normal else (law.mu, law.sigma)), 8 * count)
        if law.outside == "redrawn":
            wanted = wanted[(wanted >= law.low) & (wanted <= law.high)]
        wanted = np.clip(wanted, law.low, law.high)[:count]
        assert len(wanted) == count
    layer = ns.LIF(dt=1e-3, size=count, init=dict(v=law))
    found = layer.initial_state(torch.zeros(1, 1, count, dtype=torch.float64)).v[0].numpy()
    levels = np.linspace(0.002, 0.998, 97)
    spread = max(wanted.std(), 1e-6)
    rank = np.searchsorted(np.sort(wanted), np.quantile(found, levels)) / count
    if spread > 1e-6 and not (isinstance(law, Normal) and law.outside == "clipped"):
        assert abs(rank - levels).max() < 0.006  # 2 sqrt(ln(2 / 1e-6) / (2 n))
    assert abs(found.mean() - wanted.mean()) < 6 * spread * math.sqrt(2 / count) + 1e-12
    assert found.std() == pytest.approx(wanted.std(), rel=0.02, abs=1e-12)
    assert found.min() >= law.lowest and found.max() <= getattr(law, "high", math.inf)


def test_quantiles_at_the_ends():
    share = torch.tensor([2.0**-53, 1e-9, 0.25, 0.5, 1 - 2.0**-53], dtype=torch.float64)
    found = quantile(Normal(3.0, 2.0), share)
    assert torch.allclose(found, 3 + 2 * torch.special.ndtri(share), rtol=1e-14, atol=0)
    assert found[3] == 3 and torch.isfinite(found).all()
    assert quantile(Normal(0.0, 1.0, high=-2.0, outside="redrawn"), share).max() <= -2
    assert quantile(Uniform(1.0, 2.0), share)[[0, -1]].tolist() == [1.0, 2.0]
    spread = torch.cat([torch.logspace(-300, -1, 500, dtype=torch.float64), torch.linspace(0.1, 0.9, 500).double()])
    assert torch.allclose(normal_quantile(spread), torch.special.ndtri(spread), rtol=2e-15, atol=1e-16)
    assert torch.equal(normal_quantile(spread)[::7], normal_quantile(spread[::7]))


def test_a_trial_starts_alike_in_any_batch():
    net = network(init=dict(v=UNIFORM, j=Normal(0.0, 1.0)))
    every = net.initial_state(DATA, seed=5).nodes["E"]
    some = net.initial_state(DATA[:, :2], seed=5, trials=[3, 1]).nodes["E"]
    assert torch.equal(some.v, every.v[[3, 1]]) and torch.equal(some.j, every.j[[3, 1]])
    other = network(n=2 * N, init=dict(v=UNIFORM)).initial_state(DATA, seed=5).nodes["E"]
    assert torch.equal(other.v[:, :N], every.v)
    assert len(every.v.unique()) == every.v.numel()  # no trial, neuron or variable is that of another
    correlation = np.corrcoef(np.concatenate([every.v.numpy(), every.j.numpy()]))
    assert abs(correlation - np.eye(8)).max() < 0.7
    assert not torch.equal(net.initial_state(DATA, seed=6).nodes["E"].v, every.v)
    large = net.initial_state(DATA, seed=5 + (7 << 40)).nodes["E"].v
    assert not torch.equal(large, every.v)
    alone = ns.simulate(net, DATA[:, 2:3], seed=5, trials=[2], record=["E.v"]).traces["E.v"]
    batch = ns.simulate(net, DATA, seed=5, record=["E.v"], chunk=7).traces["E.v"]
    assert np.allclose(alone[:, 0], batch[:, 2], atol=1e-5) and alone.any()


def test_without_a_seed_torch_gives_one():
    net = network(init=dict(v=UNIFORM))
    torch.manual_seed(4)
    first, second = net.initial_state(DATA).nodes["E"].v, net.initial_state(DATA).nodes["E"].v
    torch.manual_seed(4)
    assert torch.equal(net.initial_state(DATA).nodes["E"].v, first) and not torch.equal(first, second)
    plain = network(init=dict(v=0.5))
    before = torch.get_rng_state()
    plain(DATA)
    ns.simulate(net, DATA, seed=3)
    assert torch.equal(torch.get_rng_state(), before)  # what draws nothing takes no number
    a, b = ns.simulate(net, DATA, record=["E.v"]), ns.simulate(net, DATA, seed=0, record=["E.v"])
    assert np.array_equal(a.traces["E.v"], b.traces["E.v"])


def test_start_and_noise_have_seeds_of_their_own():
    net = noisy(dict(v=UNIFORM))

    def run(seed):
        found = ns.simulate(net, steps=200, batch=2, seed=seed, record=["x"])
        return net.initial_state(batch=2, seed=seed).nodes["E"].v, found.spikes["x"].to_grid()

    v, spikes = run(1)
    same_v, other_spikes = run(dict(start=1, noise=2))
    other_v, same_spikes = run(dict(start=2, noise=1))
    assert torch.equal(v, same_v) and torch.equal(spikes, same_spikes)
    assert not torch.equal(v, other_v) and not torch.equal(spikes, other_spikes)
    for wrong in (dict(start=1), dict(start=1, noise=-1), dict(start=1, noise=1, x=1), 1.5, True, -1):
        with pytest.raises(InputError, match="seed must be an integer"):
            net.initial_state(batch=2, seed=wrong)


def test_runs_go_on_from_a_state_and_from_a_file(tmp_path):
    net = network(init=dict(v=UNIFORM, j=Normal(0.3, 0.1)))
    whole = ns.simulate(net, DATA, seed=2, record=["E", "E.v"])
    first = ns.simulate(net, DATA[:11], seed=2, record=["E", "E.v"], path=tmp_path / "run.h5")
    rest = ns.simulate(net, DATA[11:], state=Recording.load(tmp_path / "run.h5").state, record=["E", "E.v"])
    joined = np.concatenate([first.traces["E.v"], rest.traces["E.v"]])
    assert np.array_equal(joined, whole.traces["E.v"])


def test_copies_checkpoints_and_training(tmp_path):
    net = network(init=dict(v=torch.rand(N), j=UNIFORM))
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        pairs = zip(
            again.initial_state(DATA, seed=1).nodes["E"], net.initial_state(DATA, seed=1).nodes["E"], strict=True
        )
        assert all(torch.equal(a, b) for a, b in pairs)
    other = network(init=dict(v=torch.rand(N), j=UNIFORM))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other.initial_state(DATA).nodes["E"].v, net.initial_state(DATA).nodes["E"].v)
    assert "nodes.E.init.v_start" in net.state_dict() and "Uniform(low=0.2, high=0.9)" in repr(net)
    changed = network(init=dict(v=torch.rand(N), j=Uniform(0.2, 0.8)))
    assert any("j was 'Uniform(low=0.2, high=0.9)'" in text for text in differences(describe(net), describe(changed)))
    net(DATA)[0].sum().backward()
    plain = network()
    plain.load_state_dict(net.state_dict(), strict=False)
    start = net.initial_state(DATA, seed=9)
    plain(DATA, start)[0].sum().backward()
    net.zero_grad()
    net(DATA, start)[0].sum().backward()
    assert torch.equal(net["x->E"][0].weight.grad, plain["x->E"][0].weight.grad)
    assert net["x->E"][0].weight.grad.any()


def test_what_is_no_start_value_is_refused():
    def layer(size=N, **init):
        return ns.CubaLIF(dt=1e-3, size=size, init=init)

    with pytest.raises(InputError, match=r"cubalif: init has values for \['u'\]; this core has the state \['j', 'v'\]"):
        layer(u=1.0)
    for wrong in (math.nan, math.inf, True, "0.5", [0.5], None, 1j):
        with pytest.raises(InputError, match="cubalif: init of v must be a finite number, a tensor"):
            layer(v=wrong)
    with pytest.raises(InputError, match="init of v holds NaN or infinity"):
        layer(v=torch.tensor([1.0, math.nan]).repeat(N // 2))
    with pytest.raises(InputError, match=r"init of v must hold real numbers; got torch.bool"):
        layer(v=torch.ones(N).bool())
    with pytest.raises(ShapeError, match=r"init of v must be \[40\] or, with .* trial, \[B, 40\]; got \[3"):
        layer(v=torch.ones(3))
    with pytest.raises(ShapeError, match=r"init of v must be \[5\]"):
        layer(size=None, v=torch.ones(3)).initial_state(torch.zeros(1, 2, 5))
    with pytest.raises(ShapeError, match="init of v holds values for 3 trials; the run has a batch of 4"):
        network(init=dict(v=torch.ones(3, N)))(DATA)
    with pytest.raises(InputError, match="init must be a mapping"):
        ns.LIF(dt=1e-3, init=0.5)
    with pytest.raises(InputError, match=r"seed and trials are for networks with sources.*, or with start values"):
        ns.simulate(network(init=dict(v=0.5)), DATA, seed=1)
    with pytest.raises(InputError, match="init"):

        @ns.core(parameters=dict(init=1.0), state=("v",))
        def own(i, v, *, init):
            return v, v + init * i


def test_targets_that_start_from_the_values_of_the_core_refuse():
    net = ns.Sequential(ns.Linear(3, 4), ns.LIF(dt=1e-3, init=dict(v=0.5)), names=["E"])
    for export in (to_nir, to_snntorch):
        with pytest.raises(NeurosimError, match=r"node 'E'.*starts from the values of init="):
            export(net)
    with pytest.raises(InputError, match="EventProp: node 'E' starts from the values of init="):
        EventProp().gradients(net, torch.ones(5, 1, 3), torch.zeros(1).long(), ns.CrossEntropy())


def test_refractory_and_other_cores_take_start_values():
    layer = ns.layer(cores.refractory_lif)(dt=1e-3, t_ref=3e-3, size=2, init=dict(wait=3.0))
    assert layer.initial_state(torch.zeros(1, 1, 2)).wait.tolist() == [[3.0, 3.0]]
