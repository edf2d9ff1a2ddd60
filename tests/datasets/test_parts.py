"""Parts of data sets, the part held out for validation, and sequences of any lengths."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from neurosim.datasets import Labelled, Parts, Series, Split, card, split_off
from neurosim.datasets.events import EpochSampler, EventFiles, EventSet, SensorEvents
from neurosim.errors import InputError, ShapeError
from neurosim.learning import pad


def labelled(n: int = 40) -> Labelled:
    return Labelled(torch.arange(n)[:, None], torch.arange(n) % 4, ("a", "b", "c", "d"))


def series() -> Series:
    x = tuple(torch.full((length, 2), float(length)) for length in (3, 5, 4))
    return Series(x, tuple(map(torch.tensor, (0, 1, 0))), ("a", "b"), dt=0.1, groups=("ann", "bob", "ann"))


def events() -> EventSet:
    sensor = SensorEvents([0, 900, 5, 7], [0, 1, 2, 0], shape=3, offsets=[0, 2, 3, 4])
    return EventSet(sensor, torch.tensor([1, 0, 1]), ("left", "right"), ("ann", "bob", "ann"))


def test_a_share_of_every_class_is_split_off_and_no_sample_is_in_both() -> None:
    rest, taken = split_off(labelled(), 0.3, seed=2)
    assert torch.bincount(taken.y).tolist() == [3, 3, 3, 3]
    assert sorted(rest.x[:, 0].tolist() + taken.x[:, 0].tolist()) == list(range(40))
    assert torch.equal(split_off(labelled(), 0.3, seed=2)[1].x, taken.x)
    assert not torch.equal(split_off(labelled(), 0.3, seed=3)[1].x, taken.x)


def test_groups_stay_together() -> None:
    groups = [str(k // 8) for k in range(40)]
    rest, taken = split_off(labelled(), 0.4, groups=groups)
    inside = {groups[k] for k in taken.x[:, 0].tolist()}
    assert len(inside) == 2 and len(taken) == 16 and not inside & {groups[k] for k in rest.x[:, 0].tolist()}


@pytest.mark.parametrize("data", [series(), events()], ids=["series", "events"])
def test_every_kind_of_data_is_divided(data: Series | EventSet) -> None:
    rest, taken = split_off(data, 0.5, groups=["ann", "bob", "ann"])
    assert {len(rest), len(taken)} == {1, 2}
    assert set(rest.groups).isdisjoint(taken.groups)


@pytest.mark.parametrize("share", [0, 1, True, "half", float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match=r"split_off: share = .* must lie between 0 and 1"):
        split_off(labelled(), share)


def test_an_empty_part_and_wrong_groups_are_refused() -> None:
    with pytest.raises(InputError, match="leaves a part of 40 samples empty"):
        split_off(labelled(), 0.01)
    with pytest.raises(ShapeError, match=r"40 samples have \[2\] labels or groups"):
        split_off(labelled(), 0.5, groups=["a", "b"])
    steps = Series((torch.zeros(3, 1),), (torch.zeros(3, dtype=torch.int64),), ("a",))
    with pytest.raises(InputError, match="targets over time"):
        split_off(steps, 0.5)


def test_the_validation_part_is_the_one_that_the_holdout_names() -> None:
    mask = torch.arange(40) >= 36
    parts = Parts({"train": labelled(), "test": labelled(8)}, card("mnist"), mask).held_out()
    assert {name: len(part) for name, part in parts.items()} == {"train": 36, "validation": 4, "test": 8}
    assert parts["validation"].x[:, 0].tolist() == [36, 37, 38, 39]
    assert parts.held_out() is parts
    words = Parts({"train": tuple("abcd"), "test": tuple("e")}, card("mnist"), torch.tensor([False, True] * 2))
    assert words.held_out()["validation"] == ("b", "d")


def test_parts_without_a_rule_and_names_that_are_none_are_refused() -> None:
    parts = Parts({"train": labelled(), "test": labelled(8)}, card("mnist"))
    with pytest.raises(InputError, match=r"mnist has no validation part and no rule for one"):
        parts.held_out()
    with pytest.raises(InputError, match=r"mnist has no part 'dev'; it has train, test"):
        parts["dev"]
    assert isinstance(parts.split(), Split) and repr(parts) == "<Parts of mnist, train: 40, test: 8>"
    with pytest.raises(InputError, match=r"is no Split of samples of one size.*train: Series"):
        Parts({"train": series(), "test": series()}, card("mnist")).split()


def test_sequences_come_in_batches_with_their_lengths() -> None:
    data = series()
    loader = DataLoader(data, 3, sampler=EpochSampler(data, shuffle=False), collate_fn=pad)  # type: ignore[arg-type]
    x, y, lengths = next(iter(loader))
    assert x.shape == (5, 3, 2) and y.tolist() == [0, 1, 0] and lengths.tolist() == [3, 5, 4]
    assert repr(data) == "<Series n=3, 3 to 5 steps of [2], 2 classes>"


def test_windows_are_cut_within_a_sequence_and_keep_its_group() -> None:
    windows, groups = series().windows(2, 1)
    assert windows.x.shape == (9, 2, 2) and windows.timed
    assert windows.x[:, 0, 0].tolist() == [3.0] * 2 + [5.0] * 4 + [4.0] * 3
    assert groups == ("ann",) * 2 + ("bob",) * 4 + ("ann",) * 3 and windows.y.tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]
    with pytest.raises(InputError, match=r"no sequence has 6 steps; the longest has 5"):
        series().windows(6)


def test_sequences_of_some_persons() -> None:
    assert len(series().of_groups("ann")) == 2 and series().subset([2]).groups == ("ann",)
    with pytest.raises(InputError, match=r"there is no 'eve'; there are \['ann', 'bob'\]"):
        series().of_groups("eve")
    assert len(Series.joined(series(), series())) == 6
    with pytest.raises(InputError, match="of the same classes and dt"):
        Series.joined(series(), Series((), (), ("x",)))


@pytest.mark.parametrize(
    ("x", "y", "groups", "message"),
    [
        ((torch.zeros(3, 1),), (), (), "1 sequences have 0 targets"),
        ((torch.zeros(3, 1),), (torch.tensor(0),), ("a", "b"), "2 groups"),
        ((torch.zeros(0, 1),), (torch.tensor(0),), (), r"sequence 0 is \[0, 1\]"),
        ((torch.zeros(3, 1),), (torch.zeros(2).long(),), (), r"with a target of \[2\]"),
        ((torch.zeros(3, 1), torch.zeros(3, 2)), (torch.tensor(0),) * 2, (), r"steps of \[2\], not \[1\]"),
        ((torch.zeros(3, 1),), (torch.tensor(2),), (), "target 0 is no label from 0 to 1"),
        ((torch.zeros(3, 1),), (torch.tensor(0.5),), (), "target 0 is no label"),
    ],
)
def test_sequences_that_do_not_fit_are_refused(x: tuple, y: tuple, groups: tuple, message: str) -> None:
    with pytest.raises((ShapeError, InputError), match=message):
        Series(x, y, ("a", "b"), groups=groups)


def test_events_with_labels_become_frames() -> None:
    x, y = events().frames(dt=1e-3, T=2)[1]
    assert x.shape == (2, 3) and x.sum() == 1 and y == 0
    with pytest.raises(ShapeError, match=r"EventSet: 3 samples have labels .*\[2\]"):
        EventSet(events().events, torch.tensor([0, 1]), ("a", "b"))
    with pytest.raises(InputError, match="y runs from 0 to 1; there are 1 classes"):
        EventSet(events().events, torch.tensor([0, 1, 0]), ("a",))


def test_files_are_read_when_they_are_used() -> None:
    read = list[int]()

    def events_of(place: int) -> SensorEvents:
        read.append(place)
        return SensorEvents([place], [0], shape=3)

    files = EventFiles((7, 8, 9), torch.tensor([0, 1, 0]), ("a", "b"), events_of)
    some = files.subset(torch.tensor([True, False, True]))
    assert not read and some.places == (7, 9) and some[1][0].t.tolist() == [9] and read == [9]
    loaded = files.loaded()
    assert loaded.events.t.tolist() == [7, 8, 9] and loaded.events.B == 3 and loaded.y.tolist() == [0, 1, 0]
    with pytest.raises(InputError, match="loaded: more than 2 events"):
        files.loaded(2)
    with pytest.raises(InputError, match="there is no sample"):
        files.subset([]).loaded()
