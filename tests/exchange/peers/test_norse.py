"""Every row of Norse's in the table of conversions, beside the installed library."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import neurosim as ns
from neurosim import cores
from neurosim.exchange.peers import ConversionError, from_norse, to_norse
from tests.exchange.peers.rows import N, close, dyadic, grid, noise, same

norse = pytest.importorskip("norse.torch")
DT = 1.0 / 1024  # with inverse time constants of powers of two a step is exact


def run(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    state, sent = None, []
    with torch.no_grad():
        for i in x:
            value, state = module(i, state)
            sent.append(value)
    return torch.stack(sent)


def tensor(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def box(dt: float = DT, **fields: float) -> nn.Module:
    given = {"tau_mem_inv": 512.0, **fields}
    method = {"reset_method": given.pop("reset_method")} if "reset_method" in given else {}
    return norse.LIFBoxCell(norse.LIFBoxParameters(**{k: tensor(v) for k, v in given.items()}, **method), dt=dt)


def cuba(kind: str = "LIFCell", dt: float = DT, **fields: float) -> Any:
    given = {"tau_mem_inv": 512.0, "tau_syn_inv": 512.0, "v_leak": 0.0, "v_th": 1.0, "v_reset": 0.0, **fields}
    return norse.LIFParameters(**{k: tensor(v) for k, v in given.items()})


@pytest.mark.parametrize("leak", [0.0, 0.25])
@pytest.mark.parametrize("v_reset", [0.0, -0.5])
def test_lif_box(leak, v_reset):
    layer, x = box(v_leak=leak, v_reset=v_reset), grid()
    same(from_norse([layer], input_shape=N, dtype=torch.float64), x, run(layer, x))


@pytest.mark.parametrize("leak", [0.0, 0.25])
def test_lif_box_with_reset_by_subtraction(leak):
    from norse.torch.functional.reset import reset_subtract

    layer, x = box(v_leak=leak, reset_method=reset_subtract), grid()
    net = from_norse([layer], input_shape=N, dtype=torch.float64)
    same(net, x, run(layer, x))
    assert net.nodes["lif1"].value("v_th") == 1.0 - leak and net.nodes["lif1"].value("reset_amount") == 1.0


def test_lif_box_of_odd_numbers_but_for_rounding():
    layer, x = box(dt=1e-3, tau_mem_inv=130.0, v_leak=0.1, v_th=0.7), noise(scale=4.0, shift=1.0)
    close(from_norse([layer], input_shape=N, dtype=torch.float64), x, run(layer, x), allowed=0)


@pytest.mark.parametrize("leak", [0.0, 0.25])
@pytest.mark.parametrize("v_reset", [0.0, -0.5])
def test_lif(leak, v_reset):
    layer, x = norse.LIFCell(cuba(v_leak=leak, v_reset=v_reset), dt=DT), grid()
    net = from_norse([layer], input_shape=N, dtype=torch.float64)
    same(net, x, run(layer, x))
    assert net.nodes["cubalif1"].value("r") == 1.0


def test_lif_over_time_and_lifted():
    layer, x = norse.LIF(cuba(), dt=DT), grid()
    with torch.no_grad():
        theirs, _ = layer(x)
    same(from_norse([layer], input_shape=N, dtype=torch.float64), x, theirs)
    lifted = from_norse([norse.Lift(norse.LIFCell(cuba(), dt=DT))], input_shape=N, dtype=torch.float64)
    same(lifted, x, theirs)


@pytest.mark.parametrize("v_reset", [0.0, 0.25])
def test_iaf(v_reset):
    layer = norse.IAFCell(norse.IAFParameters(v_th=tensor(1.0), v_reset=tensor(v_reset)), dt=DT)
    x = grid()
    same(from_norse([layer], input_shape=N, dtype=torch.float64), x, run(layer, x))


@pytest.mark.parametrize("leak", [0.0, 0.25])
def test_recurrent(leak):
    layer = norse.LIFRecurrentCell(8, N, p=cuba(v_leak=leak), dt=DT, autapses=True).double()
    dyadic(layer, 2)
    layer.recurrent_weights.data.sub_(1 / 4)  # else all fire all the time
    x = grid(8, -4, 8) * 2
    same(from_norse([layer]), x, run(layer, x))


def lsnn(**fields: float) -> Any:
    given = dict(tau_mem_inv=512.0, tau_syn_inv=512.0, tau_adapt_inv=128.0, v_leak=0.0, v_th=0.5, v_reset=0.0, beta=0.5)
    return norse.LSNNParameters(**{k: tensor(v) for k, v in {**given, **fields}.items()})


@pytest.mark.parametrize("leak", [0.0, 0.25])
@pytest.mark.parametrize("v_reset", [0.0, -0.5])
def test_lsnn(leak, v_reset):
    layer, x = norse.LSNNCell(lsnn(v_leak=leak, v_reset=v_reset, v_th=0.5 + leak), dt=DT), noise(shift=0.4)
    net = from_norse([layer], input_shape=N, dtype=torch.float64)
    same(net, x, run(layer, x))
    assert list(net.nodes) == ["input", "leaky_integrator1", "alif2"]
    with torch.no_grad():
        same(net, x, norse.LSNN(layer.p, dt=DT)(x)[0])
    adapted = float(net.run(x, record=("alif2.a",)).recorded["alif2.a"].max())
    assert adapted > 2.0, "the threshold was never raised by several spikes"


def test_lsnn_recurrent():
    layer = norse.LSNNRecurrentCell(8, N, p=lsnn(), dt=DT, autapses=True).double()
    dyadic(layer, 2)
    layer.recurrent_weights.data.sub_(1 / 2)
    x = noise(8, scale=2.0, shift=0.5)
    same(from_norse([layer]), x, run(layer, x))


def test_another_dt_is_the_same_step():
    layer, x = norse.LSNNCell(dt=1e-3), noise(scale=40.0)  # its default time constant of adaptation is 800 s
    net = from_norse([layer], dt=1e-5, input_shape=N, dtype=torch.float64)
    theirs = run(layer, x)
    assert net.dt == 1e-5
    same(net, x, theirs)


def test_linear_readout():
    layer = norse.LILinearCell(6, 4, dt=1e-3).double()
    x = noise(6)
    with torch.no_grad():
        torch.testing.assert_close(from_norse([layer])(x)[0], run(layer, x), rtol=1e-6, atol=1e-6)


def test_readouts_and_a_whole_net():
    net = norse.SequentialState(
        nn.Conv2d(1, 3, 3),
        norse.LIFCell(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(27, 12),
        norse.LIFBoxCell(),
        nn.Linear(12, 4),
        norse.LICell(),
    ).double()
    with torch.no_grad():
        net[0].weight.mul_(20)
        net[4].weight.mul_(20)
    x = (torch.rand(100, 2, 1, 8, 8) < 0.5).double()
    ours = from_norse(net, input_shape=(1, 8, 8))
    with torch.no_grad():
        v, _, values, *_ = ours.run(x, record=("cubalif1", "lif2"))
    assert (
        values["cubalif1"].sum() > 300
        and values["lif2"].sum() > 100
        and ours.neurons()[ours.output].core is cores.cuba_integrator
    )
    torch.testing.assert_close(v, run(net, x), rtol=1e-9, atol=1e-12)
    box_readout = norse.LIBoxCell(norse.LIBoxParameters(tau_mem_inv=tensor(60.0)), dt=1e-3)
    x = noise()
    torch.testing.assert_close(from_norse([box_readout], input_shape=N, dtype=torch.float64)(x)[0], run(box_readout, x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: [norse.LICell(norse.LIParameters(v_leak=torch.tensor(0.5)))],
            r"v_leak=0.5; the output would be shifted",
        ),
        (lambda: [norse.LIFAdExCell()], r"layer '0' \(LIFAdExCell\): of Norse only"),
        (lambda: [norse.LIFBoxCell(dt=1e-3), norse.LIFBoxCell(dt=2e-3)], r"all neurons must share one dt"),
        (lambda: [nn.Linear(3, 3)], r"all neurons must share one dt, and there must be some"),
        (lambda: [box(tau_mem_inv=2000.0)], r"a decay over a step must be in \[0, 1\)"),
        (lambda: [box(reset_method=max)], r"reset_method=max; only reset_value and reset_subtract"),
    ],
)
def test_refused_by_name(make, message):
    with pytest.raises(ConversionError, match=message):
        from_norse(make(), input_shape=3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ns.LIF(dt=DT, tau_mem=4e-3, r=3.0, v_reset=-0.2),
        lambda: ns.LIF(dt=DT, tau_mem=torch.rand(N) * 5e-3 + 2e-3, v_th=torch.rand(N) + 0.5, r=3.0),
        lambda: ns.LIF(dt=DT, tau_mem=4e-3, r=3.0, reset="subtract"),
        lambda: ns.IF(dt=DT, r=0.5),
        lambda: ns.CubaLIF(dt=DT, r=2.0, v_reset=0.1),
    ],
)
def test_out_and_the_same_spikes(make):
    net = ns.Sequential(ns.Linear(N, N, bias=True), make()).double()
    with torch.no_grad():
        net.edges[0].synapses[0].weight.mul_(3.0)
    x = noise(shift=0.6)
    same(net, x, run(to_norse(net), x), 500)
    same(from_norse(to_norse(net)), x, run(to_norse(net), x), 500)


def test_out_loops_and_readout():
    net = ns.Sequential(
        ns.Linear(N, N), ns.Recurrent(ns.CubaLIF(dt=DT, r=6.0), ns.Linear(N, N)), ns.Linear(N, 3), ns.LI(dt=DT, r=2.0)
    ).double()
    x = noise(scale=3.0, shift=0.5)
    with torch.no_grad():
        v, _, values, *_ = net.run(x, record=("cubalif1",))
    assert values["cubalif1"].sum() > 500
    torch.testing.assert_close(v, run(to_norse(net), x), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((ns.CubaLIF(dt=DT, reset="subtract"),), r"node 'n': reset='subtract'; Norse's LIFCell does not have that"),
        ((ns.LIF(dt=DT, reset="subtract", reset_amount=0.5),), r"node 'n': reset='subtract' of an amount of its own"),
        ((ns.IF(dt=DT, v_reset=0.5),), r"node 'n': v_reset=0.5; Norse's IAF starts at v_reset"),
        ((ns.ALIF(dt=DT),), r"node 'n': its core is 'alif', which Norse has no equivalent of"),
        ((ns.Recurrent(ns.LIF(dt=DT), ns.Linear(3, 3)),), r"node 'n': a loop; Norse has one only on a current-based"),
    ],
)
def test_out_refused_by_name(parts, message):
    with pytest.raises(ConversionError, match=message):
        to_norse(ns.Sequential(ns.Linear(4, 3), *parts, names=("n",)))
