"""Every row of snnTorch's in the table of conversions, beside the installed library."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import neurosim as ns
from neurosim.exchange.peers import ConversionError, from_snntorch, to_snntorch
from neurosim.synapses import Unflatten
from tests.exchange.peers.rows import BATCH, N, close, dyadic, grid, noise, same

snn = pytest.importorskip("snntorch")
DT = 1e-3


def run(layers, x: torch.Tensor) -> torch.Tensor:
    """Step snnTorch's layers, state handed from call to call; the last one's spikes."""
    states: dict[int, tuple[torch.Tensor, ...]] = {}
    sent = []
    with torch.no_grad():
        for value in x:
            for k, layer in enumerate(layers):
                if not hasattr(layer, "reset_mechanism"):
                    value = layer(value)
                    continue
                if k not in states:
                    count = {  # states
                        "Leaky": 1,
                        "RLeaky": 2,
                        "Synaptic": 2,
                        "RSynaptic": 3,
                        "Lapicque": 1,
                        "Alpha": 3,
                    }[type(layer).__name__]
                    states[k] = (torch.zeros_like(value),) * count
                value, *after = layer(value, *states[k])
                value = value.to(x.dtype)  # its spikes are in single precision, whatever the rest is in
                states[k] = (value, *after) if type(layer).__name__.startswith("R") else tuple(after)
            sent.append(value)
    return torch.stack(sent)


def check(theirs: nn.Module, x: torch.Tensor, **more) -> ns.Network:
    kept = copy.deepcopy(theirs.state_dict())
    net = from_snntorch([theirs] if not isinstance(theirs, nn.Sequential) else theirs, dt=DT, **more)
    same(net, x, run(theirs if isinstance(theirs, nn.Sequential) else [theirs], x))
    assert all(torch.equal(value, kept[name]) for name, value in theirs.state_dict().items())
    return net


OWN = {
    "shared": (0.5, 1.0),
    "each its own": (torch.tensor([0.25, 0.5, 0.75, 0.875]).repeat(8), torch.linspace(0.5, 2.0, N)),
}


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mechanism", ["zero", "subtract", "none"])
def test_leaky(mechanism, dtype, own):
    beta, threshold = OWN[own]
    if mechanism == "subtract" and own != "shared":
        beta = beta.masked_fill(beta > 0.5, 0.5)  # v_th / beta is dyadic then
        threshold = torch.tensor([0.5, 1.0, 1.5, 2.0]).repeat(8)
    layer = snn.Leaky(beta=beta, threshold=threshold, reset_mechanism=mechanism).to(dtype)
    net = check(layer, grid(dtype=dtype) - (0.5 if mechanism == "none" else 0.0), input_shape=N)
    assert net.nodes["lif1"].reset == {"zero": "value", "subtract": "subtract", "none": None}[mechanism]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leaky_of_odd_numbers_bit_for_bit(dtype):
    for mechanism in ("zero", "none"):
        layer = snn.Leaky(beta=0.93, threshold=torch.rand(N) + 0.5, reset_mechanism=mechanism).to(dtype)
        x = noise(dtype=dtype)
        net = check(layer, x, input_shape=N)
        values = net.run(x, record=("lif1.u",)).recorded
        mem, theirs = torch.zeros(BATCH, N, dtype=dtype), []
        for i in x:
            _, mem = layer(i, mem)
            theirs.append(mem)
        assert torch.equal(values["lif1.u"], torch.stack(theirs))


def test_leaky_each_of_odd_numbers_but_for_rounding():
    layer = snn.Leaky(beta=torch.rand(N) * 0.7 + 0.25, threshold=torch.rand(N) + 0.5, reset_mechanism="zero")
    x = noise(dtype=torch.float32)
    close(from_snntorch([layer], dt=DT, input_shape=N), x, run([layer], x), allowed=1)
    decay = from_snntorch([layer], dt=DT, input_shape=N).nodes["lif1"].decay("tau_mem")
    assert torch.equal(decay.float(), layer.beta)


def test_leaky_reset_at_once():
    check(snn.Leaky(beta=0.5, reset_mechanism="zero", reset_delay=False).double(), grid(), input_shape=N)


def test_leaky_without_leak():
    net = check(snn.Leaky(beta=1.0, threshold=2.0).double(), grid(), input_shape=N)
    assert net.nodes["integrate_and_fire1"].value("reset_amount") == 2.0


@pytest.mark.parametrize(("mechanism", "delay"), [("zero", False), ("subtract", True), ("none", True)])
def test_synaptic(mechanism, delay):
    layer = snn.Synaptic(alpha=0.5, beta=0.5, threshold=2.0, reset_mechanism=mechanism, reset_delay=delay).double()
    check(layer, grid() - 0.4, input_shape=N)
    each = snn.Synaptic(
        alpha=torch.rand(N) * 0.8 + 0.1, beta=torch.rand(N) * 0.6 + 0.3, reset_mechanism=mechanism, reset_delay=delay
    ).double()
    if mechanism != "subtract":
        check(each, noise(shift=0.0, scale=0.5), input_shape=N)


@pytest.mark.parametrize("mechanism", ["subtract", "none"])
def test_lapicque(mechanism):
    layer = snn.Lapicque(R=2.0, C=2.0, time_step=1, threshold=0.75, reset_mechanism=mechanism).double()
    net = check(layer, grid(), input_shape=N)
    assert net.nodes["lif1"].decay("tau_mem") == 0.75  # 1 - 1 / (R C), not the beta that it states
    x = noise(scale=8.0)
    for odd in (snn.Lapicque(beta=0.9, reset_mechanism=mechanism), snn.Lapicque(0.8, R=5.0, reset_mechanism=mechanism)):
        odd = odd.double()
        close(from_snntorch([odd], dt=DT, input_shape=N), x, run([odd], x), allowed=2)


def test_alpha_without_reset():
    layer, x = snn.Alpha(alpha=0.75, beta=0.5, threshold=0.25, reset_mechanism="none").double(), noise(shift=0.1)
    net = from_snntorch([layer], dt=DT, input_shape=N)
    same(net, x, run([layer], x))
    values = net.run(x, record=("cubalif2.u",)).recorded
    states, theirs = (torch.zeros(BATCH, N, dtype=torch.float64),) * 3, []
    with torch.no_grad():
        for i in x:
            _, *states = layer(i, *states)
            theirs.append(states[2])
    torch.testing.assert_close(values["cubalif2.u"], torch.stack(theirs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("mechanism", "delay"), [("zero", False), ("subtract", True), ("none", True)])
@pytest.mark.parametrize("name", ["RLeaky", "RSynaptic"])
@pytest.mark.parametrize("loop", ["linear", "one to one", "V shared", "convolution"])
def test_recurrent(name, mechanism, delay, loop):
    more = {} if name == "RLeaky" else {"alpha": 0.5}
    how = {
        "linear": dict(linear_features=N),
        "one to one": dict(all_to_all=False, V=torch.randint(-4, 5, (N,)) / 4),
        "V shared": dict(all_to_all=False, V=0.25),
        "convolution": dict(conv2d_channels=2, kernel_size=3),
    }[loop]
    layer = getattr(snn, name)(
        beta=0.5, threshold=2.0, reset_mechanism=mechanism, reset_delay=delay, **more, **how
    ).double()
    x = grid(low=-5, high=8)
    if name == "RSynaptic" and mechanism == "zero":
        with pytest.raises(ConversionError, match="uses the spike of the step before"):
            from_snntorch([layer], dt=DT, input_shape=N)
        return
    if loop in ("linear", "convolution"):
        dyadic(layer.recurrent, 2 if loop == "convolution" else 1)
    shape: tuple[int, ...] = (N,)
    at_least = 1000
    if loop == "convolution":
        x, shape, at_least = x[:80].unflatten(2, (2, 4, 4)), (2, 4, 4), 200
    net = from_snntorch([layer], dt=DT, input_shape=shape)
    same(net, x, run([layer], x), at_least)


def test_a_whole_net_with_convolution_pooling_and_normalisation():
    norm = nn.BatchNorm2d(4)
    norm.running_mean.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
    net = (
        nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1),
            norm,
            snn.Leaky(beta=0.75, reset_mechanism="zero"),
            nn.MaxPool2d(2),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(16, 10),
            snn.RSynaptic(alpha=0.5, beta=0.5, linear_features=10),
            nn.Linear(10, 4, bias=False),
        )
        .double()
        .eval()
    )
    with torch.no_grad():
        net[6].weight.mul_(5)
        net[0].weight.mul_(4)
    x = (torch.rand(100, BATCH, 1, 8, 8) < 0.5).double()
    ours = from_snntorch(net, dt=DT, input_shape=(1, 8, 8))
    theirs = run(net, x)
    with torch.no_grad():
        sent, _, values, *_ = ours.run(x, record=("cubalif2",))
    assert values["cubalif2"].sum() > 200
    torch.testing.assert_close(sent, theirs, rtol=1e-12, atol=1e-12)


REFUSED = {
    "Leaky, subtract at once": (lambda: snn.Leaky(0.9, reset_delay=False), r"layer '0' \(Leaky\): subtracts at once"),
    "Synaptic, zero late": (
        lambda: snn.Synaptic(0.5, 0.9, reset_mechanism="zero"),
        r"layer '0' \(Synaptic\): loses the input of the step after a spike .* Use reset_delay=False",
    ),
    "Synaptic, subtract at once": (lambda: snn.Synaptic(0.5, 0.9, reset_delay=False), r"subtracts at once"),
    "RLeaky, zero late": (lambda: snn.RLeaky(0.9, linear_features=3, reset_mechanism="zero"), r"loses the input"),
    "graded": (
        lambda: snn.Leaky(0.9, graded_spikes_factor=2.0),
        r"graded_spikes_factor=2.0; spikes of neurosim are 0 or 1",
    ),
    "quantised": (lambda: snn.Leaky(0.9, state_quant=lambda x: x), r"state_quant is set"),
    "LSTM": (lambda: snn.SLSTM(3, 3), r"layer '0' \(SLSTM\): of snnTorch only Leaky, RLeaky, Synaptic, RSynaptic"),
    "Lapicque, zero": (
        lambda: snn.Lapicque(beta=0.9, reset_mechanism="zero"),
        r"layer '0' \(Lapicque\): loses the input of the step after a spike",
    ),
    "Alpha with a reset": (lambda: snn.Alpha(0.9, 0.8), r"layer '0' \(Alpha\): its reset 'zero' sets its currents too"),
    "no leak behind a current": (lambda: snn.Synaptic(0.5, 1.0), r"a decay of 1 \(no leak\) beside a synaptic current"),
    "beta 0": (lambda: snn.Leaky(0.0), r"beta=0 with a reset by subtraction"),
    "a module of one's own": (
        lambda: nn.GRUCell(3, 3),
        r"layer '0' \(GRUCell\): is no layer of torch or snnTorch that is converted",
    ),
    "normalisation in training": (lambda: nn.BatchNorm1d(3), r"BatchNorm1d\): is in training"),
    "dilation of pooling": (
        lambda: nn.MaxPool2d(2, dilation=2),
        r"MaxPool2d\): dilation=2; pooling of neurosim has no such setting",
    ),
    "reflected padding": (lambda: nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), r"padding_mode='reflect'"),
    "flatten from 2": (lambda: nn.Flatten(2), r"flattens axes 2 to -1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    make, message = REFUSED[name]
    with pytest.raises(ConversionError, match=message):
        from_snntorch([make()], dt=DT, input_shape=3)


@pytest.mark.parametrize(
    ("late", "once"),
    [
        (lambda: snn.Synaptic(0.8, 0.9, reset_mechanism="zero"), dict(reset="value")),
        (lambda: snn.Leaky(0.9, reset_delay=False), dict(reset="subtract")),
        (lambda: snn.Leaky(0.9), dict(reset="subtract")),
    ],
)
def test_what_is_refused_or_corrected_would_differ(late, once):
    layer, x = late().double(), noise(scale=0.7, shift=0.6)
    make = ns.CubaLIF if "Synaptic" in repr(layer) else ns.LIF
    tau = {"tau_syn": -DT / torch.tensor(0.8).log().item()} if make is ns.CubaLIF else {}
    plain = make(tau_mem=-DT / torch.tensor(0.9).log().item(), r=10.0, dt=DT, **tau, **once)
    assert int((plain(x)[0] != run([layer], x)).sum()) > 100


def test_the_shape_of_the_input_must_be_known():
    with pytest.raises(ConversionError, match="the shape of the input is not known, because no Linear is first"):
        from_snntorch([snn.Leaky(0.5)], dt=DT)


def stepped(module: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    for layer in module:
        if hasattr(layer, "reset_mem"):
            layer.reset_mem()
    with torch.no_grad():
        return torch.stack([module(i)[0] for i in x])


@pytest.mark.parametrize(
    "make",
    [
        lambda: ns.LIF(dt=DT, tau_mem=2e-3, r=3.0),
        lambda: ns.LIF(dt=DT, tau_mem=torch.rand(N) * 5e-3 + 1e-3, v_th=torch.rand(N) + 0.5, r=3.0),
        lambda: ns.LIF(dt=DT, tau_mem=2e-3, v_th=2.0, reset=None),
        lambda: ns.IF(dt=DT, r=0.5),
        lambda: ns.CubaLIF(dt=DT, r=2.0),
    ],
)
def test_out_and_the_same_spikes(make):
    net = ns.Sequential(ns.Linear(N, N, bias=True), make()).double()
    with torch.no_grad():
        net.edges[0].synapses[0].weight.mul_(3.0)
    x = noise(shift=0.6)
    same(net, x, stepped(to_snntorch(net), x), 500)


def test_out_a_threshold_below_zero_without_reset():
    net = ns.Sequential(ns.Linear(N, N), ns.LIF(dt=DT, r=3.0, v_th=-0.2, reset=None)).double()
    x = noise(shift=-0.5)
    same(net, x, stepped(to_snntorch(net), x), 500)
    same(from_snntorch(to_snntorch(net), dt=DT), x, stepped(to_snntorch(net), x), 500)


def test_out_and_back_images():
    net = ns.Sequential(
        ns.Linear(N, 32, bias=True),
        Unflatten((2, 4, 4)),
        ns.Conv2d(2, 3, 3, bias=True),
        ns.SumPool2d(2),
        ns.Flatten(),
        ns.LIF(dt=DT, tau_mem=3e-3, r=9.0),
    )
    x = noise(scale=3.0, dtype=torch.float32)
    theirs = to_snntorch(net)
    same(net, x, stepped(theirs, x), 100)
    back = from_snntorch(theirs, dt=DT)
    assert [type(s).__name__ for s in back.edges[0].synapses] == [
        "Linear",
        "Unflatten",
        "Conv2d",
        "SumPool2d",
        "Flatten",
    ]
    same(back, x, stepped(theirs, x), 100)


def test_out_and_back_the_default_of_snntorch():
    theirs = nn.Sequential(nn.Linear(N, N), snn.Leaky(beta=0.75)).double()
    net = from_snntorch(theirs, dt=DT)
    out = to_snntorch(net)
    assert out[1].reset_mechanism == "subtract" and out[1].reset_delay and out[1].beta.item() == 0.75
    x = noise(scale=3.0)
    assert torch.equal(stepped(out, x), run(theirs, x))


def test_out_loops_and_readout():
    net = ns.Sequential(
        ns.Linear(N, N),
        ns.Recurrent(ns.LIF(dt=DT, r=4.0), ns.Linear(N, N, bias=True)),
        ns.Linear(N, 3),
        ns.LI(dt=DT, r=2.0),
    )
    x = noise(scale=3.0, shift=0.5, dtype=torch.float32)  # in which alone snnTorch runs layer after layer
    out = to_snntorch(net)
    for layer in out:
        if hasattr(layer, "reset_mem"):
            layer.reset_mem()
    with torch.no_grad():
        v, _, values, *_ = net.run(x, record=("lif1",))
        theirs = torch.stack([out(i)[1] for i in x])
    assert values["lif1"].sum() > 300
    torch.testing.assert_close(v, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ns.LIF(dt=DT, v_reset=0.3), r"node 'n': v_reset=0.3; snnTorch resets to 0"),
        (lambda: ns.LIF(dt=DT, v_th=-0.2), r"node 'n': v_th=-0.2 with a reset; snnTorch resets neurons at rest"),
        (lambda: ns.LIF(dt=DT, v_th=torch.tensor([1.0, -0.2, 0.5])), r"node 'n': v_th=-0.2 to 1 with a reset"),
        (
            lambda: ns.LIF(dt=DT, reset="subtract"),
            r"node 'n': its reset subtracts 1.0; snnTorch's subtracts v_th / decay",
        ),
        (lambda: ns.ALIF(dt=DT), r"node 'n': its core is 'alif', which snnTorch has no exact equivalent of"),
    ],
)
def test_out_refused_by_name(make, message):
    with pytest.raises(ConversionError, match=message):
        to_snntorch(ns.Sequential(ns.Linear(4, 3), make(), names=("n",)))


def test_out_a_network_that_is_no_row():
    net = ns.Network(
        {"i": ns.Input(3), "a": ns.LIF(dt=DT), "b": ns.LIF(dt=DT)},
        [ns.Edge("i", "a", ns.Linear(3, 3)), ns.Edge("a", "b", ns.Linear(3, 3)), ns.Edge("i", "b", ns.Linear(3, 3))],
    )
    with pytest.raises(ConversionError, match=r"node 'b': snnTorch takes a sequence of layers"):
        to_snntorch(net)
    late = ns.Network({"i": ns.Input(3), "a": ns.LIF(dt=DT)}, [ns.Edge("i", "a", ns.Linear(3, 3), delay=2e-3)])
    with pytest.raises(ConversionError, match=r"edge 'i->a': a delay of 0.002 s"):
        to_snntorch(late)
