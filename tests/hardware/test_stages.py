"""From training to a chip: what one stage makes the next one takes, or refuses with a remedy that works."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.energy import count_operations, energy
from neurosim.errors import ExportError
from neurosim.exchange.nir import verify_nir
from neurosim.hardware.lava import to_lava
from neurosim.hardware.netx import connection_steps, read_netx, write_netx
from neurosim.hardware.placement import place
from neurosim.hardware.quantise import quantise
from neurosim.report import Section, energy_figure, raster, write_report
from neurosim.synapses import BatchNorm

STEPS, CLASSES = 20, 4


def dense() -> ns.Network:
    return ns.Sequential(
        ns.Linear(64, 24, bias=True), ns.LIF(dt=1e-3, r=20.0), ns.Linear(24, CLASSES), ns.LIF(dt=1e-3, r=20.0)
    )


def recurrent() -> ns.Network:
    loop = ns.Recurrent(ns.CubaLIF(dt=1e-3, r=30.0), ns.Linear(16, 16))
    return ns.Sequential(ns.Linear(64, 16), loop, ns.Linear(16, CLASSES), ns.LIF(dt=1e-3, r=20.0))


def strided() -> ns.Network:
    conv = [ns.Input((1, 8, 8)), ns.Conv2d(1, 4, 3, stride=2), BatchNorm(4), ns.IF(dt=1e-3, r=1.0)]
    return ns.Sequential(*conv, ns.Flatten(), ns.Linear(36, CLASSES), ns.LIF(dt=1e-3, r=20.0))


def pooled() -> ns.Network:
    conv = [ns.Input((1, 8, 8)), ns.Conv2d(1, 4, 3, padding=1), ns.LIF(dt=1e-3, r=60.0), ns.AvgPool2d(2)]
    return ns.Sequential(*conv, ns.Flatten(), ns.Linear(64, CLASSES), ns.LIF(dt=1e-3, r=60.0))


NETWORKS = {made.__name__: made for made in (dense, recurrent, strided, pooled)}
# Refusals of netx without a remedy but another network.
TRAIN_ANOTHER = {"pooled": "netx has no pooling; train with a stride of the convolution instead"}


def data(net: ns.Network, seed: int) -> tuple[Tensor, Tensor]:
    """Return spikes whose rate is higher in one quarter of the pixels, the class."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (64,), generator=draw)
    rate = torch.full((64, CLASSES, 16), 0.05)
    rate[torch.arange(64), y] = 0.5
    x = (torch.rand(STEPS, 64, 64, generator=draw) < rate.reshape(64, 64)).float()
    return x.reshape(STEPS, 64, *net.shape("input")), y


@pytest.fixture(scope="module", params=NETWORKS)
def trained(request: pytest.FixtureRequest) -> tuple[str, ns.Network, Tensor]:
    torch.manual_seed(0)
    net = NETWORKS[request.param]()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    loss = ns.RateCrossEntropy()
    ns.fit(net, [data(net, 0)], loss=loss, rule=ns.BPTT(), optimizer=optimizer, epochs=8, progress=False)
    net.eval()
    x, y = data(net, 1)
    assert ns.evaluate(net, [(x, y)], loss)["accuracy"] > 0.5
    return request.param, net, x[:, :8]


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_quantised_network_goes_through_all_stages(
    trained: tuple[str, ns.Network, Tensor], bits: int, tmp_path: Path
) -> None:
    name, net, x = trained
    integer = quantise(net, x, bits=bits).net
    precise = x.to(next(integer.parameters()).dtype)

    recording = ns.simulate(integer, precise)
    # Of 1-bit weights with both signs only the negative ones remain, which may silence a network.
    assert bits == 1 or sum(len(spikes) for spikes in recording.spikes.values()) > 0

    report = energy(count_operations(integer, precise))
    refused = {column.target.name for column in report.columns if column.refused}
    assert refused == {"loihi2"} and report["loihi1"].total > 0  # no public energy

    for chip in ("loihi1", "loihi2"):
        placement = place(integer, chip, weight_bits=bits)
        assert placement.fits and placement.weight_bits == (8 if (chip, bits) == ("loihi1", 7) else bits)
    graph = to_lava(integer).graph
    assert [population.name for population in graph.populations] == list(integer.populations())

    sections = [Section("Spikes", raster(recording)), Section("Energy", energy_figure(report), report)]
    write_report(tmp_path / "report.html", title=name, sections=[*sections, Section("Chip", placement)])
    assert (tmp_path / "report.html").stat().st_size > 10_000

    assert through_netx(net, integer, x, bits, tmp_path / "a.net") == TRAIN_ANOTHER.get(name, "")
    with pytest.raises(ExportError, match=r"Write the network as it was before quantise"):
        verify_nir(integer, precise)
    with torch.no_grad():
        assert verify_nir(net, x, gain="network").agrees


def through_netx(net: ns.Network, integer: ns.Network, x: Tensor, bits: int, path: Path) -> str:
    """Write a network as netx, following the remedies of its refusals; return the one that cannot be followed."""
    settings: dict[str, object] = {}
    remedies: dict[str, Callable[[str], object]] = {
        r"quantise with (weight_exponents)=False": lambda key: settings.update({key: False}),
        r"quantise with (bias_exponent)=6": lambda key: settings.update({key: 6}),
    }
    timed = False
    for _ in range(len(remedies) + 2):
        try:
            write_netx(integer, path)
        except ExportError as error:
            message = str(error)
        else:
            precise = x.to(next(integer.parameters()).dtype)
            back = read_netx(path).to(precise.dtype)
            assert torch.equal(back(precise)[0], integer(precise)[0])
            return ""
        assert not path.exists()
        followed = False
        for pattern, follow in remedies.items():
            for found in re.findall(pattern, message):
                follow(found)
                followed = True
        timed |= "write connection_steps(net)" in message
        if not followed and "connection_steps" not in message:
            return message.rsplit(": ", 1)[1]
        integer = quantise(net, x, bits=bits, **settings).net  # type: ignore[arg-type]
        integer = connection_steps(integer) if timed else integer
    raise AssertionError(f"the remedies do not end: {message}")
