"""Banks of lateral neurons: the subspace they find, what stays frozen, what they project away."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.synapses.lateral import LateralBank, RoundedResponses

N, K = 100, 12


def basis(columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(N, columns, generator=generator)).Q


def samples(inside: Tensor, generator: torch.Generator, number: int = 256) -> Tensor:
    """Samples with variances 4 to 1.5 in the space of `inside` and 0.05 in every direction."""
    strong = (
        torch.randn(number, inside.shape[1], generator=generator) * torch.linspace(4.0, 1.5, inside.shape[1]).sqrt()
    )
    return strong @ inside.T + 0.05**0.5 * torch.randn(number, N, generator=generator)


def teach(bank: LateralBank, inside: Tensor, seed: int, batches: int = 100) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(batches):
        bank.learn(samples(inside, generator))


def cosines(rows: Tensor, columns: Tensor) -> Tensor:
    """Cosines of the principal angles between the space of some rows and that of some columns."""
    return torch.linalg.svdvals(torch.linalg.qr(rows.T).Q.T @ columns)


def off_orthonormal(rows: Tensor) -> float:
    return float(torch.linalg.matrix_norm(rows @ rows.T - torch.eye(len(rows)), 2))


@pytest.fixture
def learnt() -> tuple[LateralBank, Tensor, Tensor]:
    torch.manual_seed(0)
    bank, both = LateralBank(N), basis(2 * K)
    bank.grow(K)
    teach(bank, both[:, :K], seed=1)
    return bank, both[:, :K], both[:, K:]


def test_the_rows_become_an_orthonormal_basis_of_the_principal_subspace(learnt):
    bank, first, _ = learnt
    assert cosines(bank.weight, first).min() > 0.998
    assert off_orthonormal(bank.weight) < 0.006


def test_the_next_subspace_is_learnt_beside_the_frozen_one(learnt):
    bank, first, second = learnt
    bank.freeze()
    old, drift = bank.weight.clone(), bank.drift.clone()
    bank.grow(K)
    # Both spaces are driven now: the new rows take what the old ones leave over.
    teach(bank, torch.cat((first, second), 1), seed=2, batches=200)
    assert torch.equal(bank.weight[:K], old) and torch.equal(bank.drift[:K], drift)
    assert cosines(bank.weight[K:], second).min() > 0.9995
    assert (bank.weight[K:] @ bank.weight[:K].T).abs().max() < 1e-4
    assert bank.frozen == K


def test_without_the_frozen_rows_the_new_ones_would_learn_the_old_space():
    torch.manual_seed(0)
    both = basis(2 * K)
    alone = LateralBank(N)
    alone.grow(K)
    teach(alone, torch.cat((both[:, :K] * 2, both[:, K:]), 1), seed=2, batches=150)
    assert cosines(alone.weight, both[:, K:]).min() < 0.5


def test_one_update_is_that_of_the_equations():
    generator = torch.Generator().manual_seed(0)
    bank = LateralBank(6, rate=0.3, momentum=0.9, iterations=1, limit=0.2).double()
    bank.grow(2)
    bank.freeze()
    bank.grow(3)
    x = 2 * torch.randn(7, 6, generator=generator, dtype=torch.float64)
    h, m = bank.weight.clone(), torch.zeros(5, 6, dtype=torch.float64)
    clipped = 0
    for _ in range(3):
        change = torch.zeros_like(h)
        for sample in x:
            y = h @ sample
            change += torch.outer(y, sample - h.T @ y) / len(x)
        clipped += int((change[2:].abs() > 0.2).sum())
        change = change.clamp(-0.2, 0.2)
        m[2:] = 0.9 * m[2:] + 0.1 * change[2:]
        h[2:] += 0.3 * m[2:]
        bank.learn(x)
    assert clipped
    torch.testing.assert_close(bank.weight, h, rtol=0, atol=1e-14)
    torch.testing.assert_close(bank.drift, m, rtol=0, atol=1e-14)


def test_the_second_moment_teaches_what_the_samples_teach():
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    banks = []
    for _ in range(2):
        torch.manual_seed(3)
        bank = LateralBank(8, rate=0.1).double()
        bank.grow(2)
        bank.freeze()
        bank.grow(3)
        banks.append(bank)
    for _ in range(20):
        banks[0].learn(x)
        banks[1].learn_moment(x.T @ x / len(x))
    torch.testing.assert_close(banks[0].weight, banks[1].weight, rtol=0, atol=1e-12)


def test_what_frozen_rows_explain_is_projected_away_and_nothing_else():
    bank = LateralBank(N).double()
    bank.weight, bank.drift = basis(K).T.double(), torch.zeros(K, N).double()
    bank.weight = torch.linalg.qr(bank.weight.T).Q.T.contiguous()
    x = torch.randn(5, N, dtype=torch.float64)
    assert torch.equal(bank.orthogonal(x), x)  # nothing is frozen
    bank.freeze()
    inside = torch.randn(5, K, dtype=torch.float64) @ bank.weight
    assert bank.orthogonal(inside).abs().max() < 1e-14
    torch.testing.assert_close(bank.orthogonal(x + inside), bank.orthogonal(x), rtol=0, atol=1e-13)
    bank.grow(4)  # the rows of the task that is being learnt project nothing
    torch.testing.assert_close(bank.explained(inside), inside, rtol=0, atol=1e-13)


def test_spiking_responses_are_cut_off_and_rounded():
    spiking = RoundedResponses(scale=2.0, steps=4)
    y = torch.tensor([-5.0, -0.6, -0.2, 0.26, 0.9, 1.3, 7.0])
    assert spiking(y).tolist() == [-2.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0]
    bank = LateralBank(3, spiking=spiking)
    bank.weight = torch.eye(3)
    assert bank.response(torch.tensor([0.26, 3.0, 0.0])).tolist() == [0.5, 2.0, 0.0]


def test_spiking_neurons_find_the_subspace_too():
    torch.manual_seed(0)
    inside = basis(K)
    bank = LateralBank(N, spiking=RoundedResponses(steps=40))
    bank.grow(K)
    teach(bank, inside, seed=1)
    assert cosines(bank.weight, inside).min() > 0.99
    assert ((bank.response(torch.randn(9, N)) * 2).frac() == 0).all()  # 20 / 40 a spike


def test_a_grown_bank_is_saved_and_loaded(learnt):
    bank, _, _ = learnt
    bank.freeze()
    bank.grow(3)
    again = LateralBank(N)
    again.load_state_dict(bank.state_dict())
    assert torch.equal(again.weight, bank.weight) and torch.equal(again.drift, bank.drift)
    assert again.frozen == K
    with pytest.raises(RuntimeError, match="size mismatch"):
        LateralBank(N - 1).load_state_dict(bank.state_dict())


def test_nothing_is_learnt_by_no_rows_and_from_no_samples():
    bank = LateralBank(4)
    bank.learn(torch.ones(2, 4))
    bank.learn_moment(torch.eye(4))
    bank.grow(0)
    assert bank.weight.shape == (0, 4)
    bank.grow(2)
    before = bank.weight.clone()
    bank.learn(torch.ones(0, 4))
    assert torch.equal(bank.weight, before)
    torch.testing.assert_close(before @ before.T, torch.eye(2))
    assert "4, rows=2, frozen=0" in repr(bank)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LateralBank(0), "inputs must be an integer from 1; got 0"),
        (lambda: LateralBank(3, iterations=0), "iterations must be an integer from 1; got 0"),
        (lambda: LateralBank(3, rate=0.0), "rate must be a number above 0; got 0.0"),
        (lambda: LateralBank(3, limit=float("inf")), "limit must be a number above 0; got inf"),
        (lambda: LateralBank(3, momentum=1.0), r"momentum must be in \[0, 1\); got 1.0"),
        (lambda: LateralBank(3).grow(-1), "rows must be an integer from 0; got -1"),
        (lambda: RoundedResponses(scale=0.0), "scale is the largest response, above 0; got 0.0"),
        (lambda: RoundedResponses(steps=0), "steps must be an integer from 1; got 0"),
        (
            lambda: LateralBank(3, spiking=RoundedResponses()).learn_moment(torch.eye(3)),
            r"rounded responses do not follow from a second moment; use learn\(x\)",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_samples_of_another_size_are_refused():
    bank = LateralBank(3)
    with pytest.raises(ShapeError, match=r"samples must be \[\.\.\., 3\]; got \[2, 4\]"):
        bank.learn(torch.ones(2, 4))
    with pytest.raises(ShapeError, match=r"second moment must be \[3, 3\]; got \[4, 4\]"):
        bank.learn_moment(torch.eye(4))
