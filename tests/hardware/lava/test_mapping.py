"""What the export makes of a network, and what it refuses; Lava itself is not needed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

import neurosim as ns
from neurosim import cores
from neurosim.errors import ExportError, InputError
from neurosim.hardware.lava import to_lava
from neurosim.hardware.lava.populations import KNOWN
from neurosim.hardware.lava.start_voltage import float_start
from neurosim.synapses import DelayedLinear, Identity

DT = 1e-3


@ns.core(parameters=dict(v_th=1.0, v_reset=0.0, r=1.0), state=("v",))
def lif(i: Any, v: Any, *, v_th: Any, v_reset: Any, r: Any, spike: Any, reset: Any) -> tuple[Any, ...]:
    u = v + 2.0 * r * i
    z = spike(u - v_th)
    return z, reset(u, z, to=v_reset, by=v_th)


def refused(net: ns.Network) -> list[str]:
    with pytest.raises(ExportError) as caught:
        to_lava(net)
    first, *problems = str(caught.value).splitlines()
    assert first == "Lava cannot hold this network:"
    return [problem.removeprefix("  - ") for problem in problems]


def one(neuron: ns.Neuron, synapse: ns.synapses.Synapse | None = None) -> ns.Network:
    return ns.Sequential(ns.Input(4), synapse or ns.Linear(4, 3), neuron, names=["out"])


@pytest.mark.parametrize(
    ("neuron", "message"),
    [
        (ns.LIF(dt=DT, reset="subtract"), r"node 'out': reset='subtract'; .* use reset=\"value\""),
        (ns.CubaLIF(dt=DT, reset=None), r"node 'out': reset=None; .* use reset=\"value\""),
        (ns.IF(dt=DT, v_reset=-0.5), r"node 'out': v_reset=-0.5; .* use v_reset=0.0"),
        (ns.LIF(dt=DT, v_reset=torch.tensor([0.0, 0.25, 0.1])), r"node 'out': v_reset=0 to 0.25; "),
        (ns.LIF(dt=DT, v_th=-1.0), r"node 'out': v_th=-1; below 0 it would fire .* use a threshold from 0"),
        (ns.ALIF(dt=DT), r"node 'out': its core is 'alif', for which Lava has no process; use IF, LIF, CubaLIF"),
        (ns.layer(cores.ternary_lif)(dt=DT, v_low=0.2), r"node 'out': v_low=0.2; above 0 it would fire"),
        (ns.layer(cores.resonate_and_fire_izhikevich)(dt=DT, v_th=0.0), r"node 'out': v_th=0; below 0 it would fire"),
        (
            ns.layer(cores.refractory_lif)(dt=DT, t_ref=torch.tensor([1e-3, 2e-3, 1e-3])),
            r"node 'out': t_ref=0.001 to 0.002; LIFRefractory has one for a population",
        ),
    ],
)
def test_a_neuron_that_lava_cannot_hold_is_named(neuron: ns.Neuron, message: str) -> None:
    (problem,) = refused(one(neuron))
    assert re.match(message, problem), problem


def test_a_core_of_the_same_name_is_not_taken_for_ours() -> None:
    assert refused(one(ns.layer(lif)(dt=DT))) == [
        f"node 'out': its core is 'lif', for which Lava has no process; use {KNOWN}"
    ]


@pytest.mark.parametrize(
    ("synapses", "message"),
    [
        (
            [ns.Conv2d(2, 2, 3, padding=1), ns.MaxPool2d(2)],
            r"holds MaxPool2d, but Lava adds spikes up and has no maximum; use SumPool2d",
        ),
        (
            [ns.Flatten(), DelayedLinear(32, 3, 4e-3, dt=DT)],
            r"holds DelayedLinear, but its delays are not in whole steps; round them with rounded\(\)",
        ),
        (
            [ns.Flatten(), DelayedLinear(32, 3, 4e-3, dt=DT).rounded(), ns.Linear(3, 2)],
            r"holds RoundedDelays beside other synapses \(RoundedDelays, Linear\); together they have no single delay",
        ),
    ],
)
def test_a_synapse_that_lava_cannot_hold_is_named(synapses: list[Any], message: str) -> None:
    net = ns.Sequential(ns.Input((2, 4, 4)), *synapses, ns.LIF(dt=DT), names=["out"])
    (problem,) = refused(net)
    assert re.match(f"edge 'input->out': {message}", problem), problem


@pytest.mark.parametrize("chain", [[Identity()], [Identity(), Identity()]])
def test_identity_is_one_connection_per_neuron(chain: list[Any]) -> None:
    net = ns.Network({"x": ns.Input((2, 3, 3)), "a": ns.LIF(dt=1e-3, r=2.0)}, [ns.Edge("x", "a", chain)])
    (process,) = to_lava(net).graph.sparse
    gain = 2.0 * (1.0 - net.neurons()["a"].decay("tau_mem"))
    assert np.array_equal(process.weight, np.full(18, gain))
    assert np.array_equal(process.post, process.pre) and len(process.post) == 18


def test_a_membrane_that_is_sent_on_is_refused() -> None:
    net = ns.Sequential(ns.Linear(4, 3), ns.LI(dt=DT), ns.Linear(3, 2), ns.LIF(dt=DT), names=["a", "b"])
    (problem,) = refused(net)
    assert problem == "edge 'a->b': sends the membrane of 'a'; on Lava a membrane is only read out: use LIF there"


class Doubled(ns.Linear):
    def apply_step(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().apply_step(x)


class Own(ns.synapses.Synapse):
    """A synapse of a user's own: from [4] to [3]."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (3,)

    def apply_step(self, x: torch.Tensor) -> torch.Tensor:
        current: torch.Tensor = self.function(x)
        return current


def test_what_a_synapse_computes_is_exported_and_not_what_its_base_does() -> None:
    synapse = Doubled(4, 3, bias=True)
    assert synapse.bias is not None
    graph = to_lava(one(ns.IF(dt=DT), synapse)).graph
    assert np.array_equal(graph.dense[0].weight, 2 * synapse.weight.detach().double().numpy())
    bias = graph.populations[0].argument("bias_mant")
    assert np.array_equal(bias, 2 * synapse.bias.detach().double().numpy())
    pruned = prune.random_unstructured(ns.Linear(4, 3), "weight", 0.5)
    weight = to_lava(one(ns.IF(dt=DT), pruned)).graph.dense[0].weight
    assert np.array_equal(weight, pruned.weight.detach().double().numpy()) and (weight == 0).sum() == 6


def test_a_linear_synapse_of_the_user_s_own_is_exported_and_another_refused() -> None:
    graph = to_lava(one(ns.IF(dt=DT), Own(lambda x: x[:, 1:] - x[:, :-1]))).graph
    (item,) = graph.sparse
    assert item.post.tolist() == [0, 0, 1, 1, 2, 2] and item.pre.tolist() == [0, 1, 1, 2, 2, 3]
    assert item.weight.tolist() == [-1, 1] * 3
    (problem,) = refused(one(ns.LIF(dt=DT), Own(lambda x: x[:, 1:] * x[:, :-1])))
    assert problem == (
        "edge 'input->out': holds Own, which is not linear in its input, or mixes steps or samples; use Linear or "
        "Conv2d"
    )


def test_weights_that_are_not_finite_are_refused() -> None:
    synapse = ns.Linear(4, 3, bias=True)
    with torch.no_grad():
        synapse.weight[0, 0] = float("nan")
        assert synapse.bias is not None
        synapse.bias[1] = float("inf")
    assert [p.split(" holds ")[0] for p in refused(one(ns.LIF(dt=DT), synapse))] == [
        "edge 'input->out': Linear.weight",
        "edge 'input->out': Linear.bias",
    ]


def test_a_cycle_that_is_too_fast_for_lava_is_refused() -> None:
    net = ns.Network(
        {"input": ns.Input(4), "a": ns.LIF(dt=DT), "b": ns.LIF(dt=DT)},
        [
            ns.Edge("input", "a", ns.Linear(4, 3)),
            ns.Edge("a", "b", ns.Linear(3, 2)),
            ns.Edge("b", "a", ns.Linear(2, 3), delay=1e-3),
        ],
    )
    (problem,) = refused(net)
    assert re.match(
        r"cycle (a -> b -> a|b -> a -> b): its delays are 1 step\(s\) in all, but its 2 connections", problem
    )
    assert "at least 2 steps (0.002 s) in all" in problem


def test_parts_that_share_no_edge_are_refused() -> None:
    net = ns.Network(
        {"x": ns.Input(2), "y": ns.Input(2), "a": ns.LIF(dt=DT), "b": ns.LIF(dt=DT)},
        [ns.Edge("x", "a", ns.Linear(2, 2)), ns.Edge("y", "b", ns.Linear(2, 2))],
    )
    assert refused(net) == [
        "network: has parts that share no edge: ['a'] and ['b']; export each as a network of its own"
    ]


def test_a_gain_that_a_shared_kernel_cannot_hold_is_refused() -> None:
    r = torch.ones(1, 4, 4)
    r[0, 0, 0] = -1.0
    net = ns.Sequential(ns.Input((1, 4, 4)), ns.Conv2d(1, 1, 3, padding=1), ns.LIF(dt=DT, r=r), names=["out"])
    (problem,) = refused(net)
    assert problem.startswith("node 'out': r=-1 to 1 differs within a channel and is not positive everywhere")
    oscillators = ns.layer(cores.resonate_and_fire_izhikevich)(dt=DT, r=r.abs() + torch.rand(1, 4, 4))
    net = ns.Sequential(ns.Input((1, 4, 4)), ns.Conv2d(1, 1, 3, padding=1), oscillators, names=["out"])
    (problem,) = refused(net)
    assert problem.endswith("nor can RF_IZ have another scale in each neuron: use one r and one tau_mem")


def test_all_problems_are_told_at_once() -> None:
    net = ns.Sequential(
        ns.Input((2, 8, 8)),
        ns.Conv2d(2, 4, 3),
        ns.LIF(dt=DT, reset="subtract", v_reset=0.5),
        ns.MaxPool2d(2),
        ns.Flatten(),
        ns.Linear(36, 10),
        ns.ALIF(dt=DT),
        names=["hidden", "out"],
    )
    places = [problem.split(" ")[:2] for problem in refused(net)]
    assert places == [["node", "'hidden':"], ["node", "'hidden':"], ["node", "'out':"], ["edge", "'hidden->out':"]]


def test_only_a_network_is_exported() -> None:
    with pytest.raises(InputError, match=r"to_lava takes a Network; got Linear. Build one with"):
        to_lava(ns.Linear(3, 2))


def test_the_user_s_network_is_left_as_it_was() -> None:
    net = one(ns.LIF(dt=DT, tau_mem=torch.full((3,), 0.01), learn=["v_th"], size=3))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    to_lava(net)
    after = net.state_dict()
    assert {name: value.dtype for name, value in after.items()} == {name: value.dtype for name, value in before.items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_the_numbers_are_those_of_the_equations() -> None:
    net = one(ns.CubaLIF(dt=DT, tau_mem=10e-3, tau_syn=4e-3, v_th=0.7, r=3.0))
    graph = to_lava(net).graph
    (population,) = graph.populations
    a_mem, a_syn = np.exp(-0.1), np.exp(-0.25)
    assert {name: float(v) for name, v in population.arguments.items()} == {
        "du": 1 - a_syn,
        "dv": 1 - a_mem,
        "vth": 0.7,
    }
    weight = net.state_dict()["synapses.input->out.0.weight"].numpy().astype(np.float64)
    assert graph.dense[0].weight.dtype == np.float64
    assert np.array_equal(graph.dense[0].weight, (1 - a_mem) * 3.0 * weight)


def test_a_perfect_integrator_does_not_leak() -> None:
    (population,) = to_lava(one(ns.IF(dt=DT))).graph.populations
    assert [float(population.argument("du")), float(population.argument("dv"))] == [1.0, 0.0]


def fill_in(v: np.ndarray, bias: np.ndarray, dv: np.ndarray, steps: int) -> list[np.ndarray]:
    way = []
    for _ in range(steps):
        v = v * (1 - dv) + bias
        way.append(v)
    return way


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("dv", [0.0, 0.05, 0.9])
def test_from_its_start_the_bias_leads_to_zero_when_the_data_arrive(dv: float, steps: int) -> None:
    bias = np.random.default_rng(0).uniform(0, 1, 50)
    start = float_start(bias, np.array(dv), np.array(1e-3), steps)
    assert start is not None
    way = fill_in(start, bias, np.array(dv), steps)
    assert np.abs(way[-1]).max() < 1e-12
    # A bias that is not negative never comes near the threshold on the way.
    assert max(v.max() for v in way) < 1e-12


def test_a_negative_bias_starts_above_zero_and_may_not_fire() -> None:
    bias, dv = np.array([-0.3]), np.array(0.1)
    start = float_start(bias, dv, np.array(1.0), 3)
    assert start is not None
    way = fill_in(start, bias, dv, 3)
    assert 0 < max(v.max() for v in way) < 1.0
    assert abs(way[-1]) < 1e-15
    assert float_start(bias, dv, np.array(0.5), 3) is None


def test_with_a_complete_leak_there_is_no_start() -> None:
    assert float_start(np.array([0.3]), np.array(1.0), np.array(1.0), 2) is None


@pytest.mark.parametrize(
    ("neuron", "bias", "as_current"),
    [
        (ns.LIF(dt=DT), 0.5, False),
        (ns.LIF(dt=DT), -0.5, False),
        (ns.IF(dt=DT, v_th=0.2), -0.5, True),  # would start at 1.0
        (ns.LIF(dt=DT, tau_mem=1e-6), 0.5, True),  # forgets at once
        (ns.CubaLIF(dt=DT), 0.5, True),  # the bias goes through the synaptic current
    ],
)
def test_a_bias_is_lava_s_own_where_that_is_exact(neuron: ns.Neuron, bias: float, as_current: bool) -> None:
    synapse = ns.Linear(2, 3, bias=True)
    assert synapse.bias is not None
    with torch.no_grad():
        synapse.bias.fill_(bias)
    net = ns.Sequential(ns.Linear(4, 3), ns.LIF(dt=DT), ns.Linear(3, 2), ns.LIF(dt=DT), synapse, neuron, names="abc")
    graph = to_lava(net).graph
    population = graph.population("c")
    assert [current.target for current in graph.bias_currents] == ["c"] * as_current
    assert ("bias_mant" in population.arguments) == ("v" in population.arguments) == (not as_current)


def test_several_synapses_of_one_pair_are_one_with_their_sum() -> None:
    synapse = ns.Sparse(4, 3, torch.tensor([[1, 1, 0, 1], [2, 2, 3, 0]]), torch.tensor([0.5, 0.25, 1.0, 2.0]))
    net = ns.Network({"x": ns.Input(4), "out": ns.IF(dt=DT)}, [ns.Edge("x", "out", synapse, delay=2e-3)])
    (item,) = to_lava(net).graph.sparse
    assert list(zip(item.post.tolist(), item.pre.tolist(), item.weight.tolist(), strict=True)) == [
        (0, 3, 1.0),
        (1, 0, 2.0),
        (1, 2, 0.75),
    ]
    assert item.delay.ndim == 0 and int(item.delay) == 2
