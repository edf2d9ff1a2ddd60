"""Events as points of a cloud."""

from __future__ import annotations

import pytest
import torch

from neurosim.datasets.events import SensorEvents, event_points
from neurosim.errors import InputError


def events() -> SensorEvents:
    return SensorEvents(
        [100, 200, 300, 400, 500, 0, 10], [0, 1, 2, 3, 4, 4, 0], [8, 6, 4, 2, 0, 8, 0], shape=(9, 5), offsets=[0, 5, 7]
    )


def test_points_are_events_scaled_to_the_sensor_and_the_length() -> None:
    found = event_points(events(), 5)
    assert sorted(map(tuple, found[0].tolist())) == [(0.25 * k, 1.0 - 0.25 * k, 0.25 * k) for k in range(5)]
    assert {tuple(each) for each in found[1].tolist()} <= {(1.0, 1.0, 0.0), (0.0, 0.0, 1.0)}  # with repetition


def test_the_draw_follows_from_seed_and_number_of_the_sample() -> None:
    many = SensorEvents(range(100), [0] * 100, [0] * 100, shape=(2, 2), offsets=[0, 100])
    assert torch.equal(event_points(many, 10, seed=3), event_points(many, 10, seed=3))
    assert not torch.equal(event_points(many, 10, seed=3), event_points(many, 10, seed=4))
    assert torch.equal(event_points(events(), 3)[:1], event_points(events().samples([0]), 3))


def test_a_sample_without_events_is_refused() -> None:
    empty = SensorEvents([1], [0], [0], shape=(2, 2), offsets=[0, 1, 1])
    with pytest.raises(InputError, match="sample 1 has no events"):
        event_points(empty, 3)
