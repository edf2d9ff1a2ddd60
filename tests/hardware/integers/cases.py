"""Networks of integers with every kind of connection and core that programs in integers are written for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import neurosim as ns
from neurosim import cores
from neurosim.hardware.loihi import loihi_neurons
from neurosim.network.layers import layer
from neurosim.synapses import DelayedSparse, Identity, RoundedDelays, Scale, SumPool2d, Synapse
from neurosim.synapses.shift import Shift

DT, STEPS, SAMPLES = 1e-3, 40, 2


def integers(shape: tuple[int, ...], low: int, high: int, seed: int = 0, step: int = 1) -> Tensor:
    """Return integers from `low` to `high`, multiples of `step`, in double precision."""
    drawn = torch.randint(low // step, high // step + 1, shape, generator=torch.Generator().manual_seed(seed))
    return (drawn * step).double()


def spikes(*shape: int, rate: float = 0.3, seed: int = 1) -> Tensor:
    """Return spikes [T, B, *shape]."""
    drawn = torch.rand(STEPS, SAMPLES, *shape, generator=torch.Generator().manual_seed(seed))
    return (drawn < rate).double()


def with_weight(synapse: Any, weight: Tensor) -> Any:
    """Return a synapse with these weights."""
    with torch.no_grad():
        synapse.double().weight.copy_(weight)
    return synapse


def linear(n_in: int, n_out: int, low: int = -60, high: int = 80, seed: int = 0, step: int = 1) -> Synapse:
    """Return all-to-all synapses of drawn integers."""
    synapse: Synapse = with_weight(ns.Linear(n_in, n_out), integers((n_out, n_in), low, high, seed, step))
    return synapse


def _one(chain: list[Synapse], neurons: Any, shape: tuple[int, ...]) -> ns.Network:
    return ns.Network({"in": ns.Input(shape), "out": neurons}, [ns.Edge("in", "out", chain)]).double()


def dense() -> ns.Network:
    return _one([linear(12, 9)], loihi_neurons(dt=DT, du=900, dv=300, v_th=100, size=9), (12,))


def even_weights() -> ns.Network:
    return _one([linear(12, 9, -256, 254, step=2)], loihi_neurons(dt=DT, dv=300, v_th=100, size=9), (12,))


def shifted() -> ns.Network:
    edges = [
        ns.Edge("in", "out", [linear(12, 9, seed=k), Shift(exponent)] if exponent else linear(12, 9), name=f"e{k}")
        for k, exponent in enumerate((-3, 2, 0, -1))
    ]
    nodes = {"in": ns.Input(12), "out": loihi_neurons(dt=DT, dv=100, v_th=200, bias_mant=-20, size=9)}
    return ns.Network(nodes, edges).double()


def values_of_each_neuron() -> ns.Network:
    numbers = dict(du=integers((9,), -1, 4095), dv=integers((9,), 0, 4096, 1), v_th=integers((9,), 1, 150, 2))
    neurons = loihi_neurons(dt=DT, bias_mant=integers((9,), -30, 60, 3), bias_exp=2, size=9, **numbers)  # type: ignore[arg-type]
    return _one([linear(12, 9)], neurons, (12,))


def convolution() -> ns.Network:
    conv = ns.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(2, 1), groups=2, bias=False)
    weight = integers((6, 2, 3, 2), -60, 90)
    return _one([with_weight(conv, weight)], loihi_neurons(dt=DT, dv=300, v_th=90), (4, 7, 5))


def one_axis() -> ns.Network:
    conv = ns.Conv1d(3, 4, 3, stride=2, padding=1, bias=False)
    return _one([with_weight(conv, integers((4, 3, 3), -60, 90))], loihi_neurons(dt=DT, dv=300, v_th=90), (3, 9))


def pooled() -> ns.Network:
    return _one([SumPool2d(2), ns.Flatten(), linear(18, 9)], loihi_neurons(dt=DT, dv=300, v_th=300, size=9), (2, 7, 6))


def overlapping_windows() -> ns.Network:
    conv = with_weight(ns.Conv2d(2, 3, 2, bias=False), integers((3, 2, 2, 2), -40, 60))
    return _one([SumPool2d(3, stride=2), conv], loihi_neurons(dt=DT, dv=300, v_th=300), (2, 9, 8))


def delayed_and_recurrent() -> ns.Network:
    delay = torch.randint(0, 12, (9, 12), generator=torch.Generator().manual_seed(5))
    pairs = torch.tensor([[0, 1, 2, 2, 8], [3, 3, 0, 0, 8]])
    sparse = DelayedSparse(9, 9, pairs, torch.tensor([1, 4, 2, 7, 3]), integers((5,), 10, 90), dt=DT)
    nodes = {
        "in": ns.Input(12),
        "hidden": loihi_neurons(dt=DT, du=1500, dv=200, v_th=120, size=9),
        "out": loihi_neurons(dt=DT, dv=150, v_th=150, size=4),
    }
    edges = [
        ns.Edge("in", "hidden", RoundedDelays(integers((9, 12), -40, 80), delay, dt=DT)),
        ns.Edge("hidden", "hidden", linear(9, 9, -90, 40, 7)),
        ns.Edge("hidden", "hidden", sparse, name="sparse"),
        ns.Edge("hidden", "out", linear(9, 4, seed=8), delay=3 * DT),
        ns.Edge("out", "hidden", linear(4, 9, seed=9), delay=2 * DT),
    ]
    return ns.Network(nodes, edges, output="out").double()


def skip() -> ns.Network:
    nodes = {
        "in": ns.Input(9),
        "first": loihi_neurons(dt=DT, dv=200, v_th=100, size=9),
        "second": loihi_neurons(dt=DT, dv=200, v_th=100, size=9),
    }
    edges = [
        ns.Edge("in", "first", linear(9, 9)),
        ns.Edge("first", "second", linear(9, 9, seed=3)),
        ns.Edge("in", "second", Scale(torch.tensor(70.0)), name="scaled"),
        ns.Edge("in", "second", Scale(integers((9,), -9, 70)), delay=DT, name="scaled each"),
        ns.Edge("first", "second", Identity(), delay=2 * DT, name="as it is"),
    ]
    return ns.Network(nodes, edges).double()


def sparse() -> ns.Network:
    pairs = torch.tensor([[0, 1, 8, 8, 3], [11, 0, 5, 5, 0]])
    weight = torch.tensor([900.0, 700, -64, 500, 65536], dtype=torch.float64)
    neurons = loihi_neurons(dt=DT, dv=300, v_th=1000, size=9)
    return _one([ns.Sparse(12, 9, pairs, weight)], neurons, (12,))


def refractory() -> ns.Network:
    return _one([linear(12, 9, -10, 80)], loihi_neurons(dt=DT, dv=300, v_th=100, refractory=4, size=9), (12,))


def read_out() -> ns.Network:
    nodes = {
        "in": ns.Input(12),
        "hidden": loihi_neurons(dt=DT, dv=300, v_th=100, size=9),
        "out": loihi_neurons(dt=DT, dv=50, v_th=None, unit=300.7, size=3),
    }
    edges = [ns.Edge("in", "hidden", linear(12, 9)), ns.Edge("hidden", "out", linear(9, 3, seed=4))]
    return ns.Network(nodes, edges).double()


def subtracted() -> ns.Network:
    neurons = layer(cores.loihi)(dt=DT, size=9, reset="subtract", du=2000.0, dv=300.0, v_th=60.0)
    return _one([linear(12, 9)], neurons, (12,))


def no_reset() -> ns.Network:
    return _one([linear(12, 9)], layer(cores.loihi)(dt=DT, size=9, reset=None, dv=900.0, v_th=60.0), (12,))


def joined() -> ns.Network:
    return _one([linear(12, 9, -6000, 8000)], layer(cores.loihi_joined)(dt=DT, size=9, dv=300.0, v_th=80.0), (12,))


def graded() -> ns.Network:
    nodes = {
        "in": ns.Input(12),
        "hidden": layer(cores.graded)(dt=DT, size=9, v_th=90.0),
        "more": layer(cores.graded_relu)(dt=DT, size=9, v_th=900.0),
        "out": loihi_neurons(dt=DT, dv=300, v_th=90000, size=4),
    }
    edges = [
        ns.Edge("in", "hidden", linear(12, 9)),
        ns.Edge("hidden", "more", linear(9, 9, seed=2)),
        ns.Edge("more", "out", linear(9, 4, seed=3)),
    ]
    return ns.Network(nodes, edges).double()


def beyond_the_register() -> ns.Network:
    """Return a network whose currents wrap around 24 and 32 bits, and whose voltages are clipped."""
    chain = [linear(12, 9, -(2**20), 2**20), Shift(4)]
    return _one(chain, loihi_neurons(dt=DT, du=0, dv=0, v_th=131071, bias_mant=4000, bias_exp=7, size=9), (12,))


def several_spikes() -> ns.Network:
    """Return neurons of Xylo, which send several spikes in a step and divide by their threshold."""
    xylo = layer(cores.xylo)
    nodes = {
        "in": ns.Input(12),
        "hidden": xylo(dt=DT, dash_mem=3.0, v_th=integers((9,), 200, 900), bias=5.0, size=9),
        "out": xylo(dt=DT, dash_syn=3.0, v_th=2000.0, most=1.0, size=4),
    }
    edges = [
        ns.Edge("in", "hidden", linear(12, 9, -900, 1800), port="i"),
        ns.Edge("hidden", "hidden", linear(9, 9, -400, 200, 5), port="i2"),
        ns.Edge("hidden", "out", linear(9, 4, -900, 900, 6), port="i"),
    ]
    return ns.Network(nodes, edges).double()


NETWORKS: dict[str, Callable[[], ns.Network]] = {
    each.__name__: each
    for each in (
        dense,
        even_weights,
        shifted,
        values_of_each_neuron,
        convolution,
        one_axis,
        pooled,
        overlapping_windows,
        delayed_and_recurrent,
        skip,
        sparse,
        refractory,
        read_out,
        subtracted,
        no_reset,
        joined,
        graded,
        several_spikes,
        beyond_the_register,
    )
}


def data(net: ns.Network) -> Tensor:
    """Return spikes for the one input of a network."""
    return spikes(*net.shape("in"))
