"""Sources: their laws, tested with fixed seeds, and that a number depends on its place alone."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit import AllToAll, Current, Poisson, SpikeTrain
from neurosim.circuit.sources import MAX_MEAN, _limits
from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.kernels.common.philox import WORD
from neurosim.network.source import SourceState, first_state
from neurosim.synapses import Drawn, Identity, Sparse

DT = 1e-3


def start(batch=1, seed=1, trials=None):
    return first_state(batch, seed, trials, torch.device("cpu"))


def drawn(source, steps=1000, state=None, stream=5, dt=DT, dtype=torch.float32):
    return source.values(start() if state is None else state, steps, stream=stream, dt=dt, dtype=dtype)


def z_of_chi_square(statistic, degrees):
    """Return the normal deviate of a chi-square statistic (Wilson and Hilferty)."""
    return ((statistic / degrees) ** (1 / 3) - (1 - 2 / (9 * degrees))) / math.sqrt(2 / (9 * degrees))


def poisson_law(mean, k):
    return math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))


# Laws


@pytest.mark.parametrize("mean", [0.01, 0.3, 2.0, 17.0, 100.0])
@pytest.mark.parametrize("seed", [0, 7])
def test_counts_follow_the_poisson_law(mean, seed):
    counts = drawn(Poisson(mean / DT, 50), 2000, start(2, seed)).long().flatten()
    n = len(counts)
    found = torch.bincount(counts).double().numpy()
    law = np.array([poisson_law(mean, k) for k in range(len(found) + 200)]) * n
    # Cells of fewer than 10 expected counts are joined with their neighbours.
    cells, observed, expected, o, e = 0, [], [], 0.0, 0.0
    for k, each in enumerate(law):
        o, e = o + (found[k] if k < len(found) else 0.0), e + each
        if e >= 10:
            observed.append(o), expected.append(e)
            o, e, cells = 0.0, 0.0, cells + 1
    observed[-1], expected[-1] = observed[-1] + o, expected[-1] + e
    assert cells >= 2 and sum(observed) == n
    statistic = float(((np.array(observed) - expected) ** 2 / expected).sum())
    assert abs(z_of_chi_square(statistic, cells - 1)) < 4


@pytest.mark.parametrize("rate", [5.0, 300.0, 4000.0])
def test_rate_and_fano_factor(rate):
    z = drawn(Poisson(rate, 400), 2000).double()[:, 0]
    mean = rate * DT
    assert abs(z.mean() - mean) < 4 * math.sqrt(mean / z.numel())
    count = z.sum(0)  # of each neuron over the run: Poisson of mean 2000 rate dt
    fano = float(count.var() / count.mean())
    assert abs(fano - 1) < 4 * math.sqrt(2 / (len(count) - 1))
    window = z.reshape(100, 20, -1).sum(1)
    assert abs(float(window.var() / window.mean()) - 1) < 4 * math.sqrt(2 / window.numel() * (1 + 0.5 / window.mean()))


@pytest.mark.parametrize("rate", [5.0, 300.0, 1000.0])
def test_binary_spikes_are_bernoulli(rate):
    z = drawn(Poisson(rate, 400, binary=True), 2000).double()[:, 0]
    p = rate * DT
    assert set(z.unique().tolist()) <= {0.0, 1.0}
    assert abs(z.mean() - p) <= 4 * math.sqrt(p * (1 - p) / z.numel())
    count = z.sum(0)
    if p < 1:
        fano = float(count.var() / count.mean())
        assert abs(fano - (1 - p)) < 4 * (1 - p) * math.sqrt(2 / (len(count) - 1))
        # The steps from a spike to the next one are geometric: the mean of an interval is 1 / p.
        at = z[:, :50].T.nonzero()
        interval = at[1:, 1] - at[:-1, 1]
        interval = interval[at[1:, 0] == at[:-1, 0]].double()
        if p > 0.1:
            assert abs(interval.mean() - 1 / p) < 5 * math.sqrt((1 - p) / p**2 / len(interval)) + 1 / (p * 2000 * p)


def test_a_rate_of_zero_is_silent_and_of_one_a_step_is_not():
    assert drawn(Poisson(0.0, 5)).sum() == 0
    assert drawn(Poisson(0.0, 5, binary=True)).sum() == 0
    assert drawn(Poisson(1 / DT, 5, binary=True)).sum() == 5000


@pytest.mark.parametrize("seed", range(3))
def test_neurons_and_trials_are_independent(seed):
    steps = 4000
    z = drawn(Poisson(500.0, 20), steps, start(6, seed)).double().reshape(steps, -1)
    z = (z - z.mean(0)) / z.std(0)
    correlation = z.T @ z / steps
    pairs = correlation[torch.triu(torch.ones_like(correlation), 1) > 0] * math.sqrt(steps)
    assert len(pairs) == 120 * 119 // 2
    assert pairs.abs().max() < 5
    assert abs(z_of_chi_square(float((pairs**2).sum()), len(pairs))) < 4
    # Neither does a step know of the one before.
    lagged = (z[1:] * z[:-1]).mean(0) * math.sqrt(steps)
    assert abs(z_of_chi_square(float((lagged**2).sum()), len(lagged))) < 4


def test_rates_of_each_neuron_step_and_trial_are_kept():
    per_neuron = torch.tensor([0.0, 100.0, 2000.0])
    z = drawn(Poisson(per_neuron, 3), 4000)[:, 0].mean(0) / DT
    assert z[0] == 0 and torch.allclose(z[1:], per_neuron[1:], rtol=0.2)
    over_time = np.zeros((4000, 1))
    over_time[1000:2000] = 3000.0
    z = drawn(Poisson(over_time, 3), 4000)[:, 0]
    assert z[:1000].sum() == 0 == z[2000:].sum() and abs(z[1000:2000].mean() - 3.0) < 0.15
    assert torch.equal(z, drawn(Poisson(lambda t: np.where((t > 0.9995) & (t < 1.9995), 3000.0, 0.0), 3), 4000)[:, 0])
    per_trial = np.array([100.0, 0.0, 1000.0]).reshape(1, 3, 1)
    z = drawn(Poisson(per_trial, 3), 4000, start(2, 1, [2, 1])).mean((0, 2)) / DT
    assert z[1] == 0 and abs(z[0] - 1000) < 50


def test_limits_are_the_distribution_in_words():
    (limit,) = _limits(np.array([0.25]), binary=True)
    assert limit.tolist() == [WORD * 3 // 4]
    limits = _limits(np.array([2.0]), binary=False)
    law = np.cumsum([poisson_law(2.0, k) for k in range(len(limits))])
    assert np.allclose([int(limit[0]) for limit in limits], law * WORD, atol=1.0)
    # The mean in integers: what is cut off at 2^-32 is nowhere near one in a million.
    mean = sum(WORD - int(limit[0]) for limit in limits) / WORD
    assert mean == pytest.approx(2.0, rel=1e-8)
    (small,) = _limits(np.array([1e-5]), binary=True)
    assert (WORD - int(small[0])) / WORD == pytest.approx(1e-5, rel=1e-4)


# A number depends on its place


def poisson_net(**more):
    nodes = {"noise": Poisson(700.0, 9), **more, "out": ns.LIF(dt=DT, v_th=0.3)}
    net = ns.Network(nodes, [ns.Edge("noise", "out", ns.Linear(9, 4))])
    with torch.no_grad():
        net.edges[0].synapses[0].weight.fill_(0.25)
    return net


def noise(net, **choices):
    return ns.simulate(net, record=["noise", "out"], **choices)


def same(one, other):
    for name in one.spikes:
        assert len(one.spikes[name]) > 0
        for column in ("step", "batch", "neuron"):
            assert np.array_equal(getattr(one.spikes[name], column), getattr(other.spikes[name], column)), name
    return True


def test_a_trial_alone_is_the_trial_in_a_batch():
    net = poisson_net()
    every = noise(net, steps=200, batch=6, seed=3).spikes["noise"]
    for trials in ([4], [5, 0], [2, 2, 3]):
        some = noise(net, steps=200, seed=3, trials=trials).spikes["noise"]
        assert torch.equal(some.to_grid(), every.samples(trials).to_grid())


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_a_run_in_chunks_is_the_run_in_one(chunk):
    net = poisson_net()
    assert same(noise(net, steps=150, batch=3, seed=2), noise(net, steps=150, batch=3, seed=2, chunk=chunk))


@pytest.mark.parametrize("cut", [0, 1, 77, 150])
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_run_in_two_parts_is_the_run_in_one(cut, on_disk, tmp_path):
    net = poisson_net()
    every = noise(net, steps=150, batch=3, seed=2)
    first = noise(net, steps=cut, batch=3, seed=2, path=tmp_path / "a.h5" if on_disk else None)
    if on_disk:
        first.close()
        first = ns.Recording.load(tmp_path / "a.h5")
    rest = noise(net, steps=150 - cut, state=first.state)
    for name in ("noise", "out"):
        assert torch.equal(
            ns.Events.joined([first.spikes[name], rest.spikes[name]]).to_grid(), every.spikes[name].to_grid()
        )
    first.close()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_numbers_do_not_depend_on_threads(threads):
    before = torch.get_num_threads()
    expected = drawn(Poisson(700.0, 5000), 40)
    torch.set_num_threads(threads)
    try:
        assert torch.equal(drawn(Poisson(700.0, 5000), 40), expected)
    finally:
        torch.set_num_threads(before)


def test_another_source_in_the_network_changes_nothing_and_draws_other_numbers():
    alone = noise(poisson_net(), steps=200, batch=2, seed=2).spikes["noise"]
    both = poisson_net(aaa=Poisson(700.0, 9))
    run = ns.simulate(both, steps=200, batch=2, seed=2, record=["noise", "aaa"])
    assert torch.equal(run.spikes["noise"].to_grid(), alone.to_grid())
    assert not torch.equal(run.spikes["aaa"].to_grid(), alone.to_grid())


def test_seeds_differ_and_the_default_is_zero():
    net = poisson_net()
    first, other = (noise(net, steps=100, seed=seed).spikes["noise"].to_grid() for seed in (0, 1))
    assert torch.equal(noise(net, steps=100).spikes["noise"].to_grid(), first)
    assert not torch.equal(first, other)


def test_a_call_of_the_network_takes_its_seed_from_torch():
    net = poisson_net()
    torch.manual_seed(4)
    first, second = (net(steps=50)[1].nodes["noise"].seed for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(4)
    assert torch.equal(net(steps=50)[1].nodes["noise"].seed, first)


def test_numbers_do_not_depend_on_the_precision():
    single, double = (drawn(Poisson(700.0, 9), 100, dtype=dtype) for dtype in (torch.float32, torch.float64))
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert torch.equal(single.double(), double)


def test_samples_may_stand_at_different_steps():
    source = Poisson(lambda t: 500 + 1000 * t, 7)
    full = drawn(source, 60, start(2))
    state = start(2)._replace(step=torch.tensor([10, 30]))
    assert torch.equal(drawn(source, 20, state), torch.stack((full[10:30, 0], full[30:50, 1]), 1))


def test_runs_without_steps_or_samples():
    for source in (Poisson(5.0, 3), Current(1.0, 3), SpikeTrain(ns.Events(step=[0], neuron=[0], T=1, dt=DT, shape=3))):
        assert drawn(source, 0).shape == (0, 1, 3)
        assert drawn(source, 4, start(0)).shape == (4, 0, 3)


# Spike trains and currents


def events(**more):
    lists = dict(step=[0, 3, 3, 4, 9], neuron=[1, 0, 0, 2, 1], batch=[0, 0, 0, 1, 1])
    return ns.Events(**{**lists, "T": 10, "dt": DT, "shape": 3, "B": 2, **more})


@pytest.mark.parametrize(("first", "steps"), [(0, 10), (0, 4), (3, 2), (5, 20), (40, 3)])
def test_a_train_plays_its_events_and_is_silent_afterwards(first, steps):
    grid = torch.cat((events().to_grid(), torch.zeros(60, 2, 3)))
    state = start(2)._replace(step=torch.tensor([first, first]))
    assert torch.equal(drawn(SpikeTrain(events()), steps, state), grid[first : first + steps])


def test_a_trial_plays_its_own_sample_or_the_only_one():
    train, grid = SpikeTrain(events()), events().to_grid()
    assert torch.equal(drawn(train, 10, start(3, 0, [1, 0, 1])), grid[:, [1, 0, 1]])
    state = SourceState(*(torch.tensor(v) for v in ([0, 0], [1, 1], [0, 4])))
    assert torch.equal(drawn(train, 6, state), torch.stack((grid[:6, 1], grid[4:10, 1]), 1))
    only = SpikeTrain(events().samples(1))
    assert torch.equal(drawn(only, 10, start(3)), grid[:, [1, 1, 1]])
    with pytest.raises(InputError, match="events holds 2 samples; the run has trial 2"):
        drawn(train, 10, start(3))


def test_a_recording_is_played_back_without_a_step_of_difference():
    net = ns.Sequential(ns.Linear(4, 6), ns.LIF(dt=DT, v_th=0.05), names=["out"])
    spikes = ns.simulate(net, torch.rand(50, 3, 4)).spikes["out"]
    nodes = {"spikes": SpikeTrain(spikes), "out": ns.LIF(dt=DT)}
    again = ns.simulate(
        ns.Network(nodes, [ns.Edge("spikes", "out", ns.Linear(6, 2))]), steps=50, batch=3, record=["spikes"]
    )
    assert len(spikes) > 50
    assert torch.equal(again.spikes["spikes"].to_grid(), spikes.to_grid())


def test_real_times_are_put_on_the_grid_of_the_network():
    times = ns.Events(time=[0.0, 2.5e-3, 4e-3], neuron=[0, 1, 2], duration=4e-3, shape=3)
    z = drawn(SpikeTrain(times), 5)
    assert z[:, 0].nonzero().tolist() == [[0, 0], [2, 1], [4, 2]]
    assert drawn(SpikeTrain(times), 10, dt=0.5e-3)[:, 0].nonzero().tolist() == [[0, 0], [5, 1], [8, 2]]


def test_a_current_is_its_waveform():
    wave = lambda t: np.sin(2 * np.pi * 50.0 * t)  # noqa: E731
    found = drawn(Current(wave, 2), 20, dtype=torch.float64)
    assert torch.allclose(found[:, 0, 1], torch.from_numpy(wave(np.arange(20) * DT)))
    assert drawn(Current(0.5, (2, 3)), 7, start(2)).shape == (7, 2, 2, 3)
    net = ns.Network({"drive": Current(0.5, 2), "out": ns.LI(dt=DT)}, [ns.Edge("drive", "out", ns.Linear(2, 1))])
    with torch.no_grad():
        net.edges[0].synapses[0].weight.fill_(1.0)
    v, _ = net(steps=400)
    assert v[-1].item() == pytest.approx(1 - math.exp(-400e-3 / 20e-3), abs=1e-6)


# Refusals


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Poisson(-1.0, 3), InputError, r"Poisson: rate must be 0 or more; got -1 Hz"),
        (lambda: Poisson(float("nan"), 3), InputError, "Poisson: rate holds NaN or infinity"),
        (lambda: Poisson([1.0, 2.0], 3), ShapeError, r"Poisson: rate must be a number, \[3\], .*; got \[2\]"),
        (lambda: Poisson(1.0, 0), InputError, "Poisson: shape must hold integers from 1; got 0"),
        (lambda: Current(1.0, (2, 0)), InputError, "Current: shape must hold integers from 1"),
        (lambda: SpikeTrain([1, 2]), InputError, "SpikeTrain: events must be an Events; got list"),
    ],
)
def test_faulty_sources_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Poisson(2e5, 2), r"node 's': Poisson: rate = 200000 Hz at dt = 0\.001 s gives 200 spikes a step; at most 100"),
        (Poisson(1100.0, 2, binary=True), r"gives 1\.1 spikes a step; at most 1 are possible, one a step with binary"),
        (SpikeTrain(events(dt=2e-3)), r"events lie on a grid of 0\.002 s, but the network has dt = 0\.001 s"),
    ],
)
def test_what_cannot_run_at_the_dt_of_a_network_is_refused(source, message):
    with pytest.raises(NetworkError, match=message):
        ns.Network({"s": source, "out": ns.LIF(dt=DT)}, [ns.Edge("s", "out", ns.Linear(source.shape[0], 2))])


def test_the_largest_mean_and_a_dt_that_was_computed_are_allowed():
    assert drawn(Poisson(MAX_MEAN / DT, 1), 10).sum() > 0
    assert drawn(Poisson(1 / (0.1 * 3), 2, binary=True), 10, dt=0.1 * 3).sum() == 20


def test_a_rate_that_becomes_wrong_as_a_run_proceeds_is_refused():
    with pytest.raises(InputError, match="rate must be 0 or more; got -1 Hz"):
        drawn(Poisson(lambda t: np.where(t < 0.5, 10.0, -1.0), 3))
    with pytest.raises(InputError, match="spikes a step; at most 1 are possible"):
        drawn(Poisson(lambda t: t * 1e6, 3, binary=True))


def test_the_counter_does_not_run_over():
    last = start()._replace(step=torch.tensor([WORD - 10]))
    assert drawn(Poisson(100.0, 3), 10, last).shape == (10, 1, 3)
    with pytest.raises(InputError, match=r"a run may have 2\^32 steps; this one would reach 4294967297"):
        drawn(Poisson(100.0, 3), 11, last)


# Change points, start and stop (R19)


def values(source, steps, at=0, batch=1, dt=DT):
    state = start(batch)
    state = state._replace(step=state.step + at)
    return source.values(state, steps, stream=5, dt=dt, dtype=torch.float64)


def test_r19_values_hold_between_change_points():
    one = values(Current([0.5, 2.0, 0.0], 2, times=[2 * DT, 3 * DT, 0.3]), 400)[:, 0]
    assert one[:4].tolist() == [[0, 0], [0, 0], [0.5, 0.5], [2, 2]]  # 3 * 0.001 is step 3
    assert (one[3:300] == 2).all() and not one[300:].any()
    each = values(Current([[1.0, 2.0], [3.0, 4.0]], 2, times=[0.0, 2 * DT]), 3)[:, 0]
    assert each.tolist() == [[1, 2], [1, 2], [3, 4]]
    trials = values(Current(np.arange(12.0).reshape(2, 3, 2), 2, times=[0.0, DT]), 2, batch=3)
    assert torch.equal(trials, torch.arange(12.0).double().view(2, 3, 2))
    parts = [values(Current([0.5, 2.0], 2, times=[2 * DT, 7 * DT]), 3, at) for at in range(0, 12, 3)]
    assert torch.equal(torch.cat(parts), values(Current([0.5, 2.0], 2, times=[2 * DT, 7 * DT]), 12))
    later = start(2)._replace(step=torch.tensor([0, 5]))
    source = Current([0.5, 2.0], 1, times=[2 * DT, 7 * DT])
    assert source.values(later, 4, stream=5, dt=DT, dtype=torch.float64)[:, :, 0].T.tolist() == [
        [0, 0, 0.5, 0.5],
        [0.5, 0.5, 2, 2],
    ]


def test_r19_sources_start_and_stop():
    for rate in (40.0 / DT, lambda t: np.full(len(t), 40.0 / DT), np.full((90, 3), 40.0 / DT)):
        always = values(Poisson(rate, 3), 90)
        some = values(Poisson(rate, 3, start=20 * DT, stop=70 * DT), 90)
        assert not some[:20].any() and not some[70:].any() and torch.equal(some[20:70], always[20:70])
    assert values(Current(1.0, 1, start=3 * DT), 6).flatten().tolist() == [0, 0, 0, 1, 1, 1]
    assert values(Current(1.0, 1, stop=3 * DT), 6).flatten().tolist() == [1, 1, 1, 0, 0, 0]
    assert values(Current(1.0, 1, stop=3 * DT), 3, at=9).flatten().tolist() == [0, 0, 0]


def test_r19_counts_follow_the_law_of_each_rate():
    means = [0.2, 5.0, 60.0]
    counts = values(Poisson([m / DT for m in means], 200, times=[0.0, 1.0, 2.0]), 3000)[:, 0]
    for k, mean in enumerate(means):
        part = counts[1000 * k : 1000 * (k + 1)]
        n = part.numel()
        assert abs(part.mean() - mean) < 5 * math.sqrt(mean / n)
        assert abs(part.var() - mean) < 5 * math.sqrt((mean + 2 * mean**2) / n)


def test_r14_trains_of_ones_own_and_shared_trains():
    """A Poisson of the size of the population gives each neuron its own train, one of size 1 the same to all."""
    torch.manual_seed(1)
    nodes = {"own": Poisson(2000.0, 30), "shared": Poisson(2000.0, 1), "a": ns.LI(size=30), "b": ns.LI(size=30)}
    every = Drawn(AllToAll(), weight=1.0)
    net = ns.Network(nodes, [ns.Edge("own", "a", Identity()), ns.Edge("shared", "b", every)], dt=DT, output="a")
    run = ns.simulate(net, steps=4000, seed=3, record=["own", "shared", "a", "b"])
    own = run.spikes["own"].to_grid()[:, 0]
    correlation = np.corrcoef(np.asarray(own).T)
    assert abs(correlation - np.eye(30)).max() < 6 / math.sqrt(4000)
    a, b = run.traces["a"][:, 0], run.traces["b"][:, 0]
    assert (b == b[:, :1]).all() and b.any() and not (a == a[:, :1]).all()
    assert np.asarray(own).mean() == pytest.approx(2.0, abs=5 * math.sqrt(2 / 120_000))
    lagged = [np.corrcoef(np.asarray(own)[:-lag, 0], np.asarray(own)[lag:, 0])[0, 1] for lag in (1, 2, 7)]
    assert np.abs(lagged).max() < 5 / math.sqrt(4000)


@pytest.mark.parametrize(
    ("rate", "options"),
    [(9000.0, dict(start=0.02, stop=0.05)), ([9000.0], dict(times=[0.02]))],
    ids=["window", "points"],
)
def test_the_engine_of_circuits_follows_rates_over_time(rate, options):
    torch.manual_seed(1)
    nodes = {"noise": Poisson(rate, 40, **options), "n": ns.LIF(size=40)}
    loop = ns.Edge("n", "n", Sparse.random(40, 40, density=0.1), delay=2e-3)
    net = ns.Network(nodes, [ns.Edge("noise", "n", Identity()), loop], dt=DT)
    runs = [ns.simulate(net, steps=100, seed=2, record=["n"], engine=kind) for kind in ("circuit", "layered")]
    spikes = [run.spikes["n"].to_grid() for run in runs]
    assert np.array_equal(*spikes) and spikes[0].any() and not spikes[0][:20].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            dict(times=[0.0, 1.5 * DT]),
            "a time must be an integer number of steps of 0.001 s; got 0.0015 s. The nearest",
        ),
        (dict(start=0.25 * DT), "a time must be an integer number of steps"),
        (dict(stop=2.5 * DT), "a time must be an integer number of steps"),
    ],
)
def test_r15_times_off_the_grid_are_refused(options, message):
    count = len(options.get("times", ()))
    given = [1.0] * count if count else 1.0
    for source in (Poisson(given, 2, **options), Current(given, 2, **options)):
        with pytest.raises(NetworkError, match=re.escape(f"node 's': {source.kind}: {message}")):
            ns.Network({"s": source, "out": ns.LIF(dt=DT)}, linear("s"))


@pytest.mark.parametrize(
    ("values", "options", "error", "message"),
    [
        (1.0, dict(times=[]), InputError, "times must ascend, and be at least one"),
        (1.0, dict(times=[0.1, 0.2]), ShapeError, "must give 2 values"),
        ([1.0, 2.0], dict(times=[0.1, 0.1]), InputError, "times must ascend"),
        ([1.0], dict(times=[-0.1]), InputError, "a time must be a number of s from 0; got -0.1"),
        (1.0, dict(start=math.nan), InputError, "a time must be a number of s from 0"),
        (1.0, dict(stop="1"), InputError, "a time must be a number of s from 0"),
        (1.0, dict(start=0.2, stop=0.2), InputError, "start must be before stop"),
        (lambda t: t, dict(times=[0.1]), InputError, "a function of time has no change points"),
        ([1.0, 2.0, 3.0], dict(times=[0.0, 0.1]), ShapeError, "must give 2 values, one for each change point; got 3"),
    ],
)
def test_times_that_are_none_are_refused(values, options, error, message):
    for source in (Poisson, Current):
        with pytest.raises(error, match=message):
            source(values, 2, **options)


def linear(source):
    return [ns.Edge(source, "out", ns.Linear(2, 2))]
