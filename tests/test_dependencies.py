"""What setup.cfg asks for is what the code imports, and constraints.txt names one version of it."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# No extra can require these past their own pins: make installs lava-nc and sinabs beside the extras. Where they are not
# installed, only the name of the module is known.
BESIDE = {"lava", "lava-nc", "neurobench", "sinabs", "rockpool"}
OWN = "neurosim-toolkit"
# Extras that make does not install.
NOT_MADE = {"all", "camera", "notebook", "series"}


def requirements(text: str) -> list[Requirement]:
    """Read a list of requirements, one in a line."""
    lines = (line.strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def names(wanted: list[Requirement]) -> set[str]:
    """Return the names of the distributions wanted."""
    return {canonicalize_name(one.name) for one in wanted}


@pytest.fixture
def required(root: Path) -> list[Requirement]:
    """Return what every installation has."""
    return requirements(setup_cfg(root)["options"]["install_requires"])


@pytest.fixture
def extras(root: Path) -> dict[str, list[Requirement]]:
    """Return what the extras add."""
    return {extra: requirements(text) for extra, text in setup_cfg(root)["options.extras_require"].items()}


@pytest.fixture
def pinned(root: Path) -> list[Requirement]:
    """Return the versions that make installs."""
    return requirements((root / "constraints.txt").read_text(encoding="utf-8"))


def setup_cfg(root: Path) -> configparser.ConfigParser:
    """Read setup.cfg."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(root / "setup.cfg", encoding="utf-8")
    return config


def imported(folder: Path) -> dict[str, str]:
    """Map each foreign distribution that the code imports to one file that does so."""
    distributions = packages_distributions()
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                modules = [node.module]
            else:
                continue
            for top in {module.split(".")[0] for module in modules} - {*sys.stdlib_module_names, "neurosim"}:
                for distribution in distributions.get(top, [top]):
                    found[canonicalize_name(distribution)] = path.relative_to(folder.parent).as_posix()
    return found


def test_every_import_is_declared(
    root: Path, required: list[Requirement], extras: dict[str, list[Requirement]]
) -> None:
    declared = BESIDE.union(names(required), *map(names, extras.values()))
    assert {name: path for name, path in imported(root / "neurosim").items() if name not in declared} == {}


def test_every_requirement_is_imported(root: Path, required: list[Requirement]) -> None:
    assert sorted(names(required) - {*imported(root / "neurosim")}) == []


def test_every_extra_is_imported(root: Path, extras: dict[str, list[Requirement]]) -> None:
    # networkx, numpy and the rest of `lava` are what lava-nc imports.
    used = {*imported(root / "neurosim")}
    for extra in ("cuda", "data", "nir", "peers"):
        assert names(extras[extra]) <= used, extra


def test_nothing_under_the_gpl_is_imported(root: Path) -> None:
    assert "tonic" not in imported(root / "neurosim")


def test_all_has_every_extra_that_neurosim_uses(extras: dict[str, list[Requirement]]) -> None:
    (everything,) = extras["all"]
    assert everything.name == OWN
    assert everything.extras == {*extras} - {"all", "docs", "lint", "peers", "test", "xylo"}


def test_torch_is_bounded_by_what_was_tested(required: list[Requirement], pinned: list[Requirement]) -> None:
    (wanted,), (installed,) = ([one for one in listed if one.name == "torch"] for listed in (required, pinned))
    major, minor = str(installed.specifier).removeprefix("==").split(".")[:2]
    assert f"<{major}.{int(minor) + 1}" in str(wanted.specifier).split(",")


def test_hints_name_the_distribution(root: Path) -> None:
    # Another project on the package index is called neurosim.
    texts = [path for folder in ("neurosim", "docs", "examples") for path in (root / folder).rglob("*")]
    texts += [root / name for name in ("README.md", "CONTRIBUTING.md", "CITATION.cff", "Makefile")]
    wrong = re.compile(r"neurosim\[\w+\]|pip install (?:-\S+ )*'?neurosim(?![-\w])")
    found = [
        path.relative_to(root).as_posix()
        for path in texts
        if path.suffix in (".py", ".md", ".cff", "") and path.is_file() and wrong.search(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_make_installs_one_version_of_each(
    python: str, required: list[Requirement], extras: dict[str, list[Requirement]], pinned: list[Requirement]
) -> None:
    def applies(one: Requirement) -> bool:
        return one.marker is None or one.marker.evaluate({"python_version": python})

    here = [one for one in pinned if applies(one)]
    assert len(here) == len(names(here))
    # triton's version is torch's to choose.
    assert names([one for one in here if not str(one.specifier).startswith("==")]) == {"triton"}
    versions = {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in here}
    installed = [*required, *(one for extra, wanted in extras.items() if extra not in NOT_MADE for one in wanted)]
    for one in filter(applies, installed):
        if one.name != "triton":
            assert one.specifier.contains(versions[canonicalize_name(one.name)]), one
