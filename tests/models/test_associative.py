"""Associative memories against theory: errors of one step, capacity, attention, energy, several patterns at once."""

from __future__ import annotations

import math

import pytest
import torch

from neurosim.errors import InputError, ShapeError
from neurosim.models import DenseMemory, HopfieldMemory, ModernMemory


def drawn(number: int, size: int, seed: int = 0, blank: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (number, size), generator=generator) * 2 - 1
    return signs * (torch.rand(number, size, generator=generator) >= blank)


def noisy(patterns: torch.Tensor, share: float, seed: int = 1) -> torch.Tensor:
    flips = torch.rand(patterns.shape, generator=torch.Generator().manual_seed(seed)) < share
    return torch.where(flips, -patterns, patterns)


@pytest.mark.parametrize("load", [0.10, 0.138, 0.185])
def test_the_error_of_one_step_is_that_of_theory(load: float) -> None:
    patterns = drawn(round(load * 2000), 2000)
    wrong = (HopfieldMemory(patterns).fields(patterns) * patterns < 0).double().mean()
    assert float(wrong) == pytest.approx(0.5 * math.erfc(1.0 / math.sqrt(2.0 * load)), rel=0.05)


@pytest.mark.parametrize(("load", "low", "high"), [(0.05, 0.99, 1.0), (0.10, 0.98, 1.0), (0.25, 0.0, 0.6)])
def test_cues_are_recalled_below_the_capacity_and_not_above(load: float, low: float, high: float) -> None:
    patterns = drawn(round(load * 1000), 1000)
    memory = HopfieldMemory(patterns)
    found = memory.recall(noisy(patterns[:4], 0.1), most=20)
    mean = float(memory.overlap(found.state).diagonal().mean())
    assert low <= mean <= high


def test_a_field_is_that_of_the_matrix_and_recall_never_raises_the_energy() -> None:
    patterns = drawn(6, 80)
    matrix = patterns.double().T @ patterns.double() / 80
    matrix.fill_diagonal_(0.0)
    s = drawn(3, 80, seed=5).double()
    memory = HopfieldMemory(patterns)
    assert torch.allclose(memory.fields(s), s @ matrix)
    energies = [-0.5 * torch.einsum("bi,ij,bj->b", each, matrix, each) for each in (s, memory.recall(s).state)]
    assert (energies[1] <= energies[0]).all() and memory.recall(s).settled


@pytest.mark.parametrize("blank", [0.2, 0.3, 0.4])
def test_with_blank_entries_several_patterns_are_recalled_at_once(blank: float) -> None:
    patterns = drawn(6, 20_000, blank=blank)
    memory = HopfieldMemory(patterns)
    cue = torch.where(patterns[:1] == 0, drawn(1, 20_000, seed=3), patterns[:1])
    overlaps = memory.overlap(memory.recall(cue, most=6).state).abs()[0].sort(descending=True).values
    assert float(overlaps[0]) == pytest.approx(1.0 - blank, abs=0.01)
    assert float(overlaps[1]) == pytest.approx(blank * (1.0 - blank), abs=0.02)


@pytest.mark.parametrize(
    ("choices", "number", "fails"),
    [(dict(power=2), 30, True), (dict(power=3), 300, False), (dict(power=3), 1200, True), (dict(power=4), 1500, False),
     (dict(energy="exponential"), 3000, False)],
)  # fmt: skip
def test_steeper_functions_hold_more_patterns(choices: dict[str, object], number: int, fails: bool) -> None:
    patterns = drawn(number, 100)
    shown = patterns[:20]
    memory = DenseMemory(patterns, **choices)
    wrong = float((memory.recall(shown, most=1).state != shown).double().mean())
    assert (wrong > 0.005) is fails


@pytest.mark.parametrize("power", [50, 104, 400])
def test_a_large_power_is_as_good_as_the_nearest_pattern(power: int) -> None:
    patterns = drawn(5, 1000)
    found = DenseMemory(patterns, power=power).recall(noisy(patterns, 0.1), most=3)
    assert torch.equal(found.state, patterns.double())


def test_of_power_two_it_is_hopfield_s_network() -> None:
    patterns, cue = drawn(8, 90), drawn(5, 90, seed=2)
    assert torch.equal(DenseMemory(patterns, power=2).recall(cue).state, HopfieldMemory(patterns).recall(cue).state)
    exact = patterns.double()
    rest = cue.double() @ exact.T - cue[:, :1] * exact[:, 0]
    direct = (torch.exp(rest / 20 + exact[:, 0]) - torch.exp(rest / 20 - exact[:, 0])).sum(1)
    found = DenseMemory(patterns, energy="exponential")._gain(rest / 20, exact[:, 0])
    factor = 2.0 * math.sinh(1.0) * torch.exp((rest / 20).amax(1))
    assert torch.allclose(found * factor, direct, rtol=1e-12)


def test_a_step_of_the_modern_network_is_attention() -> None:
    torch.manual_seed(0)
    keys, queries = torch.randn(30, 16, dtype=torch.float64), torch.randn(5, 16, dtype=torch.float64)
    found = ModernMemory(keys, beta=0.25).retrieve(queries)
    attention = torch.nn.functional.scaled_dot_product_attention(queries[None], keys[None], keys[None])[0]
    assert (found - attention).abs().max() < 1e-14


def test_its_energy_never_rises_and_noisy_patterns_are_retrieved_in_one_step() -> None:
    torch.manual_seed(0)
    patterns = torch.nn.functional.normalize(torch.randn(10_000, 16, dtype=torch.float64))
    memory, state = ModernMemory(patterns, beta=50.0), torch.randn(20, 16, dtype=torch.float64)
    state = torch.nn.functional.normalize(state)
    energies = []
    for _ in range(20):
        energies.append(memory.energy(state))
        state = memory.retrieve(state)
    assert (torch.stack(energies).diff(dim=0) <= 1e-12).all()
    assert all(bool(((e >= 0) & (e <= 2)).all()) for e in energies)
    cue = patterns[:200] + 0.1 / 4.0 * torch.randn(200, 16, dtype=torch.float64)
    nearest = (memory.retrieve(cue) @ patterns.T).argmax(1)
    assert torch.equal(nearest, torch.arange(200))


def test_bad_arguments_are_refused_by_name() -> None:
    memory = HopfieldMemory(drawn(2, 10))
    for call, kind, message in (
        (
            lambda: HopfieldMemory(torch.full((2, 3), 2)),
            InputError,
            "HopfieldMemory: patterns must hold -1, 0, 1 alone",
        ),
        (lambda: DenseMemory(torch.zeros(2, 3)), InputError, "DenseMemory: patterns must hold -1, 1 alone"),
        (lambda: DenseMemory(drawn(2, 3), power=1), InputError, "power must be an integer from 2; got 1"),
        (lambda: DenseMemory(drawn(2, 3), energy="cubic"), InputError, "energy='cubic'"),
        (lambda: HopfieldMemory(torch.ones(3)), ShapeError, r"patterns must be a tensor \[P, N\]"),
        (lambda: memory.recall(drawn(1, 9)), ShapeError, r"HopfieldMemory: cue must be \[B, 10\]"),
        (lambda: ModernMemory(torch.eye(3), 1.0).retrieve(torch.ones(3)), ShapeError, r"state must be \[B, 3\]"),
        (lambda: ModernMemory(torch.eye(3), 1.0).energy(torch.ones(1, 4)), ShapeError, r"state must be \[B, 3\]"),
        (lambda: memory.recall(torch.zeros(1, 10)), InputError, "cue must hold -1 and 1 alone"),
        (lambda: ModernMemory(torch.ones(2, 3), beta=0.0), InputError, "beta must be a positive number; got 0.0"),
    ):
        with pytest.raises(kind, match=message):
            call()
