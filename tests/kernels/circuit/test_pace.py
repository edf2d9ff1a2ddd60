"""The choice between one thread and several."""

from __future__ import annotations

import pytest

from neurosim.kernels.circuit.pace import Pace


def run(pace, seconds, pieces):
    """Run pieces whose steps take `seconds` by choice; return wall time, steps, and pieces with several threads."""
    wall, steps, several = 0.0, 0, 0
    for _ in range(pieces):
        threads, number = pace.next()
        pace.took(threads, number, number * seconds[threads])
        wall, steps, several = wall + number * seconds[threads], steps + number, several + threads
    return wall, steps, several


@pytest.mark.parametrize("faster", [True, False])
def test_the_faster_choice_is_taken_almost_always(faster):
    seconds = {faster: 1e-4, not faster: 6e-4}
    wall, steps, several = run(Pace(), seconds, 1000)
    assert several > 950 if faster else several < 50
    assert wall < 1.05 * steps * 1e-4


def test_a_machine_that_gets_busy_and_quiet_again_is_followed():
    pace = Pace()
    run(pace, {True: 1e-4, False: 2e-4}, 300)
    wall, steps, several = run(pace, {True: 2e-3, False: 3e-4}, 300)
    assert several < 20
    assert wall < 1.3 * steps * 3e-4
    _, _, several = run(pace, {True: 1e-4, False: 2e-4}, 1000)
    assert several > 700
