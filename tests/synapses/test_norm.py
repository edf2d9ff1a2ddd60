"""Normalisation of currents and of weights: their equations, and that no step hears of another unless told to."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.errors import InputError, ShapeError
from neurosim.synapses import BatchNorm, Standardised
from neurosim.synapses.norm import norm_factors

DT = 1e-3


def currents(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3 + 1


def network(norm: bool = True, over: str = "step") -> ns.Network:
    torch.manual_seed(0)
    first = [ns.Conv2d(1, 4, 3), BatchNorm(4, over=over)] if norm else [Standardised(ns.Conv2d(1, 4, 3), scale=2.74)]
    second = [ns.Linear(64, 20), BatchNorm(20, over=over)] if norm else [Standardised(ns.Linear(64, 20), scale=2.74)]
    return ns.Sequential(
        ns.Input((1, 10, 10)),
        *first,
        ns.LIF(dt=DT, tau_mem=3e-3, r=6.0),
        ns.AvgPool2d(2),
        ns.Flatten(),
        *second,
        ns.LIF(dt=DT, tau_mem=3e-3, r=6.0),
        ns.Linear(20, 3),
        ns.LI(dt=DT),
    ).double()


def batch(steps: int = 6) -> tuple[Tensor, Tensor]:
    x = torch.rand(steps, 5, 1, 10, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return x, torch.tensor([0, 1, 2, 0, 1])


def gradients(rule: ns.Rule, net: ns.Network, x: Tensor, y: Tensor) -> list[Tensor]:
    net.zero_grad()
    rule.gradients(net, x, y, ns.CrossEntropy())
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


def near(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(torch.allclose(x, y, rtol=1e-9, atol=1e-12) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("places", [(), (3,), (3, 2)])
@pytest.mark.parametrize("over", ["step", "time"])
def test_training_takes_the_statistics_at_hand(over: str, places: tuple[int, ...]) -> None:
    norm, x = BatchNorm(4, over=over).double(), currents(5, 6, 4, *places)
    torch.nn.init.uniform_(norm.weight)
    torch.nn.init.uniform_(norm.bias)
    axes = [n for n in range(x.dim()) if n != 2 and (n != 0 or over == "time")]
    var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    shape = (-1, *[1] * len(places))
    wanted = (x - mean) / (var + 1e-5).sqrt() * norm.weight.view(shape) + norm.bias.view(shape)
    torch.testing.assert_close(norm(x), wanted)


def test_running_statistics_follow_and_serve_in_evaluation() -> None:
    norm, x = BatchNorm(4, momentum=0.25).double(), currents(3, 6, 4)
    mean, var = torch.zeros(4).double(), torch.ones(4).double()
    for step in x:
        mean, var = 0.75 * mean + 0.25 * step.mean(0), 0.75 * var + 0.25 * step.var(0)
    norm(x)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, var)
    norm.eval()
    torch.testing.assert_close(norm(x), (x - mean) / (var + 1e-5).sqrt())
    scale, shift = norm_factors(norm)
    torch.testing.assert_close(norm(x), x * scale + shift)
    torch.testing.assert_close(norm.running_mean, mean)


def test_a_run_in_pieces_is_the_run_in_one() -> None:
    x, _ = batch()
    whole, pieces = network(), network()
    z, _ = whole(x)
    first, state = pieces(x[:2])
    second, _ = pieces(x[2:], state)
    assert torch.equal(z, torch.cat((first, second))) and z.any()
    assert all(torch.equal(a, b) for a, b in zip(whole.buffers(), pieces.buffers(), strict=True))


@pytest.mark.parametrize("norm", [True, False])
def test_rules_that_learn_step_by_step_find_the_same_whatever_the_chunk(norm: bool) -> None:
    x, y = batch()
    for rule in (ns.SLTT, ns.OTTT):
        found = [gradients(rule(chunk=chunk), network(norm), x, y) for chunk in (1, 4, 6)]
        assert all(g.any() for g in found[0])
        assert near(found[0], found[1]) and near(found[0], found[2])


@pytest.mark.parametrize("norm", [True, False])
def test_one_step_of_sltt_is_bptt(norm: bool) -> None:
    x, y = batch(1)
    assert near(gradients(ns.SLTT(), network(norm), x, y), gradients(ns.BPTT(), network(norm), x, y))


def test_sltt_is_backpropagation_with_the_state_cut_off_at_each_step() -> None:
    x, y = batch()
    net, state = network(), None
    for step in x:
        v, state = net(step[None], state)
        (ns.CrossEntropy()(v, y) / len(x)).backward()
        state = state.detach()
    assert near(gradients(ns.SLTT(chunk=4), network(), x, y), [p.grad for p in net.parameters()])


def test_running_statistics_follow_all_steps_of_sltt_k() -> None:
    x, y = batch()
    some, every = network(), network()
    gradients(ns.SLTT(k=2), some, x, y)
    gradients(ns.SLTT(), every, x, y)
    assert all(torch.allclose(a, b) for a, b in zip(some.buffers(), every.buffers(), strict=True))


def test_recomputation_counts_each_step_once() -> None:
    x, y = batch()
    plain, again = network(), network()
    a, b = gradients(ns.BPTT(), plain, x, y), gradients(ns.BPTT(recompute=True), again, x, y)
    assert near(a, b)
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), again.buffers(), strict=True))
    assert not torch.equal(again.synapses["input->lif1"][1].running_mean, torch.zeros(4))


def test_statistics_over_time_are_for_whole_runs() -> None:
    x, y = batch()
    net = network(over="time")
    assert all(g.any() for g in gradients(ns.BPTT(), net, x, y))
    for rule in (ns.SLTT(), ns.BPTT(recompute=True)):
        with pytest.raises(InputError, match=r"edge 'input->lif1': .* over all steps of a call"):
            gradients(rule, net, x, y)
    loop = ns.Network(
        {"input": ns.Input(4), "a": ns.LIF(dt=DT)},
        [ns.Edge("input", "a", ns.Linear(4, 3)), ns.Edge("a", "a", (ns.Linear(3, 3), BatchNorm(3, over="time")))],
    )
    with pytest.raises(InputError, match="a network without that loop"):
        loop(torch.rand(5, 2, 4))
    loop.eval()(torch.rand(5, 2, 4))


def test_a_trace_in_place_of_spikes_leaves_the_normalisation_alone() -> None:
    # OTTT's own weights learn from traces of what enters them; scale and shift get the plain sum over steps.
    x, y = batch()
    sltt, ottt = (gradients(rule, network(), x, y) for rule in (ns.SLTT(), ns.OTTT()))
    names = [name for name, _ in network().named_parameters()]
    for name, a, b in zip(names, sltt, ottt, strict=True):
        assert torch.allclose(a, b) == (".1." in name or ".3." in name), name


def test_standardised_weights_are_those_of_the_equation() -> None:
    for inner in (ns.Linear(30, 4, bias=True), ns.Conv2d(3, 4, 3, bias=True), ns.Conv1d(3, 4, 5)):
        synapse = Standardised(inner, scale=2.74, eps=1e-12).double()
        torch.nn.init.uniform_(synapse.gain, 0.5, 2.0)
        rows = synapse.effective().flatten(1)
        torch.testing.assert_close(rows.sum(1), torch.zeros(4).double(), atol=1e-12, rtol=0)
        torch.testing.assert_close(rows.norm(dim=1), 2.74 * synapse.gain.detach())
        own = inner.weight.flatten(1) - inner.weight.flatten(1).mean(1, keepdim=True)
        torch.testing.assert_close(torch.cosine_similarity(rows, own, dim=1), torch.ones(4).double())


def test_standardised_synapses_are_those_synapses_with_these_weights() -> None:
    inner = ns.Conv2d(2, 4, 3, padding=1, bias=True)
    synapse, x = Standardised(inner), (torch.rand(3, 2, 2, 5, 5) < 0.3).float()
    wanted = torch.nn.functional.conv2d(x.flatten(0, 1), synapse.effective(), inner.bias, padding=1)
    torch.testing.assert_close(synapse(x).flatten(0, 1), wanted)
    assert torch.autograd.gradcheck(
        lambda w, g: torch.func.functional_call(synapse, {"synapse.weight": w, "gain": g}, (x.double(),)),
        (inner.weight.detach().double().requires_grad_(), torch.ones(4).double().requires_grad_()),
        nondet_tol=1e-12,
    )


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: BatchNorm(0), InputError, "channels must be an integer from 1; got 0"),
        (lambda: BatchNorm(2, over="all"), InputError, 'over must be "step" or "time"; got'),
        (lambda: BatchNorm(2, momentum=2.0), InputError, r"momentum must be in \[0, 1\]; got 2.0"),
        (lambda: BatchNorm(2, eps=0.0), InputError, "eps must be a number above 0; got 0.0"),
        (lambda: BatchNorm(2, start=float("nan")), InputError, "start must be a finite number"),
        (lambda: BatchNorm(2)(torch.rand(2, 3, 4)), ShapeError, r"spikes must be \[T, B, 2, ...\]; got \[T, B, 4\]"),
        (lambda: BatchNorm(2)(torch.rand(4, 1, 2)), ShapeError, "need two values of each channel"),
        (lambda: Standardised(ns.Flatten()), InputError, "can be standardised; got Flatten"),
        (lambda: Standardised(ns.Linear(2, 2), scale=0.0), InputError, "scale must be a finite number, not 0"),
        (lambda: Standardised(ns.Linear(2, 2), eps=-1.0), InputError, "eps must be a number above 0"),
    ],
)
def test_what_cannot_be_used_is_refused(make, kind, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(6,), (3, 4, 4)])
def test_one_graph_for_all_lengths(shape, affine):
    """Compiled, all steps are normalised at once: the numbers of the loop over steps, and one graph for any T."""
    torch.manual_seed(0)
    first = ns.Linear(8, 6) if len(shape) == 1 else ns.Conv2d(2, 3, 3, padding=1)
    net = ns.Sequential(
        ns.Input((8,) if len(shape) == 1 else (2, 4, 4)), first, BatchNorm(shape[0], affine=affine), ns.LI(dt=1e-3)
    )
    plain = copy.deepcopy(net)
    graphs = []

    def counted(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend=counted)
    for steps in (5, 3, 17, 8, 4, 9, 11, 6, 12, 13):
        x = torch.rand(steps, 7, *net.nodes["input"].shape)
        found, expected = (run(x)[0] for run in (compiled, plain))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        gradients = [
            torch.autograd.grad(out.square().sum(), list(n.parameters()))
            for out, n in ((found, net), (expected, plain))
        ]
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(dict(net.named_buffers()), dict(plain.named_buffers()), rtol=1e-4, atol=1e-5)
    assert len(graphs) == 1
