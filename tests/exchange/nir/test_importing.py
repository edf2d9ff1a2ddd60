"""NIR graphs of others as networks: every node, the styles of other writers, cycles, subgraphs, and what is refused."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosim as ns
from neurosim import cores
from neurosim.errors import FileError, InputError, NeurosimError
from neurosim.synapses import Scale

nir = pytest.importorskip("nir")

from neurosim.exchange.nir import UnreachableThreshold, from_nir, to_nir  # noqa: E402
from tests.exchange.nir.reference import Interpreter  # noqa: E402

DT = 1e-3


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def full(value: float, *shape: int) -> np.ndarray:
    return np.full(shape, value)


def lif(n: int, tau: float = 10e-3, **more: float) -> Any:
    fields = {"r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **more}
    return nir.LIF(tau=full(tau, n), **{name: full(value, n) for name, value in fields.items()})


def graph(nodes: dict, edges: list, check: bool = False) -> Any:
    return nir.NIRGraph(nodes, edges, type_check=check)


def row(*nodes, n: int) -> Any:
    """Connect nodes in a row from an input of n."""
    named = {"input": nir.Input(np.array([n]))} | {f"n{k}": node for k, node in enumerate(nodes)}
    names = list(named)
    named["output"] = nir.Output(np.array([1]))
    return graph(named, list(zip(names, [*names[1:], "output"], strict=True)))


def spikes(steps: int, *shape: int) -> torch.Tensor:
    return (torch.rand(steps, 1, *shape) < 0.4).double()


def agree(made: Any, x: torch.Tensor, at_least: int = 500, name: str = "output") -> ns.Network:
    """Check that a network of the graph sends what the equations say."""
    net = from_nir(made, dt=DT, dtype=torch.float64)
    z, _ = net(x)
    sent = Interpreter(made, DT).run({net.inputs[0]: x[:, 0].numpy()})[name]
    if net.nodes[net.output].is_spiking:
        assert z.sum() > at_least
        assert int((z[:, 0].numpy() != sent).sum()) == 0
    else:
        np.testing.assert_allclose(z[:, 0].numpy(), sent, rtol=1e-9, atol=1e-12)
    return net


def weight(n_out: int, n_in: int, scale: float = 3.0) -> np.ndarray:
    return np.random.default_rng(7).normal(0.3, 1.0, (n_out, n_in)) * scale


def each(low: float, high: float, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, n)


class TestNodes:
    def test_lif_with_all_fields(self):
        node = nir.LIF(
            tau=each(2e-3, 30e-3, 30),
            r=each(0.5, 2.0, 30, 1),
            v_leak=each(-0.5, 0.5, 30, 2),
            v_threshold=each(0.5, 1.5, 30, 3),
            v_reset=each(-0.5, 0.3, 30, 4),
        )
        agree(row(nir.Affine(weight(30, 20), each(-1, 1, 30)), node, n=20), spikes(300, 20))
        agree(row(nir.Linear(weight(30, 20)), node, n=20), spikes(300, 20))

    def test_a_leak_without_a_matrix_before_it(self):
        node = nir.LIF(full(5e-3, 20), full(2.0, 20), each(0.2, 0.8, 20), full(0.6, 20), full(0.0, 20))
        net = agree(row(node, n=20), spikes(400, 20))
        assert isinstance(net.edges[0].synapses[0], Scale)
        out = to_nir(net, gain="network").nodes["n0"]
        np.testing.assert_allclose(out.v_leak, node.v_leak, rtol=1e-15)
        x = spikes(400, 20)
        assert torch.equal(from_nir(to_nir(net), dt=DT, dtype=torch.float64)(x)[0], net(x)[0])

    def test_cubalif_with_all_fields(self):
        node = nir.CubaLIF(
            tau_syn=each(2e-3, 9e-3, 30),
            tau_mem=each(2e-3, 30e-3, 30),
            r=each(0.5, 2.0, 30, 1),
            v_leak=each(-0.5, 0.5, 30, 2),
            v_threshold=each(0.5, 1.5, 30, 3),
            v_reset=each(-0.5, 0.3, 30, 4),
            w_in=each(0.5, 5.0, 30, 5),
        )
        net = agree(row(nir.Linear(weight(30, 20)), node, n=20), spikes(300, 20))
        assert net.neurons()["n1"].core is cores.cubalif_resting

    @pytest.mark.parametrize("w_in", [1.0, 6.0])
    def test_the_current_of_cubali_is_scaled_by_w_in(self, w_in):
        node = nir.CubaLI(full(6e-3, 5), full(20e-3, 5), full(2.0, 5), full(0.0, 5), full(w_in, 5))
        net = agree(row(nir.Linear(weight(5, 4)), node, n=4), spikes(60, 4))
        assert net.nodes["n1"].value("r") == pytest.approx(2.0 * w_in / 6.0, rel=1e-12)

    def test_the_others(self):
        n = 12
        agree(row(nir.Linear(weight(n, 8)), nir.IF(full(200.0, n), full(1.0, n), full(-0.1, n)), n=8), spikes(300, 8))
        agree(row(nir.Linear(weight(n, 8)), nir.LI(full(9e-3, n), full(2.0, n), full(0.3, n)), n=8), spikes(50, 8))
        agree(row(nir.Linear(weight(n, 8)), nir.I(full(2.0, n)), n=8), spikes(50, 8))
        agree(row(nir.Linear(weight(n, 8)), nir.Threshold(each(0, 4, n)), n=8), spikes(400, 8))
        agree(row(nir.Scale(each(0, 4, 8)), nir.Threshold(full(1.0, 8)), n=8), spikes(900, 8))

    def test_threshold_is_strict(self):
        net = from_nir(row(nir.Threshold(np.array([0.5])), n=1), dt=DT)
        assert net(torch.tensor([[[0.5]], [[0.50001]]]))[0].flatten().tolist() == [0.0, 1.0]

    def test_convolution_and_pooling(self):
        kernel = np.random.default_rng(0).normal(0, 2, (4, 1, 3, 5))
        conv = nir.Conv2d(None, kernel, (1, 2), (1, 2), (1, 1), 2, each(-1, 1, 4))
        rest = (nir.SumPool2d(np.array([2, 1]), np.array([2, 1]), np.array([0, 0])), nir.Flatten(None, 0, -1))
        shape = nir.Input(np.array([2, 8, 9]))
        nodes = {"input": shape, "conv": conv, "pool": rest[0], "flat": rest[1], "lif": lif(4 * 4 * 5)}
        made = graph(
            {**nodes, "output": nir.Output(np.array([80]))}, list(zip(nodes, [*list(nodes)[1:], "output"], strict=True))
        )
        agree(made, spikes(150, 2, 8, 9))

    def test_convolution_over_one_axis_and_padding_in_words(self):
        kernel = np.random.default_rng(0).normal(0.2, 2, (3, 2, 3))
        for padding, length in (("same", 10), ("valid", 8), (2, 12)):
            conv = nir.Conv1d(None, kernel, 1, padding, 1, 1, np.zeros(3))
            nodes = {
                "input": nir.Input(np.array([2, 10])),
                "conv": conv,
                "flat": nir.Flatten(None, 1, -1),
                "lif": lif(3 * length),
            }
            made = graph(
                {**nodes, "o": nir.Output(np.array([3 * length]))},
                list(zip(nodes, [*list(nodes)[1:], "o"], strict=True)),
            )
            z, _ = from_nir(made, dt=DT, dtype=torch.float64)(spikes(50, 2, 10))
            assert z.shape[2] == 3 * length and z.sum() > 10
            if isinstance(padding, int):
                agree(made, spikes(200, 2, 10), 50, "o")

    @pytest.mark.parametrize("where", ["before a matrix", "behind a matrix", "alone"])
    def test_delays_of_each_element(self, where):
        delay = nir.Delay(np.random.default_rng(1).integers(0, 6, 20) * DT)
        nodes = {
            "before a matrix": (delay, nir.Affine(weight(15, 20), each(0, 1, 15)), lif(15)),
            "behind a matrix": (nir.Affine(weight(20, 20), each(0, 1, 20)), delay, lif(20)),
            "alone": (delay, lif(20, r=4.0)),
        }[where]
        agree(row(*nodes, n=20), spikes(300, 20))

    def test_a_delay_of_all_is_that_of_the_edge(self):
        net = agree(row(nir.Delay(full(3e-3, 9)), nir.Linear(weight(30, 9)), lif(30), n=9), spikes(200, 9))
        assert [edge.delay_steps for edge in net.edges] == [3]

    def test_a_bias_before_a_delay_comes_late(self):
        made = row(nir.Affine(np.zeros((1, 1)), np.array([2.0])), nir.Delay(full(3e-3, 1)), nir.I(full(1 / DT, 1)), n=1)
        net = from_nir(made, dt=DT)
        assert net(torch.zeros(5, 1, 1))[0].flatten().tolist() == [0.0, 0.0, 0.0, 2.0, 4.0]

    def test_exponential_on_request(self):
        made = row(nir.Linear(weight(4, 3)), lif(4, tau=8e-3), n=3)
        net = from_nir(made, dt=DT, discretisation="exponential")
        assert net.nodes["n1"].value("tau_mem") == 8e-3
        assert from_nir(made, dt=DT).nodes["n1"].decay("tau_mem") == 1 - DT / 8e-3


class TestUnitsOfOthers:
    """Graphs whose unit of time is not a second, and resets that a graph cannot state."""

    def unit_steps(self) -> Any:
        return row(nir.Affine(weight(30, 20), each(-1, 1, 30)), nir.IF(full(1.0, 30), full(4.0, 30)), n=20)

    @pytest.mark.parametrize("reset", ["value", "subtract"])
    def test_integrate_and_fire_of_unit_steps(self, reset):
        made, x = self.unit_steps(), spikes(200, 20)
        net = from_nir(made, dt=DT, time_unit=DT, reset=reset, dtype=torch.float64)
        w, b, v, expected = made.nodes["n0"].weight, made.nodes["n0"].bias, np.zeros(30), []
        for row_ in x[:, 0].numpy():
            v = v + (w @ row_ + b)
            fired = v > 4.0
            v = np.where(fired, 0.0 if reset == "value" else v - 4.0, v)
            expected.append(fired)
        z = net(x)[0][:, 0].numpy()
        assert 500 < z.sum() < z.size and (z == np.array(expected)).all()

    def test_read_in_seconds_it_is_warned_of(self):
        with pytest.warns(UnreachableThreshold, match=r"'n1' needs .* steps to reach .* pass time_unit=dt"):
            net = from_nir(self.unit_steps(), dt=DT)
        assert not net(spikes(50, 20).float())[0].any()

    @pytest.mark.parametrize("unit", [1e-3, 1.0 / 3.0, 20.0])
    def test_a_graph_in_any_unit_is_that_in_seconds(self, unit):
        def of(tau: float, r: float) -> Any:
            cuba = nir.CubaLIF(*(full(v, 30) for v in (2 * tau, tau, 0.8, 0.1, 1.0)), w_in=full(3.0, 30))
            nodes = (
                nir.Delay(full(tau, 20)),
                nir.Linear(weight(30, 20)),
                nir.LIF(*(full(v, 30) for v in (tau, 1.5, 0.2, 1.0))),
            )
            return row(*nodes, nir.Linear(weight(30, 30)), cuba, nir.Linear(weight(9, 30)), nir.I(full(r, 9)), n=20)

        x = spikes(200, 20)
        seconds = from_nir(of(10e-3, 40.0), dt=DT, dtype=torch.float64)
        units = from_nir(of(10e-3 / unit, 40.0 * unit), dt=DT, time_unit=unit, dtype=torch.float64)
        v = seconds(x)[0]
        assert v.abs().max() > 1 and torch.allclose(v, units(x)[0], rtol=1e-9)
        assert [e.delay_steps for e in units.edges] == [10, 0, 0]

    @pytest.mark.parametrize("node", [lif(3), nir.CubaLIF(*(full(v, 3) for v in (5e-3, 10e-3, 1.0, 0.0, 1.0)))])
    def test_a_membrane_that_stays_below_the_threshold_is_warned_of(self, node):
        low = nir.Linear(np.array([[0.3, 0.6, -4.0]] * 3))
        with pytest.warns(
            UnreachableThreshold, match=r"'n1' never reaches its threshold: its membrane stays below 0.9"
        ):
            net = from_nir(row(low, node, n=3), dt=DT)
        assert not net(torch.ones(3000, 1, 3))[0].any()
        high = nir.Linear(np.array([[0.3, 0.6, -4.0], [0.4, 0.7, -4.0], [0.0, 0.0, 0.0]]))
        assert from_nir(row(high, node, n=3), dt=DT)(torch.tensor([1.0, 1.0, 0.0]).expand(3000, 1, 3))[0].any()

    def test_inhibition_of_what_never_spikes_is_not_counted(self):
        # The first population always is at 0 or 1, so that its negative weight brings nothing.
        made = row(nir.Linear(full(9.0, 1, 1)), lif(1), nir.Linear(full(-9.0, 1, 1)), lif(1), n=1)
        with pytest.warns(UnreachableThreshold, match="'n3' never reaches"):
            from_nir(made, dt=DT)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (dict(time_unit=0.0), "time_unit must be a number of seconds above 0, such as dt or 1e-3; got 0.0"),
            (dict(time_unit="step"), "time_unit must be a number of seconds above 0, such as dt or 1e-3; got 'step'"),
            (dict(reset="zero"), 'reset must be "value" or "subtract"; got \'zero\''),
        ],
    )
    def test_wrong_arguments(self, given, message):
        with pytest.raises(InputError, match=message):
            from_nir(self.unit_steps(), dt=DT, **given)

    def test_a_reset_potential_that_subtraction_would_not_use(self):
        with pytest.raises(InputError, match=r"LIF.v_reset is 0.2, which reset=\"subtract\" would not use"):
            from_nir(row(nir.Linear(weight(4, 3)), lif(4, v_reset=0.2), n=3), dt=DT, reset="subtract")

    def test_a_batch_axis_in_the_shape_of_the_input(self):
        made = row(nir.Linear(weight(4, 3)), lif(4), n=3)
        made.nodes["input"] = nir.Input(np.array([1, 3]))
        with pytest.raises(
            InputError, match=r"The shape \[1, 3\] of the input 'input' begins with an axis of 1: .*\[3\]"
        ):
            from_nir(made, dt=DT)

    def test_flattening_one_axis_changes_nothing(self):
        net = agree(row(nir.Flatten(None, 0, 0), nir.Linear(weight(30, 20)), lif(30), n=20), spikes(200, 20))
        assert [type(s).__name__ for s in net.edges[0].synapses] == ["Identity", "Linear"]


class TestCyclesAndGraphsInside:
    def test_a_cycle_is_one_step_late(self):
        nodes = {
            "input": nir.Input(np.array([12])),
            "w": nir.Linear(weight(30, 12)),
            "lif": lif(30),
            "back": nir.Affine(weight(30, 30, 0.7), each(-1, 1, 30)),
            "output": nir.Output(np.array([30])),
        }
        edges = [("input", "w"), ("w", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")]
        net = agree(graph(nodes, edges), spikes(200, 12))
        assert {edge.name: edge.delay_steps for edge in net.edges} == {"input->lif": 0, "lif->lif": 1}

    def test_a_cycle_of_two_and_a_delay_on_it(self):
        nodes = {
            "input": nir.Input(np.array([12])),
            "w": nir.Linear(weight(20, 12)),
            "a": lif(20),
            "ab": nir.Linear(weight(30, 20)),
            "b": lif(30, tau=5e-3),
            "ba": nir.Linear(weight(20, 30, 0.5)),
            "output": nir.Output(np.array([30])),
        }
        edges = [("input", "w"), ("w", "a"), ("a", "ab"), ("ab", "b"), ("b", "ba"), ("ba", "a"), ("b", "output")]
        net = agree(graph(nodes, edges), spikes(200, 12))
        assert {e.name: e.delay_steps for e in net.edges} == {"input->a": 0, "b->a": 1, "a->b": 0}
        nodes["late"] = nir.Delay(full(2 * DT, 30))
        edges[edges.index(("b", "ba"))] = ("b", "late")
        net = agree(graph(nodes, [*edges, ("late", "ba")]), spikes(200, 12))
        assert {e.name: e.delay_steps for e in net.edges} == {"input->a": 0, "b->a": 2, "a->b": 0}

    def inner(self) -> Any:
        nodes = {
            "input": nir.Input(np.array([20])),
            "lif": lif(20),
            "w_rec": nir.Linear(weight(20, 20, 0.5)),
            "output": nir.Output(np.array([20])),
        }
        return graph(nodes, [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")])

    def test_graphs_inside_graphs(self, tmp_path):
        block = graph(
            {
                "in": nir.Input(np.array([12])),
                "w": nir.Linear(weight(20, 12)),
                "rnn": self.inner(),
                "out": nir.Output(np.array([20])),
            },
            [("in", "w"), ("w", "rnn"), ("rnn", "out")],
        )
        outer = graph(
            {
                "input": nir.Input(np.array([12])),
                "block": block,
                "w": nir.Linear(weight(5, 20)),
                "lif": lif(5),
                "output": nir.Output(np.array([5])),
            },
            [("input", "block"), ("block", "w"), ("w", "lif"), ("lif", "output")],
        )
        flat_nodes = {
            "input": nir.Input(np.array([12])),
            "w1": nir.Linear(weight(20, 12)),
            "lif1": lif(20),
            "rec": nir.Linear(weight(20, 20, 0.5)),
            "w2": nir.Linear(weight(5, 20)),
            "lif2": lif(5),
            "output": nir.Output(np.array([5])),
        }
        flat = graph(
            flat_nodes,
            [
                ("input", "w1"),
                ("w1", "lif1"),
                ("lif1", "rec"),
                ("rec", "lif1"),
                ("lif1", "w2"),
                ("w2", "lif2"),
                ("lif2", "output"),
            ],
        )
        x = spikes(300, 12)
        wanted = agree(flat, x, 100)(x)[0]
        nir.write(tmp_path / "nested.nir", outer)
        for source in (outer, tmp_path / "nested.nir"):
            net = from_nir(source, dt=DT, dtype=torch.float64)
            assert torch.equal(net(x)[0], wanted)
            assert "block_rnn_lif" in net.nodes

    def test_nodes_inside_are_named_with_a_dot(self):
        outer = graph(
            {"input": nir.Input(np.array([20])), "rnn": self.inner(), "output": nir.Output(np.array([20]))},
            [("input", "rnn.input"), ("rnn.output", "output")],
        )
        plain = graph(outer.nodes, [("input", "rnn"), ("rnn", "output")])
        x = spikes(50, 20) * 5
        assert torch.equal(from_nir(outer, dt=DT)(x.float())[0], from_nir(plain, dt=DT)(x.float())[0])

    def test_currents_meet_and_part(self):
        nodes = {
            "input": nir.Input(np.array([12])),
            "a": nir.Affine(weight(20, 12), each(0, 1, 20)),
            "b": nir.Linear(weight(20, 12) * 0.5),
            "both": nir.Affine(weight(30, 20, 0.3), each(-1, 1, 30)),
            "lif1": lif(30),
            "lif2": lif(30, tau=4e-3),
            "s": nir.Scale(full(0.5, 30)),
            "lif3": lif(30, r=3.0),
            "output": nir.Output(np.array([30])),
        }
        edges = [("input", "a"), ("input", "b"), ("a", "both"), ("b", "both"), ("both", "lif1"), ("both", "lif2")]
        edges += [("lif1", "s"), ("lif2", "s"), ("s", "lif3"), ("lif1", "lif3"), ("lif3", "output")]
        net = agree(graph(nodes, edges), spikes(200, 12))
        assert sum(node.core is cores.relay for node in net.neurons().values()) == 3

    def test_several_inputs_and_outputs(self):
        nodes = {
            "x": nir.Input(np.array([4])),
            "y": nir.Input(np.array([3])),
            "wx": nir.Linear(weight(5, 4)),
            "wy": nir.Linear(weight(5, 3)),
            "lif": lif(5),
            "w": nir.Linear(weight(2, 5)),
            "spikes": nir.Output(np.array([5])),
            "logits": nir.Output(np.array([2])),
        }
        edges = [
            ("x", "wx"),
            ("y", "wy"),
            ("wx", "lif"),
            ("wy", "lif"),
            ("lif", "spikes"),
            ("lif", "w"),
            ("w", "logits"),
        ]
        made = graph(nodes, edges)
        with pytest.raises(
            InputError, match=r"output must name one of the graph's outputs \['spikes', 'logits'\]; got None"
        ):
            from_nir(made, dt=DT)
        x = {"x": spikes(100, 4), "y": spikes(100, 3)}
        z, _ = from_nir(made, dt=DT, dtype=torch.float64, output="spikes")(x)
        logits, _ = from_nir(made, dt=DT, dtype=torch.float64, output="logits")(x)
        torch.testing.assert_close(logits, z @ torch.as_tensor(weight(2, 5)).T)
        sent = Interpreter(made, DT).run({name: data[:, 0].numpy() for name, data in x.items()})
        assert z.sum() > 40 and (z[:, 0].numpy() == sent["spikes"]).all()


class TestStylesOfOthers:
    def test_numbers_where_vectors_could_be_as_norse_and_snntorch_write_them(self):
        # Norse writes tensors without axes, snnTorch arrays of one element.
        for one in (lambda v: torch.tensor(v), lambda v: np.array([v], dtype=np.float32)):
            node = nir.LIF.__new__(nir.LIF)
            for field, value in dict(tau=10e-3, r=1.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0).items():
                setattr(node, field, one(value))
            node.input_type = node.output_type = {"input": np.array([])}
            node.metadata = {}
            w = nir.Affine(weight(6, 4), np.zeros(6))
            made = graph({"0": nir.Input(np.array([4])), "1": w, "2": node, "output": nir.Output(np.array([6]))}, [])
            made.edges = [("0", "1"), ("1", "2"), ("2", "output")]
            net = from_nir(made, dt=DT)
            assert net.shape("2") == (6,) and net.nodes["2"].value("v_th") == 1.0

    def test_recurrent_names_with_dots_as_snntorch_writes_them(self):
        nodes = {
            "input": nir.Input(np.array([5])),
            "fc": nir.Linear(weight(5, 5)),
            "rnn.lif": lif(5),
            "rnn.w_rec": nir.Linear(np.diag(full(0.3, 5))),
            "output": nir.Output(np.array([5])),
        }
        edges = [
            ("input", "fc"),
            ("fc", "rnn.lif"),
            ("rnn.lif", "rnn.w_rec"),
            ("rnn.w_rec", "rnn.lif"),
            ("rnn.lif", "output"),
        ]
        net = agree(graph(nodes, edges), spikes(300, 5), 50)
        assert list(net.nodes) == ["input", "rnn_lif"]

    def test_an_output_of_another_shape_as_rockpool_writes_it(self):
        nodes = {
            "input": nir.Input(np.array([1])),
            "w": nir.Linear(np.full((1, 1), 2.0)),
            "lif": lif(1),
            "output": nir.Output(np.array([1, 1, 1])),
        }
        assert from_nir(graph(nodes, [("input", "w"), ("w", "lif"), ("lif", "output")]), dt=DT).output == "lif"

    def test_no_input_and_output_nodes_as_older_writers_have_it(self):
        made = graph({"w": nir.Linear(weight(30, 20)), "lif": lif(30)}, [("w", "lif")])
        net = from_nir(made, dt=DT)
        assert net.shape("input_w") == (20,) and net.output == "lif"

    def test_sinabs_flattens_from_axis_one_and_pools_by_pairs(self):
        nodes = {
            "input": nir.Input(np.array([2, 8, 8])),
            "0": nir.Conv2d(
                None,
                np.ones((3, 2, 3, 3), np.float32),
                np.array([1, 1]),
                np.array([1, 1]),
                np.array([1, 1]),
                1,
                np.zeros(3),
            ),
            "1": nir.IF(np.full((3, 8, 8), 1 / DT), np.ones((3, 8, 8)) * 4),
            "2": nir.SumPool2d((2, 2), (2, 2), (0, 0)),
            "3": nir.Flatten(None, 1, -1),
            "4": nir.Affine(weight(10, 48), np.zeros(10)),
            "output": nir.Output(np.array([10])),
        }
        names = list(nodes)
        net = from_nir(graph(nodes, list(itertools.pairwise(names))), dt=DT)
        assert net.shape("1") == (3, 8, 8) and net.output == "output" and net.shape("output") == (10,)

    @pytest.mark.parametrize("kernel", [(3, 5), (1, 3)])
    def test_oblong_kernels_that_the_type_check_of_nir_refuses(self, kernel):
        nodes = {
            "input": nir.Input(np.array([1, 9, 9])),
            "conv": nir.Conv2d((9, 9), np.ones((2, 1, *kernel)), 1, 0, 1, 1, np.zeros(2)),
            "lif": nir.LIF(*(np.full((2, 10 - kernel[0], 10 - kernel[1]), v) for v in (0.01, 1, 0, 1, 0))),
            "output": nir.Output(np.array([2, 10 - kernel[0], 10 - kernel[1]])),
        }
        edges = [("input", "conv"), ("conv", "lif"), ("lif", "output")]
        with pytest.raises(ValueError, match="type"):
            graph(nodes, edges, check=True)
        assert from_nir(graph(nodes, edges), dt=DT).shape("lif") == (2, 10 - kernel[0], 10 - kernel[1])

    def test_metadata_changes_nothing(self, tmp_path):
        made = row(nir.Linear(weight(4, 3)), lif(4), n=3)
        made.metadata = {"dt": 5e-5, "discretisation": "exponential", "note": "x"}
        made.nodes["n1"].metadata = {"reset": "subtract"}
        nir.write(tmp_path / "a.nir", made)
        net = from_nir(tmp_path / "a.nir", dt=DT)
        assert net.dt == DT and net.nodes["n1"].decay("tau_mem") == 0.9 and net.nodes["n1"].reset == "value"


@pytest.mark.skipif("NEUROSIM_LOIHI_DATA" not in os.environ, reason="NEUROSIM_LOIHI_DATA names no folder of recordings")
def test_the_neuron_of_the_nir_paper():
    folder = Path(os.environ.get("NEUROSIM_LOIHI_DATA", ""))
    net = from_nir(folder / "lif_norse.nir", dt=1e-4)
    recorded = np.loadtxt(folder / "lif_exact.csv", delimiter=",")
    x = torch.as_tensor(recorded[:, 0], dtype=torch.float32).view(-1, 1, 1)
    z, _ = net(x)
    assert z.flatten().nonzero().flatten().tolist() == np.flatnonzero(recorded[:, 2]).tolist() == [460, 510, 710, 760]
    norse = pytest.importorskip("norse.torch")
    (lif,) = net.neurons().values()
    inverse = torch.tensor((1 - lif.decay("tau_mem")) / 1e-4)
    cell = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=inverse, v_th=torch.tensor(lif.value("v_th"))), dt=1e-4)
    state, theirs = None, []
    for i in net.edges[0](x):
        _, state = cell(i, state)
        theirs.append(state.v)
    values = net.run(x, record=(f"{net.output}.v",)).recorded
    assert (values[f"{net.output}.v"] - torch.stack(theirs)).abs().max() < 1e-6


EDITS = {
    "an unknown primitive": (
        lambda f: edit(f, "node/nodes/lif/type", "Lif"),
        r"node 'lif' is a 'Lif', which has no equivalent",
    ),
    "a missing field": (lambda f: f.pop("node/nodes/lif/tau"), r"node 'lif': a LIF needs \['tau'\]; it has"),
    "a field too many": (lambda f: edit(f, "node/nodes/lif/tau2", 1.0), r"node 'lif': a LIF has no field \['tau2'\]"),
    "a tau below 0": (
        lambda f: edit(f, "node/nodes/lif/tau", full(-0.01, 5)),
        r"node 'lif': LIF.tau must be above 0 s; it has -0.01",
    ),
    "a tau of 0": (lambda f: edit(f, "node/nodes/lif/tau", full(0.0, 5)), r"node 'lif': LIF.tau must be above 0 s"),
    "a tau in milliseconds": (
        lambda f: edit(f, "node/nodes/lif/tau", full(10.0, 5)),
        r"node 'lif'.*LIF.tau must be below 1 s; it has 10. If the graph is in milliseconds, pass time_unit=1e-3; if",
    ),
    "a tau below the step": (
        lambda f: edit(f, "node/nodes/lif/tau", full(1e-4, 5)),
        r"node 'lif': LIF.tau is 0.0001 s, shorter than the step",
    ),
    "NaN": (lambda f: edit(f, "node/nodes/lif/r", full(np.nan, 5)), r"node 'lif': LIF.r must be finite; it has nan"),
    "infinity": (
        lambda f: edit(f, "node/nodes/w/weight", np.full((5, 3), np.inf)),
        r"node 'w': Affine.weight must be finite",
    ),
    "another length": (
        lambda f: edit(f, "node/nodes/lif/r", full(1.0, 4)),
        r"node 'lif': the parameters of a LIF must have one shape; got",
    ),
    "a bias too long": (
        lambda f: edit(f, "node/nodes/w/bias", full(1.0, 6)),
        r"node 'w': Affine.bias must be \[5\]; got \[6\]",
    ),
    "a matrix of another size": (
        lambda f: edit(f, "node/nodes/w/weight", np.ones((5, 4))),
        r"edge 'input->lif': Linear: spikes must be \[T, B, 4\]",
    ),
    "a weight of three axes": (
        lambda f: edit(f, "node/nodes/w/weight", np.ones((1, 5, 3))),
        r"node 'w': Affine.weight must be \[outputs, inputs\]",
    ),
    "text for numbers": (lambda f: edit(f, "node/nodes/lif/r", "1"), r"LIF.r must be numbers; got the text '1'"),
    "a dangling edge": (
        lambda f: edit(f, "node/edges", names(("input", "w"), ("w", "gone"))),
        r"an edge names the unknown node 'gone'",
    ),
    "an edge twice": (
        lambda f: edit(f, "node/edges", names(("input", "w"), ("input", "w"))),
        r"edge 'input' -> 'w' is a duplicate",
    ),
    "an edge into the input": (
        lambda f: edit(f, "node/edges", names(("input", "w"), ("w", "lif"), ("lif", "output"), ("lif", "input"))),
        r"node 'input' is an Input and takes no edge",
    ),
    "an input of no size": (
        lambda f: edit(f, "node/nodes/input/shape", np.array([0])),
        r"node 'input': Input.shape must be integers from 1",
    ),
    "an input of huge size": (
        lambda f: edit(f, "node/nodes/input/shape", np.array([10**6] * 3)),
        r"Input.shape .* has more than",
    ),
    "no edges": (lambda f: f.pop("node/edges"), r"edges is missing"),
    "no nodes": (lambda f: f.pop("node/nodes"), r"nodes is missing"),
    "no graph": (lambda f: edit(f, "node/type", "LIF"), r"is 'LIF', where 'NIRGraph' is expected"),
    "a link to another file": (lambda f: external(f), r"points into another file"),
    "a huge declared array": (lambda f: huge(f), r"brings the file to .* bytes"),
    "text as edges": (
        lambda f: edit(f, "node/edges", np.zeros((2, 2))),
        r"edges is of type float64, where text is expected",
    ),
    "object references": (lambda f: references(f), r"only numbers and text are read"),
}


def edit(file: h5py.File, place: str, value: object) -> None:
    if place in file:
        del file[place]
    file[place] = value


def names(*edges: tuple[str, str]) -> np.ndarray:
    return np.array(edges, dtype=h5py.string_dtype())


def external(file: h5py.File) -> None:
    del file["node/nodes/w/weight"]
    file["node/nodes/w/weight"] = h5py.ExternalLink("other.h5", "/weight")


def huge(file: h5py.File) -> None:
    del file["node/nodes/w/weight"]
    file.create_dataset("node/nodes/w/weight", shape=(10**6, 10**6), dtype="f8", chunks=(10, 10))


def references(file: h5py.File) -> None:
    del file["node/nodes/w/weight"]
    file.create_dataset("node/nodes/w/weight", data=file["node"].ref, dtype=h5py.ref_dtype)


@pytest.fixture
def written(tmp_path) -> Path:
    nodes = {
        "input": nir.Input(np.array([3])),
        "w": nir.Affine(np.ones((5, 3)), np.zeros(5)),
        "lif": lif(5),
        "output": nir.Output(np.array([5])),
    }
    made = graph(nodes, [("input", "w"), ("w", "lif"), ("lif", "output")])
    nir.write(tmp_path / "net.nir", made)
    return tmp_path / "net.nir"


class TestRefused:
    @pytest.mark.parametrize("name", EDITS)
    def test_a_file_that_is_wrong_in_one_place(self, name, written):
        change, message = EDITS[name]
        with h5py.File(written, "r+") as file:
            change(file)
        before = written.read_bytes()
        with pytest.raises((InputError, FileError), match=message):
            from_nir(written, dt=DT)
        assert written.read_bytes() == before

    def test_a_file_cut_off_anywhere(self, written):
        whole = written.read_bytes()
        for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
            written.write_bytes(whole[:length])
            with pytest.raises(FileError, match=r"net\.nir"):
                from_nir(written, dt=DT)

    def test_no_file_and_no_hdf5(self, tmp_path):
        with pytest.raises(FileError, match="there is no such file"):
            from_nir(tmp_path / "none.nir", dt=DT)
        marker = tmp_path / "ran"

        class Trap:
            def __reduce__(self):
                return (marker.write_text, ("x",))

        (tmp_path / "a.nir").write_bytes(pickle.dumps(Trap()))
        with pytest.raises(FileError, match=r"is not a NIR graph that can be read"):
            from_nir(tmp_path / "a.nir", dt=DT)
        assert not marker.exists()

    def test_a_limit_on_what_a_file_may_take(self, written):
        from_nir(written, dt=DT)
        with pytest.raises(FileError, match=r"1,000 are allowed"):
            from_nir(written, dt=DT, limit=1000)

    @settings(max_examples=40, deadline=None)
    @given(place=st.floats(0, 1), value=st.integers(0, 255))
    def test_any_byte_changed_gives_a_network_or_one_of_our_errors(self, place, value):
        data = bytearray(_small_file())
        data[int(place * (len(data) - 1))] = value
        path = Path(os.environ["PYTEST_NIR_FOLDER"]) / "changed.nir"
        path.write_bytes(data)
        with contextlib.suppress(NeurosimError), warnings.catch_warnings():
            warnings.simplefilter("ignore", UnreachableThreshold)  # of a network without weights, for example
            from_nir(path, dt=DT)
        assert path.read_bytes() == bytes(data)

    def test_a_cycle_without_neurons(self):
        nodes = {
            "input": nir.Input(np.array([3])),
            "a": nir.Linear(np.eye(3)),
            "b": nir.Linear(np.eye(3)),
            "lif": lif(3),
            "output": nir.Output(np.array([3])),
        }
        edges = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "lif"), ("lif", "output")]
        with pytest.raises(InputError, match=r"has neither a neuron with a state nor a Delay, so it has no sol"):
            from_nir(graph(nodes, edges), dt=DT)
        apart = {**nodes, "c": nir.Linear(np.eye(3)), "d": nir.Linear(np.eye(3))}
        edges = [("input", "a"), ("a", "lif"), ("input", "b"), ("b", "lif"), ("lif", "output"), ("c", "d"), ("d", "c")]
        with pytest.raises(InputError, match=r"the nodes \['c', 'd'\] form a cycle without any neuron"):
            from_nir(graph(apart, edges), dt=DT)

    def test_what_nothing_reaches_and_what_leads_nowhere(self):
        nodes = {
            "input": nir.Input(np.array([3])),
            "lif": lif(3),
            "w": nir.Linear(np.eye(3)),
            "output": nir.Output(np.array([3])),
        }
        with pytest.raises(InputError, match=r"the node 'w' has no outgoing edge"):
            from_nir(graph(nodes, [("input", "lif"), ("lif", "output"), ("lif", "w")]), dt=DT)
        nodes["w"] = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
        with pytest.raises(
            InputError, match="the node 'w' has no incoming edge, and its shape is not known; add an Input"
        ):
            from_nir(graph(nodes, [("input", "lif"), ("lif", "output"), ("w", "lif")]), dt=DT)

    @pytest.mark.parametrize(
        ("node", "message"),
        [
            (
                nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([1, 1])),
                r"SumPool2d.padding is \[1, 1\]; pooling of neurosim",
            ),
            (nir.Flatten(None, 0, 1), r"Flatten from axis 0 to 1 does not flatten all axes"),
            (
                nir.Conv2d(None, np.ones((1, 1, 2, 2)), 1, "same", 1, 1, np.zeros(1)),
                r"Conv2d.padding is 'same' with kernel \[2, 2\]",
            ),
            (
                nir.Conv2d(None, np.ones((1, 1, 2, 2)), 0, 0, 1, 1, np.zeros(1)),
                r"Conv2d.stride must be 2 integer\(s\) from 1; got",
            ),
            (nir.Conv2d(None, np.ones((1, 1, 2, 2)), 1, 0, 1, 3, np.zeros(1)), r"groups must divide"),
        ],
    )
    def test_maps_that_do_not_exist_here(self, node, message):
        nodes = {"input": nir.Input(np.array([1, 4, 4])), "map": node, "output": nir.Output(np.array([1]))}
        with pytest.raises(InputError, match=rf"node 'map'.*{message}"):
            from_nir(graph(nodes, [("input", "map"), ("map", "output")]), dt=DT)

    @pytest.mark.parametrize("delay", [1.5e-3, -1e-3, 11.0])
    def test_a_delay_off_the_grid(self, delay):
        with pytest.raises(
            InputError,
            match=rf"node 'n0': Delay.delay must be whole steps of 0.001 s in \[0, 10\) s; it has {delay:g} s",
        ):
            from_nir(row(nir.Delay(full(delay, 3)), lif(3), n=3), dt=DT)

    def test_choices_are_checked(self):
        made = row(nir.Linear(weight(4, 3)), lif(4), n=3)
        with pytest.raises(NeurosimError, match=r"Did you pass milliseconds\?"):
            from_nir(made, dt=1.0)
        with pytest.raises(InputError, match='discretisation must be "euler" or "exponential"'):
            from_nir(made, dt=DT, discretisation="exact")
        with pytest.raises(InputError, match=r"from_nir takes a path or a nir\.NIRGraph; got int"):
            from_nir(3, dt=DT)


_KEPT: list[bytes] = []


def _small_file() -> bytes:
    if not _KEPT:
        import tempfile

        folder = Path(tempfile.mkdtemp())
        os.environ["PYTEST_NIR_FOLDER"] = str(folder)
        made = row(nir.Linear(weight(4, 3)), lif(4), n=3)
        nir.write(folder / "small.nir", made)
        _KEPT.append((folder / "small.nir").read_bytes())
    return _KEPT[0]


@st.composite
def networks(draw) -> tuple[ns.Network, int]:
    """Small networks of random wiring, neurons, delays and gains."""
    seed = draw(st.integers(0, 10**6))
    torch.manual_seed(seed)
    count = draw(st.integers(1, 4))
    sizes = [draw(st.integers(1, 5)) for _ in range(count + 1)]
    kinds = [draw(st.sampled_from(["lif", "cubalif", "if", "li", "lif without reset"])) for _ in range(count)]
    own = draw(st.booleans())

    def neuron(kind: str, n: int) -> ns.Neuron:
        # Of one neuron an array says as much as a number, and comes back as one.
        r = torch.rand(n, dtype=torch.float64) * 4 + 2 if own and n > 1 else 5.0
        if kind == "if":
            return ns.IF(dt=DT, r=0.4)
        if kind == "li":
            return ns.LI(dt=DT, r=r)
        if kind == "cubalif":
            return ns.CubaLIF(dt=DT, r=r, tau_mem=draw(st.floats(1.5e-3, 0.1)), tau_syn=draw(st.floats(1.5e-3, 0.1)))
        return ns.LIF(
            dt=DT, r=r, tau_mem=draw(st.floats(1.2e-3, 0.1)), reset=None if kind == "lif without reset" else "value"
        )

    nodes = {"x": ns.Input(sizes[0])} | {f"n{k + 1}": neuron(kinds[k], sizes[k + 1]) for k in range(count)}
    listed = list(nodes)
    edges = []
    for k in range(1, count + 1):
        for source in {k - 1, draw(st.integers(0, count))}:
            delay = draw(st.integers(1 if source >= k else 0, 3)) * DT
            synapse = ns.Linear(sizes[source], sizes[k], bias=draw(st.booleans()))
            edges.append(ns.Edge(listed[source], listed[k], synapse, delay=delay))
    return ns.Network(nodes, edges), sizes[0]


@pytest.mark.filterwarnings("ignore::neurosim.exchange.nir.UnreachableThreshold")
@settings(max_examples=25, deadline=None)
@given(networks())
def test_any_small_network_comes_back_bit_for_bit(made):
    with torch.no_grad():
        net, n = made
        x = torch.rand(40, 2, n) * 4 - 1
        again = from_nir(to_nir(net, gain="network"), dt=DT)
        assert torch.equal(net(x)[0], again(x)[0])
