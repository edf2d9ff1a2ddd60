"""The memory after CA3: the recorded experiments, the limits in time, forgetting, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurosim.errors import InputError
from neurosim.models import ContentMemory

Inputs = dict[int, tuple[tuple[int, ...], tuple[int, ...]]]


def held(start: int, cue: int, content: tuple[int, ...], steps: int = 3) -> Inputs:
    """Return the inputs that learn a content."""
    return {start + k: ((cue,), content) for k in range(steps)}


def test_the_functional_experiment_is_the_recorded_one() -> None:
    """Every spike of the output, with the old content that a cue sends once while it is learned again."""
    inputs = held(0, 0, (0, 1, 8, 9)) | held(10, 4, (1, 5, 6)) | held(20, 3, (4, 5, 6)) | held(60, 3, (1, 3, 4, 8))
    inputs |= {30: ((0,), ()), 40: ((), (6,)), 50: ((), (0, 4)), 70: ((3,), ()), 80: ((), (6,))}
    sent = ContentMemory(5, 10).play(inputs, 90)
    assert sent.cues == {
        5: (0,), 7: (0,), 15: (4,), 17: (4,), 25: (3,), 27: (3,), 35: (0,), 46: (3, 4), 56: (0, 3), 65: (3,), 67: (3,),
        75: (3,), 86: (4,),
    }  # fmt: skip
    assert sent.contents == {
        5: (0, 1, 8, 9), 7: (0, 1, 8, 9), 15: (1, 5, 6), 17: (1, 5, 6), 25: (4, 5, 6), 27: (4, 5, 6),
        36: (0, 1, 8, 9), 45: (6,), 55: (0, 4), 65: (1, 3, 4, 8), 66: (5, 6), 67: (1, 3, 4, 8), 76: (1, 3, 4, 8),
        85: (6,),
    }  # fmt: skip


def test_the_map_is_recalled_by_state_as_recorded() -> None:
    """Sixteen cells learned 7 ms apart and found by their states 6 ms apart, that with several states too."""
    of_state = {0: (0, 4, 8), 3: (3, 5, 11, 15), 5: (1, 7, 9), 1: (2, 12), 2: (6, 13), 4: (10, 14)}
    inputs: Inputs = {112: ((), (1, 2, 4)), 118: ((), (3,)), 124: ((), (5,)), 130: ((), (0,))}
    for state, cells in of_state.items():
        for cell in cells:
            inputs |= held(7 * cell, cell, (state,))
    sent = ContentMemory(16, 6).play(inputs, 140)
    assert [sent.cues[t] for t in (118, 124, 130, 136)] == [
        (2, 6, 10, 12, 13, 14), (3, 5, 11, 15), (1, 7, 9), (0, 4, 8),
    ]  # fmt: skip


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize(("gap", "works"), [(5, False), (6, False), (7, True), (8, True)])
def test_a_recall_needs_seven_ms_after_learning(gap: int, works: bool, steps: int) -> None:
    """In both directions, however long the inputs are held."""
    by_cue = ContentMemory(5, 10).play(held(0, 2, (1, 3), steps) | {gap: ((2,), ())}, gap + 8)
    by_content = ContentMemory(5, 10).play(held(0, 2, (1, 3), steps) | {gap: ((), (3,))}, gap + 8)
    assert (by_cue.contents.get(gap + 6) == (1, 3)) is works
    assert (by_content.cues.get(gap + 6) == (2,)) is works


@pytest.mark.parametrize(("gap", "found"), [(6, (1,)), (7, (1,)), (8, (0, 1)), (9, (0, 1))])
def test_contents_that_share_a_neuron_need_eight_ms(gap: int, found: tuple[int, ...]) -> None:
    """Below, the first cue is not found by the shared neuron, though its content is recalled by cue."""
    memory = ContentMemory(5, 10)
    memory.play(held(0, 0, (1, 2)) | held(gap, 1, (2, 3)), gap + 12)
    assert memory.cues_with([2]) == found
    assert (memory.contents_of(0), memory.contents_of(1), memory.cues_with([1])) == ((1, 2), (2, 3), (0,))


def test_the_stress_experiment_recalls_all_of_it() -> None:
    """Each cue with its number in binary, then with the complement, 14 ms an operation; by cue and by each neuron."""
    memory, cues, contents = ContentMemory(5, 10), 5, 10
    for complement in (False, True):
        stored = [tuple(k for k in range(contents) if ((c + 1) >> k & 1) != complement) for c in range(cues)]
        for cue, content in enumerate(stored):
            memory.play(held(0, cue, content), 14)
        for cue, content in enumerate(stored):
            assert memory.play({0: ((cue,), ())}, 14).contents == {6: content}
        for k in range(contents):
            owners = tuple(c for c in range(cues) if k in stored[c])
            assert memory.play({0: ((), (k,))}, 14).cues == ({6: owners} if owners else {})


def test_weights_stay_in_their_range_and_pass_a_spike_from_a_known_one() -> None:
    """A learned pair has a weight above the threshold of one input, 3.29 nA of a big neuron; others stay below."""
    memory = ContentMemory(4, 6)
    memory.learn(1, [0, 5])
    forward, back = memory.weights
    for weights, row, columns in ((forward, 1, [0, 5]), (back.T, 1, [0, 5])):
        assert weights.min() >= 0.0 and weights.max() <= 6.0
        assert (weights[row, columns] > 3.36).all()
        others = np.ones_like(weights, bool)
        others[row, columns] = False
        assert (weights[others] < 3.29).all()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda m: m.learn(4, [0]), "cue must be integers from 0 to 3; got 4"),
        (lambda m: m.learn(0, [6]), "content must be integers from 0 to 5; got 6"),
        (lambda m: m.learn(0, []), "has at least one neuron"),
        (lambda m: m.step(cue=[True]), "got True"),
        (lambda m: m.play({9: ((0,), ())}, 9), r"inputs at \[9\] ms lie outside of 0 to 8 ms"),
        (lambda m: ContentMemory(0, 3), "cues must be an integer from 1"),
    ],
)
def test_what_cannot_be_is_refused(act: Any, message: str) -> None:
    """By name, value and range; nothing runs."""
    memory = ContentMemory(4, 6)
    with pytest.raises(InputError, match=message):
        act(memory)
    assert memory.now == 0
