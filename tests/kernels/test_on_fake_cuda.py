"""What reaches the operators on a CUDA device: types, devices, and that nothing waits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("triton")

import neurosim as ns
from tests.fake_cuda import fake_device, moved

HALF = [torch.bfloat16, torch.float16]


def recurrent() -> ns.Network:
    return ns.Network(
        nodes={"in": ns.Input(8), "r": ns.LIF(), "out": ns.LI()},
        edges=[
            ns.Edge("in", "r", ns.Linear(8, 6)),
            ns.Edge("r", "r", ns.Linear(6, 6)),
            ns.Edge("r", "out", ns.Linear(6, 3)),
        ],
        dt=1e-3,
    )


def feedforward() -> ns.Network:
    return ns.Sequential(ns.Linear(8, 6), ns.LIF(), ns.Linear(6, 5), ns.ALIF(), ns.Linear(5, 3), ns.LI(), dt=1e-3)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("as_autocast", [True, False])
def test_half_precision_reaches_recurrent_kernels(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, as_autocast: bool
) -> None:
    net = recurrent()
    with fake_device(monkeypatch) as noted:
        if as_autocast:  # the current from a product in half precision, everything else in single
            i, z = torch.empty(7, 2, 6, device="cuda", dtype=dtype), torch.empty(2, 6, device="cuda")
            out = net.nodes["r"].run_recurrent(i, torch.empty(1, 6, 6, device="cuda"), z).out
        else:
            moved(net, dtype=dtype)
            out, _ = net(torch.empty(7, 2, 8, device="cuda", dtype=dtype))
    ((given, results),) = noted.of("neurosim::run_recurrent")
    drive, weight, z0, state = given[:4]
    assert drive.dtype == weight.dtype == z0.dtype == dtype and state.dtype == torch.float32
    assert results[0].dtype == out.dtype == dtype


@pytest.mark.parametrize("make", [feedforward, recurrent])
@pytest.mark.parametrize("recompute", [False, True])
def test_no_result_is_on_the_host_and_nothing_waits(
    monkeypatch: pytest.MonkeyPatch, make: Any, recompute: bool
) -> None:
    net = make()
    with fake_device(monkeypatch) as noted:
        moved(net)
        net(torch.empty(7, 2, 8, device="cuda"), recompute=recompute)
    kinds = [name for name, _, _ in noted.calls if name.startswith("neurosim::")]
    assert len(kinds) >= 2
    for name, _, results in noted.calls:
        if name.startswith("neurosim::"):
            # A tensor on the host keeps torch.compile from capturing CUDA graphs.
            assert all(each.device.type == "cuda" for each in results), name
    assert noted.to_host() == []
