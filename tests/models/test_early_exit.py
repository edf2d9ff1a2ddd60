"""Dynamic confidence: what must hold of any early exit, and that a run that stops equals a full run cut off."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.errors import InputError, ShapeError
from neurosim.models.early_exit import EarlyExit, run_until_confident
from neurosim.models.exit_calibration import (
    OperatingPoint,
    calibrate,
    calibration_error,
    fixed_steps,
    front_of,
    operating_points,
    optimal_stop,
    temperature,
    temperature_of_each_step,
)

CLASSES = 10


def evidence(samples: int, signal: float = 0.5, steps: int = 30, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw noise of variance 1 on every class and step, with `signal` added to the right class."""
    draw = torch.Generator().manual_seed(seed)
    target = torch.randint(CLASSES, (samples,), generator=draw)
    outputs = torch.randn(steps, samples, CLASSES, generator=draw, dtype=torch.float64)
    return outputs + signal * torch.nn.functional.one_hot(target, CLASSES), target


def prefix(outputs: Tensor, steps: Tensor) -> Tensor:
    """Class of the first `steps` outputs of each sample, one sample after the other."""
    return torch.stack([outputs[: int(n), b].sum(0).argmax() for b, n in enumerate(steps)])


def test_a_threshold_of_one_is_the_full_run() -> None:
    outputs, _ = evidence(500)
    predicted, steps = EarlyExit(alpha=2.0, threshold=1.0).predict(outputs)
    assert steps.unique().tolist() == [30]
    assert torch.equal(predicted, outputs.sum(0).argmax(1))


def test_a_threshold_below_chance_stops_at_once() -> None:
    outputs, _ = evidence(500)
    predicted, steps = EarlyExit(alpha=2.0, threshold=1 / CLASSES - 1e-6).predict(outputs)
    assert steps.unique().tolist() == [1]
    assert torch.equal(predicted, outputs[0].argmax(1))


def test_a_higher_threshold_never_stops_earlier() -> None:
    outputs, target = evidence(500)
    points = operating_points(outputs, target, 2.0, [k / 50 for k in range(51)])
    steps = [point.steps for point in points]
    assert steps == sorted(steps) and steps[0] == 1.0 and steps[-1] == 30.0
    each = torch.stack([EarlyExit(2.0, k / 50).steps(outputs) for k in range(51)])
    assert bool((each.diff(dim=0) >= 0).all()) and len(each.unique()) > 20


@pytest.mark.parametrize("score", ["probability", "margin", "entropy"])
def test_the_prediction_is_that_of_the_steps_seen(score: str) -> None:
    outputs, _ = evidence(200)
    predicted, steps = EarlyExit(2.0, 0.5, score).predict(outputs)
    assert steps.min() < 8 < 16 < steps.max()
    assert torch.equal(predicted, prefix(outputs, steps))


def test_the_temperature_changes_when_to_stop_and_not_what_is_predicted() -> None:
    outputs, _ = evidence(200)
    summed = outputs.cumsum(0)
    for alpha in (0.1, 2.0, 30.0):
        assert torch.equal((summed / alpha).argmax(2), summed.argmax(2))
    steps = [EarlyExit(alpha, 0.6).steps(outputs).double().mean() for alpha in (0.1, 2.0, 30.0)]
    assert steps[0] < steps[1] < steps[2]


def test_scores_equal_their_definitions() -> None:
    summed = torch.log(torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)) * 3.0
    found = {
        score: float(EarlyExit(3.0, 0.5, score).confidence(summed)) for score in ("probability", "margin", "entropy")
    }
    entropy = -sum(p * math.log(p) for p in (0.7, 0.2, 0.1))
    assert found == pytest.approx({"probability": 0.7, "margin": 0.5, "entropy": 1 - entropy / math.log(3)}, abs=1e-12)
    certain = torch.tensor([1000.0, 0.0, 0.0])
    assert float(EarlyExit(1.0, 0.5, "entropy").confidence(certain)) == 1.0


@pytest.mark.parametrize("signal", [0.25, 0.5, 1.0])
def test_the_temperature_of_gaussian_evidence_is_one_over_the_signal(signal: float) -> None:
    # log p(y | o) = signal * sum of o[y] + a term that is the same for all classes: alpha = 1 / signal makes it exact.
    outputs, target = evidence(10_000, signal=signal, steps=8)
    assert temperature(outputs, target) == pytest.approx(1 / signal, rel=0.04)


def test_no_other_temperature_is_likelier() -> None:
    outputs, target = evidence(2000, steps=10)
    summed, best = outputs.cumsum(0), temperature(outputs, target)

    def loss(alpha: float) -> float:
        return sum(float(torch.nn.functional.cross_entropy(step / alpha, target)) for step in summed)

    assert all(loss(best) < loss(best * factor) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0))


def uneven(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw evidence whose scale changes from step to step, so that each sum wants a temperature of its own."""
    outputs, target = evidence(samples, steps=6, seed=seed)
    right = torch.tensor([1.0, 2.0, 0.5, 4.0, 1.0, 8.0], dtype=torch.float64)  # times 1 / signal
    summed = outputs.cumsum(0) * right[:, None, None]
    return summed.diff(dim=0, prepend=torch.zeros_like(summed[:1])), target


def test_each_step_gets_the_temperature_of_its_own_scale() -> None:
    found = temperature_of_each_step(*uneven(20_000, 0))
    assert found == pytest.approx([2.0, 4.0, 1.0, 8.0, 2.0, 16.0], rel=0.06)
    outputs, target = evidence(3000, steps=6)
    alone = [temperature(outputs[:t].sum(0)[None], target) for t in range(1, 7)]
    assert temperature_of_each_step(outputs, target) == pytest.approx(alone, rel=1e-4)


def test_a_temperature_for_each_step_is_better_calibrated_than_one_where_scales_differ() -> None:
    held_out, test = uneven(5000, 1), uneven(5000, 2)
    one, each = (calibrate(*held_out, temperatures=choice) for choice in ("one", "each"))
    assert isinstance(each.exit.alpha, tuple) and len(each.exit.alpha) == 6
    assert each.error_before == one.error_before and each.error_after < 0.5 * one.error_after
    summed = test[0].cumsum(0)
    right = summed.argmax(2) == test[1]
    errors = [calibration_error(found.exit.probability(summed).amax(-1), right) for found in (one, each)]
    assert errors[1] < 0.02 < 0.5 * errors[0]


def test_one_temperature_repeated_is_one_temperature() -> None:
    outputs, _ = evidence(100)
    same = EarlyExit((2.0,) * 30, 0.6)
    assert torch.equal(same.steps(outputs), EarlyExit(2.0, 0.6).steps(outputs))
    assert same.at(7) == EarlyExit(2.0, 0.6) and EarlyExit(2.0).at(7) == EarlyExit(2.0)
    with pytest.raises(InputError, match="none for step 30"):
        same.at(30)
    with pytest.raises(InputError, match="each of 30 steps"):
        same.steps(outputs[:29])


def test_calibration_makes_confidence_equal_accuracy() -> None:
    outputs, target = evidence(5000, steps=20)
    found = calibrate(outputs, target)
    # At alpha = 1 the confidence is far too high; at the right one it is the share of right answers.
    assert found.error_before > 0.1 and found.error_after < 0.02


def test_calibration_error_of_cases_computed_by_hand() -> None:
    probability = torch.tensor([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = torch.tensor([True, True, True, False, True, False])
    assert calibration_error(probability, right, bins=10) == pytest.approx((4 * 0.20 + 2 * 0.05) / 6)
    assert calibration_error(torch.ones(5), torch.ones(5, dtype=torch.bool)) == 0.0
    # Too high and too low in one bin cancel; in two bins they do not.
    mixed, answer = torch.tensor([0.2, 0.8]), torch.tensor([True, False])
    assert calibration_error(mixed, answer, bins=1) == pytest.approx(0.0, abs=1e-7)
    assert calibration_error(mixed, answer, bins=2) == pytest.approx(0.8)


def test_early_exit_saves_steps_at_equal_accuracy() -> None:
    validation, test = evidence(2000, seed=1), evidence(10_000, seed=2)
    alpha = temperature(*validation)
    (point,) = operating_points(*test, alpha, [0.9])
    fixed = fixed_steps(*test)
    equal = 1 + int((fixed < point.accuracy).sum())  # steps that everybody would need
    assert point.steps < 0.8 * equal
    bound, steps = optimal_stop(*test)
    assert bound > point.accuracy + 0.05 and steps < point.steps
    assert bound >= float(fixed.max())


def test_the_accuracy_of_stopped_samples_equals_their_confidence() -> None:
    outputs, target = evidence(5000)
    exit_ = EarlyExit(temperature(outputs, target), 0.9)
    predicted, steps = exit_.predict(outputs)
    early = steps < 30
    assert 0.9 <= float((predicted == target)[early].double().mean()) < 0.97


def test_the_front_holds_the_points_that_no_other_dominates() -> None:
    points = [
        OperatingPoint(k / 10, a, s) for k, (a, s) in enumerate([(0.5, 1), (0.4, 2), (0.7, 2), (0.7, 3), (0.9, 5)])
    ]
    assert [(p.accuracy, p.steps) for p in front_of(points[::-1])] == [(0.5, 1), (0.7, 2), (0.9, 5)]


def test_the_threshold_of_fewest_steps_without_loss_is_chosen() -> None:
    outputs, target = evidence(3000)
    full = float(fixed_steps(outputs, target)[-1])
    strict, loose = calibrate(outputs, target), calibrate(outputs, target, tolerance=0.1)
    assert strict.chosen.accuracy >= full and strict.chosen.steps < 30
    assert full - 0.1 <= loose.chosen.accuracy < full and loose.chosen.steps < strict.chosen.steps
    cheaper = [p for p in operating_points(outputs, target, loose.exit.alpha, [k / 200 for k in range(201)])]
    assert all(p.accuracy < full - 0.1 for p in cheaper if p.steps < loose.chosen.steps - 0.2)
    predicted, steps = loose.exit.predict(outputs)
    assert float((predicted == target).double().mean()) == loose.chosen.accuracy
    assert float(steps.double().mean()) == loose.chosen.steps
    assert list(loose.front) == sorted(loose.front, key=lambda p: p.steps)


def test_optimal_stop_of_a_case_computed_by_hand() -> None:
    # Sums of sample 0 say 1, 0, 0; sample 1 says 0 at every step; the answers are 0 and 1.
    outputs = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[2.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]])
    assert optimal_stop(outputs, torch.tensor([0, 1])) == (0.5, (2 + 3) / 2)


def net_and_input() -> tuple[ns.Network, Tensor]:
    torch.manual_seed(3)
    net = ns.Network(
        nodes={"input": ns.Input(12), "hidden": ns.CubaLIF(dt=1e-3), "out": ns.LI(dt=1e-3)},
        edges=[
            ns.Edge("input", "hidden", ns.Linear(12, 20)),
            ns.Edge("hidden", "hidden", ns.Linear(20, 20), delay=2e-3),
            ns.Edge("hidden", "out", ns.Linear(20, 4), delay=1e-3),
        ],
    ).double()
    return net, 12.0 * (torch.rand(25, 30, 12) < 0.4).double()


@pytest.mark.parametrize("score", ["probability", "margin", "entropy"])
def test_a_run_that_stops_is_the_full_run_cut_off(score: str) -> None:
    net, x = net_and_input()
    with torch.no_grad():
        outputs, _, values, *_ = net.run(x, None, ("hidden",))
    confidence = EarlyExit(0.2, 0.5, score).confidence(outputs.cumsum(0))
    when = EarlyExit(0.2, float(confidence[10].median()), score)
    predicted, steps = when.predict(outputs)
    assert steps.min() < steps.median() < steps.max() < len(x)
    stopped = run_until_confident(net, x, when)
    assert torch.equal(stopped.steps, steps) and torch.equal(stopped.predicted, predicted)
    assert set(stopped.events) == {"input", "hidden", "out"}
    for name, held in (("input", x), ("hidden", values["hidden"]), ("out", outputs)):
        until = torch.stack([(held[: int(n), b] != 0).sum(0) for b, n in enumerate(steps)])
        assert torch.equal(stopped.events[name], until)
    assert 0 < stopped.events["hidden"].sum() < (values["hidden"] != 0).sum()


def test_a_run_stops_by_the_temperature_of_its_step() -> None:
    net, x = net_and_input()
    with torch.no_grad():
        outputs, _ = net(x)
    when = EarlyExit(tuple(0.05 * 1.3**t for t in range(len(x))), 0.5)
    predicted, steps = when.predict(outputs)
    stopped = run_until_confident(net, x, when)
    assert torch.equal(stopped.steps, steps) and torch.equal(stopped.predicted, predicted)
    assert not torch.equal(steps, EarlyExit(0.05, 0.5).steps(outputs))
    with pytest.raises(InputError, match="none for step"):
        run_until_confident(net, x, EarlyExit((0.2, 0.2)))


def test_a_run_continues_from_a_state() -> None:
    net, x = net_and_input()
    with torch.no_grad():
        _, state = net(x[:5])
        rest, _ = net(x[5:], state)
    predicted, steps = EarlyExit(0.2, 0.5).predict(rest)
    stopped = run_until_confident(net, x[5:], EarlyExit(0.2, 0.5), state)
    assert torch.equal(stopped.steps, steps) and torch.equal(stopped.predicted, predicted)
    assert not torch.equal(run_until_confident(net, x[5:], EarlyExit(0.2, 0.5)).steps, steps)


def test_a_stopped_sample_is_computed_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = net_and_input()
    seen = []
    run = net.run
    monkeypatch.setattr(net, "run", lambda x, *rest: seen.append(x.shape[1]) or run(x, *rest))
    stopped = run_until_confident(net, x, EarlyExit(0.2, 0.5))
    assert sum(seen) == int(stopped.steps.sum())


def test_wrong_input_is_refused_by_name() -> None:
    outputs, target = evidence(10)
    for choice, text in (
        (dict(alpha=0.0), "above 0"),
        (dict(alpha=(1.0, 0.0)), "above 0"),
        (dict(alpha=()), "above 0"),
        (dict(threshold=math.nan), "a number"),
        (dict(score="best"), "one of"),
    ):
        with pytest.raises(InputError, match=text):
            dataclasses.replace(EarlyExit(), **choice)
    with pytest.raises(InputError, match="0 to 1"):
        calibrate(outputs, target, tolerance=2.0)
    with pytest.raises(InputError, match="at least 2"):
        calibrate(outputs, target, candidates=1)
    with pytest.raises(InputError, match="one of"):
        calibrate(outputs, target, score="best")
    with pytest.raises(InputError, match='one for "each"'):
        calibrate(outputs, target, temperatures="some")
    with pytest.raises(ShapeError, match=r"\[T, B, C\] is needed"):
        EarlyExit().steps(outputs[0])
    with pytest.raises(ShapeError, match=r"\[B\] for \[T, B, C\]"):
        fixed_steps(outputs, target[:3])
    with pytest.raises(InputError, match="int64"):
        temperature(outputs, target.int())
    with pytest.raises(ShapeError, match="one shape"):
        calibration_error(torch.ones(2), torch.ones(3, dtype=torch.bool))
    with pytest.raises(InputError, match="bins must be"):
        calibration_error(torch.ones(2), torch.ones(2, dtype=torch.bool), bins=0)
    net, x = net_and_input()
    with pytest.raises(ShapeError, match="at least one sample"):
        run_until_confident(net, x[:, :0], EarlyExit())
