"""Write the golden set: small networks with every output and state, each pinning one rule.

python -m tests.golden.generate
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import neurosim as ns
from neurosim import cores
from neurosim.files.atomic import replaced
from neurosim.hardware.loihi import loihi_neurons
from neurosim.network.layers import layer
from neurosim.synapses import RoundedDelays, SumPool2d, Synapse
from neurosim.synapses.lowering import Convolution, Dense, Pooling, Reshape, Shifted
from neurosim.synapses.shift import Shift
from neurosim.synapses.synapse import lowered_chain

FOLDER = Path(__file__).parent
DT = 1e-3


@dataclass(frozen=True)
class Golden:
    """A network, its input [T, *shape] and the rule that it pins."""

    name: str
    rule: str
    net: ns.Network
    x: Tensor


def _linear(weight: list[list[float]]) -> Synapse:
    values = torch.tensor(weight, dtype=torch.float64)
    synapse: Any = ns.Linear(values.shape[1], values.shape[0]).double()
    with torch.no_grad():
        synapse.weight.copy_(values)
    return synapse  # type: ignore[no-any-return]


def _single(neurons: Any, weight: float = 1.0) -> ns.Network:
    return ns.Network({"in": ns.Input(1), "out": neurons}, [ns.Edge("in", "out", _linear([[weight]]))]).double()


def _steps(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1)


def _lif(**choices: Any) -> Any:
    return ns.LIF(dt=DT, tau_mem=10e-3, size=1, **choices)


def golden() -> Iterator[Golden]:
    """Yield the networks of the set."""
    ones = _steps(*[1.0] * 12)
    yield Golden(
        "threshold_is_strict",
        "A spike is sent where the membrane is above the threshold; at the threshold none is sent.",
        _single(loihi_neurons(dt=DT, v_th=100, size=1), 50.0),
        _steps(1, 1, 1, 0, 0, 1, 1, 0),
    )
    yield Golden(
        "reset_to_value",
        "A spike sets the membrane to v_reset in the same step; what was above the threshold is lost.",
        _single(_lif(v_th=1.0, v_reset=0.25), 4.0),
        ones,
    )
    yield Golden(
        "reset_by_subtraction",
        "A spike subtracts the threshold in the same step; what was above the threshold is kept.",
        _single(_lif(v_th=1.0, reset="subtract"), 4.0),
        ones,
    )
    yield Golden(
        "no_reset", "Without a reset the membrane is left as it is.", _single(_lif(v_th=1.0, reset=None), 4.0), ones
    )
    yield Golden(
        "integers_reset_to_0",
        "An integer neuron sets its voltage to 0 in the step of the spike.",
        _single(loihi_neurons(dt=DT, du=2048, dv=400, v_th=100, size=1), 30.0),
        ones,
    )
    yield Golden(
        "integers_reset_by_subtraction",
        "With the reset by subtraction an integer neuron keeps what was above the threshold.",
        _single(layer(cores.loihi)(dt=DT, size=1, reset="subtract", du=2048.0, dv=400.0, v_th=100.0), 30.0),
        ones,
    )
    yield _order()
    yield _delays()
    yield _loop()
    yield Golden(
        "bias_from_the_first_step",
        "The bias acts in every step, the first included, with or without input.",
        _single(loihi_neurons(dt=DT, dv=100, v_th=100, bias_mant=500, bias_exp=1, size=1), 1.0),
        torch.zeros(10, 1),
    )
    yield Golden(
        "decay_rounds_toward_zero",
        "Decayed currents and voltages are rounded toward zero, for either sign.",
        _single(loihi_neurons(dt=DT, du=1000, dv=500, v_th=1000, size=1), 7.0),
        _steps(1, 0, 0, 0, -2, 0, 0, 0, 0, 0, 0, 0, 3, -1, 0, 0),
    )
    yield _shift()
    yield Golden(
        "voltage_saturates",
        "The voltage of 24 bits is clipped to -(2^23 - 1) ... 2^23 - 1 in each step, before the threshold.",
        _single(loihi_neurons(dt=DT, v_th=131071, size=1), 60000.0),
        _steps(1, 1, 1, 0, -1, -1, -1, -1, 1, 0),
    )
    yield Golden(
        "current_wraps",
        "A current beyond 24 bits turns over once: to above -2^23 and up to 2^23.",
        _single(loihi_neurons(dt=DT, du=-1, v_th=131071, size=1), 50000.0),
        _steps(1, 1, 1, 1, 0, -1, -1, -1, -1, -1, -1, 0),
    )
    yield Golden(
        "refractory",
        "With refractory=3 the voltage is held at 0 for two steps after a spike; the current is updated meanwhile.",
        _single(loihi_neurons(dt=DT, du=3000, v_th=100, refractory=3, size=1), 150.0),
        ones,
    )
    yield _convolution()
    yield Golden(
        "membrane_is_read_out",
        "A neuron that never fires sends its membrane, of the same step.",
        _single(loihi_neurons(dt=DT, du=1000, dv=500, v_th=None, unit=64.0, size=1), 20.0),
        _steps(1, 0, 1, 1, 0, 0, -1, 0),
    )


def _order() -> Golden:
    nodes = {
        "in": ns.Input(1),
        "first": ns.CubaLIF(dt=DT, tau_syn=2e-3, tau_mem=10e-3, v_th=0.5, size=1),
        "second": ns.IF(dt=DT, v_th=0.5, size=1),
    }
    edges = [ns.Edge("in", "first", _linear([[8.0]])), ns.Edge("first", "second", _linear([[1024.0]]))]
    rule = (
        "In a step come the synaptic current, the membrane, the spike and the reset; a spike reaches the next "
        "population in the same step unless the edge has a delay."
    )
    return Golden("order_in_a_step", rule, ns.Network(nodes, edges).double(), _steps(1, 0, 0, 1, 1, 1, 0, 0, 0, 0))


def _delays() -> Golden:
    delay = torch.tensor([[0, 2], [1, 5]])
    nodes = {"in": ns.Input(2), "out": loihi_neurons(dt=DT, v_th=10000, size=2)}
    edges = [
        ns.Edge("in", "out", RoundedDelays(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), delay, dt=DT), name="synapses"),
        ns.Edge("in", "out", _linear([[10, 20], [30, 40]]), delay=3 * DT, name="edge"),
    ]
    x = torch.zeros(12, 2, dtype=torch.float64)
    x[0, 0] = x[1, 1] = x[6, 0] = x[6, 1] = 1
    rule = (
        "A delay of d steps brings the output of step t to step t + d; a synapse's delay adds to its edge's, and "
        "currents that arrive in one step add up."
    )
    return Golden("delays", rule, ns.Network(nodes, edges).double(), x)


def _loop() -> Golden:
    nodes = {"in": ns.Input(1), "out": loihi_neurons(dt=DT, v_th=10, size=2)}
    edges = [ns.Edge("in", "out", _linear([[20], [0]])), ns.Edge("out", "out", _linear([[0, -30], [15, 0]]))]
    rule = "Synapses of a population onto itself act one step late."
    x = _steps(1, 0, 1, 1, 1, 0, 0, 1)
    return Golden("loop_is_one_step_late", rule, ns.Network(nodes, edges).double(), x)


def _shift() -> Golden:
    nodes = {"in": ns.Input(2), "out": loihi_neurons(dt=DT, v_th=10000, size=1)}
    edges = [ns.Edge("in", "out", [_linear([[5, -7]]), Shift(-1)])]
    x = torch.tensor([[1, 0], [0, 1], [1, 1], [-1, 1], [0, 0]], dtype=torch.float64)
    rule = "A weight exponent below 0 rounds the sum of a step down, not each weight and not toward zero."
    return Golden("shift_rounds_down", rule, ns.Network(nodes, edges).double(), x)


def _convolution() -> Golden:
    conv: Any = ns.Conv2d(1, 2, 2, padding=1, stride=2, bias=False).double()
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[[1, 2], [3, 4]]], [[[-10, 20], [30, -40]]]]))
    nodes = {"in": ns.Input((1, 5, 4)), "out": loihi_neurons(dt=DT, v_th=10000)}
    edges = [ns.Edge("in", "out", [SumPool2d(2, stride=1), conv])]
    x = torch.zeros(6, 1, 5, 4, dtype=torch.float64)
    x[0, 0, 0, 0] = x[1, 0, 4, 3] = x[2, 0, 2, 1] = x[3, 0, 1, 2] = x[3, 0, 1, 1] = 1
    rule = "A convolution is a cross-correlation padded with zeros; a pool sums its windows; axes are row-major."
    return Golden("convolution_behind_a_pool", rule, ns.Network(nodes, edges).double(), x)


def content(case: Golden) -> dict[str, Any]:
    """Return what the file of a network holds."""
    net = case.net
    names = {n: [f"{n}.{state}" for state in node.core.state] for n, node in net.neurons().items()}
    with torch.no_grad():
        found = net.run(case.x.unsqueeze(1).double(), None, [n for k, v in names.items() for n in (k, *v)]).recorded
    rows = {name: _plain(values[:, 0].flatten(1)) for name, values in found.items()}
    return {
        "name": case.name,
        "rule": case.rule,
        "dt": net.dt,
        "inputs": {name: list(net.shape(name)) for name in net.inputs},
        "populations": [_population(net, name) for name in net.populations()],
        "edges": [_edge(edge, net.shape(edge.source)) for edge in net.edges],
        "input": {"in": _plain(case.x.flatten(1))},
        "output": {name: rows[name] for name in names},
        "states": {name: {each.split(".")[1]: rows[each] for each in states} for name, states in names.items()},
    }


def _population(net: ns.Network, name: str) -> dict[str, Any]:
    node = net.neurons()[name]
    return {
        "name": name,
        "shape": list(net.shape(name)),
        "core": node.core.name,
        "step": inspect.getdoc(node.core.step),
        "reset": node.reset if node.is_spiking else None,
        "parameters": {key: _plain(node.value(key)) for key in node.core.parameters},
    }


def _edge(edge: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    synapses: list[dict[str, Any]] = []
    for value in lowered_chain(edge.synapses, shape):
        if isinstance(value, Dense):
            delay = None if value.delay is None else _plain(value.delay)
            synapses.append({"kind": "dense", "weight": _plain(value.weight), "delay": delay})
        elif isinstance(value, Convolution):
            settings = {key: list(getattr(value, key)) for key in ("stride", "padding", "dilation")}
            numbers = {"weight": _plain(value.weight), "groups": value.groups}
            synapses.append({"kind": "convolution", **numbers, **settings})
        elif isinstance(value, Pooling):
            sizes = {"kernel": list(value.kernel), "stride": list(value.stride)}
            synapses.append({"kind": f"{value.kind} pool", **sizes})
        elif isinstance(value, Reshape):
            synapses.append({"kind": "reshape", "shape": list(value.shape)})
        else:
            assert isinstance(value, Shifted)
            synapses.append({"kind": "shift", "exponent": value.exponent})
    ends = {"source": edge.source, "target": edge.target, "delay_steps": edge.delay_steps}
    return {**ends, "synapses": synapses}


def _plain(values: Any) -> Any:
    """Return numbers as lists, integers without a point."""
    array = np.asarray(torch.as_tensor(values).detach().double())
    if np.array_equal(array, np.trunc(array)):
        return array.astype(np.int64).tolist()
    return array.tolist()


def text(found: dict[str, Any]) -> str:
    """Return a file's text: a line for each key, and for each row of steps."""
    return _lines(found, 0) + "\n"


def _lines(value: Any, depth: int) -> str:
    if isinstance(value, dict) and depth < 3:
        indent = "  " * (depth + 1)
        rows = (f"{indent}{json.dumps(key)}: {_lines(each, depth + 1)}" for key, each in value.items())
        return "{\n" + ",\n".join(rows) + "\n" + "  " * depth + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        indent = "  " * (depth + 1)
        return "[\n" + ",\n".join(indent + json.dumps(each) for each in value) + "\n" + "  " * depth + "]"
    return json.dumps(value)


def main() -> None:
    """Write all files."""
    for case in golden():
        with replaced(FOLDER / f"{case.name}.json") as part:
            part.write_text(text(content(case)), encoding="utf-8")


if __name__ == "__main__":
    main()
