"""Memory for results is lent, comes back, and is never lent twice at once."""

from __future__ import annotations

import mmap

import pytest
import torch

from neurosim.kernels.common import buffers as memory
from neurosim.kernels.common.buffers import LARGE, PAGE, BufferPool

LENGTH = 3 * PAGE // 4  # numbers of 4 bytes that fill three large pages


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_result_has_the_form_of_its_model(dtype):
    model = torch.empty(2, 3, LENGTH // 2, dtype=dtype)
    lent = BufferPool().empty_like(model.transpose(0, 2))
    assert (lent.shape, lent.dtype, lent.is_contiguous()) == ((LENGTH // 2, 3, 2), dtype, True)
    lent.fill_(3.0)
    assert bool((lent == 3.0).all())
    assert lent.data_ptr() % PAGE == 0


def test_small_results_stay_with_torch():
    buffer_pool = BufferPool()
    small = buffer_pool.empty_like(torch.empty(LARGE // 4 - 1))
    del small
    assert buffer_pool.idle == 0
    assert buffer_pool.empty_like(torch.empty(0, 5)).shape == (0, 5)


@pytest.mark.parametrize("length", [LARGE, LARGE + 4, PAGE - 4, PAGE, PAGE + 4])
def test_results_below_a_large_page_and_above_come_back(length):
    buffer_pool = BufferPool()
    lent = buffer_pool.empty((length // 4,), torch.float32).fill_(2.0)
    assert lent.numel() * 4 == length and bool((lent == 2.0).all())
    assert lent.data_ptr() % (PAGE if length >= PAGE else mmap.PAGESIZE) == 0
    place = lent.data_ptr()
    del lent
    assert length <= buffer_pool.idle < length + (PAGE if length >= PAGE else 1 << 16)
    assert buffer_pool.empty((length // 4,), torch.float32).data_ptr() == place


def test_memory_comes_back_and_is_lent_again():
    buffer_pool = BufferPool()
    lent = buffer_pool.empty_like(torch.empty(LENGTH))
    place = lent.data_ptr()
    view = lent[5:]
    del lent
    assert buffer_pool.idle == 0  # a view still uses it
    del view
    assert buffer_pool.idle == 3 * PAGE
    again = buffer_pool.empty_like(torch.empty(LENGTH - 7))
    assert (again.data_ptr(), buffer_pool.idle) == (place, 0)


def test_no_two_results_share_memory():
    buffer_pool = BufferPool()
    lent = [buffer_pool.empty_like(torch.empty(LENGTH)).fill_(n) for n in range(4)]
    assert all(bool((tensor == n).all()) for n, tensor in enumerate(lent))
    del lent[1]
    lent += [buffer_pool.empty_like(torch.empty(LENGTH)).fill_(n) for n in (8, 9)]
    assert [tensor[0].item() for tensor in lent] == [0, 2, 3, 8, 9]


def test_what_waits_stays_within_the_limit_and_the_oldest_size_goes():
    buffer_pool = BufferPool(limit=8 * PAGE)
    for pages in (2, 4, 3):
        buffer_pool.empty_like(torch.empty(pages * PAGE // 4))
    assert buffer_pool.idle == 7 * PAGE
    buffer_pool.empty_like(torch.empty(4 * PAGE // 4 - 1, dtype=torch.float32))  # used again: now the youngest
    buffer_pool.empty_like(torch.empty(2 * PAGE // 2))  # 4 pages, taken from the buffer_pool
    buffer_pool.empty_like(torch.empty(2 * PAGE // 4))
    held = [buffer_pool.empty_like(torch.empty(2 * PAGE // 4)), buffer_pool.empty_like(torch.empty(2 * PAGE // 4))]
    held.clear()
    assert buffer_pool.idle == 8 * PAGE


def test_a_result_above_the_limit_is_not_kept():
    buffer_pool = BufferPool(limit=PAGE)
    buffer_pool.empty_like(torch.empty(LENGTH))
    assert buffer_pool.idle == 0


def test_a_size_that_is_lent_out_whole_does_not_stop_the_others_from_going():
    class Counted(BufferPool):
        asked = 0

        @property
        def idle(self):
            self.asked += 1
            assert self.asked < 100, "the oldest size has no block to give up, and the pool waits for one"
            return super().idle

    buffer_pool = Counted(limit=PAGE)
    buffer_pool.empty((PAGE,), torch.uint8)
    lent = buffer_pool.empty((PAGE,), torch.uint8)  # the size is known, and no block of it waits
    size, block = 2 * PAGE, mmap.mmap(-1, 2 * PAGE)
    buffer_pool._take_back(size, block)
    assert buffer_pool.idle == 0 and len(lent) == PAGE


def test_a_system_without_memory_is_named(monkeypatch):
    def refuse(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(MemoryError) as caught:
        BufferPool().empty_like(torch.empty(LENGTH))
    assert str(caught.value) == (
        "no memory for a result of 6 MB: [Errno 12] Cannot allocate memory. Run fewer steps or samples at once."
    )


def test_kernels_use_the_shelf(monkeypatch):
    import neurosim as ns
    from neurosim.kernels.neurons import cpu

    buffer_pool = BufferPool()
    monkeypatch.setattr(cpu, "buffer_pool", buffer_pool)
    x = torch.rand(64, 4, 2048, requires_grad=True)
    z, state = ns.LIF(dt=1e-3)(x)
    z.sum().backward()
    assert x.grad.data_ptr() % memory.PAGE == 0
    del z, state
    x.grad = None
    assert buffer_pool.idle == 3 * PAGE  # spikes, membrane, gradient
