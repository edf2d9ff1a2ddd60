"""The Triton kernels of circuits add what the reference adds; without a GPU they run in Triton's interpreter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("triton")

from neurosim.kernels.circuit import cuda, cuda_code, reference
from neurosim.kernels.circuit.cuda import Circuit, Laws, Ring, Rows, Trains
from neurosim.kernels.circuit.tasks import PAD, Delivery, PoissonInput, SpikeLog
from tests.kernels.circuit.test_cpu import rows

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
STEPS, HISTORY, SLOTS = 4, 5, 90


def spikes(rng, sources, samples, most=1, rate=0.2):
    """Numbers of spikes [HISTORY + STEPS, samples, sources]."""
    return torch.from_numpy(rng.binomial(most, rate, (HISTORY + STEPS, samples, sources)))


def log(grid, sample):
    """The same spikes of a sample as the CPU has them; the last steps are those of a call."""
    made = SpikeLog(
        [torch.from_numpy(np.repeat(np.arange(len(row)), row)) for row in grid[:HISTORY, sample].numpy()],
        (0, grid.shape[2]),
    )
    made.open(STEPS, 0)
    made.put(grid[HISTORY:, sample])
    return made


def delivered(grid, table, window, now=0):
    """Accumulators [window, samples, slots] after the spikes that arrive in a window from `now` on."""
    samples = grid.shape[1]
    ring = Ring(HISTORY, STEPS, samples, Ring.most(grid), DEVICE)
    ring.put(grid.to(DEVICE), now - HISTORY)
    circuit = Circuit(DEVICE, samples, SLOTS + 10, window, 0)
    circuit.clock.copy_(torch.tensor([now, now + STEPS, now, 0]))
    circuit.begin([ring])
    circuit.deliver(ring, table)
    circuit._once()
    return circuit.total.view(window, samples, SLOTS + 10).cpu()


def assert_reference(found, grid, task):
    """Compare rows of accumulators, whose first slot is 10, with the reference of a `Delivery`, step by step."""
    for sample in range(grid.shape[1]):
        for step in range(len(found)):
            total = torch.zeros(-(-SLOTS // PAD) * PAD, dtype=torch.int32)
            reference.deliver(task._replace(log=log(grid, sample), total=total), step)
            assert torch.equal(found[step, sample, 10:], total[:SLOTS])
            assert not found[step, sample, :10].any()


@pytest.mark.parametrize("kind", ["narrow", "constant", "packed", "wide"])
@pytest.mark.parametrize("shares", [1, 3])
def test_deliveries(kind, shares, monkeypatch):
    monkeypatch.setattr(cuda, "PROGRAMS", 12 * shares)
    monkeypatch.setattr(cuda, "SPIKES_A_SHARE", 4)
    rng, delays = np.random.default_rng(shares), (1, 5)
    starts, post, weight = rows(rng, kind, 20, SLOTS, delays, 30 if shares == 1 else 3, kind == "narrow")
    grid = spikes(rng, 20, 2, most=3 if kind == "wide" else 1)
    own = "constant" if kind == "narrow" else kind
    table = Rows.of(own, torch.tensor(delays), starts, post, weight, 10, DEVICE)
    assert table.kind == kind
    assert table.sources == 20
    found = delivered(grid, table, 3, now=7)
    task = Delivery(own, None, torch.tensor(delays), starts[:-1], starts[1:], post, weight, None)
    assert_reference(found, grid, task)
    assert found.any()


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_bits(rate, monkeypatch):
    monkeypatch.setattr(cuda, "PROGRAMS", 8)
    monkeypatch.setattr(cuda, "SPIKES_A_SHARE", 4)
    monkeypatch.setattr(cuda, "BITS_BLOCK", 64)
    rng = np.random.default_rng(3)
    words = rng.integers(-(1 << 63), 1 << 63, (30, 2), dtype=np.int64)
    words[:, 1] &= (1 << (SLOTS - PAD)) - 1
    bits, grid = torch.from_numpy(words), spikes(rng, 30, 2, rate=rate)
    found = delivered(grid, Rows.of("bits", torch.tensor([3]), None, bits, -7, 10, DEVICE), 2)
    ends = torch.tensor([0]), torch.tensor([2])
    assert_reference(found, grid, Delivery("bits", None, torch.tensor([3]), *ends, bits, -7, None))
    assert found.any() == (rate > 0)


def test_steps_after_the_end_of_a_run_are_not_delivered():
    rng = np.random.default_rng(0)
    starts, post, weight = rows(rng, "constant", 20, SLOTS, (1,), 20, False)
    found = delivered(
        spikes(rng, 20, 1, rate=1.0),
        Rows.of("constant", torch.tensor([1]), starts, post, weight, 10, DEVICE),
        STEPS + 2,
    )
    assert found[:STEPS].any((1, 2)).all()
    assert not found[STEPS:].any()


class Below:
    """A tensor whose address is so many elements below that of its memory."""

    def __init__(self, held, elements):
        self.held, self.dtype, self.device, self.elements = held, held.dtype, held.device, elements

    def data_ptr(self):
        return self.held.data_ptr() - self.elements * self.held.element_size()


@pytest.mark.skipif(DEVICE.type == "cuda", reason="the interpreter takes any address")
def test_rows_beyond_2_to_31(monkeypatch):
    executor = pytest.importorskip("triton.runtime.interpreter").GridExecutor
    monkeypatch.setattr(executor, "_init_args_hst", lambda self, args, named: (args, named))
    monkeypatch.setattr(executor, "_restore_args_dev", lambda *_: None)
    rng, far = np.random.default_rng(0), (1 << 31) + 100
    starts, post, weight = rows(rng, "wide", 20, SLOTS, (1,), 5, False)
    grid = spikes(rng, 20, 1)
    near = Rows.of("wide", torch.tensor([1]), starts, post, weight, 10, DEVICE)
    ring = Ring(HISTORY, STEPS, 1, 20, DEVICE)
    ring.put(grid, -HISTORY)
    totals = [torch.zeros(SLOTS + 10, dtype=torch.int32) for _ in range(2)]
    for total, first, arrays in (
        (totals[0], 0, (near.post, near.weight)),
        (totals[1], far, (Below(near.post, far), Below(near.weight, far))),
    ):
        clock = torch.tensor([0, 1, 0, 0])
        pointers = (clock, ring.ids, ring.counts, near.delays, starts + first, *arrays, total)
        numbers = (1, ring.ring, 20, 1, 1, SLOTS + 10, 10, 0, 1)
        cuda_code.deliver[(1,)](*pointers, *numbers, KIND="wide", BLOCK=32)
    assert totals[0].any()
    assert torch.equal(*totals)


def test_a_ring_holds_several_spikes_of_a_neuron_in_any_place_of_time():
    rng = np.random.default_rng(1)
    grid = spikes(rng, 7, 3, most=4, rate=0.5)
    ring = Ring(HISTORY, STEPS, 3, Ring.most(grid), DEVICE)
    ring.put(grid[:HISTORY].to(DEVICE), -HISTORY)
    assert torch.equal(ring.under_way(0, 7).cpu(), grid[:HISTORY])
    ring.put(grid[HISTORY:].to(DEVICE), 0)
    assert torch.equal(ring.under_way(STEPS, 7).cpu(), grid[STEPS:])
    assert not Ring(2, 1, 1, 1, DEVICE).under_way(0, 7).any()


def test_poisson_trains_whose_rates_change():
    import triton
    import triton.language as tl

    @triton.jit
    def kernel(drive, limits, numbers, rates, out, step, origin, BLOCK: tl.constexpr):
        sample = tl.cast(tl.program_id(1), tl.int64)
        block = tl.program_id(0)
        count = cuda_code.poisson(block, step, origin, drive, limits, numbers, rates, 2, sample, BLOCK)
        tl.store(out + (sample * 2 + block) * BLOCK + tl.arange(0, BLOCK), count)

    limits = torch.tensor([[10_000, 1 << 30, 3 << 30, (1 << 32) - 1], [1 << 31, 0, 0, 0], [0] * 4]).to(torch.uint32)
    both = (
        (limits, torch.tensor([4, 1, 0]), torch.tensor([2, 0, 1])),
        (limits[1:2, :1], torch.tensor([1]), torch.zeros(3)),
    )
    laws = [(table.contiguous(), number, rows.long()) for table, number, rows in both]
    seeds, trials, firsts, stream = [(1 << 62) + 5, 9], [4, (1 << 32) - 1], [1000, 0], (1 << 32) - 5
    place = [torch.tensor(each) for each in (seeds, trials, firsts)]
    trains = Trains.of(Laws(*(each.to(DEVICE) for each in Laws.of(laws))), place, stream, 3)
    out = torch.zeros((2, 2 * PAD), dtype=torch.int32, device=DEVICE)
    for step in range(3):
        kernel[(2, 2)](trains.table, *trains.laws, out, 17 + step, 17, BLOCK=PAD)
        for sample in range(2):
            total = torch.zeros(2 * PAD, dtype=torch.int32)
            own = seeds[sample], stream, trials[sample], firsts[sample] + 17
            reference.poisson(PoissonInput(*laws[sample], (0, 2), *own, 1, total), step)
            assert torch.equal(out[sample].cpu(), total)
            assert total.any() == (sample == 1 or step > 0)


def test_a_window_is_as_long_as_the_least_delay_and_the_cache_allow():
    assert cuda.window_of(15, 1, 25_000) == 15
    assert cuda.window_of(15, 264, 25_000) == 1
    assert cuda.window_of(15, 40, 25_000) == 8
    assert cuda.window_of(64, 1, 0) == 64
