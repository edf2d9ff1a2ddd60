"""`neurosim doctor` names what is installed, what is missing and how to get it, each once."""

from __future__ import annotations

import configparser
import importlib.metadata
import importlib.util
import re
from email.message import Message
from pathlib import Path

import pytest

from neurosim.cli import health
from neurosim.cli.health import PARTS, findings
from tests.cli.test_cli import run


def test_it_says_what_is_there() -> None:
    output = run("doctor")
    assert re.search("fused kernels on cpu: run_core, ", output)
    assert "torch" in output
    lines = output.splitlines()
    assert len(lines) == len({*lines})


def test_every_requirement_is_a_part(root: Path) -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.read(root / "setup.cfg")
    extras = config["options.extras_require"]
    listed = [
        config["options"]["install_requires"],
        *(extras[name] for name in extras if name not in ("docs", "lint", "test", "all")),
    ]
    lines = "\n".join(listed).splitlines()
    named = {re.split(r"[<>=;\[ ]", line)[0] for line in lines if line and not line.startswith("#")}
    assert named - {"tomli", "neurosim-toolkit"} <= {part.name for part in PARTS}
    for part in PARTS:
        if part.extra and not part.remedy:
            assert part.name in extras[part.extra], part


def test_what_is_missing_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "neurosim.cli.health.importlib.util.find_spec", lambda n: None if n in ("lava", "h5py", "nir") else real(n)
    )
    missing = {each.text.split(" is")[0]: each for each in findings() if "is not installed: " in each.text}
    assert missing["lava-nc"].good and "--ignore-requires-python lava-nc" in missing["lava-nc"].remedy
    assert not missing["h5py"].good and missing["h5py"].remedy == "pip install h5py"
    assert missing["nir"].remedy == "pip install 'neurosim-toolkit[nir]'"


@pytest.mark.parametrize(
    ("installed", "good", "text"),
    [
        ({"neurosim-toolkit": "x"}, True, "neurosim-toolkit 0.1.0"),
        ({"neurosim": health._SUMMARY}, True, "before it was called neurosim-toolkit"),
        ({"neurosim": "A Gymnasium platform"}, False, r"another project called neurosim \(0.1.0\) is installed"),
        ({"neurosim-toolkit": "x", "neurosim": "A Gymnasium platform"}, False, "another project called neurosim"),
        ({}, True, "neurosim-toolkit is not installed: it runs from "),
    ],
)
def test_the_other_project_of_the_name_is_noticed(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], good: bool, text: str
) -> None:
    def metadata(name: str) -> Message:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        about = Message()
        about["Version"], about["Summary"] = "0.1.0", installed[name]
        return about

    monkeypatch.setattr(importlib.metadata, "metadata", metadata)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: metadata(name)["Version"])
    found = list(health._distribution())
    assert any(re.search(text, each.text) for each in found)
    assert all(each.good for each in found) is good
    assert all("neurosim-toolkit" in each.remedy for each in found if not each.good)


def test_operations_of_one_status_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {
        ("a", "cpu"): "fused",
        ("b", "cpu"): "fused",
        ("a", "cuda"): "no driver; install one",
        ("b", "cuda"): "no driver; install one",
    }
    monkeypatch.setattr(health, "kernel_status", lambda: table)
    assert [each.line() for each in health._kernels()] == [
        "ok   fused kernels on cpu: a, b",
        "--   the reference runs on cuda, no driver: a, b\n       do: install one",
    ]
