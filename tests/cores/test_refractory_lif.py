"""The refractory time of `refractory_lif`, counted in steps."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.cores import refractory_lif
from neurosim.errors import InputError, UnitError

Refractory = ns.layer(refractory_lif)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("per_neuron", [False, True])
@pytest.mark.parametrize(("dt", "t_ref"), [(5e-5, 0.9), (1e-4, 0.1), (1e-3, 1e-3), (1e-3, 0.999), (3e-4, 3.3e-3)])
def test_a_neuron_fires_again_after_exactly_that_many_steps(dt, t_ref, per_neuron, dtype):
    steps = round(t_ref / dt)
    value = torch.full((1,), t_ref, dtype=dtype) if per_neuron else t_ref
    layer = Refractory(dt=dt, t_ref=value, tau_mem=2.1 * dt)
    z, _ = layer(torch.full((2 * steps + 4, 1, 1), 100.0, dtype=dtype))
    fired = z.flatten().nonzero().flatten().tolist()
    assert fired == [0, steps + 1, 2 * steps + 2]


def test_the_state_counts_steps_down():
    layer = Refractory(dt=1e-3, t_ref=3e-3)
    i = torch.zeros(6, 1, 1)
    i[0] = 1000.0
    wait = layer.run(i, record=("wait",)).recorded["wait"].flatten().tolist()
    assert wait == [3.0, 2.0, 1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("t_ref", [4e-4, 2.5e-3, torch.tensor([1e-3, 1.5e-3])])
def test_a_time_off_the_grid_is_refused(t_ref):
    with pytest.raises(UnitError, match=r"refractory_lif: t_ref must be an integer number of steps of 0.001 s; got"):
        Refractory(dt=1e-3, t_ref=t_ref)


def test_it_is_not_learned():
    with pytest.raises(InputError, match="t_ref is an integer number of steps and cannot be learned"):
        Refractory(dt=1e-3, learn=("t_ref",))
