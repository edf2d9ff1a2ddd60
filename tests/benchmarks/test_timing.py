"""Turns are taken, and what they took is sorted."""

from __future__ import annotations

from benchmarks import timing


def test_turns_are_taken_and_sorted():
    calls = []
    contenders = {name: (lambda name=name: calls.append(name)) for name in "ab"}
    times = timing.interleaved(contenders, rounds=5, calls=2)
    assert len(calls) == 2 * (2 + 5 * 3)
    assert all(list(t.seconds) == sorted(t.seconds) and len(t.seconds) == 10 for t in times.values())


def test_a_slow_contender_can_be_warmed_up_once():
    calls = []
    timing.interleaved({"slow": lambda: calls.append(1)}, rounds=2, calls=1, warm_up=1)
    assert len(calls) == 1 + 2 * 2


def test_a_contender_that_takes_long_is_called_less_often():
    calls = {"slow": 0, "quick": 0}

    def run(name):
        calls[name] += 1

    contenders = {name: (lambda name=name: run(name)) for name in calls}
    times = timing.interleaved(contenders, rounds=5, calls=2, slow={"slow": 3})
    assert calls == {"slow": 3, "quick": 2 + 5 * 3}
    assert [len(times[name].seconds) for name in ("slow", "quick")] == [3, 10]


def test_median_and_ends_of_known_times():
    found = timing.Times(tuple(float(n) for n in range(1, 12))).as_json()
    assert found == {"median_s": 6.0, "p10_s": 2.0, "p90_s": 10.0, "fastest_s": 1.0, "calls": 11}
