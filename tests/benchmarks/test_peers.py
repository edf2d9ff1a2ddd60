"""Environments of other simulators: what is missing is named, and found when it is there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from benchmarks.peers import environments


def test_every_package_of_an_environment_has_a_pinned_version() -> None:
    pinned = set(re.findall(r"^([\w-]+)==", environments.CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE))
    required = {package for each in environments.ENVIRONMENTS.values() if each.required for package in each.packages}
    assert required <= pinned
    assert {"sparxml", "brainevent", "sanafe"} <= pinned


def test_an_environment_that_is_not_there_has_no_interpreter(tmp_path: Path) -> None:
    assert environments.python_of("nest", tmp_path) is None
    python = tmp_path / "nest" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert environments.python_of("nest", tmp_path) == python


def test_a_python_that_is_new_enough_is_this_one_and_one_from_the_future_is_none() -> None:
    assert environments.python_from((3, 10)) == sys.executable
    assert environments.python_from((3, 99)) is None


def test_what_cannot_be_installed_is_reported_and_left_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = environments.Environment((), "no_such_module_anywhere", required=True)
    monkeypatch.setitem(environments.ENVIRONMENTS, "nest", missing)
    monkeypatch.setattr(environments, "python_from", lambda oldest: None)
    assert environments.main(["nest", "genn", "--peers", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "nest: not installed: needs Python 3.10 or later, and none was found"
    assert lines[1].startswith("genn: not installed: GeNN is on no package index")
    assert list(tmp_path.iterdir()) == []
    assert environments.main(["genn", "--peers", str(tmp_path)]) == 0
