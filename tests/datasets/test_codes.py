"""Codes of values and signals, each by its definition and by the error of its decoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosim.datasets import (
    Encoder,
    bens_spiker,
    burst,
    class_by_count,
    class_by_first_spike,
    class_by_membrane,
    class_by_vote,
    delta_modulation,
    latency,
    phase,
    population,
    rate,
    sigma_delta_modulation,
)
from neurosim.errors import InputError, ShapeError

unit = st.floats(0, 1, width=32)
seeded = settings(derandomize=True, deadline=None, max_examples=60)


def values(*rows: float) -> torch.Tensor:
    return torch.tensor(rows)[None]


def signal(steps: int = 200, size: float = 1.0, seed: int = 0) -> torch.Tensor:
    noise = torch.randn(steps, 3, 2, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool1d(noise.permute(1, 2, 0), 9, 1, 4).permute(2, 0, 1)
    return size * smooth / smooth.abs().max()


# Values


@seeded
@given(x=unit, bits=st.integers(1, 24), periods=st.integers(1, 3))
def test_phases_are_binary_digits(x: float, bits: int, periods: int) -> None:
    code = phase(bits, periods)
    spikes = code(values(x))
    found = code.decode(spikes).item()
    assert abs(found - x) <= (0.5 if x <= 1 - 2.0**-bits else 1.0) * 2.0**-bits + 2**-24
    number = sum(int(z) << bits - 1 - k for k, z in enumerate(spikes[:bits, 0, 0]))
    assert number == min(round(x * 2**bits), 2**bits - 1) and len(spikes) == bits * periods


@seeded
@given(x=unit, most=st.integers(1, 9), shortest=st.integers(1, 4), more=st.integers(0, 5))
def test_a_burst_counts_and_hastens(x: float, most: int, shortest: int, more: int) -> None:
    code = burst(1 + 9 * 9, most=most, shortest=shortest, longest=shortest + more)
    spikes = code(values(x))
    steps = spikes[:, 0, 0].nonzero().flatten().tolist()
    interval = math.ceil(shortest + more - more * x)
    assert steps == [interval * k for k in range(math.ceil(x * most))]
    assert -1e-6 <= code.decode(spikes).item() - x < 1 / most + 1e-6


def test_a_burst_that_does_not_fit_is_refused() -> None:
    code = burst(9, most=3, shortest=1, longest=6)  # two spikes at 5 steps (x just above 1/3), three at 3
    full = burst(100, most=3, shortest=1, longest=6)
    x = torch.linspace(0, 1, 1001)[None]
    assert torch.equal(code(x).sum(0), full(x).sum(0))
    with pytest.raises(InputError, match="the longest burst takes 7 steps"):
        burst(6, most=3, shortest=1, longest=6)


def test_a_population_has_gaussian_fields_and_votes() -> None:
    code = population(12, low=-1.0, high=3.0, encoder=rate(4000, max_rate=1000.0, dt=1e-3))
    assert np.allclose(np.diff(code.centres), 0.4) and np.isclose(code.centres[0], -1.2)
    x = torch.linspace(-0.4, 2.4, 15)[None]
    activation = code.activation(x)
    k = 5
    assert torch.allclose(activation[..., k], torch.exp(-(((x - code.centres[k]) * 1.5 / 0.4) ** 2) / 2))
    assert torch.allclose(code.decode(activation), x, atol=0.02)
    spikes = code(x, torch.Generator().manual_seed(0))
    assert spikes.shape == (4000, 1, 15, 12) and torch.allclose(code.decode(spikes.sum(0)), x, atol=0.03)
    assert torch.equal(spikes, code(x, torch.Generator().manual_seed(0)))
    y = x.clone().requires_grad_()
    code.activation(y)[..., k].sum().backward()
    assert torch.allclose(y.grad, activation[..., k] * (code.centres[k] - x) * (1.5 / 0.4) ** 2, atol=1e-5)


def test_the_earliest_neuron_of_a_population_is_the_nearest() -> None:
    code = population(7, low=0.0, high=1.0, encoder=latency(50))
    spikes = code(values(0.1, 0.5, 0.9))  # [T, 1, 3, 7]
    first = spikes.argmax(0).masked_fill(~spikes.any(0), 99).argmin(-1)[0]
    assert first.tolist() == [1, 3, 5]


# Signals


@pytest.mark.parametrize("graded", [False, True])
def test_the_sum_of_sigma_delta_follows_that_of_the_signal(graded: bool) -> None:
    x = signal(size=3.0 if graded else 1.0)
    code = sigma_delta_modulation(1.0, graded=graded)
    spikes = code(x)
    net = spikes[:, :, 0] - spikes[:, :, 1]
    assert (x.double().cumsum(0) - net.double().cumsum(0)).abs().max() < 1
    assert (spikes >= 0).all() and (spikes.sum(2) <= (99 if graded else 1)).all() and spikes.any()
    for window in (1, 10, 500):
        mean = torch.stack([x[max(k + 1 - window, 0) : k + 1].mean(0) for k in range(len(x))])
        number = torch.arange(1, len(x) + 1).clamp(max=window)[:, None, None]
        assert ((code.decode(spikes, window) - mean).abs() <= 2 / number + 1e-5).all()


def test_the_gradient_goes_straight_through_sigma_delta() -> None:
    x = signal().requires_grad_()
    code = sigma_delta_modulation(0.5)
    spikes = code(x)
    assert torch.allclose(spikes, code(x.detach()), atol=1e-6)
    (0.5 * (spikes[:, :, 0] - spikes[:, :, 1])).sum().backward()
    assert torch.allclose(x.grad, torch.ones_like(x))


def test_crossings_of_levels_lie_on_one_grid() -> None:
    x = signal(size=2.0)
    code = delta_modulation(0.25, graded=True, origin=0.1)
    spikes = code(x)
    level = code.decode(spikes, x[0])
    assert ((level - 0.1) / 0.25 - torch.round((level - 0.1) / 0.25)).abs().max() < 1e-5
    assert (level - x).abs().max() < 0.25
    other = delta_modulation(0.25, graded=True)
    assert not torch.equal(other(x), spikes)
    with pytest.raises(InputError, match="origin = nan"):
        delta_modulation(0.25, origin=math.nan)


def test_bens_spiker_is_the_algorithm_of_the_publication() -> None:
    taps = tuple(np.hanning(13)[1:-1] / np.hanning(13).sum())
    x = 0.4 + 0.3 * signal(300)
    code = bens_spiker(taps, threshold=0.9)
    wanted = torch.zeros_like(x)
    for b in range(3):
        for c in range(2):
            rest = x[:, b, c].double().numpy().copy()
            for t in range(len(rest) - len(taps) + 1):
                taken = sum(abs(rest[t + k] - tap) for k, tap in enumerate(taps))
                left = sum(abs(rest[t + k]) for k in range(len(taps)))
                if taken < left - 0.9:
                    wanted[t, b, c] = 1
                    rest[t : t + len(taps)] -= taps
    spikes = code(x)
    assert torch.equal(spikes, wanted)
    error = (code.decode(spikes) - x)[20:-20].pow(2).mean().sqrt() / x[20:-20].std()
    assert error < 0.45  # of the deviation of the signal
    train = (torch.rand(60, 2, 1, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    train[-len(taps) + 1 :] = 0
    assert torch.equal(bens_spiker((1.0,))(train), train)


# All


EVERY: dict[str, Encoder] = {
    "phase": phase(4),
    "burst": burst(30, most=4, shortest=2, longest=5),
    "population": population(5, low=0.0, high=1.0, encoder=latency(9)),
    "sigma_delta_modulation": sigma_delta_modulation(0.3),
    "bens_spiker": bens_spiker((0.3, 0.5, 0.2)),
}


@pytest.mark.parametrize("name", EVERY)
def test_samples_are_independent_and_nan_is_refused(name: str) -> None:
    code = EVERY[name]
    x = torch.rand(40, 3, generator=torch.Generator().manual_seed(2))
    sample = slice(None), slice(1, 2)
    spikes = code(x)
    part = code(x[sample] if code.timed_input else x[1:2])
    assert torch.equal(part, spikes[:, 1:2])
    assert spikes.dtype == torch.float32 and eval(repr(code), dict(globals())) == code
    x[1, 0] = math.nan
    with pytest.raises(InputError, match=r"x\[1, 0\] = nan"):
        code(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: phase(25), "bits = 25"),
        (lambda: burst(9, most=0, shortest=1, longest=1), "most = 0"),
        (lambda: burst(9, most=1, shortest=3, longest=2), "longest = 2"),
        (lambda: population(2, low=0.0, high=1.0, encoder=latency(3)), "neurons = 2"),
        (lambda: population(4, low=1.0, high=1.0, encoder=latency(3)), "low must be below high"),
        (lambda: population(4, low=0.0, high=1.0, encoder=sigma_delta_modulation(1.0)), "needs an encoder of values"),
        (lambda: sigma_delta_modulation(0.0), "threshold = 0.0"),
        (lambda: bens_spiker(()), r"taps = \(\)"),
        (lambda: bens_spiker((1.0,), threshold=-1.0), "threshold = -1.0"),
        (lambda: sigma_delta_modulation(1.0).decode(torch.zeros(3, 1, 2), 0), "window = 0"),
    ],
)
def test_wrong_parameters_are_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


# Decoders


def drawn(T: int = 30, B: int = 40, C: int = 6, share: float = 0.02) -> torch.Tensor:
    return (torch.rand(T, B, C, generator=torch.Generator().manual_seed(5)) < share).float()


def test_classes_are_those_of_the_definitions() -> None:
    spikes = drawn()
    mask = torch.arange(30) < torch.arange(1, 41)[:, None] % 30 + 1
    silent = 0
    for b in range(40):
        train = spikes[:, b][mask[b]]
        counts = [int(n) for n in train.sum(0)]
        first = [int(z.argmax()) if z.any() else 99 for z in train.T]
        votes = [sum(counts[2 * k : 2 * k + 2]) for k in range(3)]
        silent += not any(counts)
        wanted = (counts.index(max(counts)), first.index(min(first)), votes.index(max(votes)))
        found = (
            class_by_count(spikes, mask)[b],
            class_by_first_spike(spikes, mask)[b],
            class_by_vote(spikes, 3, mask)[b],
        )
        assert tuple(map(int, found)) == (wanted if any(counts) else (-1, -1, -1))
    assert 0 < silent < 40


def test_the_highest_membrane_decides() -> None:
    v = -torch.rand(9, 4, 3, generator=torch.Generator().manual_seed(5))
    mask = torch.ones(4, 9, dtype=torch.bool)
    mask[:, 4:] = False
    assert class_by_membrane(v, mask).tolist() == v[:4].amax(0).argmax(1).tolist()
    assert class_by_membrane(v).tolist() == v.amax(0).argmax(1).tolist()


def test_other_outputs_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[T, B, C\]"):
        class_by_count(torch.zeros(3, 2))
    with pytest.raises(ShapeError, match=r"booleans \[B, T\]"):
        class_by_count(torch.zeros(3, 2, 2), torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(InputError, match="NaN"):
        class_by_membrane(torch.full((3, 2, 2), math.nan))
    with pytest.raises(InputError, match="cannot be divided among 3"):
        class_by_vote(torch.zeros(3, 2, 4), 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.int64, torch.bool])
def test_counts_of_any_type_are_exact(dtype: torch.dtype) -> None:
    spikes = torch.ones(2051, 1, 2)
    spikes[2050:, 0, 0] = 0
    assert class_by_count(spikes.to(dtype)).item() == class_by_vote(spikes.to(dtype), 2).item() == 1
    mask = torch.ones(1, 2051, dtype=torch.bool)
    assert class_by_count(spikes.to(dtype), mask).item() == 1


def test_a_membrane_without_a_valid_step_decides_for_no_class() -> None:
    v = torch.tensor([[[1, 2], [4, 3]]])
    mask = torch.tensor([[True], [False]])
    assert class_by_membrane(v, mask).tolist() == class_by_membrane(v.float(), mask).tolist() == [1, -1]


def test_taps_are_any_list_of_numbers() -> None:
    wanted = bens_spiker((0.25, 0.5, 0.25))
    assert bens_spiker(np.array([0.25, 0.5, 0.25])) == bens_spiker([0.25, 0.5, 0.25]) == wanted
    assert hash(bens_spiker([0.25, 0.5, 0.25])) == hash(wanted)
    for taps in (0.5, [[0.5]], ["a"], []):
        with pytest.raises(InputError, match="taps = "):
            bens_spiker(taps)  # type: ignore[arg-type]
    x = wanted.decode(torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0])[:, None]).requires_grad_()
    assert torch.equal(wanted(x), wanted(x.detach()))


def test_numbers_that_float32_does_not_count_are_refused() -> None:
    x = torch.tensor([[0.0], [1.0], [0.0]])
    for code in (sigma_delta_modulation, delta_modulation):
        assert code(2.0**-23, graded=True)(x).max() == 2**23
        for threshold in (2.0**-24, 1e-310):
            with pytest.raises(InputError, match=r"16,777,216 spikes or more. Give a larger threshold"):
                code(threshold, graded=True)(x)


def test_what_is_no_tensor_and_no_encoder_is_named() -> None:
    for code in (phase(3), bens_spiker((1.0,)), delta_modulation(1.0), rate(3, max_rate=1.0, dt=1e-3)):
        with pytest.raises(InputError, match=r"x is of type list.*torch\.as_tensor"):
            code([[0.5]])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="encoder = 'latency'"):
        population(4, low=0.0, high=1.0, encoder="latency")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"\[B, ..., 4\] is expected"):
        population(4, low=0.0, high=1.0, encoder=latency(3)).decode(torch.zeros(2, 3))


@pytest.mark.parametrize("wrong", ["a", None, True, 1j])
def test_parameters_are_numbers(wrong: Any) -> None:
    one: Any = latency(3)
    makes: dict[str, Callable[[], Encoder]] = {
        "max_rate": lambda: rate(3, max_rate=wrong, dt=1e-3),
        "low": lambda: population(4, low=wrong, high=1.0, encoder=one),
        "beta": lambda: population(4, low=0.0, high=1.0, encoder=one, beta=wrong),
    }
    for make in (
        lambda: latency(3, threshold=wrong),
        lambda: delta_modulation(wrong),
        lambda: sigma_delta_modulation(wrong),
        lambda: bens_spiker((1.0,), threshold=wrong),
    ):
        with pytest.raises(InputError, match=r"threshold = .* must be a number"):
            make()
    for name, each in makes.items():
        with pytest.raises(InputError, match=f"{name} = .* must be a number"):
            each()
    assert delta_modulation(np.float32(0.5)).threshold == 0.5  # type: ignore[arg-type]


def test_a_burst_of_other_steps_is_refused() -> None:
    code = burst(10, most=3, shortest=1, longest=4)
    with pytest.raises(ShapeError, match="10 steps are expected"):
        code.decode(torch.ones(12, 1))
