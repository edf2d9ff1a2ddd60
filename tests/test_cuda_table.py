"""What CUDA kernels and training steps cost does not grow; `tests/cuda_table.py` writes the table."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton.backends.nvidia")

from tests import cuda_table
from tests.ahead import printed_apart
from tests.launches import STEPS, counted_step

KEPT: dict[str, Any] = json.loads(cuda_table.PATH.read_text(encoding="utf-8"))


# Of 128 neurons in single precision with a state more, backward: a few registers over the 255 that there are.
SPILLING = {"loop alif float32 128 backward": 104}
# Addresses that are read again after the loop.
SPILLING |= {"circuit lif_exp float32": 24, "circuit lif_cond float32": 16}


def test_the_table_is_whole_and_hardly_anything_spills() -> None:
    assert [*KEPT["kernels"]] == [f"sm_{chip}" for chip in cuda_table.CHIPS]
    for chip, rows in KEPT["kernels"].items():
        assert [*rows] == [*cuda_table.kernels()]
        assert all(row["spilled"] <= SPILLING.get(name, 0) for name, row in rows.items()), chip
    assert [*KEPT["steps"]] == [*STEPS]
    assert KEPT["steps"]["train-step"] == {"launches": 20, "waits": 0}
    assert not any(row["waits"] for row in KEPT["steps"].values())


@pytest.mark.parametrize("name", STEPS)
def test_launches_and_waits_do_not_grow(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    counted = counted_step(monkeypatch, name)
    now = {name: {"launches": counted.total, "waits": sum(counted.waits.values())}}
    assert cuda_table.grown(now, KEPT["steps"]) == [], dict(counted.launches)


def test_registers_spills_and_shared_memory_do_not_grow(tmp_path: Path, root: Path) -> None:
    """Compile a few kernels; the numbers of registers are those of one version of Triton."""
    code = "import json; from tests import cuda_table as t; print(json.dumps(t.compiled(t.FEW, t.FEW_CHIPS)))"
    now = printed_apart(tmp_path, "-c", code)
    assert {*now} == {f"sm_{chip}" for chip in cuda_table.FEW_CHIPS}
    assert all({*rows} == {*cuda_table.FEW} for rows in now.values())
    if importlib.metadata.version("triton") != KEPT["triton"]:
        for rows in now.values():
            for row in rows.values():
                del row["registers"]
    assert cuda_table.grown(now, KEPT["kernels"]) == []


def test_what_has_grown_is_named() -> None:
    kept = {"a": {"x": 1, "y": 2}}
    assert cuda_table.grown({"a": {"x": 1, "y": 1}}, kept) == []
    assert cuda_table.grown({"a": {"x": 2}, "b": {"x": 1}}, kept) == ["a, x: 1 before, 2 now", "b: not in the table"]
