"""What autograd holds is counted, and that of SLTT does not grow with the run."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from benchmarks import sltt_memory
from benchmarks.options import Options


def test_the_memory_of_sltt_does_not_grow_with_the_run():
    found = sltt_memory.measure(Options(quick=True))
    assert found["longest_over_shortest"]["SLTT"] <= 1.05
    assert found["longest_over_shortest"]["BPTT"] == pytest.approx(3, rel=0.05)
    assert all(name in sltt_memory.table(found) for name in found["peak_bytes"])


@pytest.mark.parametrize("rule", [ns.SLTT(), ns.SLTT(chunk=1), ns.SLTT(k=5)], ids=repr)
def test_sltt_holds_over_long_runs_what_it_holds_at_10_steps(rule):
    sizes = (20, 16, 10)
    assert sltt_memory.peak(rule, 200, sizes) <= 1.05 * sltt_memory.peak(rule, 10, sizes)


def test_the_count_of_activations_is_right():
    x = torch.ones(1000, requires_grad=True)
    with sltt_memory.activations(x) as count:
        y = (x * 2).exp()  # exp keeps its result; the product keeps nothing of its own
        assert (count.now, count.peak) == (4000, 4000)
        z = y * y  # the same memory, kept twice more
        assert count.now == 4000
        z.sum().backward()
    assert (count.now, count.peak) == (0, 4000)
