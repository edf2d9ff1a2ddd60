"""TOML and JSON are read within limits, and TOML that is written is read back."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from neurosim.errors import FileError
from neurosim.files.tables import DEPTH, read_json, read_toml, toml_text


def toml(folder: Path, text: str | bytes) -> object:
    path = folder / "a.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_toml(path)


def as_json(folder: Path, text: str | bytes) -> object:
    path = folder / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_json(path)


def test_a_fault_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"a\.toml is not TOML: .*line 2"):
        toml(tmp_path, "name = 'x'\nname 7\n")
    with pytest.raises(FileError, match=r"a\.toml is not TOML"):
        toml(tmp_path, b"name = '\xff'")
    with pytest.raises(FileError, match=r"a\.json is not JSON: .*line 1 column 6"):
        as_json(tmp_path, '{"a":')
    with pytest.raises(FileError, match=r"a\.json is not JSON"):
        as_json(tmp_path, b'"\xff"')
    with pytest.raises(FileError, match=r"cannot read .*absent\.toml: there is no such file"):
        read_toml(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "7" * 20_000, "not TOML"),
        (f"a = {2**63}", "64 bits|an integer of 64 bits"),
        ("a = [" + "[" * 20_000, "not TOML"),
        ("a = " + "[" * 40 + "]" * 40, "nests deeper than 32 levels"),
        ("a." * 40 + "a = 1", "nests deeper than 32 levels"),
        ("a." * 100_000 + "a = 1", "has more than 256 parts"),
        ("x = { " + "a." * 100_000 + "a = 1 }", "has more than 256 parts"),
        ("#" * (2**20 + 1), "1,048,577 bytes long"),
    ],
)
def test_toml_has_limits(tmp_path: Path, text: str, message: str) -> None:
    start = time.perf_counter()
    with pytest.raises(FileError, match=message):
        toml(tmp_path, text)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7" * 20_000, "20,000 digits"),
        ("-" + "7" * 20_000, "digits"),
        ("[" * 100_000 + "]" * 100_000, "not JSON"),
        ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), "nests deeper than 32 levels"),
        ('{"a":' * 40 + "1" + "}" * 40, "nests deeper than 32 levels"),
    ],
)
def test_json_has_limits(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FileError, match=message):
        as_json(tmp_path, text)


def test_what_is_allowed_is_read(tmp_path: Path) -> None:
    assert toml(tmp_path, f"a = {2**63 - 1}\nb = {-(2**63)}\nc.d.e = [1.5, 2.5]") == {
        "a": 2**63 - 1,
        "b": -(2**63),
        "c": {"d": {"e": [1.5, 2.5]}},
    }
    assert as_json(tmp_path, "[" * DEPTH + "1" + "]" * DEPTH)
    assert as_json(tmp_path, json.dumps({"a": 10**399})) == {"a": 10**399}


def test_toml_that_is_written_is_read_back(tmp_path: Path) -> None:
    table = {
        "text": 'a "quoted" \\ line\nend\x7f\x01 µ 😀',
        "number": 1e-3,
        "tiny": 1e-300,
        "count": -5,
        "yes": True,
        "list": ["a=1", "b"],
        "sizes": [256, 128],
        "none": [],
    }
    assert toml(tmp_path, toml_text(table)) == table
    assert toml(tmp_path, toml_text({"left out": None} | {"a": 1})) == {"a": 1}
