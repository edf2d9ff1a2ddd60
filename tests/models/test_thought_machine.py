"""The thought machine: synchronisation in closed form, neurons that see their own currents alone, loss, learning."""

from __future__ import annotations

import math

import pytest
import torch

from neurosim.errors import InputError, ShapeError
from neurosim.models import NeuronModels, Synchrony, ThoughtMachine, certainty, thought_loss


def test_synchrony_is_a_decayed_sum_over_all_ticks() -> None:
    torch.manual_seed(0)
    synchrony = Synchrony(12, 5, "random").double()
    synchrony.decay.data.uniform_(0.0, 0.5)
    z, state = torch.randn(30, 4, 12, dtype=torch.float64), None
    for tick, row in enumerate(z):
        found, state = synchrony(row, state)
        past = torch.arange(tick, -1, -1, dtype=torch.float64)
        keep = torch.exp(-synchrony.decay[:, None] * past)
        product = z[: tick + 1, :, synchrony.left] * z[: tick + 1, :, synchrony.right]
        direct = torch.einsum("pt,tbp->bp", keep, product) / keep.sum(1).sqrt()
        assert torch.allclose(found, direct, rtol=1e-13, atol=1e-14)
    assert synchrony.pairs == 15


def test_without_decay_it_is_the_matrix_of_products() -> None:
    torch.manual_seed(0)
    synchrony = Synchrony(6, 6).double()
    z, state = torch.randn(20, 1, 6, dtype=torch.float64), None
    for row in z:
        found, state = synchrony(row, state)
    whole = z[:, 0].T @ z[:, 0] / math.sqrt(20)
    i, j = torch.triu_indices(6, 6)
    assert torch.allclose(found[0], whole[i, j], rtol=0, atol=1e-14)


def test_the_model_of_a_neuron_sees_its_own_currents_alone() -> None:
    torch.manual_seed(0)
    models = NeuronModels(6, 5, 4).double()
    currents = torch.randn(1, 6, 5, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(models, currents)[0, :, 0]  # [neurons, neurons, memory]
    across = jacobian.abs().sum(2)
    assert not (across - across.diag().diag()).any() and across.diag().min() > 0
    order = torch.randperm(6)
    moved = models(currents[:, order])
    for name in ("first", "second"):
        getattr(models, name).data = getattr(models, name).data[..., order]
    assert torch.allclose(models(currents[:, order]), NeuronModels.forward(models, currents[:, order]))
    assert not torch.allclose(moved, models(currents[:, order]))


def test_the_loss_takes_two_ticks() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(7, 5, 3), torch.randint(0, 3, (5,))
    expected = []
    for b in range(5):
        loss = [-logits[t, b].log_softmax(0)[target[b]] for t in range(7)]
        p = logits[:, b].softmax(1)
        sure = 1 + (p * p.log()).sum(1) / math.log(3)
        assert torch.allclose(certainty(logits[:, b]), sure, atol=1e-6)
        expected.append(0.5 * (min(loss) + loss[int(sure.argmax())]))
    assert torch.allclose(thought_loss(logits, target), torch.stack(expected).mean(), atol=1e-6)
    assert certainty(torch.zeros(2)) == 0.0 and certainty(torch.tensor([0.0, 1e4])) == 1.0
    several = thought_loss(logits[:, :, None].expand(-1, -1, 4, -1), target[:, None].expand(-1, 4))
    assert torch.allclose(several, thought_loss(logits, target), atol=1e-6)


def test_it_learns_the_parity_of_four_signs() -> None:
    torch.manual_seed(0)
    machine = ThoughtMachine(tokens=8, out=2, neurons=32, ticks=6, memory=4, synchronised=8, heads=2)
    embedding = torch.randn(4, 2, 8)
    signs = torch.cartesian_prod(*[torch.tensor([0, 1])] * 4)
    x, target = embedding[torch.arange(4), signs], signs.sum(1) % 2
    optimizer = torch.optim.Adam(machine.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss = thought_loss(machine(x).output, target)
        loss.backward()
        optimizer.step()
    assert all(p.grad is not None for p in machine.parameters())
    with torch.no_grad():
        output = machine(x).output
    chosen = output[certainty(output).argmax(0), torch.arange(16)].argmax(1)
    assert (chosen == target).double().mean() > 0.9


def test_bad_arguments_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="tokens=9 features are not a multiple of heads=4"):
        ThoughtMachine(tokens=9, out=2)
    with pytest.raises(InputError, match="number=32 neurons of 16"):
        ThoughtMachine(tokens=8, out=2, neurons=16)
    with pytest.raises(InputError, match="pairing='all'"):
        Synchrony(8, 4, "all")
    with pytest.raises(ShapeError, match=r"x must be \[B, n, 8\]; got \[3, 8\]"):
        ThoughtMachine(tokens=8, out=2)(torch.zeros(3, 8))
    with pytest.raises(ShapeError, match="do not fit targets"):
        thought_loss(torch.zeros(3, 2, 4), torch.zeros(3, dtype=torch.int64))
