"""One time step as an ONNX graph, run under onnxruntime with its state fed back."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import neurosim as ns
from neurosim.errors import ExportError, InputError, ShapeError
from neurosim.exchange.onnx import to_onnx, verify_onnx, write_onnx
from neurosim.synapses import RoundedDelays
from tests.hardware.integers.cases import DT, NETWORKS, data, delayed_and_recurrent, skip

needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None,
    reason="onnx or onnxruntime is not installed",
)


def real() -> ns.Network:
    torch.manual_seed(0)
    return ns.Network(
        {"in": ns.Input(12), "hidden": ns.CubaLIF(dt=DT, size=9), "out": ns.LI(dt=DT, size=3)},
        [
            ns.Edge("in", "hidden", RoundedDelays(torch.randn(9, 12) * 9, torch.randint(0, 4, (9, 12)), dt=DT)),
            ns.Edge("hidden", "hidden", ns.Linear(9, 9)),
            ns.Edge("hidden", "out", ns.Linear(9, 3, bias=True), delay=2 * DT),
        ],
    )


def images() -> ns.Network:
    torch.manual_seed(0)
    neurons = ns.ALIF(dt=DT)
    return ns.Network(
        {"in": ns.Input((2, 6, 6)), "a": ns.IF(dt=DT, v_th=0.5), "b": neurons},
        [
            ns.Edge("in", "a", ns.Conv2d(2, 3, 3, padding=1, bias=True)),
            ns.Edge("a", "b", [ns.MaxPool2d(2), ns.Flatten(), ns.Linear(27, 5)]),
        ],
    )


@needs_onnx
@pytest.mark.parametrize("make", [real, images])
def test_a_network_in_floating_point(make: Callable[[], ns.Network]) -> None:
    net = make().double() if make is real else make()
    result = verify_onnx(net, data(net))
    assert result.agrees and result.sent, result


@needs_onnx
@pytest.mark.parametrize(
    "make", [delayed_and_recurrent, skip, NETWORKS["shifted"], NETWORKS["refractory"], NETWORKS["overlapping_windows"]]
)
def test_a_network_in_integers_is_exact(make: Callable[[], ns.Network]) -> None:
    net = make().float()
    result = verify_onnx(net, data(net))
    assert result.agrees and result.sent and not any(result.largest.values()), result


@needs_onnx
def test_the_file_is_checked_by_onnx_and_names_its_state(tmp_path: Path) -> None:
    import onnx

    write_onnx(real(), tmp_path / "step.onnx")
    model = onnx.load(tmp_path / "step.onnx")
    onnx.checker.check_model(model, full_check=True)
    names = {each.name for each in model.graph.input}
    assert {"in", "in.in_flight", "hidden.in_flight", "hidden.v", "out.v"} < names
    assert {each.name.removesuffix(".next") for each in model.graph.output if each.name.endswith(".next")} == names - {
        "in"
    }


@needs_onnx
def test_a_wrong_delay_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from neurosim.exchange.onnx import exporting

    original = exporting._Exporter._source
    monkeypatch.setattr(
        exporting._Exporter, "_source", lambda self, edge, d: original(self, edge, d - 1 if d > 1 else d)
    )
    net = delayed_and_recurrent().float()
    assert not verify_onnx(net, data(net)).agrees


@needs_onnx
def test_nodes_may_have_any_name() -> None:
    """A node called as the exporter calls a constant fed it as the default of the input."""
    torch.manual_seed(0)
    nodes = {"c0": ns.Input(3), "t1": ns.LIF(dt=DT, r=200.0, size=3), "c1": ns.LIF(dt=DT, r=200.0, size=3)}
    edges = [ns.Edge("c0", "t1", ns.Linear(3, 3)), ns.Edge("t1", "c1", ns.Linear(3, 3), delay=2 * DT)]
    x = (torch.rand(30, 2, 3) < 0.5).float()
    result = verify_onnx(ns.Network(nodes, edges, output="c1"), x)
    assert result.agrees and result.sent


@needs_onnx
def test_weights_and_data_that_compare_nothing_are_refused() -> None:
    net = real()
    with pytest.raises(InputError, match=r"x must hold a step and a sample at least; got \[T, B\] = \[0, 2\]"):
        verify_onnx(net, torch.zeros(0, 2, 12))
    with pytest.raises(ShapeError, match="must be a tensor"):
        verify_onnx(net, [[[0.0]]])  # type: ignore[arg-type]
    with torch.no_grad():
        net.edges[1].synapses[0].get_parameter("weight")[0, 0] = float("inf")
    with pytest.raises(ExportError, match="edge 'hidden->hidden': weights hold NaN or infinity"):
        to_onnx(net)


@needs_onnx
def test_what_the_graph_cannot_hold_is_refused(tmp_path: Path) -> None:
    net = ns.Sequential(ns.Linear(4, 2), ns.LIF(dt=DT, init=dict(v=0.5), size=2), names=["out"])
    with pytest.raises(ExportError, match="node 'out': starts from the values of init="):
        write_onnx(net, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'neurosim-toolkit\[onnx\]'"):
        to_onnx(real())
