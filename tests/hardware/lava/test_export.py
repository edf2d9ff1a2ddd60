"""Networks exported, run on Lava and compared with the simulator."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import FileError, InputError, NothingCompared, ShapeError, TargetRunError
from neurosim.hardware.lava import Verification, description, to_lava, verify
from neurosim.hardware.lava.verification import compare

pytest.importorskip("lava.magma")
DT, STEPS, SAMPLES = 1e-3, 40, 2
LIMIT = 300.0


def scaled(net: ns.Network, factor: float) -> ns.Network:
    """Strengthen what torch draws for layers without spikes, so that all populations fire."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(factor)
    return net


def row(seed: int) -> tuple[ns.Network, torch.Tensor]:
    """LIF, CubaLIF and IF in a row, with biases."""
    torch.manual_seed(seed)
    net = ns.Sequential(
        ns.Linear(20, 60, bias=True),
        ns.LIF(dt=DT, tau_mem=10e-3, r=2.0),
        ns.Linear(60, 40, bias=True),
        ns.CubaLIF(dt=DT, tau_mem=15e-3, tau_syn=4e-3),
        ns.Linear(40, 30, bias=True),
        ns.IF(dt=DT, v_th=1.5, r=0.4),
        names=["a", "b", "c"],
    )
    return scaled(net, 12.0), (torch.rand(STEPS, SAMPLES, 20) < 0.3).float()


def web(seed: int) -> tuple[ns.Network, torch.Tensor]:
    """Loops, a cycle, delays and skip connections; each neuron has its own constants; graded input."""
    torch.manual_seed(seed)
    lif = ns.LIF(
        dt=DT, size=30, tau_mem=torch.rand(30) * 20e-3 + 5e-3, v_th=torch.rand(30) * 0.5 + 0.5, learn=["tau_mem"]
    )
    cuba = ns.CubaLIF(dt=DT, tau_mem=torch.rand(25) * 20e-3 + 5e-3, tau_syn=torch.rand(25) * 8e-3 + 1e-3)
    net = ns.Network(
        {"input": ns.Input(12), "a": lif, "b": cuba, "c": ns.LIF(dt=DT, tau_mem=5e-3)},
        [
            ns.Edge("input", "a", ns.Linear(12, 30, bias=True)),
            ns.Edge("a", "a", ns.Linear(30, 30)),
            ns.Edge("a", "b", ns.Linear(30, 25, bias=True), delay=2e-3),
            ns.Edge("input", "b", ns.Linear(12, 25)),
            ns.Edge("b", "b", ns.Linear(25, 25), delay=3e-3),
            ns.Edge("b", "c", ns.Linear(25, 20)),
            ns.Edge("a", "c", ns.Linear(30, 20, bias=True)),
            ns.Edge("input", "c", ns.Linear(12, 20), delay=1e-3),
            ns.Edge("c", "a", ns.Linear(20, 30), delay=4e-3),
        ],
    )
    return scaled(net, 15.0), torch.rand(STEPS, SAMPLES, 12)


def images(seed: int) -> tuple[ns.Network, torch.Tensor]:
    """Convolutions whose stride, padding and dilation differ by axis, one in groups; own constants; flattening."""
    torch.manual_seed(seed)
    net = ns.Sequential(
        ns.Input((2, 9, 8)),
        ns.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2, bias=True),
        ns.LIF(dt=DT),
        ns.Conv2d(4, 3, (2, 3), stride=(1, 2), padding=(0, 1), bias=True),
        ns.CubaLIF(dt=DT, tau_mem=torch.rand(3, 4, 5) * 20e-3 + 5e-3),
        ns.Flatten(),
        ns.Linear(60, 30),
        ns.LIF(dt=DT, r=3.0),
        names=["a", "b", "c"],
    )
    return scaled(net, 15.0), (torch.rand(STEPS, SAMPLES, 2, 9, 8) < 0.3).float()


def is_exact(result: Verification, spikes: int) -> None:
    for node in result.nodes:
        assert node.spikes_simulator > spikes, f"{node.name} is too quiet to tell anything"
        assert node.spikes_simulator < 0.9 * node.compared
    assert [(node.name, node.differing) for node in result.nodes] == [(node.name, 0) for node in result.nodes], (
        result.summary()
    )
    assert result.agrees
    assert result.first_difference is None


@pytest.mark.parametrize("make", [row, web, images])
def test_no_spike_differs(make: Callable[[int], tuple[ns.Network, torch.Tensor]]) -> None:
    net, x = make(0)
    result = verify(net, x, timeout=LIMIT)
    is_exact(result, spikes=200)
    assert result.spikes_compared == STEPS * SAMPLES * sum(math.prod(net.shape(name)) for name in net.neurons())
    assert (
        result.spikes == sum(node.spikes_simulator for node in result.nodes) == sum(n.spikes_lava for n in result.nodes)
    )
    assert (result.steps, result.samples) == (STEPS, SAMPLES)
    # Single precision is reported, and may only differ from double by a few spikes.
    assert result.spikes_differing_float32 is not None
    assert result.spikes_differing_float32 < 0.01 * result.spikes_compared


def test_two_inputs_and_spikes_of_one_only(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = ns.Network(
        {"images": ns.Input((1, 5, 6)), "current": ns.Input(7), "a": ns.LIF(dt=DT, r=8.0), "b": ns.IF(dt=DT)},
        [
            ns.Edge("images", "a", (ns.Conv2d(1, 2, 3), ns.Flatten())),
            ns.Edge("current", "a", ns.Linear(7, 24)),
            ns.Edge("a", "b", ns.Linear(24, 10)),
        ],
    )
    x = {"images": (torch.rand(STEPS, 1, 1, 5, 6) < 0.4).double(), "current": torch.randn(STEPS, 1, 7)}
    scaled(net, 15.0)
    is_exact(verify(net, x, timeout=LIMIT), spikes=50)


def test_images_wider_than_127_are_convolved_right() -> None:
    # lava-nc keeps the sizes of a convolution as int8, which numpy 2 no longer widens.
    torch.manual_seed(0)
    net = ns.Sequential(
        ns.Input((1, 3, 200)), ns.Conv2d(1, 2, (2, 5), stride=(1, 3)), ns.LIF(dt=DT, r=80.0), names=["out"]
    )
    is_exact(verify(net, (torch.rand(15, 1, 1, 3, 200) < 0.4).float(), timeout=LIMIT), spikes=100)


def test_a_comparison_without_a_spike_says_so() -> None:
    net = ns.Sequential(ns.Linear(3, 4), ns.LIF(dt=1e-3, r=30.0), ns.Linear(4, 2), ns.LIF(dt=1e-3), names=["a", "b"])
    with torch.no_grad():
        for edge, weight in zip(net.edges, (1.0, 1e-3), strict=True):
            edge.synapses[0].weight.fill_(weight)
    with pytest.warns(NothingCompared, match="no spike was compared of b, which sent none"):
        result = verify(net, torch.ones(12, 1, 3))
    assert result.agrees and result.silent == ("b",) and result.spikes > 0
    assert "no spike was compared of b, which sent none: that shows nothing" in result.summary()


def test_an_unflipped_kernel_is_found_with_its_first_difference() -> None:
    net, x = images(0)
    export = to_lava(net)
    first, *others = export.graph.conv
    wrong = dataclasses.replace(first, weight=np.ascontiguousarray(first.weight[:, ::-1, ::-1]))
    broken = dataclasses.replace(export, graph=dataclasses.replace(export.graph, conv=(wrong, *others)))
    result = compare(broken, net, x, timeout=LIMIT)
    assert result.spikes_differing > 100
    assert not result.agrees
    difference = result.first_difference
    assert difference is not None
    assert difference.node == "a"
    assert difference.distance > 1e-6  # not by rounding
    assert f"first difference: a neuron {list(difference.neuron)}" in result.summary()


def test_the_first_difference_tells_the_membranes() -> None:
    # With a threshold a little higher on Lava, the first to differ is the first membrane between the two.
    net, x = images(1)
    export = to_lava(net)
    right = export.graph.population("a")
    changed = dataclasses.replace(right, arguments={**right.arguments, "vth": np.array(1.05)})
    populations = (changed, *export.graph.populations[1:])
    result = compare(
        dataclasses.replace(export, graph=dataclasses.replace(export.graph, populations=populations)),
        net,
        x,
        timeout=LIMIT,
    )
    double = export.network
    with torch.no_grad():
        values = double.run(x.double(), None, ["a.u"]).recorded
    between = (values["a.u"] > 1.0) & (values["a.u"] <= 1.05)
    step, sample, *neuron = between.nonzero()[0].tolist()
    found = result.first_difference
    assert found is not None
    assert (found.node, found.step, found.sample, found.neuron) == ("a", step, sample, tuple(neuron))
    u = float(values["a.u"][step, sample][tuple(neuron)])
    assert found.v_simulator == pytest.approx(u, abs=1e-12)
    assert found.v_lava == pytest.approx(u, abs=1e-12)
    assert (found.sent_simulator, found.sent_lava, found.v_th) == (1.0, 0.0, 1.0)
    assert found.distance == pytest.approx(u - 1.0, abs=1e-12)
    read = json.loads(result.to_json())
    assert read["spikes_differing"] == result.spikes_differing > 0
    assert read["first_difference"]["neuron"] == list(found.neuron)
    assert [node["name"] for node in read["nodes"]] == ["a", "b", "c"]


def test_a_run_returns_spikes_and_membranes_on_the_network_s_steps() -> None:
    net, x = images(0)
    export = to_lava(net)
    run = export.run(x, record=["c", "a.v", "b.v"], timeout=LIMIT)
    with torch.no_grad():
        values = export.network.run(x.double(), None, ["c", "a.v", "b.v"]).recorded
    assert list(run.outputs) == ["c"]
    assert np.array_equal(run.outputs["c"], values["c"].numpy())
    assert run.traces["a.v"].shape == (STEPS, SAMPLES, *net.shape("a"))
    # b's threshold, and not its kernel, holds the gains: its voltage on Lava is not the membrane.
    assert export.scale["b"].ndim == 3
    for name, trace in run.traces.items():
        assert np.abs(trace).max() > 0.1
        np.testing.assert_allclose(trace, values[name].numpy(), rtol=0, atol=1e-12)


BUILD = """
import numpy as np, torch
from tests.hardware.lava.test_export import row
from neurosim.hardware.lava import to_lava
net, x = row(0)
export = to_lava(net)
processes = export.build(x, sample=1)
print({type(p).__name__ for p in (*processes.neurons.values(), *processes.connections.values())})
processes.run()
spikes = {name: processes.sent(name) for name in processes.sinks}
processes.stop()
values = export.network.run(x.double(), None, list(spikes)).recorded
print(sum(int((values[name][:, 1].numpy() != z).sum()) for name, z in spikes.items()), min(z.sum() for z in
spikes.values()) > 100)
"""


def script(text: str, root: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", text]
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )


def test_the_processes_in_hand_run_and_agree(root: Path) -> None:
    done = script(BUILD, root)
    classes, agreement = done.stdout.strip().splitlines()[-2:]
    assert eval(classes) == {"LIF", "Dense"}
    assert agreement == "0 True", done.stderr


def test_another_start_method_is_told(root: Path) -> None:
    done = script("import multiprocessing\nmultiprocessing.set_start_method('spawn')\n" + BUILD, root)
    assert done.returncode != 0
    assert "TargetRunError: Lava cannot be imported here (context has already been set)" in done.stderr
    assert "Use run(), which has a separate process group." in done.stderr


def test_without_lava_building_tells_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = row(0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TargetRunError, match=r"pip install --no-deps --ignore-requires-python lava-nc==0.10.0"):
        to_lava(net).build(x)


def test_an_export_is_saved_and_read(tmp_path: Path) -> None:
    export = to_lava(web(0)[0])
    export.save(tmp_path / "web.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["web.npz"]
    again = description.read(tmp_path / "web.npz")
    assert repr(again) == repr(export.graph)
    with pytest.raises(FileError, match="cannot write"):
        export.save(tmp_path / "web.npz" / "below.npz")


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((5, 2, 19)), ShapeError, r"x for 'input' must be \[T, B, 20\] with T and B from 1; got \[5, 2, 19\]"),
        (np.zeros((5, 20)), ShapeError, r"got \[5, 20\]"),
        (np.zeros((0, 2, 20)), ShapeError, r"got \[0, 2, 20\]"),
        (np.full((5, 2, 20), np.nan), InputError, r"x for 'input' holds NaN or infinity"),
        ({"other": np.zeros((5, 2, 20))}, InputError, r"data for the inputs \['input'\]; got \['other'\]"),
    ],
)
def test_data_that_does_not_fit_is_told(x: object, error: type[Exception], message: str) -> None:
    export = to_lava(row(0)[0])
    with pytest.raises(error, match=message):
        export.run(x)
    with pytest.raises(error, match=message):
        verify(row(0)[0], x)


def test_what_cannot_be_recorded_or_picked_is_told() -> None:
    net, x = row(0)
    export = to_lava(net)
    with pytest.raises(InputError, match=r"cannot record \['d'\]; this network has the populations \['a', 'b', 'c'\]"):
        export.run(x, record=["a", "d"])
    with pytest.raises(InputError, match=r"cannot record \['d'\]"):
        export.run(x, record=["d.v"])
    with pytest.raises(InputError, match="sample must be one of 0 to 1; got 2"):
        export.build(x, sample=2)


def test_samples_in_one_run_are_samples_apart() -> None:
    net, x = images(0)
    many = torch.cat((x, x.flip(0), torch.rand_like(x).round()), dim=1)
    result = verify(net, many, together=True, timeout=LIMIT)
    is_exact(result, spikes=500)
    assert result.samples == 6
    run = to_lava(net).run(many, record=["b.v"], together=True, timeout=LIMIT)
    with torch.no_grad():
        values = to_lava(net).network.run(many.double(), None, ["b.v"]).recorded
    np.testing.assert_allclose(run.traces["b.v"], values["b.v"].numpy(), rtol=0, atol=1e-12)
    with pytest.raises(InputError, match=r"edges with delays \['a->a', 'a->b', .*Leave out together=True"):
        verify(*web(0), together=True)
