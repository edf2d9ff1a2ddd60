from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.learning import (
    BPTT,
    SLTT,
    CrossEntropy,
    CrossEntropyMSE,
    Latency,
    Loss,
    MaxMembrane,
    MeanMembrane,
    RateCrossEntropy,
    TargetRates,
)

DT = 1e-3
LOSSES: list[Loss] = [
    CrossEntropy(),
    CrossEntropyMSE(),
    CrossEntropyMSE(0.3, one_hot=True),
    MaxMembrane(),
    MeanMembrane(),
    RateCrossEntropy(),
    TargetRates(),
    TargetRates(200.0, 20.0, dt=DT),
    Latency(dt=DT),
]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)


def output(steps: int = 12, samples: int = 6, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Values strictly inside 0 to 1, so that losses for membranes and for spikes both take them."""
    generator = torch.Generator().manual_seed(1)
    z = 0.05 + 0.9 * torch.rand(steps, samples, classes, generator=generator, dtype=torch.float64)
    return z, torch.randint(classes, (samples,), generator=generator)


def spikes(steps: int, first: list[list[int]], more: int = 0) -> Tensor:
    """Spikes [T, B, C] with the first at these steps (T: none) and `more` random later ones."""
    steps_of = torch.tensor(first)
    grid = torch.arange(steps)[:, None, None]
    z = (grid == steps_of).double()
    later = torch.rand(z.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    return torch.where((grid > steps_of) & later, 1.0, z) if more else z


def log_softmax(row: list[float], index: int) -> float:
    return row[index] - math.log(sum(math.exp(v) for v in row))


@every_loss
def test_gradients_are_finite_differences(loss: Loss) -> None:
    z, y = output()
    assert torch.autograd.gradcheck(lambda z: loss(z, y), z.requires_grad_())


@every_loss
def test_a_loss_gives_a_scalar_mean_over_the_batch(loss: Loss) -> None:
    z, y = output()
    value = loss(z, y)
    assert value.shape == () and value.dtype == torch.float64
    each = [float(loss(z[:, [b]], y[[b]])) for b in range(len(y))]
    assert float(value) == pytest.approx(sum(each) / len(each), rel=1e-12)
    same = copy.deepcopy(loss)
    assert same == loss and hash(same) == hash(loss)
    assert loss not in [other for other in LOSSES if other is not loss]


@every_loss
def test_per_step_says_whether_a_loss_is_the_mean_of_its_steps(loss: Loss) -> None:
    z, y = output()
    parts = sum(float(loss(part, y)) for part in z.split(1)) / len(z)
    assert (float(loss(z, y)) == pytest.approx(parts, rel=1e-12)) is loss.per_step


@every_loss
def test_training_by_a_loss_makes_its_prediction_right(loss: Loss) -> None:
    # The loss falls along its gradient until every sample is predicted right.
    z, y = output()
    logits = torch.logit(z).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    assert (loss.prediction(z) == y).double().mean() < 1
    for _ in range(150):
        optimizer.zero_grad()
        loss(torch.sigmoid(logits), y).backward()
        optimizer.step()
    predicted = loss.prediction(torch.sigmoid(logits))
    assert predicted.dtype == torch.int64 and torch.equal(predicted, y)


@pytest.mark.parametrize("rule", [BPTT(), SLTT()], ids=repr)
@every_loss
def test_a_network_learns_with_it(loss: Loss, rule: Any) -> None:
    if isinstance(rule, SLTT) and not loss.per_step:
        return
    membrane = isinstance(loss, MaxMembrane | MeanMembrane)
    out = ns.LI(dt=DT) if membrane else ns.LIF(dt=DT, tau_mem=5e-3)
    net = ns.Sequential(ns.Linear(8, 16), ns.LIF(dt=DT, tau_mem=5e-3), ns.Linear(16, 2), out)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, 0.5, 1.5)
    y = torch.arange(8) % 2
    x = torch.zeros(20, 8, 8)
    x[::2, y == 0, :4] = 1
    x[::2, y == 1, 4:] = 1
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        values.append(float(rule.gradients(net, x, y, loss)[0]))
        optimizer.step()
    assert torch.equal(loss.prediction(net(x)[0]), y)
    assert values[-1] < values[0]


def test_cross_entropy_is_the_mean_of_each_steps() -> None:
    z = torch.tensor([[[1.0, 2.0, 0.0]], [[0.0, -1.0, 3.0]]], dtype=torch.float64)
    expected = -(log_softmax([1, 2, 0], 1) + log_softmax([0, -1, 3], 1)) / 2
    assert float(CrossEntropy()(z, torch.tensor([1]))) == pytest.approx(expected, rel=1e-12)
    assert CrossEntropy().prediction(z).tolist() == [2]


def test_cross_entropy_mse_mixes_the_two_by_its_weight() -> None:
    z = torch.tensor([[[1.0, 2.0, 0.0]]], dtype=torch.float64)
    entropy = -log_softmax([1, 2, 0], 1)
    to_ones, to_one_hot = (0 + 1 + 1) / 3, (1 + 1 + 0) / 3
    y = torch.tensor([1])
    assert float(CrossEntropyMSE()(z, y)) == pytest.approx(0.95 * entropy + 0.05 * to_ones, rel=1e-12)
    assert float(CrossEntropyMSE(0.4, one_hot=True)(z, y)) == pytest.approx(0.6 * entropy + 0.4 * to_one_hot, rel=1e-12)
    assert float(CrossEntropyMSE(0.0)(z, y)) == float(CrossEntropy()(z, y))


def test_max_membrane_reads_the_highest_step_of_each_output() -> None:
    v = torch.tensor([[[1.0, -2.0]], [[0.5, 3.0]], [[0.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    value = MaxMembrane()(v, torch.tensor([0]))
    value.backward()
    assert float(value.detach()) == pytest.approx(-log_softmax([1, 3], 0), rel=1e-12)
    assert v.grad is not None and (v.grad != 0).nonzero()[:, [0, 2]].tolist() == [[0, 0], [1, 1]]
    assert MaxMembrane().prediction(v.detach()).tolist() == [1]


def test_mean_membrane_takes_the_mean_before_the_softmax() -> None:
    v = torch.tensor([[[1.0, -2.0]], [[0.0, 3.0]]], dtype=torch.float64)
    assert float(MeanMembrane()(v, torch.tensor([0]))) == pytest.approx(-log_softmax([0.5, 0.5], 0), rel=1e-12)


def test_rate_cross_entropy_takes_spike_counts_for_logits() -> None:
    z = spikes(10, [[0, 4, 10]], more=1)
    counts = z.sum(0)[0].tolist()
    assert float(RateCrossEntropy()(z, torch.tensor([1]))) == pytest.approx(-log_softmax(counts, 1), rel=1e-12)
    assert RateCrossEntropy().prediction(z).tolist() == [counts.index(max(counts))]


def test_target_rates_in_hertz_and_as_shares_are_the_same_loss() -> None:
    z, y = output()
    assert float(TargetRates(200.0, 20.0, dt=DT)(z, y)) == pytest.approx(float(TargetRates(0.2, 0.02)(z, y)), rel=1e-12)
    fired = torch.zeros(10, 1, 2)
    fired[:3, 0, 0] = 1
    expected = ((0.3 - 0.8) ** 2 + (0 - 0.2) ** 2) / 2
    assert float(TargetRates()(fired, torch.tensor([0]))) == pytest.approx(expected, rel=1e-6)


def test_target_rates_raise_the_right_neuron_and_lower_the_others() -> None:
    z = torch.full((10, 1, 3), 0.5, requires_grad=True)
    TargetRates()(z, torch.tensor([1])).backward()
    assert z.grad is not None and torch.sign(z.grad[0, 0]).tolist() == [1, -1, 1]


def test_the_first_spike_is_found_and_a_silent_neuron_has_the_number_of_steps() -> None:
    first = [[3, 0, 12], [11, 5, 1]]
    assert Latency.first_spike(spikes(12, first, more=1)).tolist() == first


def test_the_gradient_of_the_first_spike_is_what_one_more_or_one_less_spike_does() -> None:
    z = spikes(12, [[3, 0, 12], [11, 5, 1]], more=1).requires_grad_()
    Latency.first_spike(z).sum().backward()
    assert z.grad is not None
    flat, found = z.detach().flatten(), z.grad.flatten()
    for place in range(len(flat)):
        other = flat.clone()
        other[place] = 1 - other[place]
        change = (Latency.first_spike(other.view_as(z)) - Latency.first_spike(z.detach())).sum()
        assert float(change / (other[place] - flat[place])) == float(found[place])


def test_latency_is_a_softmax_over_first_spikes_in_units_of_tau() -> None:
    z = spikes(12, [[3, 0, 12]], more=1)
    expected = -log_softmax([-3 * DT / 2e-3, 0.0, -12 * DT / 2e-3], 0)
    assert float(Latency(dt=DT, tau=2e-3)(z, torch.tensor([0]))) == pytest.approx(expected, rel=1e-12)
    assert Latency(dt=DT).prediction(z).tolist() == [1]


def test_latency_pulls_the_right_neuron_earlier_and_pushes_the_others_later() -> None:
    z = spikes(12, [[6, 6, 12]]).requires_grad_()
    Latency(dt=DT)(z, torch.tensor([0])).backward()
    assert z.grad is not None
    # A descent step adds spikes before the right neuron's first and takes the first of the wrong one away.
    assert bool((z.grad[:6, 0, 0] < 0).all()) and bool((z.grad[:7, 0, 1] > 0).all())
    assert bool((z.grad[7:, 0, :2] == 0).all())
    # The earlier a spike would come, the more it is worth.
    assert bool((z.grad[:6, 0, 0].diff() > 0).all())
    # A silent neuron that should fire is pulled into firing.
    z = spikes(12, [[12, 6, 12]]).requires_grad_()
    Latency(dt=DT)(z, torch.tensor([0])).backward()
    assert z.grad is not None and bool((z.grad[:, 0, 0] < 0).all())


@pytest.mark.parametrize(("right", "direction"), [(0, -1), (1, 1)])
def test_latency_moves_a_spike_in_a_network_through_the_surrogate(right: int, direction: int) -> None:
    net = ns.Sequential(ns.Linear(2, 2), ns.LIF(tau_mem=20e-3, dt=DT, spike=ns.atan(2.0))).double()
    weight: torch.Tensor = next(net.parameters())
    with torch.no_grad():
        weight.copy_(torch.tensor([[2.5, 0.0], [0.0, 2.5]]))
    x = torch.ones(40, 1, 2, dtype=torch.float64)
    loss = Latency(dt=DT)
    before = Latency.first_spike(net(x)[0])[0, 0]
    assert 0 < before < 40
    for _ in range(5):
        net.zero_grad()
        BPTT().gradients(net, x, torch.tensor([right]), loss)
        assert weight.grad is not None and torch.sign(weight.grad[0, 0]) == direction
        with torch.no_grad():
            weight.sub_(0.3 * weight.grad)
    after = Latency.first_spike(net(x)[0])[0, 0]
    assert torch.sign(after - before) == direction


@every_loss
@pytest.mark.parametrize("shape", [(6, 4), (12, 6, 4, 1), (0, 6, 4)])
def test_an_output_of_another_shape_is_refused(loss: Loss, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"losses take \[T, B, C\]: steps, batch, classes\. End the network"):
        loss(torch.zeros(shape), torch.zeros(6, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"losses take \[T, B, C\]"):
        loss.prediction(torch.zeros(shape))


@every_loss
def test_targets_are_checked(loss: Loss) -> None:
    z, y = output()
    with pytest.raises(ShapeError, match=r"the target is \[5\]; one class per sample is needed: \[6\]"):
        loss(z, y[:5])
    with pytest.raises(InputError, match=r"the target is torch\.float32; classes are int64: target\.long\(\)"):
        loss(z, y.float())
    with pytest.raises(
        InputError, match=r"the target holds class 4; the output has 4 classes, 0 to 3\. Check the labels"
    ):
        loss(z, torch.full_like(y, 4))
    with pytest.raises(InputError, match=r"the target holds class -1;"):
        loss(z, torch.full_like(y, -1))


def test_whole_number_outputs_are_refused() -> None:
    with pytest.raises(InputError, match=r"the output is torch\.uint8; losses take floating-point values"):
        CrossEntropy()(torch.zeros(3, 2, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))


def test_latency_refuses_membrane_potentials() -> None:
    with pytest.raises(InputError, match=r"Latency got output values from -2 to 0; it needs spikes, 0 or 1"):
        Latency(dt=DT)(torch.tensor([[[-2.0, 0.0]]]), torch.tensor([0]))


@pytest.mark.parametrize("arguments", [{"dt": 1.0}, {"dt": 0.0}, {"dt": DT, "tau": 5.0}, {"dt": float("nan")}])
def test_latency_refuses_milliseconds(arguments: dict[str, float]) -> None:
    with pytest.raises(UnitError, match=r"Latency: (dt|tau) must be .* in \(0, (0\.)?1\) s; got"):
        Latency(**arguments)


def test_target_rates_that_cannot_be_are_refused() -> None:
    with pytest.raises(
        UnitError, match=r"TargetRates\(correct=50\.0\): share of steps, allowed are 0 to 1\. For rates in hertz"
    ):
        TargetRates(correct=50.0)
    with pytest.raises(UnitError, match=r"TargetRates\(incorrect=2000\.0\): Hz, allowed are 0 to 1000\."):
        TargetRates(correct=100.0, incorrect=2000.0, dt=DT)
    with pytest.raises(UnitError, match=r"TargetRates: dt must be .* Did you pass milliseconds"):
        TargetRates(correct=100.0, dt=1)
    with pytest.raises(InputError, match=r"CrossEntropyMSE\(weight=2\): weight must be between 0 and 1"):
        CrossEntropyMSE(2)
