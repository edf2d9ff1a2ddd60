"""The slow-inward-current astrocyte against its published arithmetic: counts, times and bursts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import ExportError, InputError
from neurosim.hardware.lava import to_lava, verify
from neurosim.models import SlowInwardCurrent

NAMES = ("astro_receiver", "astro_ip3", "astro_burst")


def network(astro: SlowInwardCurrent, inputs: int = 20) -> ns.Network:
    return ns.Network({"input": ns.Input(inputs), **astro.nodes()}, [astro.input_edge("input", inputs), *astro.edges()])


def poisson(hertz: float, seconds: int, inputs: int = 20) -> np.ndarray:
    return (np.random.default_rng(0).random((seconds * 1000, 1, inputs)) < hertz * 1e-3).astype(np.float32)


def emulated(spikes: np.ndarray) -> dict[str, list[int]]:
    """Step the four compartments with Python's integers, which round as the chip does while all are positive."""
    fired: dict[str, list[int]] = {"receiver": [], "ip3": [], "burst": []}
    u1 = v1 = v2 = u3 = v3 = v4 = 0
    for t, arriving in enumerate(spikes.sum((1, 2)).astype(int).tolist()):
        u1 = (u1 * (4096 - 409) >> 12) + 64 * 10 * arriving
        v1 = (v1 * (4096 - 1024) >> 12) + u1
        z1 = v1 > 64 * 100
        v2 = (v2 * (4096 - 1) >> 12) + 64 * 20 * z1
        z2 = v2 > 64 * 15000
        u3 = (u3 * (4096 - 40) >> 12) + 64 * 20 * z2
        v3 = (v3 * (4096 - 40) >> 12) + u3
        v4 = (v4 * (4096 - 40) >> 12) + v3
        z4 = v4 > 64 * 5000
        v1, v2, v4 = v1 * (not z1), v2 * (not z2), v4 * (not z4)
        for name, z in (("receiver", z1), ("ip3", z2), ("burst", z4)):
            if z:
                fired[name].append(t)
    return fired


def test_integer_arithmetic_spikes_as_an_emulation():
    spikes = poisson(35.0, 5)
    recording = ns.simulate(network(SlowInwardCurrent(arithmetic="loihi")), spikes, record=NAMES)
    expected = emulated(spikes)
    assert len(expected["ip3"]) == 2 and len(expected["burst"]) > 50
    for name in NAMES:
        assert recording.spikes[name].step.tolist() == expected[name.removeprefix("astro_")]


def test_a_joined_compartment_rounds_towards_zero_and_stays_in_24_bits():
    layer = ns.layer(ns.cores.loihi_joined)(dv=1500, v_th=50, dt=1e-3)
    i = torch.randint(-3000, 3000, (400, 2, 3), generator=torch.Generator().manual_seed(0)).double()
    i[200:] *= 2000
    z, _, seen, *_ = layer.run(i, None, ("v",))
    v = np.zeros((2, 3), dtype=np.int64)
    for t, arriving in enumerate(i.long().numpy()):
        v = np.sign(v) * (np.abs(v) * (4096 - 1500) // 4096) + arriving
        v = np.clip(v, 1 - 2**23, 2**23 - 1)
        assert np.array_equal(z[t].numpy(), v > 64 * 50)
        v = np.where(v > 64 * 50, 0, v)
        assert np.array_equal(seen["v"][t].numpy(), v)
    assert 0.1 < z.mean() < 0.6 and seen["v"].min() == 1 - 2**23


def test_the_golden_run_of_20_inputs_at_20_hz():
    net = network(SlowInwardCurrent(arithmetic="loihi"))
    recording = ns.simulate(net, poisson(20.0, 30), record=(*NAMES, "astro_sic"))
    receiver, ip3, burst = (recording.spikes[name].step for name in NAMES)
    assert len(receiver) == 7015
    assert ip3.tolist() == [6422, 12637, 19016, 25149]
    assert recording.traces["astro_sic"].max() == 47115
    for first, last in zip(ip3, [*ip3[1:], 30000], strict=True):
        after = burst[(burst >= first) & (burst < last)] - first
        assert len(after) == 31 and after[[0, -1]].tolist() == [24, 420]
        assert np.diff(after)[:6].tolist() == [12, 10, 9, 8, 8, 8]


def test_spikes_for_each_ip3_spike_fall_towards_their_limit():
    net, ratios = network(SlowInwardCurrent(arithmetic="loihi")), []
    for hertz, receiver, ip3 in ((10, 2809, 0), (20, 14270, 10), (40, 32587, 35), (80, 59614, 71)):
        spikes = ns.simulate(net, poisson(hertz, 60), record=NAMES).spikes
        found = [len(spikes[name].step) for name in NAMES]
        assert found[:2] == [receiver, ip3]
        ratios += [receiver / ip3] if ip3 else []
    assert ratios[0] > ratios[1] > ratios[2] > 15000 / 20 and ratios == pytest.approx([1427, 931, 840], abs=1)


def test_floating_point_is_close_to_integers():
    net, spikes = network(SlowInwardCurrent()), poisson(20.0, 30)
    recording = ns.simulate(net, spikes, record=(*NAMES, "astro_sic"))
    receiver, ip3, burst = (recording.spikes[name].step for name in NAMES)
    assert len(receiver) == pytest.approx(7015, rel=0.01) and len(ip3) == 4
    assert ip3 == pytest.approx(np.array([6422, 12637, 19016, 25149]), rel=0.025)
    assert recording.traces["astro_sic"].max() == pytest.approx(47115 / 64, rel=0.04)
    assert (np.diff(burst) > 1000).sum() == 3


@pytest.mark.parametrize("arithmetic", ["float", "loihi"])
@pytest.mark.parametrize("stages", [4, 3])
def test_without_input_there_is_no_output(arithmetic, stages):
    net = network(SlowInwardCurrent(arithmetic=arithmetic, stages=stages))
    recording = ns.simulate(net, np.zeros((3000, 1, 20), np.float32), record=NAMES)
    assert all(len(recording.spikes[name].step) == 0 for name in NAMES)
    assert all(value.abs().max() == 0 for state in recording.state.nodes.values() for value in state)


def test_three_stages_burst_at_the_same_rate_without_the_delay():
    net = network(SlowInwardCurrent(arithmetic="loihi", stages=3))
    recording = ns.simulate(net, poisson(20.0, 8), record=NAMES)
    (ip3,), burst = recording.spikes["astro_ip3"].step, recording.spikes["astro_burst"].step
    gaps = np.diff(burst - ip3)
    assert len(burst) == 31 and burst[0] - ip3 == 2 and gaps[0] == gaps.min() and gaps[-1] == gaps.max()


def test_the_astrocyte_raises_the_rate_seconds_after_the_input_begins():
    def post(weight: float) -> np.ndarray:
        astro = SlowInwardCurrent()
        drive = ns.Linear(20, 1)
        torch.nn.init.constant_(drive.weight, 0.7)
        net = ns.Network(
            {"input": ns.Input(20), **astro.nodes(), "post": ns.LIF(tau_mem=20e-3, dt=1e-3)},
            [
                astro.input_edge("input", 20),
                *astro.edges(),
                ns.Edge("input", "post", drive),
                astro.output_edge("post", 1, weight=weight),
            ],
        )
        return ns.simulate(net, poisson(20.0, 8), record=["post", "astro_ip3"]).spikes["post"].step

    without, helped = post(0.0), post(10.0)
    assert np.array_equal(helped[helped < 6000], without[without < 6000])
    burst = [((steps > 6350) & (steps < 6950)).sum() for steps in (without, helped)]
    assert burst[1] > burst[0] + 8


def test_astrocytes_of_one_layer_are_independent():
    astro = SlowInwardCurrent(size=2, arithmetic="loihi")
    ear = astro.input_edge("input", 20)
    with torch.no_grad():
        ear.synapse.weight[1] = 0.0
    net = ns.Network({"input": ns.Input(20), **astro.nodes()}, [ear, *astro.edges()])
    burst = ns.simulate(net, poisson(20.0, 8), record=["astro_burst"]).spikes["astro_burst"]
    assert len(burst.step) == 31 and set(burst.neuron.tolist()) == {0}


def test_lava_is_given_three_stages_and_refuses_four_by_name():
    for astro in (SlowInwardCurrent(stages=3), SlowInwardCurrent(stages=3, arithmetic="loihi")):
        graph = to_lava(network(astro)).graph
        assert [population.name for population in graph.populations] == list(NAMES)
    with pytest.raises(ExportError, match="'astro_sic->astro_burst': sends the membrane of 'astro_sic'"):
        to_lava(network(SlowInwardCurrent()))
    with pytest.raises(ExportError, match="node 'astro_burst': its core is 'loihi_joined'"):
        to_lava(network(SlowInwardCurrent(arithmetic="loihi")))


def test_lava_sends_the_spikes_of_three_stages():
    pytest.importorskip("lava")
    net = network(SlowInwardCurrent(stages=3, arithmetic="loihi"))
    found = verify(net, torch.from_numpy(poisson(80.0, 1)))
    assert found.spikes_differing == 0
    assert {node.name: node.spikes_lava for node in found.nodes}["astro_burst"] > 20


def test_nir_holds_the_floating_point_astrocyte_and_refuses_the_integer_one():
    pytest.importorskip("nir")
    from neurosim.exchange.nir import to_nir
    from tests.exchange.nir.reference import Interpreter

    spikes = poisson(20.0, 7)
    for stages in (4, 3):
        net = network(SlowInwardCurrent(stages=stages)).double()
        z, _ = net(torch.from_numpy(spikes).double())
        sent = Interpreter(to_nir(net), 1e-3).run({"input": spikes[:, 0].astype(float)})["output"]
        assert z.sum() > 30 and np.array_equal(sent, z[:, 0].detach().numpy())
    with pytest.raises(ExportError, match="node 'astro_receiver': its core is 'loihi', which NIR has no primitive for"):
        to_nir(network(SlowInwardCurrent(arithmetic="loihi")))


def test_choices_are_checked():
    with pytest.raises(InputError, match=r"the decays of Loihi are for steps of 0\.001 s; got dt=0\.0005"):
        SlowInwardCurrent(arithmetic="loihi", dt=5e-4)
    with pytest.raises(InputError, match="stages 4 or 3; got 'float' and 2"):
        SlowInwardCurrent(stages=2)
    with pytest.raises(InputError, match="size must be an integer from 1"):
        SlowInwardCurrent(size=0)
