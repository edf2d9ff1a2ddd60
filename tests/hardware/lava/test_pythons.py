"""The part that runs inside Lava, on every Python from 3.10 to 3.13 that this machine has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from neurosim.hardware.lava.runner import run_graph
from tests.hardware.lava.make_environments import VERSIONS, environment, interpreter
from tests.hardware.lava.reference import CASES
from tests.hardware.lava.test_shim import IMPORT_RAISES, INSTALLED, MENDED, run

pytest.importorskip("lava.magma")
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


def python_with_lava(version: str) -> Path:
    """Return an interpreter of `version` with lava-nc, or skip and say what is missing."""
    if version == RUNNING:
        return Path(sys.executable)
    found = environment(version)
    if found is None:
        there = interpreter(version)
        pytest.skip(
            f"no Python {version} here" if there is None else f"{there} has no lava-nc: run `make lava-pythons`"
        )
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_no_spike_differs_on(version: str) -> None:
    python = python_with_lava(version)
    for make in CASES.values():
        case = make()
        assert all(spikes.sum() > 300 for spikes in case.expected.values())
        assert all(0.02 < spikes.mean() < 0.9 for spikes in case.expected.values())
        result = run_graph(case.graph, case.request, timeout=300.0, python=python)
        assert result.python.startswith(f"{version}.")
        differing = {name: int((result.sent[name] != spikes).sum()) for name, spikes in case.expected.items()}
        assert differing == dict.fromkeys(case.expected, 0)


@pytest.mark.parametrize("version", [version for version in VERSIONS if version != RUNNING])
@pytest.mark.parametrize("script", [INSTALLED, IMPORT_RAISES, MENDED], ids=["installed", "import raises", "mended"])
def test_the_shim_on(version: str, script: str, root: Path) -> None:
    run(script, root, str(python_with_lava(version)))
