"""Xylo's integers against xylosim: recorded runs of it, and the program itself where it is installed."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.hardware.xylo import (
    XyloConfiguration,
    XyloRun,
    evolve,
    from_xylo,
    order_matters,
    run_xylosim,
    to_xylo,
    verify_xylo,
    xylo_neurons,
)
from neurosim.hardware.xylo.verification import compare
from tests.hardware.xylo import golden
from tests.hardware.xylo.cases import Seen, differing, draw, mild, spikes
from tests.hardware.xylo.replay import replay

Case = tuple[XyloConfiguration, np.ndarray, XyloRun]
needs_xylosim = pytest.mark.skipif(importlib.util.find_spec("xylosim") is None, reason="xylosim is not installed")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return golden.cases(tmp_path_factory.mktemp("golden"))


def test_the_definition_equals_the_recorded_runs(recorded: list[Case]) -> None:
    assert [differing(evolve(chip, x), run) for chip, x, run in recorded] == [0] * len(recorded)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_fused_core_equals_the_recorded_runs(recorded: list[Case], dtype: torch.dtype) -> None:
    assert [differing(replay(chip, x, run, dtype), run) for chip, x, run in recorded] == [0] * len(recorded)


def test_the_recorded_runs_saturate_and_send_several_spikes_by_aliases_and_biases(recorded: list[Case]) -> None:
    seen = Seen()
    for _, _, run in recorded:
        seen.add(run)
    assert seen.several > 100 and seen.full > 50 and seen.membranes_at_a_bound > 50 and seen.large_currents > 50
    assert sum(order_matters(*case) for case in recorded) > 50, "the order of the arrivals is tested"
    assert any((chip.aliases >= 0).any() for chip, _, _ in recorded) and any(chip.has_bias for chip, _, _ in recorded)


@pytest.mark.parametrize("seed", range(4))
def test_a_network_computes_what_its_configuration_does_while_no_sum_leaves_16_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chip = mild(rng, draw(rng, 30, 8, 4))
    x = spikes(rng, chip, 60, 4) // 4
    net, run = from_xylo(chip, 1e-3), evolve(chip, x)
    export = to_xylo(net, chip.name)
    assert export.configuration.document() == chip.document()
    assert order_matters(chip, x, run) == 0
    for each in (net, net.double()):
        result = compare(each, export, torch.from_numpy(x), run)
        assert result.differing == 0 and result.compared == 4 * 60 * 4 * 34


def test_where_the_order_of_the_arrivals_counts_it_is_reported() -> None:
    """32000 + 1000 - 1000: the chip stays at 32767 - 1000, a sum is 32000."""
    net = ns.Network(
        {"in": ns.Input(3), "a": xylo_neurons(dt=1e-3, dash_syn=5, v_th=32767), "out": xylo_neurons(dt=1e-3, most=1)},
        [
            ns.Edge("in", "a", [ns.Linear(3, 1), ns.synapses.shift.Shift(7)], port="i"),
            ns.Edge("a", "out", ns.Linear(1, 1), delay=1e-3, port="i"),
        ],
    )
    with torch.no_grad():
        net.edges[0].synapses[0].weight.copy_(torch.tensor([[127.0, 127.0, -127.0]]))
        net.edges[1].synapses[0].weight.fill_(1.0)
    export = to_xylo(net)
    x = np.array([[[2, 2, 2]]])
    run = evolve(export.configuration, x)
    assert run.i_syn.item() == 255 - (255 >> 5)  # 2 x 16256, 32767 (twice), minus 2 x 16256
    result = compare(net, export, torch.from_numpy(x), run)
    assert result.order_matters == 1 and result.nodes[0].states_differing > 0
    assert not result.agrees and "the order of the spikes counts" in result.summary()


def test_aliases_of_a_network_act_in_the_same_step() -> None:
    rng = np.random.default_rng(2)
    torch.manual_seed(0)
    net = ns.Network(
        {
            "in": ns.Input(4),
            "a": xylo_neurons(dt=1e-3, v_th=60, dash_mem=3),
            "b": xylo_neurons(dt=1e-3, v_th=90, dash_mem=4, bias=3),
            "out": xylo_neurons(dt=1e-3, v_th=80, most=1),
        },
        [
            ns.Edge("in", "a", ns.Linear(4, 5), port="i"),
            ns.Edge("in", "b", ns.Linear(4, 6), port="i2"),
            ns.Edge("a", "b", ns.Linear(5, 6), delay=0.0, port="alias", name="copies"),
            ns.Edge("b", "a", ns.Linear(6, 5), delay=1e-3, port="i2"),
            ns.Edge("b", "out", ns.Linear(6, 2), delay=1e-3, port="i"),
        ],
    )
    for edge in net.edges:
        with torch.no_grad():
            weight = edge.synapses[0].weight
            weight.copy_(torch.from_numpy(rng.integers(-20, 40, tuple(weight.shape))))
            if edge.name == "copies":
                weight.copy_(torch.eye(6, 5))
    export = to_xylo(net)
    assert export.configuration.aliases.tolist() == [5, 6, 7, 8, 9, -1, -1, -1, -1, -1, -1]
    x = torch.from_numpy(rng.integers(0, 4, (80, 3, 4)))
    run = evolve(export.configuration, x.numpy())
    result = compare(net, export, x, run)
    assert result.order_matters == 0 and result.differing == 0 and not result.silent
    assert run.hidden.max() > 1


@needs_xylosim
@pytest.mark.parametrize("seed", range(3))
def test_the_definition_equals_xylosim(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    chip = draw(rng, int(rng.integers(1, 50)), int(rng.integers(1, 17)), int(rng.integers(1, 9)))
    x = spikes(rng, chip, 60, 4)
    assert differing(evolve(chip, x), run_xylosim(chip, x)) == 0


@needs_xylosim
def test_a_network_equals_xylosim_and_a_difference_is_seen() -> None:
    rng = np.random.default_rng(4)
    chip = mild(rng, draw(rng, 30, 8, 4))
    x = torch.from_numpy(spikes(rng, chip, 60, 4) // 4)
    net = from_xylo(chip, 1e-3)
    result = verify_xylo(net, x)
    assert result.agrees and result.compared == 4 * 60 * 4 * 34 and "0 of 32640" in result.summary()
    run = run_xylosim(chip, x.numpy())
    v = run.v.copy()
    v[17, 2, 3] += 1
    wrong = compare(net, to_xylo(net), x, dataclasses.replace(run, v=v))
    assert not wrong.agrees and wrong.differing == 1 and wrong.nodes[0].first == (17, 2, 3)
