"""Losses over chunks of steps, targets over time, lengths and masks, class weights, populations, regression."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import neurosim as ns
from neurosim.errors import InputError, NeurosimError, ShapeError
from neurosim.learning import (
    DECOLLE,
    FPTT,
    CountMSE,
    DecolleLIF,
    EProp,
    ForwardForward,
    Goodness,
    Latency,
    LocalReadouts,
    Loss,
    MembraneMSE,
    SpikeTimeMSE,
    Steps,
    TorchLoss,
    mask_of,
)
from neurosim.learning.losses import Masked

DT, T, B, C = 1e-3, 11, 5, 3
WEIGHTS = (0.5, 2.0, 1.0)
GENERATOR = torch.Generator().manual_seed(0)
Z = 0.05 + 0.9 * torch.rand(T, B, C, generator=GENERATOR, dtype=torch.float64)
SPIKES = (Z > 0.7).double()
LABELS = torch.randint(C, (B,), generator=GENERATOR)
OVER_TIME = torch.randint(C, (B, T), generator=GENERATOR)
LENGTHS = torch.tensor([11, 1, 4, 7, 2])
MASK = mask_of(LENGTHS, T)


class Track(Loss):
    """The loss of a user who reads one value of each step."""

    per_step = True
    target_over_time = True

    def __call__(self, output, target):
        return (output - target.transpose(0, 1)).square().mean()

    def prediction(self, output):
        return output.transpose(0, 1)


PER_STEP = [
    (ns.CrossEntropy(), LABELS),
    (ns.CrossEntropy(class_weights=WEIGHTS, label_smoothing=0.2), LABELS),
    (ns.CrossEntropy(), OVER_TIME),
    (ns.CrossEntropy(class_weights=WEIGHTS, label_smoothing=0.2, ignore_index=1), OVER_TIME),
    (ns.CrossEntropyMSE(0.3), OVER_TIME),
    (ns.CrossEntropyMSE(0.3, one_hot=True, ignore_index=0), OVER_TIME),
    (ns.CrossEntropyMSE(0.3, one_hot=True, ignore_index=LABELS[0].item()), LABELS),
    (MembraneMSE(), torch.rand(B, T, C).double()),
    (MembraneMSE(), torch.rand(B, C).double()),
    (TorchLoss(nn.CrossEntropyLoss()), LABELS),
    (TorchLoss(nn.CrossEntropyLoss()), OVER_TIME),
    (TorchLoss(nn.MSELoss()), torch.rand(B, T, C).double()),
    (TorchLoss(nn.SmoothL1Loss()), torch.rand(B, C).double()),
    (Track(), torch.rand(B, T, C).double()),
]


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize(("loss", "target"), PER_STEP, ids=lambda value: repr(value)[:60])
def test_the_chunks_of_a_run_add_up_to_its_loss(loss, target, masked):
    if masked:
        if isinstance(loss, (TorchLoss, Track)):
            with pytest.raises(InputError, match="no lengths or masks"):
                Masked(loss, MASK)(Z, target)
            return
        loss = Masked(loss, MASK)
    whole = float(loss(Z, target))
    for chunk in (1, 3, 4, T, 50):
        parts = 0.0
        for start in range(0, T, chunk):
            part = Z[start : start + chunk]
            parts += float(loss.over(part, target, Steps(start, T))) * len(part) / T
        assert parts == pytest.approx(whole, rel=1e-12)


def test_targets_over_time_are_those_of_torch():
    flat, labels = Z.transpose(0, 1).flatten(0, 1), OVER_TIME.flatten()
    weight = torch.tensor(WEIGHTS).double()
    for options in ({}, {"label_smoothing": 0.2}, {"ignore_index": 1}):
        expected = F.cross_entropy(flat, labels, weight=weight, **options)
        assert float(ns.CrossEntropy(class_weights=WEIGHTS, **options)(Z, OVER_TIME)) == pytest.approx(float(expected))
        expected = F.cross_entropy(Z.mean(0), LABELS, weight=weight, **options)
        found = ns.MeanMembrane(class_weights=weight, **options)(Z, LABELS)
        assert float(found) == pytest.approx(float(expected))


CLASS_LOSSES = [
    (ns.CrossEntropy(), Z, LABELS),
    (ns.CrossEntropy(), Z, OVER_TIME),
    (ns.CrossEntropyMSE(0.4, one_hot=True), Z, OVER_TIME),
    (ns.MaxMembrane(label_smoothing=0.1), Z - 3.0, LABELS),
    (ns.MeanMembrane(), Z, LABELS),
    (ns.RateCrossEntropy(), SPIKES, LABELS),
    (ns.TargetRates(0.6, 0.1), SPIKES, LABELS),
    (Latency(dt=DT), SPIKES, LABELS),
    (MembraneMSE(), Z, torch.rand(B, T, C).double()),
    (CountMSE(), SPIKES, torch.rand(B, C).double()),
    (SpikeTimeMSE(dt=DT), SPIKES, torch.rand(B, C).double() * 5e-3),
]


@pytest.mark.parametrize(("loss", "output", "target"), CLASS_LOSSES, ids=lambda value: repr(value)[:60])
def test_a_padded_batch_has_the_mean_of_its_samples_without_padding(loss, output, target):
    each, predictions = [], []
    for b, length in enumerate(LENGTHS.tolist()):
        z, y = output[:length, b : b + 1], target[b : b + 1]
        y = y[:, :length] if target.shape[:2] == (B, T) else y
        each.append(float(loss(z, y)))
        predictions.append(loss.predicted(z, y, Steps(0, length))[0])
    assert float(Masked(loss, MASK)(output, target)) == pytest.approx(sum(each) / B, rel=1e-12)
    found = loss.predicted(output, target, Steps(0, T, MASK))
    for b, length in enumerate(LENGTHS.tolist()):
        own = found[b, :length] if target.shape[:2] == (B, T) else found[b]
        torch.testing.assert_close(own, predictions[b])
    # Values of padding have no effect.
    other = output.clone()
    other[~MASK.T] = 0.5 if output is SPIKES else 99.0
    assert float(Masked(loss, MASK)(other, target)) == pytest.approx(sum(each) / B, rel=1e-12)


def test_a_population_of_neurons_codes_for_a_class():
    output = torch.rand(T, B, 2 * C).double()
    summed = output[:, :, ::2] + output[:, :, 1::2]
    for kind in (ns.CrossEntropy, ns.MaxMembrane, ns.MeanMembrane, ns.RateCrossEntropy):
        assert float(kind(population=2)(output, LABELS)) == pytest.approx(float(kind()(summed, LABELS)))
        assert torch.equal(kind(population=2).prediction(output), kind().prediction(summed))
    rates = torch.where(F.one_hot(LABELS, C).bool(), 0.8, 0.2).repeat_interleave(2, 1)
    expected = (output.mean(0) - rates).square().mean()
    assert float(ns.TargetRates(population=2)(output, LABELS)) == pytest.approx(float(expected))
    with pytest.raises(InputError, match="the output has 3 classes"):
        ns.CrossEntropy(population=2)(output, torch.full((B,), 3))
    with pytest.raises(ShapeError, match="which are not 4 for each class"):
        ns.CrossEntropy(population=4)(output, LABELS)
    with pytest.raises(InputError, match="leave population out"):
        Latency(dt=DT, population=2)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (ns.CrossEntropy, {"population": 0}, "a number of neurons for each class"),
        (ns.CrossEntropy, {"class_weights": "abc"}, "one number for each class"),
        (ns.MaxMembrane, {"class_weights": (1.0, -1.0)}, "finite numbers from 0"),
        (ns.RateCrossEntropy, {"label_smoothing": 2.0}, "from 0 to 1"),
        (ns.MeanMembrane, {"ignore_index": 1.5}, "an integer such as -100"),
        (TorchLoss, {"module": nn.CrossEntropyLoss}, "needs a loss module"),
        (TorchLoss, {"module": nn.MSELoss(), "of": "max"}, 'of must be "step"'),
        (TorchLoss, {"module": nn.MSELoss(reduction="sum")}, "a mean over the batch is needed"),
    ],
)
def test_choices_of_losses_are_checked(kind, options, message):
    with pytest.raises(InputError, match=message):
        kind(**options)


def test_wrong_targets_are_refused():
    with pytest.raises(InputError, match="2 class weights do not fit the 3 classes"):
        ns.CrossEntropy(class_weights=(1.0, 2.0))(Z, LABELS)
    with pytest.raises(InputError, match="every target of the batch has the ignored class"):
        ns.CrossEntropy(ignore_index=-100)(Z, torch.full((B,), -100))
    for loss, target in ((MembraneMSE(), torch.rand(T, B, C)), (CountMSE(), torch.rand(B, T, C))):
        with pytest.raises(ShapeError, match="batch first"):
            loss(Z, target)
    with pytest.raises(ShapeError, match=r"one class per sample is needed: \[5\]\."):
        ns.MaxMembrane()(Z, OVER_TIME)
    with pytest.raises(ShapeError, match="batch first"):
        TorchLoss(nn.MSELoss())(Z, torch.rand(B, 2))


def test_counts_and_spike_times_are_regressed():
    z = torch.zeros(6, 1, 2)
    z[[1, 3, 4], 0, 0] = 1.0
    assert float(CountMSE()(z, torch.tensor([[1, 0]]))) == 2.0
    assert CountMSE().prediction(z).tolist() == [[3.0, 0.0]]
    assert float(SpikeTimeMSE(dt=1e-3, tau=1e-3)(z, torch.tensor([[3e-3, 6e-3]]))) == pytest.approx(2.0)
    torch.testing.assert_close(SpikeTimeMSE(dt=1e-3).prediction(z), torch.tensor([[1e-3, 6e-3]]))


def network():
    torch.manual_seed(1)
    lif = dict(dt=DT, tau_mem=5e-3, r=8.0)
    return ns.Sequential(ns.Linear(6, 8), ns.LIF(**lif), ns.Linear(8, C), ns.LI(dt=DT, tau_mem=3e-3)).double()


def gradients(rule, net, target, loss):
    x = (torch.rand(T, B, 6, generator=torch.Generator().manual_seed(3)) < 0.5).double()
    value, output = rule.gradients(net, x, target, loss)
    return value, output, [p.grad for p in net.parameters() if p.grad is not None]


def step_targets(loss):
    return OVER_TIME if isinstance(loss, ns.CrossEntropy) else torch.rand(B, T, C).double()


CHUNKED = [
    (functools.partial(ns.SLTT), network),
    (functools.partial(ns.OTTT), network),
    (functools.partial(EProp), network),
]


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("loss", [ns.CrossEntropy(class_weights=WEIGHTS), MembraneMSE(), Track()], ids=repr)
@pytest.mark.parametrize(("rule", "make"), CHUNKED, ids=["sltt", "ottt", "eprop"])
def test_rules_give_each_chunk_its_steps_of_the_target(rule, make, loss, masked):
    target = step_targets(loss)
    if masked and isinstance(loss, Track):
        return
    loss = Masked(loss, MASK) if masked else loss
    found = []
    for chunk in (1, 4, 100):
        net = make()
        found.append(gradients(rule(chunk=chunk), net, target, loss))
    output = found[0][1]
    assert float(found[0][0]) == pytest.approx(float(loss(output, target)), rel=1e-10)
    assert any(bool(g.any()) for g in found[0][2])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_decolle_gives_each_step_its_target(masked):
    found = []
    for chunk in (1, 4, 100):
        torch.manual_seed(1)
        times = dict(tau_syn=2e-3, tau_mem=4e-3)
        parts = (ns.Linear(6, 8), DecolleLIF(dt=DT, **times), ns.Linear(8, 4), DecolleLIF(dt=DT, **times))
        net = LocalReadouts(ns.Sequential(*parts).double(), C)
        loss = Masked(ns.CrossEntropy(), MASK) if masked else ns.CrossEntropy()
        found.append(gradients(DECOLLE(chunk=chunk), net, OVER_TIME, loss))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-9, atol=1e-12)
    if masked:
        with pytest.raises(InputError, match="use 0"):
            gradients(DECOLLE(burn_in=2), net, OVER_TIME, loss)


def test_fptt_gives_each_step_its_target():
    net = network()
    trainer = FPTT(torch.optim.SGD(net.parameters(), 0.0), ramp=False)
    x = torch.rand(T, B, 6).double()
    value, output = trainer.sequence(net, x, OVER_TIME, ns.CrossEntropy())
    assert float(value) == pytest.approx(float(ns.CrossEntropy()(output, OVER_TIME)), rel=1e-10)


def test_the_loss_of_a_user_must_say_whether_its_target_is_over_time():
    class Silent(Track):
        target_over_time = None  # type: ignore[assignment]

    with pytest.raises(InputError, match=r"Silent\(\) does not say .* set target_over_time = True"):
        gradients(ns.SLTT(chunk=1), network(), torch.rand(B, T, C).double(), Silent())
    value, output, _ = gradients(ns.BPTT(), network(), target := torch.rand(B, T, C).double(), Silent())
    assert float(value) == pytest.approx(float(Track()(output, target)))


def test_a_method_that_a_subclass_replaces_is_used_for_chunks_too():
    class Doubled(ns.CrossEntropy):
        def __call__(self, output, target):
            return 2.0 * super().__call__(output, target)

        def prediction(self, output):
            return output[-1].argmax(1)

    plain, doubled = (gradients(ns.SLTT(chunk=3), network(), OVER_TIME, kind()) for kind in (ns.CrossEntropy, Doubled))
    torch.testing.assert_close(doubled[0], 2.0 * plain[0])
    torch.testing.assert_close(doubled[2], [2.0 * g for g in plain[2]])
    assert torch.equal(Doubled().predicted(Z, LABELS, Steps(0, T)), Z[-1].argmax(1))
    with pytest.raises(InputError, match="no lengths or masks"):
        Masked(Doubled(), MASK)(Z, LABELS)


def test_what_a_rule_cannot_serve_is_refused():
    net = Goodness(ns.Sequential(ns.Linear(6, 8), ns.LIF(dt=DT), ns.Linear(8, 8), ns.LIF(dt=DT)), C)
    with pytest.raises(NeurosimError, match="no lengths or masks"):
        gradients(ForwardForward(), net.double(), LABELS, Masked(ns.CrossEntropy(), MASK))
    with pytest.raises(NeurosimError, match="one class for each sample"):
        gradients(ForwardForward(), net, OVER_TIME, ns.CrossEntropy())
    with pytest.raises(InputError, match=r"FPTT needs a loss that is a mean over steps; CountMSE\(\)"):
        FPTT(torch.optim.SGD(net.parameters(), 0.1)).sequence(net, Z, LABELS, CountMSE())


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (torch.tensor([0, 3]), "from 1 to T = 3; got 0"),
        (torch.tensor([4, 3]), "got 4"),
        (torch.tensor([1.0, 3.0]), "must be an integer tensor"),
        ([1, 2], "got list"),
        (torch.tensor([[1, 2]]), "one number of steps for each sample"),
        (torch.zeros(2, 3, dtype=torch.bool), "a sample without a valid step"),
        (torch.ones(2, 4, dtype=torch.bool), "with T = 3"),
    ],
)
def test_lengths_are_checked(lengths, message):
    with pytest.raises(NeurosimError, match=message):
        mask_of(lengths, 3)


def test_a_repr_names_what_differs_from_the_defaults():
    assert repr(ns.CrossEntropy()) == "CrossEntropy()"
    assert repr(ns.CrossEntropy(label_smoothing=0.1)) == "CrossEntropy(label_smoothing=0.1)"
    assert repr(Latency(dt=DT)) == "Latency(dt=0.001)"
    assert repr(Track()) == "Track()"
