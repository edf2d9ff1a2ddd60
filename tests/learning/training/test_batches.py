"""Forms of batches: targets over time, lengths, padding, wrong shapes and types."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import neurosim as ns
from neurosim.errors import InputError, NeurosimError, ShapeError
from neurosim.learning import CountMSE, MembraneMSE, accuracy, pad, spikes_per_step

DT = 1e-3


def network(outputs: int = 3):
    torch.manual_seed(0)
    net = ns.Sequential(ns.Linear(4, 16), ns.LIF(dt=DT, tau_mem=5e-3, r=8.0), ns.Linear(16, outputs), ns.LI(dt=DT))
    return net


def samples(number: int = 12):
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(3, 12, (number,), generator=generator).tolist()
    found = []
    for b, length in enumerate(lengths):
        x = torch.rand(length, 4, generator=generator) < 0.2
        x[:, b % 3] = torch.rand(length, generator=generator) < 0.9
        found.append((x.float(), b % 3))
    return found


def test_padded_batches_have_the_scores_of_the_samples_alone():
    net, each = network(), samples()
    padded = [pad(each[:7]), pad(each[7:])]
    alone = [(x[:, None], torch.tensor([y])) for x, y in each]
    for loss in (ns.CrossEntropy(), ns.MaxMembrane(), ns.MeanMembrane()):
        metrics = [accuracy, spikes_per_step]
        assert ns.evaluate(net, padded, loss, metrics) == pytest.approx(ns.evaluate(net, alone, loss, metrics))


def test_a_network_trains_on_padded_batches_with_every_rule_for_chunks():
    each = samples(30)
    loader = torch.utils.data.DataLoader(each, 10, collate_fn=pad)
    for rule in (ns.BPTT(), ns.SLTT(chunk=4), ns.OTTT(chunk=4)):
        net = network()
        history = ns.fit(
            net, loader, rule=rule, epochs=15, progress=False, optimizer=torch.optim.Adam(net.parameters(), 0.02)
        )
        assert history["accuracy"][-1] > 0.7 and history["loss"][-1] < 0.8 * history["loss"][0]


def test_targets_of_each_step_are_padded_too():
    each = [(torch.rand(t, 4), torch.arange(t)) for t in (3, 5)]
    x, y, lengths = pad(each)
    assert x.shape == (5, 2, 4) and lengths.tolist() == [3, 5]
    assert y.tolist() == [[0, 1, 2, 0, 0], [0, 1, 2, 3, 4]]
    assert not x[3:, 0].any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no sample"),
        ([(torch.rand(3, 4), 0), (torch.rand(3, 5), 0)], "one shape of a step"),
        ([(torch.rand(0, 4), 0)], "one step or more"),
        ([(torch.rand(3, 4), torch.zeros(2)), (torch.rand(4, 4), torch.zeros(3))], "one shape, or a value"),
    ],
)
def test_samples_that_cannot_be_padded_are_refused(given, message):
    with pytest.raises(NeurosimError, match=message):
        pad(given)


def test_labels_of_each_step_have_an_accuracy_of_their_steps():
    net, x = network(), torch.rand(6, 5, 4)
    y = torch.randint(3, (5, 6))
    mask = torch.arange(6) < torch.tensor([6, 2, 3, 4, 1])[:, None]
    right = y == net(x)[0].argmax(2).T
    assert ns.evaluate(net, [(x, y)])["accuracy"] == pytest.approx(float(right.double().mean()))
    expected = ((right * mask).sum(1) / mask.sum(1)).mean()
    assert ns.evaluate(net, [(x, y, mask)])["accuracy"] == pytest.approx(float(expected))
    ignoring = y.clone()
    ignoring[~mask] = -100
    loss = ns.CrossEntropy(ignore_index=-100)
    assert ns.evaluate(net, [(x, ignoring)], loss)["accuracy"] == pytest.approx(float(expected))


def test_ignored_samples_are_in_no_mean():
    net, x, y = network(), torch.rand(6, 5, 4), torch.tensor([0, 1, 2, 0, 1])
    ignored = torch.tensor([0, 9, 2, 9, 9])
    kept = [0, 2]
    loss = ns.CrossEntropy(ignore_index=9)
    found = ns.evaluate(net, [(x, ignored), (x, y)], loss)
    expected = ns.evaluate(net, [(x[:, kept], y[kept]), (x, y)])
    assert found == pytest.approx(expected)


def test_targets_that_are_numbers_have_no_accuracy():
    net, x = network(), torch.rand(6, 5, 4)
    for loss, y in (
        (MembraneMSE(), torch.rand(5, 6, 3)),
        (MembraneMSE(), torch.rand(5, 3)),
        (CountMSE(), torch.ones(5, 3)),
    ):
        assert [*ns.evaluate(net, [(x, y)], loss)] == ["loss"]
        with pytest.raises(InputError, match="accuracy is for classes"):
            ns.evaluate(net, [(x, y)], loss, [accuracy])
    assert [*ns.evaluate(net, [(x, torch.zeros(5, 3).long())], CountMSE())] == ["loss"]


def test_a_network_learns_a_membrane_over_time():
    torch.manual_seed(0)
    x = torch.rand(40, 16, 4)
    y = x[:, :, :1].cumsum(0).div(torch.arange(1, 41).view(-1, 1, 1)).transpose(0, 1)
    for rule in (ns.BPTT(), ns.SLTT(chunk=8)):
        net = network(1)
        optimizer = torch.optim.Adam(net.parameters(), 0.02)
        history = ns.fit(net, [(x, y)], rule=rule, loss=MembraneMSE(), optimizer=optimizer, epochs=40, progress=False)
        assert history["loss"][-1] < 0.5 * history["loss"][0] and "accuracy" not in history.last


@pytest.mark.parametrize(
    ("x", "y", "advice"),
    [
        ((100, 32, 1), (100, 32, 1), r"y looks time first; .* use y\.transpose\(0, 1\)"),
        ((32, 100, 1), (32,), r"x looks batch first: use x\.transpose\(0, 1\)"),
        ((32, 100, 1), (32, 7), r"x looks batch first"),
        ((100, 32, 1), (31,), r"are needed\.$"),
    ],
)
def test_the_advice_about_axes_is_right(x, y, advice):
    net = ns.Sequential(ns.Linear(1, 1), ns.LI(dt=DT))
    with pytest.raises(ShapeError, match=advice):
        ns.evaluate(net, [(torch.rand(x), torch.rand(y))], MembraneMSE())


def test_complex_and_non_finite_values_are_refused():
    net, x, y = network(), torch.rand(6, 5, 4), torch.tensor([0, 1, 2, 0, 1])
    with pytest.raises(InputError, match="real and imaginary part"):
        ns.fit(net, [(x.to(torch.complex64), y)], progress=False)
    with pytest.raises(InputError, match="y holds NaN"):
        ns.evaluate(net, [(x, torch.full((5, 3), float("nan")))], MembraneMSE())


@pytest.mark.parametrize(
    ("third", "message"),
    [
        (torch.tensor([6, 6, 6]), "one for each of the 5 samples"),
        (torch.tensor([6, 6, 6, 6, 7]), "batch 1: lengths must be from 1 to T = 6; got 7"),
        (torch.zeros(5, 6, dtype=torch.bool), "without a valid step"),
        ("six", "a pair of tensors is needed"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(third, message):
    net, x, y = network(), torch.rand(6, 5, 4), torch.tensor([0, 1, 2, 0, 1])
    with pytest.raises(NeurosimError, match=message):
        ns.evaluate(net, [(x, y, third)])


def test_a_metric_that_would_count_padding_is_refused():
    def mean(output, target, predicted):
        return output.mean()

    net, x, y = network(), torch.rand(6, 5, 4), torch.tensor([0, 1, 2, 0, 1])
    with pytest.raises(InputError, match=r"the metric 'mean' would count steps that are padding"):
        ns.evaluate(net, [(x, y, torch.full((5,), 6))], metrics=[mean])


class Collected:
    """A metric as those of torchmetrics are."""

    def __init__(self):
        self.calls = []

    def reset(self):
        self.calls.clear()

    def update(self, predicted, target):
        self.calls.append((predicted == target).double())

    def compute(self):
        return torch.cat(self.calls).mean()


def test_metrics_that_collect_batches_are_used():
    net = network()
    batches = [(torch.rand(6, n, 4), torch.arange(n) % 3) for n in (5, 2)]
    found = ns.evaluate(net, batches, metrics=[Collected(), accuracy])
    assert found["Collected"] == pytest.approx(found["accuracy"])
    history = ns.fit(net, batches, epochs=2, metrics=[Collected(), accuracy], validate=batches, progress=False)
    assert history["validation_Collected"] == pytest.approx(history["validation_accuracy"])
    torchmetrics = pytest.importorskip("torchmetrics")
    metric = torchmetrics.classification.MulticlassAccuracy(3, average="micro")
    assert ns.evaluate(net, batches, metrics=[metric])["MulticlassAccuracy"] == pytest.approx(found["accuracy"])


def test_losses_of_torch_are_used_through_one_adapter():
    net = network()
    batches = [(torch.rand(6, n, 4), torch.arange(n) % 3) for n in (5, 2)]
    assert ns.evaluate(net, batches, nn.CrossEntropyLoss()) == ns.evaluate(net, batches)
    values = [(x, torch.rand(x.shape[1], 6, 3)) for x, _ in batches]
    assert ns.evaluate(net, values, nn.MSELoss()) == pytest.approx(ns.evaluate(net, values, MembraneMSE()))
    history = ns.fit(net, batches, loss=nn.CrossEntropyLoss(), rule=ns.SLTT(), epochs=1, progress=False)
    assert "accuracy" in history.last
