"""Loihi's neuron: whole-number arithmetic against Python's own, kernels against the step, what the door refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim import cores, language
from neurosim.errors import InputError, UnitError
from neurosim.hardware.loihi import loihi_neurons
from tests import battery

CORES = (cores.loihi, cores.loihi_refractory, cores.loihi_integrator)
DT = 1e-3


def decayed(x: int, kept: int) -> int:
    size = abs(x) * kept >> 12
    return size if x >= 0 else -size


def in_32_bits(x: int) -> int:
    return (x + 2**31) % 2**32 - 2**31


def by_hand(
    i: list[int], *, du: int, dv: int, v_th: int, bias: int, refractory: int = 1
) -> tuple[list[int], list[int], list[int]]:
    """Return spikes, currents and voltages in Python's integers, which have no end."""
    u = v = wait = 0
    found: tuple[list[int], list[int], list[int]] = ([], [], [])
    for current in i:
        u = in_32_bits(decayed(u, 4095 - du) + 64 * current)
        if u > 2**23:
            u -= 2**24
        elif u <= -(2**23):
            u += 2**24
        v = max(min(in_32_bits(decayed(v, 4096 - dv) + u + bias), 2**23 - 1), 1 - 2**23)
        v = 0 if wait else v
        z = int(v > 64 * v_th)
        v, wait = 0 if z else v, refractory - 1 if z else max(wait - 1, 0)
        for values, value in zip(found, (z, u, v), strict=True):
            values.append(value)
    return found


REGISTERS = [
    dict(du=1024, dv=128, v_th=80, bias=0),
    dict(du=-1, dv=0, v_th=131071, bias=-7),
    dict(du=4095, dv=4096, v_th=0, bias=3),
    dict(du=0, dv=1, v_th=20000, bias=-524288),
    dict(du=2000, dv=3000, v_th=500, bias=524160),
]


def drive(scale: float, steps: int = 200) -> Tensor:
    torch.manual_seed(0)
    return (torch.randn(steps, dtype=torch.float64) * scale).round()


@pytest.mark.parametrize("scale", [20.0, 3000.0, 1e5, 1e7, 1e11])
@pytest.mark.parametrize("registers", REGISTERS, ids=str)
@pytest.mark.parametrize("refractory", [1, 5])
def test_whole_numbers_of_python(registers: dict[str, int], scale: float, refractory: int) -> None:
    i = drive(scale)
    expected = by_hand([int(x) for x in i], **registers, refractory=refractory)
    changed = dict(registers)
    layer = loihi_neurons(dt=DT, bias_mant=changed.pop("bias") >> 7, bias_exp=7, refractory=refractory, **changed)
    if registers["bias"] % 128:
        layer = loihi_neurons(dt=DT, bias_mant=registers["bias"], refractory=refractory, **changed)
    z, _, values, *_ = layer.run(i.reshape(-1, 1, 1), None, ("u", "v"))
    for found, wanted in zip((z, values["u"], values["v"]), expected, strict=True):
        assert [int(x) for x in found.flatten()] == wanted
    if scale < 1e5:
        narrow, _, values, *_ = layer.run(i.float().reshape(-1, 1, 1), None, ("u", "v"))
        for found, wanted in zip((narrow, values["u"], values["v"]), expected, strict=True):
            assert [int(x) for x in found.flatten()] == wanted


def test_the_extremes_were_met() -> None:
    _, u, v = by_hand([int(x) for x in drive(1e7)], **REGISTERS[1])
    assert max(u) > 2**23 and min(v) == 1 - 2**23


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_current_wraps_above_its_top_and_at_its_bottom(dtype: torch.dtype) -> None:
    layer = loihi_neurons(dt=DT, du=-1, v_th=131071)
    i = torch.tensor([2.0**17, 1.0, -1.0, -(2.0**17), -(2.0**17), -1.0], dtype=dtype)
    values = layer.run(i.reshape(-1, 1, 1), None, ("u",)).recorded
    top = 2**23
    wanted = [top, 64 - top, top, 0, top, top - 64]
    assert values["u"].flatten().tolist() == wanted == by_hand([int(x) for x in i], du=-1, dv=0, v_th=131071, bias=0)[1]


def test_single_precision_at_its_limit() -> None:
    """The largest current that is allowed, onto the largest current there is, and a voltage at its ends."""
    layer = loihi_neurons(dt=DT, du=-1, dv=0, v_th=131071, bias_mant=-4096, bias_exp=7)
    for sign in (1.0, -1.0):
        i = sign * torch.full((40, 1, 1), 2.0**17, dtype=torch.float64)
        wide, narrow = layer(i), layer(i.float())
        assert torch.equal(wide[0], narrow[0].double())
        assert all(torch.equal(a, b.double()) for a, b in zip(wide[1], narrow[1], strict=True))


@pytest.mark.parametrize(
    ("i", "message"),
    [
        (torch.full((2, 1, 1), 131073.0), "up to 131072 torch.float32 holds all exactly: use net.double"),
        (torch.full((2, 1, 1), 2.0**50, dtype=torch.float64), "use smaller weights"),
        (torch.full((2, 1, 1), 0.5), "must hold integers; got 0.5"),
        (torch.full((2, 1, 1), float("nan")), "must hold integers; got nan"),
        (torch.full((2, 1, 1), 1.0, dtype=torch.float16), "cannot hold its integers"),
    ],
)
def test_currents_are_looked_at(i: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        loihi_neurons(dt=DT)(i)


def test_weights_are_looked_at_where_the_current_is_not_written_down() -> None:
    net = ns.Sequential(ns.Linear(600, 3), loihi_neurons(dt=DT, v_th=1), names=["out"])
    weight = net.edges[0].synapses[0].weight
    x = torch.zeros(4, 1, 600)
    with pytest.raises(InputError, match="weight must hold integers"):
        net(x)
    with torch.no_grad():
        weight.fill_(256.0)
    x[0, 0, 0] = 1.0
    with pytest.raises(InputError, match="could be 153600"):
        net(x)
    assert net.double()(x.double())[0].shape == (4, 1, 3)
    with torch.no_grad():
        weight.fill_(2.0)
    with pytest.raises(InputError, match="x must hold integers"):
        net(x.double() / 2)
    assert net.float()(x)[0].sum() == 3


def test_loops_are_looked_at() -> None:
    nodes = {"in": ns.Input(2), "pool": loihi_neurons(dt=DT)}
    net = ns.Network(nodes, [ns.Edge("in", "pool", ns.Linear(2, 600)), ns.Edge("pool", "pool", ns.Linear(600, 600))])
    into, loop = (edge.synapses[0].weight for edge in net.edges)
    with torch.no_grad():
        into.fill_(100.0)
        loop.fill_(254.0)
    with pytest.raises(InputError, match=r"could be 152[0-9]{3}"):
        net(torch.ones(3, 1, 2))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (dict(du=4096), "du must be an integer from -1 to 4095; got 4096"),
        (dict(dv=-1), "dv must be an integer from 0 to 4096; got -1"),
        (dict(dv=0.5), "dv must be an integer"),
        (dict(v_th=131072), "v_th must be an integer from 0 to 131071"),
        (dict(v_th=torch.tensor([3.0, 3.5])), "v_th must be an integer from 0 to 131071; got 3.5"),
        (dict(refractory=65), "refractory must be an integer from 1 to 64"),
        (dict(bias_mant=4096), "bias_mant must be an integer from -4096 to 4095"),
        (dict(bias_exp=8), "bias_exp must be an integer from -12 to 7"),
        (dict(v_th=None, refractory=3), "refractory must be left out"),
    ],
)
def test_registers_have_ranges(chosen: dict, message: str) -> None:
    with pytest.raises((InputError, UnitError), match=message):
        loihi_neurons(dt=DT, **chosen)


def test_whole_numbers_are_not_learned() -> None:
    with pytest.raises(InputError, match="dv is an integer and cannot be learned"):
        ns.layer(cores.loihi)(dt=DT, learn=("dv",))


# From any state and with integers of each neuron, which the battery does not draw.
@pytest.mark.parametrize("core", CORES, ids=lambda c: c.name)
def test_kernels_give_the_bits_and_gradients_of_the_step(core: language.Core) -> None:
    torch.manual_seed(1)
    shape = (37, 4, 3, 7)
    per_neuron = dict(du=torch.randint(0, 4096, shape[2:]), bias=torch.randint(-500, 500, shape[2:]))
    for device in battery.DEVICES:
        for dtype in (torch.float32, torch.float64):
            for chosen in (dict(dv=300), per_neuron):
                layer = ns.layer(core)(dt=DT, **chosen, detach_reset=False).to(device, dtype)
                i = (torch.randn(shape) * 60).round().to(device, dtype)
                start = tuple((torch.randn(shape[1:]) * 1e5).round().to(device, dtype) for _ in core.state)
                for through_time in (True, False):
                    fused = battery.gradients(layer, layer, i, start, through_time)
                    plain = battery.gradients(layer.run_reference, layer, i, start, through_time)
                    assert torch.equal(fused[0], plain[0]) and all(map(torch.equal, fused[1], plain[1]))
                    for name, gradient in fused[2].items():
                        assert torch.equal(gradient, plain[2][name]), (device, dtype, through_time, name)
                    assert fused[2]["i"].abs().sum() > 0


def test_the_gradient_is_that_of_the_real_neuron() -> None:
    """With rounding passed straight through, the gradient is that of a CUBA neuron of the same decays and scale."""
    torch.manual_seed(0)
    scale, du, dv, v_th = 64.0, 1000, 200, 1.0
    kept_u, kept_v = (4095 - du) / 4096, (4096 - dv) / 4096

    @ns.core(parameters=dict(v_th=1.0), state=("u", "v"))
    def real(i, u, v, *, v_th, spike, reset):
        current = kept_u * u + i
        voltage = kept_v * v + current
        z = spike(voltage - v_th)
        return z, current, reset(voltage, z, to=0.0, by=v_th)

    i = (torch.randn(60, 2, 5, dtype=torch.float64) * 0.2 * scale).round() / scale
    ours = loihi_neurons(dt=DT, du=du, dv=dv, v_th=int(v_th * scale), unit=64.0 * scale)
    found = []
    for layer, factor in ((ours, scale), (ns.layer(real)(dt=DT, v_th=v_th), 1.0)):
        x = i.clone().requires_grad_()
        z, _ = layer(x * factor)
        found.append((z.detach(), torch.autograd.grad((z * torch.linspace(0, 1, 60).reshape(-1, 1, 1)).sum(), x)[0]))
    assert torch.equal(found[0][0], found[1][0]) and found[0][0].sum() > 20
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0.02, atol=0.02)
