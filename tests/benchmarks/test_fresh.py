"""What a fresh process measures: its own peak, and errors that say what happened."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks import fresh

SMALL = {"steps": 40, "batch": 16, "sizes": [70, 32, 32, 20]}


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak that Linux keeps and can reset")
def test_the_peak_is_what_was_held_at_once_since_the_reset():
    size = 64 << 20
    torch.ones(2 * size // 4)  # before the reset: not to be seen
    before = fresh._reset_peak()
    for _ in range(3):
        torch.ones(size // 4)
    assert 0.9 * size <= fresh._peak() - before <= 1.3 * size


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak that Linux keeps and can reset")
def test_a_longer_run_needs_more_memory():
    points = [
        fresh.measured("peak", contender="neurosim, BPTT", task="feedforward", options={**SMALL, "steps": steps})
        for steps in (40, 4000)
    ]
    # At least the membranes of the 84 neurons.
    grown = points[1]["peak_bytes"] - points[0]["peak_bytes"]
    assert 3960 * 16 * 84 * 4 <= grown <= 100 * 3960 * 16 * 84
    assert all(point["calls"] == 1 for point in points)


def test_the_median_of_several_processes_is_told(monkeypatch):
    each = iter((30, 10, 20))
    found = {"median_s": 1.0, "calls": 1}
    monkeypatch.setattr(fresh, "measured", lambda measure, **what: {**found, "peak_bytes": next(each)})
    assert fresh.peaks(contender="neurosim", task="feedforward", options={}) == {
        **found,
        "peak_bytes": 20,
        "peaks_bytes": [30, 10, 20],
    }


def test_a_process_that_fails_says_why():
    with pytest.raises(fresh.FreshError, match=r"peak .* failed:[\s\S]*KeyError: 'nothing'"):
        fresh.measured("peak", contender="neurosim", task="nothing", options={})


def test_importing_the_module_loads_no_library():
    done = fresh.subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, benchmarks.fresh; print('torch' in sys.modules, 'neurosim' in sys.modules)",
        ],
        cwd=fresh.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]


def test_a_contender_brings_its_own_library_only():
    code = (
        "import sys; from benchmarks import nets, libraries; libraries.build('plain loop', nets.feedforward().layers);"
        "print([n for n in ('neurosim', 'spikingjelly', 'snntorch', 'norse', 'sinabs') if n in sys.modules])"
    )
    done = fresh.subprocess.run(
        [sys.executable, "-c", code], cwd=fresh.ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
