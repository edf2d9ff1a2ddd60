from __future__ import annotations

import itertools

import pytest
import torch

from neurosim.datasets import Batches, Labelled, delta_modulation, direct, rate
from neurosim.errors import InputError, ShapeError


@pytest.fixture
def data() -> Labelled:
    """Twenty-three samples, each holding its own number over 100."""
    number = torch.arange(23)
    return Labelled((number / 100)[:, None].expand(23, 4).clone(), number % 3, ("a", "b", "c"))


def numbers(batches) -> list[list[int]]:
    return [(100 * x[:, 0]).round().int().tolist() for x, _ in batches]


def test_every_sample_comes_once_with_its_label(data):
    batches = data.batches(5, seed=1)
    assert len(batches) == 5
    assert [len(y) for _, y in batches] == [5, 5, 5, 5, 3]
    assert sorted(itertools.chain(*numbers(batches))) == list(range(23))
    for x, y in batches:
        assert torch.equal((100 * x[:, 0]).round().long() % 3, y)


def test_order_depends_on_seed_and_epoch_alone(data):
    def order(seed, epoch):
        return numbers(data.batches(5, seed=seed, epoch=epoch))

    torch.rand(17)  # whatever else was drawn
    assert order(1, 2) == order(1, 2)
    orders = [order(seed, epoch) for seed in range(4) for epoch in range(4)]
    assert all(orders[i] != orders[j] for i in range(16) for j in range(i))


def test_the_global_random_state_is_left_alone(data):
    before = torch.get_rng_state()
    list(data.batches(5, encoder=rate(3, max_rate=500.0, dt=1e-3)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_resumed_training_sees_the_same_batches_bit_for_bit(data):
    def encoded():
        return data.batches(5, seed=3, encoder=rate(20, max_rate=1000.0, dt=1e-3))

    through, seen = encoded(), []
    for epoch in range(3):
        through.set_epoch(epoch)
        seen.append([(x, y) for x, y in through])
    resumed = encoded()
    resumed.set_epoch(2)
    assert resumed.epoch == 2
    for (x, y), (x_again, y_again) in zip(seen[2], resumed, strict=True):
        assert x.shape == (20, len(y), 4)
        assert torch.equal(x, x_again) and torch.equal(y, y_again)
    assert not torch.equal(seen[0][0][0], seen[1][0][0])


def test_spikes_differ_between_batches_and_epochs_of_equal_samples():
    same = Labelled(torch.full((8, 50), 0.5), torch.zeros(8, dtype=torch.int64), ("a",))
    batches = same.batches(4, encoder=rate(10, max_rate=1000.0, dt=1e-3), shuffle=False)
    (first, _), (second, _) = batches
    assert not torch.equal(first, second)
    batches.set_epoch(1)
    assert not torch.equal(first, next(iter(batches))[0])


def test_a_pass_that_has_begun_stays_in_its_epoch(data):
    batches = data.batches(5, seed=1, epoch=4)
    whole = numbers(batches)
    begun = iter(batches)
    next(begun)
    batches.set_epoch(9)
    assert numbers(begun) == whole[1:]


def test_without_shuffling_the_order_is_kept(data):
    assert list(itertools.chain(*numbers(data.batches(5, shuffle=False, epoch=7)))) == list(range(23))


def test_without_an_encoder_values_stay_as_stored(data):
    x, _ = next(iter(data.batches(5, shuffle=False)))
    assert torch.equal(x, data.x[:5])


def test_timed_samples_come_time_first():
    x = torch.arange(6 * 7 * 2).reshape(6, 7, 2).float()
    timed = Labelled(x, torch.zeros(6, dtype=torch.int64), ("a",), timed=True)
    batch, _ = next(iter(timed.batches(4, shuffle=False)))
    assert batch.shape == (7, 4, 2) and batch.is_contiguous()
    assert torch.equal(batch[:, 1], x[1])
    spikes, _ = next(iter(timed.batches(4, shuffle=False, encoder=delta_modulation(1.0))))
    assert spikes.shape == (7, 4, 2, 2)
    assert timed.flat().x.shape == (6, 7, 2)


def test_encoders_that_do_not_suit_the_data_are_refused(data):
    with pytest.raises(
        InputError, match=r"delta_modulation\(.*\) does take samples that run over time, but the data is not timed"
    ):
        data.batches(5, encoder=delta_modulation(0.1))
    timed = Labelled(torch.zeros(2, 3, 4), torch.zeros(2, dtype=torch.int64), ("a",), timed=True)
    with pytest.raises(InputError, match=r"direct\(steps=3\) does not take samples that run over time"):
        timed.batches(1, encoder=direct(3))


def test_no_samples_give_no_batches():
    nothing = Labelled(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), ("a",))
    assert len(nothing.batches(5)) == 0
    assert list(nothing.batches(5)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size = 0, but it must be an integer from 1"),
        ({"batch_size": 2.0}, r"batch_size = 2\.0, but"),
        ({"seed": -1}, "seed = -1, but it must be an integer from 0"),
        ({"epoch": True}, "epoch = True, but"),
    ],
)
def test_numbers_out_of_range_are_named(data, change, message):
    with pytest.raises(InputError, match=message):
        Batches(data, **{"batch_size": 5, **change})
    with pytest.raises(InputError, match="epoch = -1"):
        data.batches(5).set_epoch(-1)


@pytest.mark.parametrize(
    ("x", "y", "timed", "error", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64), False, ShapeError, r"x has shape \(3, 2\) for 2 labels"),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int64), True, ShapeError, r"must be \[n, T, \.\.\.\] with n = 2"),
        (torch.zeros(2, 2), torch.zeros(2), False, ShapeError, r"y is torch.float32 of shape \(2,\); labels are int64"),
        (torch.zeros(2, 2), torch.zeros(2, 1, dtype=torch.int64), False, ShapeError, r"of shape \(2, 1\)"),
        (torch.zeros(2, 2), torch.tensor([0, 3]), False, InputError, r"y runs from 0 to 3, but there are 3 classes"),
        (torch.zeros(2, 2), torch.tensor([-1, 0]), False, InputError, r"y runs from -1 to 0"),
    ],
)
def test_labels_and_samples_must_belong_together(x, y, timed, error, message):
    with pytest.raises(error, match=message):
        Labelled(x, y, ("a", "b", "c"), timed)


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
def test_spikes_are_the_same_on_every_device(data, device):
    encoder = rate(20, max_rate=1000.0, dt=1e-3)
    there = data.to(device)
    assert there.x.device.type == there.y.device.type == device
    for (x, y), (x_there, y_there) in zip(
        data.batches(5, encoder=encoder), there.batches(5, encoder=encoder), strict=True
    ):
        assert x_there.device.type == device
        assert torch.equal(x, x_there.cpu()) and torch.equal(y, y_there.cpu())


def test_parts_and_views(data):
    part = data.subset(slice(2, 4))
    assert part.y.tolist() == [2, 0] and part.classes == data.classes
    assert data.subset(data.y == 1).y.unique().tolist() == [1]
    pictures = Labelled(torch.rand(5, 1, 8, 8), torch.zeros(5, dtype=torch.int64), ("a",))
    assert pictures.flat().x.shape == (5, 64)
    assert pictures.flat().x.data_ptr() == pictures.x.data_ptr()
    assert Labelled(torch.rand(5), torch.zeros(5, dtype=torch.int64), ("a",)).flat().x.shape == (5, 1)
