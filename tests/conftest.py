"""What holds for every test: where kernels are kept, which devices run, and one seed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

# Several workers with several threads each would spend their time waiting for one another; read when torch is loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parent.parent

# All of this is read when the packages concerned are first imported, hence here and not in a fixture.
# Generated kernels are kept between runs, but apart from those of the person who runs the tests.
os.environ.setdefault("NEUROSIM_CACHE_DIR", str(ROOT / ".pytest_cache" / "neurosim"))
os.environ.setdefault("MPLBACKEND", "Agg")
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def as_many_threads_as_asked_for() -> None:
    """Let no busy processor decide how many threads a test runs."""
    from neurosim.compiler.llvm import crowding

    crowding.enabled = False


@pytest.fixture(params=["events", "dense"])
def product(request: pytest.FixtureRequest) -> Iterator[str]:
    """Force event-driven products, then dense ones."""
    from neurosim.kernels.common.policy import forced

    with forced(request.param):
        yield request.param


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root."""
    return ROOT
