"""Our integer networks against the fixed-point models of lava-nc, neuron for neuron and step for step."""

from __future__ import annotations

import importlib.util
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hardware.lava import fixed_point as lava_fixed
from tests.hardware.loihi.cases import Case, differing, draw, ours

pytestmark = pytest.mark.skipif(importlib.util.find_spec("lava") is None, reason="lava-nc is not installed")
Found = dict[str, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def lava() -> Iterator[Callable[[Case], Found]]:
    """Step Lava's models in a process of their own: its import changes the interpreter."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), lava_fixed.forget_start_method) as pool:
        yield lambda case: pool.submit(lava_fixed.step_models, case).result()


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([1, 5, 24]))
def test_random_networks(lava: Callable[[Case], Found], seed: int, size: int) -> None:
    case = draw(np.random.default_rng(seed), 40, size)
    assert differing(case, ours(case), lava(case)) == 0


def test_the_drawn_networks_spike_wrap_and_clip(lava: Callable[[Case], Found]) -> None:
    spikes = clipped = large = 0
    for seed in range(4):
        for values in ours(draw(np.random.default_rng(seed), 40, 24)).values():
            spikes += int(values["s"].sum())
            clipped += int((np.abs(values["v"]) == 2**23 - 1).sum())
            large += int((np.abs(values["u"]) > 2**22).sum())
    assert spikes > 500 and clipped > 100 and large > 100


def test_a_difference_is_seen(lava: Callable[[Case], Found]) -> None:
    case = draw(np.random.default_rng(0), 40, 24)
    found = ours(case)
    found["b"]["v"][17, 3] += 1
    assert differing(case, found, lava(case)) == 1
