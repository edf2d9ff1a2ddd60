"""The fall to one thread beside other programs: what is lost, for how long one thread runs, and the same bits."""

from __future__ import annotations

import pytest
import torch

from neurosim.compiler.llvm import crowding as room
from neurosim.compiler.llvm import threads
from neurosim.compiler.llvm.crowding import Crowding, Region, region_of


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(room, "perf_counter", found)
    monkeypatch.setattr(room, "enabled", True)
    return found


def run(crowding: Crowding, clock: Clock, alone: float, together: float, seconds: float) -> float:
    """Call a region for `seconds`; return the wall time over that of one thread alone."""
    region, calls, began = Region(), 0, clock.now
    while clock.now - began < seconds:
        start = clock.now
        several = crowding.several(region, start)
        clock.now += together if several else alone
        crowding.took(region, several, 2, start)
        calls += 1
    return (clock.now - began) / (calls * alone)


@pytest.mark.parametrize("slower", [2.0, 10.0, 40.0])
def test_beside_busy_loops_two_threads_take_at_most_1_3_times_one_thread(slower, clock):
    assert run(Crowding(), clock, 1e-3, slower * 1e-3, 5.0) < 1.3


def test_on_a_quiet_machine_two_threads_run_but_for_the_measurements(clock):
    assert run(Crowding(), clock, 1e-3, 0.5e-3, 5.0) < 0.51


def test_after_the_busy_time_several_threads_run_again(clock):
    crowding = Crowding()
    run(crowding, clock, 1e-3, 20e-3, 5.0)
    assert run(crowding, clock, 1e-3, 0.5e-3, 5.0) < 0.6


def test_one_late_thread_changes_nothing(clock):
    crowding, region = Crowding(), Region()
    region.measure(1e-3)
    for taken in [0.5e-3] * 40 + [10e-3]:
        start = clock.now
        clock.now += taken
        crowding.took(region, True, 2, start)
    assert crowding.several(region, clock.now)


def test_a_dictionary_of_regions_is_bounded():
    regions: dict = {}
    for key in range(1000):
        assert region_of(regions, key) is region_of(regions, key)
    assert len(regions) <= 256


@pytest.mark.parametrize("crowded", [True, False])
def test_spread_runs_in_this_thread_alone_while_crowded(crowded, monkeypatch):
    monkeypatch.setattr(room, "enabled", True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(room.crowding, "until", float("inf") if crowded else 0.0)
    found = []
    threads.spread(lambda first, last: found.append((first, last)), 100)
    assert sorted(found) == ([(0, 100)] if crowded else [(0, 50), (50, 100)])
    monkeypatch.setattr(threads, "forced", 2)
    found.clear()
    threads.spread(lambda first, last: found.append((first, last)), 100)
    assert len(found) == 2
