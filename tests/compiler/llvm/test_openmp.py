"""Work on torch's own threads: shared out by Python, and by machine code itself."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest
import torch

from neurosim.compiler.llvm import openmp
from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.threads import at_once, spread

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the library is looked for on Linux only")


def counter():
    """Return machine code that adds 1 to each of its pieces and writes down in which share it was."""
    code = IRBuilder("double")
    found, shares = code.pointer_argument("found"), code.pointer_argument("shares")
    first, last, offset = map(code.integer_argument, ("first", "last", "offset"))
    scale = code.real_argument("scale")
    with code.loop(first, last) as n:
        code.store(code.add(code.load(found, n), scale), found, n)
        code.store_scalar("i64", code.integer("add", first, offset), shares, n)
    return code.compile()


def test_torchs_library_is_found():
    assert openmp.team() is not None
    assert any("torch" in path for path in openmp._candidates())


def test_parts_run_at_the_same_time_in_threads_of_their_own():
    meeting, where = threading.Barrier(3, timeout=20), set()

    def meet() -> None:
        meeting.wait()
        where.add(threading.get_ident())

    at_once([meet] * 3)
    assert len(where) == 3 and threading.get_ident() in where


def test_an_error_in_a_part_comes_out_and_the_others_end():
    done: list[int] = []

    def broken() -> None:
        raise ValueError("in a thread")

    for parts in ([broken, lambda: done.append(1)], [lambda: done.append(1), broken]):
        with pytest.raises(ValueError, match="in a thread"):
            at_once(parts)
    assert done == [1, 1]


def test_an_interrupt_comes_out():
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        at_once([interrupted, lambda: None])


@pytest.mark.parametrize("own", [True, False], ids=["own threads", "torch's threads"])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("total", [0, 1, 7, 64, 1000])
def test_every_piece_is_done_once(total, threads, own, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    if own:
        monkeypatch.setattr(openmp, "team", lambda: None)
    machine = counter()
    for grain, multiple in ((1, 1), (10, 1), (1, 16)):
        found, shares = torch.zeros(total, dtype=torch.float64), torch.full((total,), -1)
        machine.run_parallel(total, (found, shares), 100, 0.5, grain=grain, multiple=multiple)
        assert torch.equal(found, torch.full_like(found, 0.5))
        expected: list[int] = []
        spread(lambda a, b, e=expected: e.extend([a] * (b - a)), total, grain, multiple)
        assert sorted(expected) == (shares - 100).tolist()


def test_a_team_smaller_than_asked_for_does_all(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    real = openmp.team()
    assert real is not None
    share = real.share
    monkeypatch.setattr(real, "share", lambda function, work, workers, flags: share(function, work, 2, flags))
    found, shares = torch.zeros(103, dtype=torch.float64), torch.full((103,), -1)
    counter().run_parallel(103, (found, shares), 0, 1.0)
    assert torch.equal(found, torch.ones_like(found)) and shares.unique().numel() == 5


def test_from_several_callers_at_once(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    machine = counter()

    def caller(found) -> None:
        for _ in range(30):
            machine.run_parallel(1000, (found, torch.empty(1000, dtype=torch.int64)), 0, 1.0)

    results = [torch.zeros(1000, dtype=torch.float64) for _ in range(4)]
    callers = [threading.Thread(target=caller, args=(found,)) for found in results]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert all((found == 30).all() for found in results)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_does_without_it(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    machine, found = counter(), torch.zeros(1000, dtype=torch.float64)
    shares = torch.empty(1000, dtype=torch.int64)
    machine.run_parallel(1000, (found, shares), 0, 1.0)
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.alarm(60)
            machine.run_parallel(1000, (found, shares), 0, 1.0)
            status = 0 if openmp.team() is None and (found.numpy() == 2).all() else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    machine.run_parallel(1000, (found, shares), 0, 1.0)
    assert openmp.team() is not None and (found == 2).all()
