"""The machine code of each task adds what the reference adds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurosim.kernels.circuit import cpu, reference
from neurosim.kernels.circuit.tasks import MAGNITUDE, PAD, Delivery, PoissonInput, Sample, SpikeLog

STEPS, HISTORY = 6, 5


def log(rng, sources, parts, rate=0.3):
    """A log whose spikes are all known before the call."""
    bounds = [sources * p // parts for p in range(parts + 1)]
    before = [torch.from_numpy(np.flatnonzero(rng.random(sources) < rate)) for _ in range(HISTORY)]
    made = SpikeLog(before, bounds)
    made.open(STEPS, sources * STEPS)
    for p in range(parts):
        for step in range(STEPS):
            row, own = HISTORY + step, bounds[p] + np.flatnonzero(rng.random(bounds[p + 1] - bounds[p]) < rate)
            made.make_room(p, row, len(own))
            at = made.ends[p][row]
            made.ids[p][at : at + len(own)] = own
            made.ends[p][row + 1] = at + len(own)
    return made


def rows(rng, kind, sources, slots, delays, mean, narrow):
    """Random rows of synapses."""
    counts = rng.poisson(mean, sources * len(delays))
    starts = torch.from_numpy(np.concatenate(([0], counts.cumsum())))
    n = int(starts[-1])
    post = rng.integers(0, slots, n)
    weight: int | torch.Tensor = -3
    if kind == "packed":
        post = (post << MAGNITUDE | rng.integers(0, 1 << MAGNITUDE, n)).astype(np.uint32).view(np.int32)
    elif kind == "wide":
        weight = torch.from_numpy(rng.integers(-(1 << 20), 1 << 20, n).astype(np.int32))
    elif kind == "real":
        weight = torch.from_numpy(rng.normal(size=n).astype(np.float32))
    if kind != "packed":
        post = post.astype(np.uint16 if narrow else np.int32)
    return starts, torch.from_numpy(post), weight


def both(task, reference_task, plain):
    """Run a task by the machine code and by the reference, and return both accumulators after each step."""
    found = []
    for step in range(STEPS):
        # One step at a time: the code adds to what is there already.
        cpu_steps(task, step)
        plain(reference_task, step)
        found.append((task.total.clone(), reference_task.total.clone()))
    return found


def cpu_steps(task, step):
    """Run one step of a task; the driver counts from 0."""
    import ctypes

    from neurosim.kernels.circuit import cpu_code

    kernel, block = cpu._prepared(task, np.zeros(2, np.int64), 0, 1)
    table = np.array([kernel.task, ctypes.addressof(block)], np.int64)
    stop, done, counter = np.zeros(2, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64)
    addresses = [each.ctypes.data for each in (table, stop, done, counter)]
    cpu_code.drive().call(*addresses, 1, 1, step, step + 1, 1)
    assert done[0] == step + 1


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("sources", [1, 17, 150])
@pytest.mark.parametrize("kind", ["constant", "packed", "wide", "real"])
def test_deliveries(kind, sources, parts):
    rng = np.random.default_rng(sources + parts)
    spikes, slots, delays = log(rng, sources, parts), 90, (1, 2, 5)
    for narrow in (False, True):
        starts, post, weight = rows(rng, kind, sources, slots, delays, 4, narrow)
        dtype = torch.float32 if kind == "real" else torch.int32
        tasks = [
            Delivery(
                kind,
                spikes,
                torch.tensor(delays),
                starts[:-1],
                starts[1:],
                post,
                weight,
                torch.zeros(slots, dtype=dtype),
            )
            for _ in range(2)
        ]
        for found, wanted in both(*tasks, reference.deliver):
            assert torch.equal(found, wanted)
        assert tasks[0].total.any()


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("sources", "words"), [(1, 1), (40, 7), (700, 17)])
def test_bits(sources, words, rate):
    rng = np.random.default_rng(words)
    spikes = log(rng, sources, 2, rate)
    bits = torch.from_numpy(rng.integers(-(1 << 63), 1 << 63, (sources, words), dtype=np.int64))
    bits[:, 0] = -1  # 350 sources of a part that fire at once count beyond a byte
    for first, last in ((0, words), (0, words // 2), (words // 2, words)):
        ends = torch.tensor([first]), torch.tensor([last])
        tasks = [
            Delivery("bits", spikes, torch.tensor([3]), *ends, bits, -7, torch.zeros(PAD * words, dtype=torch.int32))
            for _ in range(2)
        ]
        for found, wanted in both(*tasks, reference.deliver):
            assert torch.equal(found, wanted)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float32, torch.float64])
@pytest.mark.parametrize(
    "limits", [[[]], [[1 << 31]], [[10_000, 1 << 30, 3 << 30, (1 << 32) - 1], [], [1 << 29, 1 << 30]]]
)
def test_poisson_trains(limits, dtype):
    weight = 3 if dtype == torch.int32 else 0.3
    width = max(map(len, limits))
    table = torch.tensor([each + [0] * (width - len(each)) for each in limits], dtype=torch.int64).to(torch.uint32)
    counts = torch.tensor([len(each) for each in limits])
    rates = torch.arange(STEPS) % len(limits)
    tasks = [
        PoissonInput(
            table, counts, rates, (1, 3), (1 << 40) + 5, 77, 4, 1000, weight, torch.zeros(3 * PAD, dtype=dtype)
        )
        for _ in range(2)
    ]
    for found, wanted in both(*tasks, reference.poisson):
        assert torch.equal(found, wanted)
    assert not tasks[0].total[:PAD].any()
    assert bool(tasks[0].total.any()) == (width > 0)


@pytest.mark.parametrize(("begin", "end", "every"), [(0, 6, 1), (1, 6, 2), (-3, 4, 4), (6, 9, 1)])
def test_samples(begin, end, every):
    values, neurons = torch.rand(PAD), torch.tensor([3, 60, 7], dtype=torch.int32)
    outs = [torch.zeros(9, 5) for _ in range(2)]
    tasks = [Sample(values, neurons, begin, end, every, 1, out) for out in outs]
    for step in range(STEPS):
        values.uniform_()
        cpu_steps(tasks[0], step)
        reference.sample(tasks[1], step)
    assert torch.equal(*outs)


@pytest.mark.parametrize("kind", ["constant", "packed", "wide"])
def test_rows_are_divided_by_the_slots_of_their_synapses(kind):
    rng = np.random.default_rng(1)
    starts, post, weight = rows(rng, kind, 20, 90, (1, 2), 6, narrow=True)
    before = list(
        zip(post.tolist(), weight.tolist() if isinstance(weight, torch.Tensor) else post.tolist(), strict=True)
    )
    middle = cpu.split(starts[:-1], starts[1:], post, weight, 40, packed=kind == "packed")
    slots = post.numpy().view(np.uint32) >> MAGNITUDE if kind == "packed" else post.numpy()
    for first, cut, last in zip(starts[:-1].tolist(), middle.tolist(), starts[1:].tolist(), strict=True):
        assert (slots[first:cut] < 40).all()
        assert (slots[cut:last] >= 40).all()
        after = zip(
            post[first:last].tolist(),
            (weight if isinstance(weight, torch.Tensor) else post)[first:last].tolist(),
            strict=True,
        )
        assert sorted(after) == sorted(before[first:last])


def test_a_log_keeps_what_is_under_way_and_grows():
    spikes = SpikeLog([torch.tensor([1, 5]), torch.tensor([0])], [0, 3, 6])
    assert [list(each) for each in spikes.under_way()] == [[1, 5], [0]]
    spikes.open(2, 0)
    for p, own in enumerate(([2], [4])):
        spikes.make_room(p, 2, 3)
        at = spikes.ends[p][2]
        spikes.ids[p][at] = own[0]
        spikes.ends[p][3:] = at + 1
    step, neuron = spikes.spikes()
    assert step.tolist() == [0, 0]
    assert neuron.tolist() == [2, 4]
    assert [list(each) for each in spikes.under_way()] == [[2, 4], []]
    spikes.open(3, 10)
    assert [list(each) for each in spikes.under_way()] != []
    source = SpikeLog([torch.tensor([], dtype=torch.int32)], [0, 3])
    source.open(2, 0)
    source.put(torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 1.0]]))
    assert [each.tolist() for each in source.spikes()] == [[0, 0, 1, 1], [1, 1, 0, 2]]


@pytest.mark.parametrize("narrow", [False, True])
def test_dense_rows_become_bits_and_the_repeats_of_pairs(narrow):
    rng = np.random.default_rng(3)
    starts, post, _ = rows(rng, "constant", 70, 90, (1,), 25, narrow)
    counts = np.zeros((70, 128), int)
    for source in range(70):
        np.add.at(counts[source], post[starts[source] : starts[source + 1]].numpy().astype(int), 1)
    assert counts.max() > 2
    words, begins, repeats = cpu.to_bits(starts, post, 90)
    bits = np.unpackbits(words.numpy().view(np.uint8).reshape(70, -1), axis=1, bitorder="little")
    for source in range(70):
        np.add.at(bits[source], repeats[begins[source] : begins[source + 1]].numpy().astype(int), 1)
    assert np.array_equal(bits, counts)
