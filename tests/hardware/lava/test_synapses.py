"""Maps on an edge, exported, run on Lava and compared with the simulator; and what they are composed to."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosim as ns
from neurosim.hardware.lava import to_lava, verify
from neurosim.hardware.lava.edges import connections, projection_of, values_of
from neurosim.network.graph import Connection
from neurosim.synapses import DelayedLinear, RoundedDelays, Synapse
from neurosim.synapses.lowering import Convolution
from tests.hardware.lava.test_export import DT, LIMIT, SAMPLES, STEPS, is_exact, scaled

pytest.importorskip("lava.magma")


def edge(*maps: Synapse) -> Connection:
    return Connection("a->b", "a", "b", tuple(m.double() for m in maps), 0, 0.0, "i")


def applied(maps: tuple[Synapse, ...], x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        for synapse in maps:
            x = synapse.apply_step(x)
    return x


def test_lists_blocks_delays_and_pools_are_exact() -> None:
    torch.manual_seed(0)
    delays = RoundedDelays(
        torch.randn(25, 30), torch.randint(1, 5, (25, 30)), torch.rand(25) * 0.3, max_delay=5e-3, dt=DT
    )
    net = ns.Network(
        {
            "x": ns.Input((2, 7, 6)),
            "a": ns.LIF(dt=DT, r=3.0),
            "b": ns.LIF(dt=DT, r=3.0),
            "c": ns.CubaLIF(dt=DT, r=5.0),
            "d": ns.LIF(dt=DT, tau_mem=torch.rand(20) * 10e-3 + 5e-3, r=3.0),
        },
        [
            ns.Edge(
                "x", "a", (ns.AvgPool2d(2), ns.Conv2d(2, 3, 2), ns.SumPool2d((2, 1)), ns.Flatten(), ns.Linear(6, 30))
            ),
            ns.Edge("a", "a", ns.BlockLinear(30, 30, 3)),
            ns.Edge("a", "b", delays),
            ns.Edge("b", "c", ns.Sparse.random(25, 18, 0.3)),
            ns.Edge("c", "c", ns.Sparse.random(18, 18, 0.2), delay=3e-3),
            ns.Edge("x", "d", (ns.Conv2d(2, 1, 3), ns.Flatten())),
            ns.Edge("c", "d", (ns.Linear(18, 9, bias=True), ns.Linear(9, 20, bias=True))),
        ],
    )
    scaled(net, 4.0)
    x = (torch.rand(STEPS, SAMPLES, 2, 7, 6) < 0.4).float()
    graph = to_lava(net).graph
    assert {item.name for item in graph.sparse} == {"a->a", "b->c", "c->c", "x->d"}  # the last has to wait
    assert {item.name: item.delay.ndim for item in graph.dense} == {"x->a": 0, "a->b": 2, "c->d": 0}
    assert graph.conv == ()
    is_exact(verify(net, x, timeout=LIMIT), spikes=30)


def test_learned_delays_in_a_loop_are_exact_once_rounded() -> None:
    torch.manual_seed(1)
    loop = DelayedLinear(16, 16, 8e-3, dt=DT)

    def net(within: Synapse) -> ns.Network:
        neurons = ns.LIF(dt=DT, r=20.0)
        return ns.Sequential(ns.Linear(8, 16), ns.Recurrent(neurons, within), ns.Linear(16, 4), ns.LIF(dt=DT, r=200.0))

    learned, rounded = net(loop), net(loop.rounded())
    weights = {name: value for name, value in learned.state_dict().items() if "lif1->lif1" not in name}
    rounded.load_state_dict(weights, strict=False)
    x = (torch.rand(STEPS, SAMPLES, 8) < 0.3).float()
    with torch.no_grad():
        z = learned.eval()(x)[0]
        assert torch.equal(z, rounded(x)[0]) and 0.01 < z.mean() < 0.9
    is_exact(verify(rounded, x, timeout=LIMIT), spikes=20)


def test_pools_and_rows_of_channels_are_convolutions() -> None:
    torch.manual_seed(1)
    net = ns.Sequential(
        ns.Input((3, 13, 12)),
        ns.SumPool2d((3, 2), stride=(2, 1)),
        ns.LIF(dt=DT, r=4.0),
        ns.Conv2d(3, 4, 3, padding=1, bias=True),
        ns.AvgPool2d(2),
        ns.LIF(dt=DT),
        ns.SumPool2d((1, 2)),
        ns.Conv2d(4, 6, 2),
        ns.LIF(dt=DT, r=2.0),
        names=["pooled", "convolved", "out"],
    )
    scaled(net, 40.0)
    graph = to_lava(net).graph
    assert [item.name for item in graph.conv] == ["input->pooled", "pooled->convolved", "convolved->out"]
    is_exact(verify(net, (torch.rand(STEPS, SAMPLES, 3, 13, 12) < 0.2).float(), timeout=LIMIT), spikes=50)
    rows = ns.Sequential(
        ns.Input((2, 15)),
        ns.Conv1d(2, 4, 4, stride=2, padding=1, dilation=2, bias=True),
        ns.LIF(dt=DT, r=torch.rand(4, 6) + 4.0),
        ns.Conv1d(4, 3, 2),
        ns.Flatten(),
        ns.LIF(dt=DT, r=4.0),
        names=["a", "b"],
    )
    scaled(rows, 15.0)
    assert len(to_lava(rows).graph.conv) == 2
    is_exact(verify(rows, (torch.rand(STEPS, SAMPLES, 2, 15) < 0.4).float(), timeout=LIMIT), spikes=100)


@pytest.mark.parametrize("target", ["image", "flat"])
def test_a_convolution_that_has_to_wait_is_a_list_of_delayed_connections(target: str) -> None:
    torch.manual_seed(2)
    flat = () if target == "image" else (ns.Flatten(),)
    net = ns.Network(
        {"x": ns.Input((1, 5, 4)), "a": ns.LIF(dt=DT, r=3.0), "b": ns.LIF(dt=DT, r=2.0)},
        [
            ns.Edge("x", "a", ns.Conv2d(1, 2, 3, padding=1)),
            ns.Edge("a", "b", (ns.Conv2d(2, 2, 3, padding=1), *flat)),
            ns.Edge("x", "b", (ns.Conv2d(1, 2, 3, padding=1, bias=True), *flat), delay=1e-3),
        ],
    )
    scaled(net, 12.0)
    graph = to_lava(net).graph
    assert [(item.name, int(item.delay)) for item in graph.sparse] == [("x->b", 2)]
    is_exact(verify(net, (torch.rand(STEPS, SAMPLES, 1, 5, 4) < 0.4).float(), timeout=LIMIT), spikes=100)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_two_kernels_in_a_row_are_one_or_a_matrix(data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    def pool() -> Synapse:
        kernel = draw(1, 3)
        return data.draw(st.sampled_from((ns.SumPool2d, ns.AvgPool2d)))(
            kernel, stride=data.draw(st.sampled_from((None, 1, 2)))
        )

    def conv() -> Synapse:
        groups = draw(1, 2)
        sizes = dict(stride=(draw(1, 2), draw(1, 2)), padding=(draw(0, 2), draw(0, 1)), dilation=(1, draw(1, 2)))
        return ns.Conv2d(2, 2 * draw(1, 2), (draw(1, 3), 2), groups=groups, bias=draw(0, 1) == 1, **sizes)

    torch.manual_seed(draw(0, 99))
    maps = (pool(), conv()) if draw(0, 1) else (conv(), pool())
    shape = (2, draw(10, 12), draw(11, 13))
    joined = edge(*maps)
    x = torch.randn(3, *shape, dtype=torch.float64)
    wanted = applied(joined.synapses, x)
    projection = projection_of(joined, shape, tuple(wanted.shape[1:]))
    bias = 0.0 if projection.bias is None else torch.from_numpy(projection.bias)
    connectivity = projection.connectivity
    if not isinstance(connectivity, Convolution):
        assert any(getattr(joined.synapses[1], "padding", (0,)))  # only what reads beyond the border is no convolution
    computed = connectivity.apply(x).reshape(wanted.shape)
    torch.testing.assert_close(computed + bias, wanted, rtol=0, atol=1e-12)
    computed = connections(values_of(joined, shape), shape).apply(x).reshape(wanted.shape)
    torch.testing.assert_close(computed + bias, wanted, rtol=0, atol=1e-12)
