"""Frames of events in batches: order, changes, resuming, workers and the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import neurosim as ns
from neurosim.datasets.events import (
    Augmentation,
    Bins,
    CachedFrames,
    EpochSampler,
    EventFrames,
    SensorEvents,
    drop,
    flip,
    jitter,
    noise,
    shift,
    time_warp,
)
from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.learning import pad

SHAPE = (2, 8, 9)


def drawn(B: int = 11, number: int = 900, shape: tuple[int, ...] = SHAPE) -> SensorEvents:
    rng = np.random.default_rng(7)
    offsets = np.array([0, *np.sort(rng.integers(0, number, B - 1)), number])
    t = rng.integers(0, 3000, number) + 1000 * np.repeat(np.arange(B), np.diff(offsets))
    columns = (rng.integers(0, n, number) for n in (*(1,) * (3 - len(shape)), *shape)[::-1])
    return SensorEvents(t, *columns, shape=shape, offsets=offsets, repair=["sort"])


def rows(events: SensorEvents) -> list[tuple[int, ...]]:
    return list(zip(*(c.tolist() for c in (events.t, events.x, events.y, events.p)), strict=True))


LABELS = torch.arange(11)
CHANGES = (jitter(time=1e-4, space=1.0), drop(0.2), flip(), shift(2), time_warp(0.9, 1.1), noise(2000.0))


def test_a_batch_holds_the_frames_and_their_lengths() -> None:
    events = drawn()
    frames = EventFrames(events, LABELS, dt=1e-3)
    x, y, lengths = next(iter(DataLoader(frames, 11, collate_fn=pad)))
    assert torch.equal(x, events.binned(1e-3)) and torch.equal(y, LABELS)
    last = [int(events.samples(k).last) // 1000 + 1 for k in range(11)]
    assert lengths.tolist() == last
    fixed = EventFrames(events, LABELS, dt=1e-3, T=4)
    assert torch.equal(torch.stack([fixed[k][0] for k in range(11)], 1), events.between(0, 4e-3).binned(1e-3, 4))


def test_training_takes_the_batches_as_they_are() -> None:
    frames = EventFrames(drawn(), LABELS % 3, dt=1e-3, dtype=torch.float32)
    torch.manual_seed(0)
    net = ns.Sequential(ns.Linear(144, 3), ns.LI(dt=1e-3))
    sampler = EpochSampler(frames, seed=1)
    batches = [(x.flatten(2), y, n) for x, y, n in DataLoader(frames, 4, sampler=sampler, collate_fn=pad)]
    history = ns.fit(net, batches, epochs=1, progress=False)
    assert len(history.rows) == 1


def test_changes_depend_on_seed_epoch_and_sample_alone() -> None:
    def batches(epoch: int, seed: int = 5, workers: int = 0, done: int = 0) -> list[torch.Tensor]:
        frames = EventFrames(drawn(), LABELS, dt=1e-3, T=9, augment=CHANGES, seed=seed)
        sampler = EpochSampler(frames, seed=seed)
        sampler.resume(epoch, done)
        return [x for x, _, _ in DataLoader(frames, 2, sampler=sampler, collate_fn=pad, num_workers=workers)]

    def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
        return len(a) == len(b) and all(torch.equal(p, q) for p, q in zip(a, b, strict=True))

    first = batches(3)
    assert same(first, batches(3)) and same(first, batches(3, workers=2)) and same(first[2:], batches(3, done=4))
    assert not same(first, batches(4)) and not same(first, batches(3, seed=6))


def test_ranks_share_an_epoch() -> None:
    data = range(11)
    whole = EpochSampler(data, seed=2)
    parts = [EpochSampler(data, seed=2, rank=k, ranks=3) for k in range(3)]
    for sampler in (whole, *parts):
        sampler.set_epoch(1)
    order = [k for _, k in whole]
    assert sorted(order) == list(data) and [len(part) for part in parts] == [4, 4, 4]
    mixed = [k for row in zip(*parts, strict=True) for _, k in row]
    assert mixed == [*order, order[0]]
    with pytest.raises(InputError, match="rank = 3"):
        EpochSampler(data, rank=3, ranks=3)
    with pytest.raises(InputError, match="done = 12"):
        whole.resume(0, 12)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("shape", [SHAPE, (40,)])
def test_changed_events_stay_on_the_sensor(change: Augmentation, shape: tuple[int, ...]) -> None:
    events = drawn(shape=shape).samples(4)
    found = change(events, np.random.default_rng(1))
    again = change(events, np.random.default_rng(1))
    assert found == again and found.shape == events.shape and found.B == 1
    checked = SensorEvents(found.t, found.x, found.y, found.p, shape=shape)
    assert checked == found and len(found)


def test_each_change_is_what_it_says() -> None:
    events, rng = drawn().samples(4), np.random.default_rng(3)
    assert flip(x=1.0, y=1.0, p=1.0)(events, rng) == SensorEvents(
        events.t, 8 - events.x, 7 - events.y, 1 - events.p, shape=SHAPE
    )
    kept = drop(0.5)(events, rng)
    assert set(rows(kept)) < set(rows(events)) and abs(len(kept) / len(events) - 0.5) < 0.2
    assert drop(0.0)(events, rng) == events and len(drop(1.0)(events, rng)) == 0
    moved = [shift(1)(events, np.random.default_rng(k)) for k in range(30)]
    wanted = [
        [(t, x + a, y + b, p) for t, x, y, p in rows(events) if 0 <= x + a < 9 and 0 <= y + b < 8]
        for a in (-1, 0, 1)
        for b in (-1, 0, 1)
    ]
    assert all(rows(each) in wanted for each in moved) and len({len(each) for each in moved}) > 3
    assert time_warp(2.0, 2.0)(events, rng).t.tolist() == (2 * events.t).tolist()
    more = noise(1e5)(events, rng)
    extra = len(more) - len(events)
    assert abs(extra - 1e5 * (events.last - events.first) * 1e-6) < 100 and set(rows(events)) <= set(rows(more))
    late = jitter(time=1e-3)(events, rng)
    assert sorted(late.x.tolist()) == sorted(events.x.tolist())
    assert jitter()(events, rng) == events


def test_the_cache_is_keyed_by_events_and_parameters(tmp_path: Path) -> None:
    events = drawn()
    frames = EventFrames(events, LABELS, dt=1e-3, dtype=torch.uint8)
    cache = CachedFrames(frames, tmp_path)
    for k in (0, 5, -1, (2, 3)):
        assert torch.equal(cache[k][0], frames[k][0]) and cache[k][1] == frames[k][1]
    stamp = cache.path.stat().st_mtime_ns
    assert CachedFrames(frames, tmp_path).path.stat().st_mtime_ns == stamp
    others = [
        EventFrames(events, LABELS, dt=2e-3, dtype=torch.uint8),
        EventFrames(events, LABELS, dt=1e-3),
        EventFrames(events, LABELS, dt=1e-3, T=5, dtype=torch.uint8),
        EventFrames(
            SensorEvents.joined([events.samples(k) for k in range(10, -1, -1)]), LABELS, dt=1e-3, dtype=torch.uint8
        ),
    ]
    assert len({CachedFrames(each, tmp_path).path for each in (frames, *others)}) == 5
    cache.path.write_bytes(cache.path.read_bytes()[:-100])  # a damaged file is made anew
    assert torch.equal(CachedFrames(frames, tmp_path)[10][0], frames[10][0])
    content = bytearray(cache.path.read_bytes())  # one number of the right size and type is another one
    content[-1] ^= 1
    cache.path.write_bytes(content)
    assert torch.equal(CachedFrames(frames, tmp_path)[10][0], frames[10][0])
    with pytest.raises(InputError, match="change in each epoch"):
        CachedFrames(EventFrames(events, LABELS, dt=1e-3, augment=CHANGES), tmp_path)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"11 samples have labels of shape \[3\]"):
        EventFrames(drawn(), LABELS[:3], dt=1e-3)
    with pytest.raises(IndexError, match="11 is no sample"):
        EventFrames(drawn(), LABELS, dt=1e-3)[11]
    for make in (lambda: drop(1.5), lambda: jitter(time=-1.0), lambda: shift(-1), lambda: time_warp(0.0, 1.0)):
        with pytest.raises(InputError):
            make()


def test_arguments_of_frames_are_checked_at_once() -> None:
    events = drawn(2)
    for labels in ([0.7, 1.9], ["a", "b"], torch.tensor([0.5, 1.0])):
        with pytest.raises(InputError, match=r"labels are .*integers are expected"):
            EventFrames(events, labels, dt=1e-3)  # type: ignore[arg-type]
    assert [EventFrames(events, np.array([3, 4], np.uint16), dt=1e-3)[k][1] for k in (0, 1)] == [3, 4]  # type: ignore[arg-type]
    for dt in (-1.0, "1", 1.5e-6):
        with pytest.raises(UnitError):
            EventFrames(events, [0, 1], dt=dt)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="augment holds"):
        EventFrames(events, [0, 1], dt=1e-3, augment=[drop])  # type: ignore[list-item]
    with pytest.raises(InputError, match="value = 'counts'"):
        EventFrames(events, [0, 1], dt=1e-3, value="counts")  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [jitter(time=1e-5), drop(0.1), flip(), shift(1), time_warp(0.5, 2.0), noise(1e3)])
def test_samples_are_changed_one_by_one(change: Augmentation) -> None:
    events = drawn(3)
    with pytest.raises(InputError, match="changes one sample; got 3"):
        change(events, np.random.default_rng(0))
    assert change(events.samples(0), np.random.default_rng(0)).B == 1


@pytest.mark.filterwarnings("error")
def test_large_changes_leave_the_sensor() -> None:
    events, rng = drawn(1), np.random.default_rng(0)
    assert len(jitter(time=1e30)(events, rng)) == len(jitter(space=1e30)(events, rng)) == 0
    assert not time_warp(1e300, 1e300)(events, rng).t.any()
    column = SensorEvents([1], [0], [1], shape=(3, 1))
    assert all(shift(1)(column, np.random.default_rng(seed)).x.tolist() in ([0], []) for seed in range(4))
    assert any(len(shift(1)(column, np.random.default_rng(seed))) for seed in range(4))
    for make in (lambda: shift(2**70), lambda: noise(1e30)(events, rng), lambda: time_warp("a", 1.0)):  # type: ignore[arg-type]
        with pytest.raises(InputError):
            make()


def test_a_file_of_another_type_is_made_anew(tmp_path: Path) -> None:
    frames = EventFrames(drawn(2), [0, 1], dt=1e-3)
    first = CachedFrames(frames, tmp_path)
    path, right = first.path, [first[k][0] for k in (0, 1)]
    np.save(path, np.load(path).astype(np.float64) + 1)
    again = CachedFrames(frames, tmp_path)
    assert all(torch.equal(again[k][0], right[k]) for k in (0, 1))


def test_a_resume_that_is_refused_changes_nothing() -> None:
    sampler = EpochSampler(range(5), seed=1)
    with pytest.raises(InputError, match="done = 9"):
        sampler.resume(3, 9)
    assert list(sampler) == list(EpochSampler(range(5), seed=1))


def test_an_index_is_an_integer(tmp_path: Path) -> None:
    frames = EventFrames(drawn(4), range(4), dt=1e-3)
    for data in (frames, CachedFrames(frames, tmp_path)):
        assert [data[k][1] for k in (torch.tensor(1), np.int64(2), -1, (5, 0))] == [1, 2, 3, 0]  # type: ignore[index]
        for wrong in (1.5, "a", (0, 1.5), (0, 1, 2)):
            with pytest.raises(InputError, match=f"{type(data).__name__}: index = "):
                data[wrong]  # type: ignore[index]
        for beyond in (4, -5):
            with pytest.raises(IndexError, match="there are 0 to 3"):
                data[beyond]


def test_frames_without_a_name_are_not_cached(tmp_path: Path) -> None:
    class Nameless(Bins):
        def fill(self, out: torch.Tensor, events: object, sample: int, grid: object) -> None:
            """Leave the cells at 0."""

    with pytest.raises(InputError, match="does not show its parameters"):
        CachedFrames(EventFrames(drawn(2), [0, 1], dt=1e-3, value=Nameless()), tmp_path)
