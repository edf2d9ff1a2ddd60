"""The example of Legendre memory runs from start to end in its short form."""

from __future__ import annotations

import re

import pytest

from tests.examples.test_examples import run


def test_legendre_memory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("legendre_memory.py", monkeypatch, "--quick")
    found = [
        tuple(map(float, pair)) for pair in re.findall(r"error ([\d.]+), with .* ([\d.]+)", capsys.readouterr().out)
    ]
    assert len(found) == 3 and all(good < 0.06 and bad > 0.5 for good, bad in found)
