"""When data arrive on Lava, node by node."""

from __future__ import annotations

import pytest

from neurosim.hardware.lava.latency import Cycle, Hop, extra_delay, latencies


def hops(*given: tuple[str, str, int]) -> list[Hop]:
    return [Hop(f"{source}->{target}", source, target, delay) for source, target, delay in given]


def delays(latency: dict[str, int], edges: list[Hop]) -> list[int]:
    return [extra_delay(latency, hop) for hop in edges]


def test_in_a_row_each_connection_takes_a_step() -> None:
    edges = hops(("x", "a", 0), ("a", "b", 0), ("b", "c", 0))
    latency = latencies(["x"], ["a", "b", "c"], edges)
    assert latency == {"x": 0, "a": 1, "b": 2, "c": 3}
    assert delays(latency, edges) == [0, 0, 0]


def test_a_short_way_waits_for_the_long_one() -> None:
    edges = hops(("x", "a", 0), ("a", "b", 0), ("b", "c", 0), ("x", "c", 0), ("a", "c", 0))
    latency = latencies(["x"], ["a", "b", "c"], edges)
    assert latency["c"] == 3
    assert delays(latency, edges) == [0, 0, 0, 2, 1]


def test_a_delay_hides_the_step_of_the_connection() -> None:
    edges = hops(("x", "a", 0), ("a", "b", 1), ("b", "c", 4))
    latency = latencies(["x"], ["a", "b", "c"], edges)
    assert latency == {"x": 0, "a": 1, "b": 1, "c": 1}
    assert delays(latency, edges) == [0, 0, 3]


def test_a_loop_of_one_step_is_held_as_it_is() -> None:
    edges = hops(("x", "a", 0), ("a", "a", 1), ("a", "a", 3))
    latency = latencies(["x"], ["a"], edges)
    assert latency["a"] == 1
    assert delays(latency, edges) == [0, 0, 2]


def test_a_cycle_needs_as_many_steps_as_connections() -> None:
    edges = hops(("x", "a", 0), ("a", "b", 0), ("b", "a", 2))
    latency = latencies(["x"], ["a", "b"], edges)
    assert latency == {"x": 0, "a": 1, "b": 2}
    assert delays(latency, edges) == [0, 0, 0]


def test_a_cycle_with_too_short_a_delay_is_found() -> None:
    edges = hops(("x", "a", 0), ("a", "b", 0), ("b", "c", 0), ("c", "b", 1), ("c", "d", 0), ("d", "e", 0))
    with pytest.raises(Cycle) as caught:
        latencies(["x"], ["a", "b", "c", "d", "e"], edges)
    assert sorted(hop.name for hop in caught.value.hops) == ["b->c", "c->b"]
    # In the order of travel.
    assert caught.value.hops[0].target == caught.value.hops[1].source
