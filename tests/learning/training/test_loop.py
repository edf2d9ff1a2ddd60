"""Callbacks, schedulers of each batch, accumulated gradients, averaged parameters, and what is watched."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError
from neurosim.learning.training.averaging import Average
from tests.learning.training.test_fit import batches, equal, network, quiet


def test_callbacks_get_the_network_and_the_numbers():
    seen, net = [], network()

    def on_batch(progress):
        assert progress.net is net and net.training
        seen.append(dict(progress))

    history = quiet(net, batches(), epochs=2, on_batch=on_batch, on_epoch=lambda progress: seen.append(dict(progress)))
    assert [row.get("batch") for row in seen] == [1, 2, 3, 4, None] * 2
    assert [seen[4], seen[9]] == history.rows
    assert seen[0]["loss"] > 0 and seen[5]["epoch"] == 2


def test_callbacks_stop_a_run():
    history = quiet(network(), batches(), epochs=9, on_epoch=lambda p: p["epoch"] == 3 and p.stop())
    assert len(history) == 3 and history.stopped_early
    seen = []

    def on_batch(progress):
        seen.append(progress["batch"])
        if progress["epoch"] == 2 and progress["batch"] == 2:
            progress.stop()

    history = quiet(network(), batches(), epochs=9, on_batch=on_batch)
    assert len(history) == 1 and history.stopped_early and seen == [1, 2, 3, 4, 1, 2]


def test_random_draws_of_callbacks_do_not_change_the_run():
    runs = []
    for draws in (False, True):
        net = network()
        rule = ns.SLTT(k=2)
        quiet(net, batches(), rule=rule, epochs=2, on_batch=lambda _, draws=draws: torch.rand(3) if draws else None)
        runs.append(net)
    assert equal(*runs)


def test_a_scheduler_can_be_stepped_after_each_batch():
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=8)
    rates = []
    quiet(
        net,
        batches(4),
        optimizer=optimizer,
        scheduler=scheduler,
        scheduler_per="batch",
        epochs=2,
        on_batch=lambda p: rates.append(optimizer.param_groups[0]["lr"]),
    )
    other = torch.optim.SGD(network().parameters(), 0.1)
    expected = torch.optim.lr_scheduler.OneCycleLR(other, max_lr=0.2, total_steps=8)
    by_hand = []
    for _ in range(8):
        other.step()
        expected.step()
        by_hand.append(other.param_groups[0]["lr"])
    assert rates == by_hand


@pytest.mark.parametrize("rule", [ns.BPTT(), ns.SLTT()], ids=repr)
def test_accumulated_batches_are_one_batch(rule):
    parts = batches(5, size=6)
    parts[1] = (parts[1][0][:, :2], parts[1][1][:2])
    whole = [
        (torch.cat([x for x, _ in group], 1), torch.cat([y for _, y in group]))
        for group in (parts[:2], parts[2:4], parts[4:])
    ]
    found = []
    for data, options in ((parts, {"accumulate": 2}), (whole, {})):
        net = network().double()
        data = [(x.double(), y) for x, y in data]
        optimizer = torch.optim.SGD(net.parameters(), 0.5)
        found.append((net, quiet(net, data, rule=rule, optimizer=optimizer, epochs=2, clip=0.7, **options)))
    (a, rows), (b, expected) = found
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)
    assert not equal(a, network().double())
    assert rows["loss"] == pytest.approx(expected["loss"])


def test_the_average_of_the_parameters_is_evaluated_saved_and_kept(tmp_path):
    data, steps = batches(3), []
    net = network()
    average = Average(network(), 0.9)

    def on_batch(progress):
        average.update(progress.net)
        steps.append([p.detach().clone() for p in progress.net.parameters()])

    history = quiet(net, data, epochs=2, average=0.9, on_batch=on_batch, validate=data, checkpoint=tmp_path)
    expected = network()
    average.copy_to(expected)
    assert equal(net, expected)
    assert history["validation_loss"][-1] == pytest.approx(ns.evaluate(expected, data)["loss"])
    # Training went on without the average.
    plain = network()
    quiet(plain, data, epochs=2)
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), steps[-1], strict=True))
    assert equal(expected, load(tmp_path / "best.pt")) and equal(plain, load(tmp_path / "last.pt"))


def load(path):
    net = network(5)
    net.load_state_dict(ns.load_checkpoint(path).network)
    return net


def test_an_average_follows_its_definition():
    net = network()
    average = Average(net, 0.75)
    start = [p.detach().clone() for p in net.parameters()]
    with torch.no_grad():
        for p in net.parameters():
            p.add_(1.0)
    average.update(net)
    average.copy_to(net)
    for p, q in zip(net.parameters(), start, strict=True):
        torch.testing.assert_close(p.detach(), q + 0.25)


def test_a_run_with_an_average_resumes_bit_for_bit(tmp_path):
    data = batches(4)
    options = {"average": 0.9, "accumulate": 2, "watch": "validation_accuracy", "watch_mode": "max", "validate": data}
    whole = network()
    rows = quiet(whole, data, epochs=3, checkpoint=tmp_path / "whole", **options)
    parts = network()
    quiet(parts, data, epochs=1, checkpoint=tmp_path / "parts", **options)
    parts = network()
    resumed = quiet(parts, data, epochs=3, checkpoint=tmp_path / "parts", resume=True, **options)
    assert equal(whole, parts) and rows["loss"] == resumed["loss"]


def test_any_column_is_watched(tmp_path):
    data, weights = batches(3), []
    net = network()
    history = quiet(
        net,
        data,
        epochs=6,
        optimizer=torch.optim.Adam(net.parameters(), 0.05),
        validate=data,
        watch="validation_accuracy",
        watch_mode="max",
        patience=2,
        checkpoint=tmp_path,
        on_epoch=lambda p: weights.append({k: v.clone() for k, v in p.net.state_dict().items()}),
    )
    column = history["validation_accuracy"]
    best = column.index(max(column))
    assert len(column) == min(6, best + 3)
    saved = ns.load_checkpoint(tmp_path / "best.pt").network
    assert all(torch.equal(saved[name], weights[best][name]) for name in saved)
    with pytest.raises(ns.NeurosimError, match=r"watch='f1' is no column of the history"):
        quiet(network(), data, watch="f1")


@pytest.mark.parametrize(
    "loss",
    [
        ns.CrossEntropy(class_weights=(1.0, 2.0, 3.0)),
        torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])),
    ],
    ids=["ours", "torch"],
)
def test_accumulated_batches_have_no_class_weights(loss):
    with pytest.raises(InputError, match=r"accumulate=2: .* divides by the weights of the classes"):
        quiet(network(), batches(2), loss=loss, epochs=1, accumulate=2)
    quiet(network(), batches(1), loss=loss, epochs=1, accumulate=1)


@pytest.mark.parametrize(
    "loss", [ns.CrossEntropy(ignore_index=-1), torch.nn.CrossEntropyLoss(ignore_index=-1)], ids=repr
)
def test_accumulated_batches_have_no_ignored_targets(loss):
    data = batches(2)
    quiet(network(), data, loss=loss, epochs=1, accumulate=2)
    data[1][1][2] = -1
    with pytest.raises(InputError, match=r"epoch 1, batch 2 has targets that the loss ignores, and accumulate=2"):
        quiet(network(), data, loss=loss, epochs=1, accumulate=2)
    quiet(network(), data, loss=loss, epochs=1)


def test_ignored_targets_outside_the_lengths_are_accumulated():
    (x, y), loss = batches(1)[0], ns.CrossEntropy(ignore_index=-1)
    labels = y[:, None].repeat(1, len(x))
    labels[0, 5:] = -1
    found = []
    for parts, accumulate in (((slice(0, 2), slice(2, 6)), 2), ((slice(0, 6),), 1)):
        net, lengths = network().double(), torch.tensor([5, 7, 7, 7, 7, 7])
        data = [(x[:, part].double(), labels[part], lengths[part]) for part in parts]
        optimizer = torch.optim.SGD(net.parameters(), 0.5)
        quiet(net, data, loss=loss, optimizer=optimizer, epochs=1, accumulate=accumulate)
        found.append(list(net.parameters()))
    for p, q in zip(*found, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)
