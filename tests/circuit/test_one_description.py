"""One circuit from a rule is trained, simulated by the engine and exported; a batch carries parameters and seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit import FixedInDegree, OneToOne, Poisson
from neurosim.compiler.llvm.jit import CompiledKernel

DT = 1e-3


def circuit():
    """20 inputs, 60 excitatory and 15 inhibitory neurons, 3 readouts; drawn synapses that learn."""
    cell = dict(tau_mem=10e-3, r=4.0, size=60)
    return ns.Network(
        dt=DT,
        seed=4,
        nodes={
            "x": ns.Input(20),
            "E": ns.LIF(**cell),
            "I": ns.LIF(**{**cell, "size": 15}),
            "out": ns.LIF(tau_mem=10e-3, size=3),
        },
        edges=[
            ns.Edge("x", "E", ns.Drawn(FixedInDegree(8, multapses="excluded"), weight=0.9, learn=True)),
            ns.Edge("E", "I", ns.Drawn(FixedInDegree(12, multapses="excluded"), weight=0.2, learn=True), delay=2 * DT),
            ns.Edge("I", "E", ns.Drawn(FixedInDegree(5, multapses="excluded"), weight=-0.3, learn=True), delay=DT),
            ns.Edge("E", "out", ns.Drawn(FixedInDegree(30, multapses="excluded"), weight=0.3, learn=True)),
        ],
        output="out",
    )


def test_a_circuit_from_a_rule_is_trained_simulated_and_exported():
    torch.manual_seed(0)
    net = circuit()
    labels = torch.arange(24) % 3
    x = (torch.rand(40, 24, 20) < 0.02 + 0.2 * (torch.arange(20) % 3 == labels[:, None])).float()
    before = ns.evaluate(net, [(x, labels)], ns.RateCrossEntropy())
    signs = {name: torch.sign(p.detach()) for name, p in net.named_parameters()}
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    ns.fit(
        net, [(x, labels)], epochs=15, loss=ns.RateCrossEntropy(), optimizer=optimizer, keep_signs=True, progress=False
    )
    after = ns.evaluate(net, [(x, labels)], ns.RateCrossEntropy())
    assert after["loss"] < 0.8 * before["loss"]
    for name, p in net.named_parameters():
        assert not (torch.sign(p.detach()) * signs[name] < 0).any(), name

    # The raster of `simulate` is that of training.
    with torch.no_grad():
        z, _ = net(x)
    run = ns.simulate(net, x, record=["out", "E", "I"])
    assert run.engine == "circuit"
    assert torch.equal(run.spikes["out"].to_grid(), z)
    assert len(run.spikes["E"]) > 100
    assert len(run.spikes["I"]) > 10


def test_r10_one_compilation_serves_a_hundred_parameters_and_a_trial_is_the_same_alone():
    def net(tau, g):
        return ns.Network(
            {"x": Poisson(6000.0, 80), "E": ns.LIF(dt=1e-4, size=80, r=200.0, tau_mem=tau, v_th=g)},
            [
                ns.Edge("x", "E", ns.Drawn(OneToOne(), weight=0.25)),
                ns.Edge("E", "E", ns.Drawn(FixedInDegree(10), weight=0.1, delay=5e-4)),
            ],
        )

    def raster(run, trial=0):
        own = run.spikes["E"].samples(trial)
        return own.step.tolist(), own.neuron.tolist()

    rng = np.random.default_rng(0)
    taus, thresholds = rng.uniform(5e-3, 30e-3, 100), rng.uniform(0.8, 1.5, 100)
    alone = [raster(ns.simulate(net(taus[0], thresholds[0]), steps=200, seed=9, trials=[0]))]
    compiled = CompiledKernel.number_compiled
    alone += [
        raster(ns.simulate(net(tau, g), steps=200, seed=9, trials=[k]))
        for k, (tau, g) in enumerate(zip(taus[1:], thresholds[1:], strict=True), start=1)
    ]
    assert CompiledKernel.number_compiled == compiled
    assert len({len(step) for step, _ in alone}) > 20
    columns = (torch.tensor(values)[:, None] for values in (taus, thresholds))
    batch = ns.simulate(net(*columns), steps=200, seed=9, batch=100)
    assert batch.engine == "circuit"
    assert [raster(batch, k) for k in range(100)] == alone


def test_a_circuit_from_a_rule_is_the_same_in_nir():
    nir = pytest.importorskip("nir")
    from neurosim.exchange.nir import from_nir, to_nir

    net, x = circuit(), spikes()
    graph = to_nir(net)
    assert isinstance(graph, nir.NIRGraph)
    wanted, found = net(x)[0], from_nir(graph, dt=DT)(x)[0]
    assert wanted.any()
    assert torch.equal(found, wanted)


def test_a_circuit_from_a_rule_runs_in_integers_on_lava():
    pytest.importorskip("lava.magma")
    from neurosim.hardware.lava import verify
    from neurosim.hardware.quantise import quantise

    integers, x = quantise(circuit(), spikes()).net, spikes()
    found = verify(integers, x)
    assert found.spikes_differing == 0, found.summary()
    assert found.spikes > 0
    assert integers(x)[0].any()


def spikes():
    return (torch.rand(30, 1, 20, generator=torch.Generator().manual_seed(1)) < 0.2).float()
