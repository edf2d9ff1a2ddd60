"""The swimmer's circuit: its number of weights, their signs, the wave along the body, and its mirror image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurosim.errors import InputError, ShapeError
from neurosim.models import SwimmerCircuit


@pytest.mark.parametrize(
    ("choices", "number"),
    [
        (dict(), 4),
        (dict(steered=True), 6),
        (dict(shared=False), 30),
        (dict(shared=False, steered=True), 42),
    ],
)
def test_numbers_of_weights_of_the_paper(choices: dict[str, bool], number: int) -> None:
    assert sum(p.numel() for p in SwimmerCircuit(5, **choices).parameters()) == number


def lag(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return by how much of a period of 60 steps the second follows the first."""
    phases = [np.angle((x[-300:].numpy() * np.exp(-2j * np.pi * np.arange(300) / 60)).sum()) for x in (first, second)]
    return float((phases[0] - phases[1]) % (2 * np.pi) / (2 * np.pi) * 60)


def test_a_wave_travels_from_head_to_tail() -> None:
    angles = SwimmerCircuit(5).double().swim(900)[0].detach()
    lags = [lag(angles[:, 0, k], angles[:, 0, k + 1]) for k in range(4)]
    assert lags == pytest.approx([8.9] * 4, abs=1.0)
    assert angles[300:].abs().amax((0, 1)).min() > 0.1


def test_without_proprioception_only_the_head_moves_and_without_oscillator_nothing() -> None:
    circuit = SwimmerCircuit(5)
    circuit.weights["prop"].data.fill_(-3.0)  # the wrong sign is 0
    _, torques = circuit.swim(200)
    assert torques[:, :, 0].abs().max() == 1.0 and not torques[:, :, 1:].any()
    circuit = SwimmerCircuit(5)
    circuit.weights["osc"].data.zero_()
    assert not circuit.swim(200)[1].any()


def test_half_a_period_later_the_mirror_image_moves_alike() -> None:
    circuit = SwimmerCircuit(5).double()
    start = torch.rand(3, 5, dtype=torch.float64) - 0.5
    angles, torques = circuit.swim(300, batch=3, start=start)
    mirrored, opposite = circuit.swim(300, batch=3, start=-start, first=30)
    assert torch.equal(mirrored, -angles) and torch.equal(opposite, -torques)


def test_it_slows_down_and_turns() -> None:
    circuit = SwimmerCircuit(5, steered=True)
    assert not circuit.swim(200, speed=0.0)[1].any()
    left, straight, right = (circuit.swim(600, turn=turn)[0][120:, 0, 0].mean() for turn in (-1.0, 0.0, 1.0))
    assert left < -0.1 and straight.abs() < 0.02 and right > 0.1


def test_weights_learn_by_gradient() -> None:
    circuit = SwimmerCircuit(4, shared=False)
    for weight in circuit.parameters():
        weight.data.mul_(0.5)
    circuit.swim(80)[0].square().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in circuit.parameters())
    assert circuit.weights["prop"].grad.abs().min() > 0.0


def test_bad_arguments_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="joints must be an integer from 1; got 0"):
        SwimmerCircuit(0)
    with pytest.raises(InputError, match="period must be even"):
        SwimmerCircuit(3, period=15)
    with pytest.raises(ShapeError, match=r"angles must be \[B, 3\]; got \[2, 4\]"):
        SwimmerCircuit(3)(torch.zeros(2, 4), 0)
