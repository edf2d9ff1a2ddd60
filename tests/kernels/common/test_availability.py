"""Which kernels run, and what happens when one is not there."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import pytest
import torch

import neurosim as ns
from neurosim import kernels
from neurosim.errors import InputError, KernelError
from neurosim.kernels.common import availability
from neurosim.kernels.neurons import cpu


@pytest.fixture
def without_kernels(monkeypatch):
    availability._warn.cache_clear()
    monkeypatch.setattr(availability, "obstacle", lambda device: f"the {device} kernels are away")
    yield
    availability._warn.cache_clear()


def test_the_cpu_kernels_run_here():
    status = ns.kernel_status()
    operators = {operator for operator, device in status if device == "cpu"}
    assert all(status[operator, "cpu"] == "fused" for operator in operators)
    for path in Path(kernels.__file__).parent.glob("*/operator.py"):
        importlib.import_module(f"neurosim.kernels.{path.parent.name}.operator")
    registered = (name.split("::") for name in torch._C._dispatch_get_all_op_names())
    torch_operators = {name for library, name in registered if library == "neurosim" and not name.startswith("test_")}
    torch_operators -= {"normal_numbers"}  # of sources, which other devices draw by torch's operations
    torch_operators -= {"dense_conv", "dense_conv_backward"}  # torch's own, in a stated precision
    assert operators == torch_operators | {"run_elm", "run_elm_backward"}


def test_the_table_has_every_operation_on_every_device(monkeypatch):
    status = ns.kernel_status()
    assert {device for _, device in status} == {"cpu", "cuda"}
    assert all(device == "cuda" or (operation, "cuda") in status for operation, device in status)
    monkeypatch.setattr(availability, "obstacle", lambda device: None)
    status = ns.kernel_status()
    assert status["run_core", "cuda"] == "fused"
    assert status["event_conv", "cuda"] == "no fused kernel on cuda: torch's convolution runs"
    assert status["run_elm_backward", "cuda"] == "no fused kernel on cuda: the reference runs"


def test_a_missing_kernel_is_an_error_where_kernels_are_required(without_kernels, monkeypatch):
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "1")
    with pytest.raises(KernelError, match=r"no fused kernel on cpu: the cpu kernels are away\. Unset NEUROSIM_REQUIRE"):
        ns.LIF(dt=1e-3)(torch.randn(5, 2, 3))


def test_else_the_reference_runs_and_one_warning_says_why(without_kernels, monkeypatch):
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "0")
    monkeypatch.setattr(cpu, "forward", None)
    layer, i = ns.LIF(dt=1e-3), torch.randn(30, 2, 3) * 4
    expected, expected_state, *_ = layer.run_reference(i)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        z, state = layer(i)
        again, _ = layer(i)
    assert [str(w.message) for w in caught] == ["the plain reference runs, slowly: the cpu kernels are away."]
    assert caught[0].category is RuntimeWarning
    assert torch.equal(z, expected) and torch.equal(again, expected) and torch.equal(state.v, expected_state.v)


def test_the_reference_records_states_and_local_variables(without_kernels, monkeypatch):
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "0")
    layer, i = ns.LIF(dt=1e-3), torch.randn(30, 2, 3) * 4
    with pytest.warns(RuntimeWarning, match="kernels are away"):
        _, state, values, *_ = layer.run(i, record=("v",))
    assert torch.equal(values["v"][-1], state.v)
    u = layer.run(i, record=("u",)).recorded["u"]
    assert torch.equal(u > 1.0, layer.run_reference(i).out > 0)
    with pytest.raises(InputError, match=r"lif: .*'nothing'"):
        layer.run(i, record=("nothing",))


def test_obstacles_say_what_to_do(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    obstacle = availability.obstacle.__wrapped__
    assert obstacle("cpu") == "llvmlite is not installed; run: pip install llvmlite"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert obstacle("cuda") == "triton is not installed; run: pip install triton"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "torch sees no CUDA device" in str(obstacle("cuda"))
    assert obstacle("xpu") == "no fused kernel exists for 'xpu' devices; move the network to cpu or cuda"


@pytest.fixture
def a_gpu(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 6))
    monkeypatch.setattr(availability.shutil, "which", lambda name: f"/usr/bin/{name}")


@pytest.mark.usefixtures("a_gpu")
def test_what_keeps_triton_from_running(monkeypatch):
    obstacle = availability.obstacle.__wrapped__
    assert obstacle("cuda") is None
    with monkeypatch.context() as patch:
        patch.setattr(availability.importlib.metadata, "version", lambda name: "3.1.0")
        assert obstacle("cuda") == "triton 3.1.0 is too old; run: pip install 'triton>=3.2'"
    with monkeypatch.context() as patch:
        patch.delenv("CC", raising=False)
        patch.setattr(availability.shutil, "which", lambda name: None)
        assert "finds no C compiler" in str(obstacle("cuda"))
        patch.setenv("CC", "mycc")
        patch.setattr(availability.shutil, "which", lambda name: name if name == "mycc" else None)
        assert obstacle("cuda") is None
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    assert obstacle("cuda") == "the GPU has compute capability 6.1; triton needs 7.0"


@pytest.mark.usefixtures("a_gpu")
def test_rocm_is_named(monkeypatch):
    monkeypatch.setattr(availability, "obstacle", lambda device: None)
    monkeypatch.setattr(torch.version, "hip", "6.4")
    status = ns.kernel_status()
    assert status["run_core", "cuda"] == "fused; compiled for ROCm, but never run there"
    assert status["run_core", "cpu"] == "fused" and "torch's convolution" in status["event_conv", "cuda"]


@pytest.mark.parametrize("device", ["mps", "xpu", "meta"])
def test_other_devices_run_the_definition_with_one_warning(device, monkeypatch):
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "0")
    availability._warn.cache_clear()
    with pytest.warns(RuntimeWarning, match=f"no fused kernel exists for '{device}' devices") as seen:
        assert not availability.fused(torch.device(device)) and not availability.fused(torch.device(device))
    assert len(seen) == 1
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "1")
    with pytest.raises(KernelError, match="no fused kernel on"):
        availability.fused(torch.device(device))


def test_a_recurrent_network_runs_where_there_is_no_kernel(monkeypatch):
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "0")
    availability._warn.cache_clear()
    edges = [ns.Edge("in", "r", ns.Linear(4, 3)), ns.Edge("r", "r", ns.Linear(3, 3))]
    net = ns.Network({"in": ns.Input(4), "r": ns.LIF()}, edges, dt=1e-3).to("meta")
    with pytest.warns(RuntimeWarning, match="the plain reference runs, slowly") as seen:
        out, _ = net(torch.empty(5, 2, 4, device="meta"))
    assert out.shape == (5, 2, 3) and len(seen) == 1


@pytest.mark.parametrize(("value", "wanted"), [("1", True), ("yes", True), ("0", False), ("", False), (None, False)])
def test_the_environment_variable(monkeypatch, value, wanted):
    monkeypatch.delenv("NEUROSIM_REQUIRE_KERNELS", raising=False)
    if value is not None:
        monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", value)
    assert availability.required() is wanted
