"""Parts of a kernel's work run at the same time, and the threads that ran them are used again."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from neurosim.compiler.llvm import openmp, threads
from neurosim.compiler.llvm.threads import at_once


@pytest.fixture(autouse=True)
def own_threads(monkeypatch):
    """Leave out torch's: those are tested in test_openmp."""
    monkeypatch.setattr(openmp, "team", lambda: None)


def test_parts_run_at_the_same_time():
    # Each waits for the others: one after the other they would never end.
    meeting = threading.Barrier(3, timeout=10)

    def meet() -> None:
        meeting.wait()

    at_once([meet, meet, meet])


def test_the_first_part_runs_here_and_the_others_elsewhere():
    where: dict[int, int] = {}
    at_once([lambda n=n: where.__setitem__(n, threading.get_ident()) for n in range(3)])
    assert where[0] == threading.get_ident()
    assert len(set(where.values())) == 3


def test_all_parts_are_done_on_return():
    done: list[int] = []
    slow = threading.Event()

    def late() -> None:
        slow.wait(0.2)
        done.append(1)

    at_once([lambda: None, late])
    assert done == [1]


def test_threads_are_used_again():
    at_once([lambda: None] * 3)
    before = threading.active_count()
    for _ in range(20):
        at_once([lambda: None] * 3)
    assert threading.active_count() == before


def test_an_error_in_a_thread_comes_out():
    def broken() -> None:
        raise ValueError("in a thread")

    with pytest.raises(ValueError, match="in a thread"):
        at_once([lambda: None, broken])
    at_once([lambda: None] * 2)


def test_an_interrupted_caller_leaves_the_others_to_end():
    began, end = threading.Event(), threading.Event()
    done = threading.Event()

    def other() -> None:
        began.set()
        end.wait(10)
        done.set()

    def interrupted() -> None:
        began.wait(10)
        raise KeyboardInterrupt

    idle = len(threads._idle)
    with pytest.raises(KeyboardInterrupt):
        at_once([interrupted, other])
    assert not done.is_set() and len(threads._idle) <= idle
    end.set()
    assert done.wait(10)
    at_once([lambda: None] * 2)


def test_nothing_of_the_work_is_held_afterwards():
    class Held:
        def __call__(self) -> None:
            pass

    work = Held()
    gone = weakref.ref(work)
    at_once([lambda: None, work])
    del work
    gc.collect()
    assert gone() is None


def test_from_several_callers_at_once():
    total: list[int] = []

    def caller() -> None:
        for _ in range(50):
            at_once([lambda: total.append(1), lambda: total.append(1)])

    callers = [threading.Thread(target=caller) for _ in range(4)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert len(total) == 400
