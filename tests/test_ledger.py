"""The fidelity ledger is complete and current, and its recorder sees what comparisons see."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import torch

import neurosim
from neurosim import cores, parallel, plasticity
from neurosim.datasets.encoders import Encoder
from neurosim.learning import Rule
from tests import ledger
from tests.ledger import Recorder, grown, page, shown
from tests.ledger_rows import KINDS, ROWS
from tests.observed import observed

# Functions by which networks leave and enter; what they return and how they are verified is not in the ledger.
DOORS = (
    "exchange.nir",
    "exchange.peers",
    "hardware.lava",
    "hardware.loihi",
    "hardware.netx",
    "hardware.quantise",
    "hardware.xylo",
)
IN_OR_OUT = ("to_", "from_", "write_", "read_", "describe", "quantise")


def names(kind: str) -> list[str]:
    return [row.name for row in ROWS if row.kind == kind]


def classes(module: object) -> set[str]:
    listed: list[str] = module.__all__  # type: ignore[attr-defined]
    return {name for name in listed if inspect.isclass(getattr(module, name))}


def subclasses(kind: type) -> set[str]:
    """Return the names of all concrete subclasses in the package."""
    for module in pkgutil.walk_packages(neurosim.__path__, "neurosim."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = set(), [kind]
    while waiting:
        kinds = waiting.pop().__subclasses__()
        waiting += kinds
        found |= {k.__name__ for k in kinds if k.__module__.startswith("neurosim.") and not inspect.isabstract(k)}
    return found


def test_every_core_has_a_line() -> None:
    assert sorted(names("core")) == sorted(cores.__all__)


def test_every_rule_has_a_line() -> None:
    needed = subclasses(Rule) | classes(plasticity) | {"FPTT"}
    assert sorted(needed - {*names("rule")}) == []


def test_every_model_has_a_line(root: Path) -> None:
    listed = names("model")
    for path in sorted((root / "neurosim" / "models").glob("[a-z]*.py")):
        module = importlib.import_module(f"neurosim.models.{path.stem}")
        here = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        assert {*here} & {*listed, *names("rule")}, f"no line for {path.name}"
    assert sorted(classes(parallel) - {*listed}) == []


def test_every_export_has_a_line() -> None:
    needed = set()
    for door in DOORS:
        module = importlib.import_module(f"neurosim.{door}")
        needed |= {name for name in module.__all__ if name.startswith(IN_OR_OUT)}
    assert len(needed) >= 13
    assert sorted(needed - {*names("export")}) == []


def test_every_encoder_has_a_line() -> None:
    assert sorted(names("encoder")) == sorted(subclasses(Encoder))


def test_rows_are_named_once_and_cells_are_short() -> None:
    assert {row.kind for row in ROWS} == {*KINDS}
    keys = [(row.kind, row.name) for row in ROWS]
    assert len({*keys}) == len(keys)
    assert [row.name for row in ROWS if max(map(len, (row.difference, row.observed))) > 120] == []
    assert all("|" not in cell for row in ROWS for cell in row)


@pytest.mark.parametrize("check", sorted({row.check for row in ROWS}))
def test_the_test_of_a_row_exists(check: str, root: Path) -> None:
    path, _, name = check.partition("::")
    tree = ast.parse((root / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_page_is_current(root: Path) -> None:
    errors = json.loads(ledger.ERRORS.read_text(encoding="utf-8"))
    assert sorted(errors) == sorted({row.check for row in ROWS if not row.observed}), "python -m tests.ledger --write"
    assert (root / "docs" / "fidelity.md").read_text(encoding="utf-8") == page(errors), "python -m tests.ledger --page"


@pytest.mark.parametrize(
    ("error", "text"),
    [(0.0, "0"), (3e-18, "1e-16"), (2.1e-16, "3e-16"), (9.5e-13, "1e-12"), (1e-3, "1e-3"), (0.99, "1e0")],
)
def test_an_error_is_shown_with_one_digit_rounded_up(error: float, text: str) -> None:
    assert shown(error) == text


def test_rounding_of_another_machine_is_no_growth() -> None:
    assert not grown(9e-15, 2e-16) and grown(2e-14, 2e-16) and not grown(9e-3, 1e-3) and grown(2e-2, 1e-3)


def test_the_recorder_sees_every_kind_of_comparison() -> None:
    recorder = Recorder()

    def seen() -> list[float]:
        errors = [round(error, 12) for error in recorder.errors]
        recorder.errors.clear()
        return errors

    a, b = (torch.tensor([1.0, x], dtype=torch.float64) for x in (2.0, 2.002))
    with recorder.watching():
        torch.testing.assert_close(a, b, rtol=0.1, atol=0)
        assert torch.allclose(a, b, rtol=0.1)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0.1)
        assert seen() == [round(0.002 / 2.002, 12)] * 3
        assert pytest.approx(2.0, rel=0.1) == 2.002
        assert seen() == [1e-3]
        assert not torch.equal(a, b) and not torch.allclose(a, b) and seen() == []
        with pytest.raises(AssertionError):
            torch.testing.assert_close(a, b)
        assert seen() == []
        assert torch.equal(a, a.clone()) and np.array_equal(a.numpy(), a.numpy()) and seen() == [0.0, 0.0]
        observed(0.25)
        assert seen() == [0.25]
    observed(0.5)
    assert torch.equal(a, a) and seen() == []
