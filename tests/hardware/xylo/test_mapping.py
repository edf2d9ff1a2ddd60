"""What a configuration holds, and what is refused by name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import ExportError, FileError, InputError, ShapeError, TargetRunError, UnitError
from neurosim.hardware.xylo import XyloConfiguration, evolve, from_xylo, run_xylosim, to_xylo, verify_xylo, xylo_neurons
from neurosim.hardware.xylo.configuration import FIELDS
from neurosim.synapses.shift import Shift
from tests.hardware.xylo.cases import draw

DT = 1e-3


def integers(*shape: int, shift: int = 0, high: int = 20) -> list[Any]:
    linear = ns.Linear(*shape).requires_grad_(False)
    linear.weight.copy_(torch.randint(-high, high, linear.weight.shape))
    return [linear, *([Shift(shift)] if shift else [])]


def network(change: Callable[[dict[str, Any], list[Any]], None] = lambda nodes, edges: None) -> ns.Network:
    nodes = {
        "in": ns.Input(3),
        "a": xylo_neurons(dt=DT),
        "b": xylo_neurons(dt=DT),
        "out": xylo_neurons(dt=DT, most=1),
    }
    edges = [
        ns.Edge("in", "a", integers(3, 4, shift=1), port="i"),
        ns.Edge("a", "b", integers(4, 5, shift=2), delay=DT, port="i2"),
        ns.Edge("b", "b", integers(5, 5, shift=3), port="i"),
        ns.Edge("b", "out", integers(5, 2), delay=DT, port="i"),
    ]
    change(nodes, edges)
    return ns.Network(nodes, edges, output="out")


def test_populations_become_hidden_neurons_in_order_of_computation() -> None:
    net = network()
    export = to_xylo(net, "mine")
    chip = export.configuration
    assert dict(export.hidden) == {"a": slice(0, 4), "b": slice(4, 9)} and export.output == "out"
    assert (chip.inputs, chip.hidden, chip.outputs, chip.name) == (3, 9, 2, "mine")
    assert (chip.shift_in, chip.shift_rec, chip.shift_out) == (1, 2, 0), "edges of a kind share the smallest shift"
    assert np.array_equal(chip.weights_rec[:4, 4:, 1], net.edges[1].synapses[0].weight.numpy().T)
    assert np.array_equal(chip.weights_rec[4:, 4:, 0], 2 * net.edges[2].synapses[0].weight.numpy().T)
    assert not chip.weights_rec[:, :4].any() and not chip.has_bias


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, e: n.update(a=ns.LIF(dt=DT)) or e.__setitem__(0, ns.Edge("in", "a", ns.Linear(3, 4))),
         "node 'a': its model is 'lif'; quantise the network"),
        (lambda n, e: n.update(a=xylo_neurons(dt=DT, most=7)), "node 'a': most=7.*use most=31"),
        (lambda n, e: n.update(out=xylo_neurons(dt=DT)), "node 'out': most=31.*use most=1"),
        (lambda n, e: e.__setitem__(3, ns.Edge("b", "out", integers(5, 2), delay=2 * DT, port="i")),
         "a delay of 2 steps; on the chip it is 1"),
        (lambda n, e: e.__setitem__(3, ns.Edge("b", "out", integers(5, 2), port="i")),
         "a delay of 0 steps; on the chip it is 1"),
        (lambda n, e: e.__setitem__(0, ns.Edge("in", "a", integers(3, 4), delay=DT, port="i")),
         "a delay of 1 steps; on the chip it is 0"),
        (lambda n, e: e.append(ns.Edge("in", "out", integers(3, 2), port="i")), "joins an input to output neurons"),
        (lambda n, e: e.append(ns.Edge("out", "a", integers(2, 4), delay=DT, port="i")), "comes from output neurons"),
        (lambda n, e: e.append(ns.Edge("a", "out", integers(4, 2), delay=DT, port="i2")), "has the current i alone"),
        (lambda n, e: e.append(ns.Edge("a", "b", integers(4, 5), delay=DT, port="low")), "holds no synapses"),
        (lambda n, e: e.append(ns.Edge("in", "a", integers(3, 4), port="i", name="two")), "another edge into the same"),
        (lambda n, e: e.__setitem__(0, ns.Edge("in", "a", ns.Linear(3, 4), port="i")), "weights must be integers; got"),
        (lambda n, e: e.__setitem__(0, ns.Edge("in", "a", integers(3, 4, high=300), port="i")), "128 to 127 times"),
        (lambda n, e: e.__setitem__(0, ns.Edge("in", "a", [*integers(3, 4), Shift(-1)], port="i")), "shifted by 0"),
        (lambda n, e: e.__setitem__(0, ns.Edge("in", "a", ns.Linear(3, 4, bias=True), port="i")), "Linear has a bias"),
        (lambda n, e: e.__setitem__(1, ns.Edge("a", "b", integers(4, 5, shift=7, high=100), delay=DT, port="i2")),
         "needs a shift of its own"),
        (lambda n, e: e.append(ns.Edge("a", "b", integers(4, 5), delay=0.0, port="alias")), "must copy spikes"),
        (lambda n, e: e.append(ns.Edge("in", "b", integers(3, 5), port="alias")), "an alias is of a hidden neuron"),
    ],
)  # fmt: skip
def test_what_the_chip_cannot_hold_is_refused_by_name(change: Any, message: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(ExportError, match=f"Xylo cannot hold this network:\n(.|\n)*{message}"):
        to_xylo(network(change))


def test_registers_out_of_range_are_refused() -> None:
    for name, value in (("dash_mem", 16), ("dash_syn", -1), ("v_th", 0), ("v_th", 40000), ("bias", 1 << 15)):
        with pytest.raises(UnitError, match=f"xylo: {name} must be an integer from"):
            xylo_neurons(dt=DT, **{name: value})  # type: ignore[arg-type]


def test_a_document_has_the_fields_of_the_makers_simulator_and_is_read_back(tmp_path: Path) -> None:
    chip = draw(np.random.default_rng(1), 12, 5, 3)
    chip.to_json(tmp_path / "xylo.json")
    document = json.loads((tmp_path / "xylo.json").read_text())
    assert tuple(document) == FIELDS
    assert (
        len(document["synapses_in"]) == 5 and len(document["dash_syns"]) == 12 and len(document["dash_syns_out"]) == 3
    )
    assert XyloConfiguration.read(tmp_path / "xylo.json").document() == document


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("bias"), "has the keys"),
        (lambda d: d.update(other=1), "has the keys"),
        (lambda d: d.update(threshold=[0, *d["threshold"][1:]]), "threshold must hold integers from 1"),
        (lambda d: d.update(dash_mem=d["dash_mem"][1:]), "dash_mem must be of shape"),
        (lambda d: d.update(weight_shift_rec=9), "shift_rec must be an integer from 0 to 7"),
        (lambda d: d["synapses_in"][0].append([99, 0, 1]), "which is not there"),
        (lambda d: d["synapses_in"].__setitem__(0, [[1, 0, 2], [1, 0, 3]]), "give their sum"),
        (lambda d: d.update(aliases=[[0, 1], *d["aliases"][1:]]), "one alias at most"),
        (lambda d: d.update(aliases=[[0.5], *d["aliases"][1:]]), "aliases must be an integer; got 0.5"),
        (lambda d: d.update(aliases=[[-1], *d["aliases"][1:]]), "aliases must be an integer from 0 to 11; got -1"),
        (lambda d: d["synapses_in"].__setitem__(0, [[1, 0, 1.5]]), "the weight of a synapse of 0 must be an integer"),
        (lambda d: d["synapses_in"].__setitem__(0, [[1, 0, 10**30]]), "must be an integer from -128 to 127; got 1000"),
        (lambda d: d["synapses_in"].__setitem__(0, [[1.0, 0, 1]]), "the target of a synapse of 0 must be an integer"),
        (lambda d: d["synapses_in"].__setitem__(0, [[1, 0]]), "target neuron, target synapse, weight"),
        (lambda d: d.update(has_bias="no"), "has_bias must be true or false; got 'no'"),
        (lambda d: d.update(synapses_out="text"), "holds no Xylo configuration"),
        (lambda d: d.update(threshold=None), "holds no Xylo configuration"),
    ],
)
def test_a_damaged_document_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    document = draw(np.random.default_rng(1), 12, 5, 3).document()
    change(document)
    (tmp_path / "xylo.json").write_text(json.dumps(document))
    with pytest.raises(FileError, match=message):
        XyloConfiguration.read(tmp_path / "xylo.json")


def test_input_that_no_chip_gets_is_refused() -> None:
    chip = draw(np.random.default_rng(1), 4, 3, 2)
    with pytest.raises(ShapeError, match=r"x must be \[T, B, 3\]"):
        evolve(chip, np.zeros((5, 1, 4)))
    for wrong in (16, -1, 0.5, np.nan):
        with pytest.raises(InputError, match="numbers of spikes from 0 to 15"):
            evolve(chip, np.full((5, 1, 3), wrong))


def test_aliases_within_a_population_are_refused_by_from_xylo() -> None:
    chip = draw(np.random.default_rng(1), 4, 3, 2)
    chip = dataclasses.replace(chip, aliases=np.array([-1, 3, -1, -1]))
    with pytest.raises(ExportError, match="hidden neuron 1 copies its spikes to neuron 3"):
        from_xylo(chip, DT)


def test_a_python_without_xylosim_is_named(tmp_path: Path) -> None:
    chip, x = draw(np.random.default_rng(1), 4, 3, 2), np.zeros((5, 1, 3))
    with pytest.raises(TargetRunError, match=r"cannot start .*no_such_python"):
        run_xylosim(chip, x, python=tmp_path / "no_such_python")
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nsleep 30\n")
    fake.chmod(0o755)
    with pytest.raises(TargetRunError, match=r"was not done after 0\.2 s"):
        run_xylosim(chip, x, python=fake, timeout=0.2)
    fake.write_text("#!/bin/sh\necho lost the chip\nexit 3\n")
    with pytest.raises(TargetRunError, match=r"ended with 3(.|\n)*lost the chip"):
        run_xylosim(chip, x, python=fake)


@pytest.mark.parametrize("wrong", [None, 5, [[1]], torch.zeros(3), torch.zeros(5, 2, 4)])
def test_data_that_are_no_input_are_refused_before_xylosim_runs(wrong: Any) -> None:
    with pytest.raises(ShapeError, match=r"x for 'in' must be a tensor or array \[T, B, 3\]; got"):
        verify_xylo(network(), wrong)
