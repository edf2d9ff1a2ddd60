"""The circuits in neurosim: ``python -m benchmarks.peers.in_neurosim JSON``, see `service`."""

from __future__ import annotations

from benchmarks.peers.service import Array, Circuit, Timer, serve

STARTED = Timer()

from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

import neurosim as ns  # noqa: E402
from benchmarks.peers.specs import Spec  # noqa: E402
from neurosim.circuit.engine import Engine, obstacle  # noqa: E402
from neurosim.circuit.rule_checks import checked_rules  # noqa: E402
from neurosim.models import circuits  # noqa: E402
from neurosim.plasticity import PairSTDP  # noqa: E402
from neurosim.units import ms, mV  # noqa: E402

Values = dict[str, Any]


class InNeurosim(Circuit):
    """A network in the engine of circuits, which `neurosim.simulate` makes for each call; here each run continues it.

    The rows of synapses are drawn when the engine is made, as part of building.
    """

    def __init__(self, spec: Spec, net: ns.Network, plasticity: dict[str, Any], what: Values) -> None:
        self.version, self.spec = ns.__version__, spec
        torch.set_num_threads(what["threads"])
        recorded = list(spec.sizes) if what.get("record", True) else []
        checked = checked_rules(net, plasticity)
        why = obstacle(net, recorded, torch.device("cpu"), checked)
        if why is not None:
            raise RuntimeError(f"the engine cannot run {spec.name}: {why}")
        state = net.initial_state(batch=what.get("trials", 1), seed=what["seed"])
        self.engine, self.recorded = Engine(net, state, recorded, plasticity=checked), recorded
        tables = {t.data_ptr(): t for route in self.engine.wiring.routes for t in route if isinstance(t, torch.Tensor)}
        self.synapses = round(spec.total_synapses)
        self.row_bytes = sum(t.numel() * t.element_size() for t in tables.values()) / self.synapses
        self.steps, self.found = 0, list[tuple[Array, Array]]()

    def advance(self) -> None:
        """Run on and keep the spikes of the first trial."""
        steps = round(self.spec.seconds * 1e3 / self.spec.dt_ms)
        spikes = self.engine.advance(steps)
        for name in self.recorded:
            own = spikes[name].batch == 0
            self.found.append((spikes[name].step[own] + self.steps, spikes[name].neuron[own] + self.spec.first[name]))
        self.steps += steps

    def spikes(self) -> tuple[Array, Array, float]:
        """Return the spikes so far."""
        step, neuron = (np.concatenate(columns) for columns in zip(*self.found, strict=True))
        return step, neuron, self.steps * self.spec.dt_ms * 1e-3


def _brette(kind: Any) -> Callable[[Spec, int], ns.Network]:
    return lambda spec, seed: circuits.vogels_abbott(kind, spec.neurons, spec.values["p"], seed)


def _brunel(spec: Spec, seed: int) -> ns.Network:
    return circuits.brunel(size=spec.neurons, j=spec.values["j"] * mV, seed=seed)


def rules(spec: Spec) -> dict[str, Any]:
    """Return the rules of plastic synapses; a delay of NEST is dendritic, that of an edge axonal."""
    if spec.name != "stdp":
        return {}
    p = spec.values
    size = p["rate"] * p["w_max"] * mV
    rule = PairSTDP(
        w_max=p["w_max"] * mV, mu=1.0, a_plus=size, a_minus=size, tau_plus=p["tau_plus"] * ms, coincident=False,
        tau_minus=p["tau_minus"] * ms, dendritic_delay=2 * p["delay"] * ms,
    )  # fmt: skip
    return {"E->E:dv": rule}


NETWORKS: dict[str, Callable[[Spec, int], ns.Network]] = {
    "brunel": _brunel,
    "cuba": _brette("cuba"),
    "coba": _brette("coba"),
    "hh": _brette("hh"),
    "izhikevich": lambda spec, seed: circuits.izhikevich_2003(seed),
    "pd14": lambda spec, seed: circuits.potjans_diesmann(spec.values["scale"], seed),
    "fly": lambda spec, seed: circuits.fly_brain_like(spec.values["scale"], spec.values["driven"], seed),
    "stdp": _brunel,
}


def _builder(name: str) -> Callable[[Spec, Values], Circuit]:
    return lambda spec, what: InNeurosim(spec, NETWORKS[name](spec, what["seed"]), rules(spec), what)


if __name__ == "__main__":
    serve({name: _builder(name) for name in NETWORKS}, STARTED)
