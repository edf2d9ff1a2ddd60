"""Gains that whiten: exact where there are enough interneurons, and the contrast where there are too few."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.models import FrameWhitening, mercedes_benz, random_frame

COVARIANCE = torch.tensor([[2.0, 0.9], [0.9, 0.8]], dtype=torch.float64)
IDENTITY = torch.eye(2, dtype=torch.float64)


def exact_batch(covariance: Tensor) -> Tensor:
    """Return samples of mean 0 whose covariance is exactly this."""
    n = len(covariance)
    half = torch.linalg.cholesky(covariance).T * n**0.5
    return torch.cat((half, -half))


def settled(frame: Tensor, **choices: float) -> FrameWhitening:
    circuit = FrameWhitening(frame, rate=0.05, **choices)
    for _ in range(1500):
        circuit.learn(exact_batch(COVARIANCE))
    return circuit


def test_enough_interneurons_whiten_and_too_few_do_not_though_each_reaches_its_variance():
    enough, few = settled(mercedes_benz()), settled(mercedes_benz()[:, :2])
    assert float((enough.covariance(COVARIANCE) - IDENTITY).norm()) < 1e-9
    assert enough.gains.tolist() == pytest.approx([-0.3274, 0.7192, -0.2523], abs=1e-4)
    variances = (few(exact_batch(COVARIANCE)).z ** 2).mean(0)
    torch.testing.assert_close(variances, torch.ones_like(variances), rtol=0, atol=1e-9)
    assert float((few.covariance(COVARIANCE) - IDENTITY).norm()) == pytest.approx(0.46, abs=0.02)


def test_the_closed_form_whitens_exactly_with_just_enough_vectors():
    generator = torch.Generator().manual_seed(0)
    for n in (2, 4, 5):
        root = torch.randn(n, 2 * n, generator=generator, dtype=torch.float64)
        covariance = root @ root.T / n
        circuit = FrameWhitening(random_frame(n, n * (n + 1) // 2, generator=generator), alpha=0.7)
        circuit.gains = circuit.optimal_gains(covariance)
        white = circuit.covariance(covariance)
        torch.testing.assert_close(white, torch.eye(n, dtype=torch.float64), rtol=0, atol=1e-8)
    few = FrameWhitening(random_frame(4, 9, generator=generator))
    few.gains = few.optimal_gains(torch.diag(torch.arange(1.0, 5.0).double()) + 0.5)
    assert float((few.covariance(torch.diag(torch.arange(1.0, 5.0).double()) + 0.5) - torch.eye(4)).norm()) > 1e-3


def test_the_closed_form_is_where_learning_ends():
    for alpha in (1.0, 0.5):
        circuit = settled(mercedes_benz(), alpha=alpha)
        torch.testing.assert_close(circuit.gains, circuit.optimal_gains(COVARIANCE), rtol=0, atol=1e-8)


def test_synapses_that_learn_slowly_let_two_interneurons_whiten():
    for frame in (mercedes_benz()[:, :2], torch.eye(2, dtype=torch.float64)):
        circuit = FrameWhitening(frame, rate=0.05, frame_rate=0.02)
        for _ in range(2500):
            circuit.learn(exact_batch(COVARIANCE))
        assert float((circuit.covariance(COVARIANCE) - IDENTITY).norm()) < 1e-8
        assert float((circuit.frame - frame).norm()) > 0.1
        held = circuit.frame.clone()
        circuit.learn(exact_batch(COVARIANCE))
        torch.testing.assert_close(circuit.frame, held, rtol=0, atol=1e-9)


def test_learning_from_noise_comes_near():
    generator = torch.Generator().manual_seed(0)
    circuit, half = FrameWhitening(mercedes_benz()), torch.linalg.cholesky(COVARIANCE)
    for _ in range(3000):
        circuit.learn(torch.randn(64, 2, generator=generator, dtype=torch.float64) @ half.T)
    assert float((circuit.covariance(COVARIANCE) - IDENTITY).norm()) < 0.1


def test_responses_are_the_fixed_point_of_the_loop():
    circuit = FrameWhitening(mercedes_benz(), alpha=1.3)
    circuit.gains = torch.tensor([0.5, -0.1, 0.8], dtype=torch.float64)
    x = torch.tensor([[0.7, -1.1]], dtype=torch.float64)
    y = torch.zeros_like(x)
    for _ in range(4000):
        y = y + 0.01 * (x - (circuit.gains * (y @ circuit.frame)) @ circuit.frame.T - circuit.alpha * y)
    answered = circuit(x)
    torch.testing.assert_close(answered.y, y, rtol=0, atol=1e-9)
    torch.testing.assert_close(answered.z, y @ circuit.frame, rtol=0, atol=1e-9)


def test_wrong_arguments_are_refused_by_name():
    with pytest.raises(InputError, match="the 2 vectors span 1 of 2 axes"):
        FrameWhitening(torch.ones(2, 2))
    with pytest.raises(ShapeError, match=r"frame must be \[N, K\]"):
        FrameWhitening(torch.ones(2))
    with pytest.raises(InputError, match="alpha must be a number above 0"):
        FrameWhitening(mercedes_benz(), alpha=0.0)
    with pytest.raises(InputError, match="frame_rate must be a number from 0"):
        FrameWhitening(mercedes_benz(), frame_rate=-1.0)
    with pytest.raises(ShapeError, match=r"x must be \[n, 2\]"):
        FrameWhitening(mercedes_benz())(torch.ones(2))
    with pytest.raises(InputError, match="covariance must be positive definite"):
        FrameWhitening(mercedes_benz()).optimal_gains(-IDENTITY)
    with pytest.raises(InputError, match="vectors must be an integer"):
        random_frame(2, 0)
