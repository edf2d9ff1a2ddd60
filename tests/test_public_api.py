"""The public names are few, known and described."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import neurosim


def test_public_names_are_those_checked_in() -> None:
    # To add or remove a public name is to change this list too, in plain view of whoever reviews it.
    listed = (Path(__file__).parent / "public_api.txt").read_text(encoding="utf-8").split()
    assert sorted(neurosim.__all__) == listed


def test_public_names_are_few() -> None:
    assert len(neurosim.__all__) < 80
    assert len({*neurosim.__all__}) == len(neurosim.__all__)


def test_every_public_name_exists_and_has_a_docstring() -> None:
    described = {name: inspect.getdoc(getattr(neurosim, name)) for name in neurosim.__all__ if name != "__version__"}
    assert described
    assert [name for name, text in described.items() if not text] == []


def test_a_class_describes_itself_and_not_its_base() -> None:
    # getdoc would find the docstring of torch.nn.Module where a class of ours has none.
    classes = [value for name in neurosim.__all__ if inspect.isclass(value := getattr(neurosim, name))]
    assert classes
    assert [value.__name__ for value in classes if not value.__dict__.get("__doc__")] == []


def test_version_is_that_of_the_metadata(root: Path) -> None:
    assert f"\nversion = {neurosim.__version__}\n" in (root / "setup.cfg").read_text(encoding="utf-8")


def shared_names() -> dict[str, list[str]]:
    """List the names that the packages give to several objects, each with the packages."""
    packages = [neurosim] + [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(neurosim.__path__, "neurosim.")
        if module.ispkg
    ]
    objects: dict[str, dict[int, str]] = {}
    for package in packages:
        for name in getattr(package, "__all__", ()):
            objects.setdefault(name, {}).setdefault(id(getattr(package, name)), package.__name__)
    return {name: sorted(found.values()) for name, found in objects.items() if len(found) > 1}


def test_no_two_objects_have_one_public_name() -> None:
    assert shared_names() == {}


def test_a_name_of_two_objects_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neurosim.energy.__all__", ["Linear"])
    monkeypatch.setattr("neurosim.energy.Linear", object(), raising=False)
    assert shared_names() == {"Linear": ["neurosim", "neurosim.energy"]}
