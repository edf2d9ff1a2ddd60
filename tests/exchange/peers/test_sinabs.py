"""Every row of sinabs' in the table of conversions, beside the installed library and beside its equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.exchange.peers import ConversionError, from_sinabs
from tests.exchange.peers.rows import N, close, dyadic, grid, noise, same

sl = pytest.importorskip("sinabs.layers")
from sinabs.activation import MaxSpike, MembraneReset, MembraneSubtract, MultiSpike, SingleSpike  # noqa: E402

DT = 1e-3
ONCE: dict[str, Any] = dict(spike_fn=SingleSpike)
RESETS = {"zero": MembraneReset(), "subtract": MembraneSubtract(), "less": MembraneSubtract(0.5)}
# Time constants whose decays are 1/2 and 3/4 in double precision.
HALF, THREE_QUARTERS = (-1.0 / torch.tensor(a, dtype=torch.float64).log() for a in (0.5, 0.75))


def exact(layer: nn.Module, **decays: float) -> nn.Module:
    """Give a layer with ``train_alphas`` its decays to the last bit, in double precision."""
    layer = layer.double()
    with torch.no_grad():
        for name, value in decays.items():
            getattr(layer, f"alpha_{name}").fill_(value)
    return layer


def run(module: nn.Module, x: Tensor) -> Tensor:
    for layer in module.modules():
        if hasattr(layer, "reset_states"):
            layer.reset_states()
    with torch.no_grad():
        sent = module(x.transpose(0, 1))
    assert isinstance(sent, Tensor)
    return sent.transpose(0, 1)


def check(module: nn.Module, x: Tensor, at_least: int = 1000) -> ns.Network:
    net = from_sinabs([module], dt=DT, dtype=x.dtype, input_shape=N)
    same(net, x, run(module, x).to(x.dtype), at_least)
    return net


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("fires", [SingleSpike, MaxSpike(1)])
def test_iaf(fires, dtype, reset):
    check(sl.IAF(spike_fn=fires, reset_fn=RESETS[reset]).to(dtype), grid(dtype=dtype))


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("norm_input", [True, False])
def test_lif(norm_input, reset):
    layer = sl.LIF(10.0, **ONCE, reset_fn=RESETS[reset], norm_input=norm_input, train_alphas=True)
    check(exact(layer, mem=0.5), grid() * (2 if norm_input else 1))


@pytest.mark.parametrize("norm_input", [True, False])
def test_lif_with_a_synaptic_current(norm_input):
    layer = sl.LIF(10.0, 10.0, **ONCE, reset_fn=MembraneReset(), norm_input=norm_input, train_alphas=True)
    check(exact(layer, mem=0.5, syn=0.5), (grid() - 0.4) * (2 if norm_input else 1))


def test_lif_of_odd_numbers_but_for_rounding():
    x = noise(scale=5.0, shift=1.0)
    for layer in (
        sl.LIF(12.3, **ONCE),
        sl.LIF(torch.rand(N) * 10 + 3, spike_threshold=torch.rand(N) + 0.5, **ONCE, norm_input=False),
        sl.LIF(7.0, 3.0, **ONCE, reset_fn=MembraneSubtract(0.7)),
    ):
        layer = layer.double()
        net = from_sinabs([layer], dt=DT, input_shape=N)
        close(net, x, run(layer, x).double(), allowed=1)


def test_membranes():
    x = noise()
    for layer in (sl.ExpLeak(8.0), sl.ExpLeak(8.0, norm_input=True)):
        with torch.no_grad():
            v, _ = from_sinabs([layer.double()], dt=DT, input_shape=N)(x)
        torch.testing.assert_close(v, run(layer, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm_input", [True, False])
@pytest.mark.parametrize("tau_syn", [None, 4.0])
@pytest.mark.parametrize("reset", ["zero", "less"])
def test_alif(reset, tau_syn, norm_input):
    more = {} if tau_syn is None else {"tau_syn": torch.tensor(tau_syn)}
    layer = sl.ALIF(
        torch.tensor(6.0), torch.tensor(30.0), **more, **ONCE, reset_fn=RESETS[reset], norm_input=norm_input
    ).double()
    x = noise(scale=4.0, shift=2.0) * (1 if norm_input else 0.25)
    net = from_sinabs([layer], dt=DT, input_shape=N)
    same(net, x, run(layer, x).double())
    assert float(net.run(x, record=(f"{net.output}.a",)).recorded[f"{net.output}.a"].max()) > 2.0


@pytest.mark.parametrize("kind", ["IAFRecurrent", "LIFRecurrent", "ALIFRecurrent"])
def test_recurrent(kind):
    loop = dyadic(nn.Linear(N, N, bias=False), 1)
    with torch.no_grad():
        loop.weight.sub_(1 / 16)
    first = {"IAFRecurrent": (), "LIFRecurrent": (6.0,), "ALIFRecurrent": (torch.tensor(6.0), torch.tensor(30.0))}
    # A loop of sinabs runs in single precision only.
    layer = getattr(sl, kind)(*first[kind], rec_connect=loop, **ONCE, reset_fn=MembraneReset())
    x = (
        grid(dtype=torch.float32) if kind == "IAFRecurrent" else noise(scale=4.0, shift=1.0, dtype=torch.float32)
    )  # in which alone a net of sinabs runs
    check(layer, x)


def test_a_whole_net_of_squeezed_layers():
    x = (torch.rand(60, 2, 1, 8, 8) < 0.5).float()
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        sl.IAFSqueeze(batch_size=2, **ONCE),
        sl.SumPool2d(2),
        nn.Conv2d(4, 3, 2),
        sl.IAFSqueeze(batch_size=2, **ONCE, reset_fn=MembraneReset()),
        nn.Dropout2d(),
        nn.Flatten(),
        nn.Linear(12, 5),
        sl.LIFSqueeze(tau_mem=5.0, batch_size=2, **ONCE),
        nn.Linear(5, 3),
    )
    net = net.eval()
    with torch.no_grad():
        net[0].weight.mul_(3), net[7].weight.mul_(3)
        theirs = net(x.transpose(0, 1).flatten(0, 1)).unflatten(0, (2, 60)).transpose(0, 1)
        ours = from_sinabs(net, dt=DT, input_shape=(1, 8, 8))
        sent, _, values, *_ = ours.run(x, record=tuple(ours.neurons()))
    assert all(values[name].sum() > 50 for name in ("integrate_and_fire1", "integrate_and_fire2", "lif3"))
    torch.testing.assert_close(sent, theirs, rtol=1e-5, atol=1e-5)


def test_a_net_with_time_as_an_axis():
    x = (torch.rand(60, 2, 1, 8, 8) < 0.5).float()
    net = nn.Sequential(
        sl.Repeat(nn.Sequential(nn.Conv2d(1, 4, 3), nn.AvgPool2d(2))),
        sl.IAF(**ONCE),
        nn.Flatten(2),
        nn.Linear(36, 8),
        sl.LIF(4.0, **ONCE),
        sl.FlattenTime(),
        nn.BatchNorm1d(8),
        sl.UnflattenTime(2),
        sl.ExpLeak(3.0),
    )
    net = net.eval()
    with torch.no_grad():
        net[0].module[0].weight.mul_(3)
        ours = from_sinabs(net, dt=DT, input_shape=(1, 8, 8))
        torch.testing.assert_close(ours(x)[0], run(net, x), rtol=1e-5, atol=1e-5)


def reference(x: Tensor, a: float, b: float, gain: float, threshold: float, subtract: bool) -> Tensor:
    """Return the spikes of LIF as its documentation states it: current, membrane, spike at >=, reset."""
    current, v, sent = torch.zeros_like(x[0]), torch.zeros_like(x[0]), []
    for i in x:
        current = b * (current + i)
        v = a * v + gain * current
        z = (v >= threshold).to(x)
        v = v - z * threshold if subtract else v * (1 - z)
        sent.append(z)
    return torch.stack(sent)


@pytest.mark.parametrize("subtract", [True, False])
def test_the_equations_of_the_documentation(subtract):
    reset = MembraneSubtract() if subtract else MembraneReset()
    layer = sl.LIF(10.0, 10.0, **ONCE, reset_fn=reset, train_alphas=True)
    x = (grid() - 0.4) * 2
    theirs = reference(x, 0.5, 0.5, 0.5, 1.0, subtract)
    same(from_sinabs([exact(layer, mem=0.5, syn=0.5)], dt=DT, input_shape=N), x, theirs)


REFUSED = {
    "several spikes": (lambda: sl.IAF(), r"layer '0' \(IAF\): spike_fn=MultiSpike may send several spikes in a step"),
    "two spikes": (lambda: sl.LIF(5.0, spike_fn=MaxSpike(2)), "may send several spikes in a step"),
    "lower bound": (lambda: sl.IAF(**ONCE, min_v_mem=-1.0), "min_v_mem=-1.0 bounds the membrane"),
    "reset to a value": (
        lambda: sl.IAF(**ONCE, reset_fn=MembraneReset(0.5)),
        "sinabs adds it to every membrane in every step",
    ),
    "own reset": (lambda: sl.IAF(**ONCE, reset_fn=lambda *values: values[1]), "reset_fn=<function"),
    "raised threshold": (
        lambda: sl.ALIF(torch.tensor(5.0), torch.tensor(9.0), **ONCE),
        "subtracts the raised threshold, which no reset",
    ),
    "bias in a loop": (
        lambda: sl.IAFRecurrent(nn.Linear(3, 3), **ONCE),
        "rec_connect has a bias, which sinabs adds from the second step on",
    ),
    "current without leak": (lambda: sl.IAF(**ONCE, tau_syn=4.0), "a decay of 1"),
    "maximum of sums": (lambda: sl.SpikingMaxPooling2dLayer(2), r"of sinabs only ALIF, ALIFRecurrent"),
    "no axis of time": (lambda: nn.Sequential(sl.IAF(**ONCE), nn.Conv2d(1, 1, 1)), r"takes the axes \[B, ...\]"),
    "both kinds": (
        lambda: nn.Sequential(sl.IAF(**ONCE), sl.IAFSqueeze(batch_size=1, **ONCE)),
        r"layer '0.1' \(IAFSqueeze\): reads \[B T, ...\], but the layers before it pass on \[B, T, ...\]",
    ),
    "a state in Repeat": (lambda: sl.Repeat(sl.IAF(**ONCE)), "has a state, but its container makes time part"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    make, message = REFUSED[name]
    with pytest.raises(ConversionError, match=message):
        from_sinabs([make()], dt=DT, input_shape=3)


def test_a_layer_that_stands_twice_is_refused():
    layer = sl.IAF(**ONCE)
    with pytest.raises(ConversionError, match=r"layer '2' \(IAF\): is the same object as layer '0'"):
        from_sinabs([layer, nn.Linear(3, 3), layer], dt=DT, input_shape=3)


def test_what_is_refused_would_differ():
    x = grid()
    several, once = sl.IAF(spike_fn=MultiSpike).double(), sl.IAF(**ONCE).double()
    assert int((run(several, x) != run(once, x)).sum()) > 100
    shifted = sl.IAF(**ONCE, reset_fn=MembraneReset(0.25)).double()
    plain = ns.IF(dt=DT, v_reset=0.25)
    assert int((plain(x)[0] != run(shifted, x)).sum()) > 100
