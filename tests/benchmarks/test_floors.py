"""The floor counts what the spikes need, no more."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from benchmarks import floors, step
from benchmarks.libraries import ours
from benchmarks.nets import TASKS, Conv, Layer, Linear, Task, recurrent
from benchmarks.timing import ImplausibleError, Times


def test_pairs_of_a_linear_map():
    x = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert Linear(torch.ones(5, 3)).taps(x) == 3 * 5


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 1)])
def test_pairs_of_a_convolution_are_the_weights_that_the_spikes_meet(stride, padding):
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(3, 2, 7, 6, generator=generator) < 0.3).float()
    each = Conv(torch.ones(4, 2, 3, 3), stride, padding)
    # With all weights 1, every spike adds 1 wherever it meets a weight.
    assert each.taps(x) == F.conv2d(x, each.weight, None, stride, padding).sum()


def test_needs_of_a_small_chain():
    x = torch.zeros(2, 1, 3)
    x[0, 0, 0] = x[1, 0, :2] = 1.0
    hidden, out = torch.zeros(2, 1, 4), torch.zeros(2, 1, 5)
    hidden[1, 0, 2] = 1.0
    layers = (Layer((Linear(torch.zeros(4, 3)),)), Layer((Linear(torch.zeros(5, 4)),)))
    found = floors.needs(Task(layers, x, None, torch.sum, ""), [hidden, out])
    assert found.flops == 2 * (3 * 4 + 1 * 5)  # an addition a weight, forward and in the weight gradient
    assert found.input_flops == 2 * 2 * 4 * 5  # dense, of the second layer only
    assert found.bytes == 2 * 3 * 4 + 2 * (8 + 10) / 8


def test_an_input_that_is_not_spikes_needs_products():
    x = torch.full((2, 1, 3), 0.5)
    layers = (Layer((Linear(torch.zeros(4, 3)),)),)
    found = floors.needs(Task(layers, x, None, torch.sum, "", input_gradient=True), [torch.zeros(2, 1, 4)])
    assert found.flops == 2 * 2 * (2 * 3 * 4)
    assert found.input_flops == 2 * 2 * 3 * 4
    assert found.bytes == 2 * 2 * 3 * 4 + 2 * 8 / 8


def test_the_loop_of_a_layer_counts():
    task = recurrent(steps=5, batch=2, sizes=(20, 8, 3))
    spikes = ours.reference(task.layers, task.x)
    whole = floors.needs(task, spikes)
    cut = Task((Layer(task.layers[0].synapses), task.layers[1]), task.x, task.target, task.loss, "")
    assert whole.flops - floors.needs(cut, spikes).flops == 2 * spikes[0][:-1].sum() * 8
    assert whole.input_flops - floors.needs(cut, spikes).input_flops == 2 * 4 * 2 * 8 * 8


def test_a_compact_surrogate_may_leave_out_input_gradients():
    needed, at = floors.Needs(flops=1e9, input_flops=3e9, bytes=1e9), floors.Machine(1e9, 2e9)
    assert needed.seconds(at, compact=False) == 4.0
    assert needed.seconds(at, compact=True) == 1.0
    assert floors.Needs(1.0, 0.0, 1e9).seconds(at, compact=True) == 0.5


def test_a_time_under_the_floor_is_refused():
    floors.check("fine", Times((0.81, 2.0)), 1.0)
    with pytest.raises(ImplausibleError, match=r"quick took 7\.90e-01 s; its spikes need at least 1\.00e\+00 s"):
        floors.check("quick", Times((0.79, 2.0)), 1.0)


def test_the_machine_is_measured():
    found = floors.machine(torch.zeros(1000), calls=2, width=32)
    assert found.flops_per_s > 0
    assert found.bytes_per_s > 0


@pytest.mark.parametrize("name", TASKS)
def test_the_products_alone_are_those_of_the_net(name, monkeypatch):
    """The floor of dense libraries multiplies as often as autograd does without neurons."""
    small = {
        "feedforward": {"sizes": (9, 8, 7, 6)},
        "recurrent": {"sizes": (9, 8, 7)},
        "dense": {"width": 8},
        "conv": {},
    }
    task = TASKS[name](**small[name], steps=3, batch=2)
    spikes = ours.reference(task.layers, task.x)
    products = []
    real = torch.mm

    def multiply(a, b):
        products.append((a.shape, b.shape))
        return real(a, b)

    monkeypatch.setattr(torch, "mm", multiply)
    step.products(task, spikes)()
    linear = {"feedforward": 3 * 3 - 1, "recurrent": 2 * 3 - 1 + 3 + 3 + 1, "dense": 3, "conv": 3}
    assert len(products) == linear[name]
