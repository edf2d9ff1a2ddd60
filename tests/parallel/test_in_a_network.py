"""Layers parallel in time as nodes of a network: trained, simulated, and refused by name where they cannot go."""

from __future__ import annotations

import re

import pytest
import torch

import neurosim as ns
from neurosim.energy import count_operations
from neurosim.errors import ExportError, InputError, NetworkError, ShapeError
from neurosim.hardware.lava import to_lava
from neurosim.parallel import PSN, MaskedPSN, ResetFreeLeaky, SlidingPSN, masking_at

DT, STEPS = 1e-3, 12
LAYERS = {
    "ResetFreeLeaky": lambda: ResetFreeLeaky(dt=DT, tau_mem=4e-3, v_th=0.3),
    "PSN": lambda: PSN(STEPS, dt=DT),
    "MaskedPSN": lambda: MaskedPSN(STEPS, 6, dt=DT),
    "SlidingPSN": lambda: SlidingPSN(6, dt=DT),
}
EVERY = pytest.mark.parametrize("kind", LAYERS)
WITHOUT_A_CORE = pytest.mark.parametrize("kind", ["PSN", "MaskedPSN", "SlidingPSN"])
WHOLE_RUN = pytest.mark.parametrize("kind", ["PSN", "MaskedPSN"])


def network(kind: str) -> ns.Network:
    return ns.Sequential(
        ns.Linear(4, 24), LAYERS[kind](), ns.Linear(24, 2), ns.LI(dt=DT, tau_mem=5e-3), names=["hidden", "out"]
    )


def batches(count: int = 12) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Make a task of order: of two equal bursts, the class says which came first."""
    made = []
    for _ in range(count):
        y = torch.randint(2, (32,))
        x = 0.1 * torch.rand(STEPS, 32, 4)
        for sample, label in enumerate(y.tolist()):
            x[1:4, sample, 2 * label : 2 * label + 2] += 1.0
            x[4:7, sample, 2 - 2 * label : 4 - 2 * label] += 1.0
        made.append((x, y))
    return made


@EVERY
def test_it_learns_a_task(kind):
    torch.manual_seed(1)
    net, data = network(kind), batches()
    hidden = net.nodes["hidden"]
    epochs = 8

    def on_epoch(row):
        if isinstance(hidden, MaskedPSN):
            hidden.masking = masking_at(row["epoch"], epochs)

    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    history = ns.fit(net, data, optimizer=optimizer, epochs=epochs, progress=False, on_epoch=on_epoch)
    assert history.rows[0]["accuracy"] < 0.9 < history.rows[-1]["accuracy"]
    assert all(not torch.equal(value, before[name]) for name, value in net.named_parameters())
    if isinstance(hidden, MaskedPSN):
        assert hidden.masking == 1.0


@EVERY
def test_a_simulation_records_it(kind, tmp_path):
    net, x = network(kind), 3 * torch.rand(STEPS, 5, 4)
    with torch.no_grad():
        z, after, values, *_ = net.run(x, record=["hidden", f"hidden.{_membrane(kind)}"])
    assert values["hidden"].sum() > 0
    for path in (None, tmp_path / "run.h5"):
        kept = ns.simulate(net, x, record=["hidden", f"hidden.{_membrane(kind)}", "out"], path=path)
        assert torch.equal(kept.spikes["hidden"].to_grid(), values["hidden"])
        assert torch.equal(torch.from_numpy(kept.traces[f"hidden.{_membrane(kind)}"][...]), list(values.values())[1])
        assert torch.equal(torch.from_numpy(kept.traces["out"][...]), z)
        for a, b in zip(kept.state.nodes["hidden"], after.nodes["hidden"], strict=True):
            assert torch.equal(a, b)


def _membrane(kind: str) -> str:
    return "v" if kind == "ResetFreeLeaky" else "h"


@pytest.mark.parametrize("kind", ["ResetFreeLeaky", "SlidingPSN"])
def test_a_simulation_continues_from_chunk_to_chunk(kind):
    net, x = network(kind).double(), 3 * torch.rand(STEPS, 5, 4, dtype=torch.float64)
    whole = ns.simulate(net, x, chunk=STEPS)
    for chunk in (1, 5):
        assert (ns.simulate(net, x, chunk=chunk).spikes["hidden"].to_grid() == whole.spikes["hidden"].to_grid()).all()
    first = ns.simulate(net, x[:5])
    rest = ns.simulate(net, x[5:], state=first.state)
    assert (
        first.spikes["hidden"].count().sum() + rest.spikes["hidden"].count().sum()
        == whole.spikes["hidden"].count().sum()
        > 0
    )


@WHOLE_RUN
def test_a_simulation_in_chunks_or_in_parts_is_refused(kind):
    net, x = network(kind), torch.rand(STEPS, 2, 4)
    with pytest.raises(ShapeError, match=rf"{kind}: made for runs of 12 steps.* got 5\. .* simulate needs chunk=12"):
        ns.simulate(net, x, chunk=5)
    with pytest.raises(InputError, match=rf"{kind}: state is that of an earlier run of 12 steps"):
        ns.simulate(net, x, state=ns.simulate(net, x).state)
    with pytest.raises(InputError, match=rf"{kind}: state is that of an earlier run of 12 steps"):
        net(x, net(x)[1].detach())


@EVERY
def test_the_state_can_be_detached(kind):
    _, state = network(kind)(torch.rand(STEPS, 2, 4))
    apart = state.detach()
    assert type(apart.nodes["hidden"]) is type(state.nodes["hidden"])
    assert not any(value.requires_grad for value in apart.nodes["hidden"])


@pytest.mark.parametrize("kind", ["ResetFreeLeaky", "SlidingPSN"])
def test_sltt_does_not_depend_on_the_chunk(kind):
    found = []
    (x, y), *_ = batches(1)
    for chunk in (1, 5, STEPS):
        torch.manual_seed(2)
        net = network(kind).double()
        ns.SLTT(chunk=chunk).gradients(net, x.double(), y, ns.CrossEntropy())
        found.append([p.grad for p in net.parameters()])
    assert all(g.abs().max() > 0 for g in found[0])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert torch.allclose(a, b, rtol=0, atol=1e-12)


@WHOLE_RUN
def test_sltt_is_refused(kind):
    (x, y), *_ = batches(1)
    with pytest.raises(InputError, match=rf"{kind}: through_time=False .* Train with BPTT, or use SlidingPSN"):
        ns.SLTT().gradients(network(kind), x, y, ns.CrossEntropy())


def test_a_sliding_psn_runs_in_a_loop():
    torch.manual_seed(0)
    synapse = ns.Linear(5, 5)
    net = ns.Sequential(ns.Linear(4, 5), ns.Recurrent(SlidingPSN(3, dt=DT), synapse), names=["loop"]).double()
    x = torch.randn(STEPS, 2, 4, dtype=torch.float64)
    z, _ = net(3 * x)
    layer, current, sent, now = net.nodes["loop"], net.edges[0](3 * x), torch.zeros(1, 2, 5, dtype=torch.float64), None
    for t in range(STEPS):
        sent, now = layer(current[t : t + 1] + synapse(sent), now)
        assert torch.equal(sent[0], z[t])
    assert 0 < z.mean() < 1
    synapse.weight.data.zero_()
    assert not torch.equal(net(3 * x)[0], z)


@WHOLE_RUN
def test_a_neuron_of_whole_runs_is_refused_in_a_loop(kind):
    net = ns.Sequential(ns.Linear(4, 5), ns.Recurrent(LAYERS[kind](), ns.Linear(5, 5)), names=["loop"])
    with pytest.raises(ShapeError, match=rf"{kind}: made for runs of 12 steps.* got 1\. It cannot be in a loop"):
        net(torch.rand(STEPS, 2, 4))


@EVERY
def test_its_default_node_name_is_not_that_of_lif(kind):
    net = ns.Sequential(ns.Linear(4, 3), LAYERS[kind]())
    name = [*net.nodes][1]
    assert name == ("reset_free_leaky1" if kind == "ResetFreeLeaky" else f"{kind}1")
    assert [*net.populations()] == [name] and net.dt == DT


def test_sizes_and_steps_are_checked_when_the_network_is_made():
    with pytest.raises(ShapeError, match=r"gives currents of shape \[3\] to 'out', but its size says \[5\]"):
        ns.Sequential(ns.Linear(4, 3), PSN(STEPS, dt=DT, size=5), names=["out"])
    with pytest.raises(
        NetworkError, match=r"all populations and delays must share one dt; got 0.001 s in node 'a', 0.0005 s in"
    ):
        ns.Sequential(ns.Linear(4, 3), PSN(STEPS, dt=DT), ns.Linear(3, 2), SlidingPSN(2, dt=5e-4), names=["a", "b"])
    with pytest.raises(NetworkError, match="no synapse before PSN; put Linear"):
        ns.Sequential(ns.Input(3), PSN(STEPS, dt=DT))
    with pytest.raises(InputError, match=r"PSN: cannot record \['v'\]; this layer has \['h'\]"):
        ns.simulate(network("PSN"), torch.rand(STEPS, 2, 4), record=["hidden.v"])


@WITHOUT_A_CORE
def test_readers_of_cores_refuse_it_by_name(kind):
    net, x = network(kind), torch.rand(STEPS, 2, 4)
    with pytest.raises(NetworkError, match=rf"node 'hidden' is of type {kind}, which has no core"):
        net.neurons()
    with pytest.raises(
        InputError, match=rf"node 'hidden' is a {kind}, which has no core whose operations can be counted"
    ):
        count_operations(net, x)
    with pytest.raises(ExportError) as caught:
        to_lava(net)
    told = f"  - node 'hidden': is a {kind}, for which Lava has no process; use "
    told += "IF, LIF, CubaLIF, LI, or a core of Lava's own such as atrlif and train again"
    assert told in str(caught.value).splitlines()


def test_the_reset_free_leaky_is_counted_and_not_exported():
    net, x = network("ResetFreeLeaky"), 3 * torch.rand(STEPS, 2, 4)
    counted = count_operations(net, x).nodes[0]
    assert counted.kind == "reset_free_leaky" and counted.resets == 0 and counted.spikes > 0
    assert (counted.additions, counted.multiplications, counted.states) == (2, 2, 1)
    with pytest.raises(ExportError, match=re.escape("its core is 'reset_free_leaky', for which Lava has no process")):
        to_lava(net)
