"""From damaged files of every kind only errors of neurosim come out, within time and memory."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from neurosim.errors import NeurosimError
from tests.fuzz import campaign
from tests.fuzz.parsers import PARSERS, Parser, fresh

NUMBER, SEED = 2000, 20261130


@pytest.fixture
def home() -> Iterator[Path]:
    """Return an empty folder in memory."""
    with tempfile.TemporaryDirectory(dir=campaign.memory_folder()) as folder:
        yield Path(folder)


@pytest.mark.parametrize("kind", PARSERS)
def test_only_errors_of_neurosim_come_out(kind: str, home: Path) -> None:
    if kind == "nir" and importlib.util.find_spec("nir") is None:
        pytest.skip("nir is not installed")
    outcome = campaign.run(kind, NUMBER, SEED, home / kind)
    assert outcome.faults == {}
    # The damage reaches what is read, and leaves some files readable.
    assert outcome.refused > NUMBER // 4 and outcome.read > 0


@pytest.mark.parametrize("kind", PARSERS)
def test_a_file_without_damage_is_read(kind: str, home: Path) -> None:
    if kind == "nir" and importlib.util.find_spec("nir") is None:
        pytest.skip("nir is not installed")
    parser = PARSERS[kind](fresh(home / kind))
    if kind != "run":
        parser.path.write_bytes(parser.good)
    assert parser.read() is not None


def test_the_same_seed_gives_the_same_files(home: Path) -> None:
    first, second = (campaign.run("wav", 100, 3, home / "wav") for _ in range(2))
    assert (first.read, first.refused) == (second.read, second.refused)


def test_another_error_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Parser):
        name = "broken"

        def written(self) -> bytes:
            return bytes(8)

        def read(self) -> object:
            if self.path.read_bytes()[:1] == b"\0":
                raise NeurosimError("as it should be")
            return [][0]

    monkeypatch.setitem(PARSERS, "broken", Broken)
    faults = campaign.run("broken", 50, 0, home / "broken").faults
    assert len(faults) == 1 and next(iter(faults)).startswith("IndexError at test_parsers.py")
