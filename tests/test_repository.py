"""The repository as a whole: where things are, and whether its files agree with each other."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import neurosim

TEXT = {".cff", ".cfg", ".css", ".in", ".ini", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml", ""}
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


@pytest.mark.parametrize("folder", ["hardware_targets", "datasets", "pretrained"])
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


# What the Citation File Format 1.2.0 requires, and what else a reference manager reads.
CITATION = {"cff-version", "message", "url", "title", "authors", "type", "version", "license", "abstract", "keywords"}


def citation_problems(citation: Any, version: str, licence: str) -> list[str]:
    """List what is wrong with the contents of CITATION.cff."""
    if not isinstance(citation, dict):
        return ["not a mapping"]
    problems = [f"{key} is missing" for key in sorted(CITATION - set(citation))]
    problems += [f"{key} is unknown" for key in sorted(set(citation) - CITATION)]
    if str(citation.get("cff-version")) != "1.2.0":
        problems.append("cff-version must be 1.2.0")
    if citation.get("version") != version:
        problems.append(f"version must be {version}")
    if citation.get("license") != licence:
        problems.append(f"license must be {licence}")
    authors = citation.get("authors")
    named = isinstance(authors, list) and authors
    if not named or not all(isinstance(author, dict) and {"name", "family-names"} & set(author) for author in authors):
        problems.append("every author needs name or family-names")
    return problems


def test_the_citation_file_is_valid(root: Path) -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.read(root / "setup.cfg", encoding="utf-8")
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert neurosim.__version__ == config["metadata"]["version"]
    assert citation_problems(citation, neurosim.__version__, config["metadata"]["license_expression"]) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", "9.9"),
        ("license", "MIT"),
        ("authors", []),
        ("authors", [{"alias": "a"}]),
        ("cff-version", "1.0"),
        ("x", 1),
    ],
)
def test_a_wrong_citation_file_is_found(root: Path, key: str, value: object) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert len(citation_problems({**citation, key: value}, neurosim.__version__, "Apache-2.0")) == 1
    assert citation_problems([], "0.1.0", "Apache-2.0") == ["not a mapping"]


def test_hosted_ci_runs_what_the_repository_runs(root: Path) -> None:
    workflow = yaml.safe_load((root / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    matrix = job["strategy"]["matrix"]
    assert {system.split("-")[0] for system in matrix["os"]} == {"ubuntu", "macos"}
    config = configparser.ConfigParser(interpolation=None)
    config.read(root / "setup.cfg", encoding="utf-8")
    versions = re.findall(r"Python :: (3\.\d+)", config["metadata"]["classifiers"])
    assert matrix["python"] == versions
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert (root / ".ci" / "run").stat().st_mode & 0o111


def test_make_dev_installs_the_test_tools_alone(root: Path) -> None:
    command = ["make", "-n", "-W", "setup.cfg", "dev"]
    shown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    assert "-e '.[test]'" in shown
    for other in ("lava", "norse", "snntorch", "spikingjelly", "sinabs", "docs", "lint", "cuda"):
        assert other not in shown
