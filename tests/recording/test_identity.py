"""What says whether a run that ended early is the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit import Current, FixedInDegree, FromTable, Normal, Poisson, SpikeTrain
from neurosim.plasticity import PairSTDP
from neurosim.recording.identity import digest_of


def wave(scale):
    return lambda t: scale * np.sin(t)


def network(
    rate=20.0, weight=1.0, tau=20e-3, start=1.0, seed=0, scale=1.0, post=3, step=2, delay=1e-3, core=None, trained=0.5
):
    spikes = ns.Events(step=[step], neuron=[0], T=9, dt=1e-3, shape=4)
    neurons = ns.LIF(tau_mem=tau, size=5, init=dict(v=Normal(0.0, start)), dt=1e-3) if core is None else core
    return ns.Network(
        {"noise": Poisson(rate, 4), "given": SpikeTrain(spikes), "drive": Current(wave(scale), 4), "n": neurons},
        [
            ns.Edge("noise", "n", ns.Drawn(FixedInDegree(2), weight=weight), delay=delay),
            ns.Edge("given", "n", ns.Drawn(FromTable({"pre": [1], "post": [post]}), weight=1.0)),
            ns.Edge("drive", "n", ns.Linear(4, 5).requires_grad_(False)),
            ns.Edge("n", "n", ns.synapses.Scale(trained), delay=1e-3),
        ],
        seed=seed,
    )


def fixed(**values):
    net = network(**values)
    with torch.no_grad():
        net["drive->n"][0].weight.fill_(0.25)
        if net["drive->n"][0].bias is not None:
            net["drive->n"][0].bias.fill_(0.5)
    return net


@pytest.mark.parametrize(
    "change",
    [
        dict(rate=20.0000001),
        dict(weight=1.5),
        dict(tau=20.0000001e-3),
        dict(start=2.0),
        dict(seed=1),
        dict(scale=2.0),
        dict(post=4),
        dict(step=3),
        dict(delay=2e-3),
        dict(trained=0.25),
    ],
)
def test_whatever_changes_the_results_changes_the_digest(change):
    assert digest_of(fixed()) == digest_of(fixed())
    assert digest_of(fixed(**change)) != digest_of(fixed())


def test_drawn_weights_that_were_changed_count():
    net = fixed()
    net["noise->n"][0].weight.data.mul_(2.0)
    assert digest_of(net) != digest_of(fixed())


def test_the_step_of_a_core_counts():
    def made(gain):
        @ns.core(parameters=dict(v_th=1.0), state=("v",))
        def neuron(i, v, *, v_th, spike, reset):
            u = 0.9 * v + gain * i
            return spike(u - v_th), reset(spike(u - v_th), u, to=0.0, by=v_th)

        return fixed(core=ns.layer(neuron)(size=5, dt=1e-3))

    assert digest_of(made(1.0)) == digest_of(made(1.0))
    assert digest_of(made(1.0)) != digest_of(made(2.0))


def test_data_state_and_rules_count(tmp_path):
    net, x = fixed(), torch.rand(9, 2, 3)
    other = x.clone()
    other[8, 1, 2] += 1e-6
    with h5py.File(tmp_path / "x.h5", "w") as file:
        stored = [file.create_dataset(name, data=values.numpy()) for name, values in (("a", x), ("b", other))]
        assert digest_of(stored[0]) == digest_of(stored[0]) != digest_of(stored[1])
    assert digest_of(x) != digest_of(other)
    first, second = (net.initial_state(batch=2, seed=seed) for seed in (1, 2))
    assert digest_of(first) == digest_of(net.initial_state(batch=2, seed=1)) != digest_of(second)
    moved = first._replace(in_flight={name: line + 1 for name, line in first.in_flight.items()})
    assert digest_of(moved) != digest_of(first)
    assert digest_of({"e": PairSTDP(a_plus=0.1)}) != digest_of({"e": PairSTDP(a_plus=0.2)})


@pytest.mark.parametrize("salt", ["1", "2"])
def test_the_digest_is_the_same_in_another_process(salt):
    root = Path(__file__).parents[2]
    program = "from tests.recording.test_identity import *; print(digest_of(fixed(), {'a': {1, 'b'}}))"
    environment = {**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == digest_of(fixed(), {"a": {1, "b"}}), done.stderr


class Scaled:
    def __init__(self, gain):
        self.gain = gain

    def trial(self, x):
        return self.gain * x


def calls_itself(first):
    def factorial(n):
        return first if n < 1 else n * factorial(n - 1)

    return factorial


def test_a_method_is_known_by_its_object():
    assert digest_of(Scaled(1.0).trial) == digest_of(Scaled(1.0).trial)
    assert digest_of(Scaled(1.0).trial) != digest_of(Scaled(2.0).trial)


def test_functions_and_objects_that_hold_themselves():
    assert digest_of(calls_itself(1)) == digest_of(calls_itself(1))
    assert digest_of(calls_itself(1)) != digest_of(calls_itself(2))
    own = Scaled(1.0)
    own.next = own
    assert digest_of(own) != digest_of(Scaled(1.0))


@pytest.mark.parametrize("kind", [np.float64, np.int64, lambda value: torch.tensor(value, dtype=torch.bfloat16)])
def test_a_closure_may_hold_any_number(kind):
    def trial(value):
        return lambda x: value * x

    assert digest_of(trial(kind(1))) == digest_of(trial(kind(1)))
    assert digest_of(trial(kind(1))) != digest_of(trial(kind(2)))


def test_tensors_of_other_layouts_and_cells_without_a_value():
    assert digest_of(torch.eye(2).to_sparse()) != digest_of(2 * torch.eye(2).to_sparse())
    assert len(digest_of(lambda: later)) == 64
    later = 1


def test_nested_lists_differ_by_their_lengths():
    assert digest_of([[1], 2]) != digest_of([[1, 2]])


def test_a_callable_object_is_known_by_its_code():
    first, second = (type("Trial", (), {"__call__": call}) for call in (lambda self, x: x, lambda self, x: 2 * x))
    assert digest_of(first()) != digest_of(second())
