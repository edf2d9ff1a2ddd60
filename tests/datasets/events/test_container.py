"""The container of events of sensors: each operation against its plain definition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosim import Events
from neurosim.datasets.events import TXYP, XYTP, SensorEvents, binary, bins, counts, signed, time_surface
from neurosim.errors import InputError, ShapeError, UnitError

SHAPE = (2, 5, 7)


def drawn(number: int = 400, B: int = 3, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> SensorEvents:
    rng = np.random.default_rng(seed)
    offsets = np.array([0, *np.sort(rng.integers(0, number + 1, B - 1)), number])
    volume = (*(1,) * (3 - len(shape)), *shape)
    t = rng.integers(0, 5000, number)
    x, y, p = (rng.integers(0, side, number) for side in volume[::-1])
    return SensorEvents(t, x, y, p, shape=shape, offsets=offsets, repair=["sort"])


def rows(events: SensorEvents) -> list[tuple[int, ...]]:
    columns = (events.batch, events.t, events.x, events.y, events.p)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def made(found: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return sorted(found, key=lambda row: row[:2])  # stable: by sample and time


@pytest.mark.parametrize("shape", [9, (5, 7), SHAPE, (1, 5, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.int16, torch.uint8])
def test_counts_are_the_events_of_each_cell(shape: Any, dtype: torch.dtype) -> None:
    events = drawn(shape=shape if isinstance(shape, tuple) else (shape,))
    wanted = torch.zeros(5, 3, *events.shape, dtype=dtype)
    for sample, t, x, y, p in rows(events):
        wanted[(t // 1000, sample, *(p, y, x)[3 - len(events.shape) :])] += 1
    assert torch.equal(events.binned(1e-3, 5, dtype=dtype), wanted)
    assert torch.equal(events.binned(1e-3, 5, dtype=dtype, value=binary), (wanted > 0).to(dtype))
    if dtype == torch.float32:
        assert torch.equal(events.to_sparse(1e-3, 5).to_dense(), wanted)
        assert np.array_equal(events.count(), wanted.sum(0).numpy())
    if dtype != torch.uint8 and events.shape == SHAPE:
        assert torch.equal(events.binned(1e-3, 5, dtype=dtype, value=signed), wanted[:, :, 1] - wanted[:, :, 0])


def test_a_time_surface_is_the_age_of_the_latest_event() -> None:
    events, tau = drawn(60, B=2), 2e-3
    found = events.binned(1e-3, 5, value=time_surface(tau))
    wanted = torch.zeros(5, 2, *SHAPE)
    for step in range(5):
        for sample, t, x, y, p in rows(events):
            if t < (step + 1) * 1000:
                wanted[step, sample, p, y, x] = math.exp(-((step + 1) * 1000 - t) * 1e-6 / tau)
    assert torch.allclose(found, wanted, atol=1e-7) and bool((found == 0).any())


def test_a_count_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def events(number: int, p: int) -> SensorEvents:
        return SensorEvents(
            np.zeros(number, int), np.zeros(number, int), np.zeros(number, int), [p] * number, shape=SHAPE
        )

    assert events(255, 1).binned(1e-3, dtype=torch.uint8).max() == 255
    with pytest.raises(InputError, match=r"sample 0 holds more events than torch\.uint8 counts"):
        events(256, 1).binned(1e-3, dtype=torch.uint8)
    for p, edge in ((1, 2**15 - 1), (0, -(2**15))):
        assert events(abs(edge), p).binned(1e-3, value=signed, dtype=torch.int16)[0, 0, 0, 0] == edge
        with pytest.raises(InputError, match=r"more events than torch\.int16"):
            events(abs(edge) + 1, p).binned(1e-3, value=signed, dtype=torch.int16)
    monkeypatch.setattr(bins, "EXACT", 1000)
    assert events(1000, 1).binned(1e-3).max() == 1000
    with pytest.raises(InputError, match="1,000 events or more, which float32 does not count"):
        events(1001, 1).binned(1e-3)


def test_refractory_time_is_counted_from_the_last_event_kept() -> None:
    events = drawn(900)
    wanted, latest = [], dict[Any, int]()
    for row in rows(events):
        place = (row[0], *row[2:])
        if row[1] - latest.get(place, -(10**9)) >= 300:
            wanted.append(row)
            latest[place] = row[1]
    assert rows(events.refractory(300e-6)) == wanted and 0 < len(wanted) < 900


@pytest.mark.parametrize("radius", [1, 2])
@pytest.mark.parametrize("shape", [SHAPE, (40,), (6, 6)])
def test_events_without_a_neighbour_are_left_out(radius: int, shape: tuple[int, ...]) -> None:
    events = drawn(200, shape=shape)
    found = rows(events)
    wanted = [
        row
        for k, row in enumerate(found)
        if any(
            other[0] == row[0]
            and row[1] - other[1] <= 50
            and (other[2:4] != row[2:4])
            and max(abs(other[2] - row[2]), abs(other[3] - row[3])) <= radius
            for other in found[:k]
        )
    ]
    assert rows(events.without_background(50e-6, radius)) == wanted and 0 < len(wanted) < 200


def test_hot_pixels_are_those_above_a_rate() -> None:
    events = SensorEvents([0] * 6 + [10**6 - 1], [0] * 5 + [1, 2], shape=3, offsets=[0, 7])
    assert events.hot_pixels(4.9).tolist() == [True, False, False]
    assert not events.hot_pixels(5.0).any()
    assert events.without_pixels(events.hot_pixels(4.9)).x.tolist() == [1, 2]


def test_crops_and_coarser_pixels_keep_the_events_inside() -> None:
    events = drawn()
    wanted = [(b, t, x - 2, y - 1, p) for b, t, x, y, p in rows(events) if 2 <= x < 5 and 1 <= y < 5]
    found = events.crop(x=(2, 5), y=(1, 5))
    assert rows(found) == wanted and found.shape == (2, 4, 3)
    coarse = events.downsampled((2, 3))
    assert rows(coarse) == [(b, t, x // 3, y // 2, p) for b, t, x, y, p in rows(events)] and coarse.shape == (2, 3, 3)
    assert drawn(shape=(9,)).downsampled(4).shape == (3,)


def test_slices_and_shifts_of_time() -> None:
    events = drawn()
    wanted = [(b, t - 1000, x, y, p) for b, t, x, y, p in rows(events) if 1000 <= t < 3000]
    assert rows(events.between(1e-3, 3e-3)) == wanted
    one = events.samples(1)
    part = one.between(0, 3e-3)
    assert rows(part) == [row for row in rows(one) if row[1] < 3000] and np.shares_memory(part.t, events.t)
    assert events.shifted(2e-3).shifted(-2e-3) == events and events.shifted(2e-3).first == events.first + 2000
    with pytest.raises(InputError, match="times begin at 0"):
        events.shifted(-1.0)
    with pytest.raises(UnitError, match="integer number of steps of 1e-06 s"):
        events.between(0, 1.5e-7)


def test_samples_are_taken_joined_and_merged() -> None:
    events = drawn(B=4)
    for which in (2, [1, 2], [3, 0, 0], slice(1, 3), slice(None, None, 2), []):
        chosen = [which] if isinstance(which, int) else range(4)[which] if isinstance(which, slice) else which
        wanted = [(n, *row[1:]) for n, k in enumerate(chosen) for row in rows(events) if row[0] == k]
        assert rows(events.samples(which)) == wanted
    assert SensorEvents.joined([events.samples([0, 1]), events.samples([2, 3])]) == events
    other = drawn(B=4, seed=1)
    both = SensorEvents.merged([events, other])
    assert rows(both) == made(rows(events) + rows(other))
    with pytest.raises(InputError, match="no sample"):
        events.samples(4)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_forms_there_and_back(data: Any) -> None:
    shape = data.draw(st.sampled_from([(6,), (3, 4), (2, 3, 2)]))
    events = drawn(
        data.draw(st.integers(0, 40)), B=data.draw(st.integers(1, 3)), shape=shape, seed=data.draw(st.integers(0, 99))
    )
    for kind in (TXYP, XYTP):
        array = events.to_array(kind)
        assert SensorEvents.from_array(array, shape=shape, offsets=events.offsets) == events
    assert SensorEvents.from_recorded(events.recorded()) == events.sorted()
    grid = events.binned(1e-3, 5)
    again = SensorEvents.from_grid(grid, 1e-3)
    assert torch.equal(again.binned(1e-3, 5), grid)
    assert SensorEvents.from_grid(events.to_sparse(1e-3, 5), 1e-3) == again
    assert again == SensorEvents.from_recorded(Events.from_grid(grid, 1e-3))


def test_columns_of_the_right_type_are_not_copied() -> None:
    t, x, y = np.arange(5), np.zeros(5, np.int16), np.zeros(5, np.uint16)
    p = np.ones(5, np.bool_)
    events = SensorEvents(t, x, y, p, shape=SHAPE)
    assert all(np.shares_memory(a, b) for a, b in ((t, events.t), (x, events.x), (y, events.y), (p, events.p)))
    assert [c.dtype for c in (events.t, events.x, events.y, events.p)] == [np.int64, np.uint16, np.uint16, np.uint8]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"t": [0.5]}, "t must hold integers; got float64. Times are microseconds"),
        ({"t": [-1]}, r"t\[0\] = -1.*repair=\['negative'\]"),
        ({"t": [2**63]}, r"t\[0\] = 9223372036854775808"),
        ({"x": [7]}, r"x\[0\] = 7, as 1 of 1 events lie outside 0 to 6"),
        ({"x": [-1]}, r"x\[0\] = -1.*repair=\['outside'\]"),
        ({"p": [2]}, r"p\[0\] = 2"),
        ({"p": [0.0]}, "p must hold integers; got float64"),
        ({"y": None}, r"y is missing, which a sensor of shape \[2, 5, 7\] has"),
        ({"shape": (3, 5, 7)}, "polarities 1 or 2"),
        ({"shape": 2**16 + 1}, "from 1 to 65,536"),
        ({"offsets": [0, 2]}, r"offsets must rise from 0 to the number of events, 1; got \[0, 2\]"),
        ({"repair": ["all"]}, "there are sort, outside, negative"),
    ],
)
def test_other_events_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SensorEvents(**{"t": [0], "x": [0], "y": [0], "p": [0], "shape": SHAPE, **arguments})


def test_the_order_and_the_lengths_are_checked() -> None:
    with pytest.raises(InputError, match="event 2 has t = 3 us, before event 1 with 5 us"):
        SensorEvents([0, 5, 3], [0, 1, 2], shape=3)
    assert SensorEvents([0, 5, 3], [0, 1, 2], shape=3, offsets=[0, 2, 3]).B == 2  # each sample has its own clock
    with pytest.raises(InputError, match="offsets falls from 2 to 1"):
        SensorEvents([0, 5, 3], [0, 1, 2], shape=3, offsets=[0, 2, 1, 3])
    with pytest.raises(ShapeError, match="t: 2, x: 1"):
        SensorEvents([0, 1], [0], shape=3)


def test_repairs_mend_only_what_they_name() -> None:
    events = SensorEvents([5, -1, 3, 4], [0, 1, 9, 2], shape=3, repair=["sort", "outside", "negative"])
    assert events.t.tolist() == [4, 5] and events.x.tolist() == [2, 0]
    with pytest.raises(InputError, match=r"t\[1\] = -1"):
        SensorEvents([5, -1, 3, 4], [0, 1, 9, 2], shape=3, repair=["sort", "outside"])


def test_fields_that_are_too_small_are_refused() -> None:
    events = SensorEvents([2**40], [300], shape=400)
    with pytest.raises(InputError, match="t reaches 1099511627776, but int32 holds 2147483647"):
        events.to_array(np.dtype([("t", "i4"), ("x", "i2")]))
    with pytest.raises(InputError, match="x reaches 300, but int8 holds 127"):
        events.to_array(np.dtype([("t", "i8"), ("x", "i1")]))


def test_grids_too_large_or_too_short_are_refused() -> None:
    late = SensorEvents([1_633_953_629_213_182], [0], shape=3)
    with pytest.raises(InputError, match=r"more than 8,589,934,592 cells. Begin at 0 with between"):
        late.binned(1e-3)
    assert late.between(1_633_953_629, 1_633_953_630).binned(1e-3).shape[0] == 214
    with pytest.raises(InputError, match=r"the last event lies at 1000 us, after 1 steps of 1000 us"):
        SensorEvents([1000], [0], shape=3).binned(1e-3, 1)
    with pytest.raises(InputError, match="needs two polarities"):
        SensorEvents([0], [0], shape=3).binned(1e-3, value=signed)
    with pytest.raises(InputError, match=r"dtype = torch\.float64"):
        SensorEvents([0], [0], shape=3).binned(1e-3, value=counts, dtype=torch.float64)
    assert SensorEvents([], [], shape=3).binned(1e-3).shape == (0, 1, 3)


def test_events_show_themselves() -> None:
    events = drawn()
    assert repr(events) == f"<SensorEvents n=400 B=3 shape=[2, 5, 7] {events.first} to {events.last} us>"
    html = events._repr_html_()
    assert "400" in html and "data:image/png;base64," in html
    assert events.picture(1).png().startswith(b"\x89PNG") and events.picture(1).pixels.shape == (5, 7, 3)
    assert drawn(shape=(9,)).picture().pixels.shape == (9, 400, 3)
    blank = SensorEvents([], [], [], [], shape=SHAPE).picture().pixels
    assert (blank == 255).all()


def test_samples_are_chosen_by_numbers_or_a_mask() -> None:
    events = SensorEvents([0, 900, 5, 1500, 7], [0, 1, 2, 0, 1], shape=3, offsets=[0, 2, 4, 5])
    for mask in (np.array([False, True, True]), torch.tensor([False, True, True]), [False, True, True]):
        assert events.samples(mask) == events.samples([1, 2]) == events.samples(slice(1, 3))
    assert events.samples(torch.tensor([2, 0])) == events.samples([2, 0])
    assert events.samples([]).B == 0
    for wrong in ([0.7], True, [True, False], "a", [[0, 1]], 1.0):
        with pytest.raises(InputError, match=r"samples: got .*mask of booleans \[3\]"):
            events.samples(wrong)  # type: ignore[arg-type]


def test_windows_and_factors_are_integers() -> None:
    events = SensorEvents([0, 900], [0, 1], [0, 1], shape=(2, 3))
    for window in ((0.5, 2), (0, float("nan")), 2, (0, 1, 2), (True, 2), (1, 1), (0, 4)):
        with pytest.raises(InputError, match="crop: x = "):
            events.crop(x=window)  # type: ignore[arg-type]
    assert events.crop(x=(np.int64(1), np.int64(3))).shape == (2, 2)
    for factor in ((1, 1, 1), (1.0, 2), 0, True):
        with pytest.raises(InputError, match="downsampled: factor = "):
            events.downsampled(factor)  # type: ignore[arg-type]


def test_times_that_seconds_do_not_hold_are_refused() -> None:
    last = 2**51 - 1
    exact = SensorEvents([last - 2, last - 1, last], [0, 1, 2], shape=3)
    assert SensorEvents.from_recorded(exact.recorded()) == exact
    with pytest.raises(InputError, match="recorded: the last event lies at 2251799813685248 us"):
        exact.shifted(1e-6).recorded()
    late = Events(time=np.array([4e9]), neuron=np.array([0]), duration=5e9, shape=3)
    with pytest.raises(InputError, match=r"from_recorded: a time of .*4000000000\.0"):
        SensorEvents.from_recorded(late)


def test_each_repair_is_asked_for() -> None:
    with pytest.raises(InputError, match=r"repair=\['negative', 'outside'\]"):
        SensorEvents([-1, 5, 2**62], [0, 0, 0], shape=3, repair=["outside"])
    with pytest.raises(InputError, match=r"repair=\['outside'\]"):
        SensorEvents([5, 2**62], [0, 0], shape=3, repair=["negative"])
    assert SensorEvents([-1, 5, 2**62], [0, 0, 0], shape=3, repair=["outside", "negative"]).t.tolist() == [5]


def test_what_a_cell_holds_is_checked() -> None:
    events = SensorEvents([0, 900], [0, 1], shape=3)
    for about in ({"value": "counts"}, {"value": time_surface}, {"dtype": np.float32}, {"dtype": torch.bfloat16}):
        with pytest.raises(InputError, match=f"binned: {next(iter(about))} = "):
            events.binned(1e-3, **about)  # type: ignore[arg-type]


def test_a_cell_that_was_full_may_go_back() -> None:
    def total(p: list[int]) -> int:
        zeros = np.zeros(len(p), np.int64)
        events = SensorEvents(zeros, zeros, zeros, p, shape=(2, 1, 1))
        return int(events.binned(1e-3, value=signed, dtype=torch.int16).sum())

    on, off = 32767 * [1], 32768 * [0]
    assert (total([*on, 0]), total([*off, 1])) == (32766, -32767)
    for p in ([*on, 1, 0], [*off, 0, 1]):
        with pytest.raises(InputError, match=r"more events than torch\.int16 counts"):
            total(p)


def test_sparse_grids_are_named() -> None:
    with pytest.raises(InputError, match="to_sparse: the last event lies at 1000 us"):
        SensorEvents([1000], [0], shape=3).to_sparse(1e-3, 1)


@pytest.mark.parametrize(("name", "value"), [("t", -1), ("x", 4), ("y", 3), ("p", 2)])
@pytest.mark.parametrize(
    "use", [lambda e: e.binned(1e-3), lambda e: e.refractory(1e-3), lambda e: e.without_background(1e-3)]
)
def test_columns_changed_by_the_caller_do_not_lead_outside_the_grid(name, value, use) -> None:
    arrays = {"t": np.arange(4), "x": np.zeros(4, np.uint16), "y": np.zeros(4, np.uint16), "p": np.zeros(4, np.uint8)}
    events = SensorEvents(**arrays, shape=(2, 3, 4))
    arrays[name][2] = value
    with pytest.raises(InputError, match=f"{name} holds {value}, .* changed after it was given"):
        use(events)
