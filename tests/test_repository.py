"""The repository as a whole: what lies where, and what the files say of each other."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

TEXT = {".cfg", ".css", ".in", ".ini", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml", ""}
# Folders at the root of a file system: a path that begins with one of them is true on one machine only.
PLACES = ("home", "root", "work", "opt", "Users", "tmp", "mnt", "media", "data", "srv", "private", "scratch")
ABSOLUTE = re.compile(rf"(?<![\w.:/)}}\]*~-])/(?:{'|'.join(PLACES)})(?:/|\b(?=[\"'`\s]))")


def tracked(root: Path) -> list[Path]:
    """List the files of the project: what git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := root / name).is_file()]


def text_files(root: Path) -> list[Path]:
    """List the project's files that are text."""
    return [path for path in tracked(root) if path.suffix in TEXT]


@pytest.mark.parametrize("folder", ["hardware_targets", "datasets"])
def test_data_folders_are_no_packages(root: Path, folder: str) -> None:
    assert list((root / folder).glob("*.toml"))
    assert list((root / folder).rglob("*.py")) == []


def test_no_file_names_a_place_of_one_machine(root: Path) -> None:
    found = [
        f"{path.relative_to(root)}:{number}: {line.strip()}"
        for path in text_files(root)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if ABSOLUTE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("line", ["see {}home/ann/x", "cd '{}tmp/out'", "root={}work/main", "`{}data`"])
def test_a_place_of_one_machine_is_recognised(line: str) -> None:
    assert ABSOLUTE.search(line.format("/"))


@pytest.mark.parametrize("line", ["https://a.org{}data/x", "runs{}tmp/x", "../data/x", "a {}dev/full", "v{}work"])
def test_other_paths_are_let_through(line: str) -> None:
    assert not ABSOLUTE.search(line.format("/"))


def test_every_target_named_in_the_readme_exists(root: Path) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = {*re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE)}
    readme = (root / "README.md").read_text(encoding="utf-8")
    named = {*re.findall(r"(?:^\s*|`|&& |\$ )make (?:\w+=\S+ )*([a-z][\w-]*)", readme, re.MULTILINE)}
    assert {"demo", "test"} <= named
    assert sorted(named - targets) == []


def test_every_target_is_explained_by_make_help(root: Path) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    shown = subprocess.run(["make", "-s", "help"], cwd=root, capture_output=True, text=True, check=True).stdout
    for target in phony.split():
        assert re.search(rf"^  make {target} +\S", shown, re.MULTILINE), target


def test_every_example_says_what_it_shows(root: Path) -> None:
    examples = sorted((root / "examples").glob("*.py"))
    assert examples
    silent = [path.name for path in examples if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert silent == []
