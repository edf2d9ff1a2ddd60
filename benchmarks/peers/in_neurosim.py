"""The circuits in neurosim: ``python -m benchmarks.peers.in_neurosim JSON``, see `service`."""

from __future__ import annotations

from benchmarks.peers.service import Array, Circuit, Timer, serve

STARTED = Timer()

from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

import neurosim as ns  # noqa: E402
from benchmarks.peers.specs import PD_DRIVE, PD_START, Spec, fly_synapses  # noqa: E402
from neurosim import cores  # noqa: E402
from neurosim.circuit import AllToAll, Bernoulli, Current, FixedInDegree, FixedTotal, Normal, Poisson, Uniform  # noqa: E402
from neurosim.circuit.engine import Engine, obstacle  # noqa: E402
from neurosim.synapses import Identity, Scale  # noqa: E402
from neurosim.units import Hz, ms, mV, nS, pA, pF  # noqa: E402

Values = dict[str, Any]


class InNeurosim(Circuit):
    """A network in the engine of circuits, which `neurosim.simulate` makes for each call; here each run continues it.

    The rows of synapses are drawn when the engine is made, as part of building.
    """

    def __init__(self, spec: Spec, nodes: Values, edges: list[ns.Edge], what: Values) -> None:
        self.version, self.spec = ns.__version__, spec
        torch.set_num_threads(what["threads"])
        net = ns.Network(nodes=nodes, edges=edges, dt=spec.dt_ms * ms, seed=what["seed"])
        recorded = list(spec.sizes) if what.get("record", True) else []
        why = obstacle(net, recorded, torch.device("cpu"))
        if why is not None:
            raise RuntimeError(f"the engine cannot run {spec.name}: {why}")
        state = net.initial_state(batch=what.get("trials", 1), seed=what["seed"])
        self.engine, self.recorded = Engine(net, state, recorded), recorded
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


def brunel(spec: Spec, what: Values) -> Circuit:
    p = spec.values
    cell = dict(
        tau_mem=p["tau_m"] * ms, t_ref=p["t_ref"] * ms, e_l=0.0, v_th=p["v_th"] * mV, v_reset=p["v_reset"] * mV,
        init=dict(v=Uniform(p["v_low"] * mV, p["v_high"] * mV)),
    )  # fmt: skip
    nodes: Values = {f"ext {k}": Poisson(p["drive_hz"] * Hz, size) for k, size in spec.sizes.items()}
    nodes |= {k: ns.layer(cores.lif_delta)(size=size, **cell) for k, size in spec.sizes.items()}
    edges = [ns.Edge(f"ext {k}", k, Scale(p["j"] * mV), port="dv") for k in spec.sizes]
    for source, degree, weight in (("E", p["c_exc"], p["j"]), ("I", p["c_inh"], -p["g"] * p["j"])):
        rows = ns.Drawn(FixedInDegree(degree), weight=weight * mV)
        edges += [ns.Edge(source, k, rows, port="dv", delay=p["delay"] * ms) for k in spec.sizes]
    return InNeurosim(spec, nodes, edges, what)


def _brette(spec: Spec, what: Values, core: Any, cell: Values, ports: tuple[str, str], unit: float) -> Circuit:
    p = spec.values
    shared = dict(tau_exc=p["tau_exc"] * ms, tau_inh=p["tau_inh"] * ms, c_m=p["c_m"] * pF, e_l=p["e_l"] * mV, **cell)
    nodes: Values = {k: ns.layer(core)(size=size, **shared) for k, size in spec.sizes.items()}
    edges = []
    for source, port, weight in zip(spec.sizes, ports, (p["w_exc"], p["w_inh"]), strict=True):
        rows = ns.Drawn(Bernoulli(p["p"]), weight=weight * unit)
        edges += [ns.Edge(source, k, rows, port=port, delay=p["delay"] * ms) for k in spec.sizes]
    return InNeurosim(spec, nodes, edges, what)


def cuba(spec: Spec, what: Values) -> Circuit:
    p = spec.values
    cell = dict(
        tau_mem=p["c_m"] / p["g_l"] * ms, v_th=p["v_th"] * mV, v_reset=p["v_reset"] * mV, t_ref=p["t_ref"] * ms,
        init=dict(v=Uniform(p["v_low"] * mV, p["v_high"] * mV)),
    )  # fmt: skip
    return _brette(spec, what, cores.lif_exp, cell, ("i_exc", "i_inh"), pA)


def _start(p: Values) -> Values:
    found = {k: Normal(p[f"{k}_mean"] * nS, p[f"{k}_std"] * nS, low=0.0, outside="clipped") for k in ("g_exc", "g_inh")}
    return dict(v=Normal(p["v_mean"] * mV, p["v_std"] * mV), **found)


def coba(spec: Spec, what: Values) -> Circuit:
    p = spec.values
    cell = dict(
        g_l=p["g_l"] * nS, e_exc=p["e_exc"] * mV, e_inh=p["e_inh"] * mV, v_th=p["v_th"] * mV,
        v_reset=p["v_reset"] * mV, t_ref=p["t_ref"] * ms, init=_start(p),
    )  # fmt: skip
    return _brette(spec, what, cores.lif_cond, cell, ("ge", "gi"), nS)


def hh(spec: Spec, what: Values) -> Circuit:
    p = spec.values
    cell: Values = {k: p[k] * nS for k in ("g_l", "g_na", "g_k")}
    cell |= {k: p[k] * mV for k in ("e_exc", "e_inh", "e_na", "e_k", "v_t")}
    return _brette(spec, what, cores.hodgkin_huxley, {**cell, "init": _start(p)}, ("ge", "gi"), nS)


def izhikevich(spec: Spec, what: Values) -> Circuit:
    p, rng, seed = spec.values, np.random.default_rng(what["seed"]), what["seed"]
    r = {k: rng.random(size) for k, size in spec.sizes.items()}
    cell: dict[str, Values] = dict(
        E=dict(a=0.02, b=0.2, c=torch.from_numpy(-65 + 15 * r["E"] ** 2), d=torch.from_numpy(8 - 6 * r["E"] ** 2)),
        I=dict(a=torch.from_numpy(0.02 + 0.08 * r["I"]), b=torch.from_numpy(0.25 - 0.05 * r["I"]), c=-65.0, d=2.0),
    )

    def noise(std: float, size: int, stream: int) -> Any:
        def values(time: Array) -> Array:
            steps = np.rint(time / (spec.dt_ms * ms)).astype(int)
            rows = [np.random.default_rng([seed, stream, k]).normal(0.0, std, size) for k in steps]
            return np.stack(rows)[:, None] if rows else np.zeros((0, 1, size))

        return values

    nodes: Values = {
        f"noise {k}": Current(noise(p["noise_exc" if k == "E" else "noise_inh"], size, number), size)
        for number, (k, size) in enumerate(spec.sizes.items())
    }
    for k, size in spec.sizes.items():
        start = dict(v=-65.0, u=-65.0 * torch.as_tensor(cell[k]["b"]).expand(size))
        nodes[k] = ns.layer(cores.izhikevich)(size=size, init=start, **cell[k])
    edges = [ns.Edge(f"noise {k}", k, Identity()) for k in spec.sizes]
    for source, weight in (("E", Uniform(0.0, p["w_exc"])), ("I", Uniform(p["w_inh"], 0.0))):
        edges += [ns.Edge(source, k, ns.Drawn(AllToAll(), weight=weight), delay=1 * ms) for k in spec.sizes]
    return InNeurosim(spec, nodes, edges, what)


def pd14(spec: Spec, what: Values) -> Circuit:
    p = spec.values
    cell = dict(
        tau_mem=p["tau_m"] * ms, tau_exc=p["tau_syn"] * ms, tau_inh=p["tau_syn"] * ms, c_m=p["c_m"] * pF,
        t_ref=p["t_ref"] * ms, e_l=p["e_l"] * mV, v_th=p["v_th"] * mV, v_reset=p["v_reset"] * mV,
    )  # fmt: skip
    nodes: Values = {f"bg {k}": Poisson(PD_DRIVE[k] * p["bg_hz"] * Hz, size) for k, size in spec.sizes.items()}
    for k, size in spec.sizes.items():
        mean, std = PD_START[k]
        nodes[k] = ns.layer(cores.lif_exp)(size=size, init=dict(v=Normal(mean * mV, std * mV)), **cell)
    edges = [ns.Edge(f"bg {k}", k, Scale(p["w"] * pA), port="i_exc") for k in spec.sizes]
    for source, numbers in p["numbers"].items():
        exc = source.endswith("E")
        mean, std = (each * ms for each in (p["delay_exc"] if exc else p["delay_inh"]))
        delay = Normal(mean, std, low=0.5 * spec.dt_ms * ms, outside="redrawn")
        for target, number in numbers.items():
            double = p["w_l4e_l23e"] if (source, target) == ("L4E", "L23E") else 1.0
            w = p["w"] * (1.0 if exc else p["g"]) * double * pA
            side = dict(low=0.0) if w > 0 else dict(high=0.0)
            weight = Normal(w, abs(w) * p["w_std"], outside="redrawn", **side)
            rows = ns.Drawn(FixedTotal(number), weight=weight, delay=delay)
            edges.append(ns.Edge(source, target, rows, port="i_exc" if exc else "i_inh"))
    return InNeurosim(spec, nodes, edges, what)


def fly(spec: Spec, what: Values) -> Circuit:
    p, first = spec.values, spec.first
    cell = dict(
        tau_mem=p["tau_m"] * ms, tau_exc=p["tau_syn"] * ms, c_m=p["c_m"] * pF, t_ref=p["t_ref"] * ms, e_l=p["e_l"] * mV,
        v_th=p["v_th"] * mV, v_reset=p["v_reset"] * mV, init=dict(v=p["e_l"] * mV),
    )  # fmt: skip
    nodes: Values = {"drive": Poisson(p["drive_hz"] * Hz, spec.sizes["driven"])}
    nodes |= {k: ns.layer(cores.lif_exp)(size=size, **cell) for k, size in spec.sizes.items()}
    edges = [ns.Edge("drive", "driven", Scale(p["w_drive"] * pA), port="i_exc")]
    pre, post, weight = fly_synapses(spec, what["seed"])
    for source, size in spec.sizes.items():
        rows = slice(*np.searchsorted(pre, [first[source], first[source] + size]))
        for target, targets in spec.sizes.items():
            own = (post[rows] >= first[target]) & (post[rows] < first[target] + targets)
            pairs = np.stack([post[rows][own] - first[target], pre[rows][own] - first[source]]).astype(np.int64)
            # One port for both signs: they have one time constant.
            synapse = ns.Sparse(size, targets, torch.from_numpy(pairs), torch.from_numpy(weight[rows][own]) * pA)
            edges.append(ns.Edge(source, target, synapse, port="i_exc", delay=p["delay"] * ms))
    return InNeurosim(spec, nodes, edges, what)


if __name__ == "__main__":
    serve({each.__name__: each for each in (brunel, cuba, coba, hh, izhikevich, pd14, fly)}, STARTED)
