"""Noise inside a core: one standard normal number a step and neuron, from a counter."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit import Noise, Poisson
from neurosim.errors import InputError, NetworkError, NeurosimError
from neurosim.exchange.nir import to_nir
from neurosim.kernels.common import normal
from neurosim.kernels.common.normal import normal_quantile
from neurosim.kernels.common.normal_code import normal_numbers
from neurosim.kernels.common.philox import random_words
from neurosim.language import sqrt
from neurosim.network import fold, noise
from neurosim.network.noise import NormalSource
from neurosim.network.source import first_state
from neurosim.synapses import Identity, Sparse
from neurosim.synapses.distributions import Normal

DT = 1e-3


@ns.core(parameters=dict(tau_mem=ns.seconds(10e-3), sigma=1.0), state=("v",))
def ornstein_uhlenbeck(i, v, *, alpha_mem, sigma, normal):
    """Ornstein-Uhlenbeck process, exact for any step."""
    u = alpha_mem * v + (1.0 - alpha_mem) * i + sigma * sqrt(1.0 - alpha_mem * alpha_mem) * normal
    return u, u


@ns.core(parameters=dict(tau_mem=ns.seconds(10e-3), sigma=0.3, v_th=1.0), state=("v",))
def noisy_lif(i, v, *, alpha_mem, sigma, v_th, normal, spike, reset):
    """Leaky integrate-and-fire with white noise."""
    u = alpha_mem * v + (1.0 - alpha_mem) * i + sigma * normal
    z = spike(u - v_th)
    return z, reset(u, z, to=0.0, by=v_th)


@ns.core(state=("last",))
def white(i, last, *, normal):
    """Return its number."""
    return normal + i, normal


def numbers(shape, steps, seed=3, trials=(0,), source=None, start=0):
    source = source or NormalSource(shape)
    state = first_state(len(trials), seed, trials, torch.device("cpu"))
    state = state._replace(step=state.step + start)
    return source.values(state, steps, stream=7, dt=DT, dtype=torch.float64)


def test_the_moments_and_the_law_are_those_of_the_normal_distribution():
    x = numbers(500, 2000).flatten().numpy()
    n = len(x)
    assert abs(x.mean()) < 5 / math.sqrt(n)
    assert abs(x.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs((x**3).mean()) < 5 * math.sqrt(15 / n)
    assert abs((x**4).mean() - 3) < 5 * math.sqrt(96 / n)
    rank = 0.5 * (1 + torch.special.erf(torch.from_numpy(np.sort(x)) / math.sqrt(2))).numpy()
    assert abs(rank - np.arange(n) / n).max() < 2.7 / math.sqrt(n)  # Kolmogorov-Smirnov, 1e-6
    assert 4.5 < abs(x).max() < 6.34
    exact = torch.arange(1, 2**16, dtype=torch.float64) / 2**16
    z = normal_quantile(exact)
    assert torch.equal(z, -z.flip(0))  # symmetric, so that the mean is 0
    assert torch.equal(normal_quantile(exact[:7]), z[:7]) and (z.diff() > 0).all()


def test_numbers_are_independent_over_neurons_steps_and_trials():
    x = numbers(64, 4096, trials=(0, 1)).numpy()
    limit = 6 / math.sqrt(4096)
    between = np.corrcoef(x.reshape(4096, 128).T)
    assert abs(between - np.eye(128)).max() < limit
    series = x.reshape(4096, 128).T.ravel()
    for lag in (1, 2, 3, 4, 8, 64):
        assert abs((series[:-lag] * series[lag:]).mean()) < 6 / math.sqrt(len(series))
    assert abs((x[:, 0] * numbers(64, 4096, seed=4).numpy()[:, 0]).mean()) < limit / 8
    squares = np.corrcoef(x.reshape(4096, 128).T ** 2)
    assert abs(squares - np.eye(128)).max() < limit


def test_a_number_depends_on_its_place_alone():
    whole = numbers(70, 50, trials=(0, 1, 2, 3))
    assert torch.equal(numbers(70, 50, trials=(2, 0)), whole[:, [2, 0]])
    assert torch.equal(numbers(70, 13, trials=(0, 1, 2, 3), start=37), whole[37:])
    words = random_words(7, torch.tensor([3]), torch.tensor([1]), torch.tensor([0]), steps=50, neurons=70)
    assert torch.equal(whole[:, 1:2], normal_quantile((words.double() + 0.5) * 2.0**-32))
    assert torch.equal(numbers(70, 50, source=NormalSource(70, 0.25)), whole[:, :1] * 0.25)


def chain(core=noisy_lif, n=40, **options):
    torch.manual_seed(1)
    nodes = {"x": ns.Input(3), "n": ns.layer(core)(size=n), "out": ns.LI(size=2)}
    edges = [ns.Edge("x", "n", ns.Linear(3, n)), ns.Edge("n", "out", ns.Linear(n, 2))]
    return ns.Network(nodes, edges, dt=DT, **options)


def loop(delay=None, n=16):
    torch.manual_seed(1)
    nodes = {"x": ns.Input(3), "n": ns.layer(noisy_lif)(size=n)}
    edges = [ns.Edge("x", "n", ns.Linear(3, n)), ns.Edge("n", "n", ns.Linear(n, n), delay=delay)]
    return ns.Network(nodes, edges, dt=DT)


def circuit(n=60, core=noisy_lif):
    torch.manual_seed(1)
    nodes = {"n": ns.layer(core)(size=n)}
    synapse = Sparse.random(n, n, density=0.1)
    return ns.Network(nodes, [ns.Edge("n", "n", synapse, delay=2e-3)], dt=DT)


DATA = torch.rand(60, 4, 3, generator=torch.Generator().manual_seed(2)) * 3


def test_the_step_gets_the_numbers_of_the_source_of_the_population():
    net = ns.Network({"n": ns.layer(white)(size=5)}, [], dt=DT)
    assert net.sources == ("n normal",) and net.output == "n" and net["n"].core.is_noisy
    assert [(edge.name, edge.port) for edge in net.edges] == [("n normal->n:normal", "normal")]
    run = ns.simulate(net, steps=40, batch=2, seed=9, record=["n", "n normal"])
    assert np.array_equal(run.traces["n"], run.traces["n normal"]) and abs(run.traces["n"].std() - 1) < 0.2
    parts = ns.simulate(net, steps=40, batch=2, seed=9, record=["n"], chunk=7)
    assert np.array_equal(run.traces["n"], parts.traces["n"])
    rest = ns.simulate(net, steps=15, state=ns.simulate(net, steps=25, batch=2, seed=9).state, record=["n"])
    assert np.array_equal(run.traces["n"][25:], rest.traces["n"])
    alone = ns.simulate(net, steps=40, seed=9, trials=[1], record=["n"])
    assert np.array_equal(run.traces["n"][:, 1:], alone.traces["n"])
    assert [*copy.deepcopy(net).nodes] == [*net.nodes]


def test_an_ornstein_uhlenbeck_process_in_three_lines_has_its_variance_and_correlation():
    layer = ns.layer(ornstein_uhlenbeck)(size=500, sigma=0.5, init=dict(v=Normal(0.0, 0.5)))
    net = ns.Network({"n": layer}, [], dt=DT)
    v = ns.simulate(net, seconds=2.0, seed=1, record=["n"]).traces["n"][:, 0]
    independent = 500 * 2.0 / (2 * 10e-3)  # neurons times duration over twice the time constant
    assert abs(v.mean()) < 5 * 0.5 / math.sqrt(independent)
    assert v.var() == pytest.approx(0.25, rel=5 * math.sqrt(2 / independent))
    assert v[0].var() == pytest.approx(0.25, rel=0.35)  # stationary from the start
    for lag in (1, 10, 30):
        assert (v[:-lag] * v[lag:]).mean() == pytest.approx(0.25 * math.exp(-lag * DT / 10e-3), abs=0.01)


@pytest.mark.parametrize("make", [chain, loop, lambda: loop(3e-3)], ids=["chain", "fused loop", "stepwise"])
def test_runs_do_not_depend_on_batch_chunk_or_kernel(make):
    net = make()
    run = ns.simulate(net, DATA, seed=5, record=["n", "n.v"])
    assert 10 < len(run.spikes["n"]) < 0.5 * run.traces["n.v"].size
    pieces = ns.simulate(net, DATA, seed=5, record=["n.v"], chunk=7)
    assert np.allclose(run.traces["n.v"], pieces.traces["n.v"], atol=1e-5)
    one = ns.simulate(net, DATA[:, 2:3], seed=5, trials=[2], record=["n.v"])
    assert np.allclose(run.traces["n.v"][:, 2:3], one.traces["n.v"], atol=1e-5)
    other = ns.simulate(net, DATA, seed=6, record=["n.v"])
    assert not np.allclose(run.traces["n.v"], other.traces["n.v"], atol=1e-2)
    start = net.initial_state(DATA, seed=5)
    assert torch.equal(net(DATA, start)[0], net(DATA, start)[0])


def test_fused_and_reference_give_the_same_bits_and_no_gradient_passes_the_numbers():
    layer = ns.layer(noisy_lif)(dt=DT, size=40)
    i, normal = torch.randn(50, 2, 40), numbers(40, 50, trials=(0, 1)).float()
    given = {"i": i.requires_grad_(), "normal": normal}
    fused, reference = layer.run(given, record=["v"]), layer.run_reference(given, record=["v"])
    assert torch.equal(fused.out, reference.out) and torch.equal(fused.recorded["v"], reference.recorded["v"])
    net = chain()
    net(DATA, net.initial_state(DATA, seed=2))[0].sum().backward()
    assert net["x->n"][0].weight.grad.any()
    assert not any(value.requires_grad for value in net.run(DATA, record=["n normal"]).recorded.values())


@pytest.mark.parametrize("record", [["n"], ["n", "n.v"]], ids=["spikes", "traces"])
def test_the_engine_of_circuits_gives_the_bits_of_the_layered_run(record):
    net = circuit()
    runs = [ns.simulate(net, steps=200, batch=2, seed=4, record=record, engine=kind) for kind in ("circuit", "layered")]
    assert runs[0].engine == "circuit" and len(runs[0].spikes["n"]) > 50
    assert np.array_equal(*(run.spikes["n"].to_grid() for run in runs))
    if "n.v" in record:
        assert np.array_equal(*(run.traces["n.v"] for run in runs))


def test_training_and_folding():
    net = fold(chain())
    assert net.sources == ("n normal",) and len(net.edges) == 3
    net = chain()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
    labels = torch.tensor([0, 1, 0, 1])
    before = net["x->n"][0].weight.clone()
    torch.manual_seed(3)
    rule = ns.BPTT()
    for _ in range(2):
        optimizer.zero_grad()
        rule.gradients(net, DATA, labels, ns.MeanMembrane())
        optimizer.step()
    assert not torch.equal(before, net["x->n"][0].weight)


def test_a_compiled_network_draws_the_same():
    net = chain()
    start = net.initial_state(DATA, seed=1)
    torch.compiler.reset()
    compiled = torch.compile(net, backend="aot_eager")
    assert torch.equal(compiled(DATA, start)[0], net(DATA, start)[0])
    layer = ns.LIF(size=4, init=dict(v=Normal(0.0, 1.0)))
    drawn = ns.Network({"n": layer}, [], dt=DT)
    torch.manual_seed(2)
    state = drawn(steps=1)[1]
    torch.manual_seed(2)
    assert torch.equal(torch.compile(drawn, backend="aot_eager")(steps=1)[1].nodes["n"].v, state.nodes["n"].v)


def test_noise_of_ones_own_and_what_is_refused():
    nodes = {"noise": Noise(0.5, 5), "n": ns.layer(white)(size=5)}
    net = ns.Network(nodes, [ns.Edge("noise", "n", Identity(), port="normal")], dt=DT)
    run = ns.simulate(net, steps=400, seed=1, record=["n", "noise"])
    assert net.sources == ("noise",) and np.array_equal(run.traces["n"], run.traces["noise"])
    assert run.traces["n"].std() == pytest.approx(0.5, rel=0.1)
    with pytest.raises(NetworkError, match="node 'n' draws 'normal' for each neuron; pass size="):
        ns.Network({"x": Poisson(1.0, 5), "n": ns.layer(white)()}, [ns.Edge("x", "n", Identity())], dt=DT)
    with pytest.raises(NetworkError, match="node 'n normal' has the name of the noise of 'n'; rename it"):
        taken = {"n": ns.layer(white)(size=5), "n normal": Poisson(1.0, 5)}
        ns.Network(taken, [ns.Edge("n normal", "n", Identity())], dt=DT)
    with pytest.raises(InputError, match="A network draws 'normal'; outside of one give the numbers"):
        ns.layer(white)(dt=DT)(torch.zeros(3, 1, 5))
    with pytest.raises(NeurosimError, match=r"'n normal'.*makes its own input"):
        to_nir(chain())
    with pytest.raises(InputError, match=r"a parameter cannot be called \['normal'\]"):
        ns.core(parameters=dict(normal=1.0))
    for wrong in (-1.0, math.nan, math.inf, True, "1"):
        with pytest.raises(InputError, match="Noise: std must be a number from 0"):
            Noise(wrong, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("size", "steps"), [(1, 1), (63, 5), (64, 17), (1000, 40)])
def test_compiled_numbers_are_those_of_the_reference(monkeypatch, size, steps, dtype):
    source = Noise(1.7, size)
    state = first_state(3, 2**40 + 5, [4, 0, 7], torch.device("cpu"))._replace(step=torch.tensor([0, 9, 2**31]))
    arguments = dict(stream=77, dt=1e-3, dtype=dtype)
    compiled = source.values(state, steps, **arguments)
    monkeypatch.setattr(noise, "fused", lambda device: False)
    assert torch.equal(compiled, source.values(state, steps, **arguments))
    monkeypatch.undo()
    pieces = [source.values(state._replace(step=state.step + k), 1, **arguments) for k in range(steps)]
    assert torch.equal(compiled, torch.cat(pieces))


def test_the_operator_of_normal_numbers_is_one_that_torch_can_trace():
    seed, trial, step = (torch.tensor([k, 2]) for k in (5, 0, 9))
    torch.library.opcheck(normal_numbers, (77, seed, trial, step, 3, 70, 1.5))


def test_square_roots_are_rounded_exactly():
    x = torch.rand(100_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 20.0
    root = normal._square_root(x)
    assert np.array_equal(root.numpy(), np.sqrt(x.numpy()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert (normal._square_root(x) - root).abs().max() <= 1e-15
