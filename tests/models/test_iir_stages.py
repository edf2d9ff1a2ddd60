"""IIR-SNN in stages: every parameter passes on bit for bit, with a new optimizer and clamped leaks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.models.iir import set_thresholds
from neurosim.models.iir_stages import adam, reduce_steps
from tests.models.iir_networks import network, settled


def batches(steps: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Three classes that differ in which third of the input is strong."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (120,), generator=draw)
    x = torch.rand(120, 16, generator=draw, dtype=torch.float64)
    x += 1.2 * (torch.arange(16) // 6 == y[:, None])
    return [(part.expand(steps, -1, -1), label) for part, label in zip(x.split(40), y.split(40), strict=True)]


def test_weights_thresholds_and_leaks_pass_on_bit_for_bit() -> None:
    net, made, starts, ends = network(), [], [], []
    set_thresholds(net, batches(5)[0][0])
    with torch.no_grad():
        net.nodes["one"].leak.fill_(0.9)

    def optimizer(parameters):
        made.append(torch.optim.Adam(parameters, lr=5e-3, amsgrad=True))
        starts.append((copy.deepcopy(net.state_dict()), len(made[-1].state)))
        return made[-1]

    stages = []
    for stage in reduce_steps(
        net, batches, lambda t: batches(t, 1), stages=(4, 2, 1), epochs=3, optimizer=optimizer, progress=False
    ):
        stages.append(stage)
        ends.append(copy.deepcopy(net.state_dict()))
    assert [stage.steps for stage in stages] == [4, 2, 1]
    assert len({id(m) for m in made}) == 3 and [held for _, held in starts] == [0, 0, 0], "each stage: a new optimizer"
    for end, (start, _) in zip(ends, starts[1:], strict=False):
        assert all(torch.equal(start[name], end[name]) for name in end)
    changed = {name for name in ends[0] if not torch.equal(ends[0][name], ends[1][name])}
    assert {"nodes.one.v_th", "nodes.two.v_th", "nodes.one.leak"} <= changed
    assert all(float(end[f"nodes.{name}.leak"]) <= 1.0 for end in ends for name in ("one", "two"))
    assert stages[-1].after > 0.8 and stages[-1].after >= stages[-1].before
    # 3 epochs: divided by 5 after the first (60 %) and twice after the second (80 % and 90 %).
    assert made[0].param_groups[0]["lr"] == pytest.approx(5e-3 / 5**3)


def test_the_leak_is_clamped_after_every_optimizer_step() -> None:
    net, above = settled(), []
    with torch.no_grad():
        net.nodes["one"].leak.fill_(1.0)

    def pushing(parameters):
        made = torch.optim.SGD(parameters, lr=5.0)
        made.register_step_post_hook(lambda *_: above.append(net.nodes["one"].leak.item()))
        return made

    list(reduce_steps(net, batches, batches, stages=(3,), epochs=1, optimizer=pushing, progress=False))
    assert max(above) > 1.0, "the optimizer would have raised it"
    assert net.nodes["one"].leak.item() <= 1.0


def test_the_authors_optimizer() -> None:
    group = adam([nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"], group["amsgrad"]) == (1e-4, (0.9, 0.999), 0, True)


@pytest.mark.parametrize("stages", [(), (1, 2), (3, 3), (2, 0), (2.0, 1)])
def test_stages_must_decrease(stages) -> None:
    with pytest.raises(InputError, match="decreasing integers from 1"):
        reduce_steps(network(), batches, batches, stages=stages)
