"""Rows of Rockpool in the table of conversions, beside the library, or its documented equations where it is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.exchange.peers import ConversionError, from_rockpool
from tests.exchange.peers import rockpool_like
from tests.exchange.peers.rows import N, close, noise

ONCE: dict[str, Any] = dict(max_spikes_per_dt=torch.tensor(1.0))


@pytest.fixture(scope="module", params=["documented", "installed"])
def rp(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return the modules of Rockpool, or those written from its documentation, which take its names meanwhile."""
    import sys

    installed = importlib.util.find_spec("rockpool") is not None
    if request.param == "installed" and not installed:
        pytest.skip("needs rockpool")
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "rockpool"}
    for name in kept:
        del sys.modules[name]
    if request.param == "documented":
        rockpool_like.install()
    import rockpool.nn.combinators.sequential as sequential
    import rockpool.nn.modules.torch as modules

    modules.Sequential = sequential.Sequential if hasattr(sequential, "Sequential") else sequential.TorchSequential
    yield modules
    for name in [name for name in sys.modules if name.split(".")[0] == "rockpool"]:
        del sys.modules[name]
    sys.modules.update(kept)


def run(module: Any, x: Tensor) -> Tensor:
    if hasattr(module, "reset_state"):
        module.reset_state()
    with torch.no_grad():
        return module(x.transpose(0, 1))[0].transpose(0, 1)


def single(**more: Any) -> Tensor:
    return noise(dtype=torch.float32, **more)


def test_lif(rp: Any) -> None:
    layer, x = rp.LIFTorch(N, tau_mem=8e-3, tau_syn=5e-3, threshold=1.5, **ONCE), single(scale=1.5)
    net = from_rockpool([layer])
    assert net.dt == 1e-3 and list(net.neurons()) == ["cubalif1"]
    close(net, x, run(layer, x), allowed=1)


def test_lif_without_current(rp: Any) -> None:
    for bias in (0.0, 0.125):
        layer, x = rp.LIFNeuronTorch(N, tau_mem=8e-3, bias=torch.tensor(bias), **ONCE), single(scale=1.5)
        close(from_rockpool([layer]), x, run(layer, x), allowed=1)


def test_recurrent(rp: Any) -> None:
    layer, x = rp.LIFTorch(N, tau_mem=8e-3, tau_syn=5e-3, has_rec=True, **ONCE), single(scale=1.5)
    with torch.no_grad():
        layer.w_rec.copy_(torch.randint(-4, 4, (N, N)) / 16)
    close(from_rockpool([layer]), x, run(layer, x), allowed=N)


def test_a_whole_net(rp: Any) -> None:
    net = rp.Sequential(
        rp.LinearTorch((12, 20), has_bias=True), rp.LIFTorch(20, **ONCE), rp.LinearTorch((20, 4)), rp.ExpSynTorch(4)
    )
    x = (torch.rand(100, 3, 12) < 0.5).float()
    ours = from_rockpool(net)
    with torch.no_grad():
        current, _, values, *_ = ours.run(x, record=("cubalif1",))
    assert values["cubalif1"].sum() > 100
    torch.testing.assert_close(current, run(net, x), rtol=1e-4, atol=1e-4)
    assert from_rockpool(net, dt=1e-4).dt == 1e-4


def test_refused_by_name(rp: Any) -> None:
    class Own(rp.LIFTorch):  # type: ignore[name-defined,misc]
        def forward(self, x: Tensor) -> Tensor:
            return 1 - super().forward(x)

    refused = [
        (rp.LIFTorch(3), "max_spikes_per_dt=65536 may send several spikes in a step"),
        (rp.LIFTorch(3, noise_std=0.1, **ONCE), "noise_std=0.1 adds noise in every step"),
        (rp.LIFTorch(3, bias=torch.tensor(0.5), **ONCE), "has a bias behind its synaptic current"),
        (rp.LIFTorch((6, 3), **ONCE), "has 2 synaptic currents for each neuron"),
        (Own(3, **ONCE), "its class Own has a method 'forward' of its own"),
    ]
    for layer, message in refused:
        with pytest.raises(ConversionError, match=rf"layer '0' \({type(layer).__name__}\): {message}"):
            from_rockpool([layer], input_shape=3)
    with pytest.raises(ConversionError, match="all neurons must share one dt"):
        from_rockpool([rp.LIFTorch(3, **ONCE), rp.LIFTorch(3, dt=2e-3, **ONCE)])
    shared = rp.LIFTorch(3, **ONCE)
    with pytest.raises(ConversionError, match=r"layer '2' .* is the same object as layer '0'"):
        from_rockpool([shared, nn.Linear(3, 3), shared])


def test_what_is_refused_would_differ(rp: Any) -> None:
    several = rp.LIFTorch(N, tau_mem=8e-3, tau_syn=5e-3)
    once = rp.LIFTorch(N, tau_mem=8e-3, tau_syn=5e-3, **ONCE)
    x = single(scale=1.5)
    assert int((run(several, x) != run(once, x)).sum()) > 100
    assert isinstance(from_rockpool([once]), ns.Network)
