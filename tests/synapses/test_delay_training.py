"""Delays that are trained: found again, clamped, with a learning rate of their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurosim.errors import InputError
from neurosim.synapses import DelayedLinear
from neurosim.synapses.delay_schedule import decreasing_width
from neurosim.synapses.delay_training import delay_groups, keep_in_range, narrow
from tests.synapses.delays import DT, D, layer


def test_narrow_sets_all_layers_and_the_width_is_saved():
    net = nn.Sequential(layer(2, 3), layer(3, 2, memory=10, variant="paper"))
    narrow(net, 2, 8)
    assert [float(m.width) for m in net] == [decreasing_width(24, 2, 8), decreasing_width(10, 2, 8, "paper")]
    other = nn.Sequential(layer(2, 3), layer(3, 2, memory=10, variant="paper"))
    other.load_state_dict(net.state_dict())
    assert float(other[0].width) == float(net[0].width) == 0.5


def recovered(seed: int, fixed: float | None = None, *, steps: int = 400, spread: bool = False) -> float:
    """Return the share of 16 delays found from the currents of a spike each; the width falls unless it is `fixed`.

    They start in the middle, or `spread` as they are drawn. A step moves a delay by about 0.1 while all goes one way.
    """
    torch.manual_seed(seed)
    target = torch.randint(0, D + 1, (16,))
    made = DelayedLinear(16, 1, D * DT, dt=DT)
    with torch.no_grad():
        made.weight.fill_(1.0)
        if not spread:
            made.delay.fill_(D / 2)
    x = torch.zeros(D + 1, 16, 16)  # a sample for each synapse
    x[0] = torch.eye(16)
    wanted = nn.functional.one_hot(target, D + 1).T.float().unsqueeze(2)
    optimizer = torch.optim.Adam([made.delay], lr=0.1)
    keep_in_range(optimizer, made)
    for step in range(steps):
        made.narrow(fixed or 0.27 + 12 * (0.23 / 12) ** (step / steps))
        optimizer.zero_grad()
        (made(x)[0] - wanted).square().mean().backward()
        optimizer.step()
    return float((made.delay_steps()[0] == target).double().mean())


@pytest.mark.parametrize("seed", range(3))
def test_all_delays_are_recovered_as_the_width_falls(seed):
    assert recovered(seed) == 1.0


@pytest.mark.parametrize("seed", [0, 1, 17])
def test_all_are_recovered_from_where_they_are_drawn_when_they_have_the_time_to_get_there(seed):
    assert recovered(seed, steps=800, spread=True) == 1.0


def test_half_the_time_is_too_short_for_the_longest_way():
    # One of seed 1 is drawn at 0.6 and shall be 24.
    assert recovered(1, spread=True) == 15 / 16


def test_a_narrow_width_from_the_start_finds_few_delays():
    assert recovered(0, 0.5) <= 0.25


def test_delays_are_clamped_after_each_step_until_the_hook_is_removed():
    made = layer(2, 2)
    optimizer = torch.optim.SGD([{"params": [made.delay], "lr": 1e3}])
    hook = keep_in_range(optimizer, made)
    made.delay.grad = torch.tensor([[1.0, -1.0], [1.0, -1.0]], dtype=torch.float64)
    optimizer.step()
    assert made.delay.tolist() == [[0.0, D], [0.0, D]]
    hook.remove()
    optimizer.step()
    assert made.delay[0].tolist() == [-1000.0, D + 1000.0]


def test_delays_get_a_rate_of_their_own_and_no_weight_decay():
    net = nn.Sequential(layer(4, 3, bias=True), nn.BatchNorm1d(3), layer(3, 2))
    net[2].delay.requires_grad_(False)
    weights, norms, delays = delay_groups(net)
    assert [id(p) for p in weights["params"]] == [id(p) for p in (net[0].weight, net[0].bias, net[2].weight)]
    assert [id(p) for p in norms["params"]] == [id(p) for p in net[1].parameters()]
    assert [id(p) for p in delays["params"]] == [id(net[0].delay)]
    assert [g["lr"] for g in (weights, norms, delays)] == [1e-3, 1e-3, 0.1]
    assert [g["weight_decay"] for g in (weights, norms, delays)] == [1e-5, 0.0, 0.0]
    torch.optim.Adam(delay_groups(net))
    with pytest.raises(InputError, match="holds no DelayedLinear whose delays are trained"):
        delay_groups(nn.Linear(2, 2))


def test_the_network_of_the_paper_has_its_number_of_parameters():
    torch.manual_seed(0)
    sizes = [(140, 256), (256, 256), (256, 20)]
    net = nn.ModuleList([DelayedLinear(a, b, D * DT, dt=DT) for a, b in sizes] + [nn.BatchNorm1d(256) for _ in "12"])
    assert sum(p.numel() for p in net.parameters()) == 214_016
