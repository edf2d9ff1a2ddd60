"""Graphs described by hand: as files, and what a wrong one shows. `test_lava_pythons` runs the right ones."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest

from neurosim.hardware.lava import description
from neurosim.hardware.lava.exchange import Request, read_request, read_sample, write_request, write_sample
from neurosim.hardware.lava.runner import run_graph
from tests.hardware.lava.reference import CASES, dense_case

pytest.importorskip("lava.magma")


def test_the_bias_needs_its_initial_voltage() -> None:
    # Without it the bias is integrated one step too often, before the data arrive.
    case = dense_case()
    right = case.graph.population("lif")
    lif = dataclasses.replace(right, arguments={**right.arguments, "v": np.zeros(())})
    graph = dataclasses.replace(case.graph, populations=(lif, case.graph.population("cuba")))
    run = run_graph(graph, case.request, timeout=300.0)
    assert (run.sent["lif"] != case.expected["lif"]).sum() > 0


def test_a_graph_is_read_as_written(tmp_path: Path) -> None:
    for make in CASES.values():
        graph = make().graph
        stream = io.BytesIO()
        description.write(graph, stream)
        (tmp_path / "graph.npz").write_bytes(stream.getvalue())
        again = description.read(tmp_path / "graph.npz")
        assert repr(again) == repr(graph)
        weights = [
            (a.weight, b.weight)
            for part in ("dense", "conv", "sparse")
            for a, b in zip(getattr(graph, part), getattr(again, part), strict=True)
        ]
        assert weights
        assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in weights)


def test_another_file_is_not_a_graph(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="not a neurosim-lava-3 graph"):
        description.read(tmp_path / "other.npz")


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "graph.npz", graph=np.array({"a": 1}, dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        description.read(tmp_path / "graph.npz")


def written(folder: Path) -> Path:
    with open(folder / "graph.npz", "wb") as stream:
        description.write(dense_case().graph, stream)
    return folder / "graph.npz"


def _without_populations(arrays: dict) -> None:
    text = json.loads(str(arrays["graph"]))
    del text["populations"]
    arrays["graph"] = np.array(json.dumps(text))


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop(next(name for name in arrays if name != "graph")),
        lambda arrays: arrays.update(graph=np.array("{")),
        lambda arrays: arrays.update(graph=np.array("[]")),
        lambda arrays: arrays.update(graph=np.zeros(3)),
        _without_populations,
    ],
)
def test_a_graph_with_something_missing_or_wrong_is_refused(tmp_path: Path, change) -> None:
    path = written(tmp_path)
    with np.load(path) as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(path, **arrays)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"graph\.npz is not a neurosim-lava-\d+ graph .*was not changed"):
        description.read(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_graph_is_refused(tmp_path: Path, share: float) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="is not a neurosim-lava"):
        description.read(path)


def test_a_graph_that_would_fill_the_memory_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(description, "LARGEST", 2**20)
    path = tmp_path / "graph.npz"
    np.savez_compressed(path, graph=np.zeros(2**20))
    assert path.stat().st_size < 2**15
    with pytest.raises(ValueError, match="it unpacks to 8,388,736 bytes; 1,048,576 are allowed"):
        description.read(path)


def test_a_request_and_its_answer_are_read_as_written(tmp_path: Path) -> None:
    request = Request({"a->b": np.arange(6.0).reshape(3, 2, 1)}, ("x", "y/z"), (("x", "v"), ("x", "u")))
    write_request(tmp_path / "request.npz", request)
    again = read_request(tmp_path / "request.npz")
    assert (again.record, again.monitor, again.samples) == (request.record, request.monitor, 2)
    assert np.array_equal(again.inputs["a->b"], request.inputs["a->b"])
    spikes = {"x": np.ones((3, 1), np.uint8), "y/z": np.zeros((3, 2), np.uint8)}
    traces = {("x", "v"): np.arange(3.0), ("x", "u"): np.arange(3.0, 6.0)}
    write_sample(tmp_path / "sample.npz", request, spikes, traces)
    got_spikes, got_traces = read_sample(tmp_path / "sample.npz", request)
    assert all(np.array_equal(got_spikes[k], spikes[k]) for k in spikes)
    assert all(np.array_equal(got_traces[k], traces[k]) for k in traces)
