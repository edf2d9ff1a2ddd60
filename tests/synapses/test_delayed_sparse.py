"""Sparse synapses with delays against rounded delays, the sum written out, and edges of each delay."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import neurosim as ns
from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.network.graph import Edge
from neurosim.synapses import DelayedSparse, RoundedDelays
from neurosim.synapses.connectivity import Bernoulli, FixedInDegree, FixedOutDegree
from neurosim.synapses.distributions import Constant, LogNormal, Normal, Uniform
from tests.synapses.delays import DT, spikes


def made(
    n_in: int = 7, n_out: int = 5, n: int = 60, longest: int = 6, shortest: int = 0, seed: int = 0, **choices: Any
) -> DelayedSparse:
    """Synapses of random pairs, multapses among them, in double precision."""
    torch.manual_seed(seed)
    pairs = torch.stack((torch.randint(n_out, (n,)), torch.randint(n_in, (n,))))
    delay = torch.randint(shortest, longest + 1, (n,))
    delay[:2] = torch.tensor([shortest, longest])
    return DelayedSparse(n_in, n_out, pairs, delay, torch.randn(n), dt=DT, **choices).double()


def written_out(x: torch.Tensor, synapse: DelayedSparse) -> torch.Tensor:
    """Each spike at its delays, one after the other in order of step and neuron."""
    out = x.new_zeros(*x.shape[:2], synapse.n_out)
    post, pre = synapse.connections
    for s, b, j in x.nonzero().tolist():
        for k in (pre == j).nonzero().flatten().tolist():
            t = s + int(synapse.delay[k])
            if t < len(x):
                out[t, b, post[k]] += synapse.weight.detach()[k] * x[s, b, j]
    return out


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_currents_have_the_bits_of_rounded_delays_of_the_same_matrix(share, dtype):
    torch.manual_seed(0)
    weight, delay = torch.randn(9, 11, dtype=dtype), torch.randint(2, 9, (9, 11))
    weight = weight * (torch.rand(9, 11) < share)
    pairs = weight.nonzero().T
    sparse = DelayedSparse(11, 9, pairs, delay[tuple(pairs)], weight[tuple(pairs)], dt=DT)
    dense = RoundedDelays(weight, delay, dt=DT, max_delay=sparse.max_delay)
    x = spikes(50, 3, 11, 0.2).to(dtype)
    with torch.no_grad():
        for rate in (1.0, 0.3):
            z = x * (torch.rand_like(x) < rate)
            found, state = sparse(z)
            expected, _ = dense(z)
            assert torch.equal(found, expected) and found.any() and state.shape == (sparse.memory, 3, 11)
    z = x.clone().requires_grad_()
    g = torch.randn(50, 3, 9, dtype=dtype)
    found = torch.autograd.grad(sparse(z)[0], (z, sparse.weight), g)
    torch.testing.assert_close(found[0], torch.autograd.grad(dense(z)[0], z, g)[0])


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("choices", [dict(), dict(shortest=3), dict(max_delay=12 * DT), dict(longest=0)])
def test_currents_are_the_sum_written_out(choices, graded):
    synapse = made(**choices)
    x = spikes(30, 3, 7, 0.3)
    x = x * torch.randn_like(x) if graded else x
    with torch.no_grad():
        torch.testing.assert_close(synapse(x)[0], written_out(x, synapse))
        if not graded:
            assert torch.equal(synapse(x)[0], written_out(x, synapse))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_cut_anywhere_gives_the_same_bits(threads):
    synapse = made(70, 40, 900, 24, shortest=2)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for x in (spikes(40, 24, 70, 0.2), torch.randn(40, 3, 70).double()):
            with torch.no_grad():
                whole, end = synapse(x)
                for cuts in ([17, 23], [1] * 40, [0, 3, 0, 37], [30, 10]):
                    state, parts = None, []
                    for part in x.split(cuts):
                        current, state = synapse(part, state)
                        parts.append(current)
                    assert torch.equal(torch.cat(parts), whole) and torch.equal(state, end)
    finally:
        torch.set_num_threads(before)


def test_gradients_of_a_run_cut_in_two_are_those_of_the_whole():
    synapse, x = made(shortest=1), spikes(30, 2, 7, 0.3).requires_grad_()
    whole, _ = synapse(x)
    first, state = synapse(x[:11])
    parts = torch.cat((first, synapse(x[11:], state)[0]))
    g = torch.randn_like(whole)
    expected = torch.autograd.grad(whole, (x, synapse.weight), g)
    torch.testing.assert_close(torch.autograd.grad(parts, (x, synapse.weight), g), expected)


@pytest.mark.parametrize("shortest", [0, 2])
def test_without_gradients_through_time_only_synapses_of_delay_0_go_back(shortest):
    synapse, x = made(shortest=shortest), spikes(20, 2, 7, 0.3).requires_grad_()
    state = spikes(6, 2, 7).requires_grad_()
    current, after = synapse(x, state, through_time=False)
    torch.testing.assert_close(current, synapse(x, state)[0], rtol=0.0, atol=0.0)
    assert not after.requires_grad
    g = torch.randn_like(current)
    current.backward(g)
    prompt = synapse.delay == 0
    matrix = torch.zeros(5, 7).double().index_put(tuple(synapse.connections), synapse.weight * prompt, accumulate=True)
    if shortest:
        assert x.grad is None
    else:
        torch.testing.assert_close(x.grad, (g @ matrix).detach())
    assert state.grad is None
    found, synapse.weight.grad = synapse.weight.grad, None
    synapse(x.detach(), state.detach())[0].backward(g)
    torch.testing.assert_close(found, synapse.weight.grad)
    synapse.weight.grad, state = None, state.detach()
    for t in range(20):
        current, state = synapse(x.detach()[t : t + 1], state, through_time=False)
        current.backward(g[t : t + 1])
    torch.testing.assert_close(found, synapse.weight.grad)


def test_weights_and_delays_follow_their_connections():
    pairs = torch.tensor([[1, 0, 0, 1], [1, 1, 0, 1]])
    synapse = DelayedSparse(2, 2, pairs, torch.tensor([5, 2, 3, 2]), torch.tensor([1.0, 2.0, 3.0, 4.0]), dt=DT)
    assert synapse.connections.tolist() == [[0, 0, 1, 1], [0, 1, 1, 1]]
    assert synapse.delay.tolist() == [3, 2, 2, 5] and synapse.weight.tolist() == [3.0, 2.0, 4.0, 1.0]
    assert (synapse.min_delay, synapse.memory, synapse.delay_span, synapse.multapses) == (2, 5, 3, 1)
    assert synapse.dense().tolist() == [[3.0, 2.0], [0.0, 5.0]]
    assert repr(synapse) == "DelayedSparse(2, 2, 4 synapses, delays of 2 to 5 steps, dt=0.001)"


def test_delays_in_seconds_are_those_in_steps():
    pairs, steps = torch.tensor([[0, 1, 1], [0, 0, 1]]), torch.tensor([15, 3, 0])
    for seconds in (steps * 1e-4, steps.double() * 1e-4):
        synapse = DelayedSparse(2, 2, pairs, seconds, dt=1e-4)
        assert sorted(synapse.delay.tolist()) == [0, 3, 15] and synapse.max_delay == pytest.approx(1.5e-3)


def test_a_synapse_takes_eight_bytes():
    n = 100_000
    pairs = torch.stack((torch.randint(500, (n,)), torch.randint(200, (n,))))
    synapse = DelayedSparse(200, 500, pairs, torch.randint(300, (n,)), dt=DT)
    held = [*synapse.parameters(), *synapse.buffers()]
    assert synapse.nbytes == sum(t.untyped_storage().nbytes() for t in held)
    assert synapse.bytes_per_synapse == synapse.nbytes / n <= 8.1


# What is loaded.


def test_structure_delays_and_weights_travel_with_the_state_dict():
    one, other = made(), made(seed=1, shortest=2, longest=5, max_delay=6 * DT)
    x = spikes(20, 2, 7, 0.3)
    assert not torch.equal(one(x)[0], other(x)[0]) and other.min_delay == 2
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x)[0], other(x)[0]) and other.min_delay == 0
    assert torch.equal(one.delay, other.delay) and torch.equal(one.connections, other.connections)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (dict(least_delay=torch.tensor(5)), r"delays must lie in 0 to 6 steps; got 5 to 11"),
        (dict(least_delay=torch.tensor(-1)), r"delays must lie in 0 to 6 steps; got -1 to 5"),
        (dict(least_delay=torch.tensor(1.0)), "delay_bytes must be uint8 and least_delay int64"),
        (dict(delay_bytes=torch.full((120,), 255).byte()), "delays must lie in 0 to 6 steps; got 0 to 65535"),
        (
            dict(delay_bytes=torch.arange(60).flip(0).remainder(7).to(torch.uint16).view(torch.uint8)),
            "must ascend within",
        ),
        (dict(post_bytes=torch.full((120,), 255).byte()), "post must be below 5; got 65535"),
    ],
)
def test_a_state_dict_that_leads_outside_is_refused_before_it_is_copied(changed, said):
    synapse = made()
    before = {name: value.clone() for name, value in synapse.state_dict().items()}
    with pytest.raises(RuntimeError, match=said):
        nn.ModuleDict({"one": synapse}).load_state_dict({f"one.{k}": v for k, v in {**before, **changed}.items()})
    assert all(torch.equal(value, before[name]) for name, value in synapse.state_dict().items())


# In networks.


def edges_of_each_delay(synapse: DelayedSparse, source: str, target: str) -> Iterator[Edge]:
    for delay, part in synapse.by_delay():
        yield ns.Edge(source, target, part, delay=delay, name=f"{source}->{target} after {round(delay / DT)}")


def exact(synapse: DelayedSparse) -> DelayedSparse:
    """Weights whose sums are exact in any order."""
    with torch.no_grad():
        synapse.weight.copy_((synapse.weight * 64).round() / 64)
    return synapse


def test_edges_of_each_delay_are_the_same_network():
    synapse = exact(made(8, 5, 80, 9))
    net = ns.Network(
        {"in": ns.Input(8), "a": ns.LIF(dt=DT, tau_mem=5e-3, v_th=0.1)}, [*edges_of_each_delay(synapse, "in", "a")]
    ).double()
    x = spikes(80, 3, 8, 0.2)
    expected, _ = net.nodes["a"](synapse(x)[0])
    assert torch.equal(net(x)[0], expected) and expected.sum() > 50


@pytest.mark.parametrize("shortest", [1, 5])
def test_a_cycle_runs_as_many_steps_at_once_as_its_shortest_delay(shortest, monkeypatch):
    loop = exact(made(6, 6, 40, 8, shortest))
    with torch.no_grad():
        loop.weight.mul_(0.5)
    nodes = {"in": ns.Input(8), "a": ns.LIF(dt=DT, tau_mem=3e-3, v_th=0.05)}
    feed = ns.Edge("in", "a", ns.Linear(8, 6))
    net = ns.Network(nodes, [feed, ns.Edge("a", "a", loop, delay=0.0)]).double()
    same = ns.Network(nodes, [feed, *edges_of_each_delay(loop, "a", "a")]).double()
    x, lengths = spikes(40, 3, 8, 0.2), []

    def over(line: torch.Tensor, *, through_time: bool = True) -> torch.Tensor:
        lengths.append(len(line) - loop.delay_span)
        return DelayedSparse.over(loop, line, through_time=through_time)

    monkeypatch.setattr(loop, "over", over)
    z, _ = net(x)
    assert torch.equal(z, same(x)[0]) and z.sum() > 30
    assert lengths == [shortest] * (40 // shortest)
    first, state = net(x[:13])
    assert torch.equal(torch.cat((first, net(x[13:], state)[0])), z)
    assert state.in_flight["a"].shape == (8, 3, 6)


def test_a_network_with_them_trains():
    torch.manual_seed(0)
    draw = dict(delay=Uniform(1e-3, 9e-3), weight=Normal(0.3, 0.3), seed=0, dt=DT)
    synapse = DelayedSparse.drawn(20, 10, FixedInDegree(8), **draw)
    nodes = {"in": ns.Input(20), "a": ns.LIF(dt=DT, v_th=0.05), "out": ns.LI(dt=DT)}
    net = ns.Network(nodes, [ns.Edge("in", "a", synapse), ns.Edge("a", "out", ns.Linear(10, 2))])
    x, target = spikes(30, 16, 20, 0.4).float(), torch.arange(16) % 2
    x[:, target == 0, :10] = x[:, target == 1, 10:] = 0.0
    optimizer = torch.optim.Adam(synapse.parameters(), lr=0.1)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x)[0].mean(0), target)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("graded", [False, True])
def test_compiled_in_one_graph(graded):
    synapse, x = made(shortest=2), spikes(20, 2, 7, 0.3)
    x = (x * torch.randn_like(x) if graded else x).requires_grad_()
    compiled = torch.compile(lambda x: synapse(x)[0], fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(x).sin().sum(), [x, synapse.weight])
    expected = torch.autograd.grad(synapse(x)[0].sin().sum(), [x, synapse.weight])
    assert all(map(torch.equal, found, expected))
    net = ns.Network({"in": ns.Input(7), "a": ns.LIF(dt=DT)}, [ns.Edge("in", "a", synapse)])
    assert torch.equal(torch.compile(net, fullgraph=True, backend="aot_eager")(x)[0], net(x)[0])


def test_transforms_of_torch_func_and_half_precision_need_no_kernel():
    synapse, x = made(), spikes(12, 2, 7, 0.3)

    def loss(weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(synapse, {"weight": weight}, (x,))[0].sin().sum()

    weight = synapse.weight.detach()
    expected = torch.autograd.functional.jacobian(loss, weight)
    torch.testing.assert_close(torch.func.grad(loss)(weight), expected)
    half = made().half()
    current, state = half(x.half())
    assert current.dtype is torch.float16 and state.dtype is torch.float16
    torch.testing.assert_close(current.double(), synapse(x)[0].detach(), rtol=5e-3, atol=5e-2)


# Drawn.


def test_drawn_synapses_are_those_of_sparse_with_delays_beside_them():
    rule, weight = FixedOutDegree(12), Normal(0.5, 0.1)
    delayed = DelayedSparse.drawn(50, 40, rule, delay=Uniform(1e-3, 20e-3), weight=weight, seed=3, dt=DT)
    plain = ns.Sparse.drawn(50, 40, rule, weight=weight, seed=3)
    key = torch.argsort(delayed.connections[1] * 40 + delayed.connections[0], stable=True)
    assert torch.equal(delayed.connections[:, key], plain.connections)
    torch.testing.assert_close(delayed.dense(), plain.dense())
    assert torch.equal(delayed.weight.sort().values, plain.weight.sort().values)
    other = DelayedSparse.drawn(50, 40, rule, delay=Constant(2e-3), weight=weight, seed=3, dt=DT)
    assert torch.equal(other.connections, plain.connections) and (other.delay == 2).all()
    x = spikes(30, 2, 50).float()
    assert torch.equal(delayed(x)[0], written_out(x, delayed))
    again = DelayedSparse.drawn(50, 40, rule, delay=Uniform(1e-3, 20e-3), weight=weight, seed=3, dt=DT)
    assert all(
        torch.equal(a, b) for a, b in zip(delayed.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_drawn_delays_are_rounded_to_the_nearest_step():
    made = DelayedSparse.drawn(
        100, 100, Bernoulli(0.5), delay=Normal(1.5e-3, 0.75e-3, low=0.1e-3, outside="redrawn"), seed=0, dt=1e-4
    )
    delay = made.delay.double()
    assert made.min_delay == 1 and made.memory == int(delay.max())
    assert abs(delay.mean() - 15.5) < 0.5 and abs(delay.std() - 7.1) < 0.4  # of the truncated distribution
    long = DelayedSparse.drawn(9, 9, Bernoulli(1.0), delay=Uniform(0.0, 3e-3), seed=0, max_delay=10e-3, dt=DT)
    assert long.memory == 10 and long.delay.unique().tolist() == [0, 1, 2, 3]


def test_sorting_by_delay_takes_some_rows_at_a_time(monkeypatch):
    from neurosim.kernels.delayed import rows

    draw = dict(delay=LogNormal(-5.5, 0.3), seed=5, dt=DT)
    whole = DelayedSparse.drawn(60, 40, FixedInDegree(13), **draw)
    monkeypatch.setattr(rows, "_BLOCK", 30)
    parts = DelayedSparse.drawn(60, 40, FixedInDegree(13), **draw)
    assert all(map(torch.equal, whole.state_dict().values(), parts.state_dict().values()))


def test_memory_is_that_of_the_synapses():
    tracemalloc.start()  # of NumPy's arrays; torch's are few times those of the result
    try:
        synapse = DelayedSparse.drawn(100_000, 100_000, FixedOutDegree(10), delay=Uniform(0.0, 0.02), seed=0, dt=1e-4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert synapse.bytes_per_synapse <= 11 and peak < 30 * 10**6 + 60 * 2**20


# Refused.


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda p, d: DelayedSparse(2, 2, p, d[:1], dt=DT), ShapeError, "delay must be [2]; got [1]."),
        (lambda p, d: DelayedSparse(2, 2, p, [1, 2], dt=DT), InputError, "or of floating point in s; got list."),
        (lambda p, d: DelayedSparse(2, 2, p, d.int(), dt=DT), InputError, "floating point in s; got torch.int32."),
        (
            lambda p, d: DelayedSparse(2, 2, p, torch.tensor([1e-3, 1.5e-3]).double(), dt=DT),
            InputError,
            "delay must be an integer number of steps of 0.001 s; got 0.0015 s. The nearest",
        ),
        (
            lambda p, d: DelayedSparse(2, 2, p, torch.tensor([1e-3, float("nan")]), dt=DT),
            InputError,
            "delay must be an integer number of steps of 0.001 s; got nan s.",
        ),
        (
            lambda p, d: DelayedSparse(2, 2, p, torch.tensor([1.0, 25.0]), dt=DT),
            InputError,
            "delay must be in [0, 0.1) s; got 25.0. Did you pass milliseconds?",
        ),
        (
            lambda p, d: DelayedSparse(2, 2, p, d - 2, dt=DT),
            InputError,
            "delays must lie in 0 to 0 steps; got -1 to 0.",
        ),
        (
            lambda p, d: DelayedSparse(2, 2, p, d, max_delay=1e-3, dt=DT),
            InputError,
            "delays must lie in 0 to 1 steps; got 1 to 2.",
        ),
        (
            lambda p, d: DelayedSparse(2, 2, p + 1, d, dt=DT),
            InputError,
            "DelayedSparse: post neuron 2 is outside 0..1.",
        ),
        (lambda p, d: DelayedSparse(2, 2, p, d, torch.ones(3), dt=DT), ShapeError, "weight must be [2]; got [3]."),
        (lambda p, d: DelayedSparse(2, 2, p, d, dt=5.0), UnitError, "DelayedSparse: dt must be a number in (0, 0.1) s"),
        (
            lambda p, d: DelayedSparse.drawn(2, 2, Bernoulli(1.0), delay=Normal(1e-3, 1e-3), seed=0, dt=DT),
            InputError,
            "Give it low=0.0 and outside='clipped' or 'redrawn'.",
        ),
        (
            lambda p, d: DelayedSparse.drawn(2, 2, Bernoulli(1.0), delay=Constant(1.5e-3), seed=0, dt=DT),
            InputError,
            "Constant: delay must be an integer number of steps of 0.001 s; got 0.0015 s. The nearest",
        ),
        (
            lambda p, d: DelayedSparse.drawn(2, 2, Bernoulli(1.0), delay=Uniform(5.0, 15.0), seed=0, dt=DT),
            InputError,
            "Did you pass milliseconds?",
        ),
        (
            lambda p, d: DelayedSparse.drawn(2, 2, Bernoulli(1.0), delay=1e-3, seed=0, dt=DT),
            InputError,
            "delay must be a Distribution such as Constant(1.5e-3); got 0.001.",
        ),
        (
            lambda p, d: DelayedSparse.drawn(
                5, 5, Bernoulli(1.0), delay=Uniform(0.0, 9e-3), seed=0, max_delay=1e-3, dt=DT
            ),
            InputError,
            "steps were drawn; max_delay is 1 steps.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, kind, said):
    with pytest.raises(kind) as caught:
        make(torch.tensor([[0, 1], [0, 1]]), torch.tensor([1, 2]))
    assert said in str(caught.value)
