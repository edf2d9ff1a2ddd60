"""Blocks of SLAYER beside lava-dl, or beside its documented integer arithmetic where it is missing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim import cores
from neurosim.exchange.peers import ConversionError, examine, from_slayer
from tests.exchange.peers import slayer_like

DT, STEPS, BATCH = 1e-3, 80, 3
CUBA = dict(threshold=1.25, current_decay=0.25, voltage_decay=0.03)


def names() -> list[str]:
    return [name for name in sys.modules if name == "lava" or name.startswith("lava.")]


@pytest.fixture(scope="module", params=["documented", "installed"])
def cuba(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return the blocks of lava-dl, or those written from its documentation, which take its names meanwhile."""
    kept = {name: sys.modules.pop(name) for name in names()}
    if request.param == "documented":
        slayer_like.install()
    try:
        blocks = importlib.import_module("lava.lib.dl.slayer.block.cuba")
    except ImportError:
        blocks = None
    if blocks is not None:
        yield blocks
    for name in names():
        del sys.modules[name]
    sys.modules.update(kept)
    if blocks is None:
        pytest.skip("needs lava-dl")


def spikes(*shape: int) -> Tensor:
    return (torch.rand(STEPS, BATCH, *shape) < 0.4).float()


def run(blocks: Any, x: Tensor) -> Tensor:
    value = x.movedim(0, -1)
    with torch.no_grad():
        for block in blocks:
            value = block(value)
    return value.movedim(-1, 0)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
@pytest.mark.parametrize("weight_norm", [False, True])
@pytest.mark.parametrize("delay_shift", [True, False])
def test_dense(cuba: Any, delay_shift: bool, weight_norm: bool) -> None:
    block, x = cuba.Dense(CUBA, 20, 16, weight_scale=3, delay_shift=delay_shift, weight_norm=weight_norm), spikes(20)
    theirs = run([block], x)
    net = from_slayer([block], dt=DT)
    assert torch.equal(net(x)[0], theirs) and 100 < theirs.sum() < 0.9 * theirs.numel()
    assert net.neurons()["loihi1"].core is cores.loihi
    with torch.no_grad():
        for value in block.synapse.parameters():  # moved, as an optimizer does
            value.mul_(0.9)
    assert torch.equal(from_slayer([block], dt=DT)(x)[0], run([block], x))


def test_odd_numbers(cuba: Any) -> None:
    for numbers in (
        dict(threshold=0.37, current_decay=0.123, voltage_decay=0.456),
        dict(threshold=2.0, current_decay=1.0, voltage_decay=0.0),
        dict(threshold=20.0, current_decay=0.01, voltage_decay=0.5, scale=1 << 5),
    ):
        block, x = cuba.Dense(numbers, 20, 16, weight_scale=4), spikes(20)
        theirs = run([block], x)
        assert torch.equal(from_slayer([block], dt=DT)(x)[0], theirs) and theirs.sum() > 50


def test_a_whole_net(cuba: Any) -> None:
    blocks = nn.ModuleList(
        [
            cuba.Input(delay_shift=False),  # lava-dl's fails with a shift and without neurons
            cuba.Conv(CUBA, 1, 4, 3, weight_scale=4, stride=2, padding=1),
            cuba.Flatten(),
            cuba.Dense({**CUBA, "voltage_decay": 0.2}, 64, 20, weight_scale=4),
            cuba.Dense(CUBA, 20, 5, weight_scale=4, delay_shift=False),
        ]
    )
    x = spikes(1, 8, 8)
    theirs = run(blocks, x)
    net = from_slayer(blocks, dt=DT, input_shape=(1, 8, 8))
    assert torch.equal(net(x)[0], theirs) and theirs.sum() > 30
    assert [edge.delay_steps for edge in net.edges] == [0, 1, 1]
    found = examine(from_slayer, blocks, dt=DT, input_shape=(1, 8, 8))
    assert [one.verdict for one in found.verdicts] == ["exact"] * 5, str(found)


def test_refused_by_name(cuba: Any) -> None:
    def changed(**fields: Any) -> Any:
        block = cuba.Dense(CUBA, 4, 3)
        for name, value in fields.items():
            setattr(block if hasattr(block, name) else block.neuron, name, value)
        return block

    graded = changed()
    graded.neuron.graded_spike = True
    unrounded = changed()
    unrounded.synapse.pre_hook_fx = None
    hooked = changed()
    hooked.synapse.register_forward_hook(lambda module, x, y: y)
    for block, message in (
        (graded, "its neurons have graded_spike"),
        (unrounded, "its weights times scale are not integers"),
        (hooked, "has the forward hook <lambda>"),
        (changed(count_log=True), "count_log=True"),
        (changed(delay=nn.Identity()), "delay=True: axonal delays"),
        (cuba.Dense({**CUBA, "threshold": 80.0}, 4, 3), "threshold=80 is 5120 times 1 / scale"),
    ):
        with pytest.raises(ConversionError, match=message):
            from_slayer([block], dt=DT)
    with pytest.raises(ConversionError, match="reads time as the last axis"):
        from_slayer([nn.Linear(4, 4), changed()], dt=DT)
    with pytest.raises(ns.NeurosimError, match="is an integer and cannot be learned"):
        from_slayer([changed()], dt=DT, learn=("v_th",))


def test_a_membrane_without_a_bound_is_said(cuba: Any) -> None:
    block = cuba.Dense({**CUBA, "voltage_decay": 0.0}, 20, 4, weight_scale=3)
    (verdict,) = examine(from_slayer, [block], dt=DT).verdicts
    assert verdict.verdict == "bounded" and "below 2^23" in verdict.note
