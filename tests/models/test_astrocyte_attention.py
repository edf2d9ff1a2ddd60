"""Astrocytic attention against its quadratic form; factors of retention against SciPy; replay against full BPTT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn
from torch.nn import functional

from neurosim.errors import InputError, ShapeError
from neurosim.models import AstrocyteAttention, AstrocyteCell, ReplayMemory, potentiation, retention_factors


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("alpha", "astrocyte"), [(1.0, False), (1.0, True), (0.5, True), (0.3, False)])
def test_attention_is_its_quadratic_form(alpha: float, astrocyte: bool) -> None:
    torch.manual_seed(1)
    attention = AstrocyteAttention(6, 5, alpha=alpha, scale=0.7, astrocyte=astrocyte).double()
    x = random(2, 11, 6)
    q, k = (functional.elu(x @ w.weight.T) + 1 for w in (attention.query, attention.key))
    place, centre = np.arange(11), np.arange(5) * 10 / 4
    near = torch.from_numpy(np.exp(-0.7 * abs(place[:, None] - centre) / (10 / 4)))
    scores = q @ (k + (near + 1.0) * astrocyte).mT  # [B, N, N]
    norm = (q * k.sum(1, keepdim=True) ** alpha).sum(-1, keepdim=True)
    expected = scores / norm @ (x @ attention.value.weight.T) / 5 + x
    torch.testing.assert_close(attention(x), expected, rtol=1e-13, atol=1e-13)


def test_without_astrocyte_and_exponent_it_is_linear_attention() -> None:
    attention = AstrocyteAttention(4, 7, alpha=1.0, astrocyte=False).double()
    x = random(1, 9, 4)[0]
    q, k = (functional.elu(w(x)) + 1 for w in (attention.query, attention.key))
    share = q @ k.T
    share /= share.sum(1, keepdim=True)
    assert torch.allclose(7 * (attention(x) - x), share @ attention.value(x), rtol=1e-12, atol=1e-13)


def test_very_negative_keys_do_not_round_to_zero() -> None:
    attention = AstrocyteAttention(1, 1, alpha=1.0, astrocyte=False)
    with torch.no_grad():
        attention.key.weight.fill_(-40.0), attention.query.weight.fill_(-40.0), attention.value.weight.fill_(1.0)
    assert torch.allclose(attention(torch.ones(3, 1)), torch.full((3, 1), 2.0))  # elu + 1 would give 0 / 0


def published(u: float, ip3: float, ca: float, h: float) -> list[float]:
    """Slopes of NEST's astrocyte_lr_1994 per ms in uM, and of u at 1 ms."""
    open_share = ip3 / (ip3 + 0.13) * ca / (ca + 0.08234) * h
    store = 2.0 + (2.0 - ca) / 0.185
    released = 0.185 * (6e-3 * open_share**3 + 1.1e-4) * (store - ca)
    binding = 2e-4 * (1.049 * (ip3 + 0.13) / (ip3 + 0.9434) * (1 - h) - ca * h)
    return [max(ca - 0.19669, 0.0), (0.16 - ip3) / 7142, released - 9e-4 * ca**2 / (0.01 + ca**2), binding]


def test_factors_are_those_of_the_astrocyte_integrated_by_scipy() -> None:
    """Cycles of 4 s, spikes of 0.6 uM every 2 s; SciPy integrates NEST's equations from spike to spike."""
    state, ends = [0.0, 0.16, 0.073, 0.793], []
    for number in range(12):
        state[1] += 0.6
        state = list(solve_ivp(lambda _, y: published(*y), (0, 2000), state, rtol=1e-8, atol=1e-10).y[:, -1])
        if number % 2:
            ends.append(state[0] / 1000 / 20.0)
    p = 1 - np.exp(-np.array([0.0, *ends]))
    found = retention_factors(6, cycle=4.0, interval=2.0, weight=0.12, tau=20.0)
    np.testing.assert_allclose(found, np.diff(p) / p[-1], rtol=1e-5)
    np.testing.assert_allclose(potentiation(6, cycle=4.0, interval=2.0, weight=0.12, tau=20.0), ends, rtol=1e-5)


def test_later_segments_and_longer_sequences_have_smaller_factors() -> None:
    short, long = retention_factors(8), retention_factors(16)
    assert torch.isclose(short.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert bool((long.diff() < 0).all()) and bool((long[:8] < short).all())
    assert retention_factors(1).tolist() == [1.0]


def gradients(memory: ReplayMemory, x: Tensor, read: Tensor) -> list[Tensor]:
    inputs = [*memory.parameters(), *([x] if x.requires_grad else [])]
    return list(torch.autograd.grad((memory(x) * read).sum(), inputs))


@pytest.mark.parametrize("values", [False, True])
def test_the_gradient_with_replay_is_that_of_full_bptt(values: bool) -> None:
    torch.manual_seed(3)
    cell = AstrocyteCell(6, 5, tokens=None if values else 9, depth=2).double()
    memory = ReplayMemory(cell, memory=3, n=6, segment=7).double()
    x = random(2, 42, 6).requires_grad_() if values else torch.randint(9, (2, 42))
    read = random(2, 3, 6, seed=1)
    replayed = gradients(memory, x, read)
    memory.replay = False
    full = gradients(memory, x, read)
    for got, expected in zip(replayed, full, strict=True):
        assert float((got - expected).norm() / expected.norm()) < 1e-13
    assert all(p.grad is None for p in memory.parameters())


def test_the_gradient_with_replay_is_that_of_differences() -> None:
    torch.manual_seed(4)
    memory = ReplayMemory(AstrocyteCell(3, 2).double(), memory=2, n=3, segment=4).double()
    assert torch.autograd.gradcheck(memory, (random(1, 12, 3).requires_grad_(),))


class Noisy(nn.Module):
    """A cell with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Linear(4, 4)

    def forward(self, segment: Tensor, memory: Tensor) -> Tensor:
        return functional.dropout(torch.tanh(self.weight(memory + segment.mean(1, keepdim=True))), 0.5)


def test_the_replay_repeats_random_numbers() -> None:
    torch.manual_seed(5)
    memory = ReplayMemory(Noisy(), memory=2, n=4, segment=3, retention=None).double()
    x, read, found = random(2, 12, 4), random(2, 2, 4, seed=1), []
    for replay in (True, False):
        torch.manual_seed(6)
        memory.replay = replay
        found.append(gradients(memory, x, read))
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-14)


class Saved:
    """Bytes that autograd holds, by storage, without those of the given tensors."""

    def __init__(self, *known: Tensor) -> None:
        self.known = {t.untyped_storage().data_ptr() for t in known}
        self.held: dict[int, tuple[int, int]] = {}
        self.most = 0

    def pack(self, x: Tensor) -> Any:
        return _Holder(self, x)

    def change(self, x: Tensor, by: int) -> None:
        place = x.untyped_storage().data_ptr()
        if place not in self.known:
            size, holders = x.untyped_storage().nbytes(), self.held.get(place, (0, 0))[1] + by
            self.held[place] = (size, holders)
            self.most = max(self.most, sum(size for size, holders in self.held.values() if holders))


class _Holder:
    def __init__(self, saved: Saved, x: Tensor) -> None:
        self.saved, self.x = saved, x
        saved.change(x, 1)

    def __del__(self) -> None:
        self.saved.change(self.x, -1)


def most_saved(memory: ReplayMemory, segments: int) -> int:
    x = torch.randint(15, (2, segments * memory.segment))
    saved = Saved(x, *memory.parameters())
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda holder: holder.x):
        memory(x).sum().backward()
    return saved.most


def test_what_is_saved_is_one_segment_and_the_memory_tokens() -> None:
    """10, 20 and 40 segments of 50 tokens, 2,000 at most: with replay only the buffer grows."""
    memory = ReplayMemory(AstrocyteCell(16, 8, tokens=15), memory=4, n=16, segment=50)
    few, more, most = (most_saved(memory, segments) for segments in (10, 20, 40))
    buffer = 2 * 4 * 16 * 4 + 4  # the memory tokens of two samples, and a factor
    assert (more - few, most - more) == (10 * buffer, 20 * buffer)
    memory.replay = False
    one = most_saved(memory, 1)
    full = [most_saved(memory, segments) for segments in (10, 20, 40)]
    assert full[2] > 35 * one and few < 1.2 * one + 10 * buffer
    assert full[2] > 25 * most  # of 2,000 tokens


def test_no_gradient_no_buffer() -> None:
    memory = ReplayMemory(AstrocyteCell(8, 4, tokens=15), memory=2, n=8, segment=5)
    x = torch.randint(15, (1, 20))
    with torch.no_grad():
        out = memory(x)
    assert not out.requires_grad and torch.equal(out, memory(x))


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match=r"alpha must be in \(0, 1\]; got 2"):
        AstrocyteAttention(4, 4, alpha=2.0)
    with pytest.raises(InputError, match="scale must be a positive"):
        AstrocyteAttention(4, 4, scale=0.0)
    with pytest.raises(ShapeError, match=r"x must be \[\.\.\., N, 4\]"):
        AstrocyteAttention(4, 4)(torch.rand(3, 5))
    memory = ReplayMemory(AstrocyteCell(4, 2, tokens=5), memory=2, n=4, segment=5)
    with pytest.raises(ShapeError, match=r"multiple of segment = 5"):
        memory(torch.zeros(1, 12, dtype=torch.int64))
    with pytest.raises(InputError, match="cell's 0 is BatchNorm1d"):
        ReplayMemory(nn.Sequential(nn.BatchNorm1d(4)), memory=2, n=4, segment=5)
    with pytest.raises(ShapeError, match="the cell must return"):
        ReplayMemory(nn.Bilinear(4, 4, 3), memory=5, n=4, segment=5)(torch.rand(1, 5, 4))
    with pytest.raises(InputError, match="raise the calcium above"):
        retention_factors(2, weight=1e-3)
    with pytest.raises(InputError, match=r"interval = 0\.0013 s is not an integer number of steps"):
        potentiation(2, interval=1.3e-3)
    with pytest.raises(InputError, match="tau must be a positive number"):
        potentiation(2, tau=0.0)
    with pytest.raises(InputError, match="more than 5,000,000"):
        potentiation(2000)


def test_the_embedding_of_a_token_has_its_place_added() -> None:
    """A cell of numbers gives what the cell of values gives for embeddings with sines and cosines."""
    torch.manual_seed(8)
    cell = AstrocyteCell(6, 4, tokens=9).double()
    x, memory = torch.randint(9, (2, 7)), random(2, 3, 6)
    place = np.arange(7)[:, None] / 10.0 ** (4 * np.array([0, 2, 4]) / 6)
    values = cell.embedding.weight[x] + torch.from_numpy(np.hstack((np.sin(place), np.cos(place))))
    expected = cell(x, memory)
    cell.embedding = None
    torch.testing.assert_close(cell(values, memory), expected, rtol=1e-6, atol=1e-6)
