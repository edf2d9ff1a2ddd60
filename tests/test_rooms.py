"""Everything that README names for a package of neurosim is imported from that package."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROW = re.compile(r"^\| (`neurosim[\w.]*`) \| (.*) \|$", re.MULTILINE)
QUOTED = re.compile(r"`([^`]+)`")


def rows(text: str) -> dict[str, list[str]]:
    """Return the names in code quotes of each row of the table of packages, by the package."""
    return {package.strip("`"): QUOTED.findall(contents) for package, contents in ROW.findall(text)}


def missing(package: str, names: list[str]) -> list[str]:
    """List the names that cannot be imported from a package; `.name` is a package in it, other code is no name."""
    lost = []
    for name in names:
        if re.fullmatch(r"\.[a-z]\w*", name) and name != ".net":  # a kind of file
            importlib.import_module(package + name)
        elif name.isidentifier() and not hasattr(importlib.import_module(package), name):
            lost.append(name)
    return lost


ROWS = rows((Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8"))


def test_every_package_for_users_has_a_row(root: Path) -> None:
    inner = {"cli", "compiler", "files", "kernels", "network"}
    packages = {path.parent.name for path in (root / "neurosim").glob("*/__init__.py")}
    assert set(ROWS) == {"neurosim", *(f"neurosim.{name}" for name in packages - inner)}


@pytest.mark.parametrize("package", ROWS)
def test_the_names_of_a_row_are_imported_from_its_package(package: str) -> None:
    assert missing(package, ROWS[package]) == []


def test_a_missing_name_is_found() -> None:
    table = rows("| package | contents |\n|---|---|\n| `neurosim.cores` | integrators (`lif`, `life`) and `*.toml` |\n")
    assert table == {"neurosim.cores": ["lif", "life", "*.toml"]}
    assert missing("neurosim.cores", table["neurosim.cores"]) == ["life"]
