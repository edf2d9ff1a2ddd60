"""The circuits in Brian2, C++ standalone: ``PYTHON_OF_BRIAN2 -m benchmarks.peers.in_brian2 JSON``, see `service`.

A run cannot continue: each is a run of the compiled program from the start, with synapses drawn again. The times are
those of the loop over time, taken inside the program.
"""

from __future__ import annotations

from benchmarks.peers.service import Array, Circuit, Timer, serve

STARTED = Timer()

import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import brian2 as b  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.peers.specs import PD_DRIVE, PD_START, Spec, fly_driven, fly_synapses  # noqa: E402

mV, ms, pF, nS, pA, Hz = b.mV, b.ms, b.pF, b.nS, b.pA, b.Hz
_CLOCKS = """
std::clock_t {name}_cpu = std::clock();
std::chrono::steady_clock::time_point {name}_wall = std::chrono::steady_clock::now();
"""
_REPORT = """
struct rusage used;
getrusage(RUSAGE_SELF, &used);
std::ofstream("loop.txt") << double(after_cpu - before_cpu) / CLOCKS_PER_SEC << " "
    << std::chrono::duration<double>(after_wall - before_wall).count() << " " << used.ru_maxrss;
"""


class InBrian2(Circuit):
    """A circuit as a program that is compiled once; a run covers the time left out of the statistics, too."""

    def __init__(self, spec: Spec, what: dict[str, Any]) -> None:
        threads, seed = what["threads"], what["seed"]
        self.version, self.spec = b.__version__, spec
        self.place = tempfile.TemporaryDirectory()
        b.prefs.devices.cpp_standalone.openmp_threads = 0 if threads == 1 else threads
        # The default starts a compiler for every file at once.
        b.prefs.devices.cpp_standalone.extra_make_args_unix = ["-j1"]
        b.prefs.codegen.cpp.headers += ["<ctime>", "<chrono>", "<fstream>", "<sys/resource.h>"]
        b.set_device("cpp_standalone", directory=self.place.name, build_on_run=False)
        b.seed(seed)
        b.defaultclock.dt = spec.dt_ms * ms
        self.parts: list[Any] = []
        self.synapses = round(spec.total_synapses)

    def finish(self, cells: Any) -> InBrian2:
        """Compile and return the circuit."""
        self.monitor = b.SpikeMonitor(cells)
        net = b.Network(cells, self.monitor, *self.parts)
        b.device.insert_code("before_network_run", _CLOCKS.format(name="before"))
        b.device.insert_code("after_network_run", _CLOCKS.format(name="after") + _REPORT)
        self.seconds = self.spec.after + self.spec.seconds
        net.run(self.seconds * b.second, namespace={})
        b.device.build(directory=self.place.name, compile=True, run=False)
        return self

    def advance(self) -> dict[str, float]:
        """Run the program; return the times of its loop for the timed length."""
        b.device.run(directory=self.place.name, with_output=False)
        found = next(Path(self.place.name).rglob("loop.txt"))
        cpu, wall, peak_kb = map(float, found.read_text().split())
        share = self.spec.seconds / self.seconds
        return {"cpu_s": cpu * share, "wall_s": wall * share, "peak_bytes": 1024 * peak_kb}

    def spikes(self) -> tuple[Array, Array, float]:
        """Return the spikes of the last run."""
        step = np.rint(np.asarray(self.monitor.t / ms) / self.spec.dt_ms).astype(np.int64)
        return step, np.asarray(self.monitor.i, np.int64), self.seconds


def _delta(spec: Spec, namespace: dict[str, Any]) -> Any:
    return b.NeuronGroup(
        spec.neurons, "dv/dt = -v/tau_m : volt (unless refractory)", threshold="v > v_th", reset="v = v_reset",
        refractory="t_ref", method="exact", namespace=namespace,
    )  # fmt: skip


def brunel(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, cells = _brunel_cells(spec, what)
    p = spec.values
    for source, degree, weight in (("E", p["c_exc"], p["j"]), ("I", p["c_inh"], -p["g"] * p["j"])):
        _fixed(circuit, cells, source, cells, degree, weight, what["seed"])
    return circuit.finish(cells)


def stdp(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, cells = _brunel_cells(spec, what)
    p, seed = spec.values, what["seed"]
    exc, inh = cells[: spec.sizes["E"]], cells[spec.sizes["E"] :]
    names = dict(
        tau_plus=p["tau_plus"] * ms, tau_minus=p["tau_minus"] * ms, w_max=p["w_max"] * mV, rate=p["rate"]
    )  # fmt: skip
    synapses = b.Synapses(
        exc, exc,
        """w : volt
        dpre/dt = -pre/tau_plus : 1 (event-driven)
        dpost/dt = -post/tau_minus : 1 (event-driven)""",
        on_pre="""v_post += w
        pre += 1
        w = clip(w - rate*w*post, 0*volt, w_max)""",
        on_post="""post += 1
        w = clip(w + rate*(w_max - w)*pre, 0*volt, w_max)""",
        delay=p["delay"] * ms, namespace=names,
    )  # fmt: skip
    pre, post = _in_degree(len(exc), len(exc), p["c_exc"], seed)
    synapses.connect(i=pre, j=post)
    synapses.w = p["j"] * mV
    circuit.parts.append(synapses)
    _fixed(circuit, cells, "E", inh, p["c_exc"], p["j"], seed)
    _fixed(circuit, cells, "I", cells, p["c_inh"], -p["g"] * p["j"], seed)
    return circuit.finish(cells)


def _brunel_cells(spec: Spec, what: dict[str, Any]) -> tuple[InBrian2, Any]:
    circuit, p = InBrian2(spec, what), spec.values
    names = dict(tau_m=p["tau_m"] * ms, t_ref=p["t_ref"] * ms, v_th=p["v_th"] * mV, v_reset=p["v_reset"] * mV)
    cells = _delta(spec, names)
    cells.v = f"{p['v_low']}*mV + {p['v_high'] - p['v_low']}*mV*rand()"
    # PoissonInput draws from the binomial law of many sources: the Poisson law of this rate.
    circuit.parts.append(b.PoissonInput(cells, "v", 1000, p["drive_hz"] / 1000 * Hz, p["j"] * mV))
    return circuit, cells


def _fixed(circuit: InBrian2, cells: Any, source: str, targets: Any, degree: int, weight: float, seed: int) -> None:
    spec = circuit.spec
    first, size = spec.first[source], spec.sizes[source]
    synapses = b.Synapses(
        cells[first : first + size], targets, on_pre="v_post += w", delay=spec.values["delay"] * ms,
        namespace={"w": weight * mV},
    )  # fmt: skip
    pre, post = _in_degree(size, len(targets), degree, seed)
    synapses.connect(i=pre, j=post)
    circuit.parts.append(synapses)


def _in_degree(sources: int, targets: int, degree: int, seed: int) -> tuple[Array, Array]:
    """Return pairs of a fixed in-degree with multapses, sorted by source."""
    rng = np.random.default_rng([seed, sources])
    pre = rng.integers(0, sources, targets * degree, dtype=np.int32)
    order = np.argsort(pre, kind="stable")
    return pre[order], np.repeat(np.arange(targets, dtype=np.int32), degree)[order]


def _bernoulli(circuit: InBrian2, cells: Any, ports: tuple[str, str], weights: tuple[Any, Any]) -> None:
    spec, p = circuit.spec, circuit.spec.values
    first = spec.first
    for source, port, weight in zip(("E", "I"), ports, weights, strict=True):
        part = cells[first[source] : first[source] + spec.sizes[source]]
        synapses = b.Synapses(part, cells, on_pre=f"{port}_post += w", delay=p["delay"] * ms, namespace={"w": weight})
        synapses.connect(p=p["p"])
        circuit.parts.append(synapses)


def _names(p: dict[str, Any], **more: Any) -> dict[str, Any]:
    return dict(
        c_m=p["c_m"] * pF, g_l=p["g_l"] * nS, e_l=p["e_l"] * mV, tau_exc=p["tau_exc"] * ms, tau_inh=p["tau_inh"] * ms,
        v_th=p["v_th"] * mV, v_reset=p["v_reset"] * mV, t_ref=p["t_ref"] * ms, **more,
    )  # fmt: skip


def cuba(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, p = InBrian2(spec, what), spec.values
    cells = b.NeuronGroup(
        spec.neurons,
        """dv/dt = (g_l*(e_l - v) + ie + ii)/c_m : volt (unless refractory)
        die/dt = -ie/tau_exc : amp
        dii/dt = -ii/tau_inh : amp""",
        threshold="v > v_th", reset="v = v_reset", refractory="t_ref", method="exact", namespace=_names(p),
    )  # fmt: skip
    cells.v = f"{p['v_low']}*mV + {p['v_high'] - p['v_low']}*mV*rand()"
    _bernoulli(circuit, cells, ("ie", "ii"), (p["w_exc"] * pA, p["w_inh"] * pA))
    return circuit.finish(cells)


_SYNAPSES = "\ndge/dt = -ge/tau_exc : siemens\ndgi/dt = -gi/tau_inh : siemens"


def _conductances(circuit: InBrian2, cells: Any) -> Circuit:
    p = circuit.spec.values
    cells.v = f"{p['v_mean']}*mV + {p['v_std']}*mV*randn()"
    for port, name in (("ge", "g_exc"), ("gi", "g_inh")):
        setattr(cells, port, f"clip({p[f'{name}_mean']} + {p[f'{name}_std']}*randn(), 0, inf)*nS")
    _bernoulli(circuit, cells, ("ge", "gi"), (p["w_exc"] * nS, p["w_inh"] * nS))
    return circuit.finish(cells)


def coba(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, p = InBrian2(spec, what), spec.values
    cells = b.NeuronGroup(
        spec.neurons,
        "dv/dt = (g_l*(e_l - v) + ge*(e_exc - v) + gi*(e_inh - v))/c_m : volt (unless refractory)" + _SYNAPSES,
        threshold="v > v_th", reset="v = v_reset", refractory="t_ref", method="exponential_euler",
        namespace=_names(p, e_exc=p["e_exc"] * mV, e_inh=p["e_inh"] * mV),
    )  # fmt: skip
    return _conductances(circuit, cells)


_HH = """
dv/dt = (g_l*(e_l - v) + ge*(e_exc - v) + gi*(e_inh - v) + i_na + i_k)/c_m : volt
i_na = g_na*(m*m*m)*h*(e_na - v) : amp
i_k = g_k*(n*n*n*n)*(e_k - v) : amp
dm/dt = alpha_m*(1 - m) - beta_m*m : 1
dn/dt = alpha_n*(1 - n) - beta_n*n : 1
dh/dt = alpha_h*(1 - h) - beta_h*h : 1
alpha_m = 0.32*4/exprel((13 - u)/4)/ms : Hz
beta_m = 0.28*5/exprel((u - 40)/5)/ms : Hz
alpha_h = 0.128*exp((17 - u)/18)/ms : Hz
beta_h = 4/(1 + exp((40 - u)/5))/ms : Hz
alpha_n = 0.032*5/exprel((15 - u)/5)/ms : Hz
beta_n = 0.5*exp((10 - u)/40)/ms : Hz
u = (v - v_t)/mV : 1"""


def hh(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, p = InBrian2(spec, what), spec.values
    more = {k: p[k] * mV for k in ("e_exc", "e_inh", "e_na", "e_k", "v_t")} | {k: p[k] * nS for k in ("g_na", "g_k")}
    cells = b.NeuronGroup(
        spec.neurons, _HH + _SYNAPSES, threshold="v > -20*mV", refractory=3 * ms, method="exponential_euler",
        namespace=_names(p, **more),
    )  # fmt: skip
    return _conductances(circuit, cells)


def izhikevich(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, p = InBrian2(spec, what), spec.values
    n_exc, rng = spec.sizes["E"], np.random.default_rng(what["seed"])
    cells = b.NeuronGroup(
        spec.neurons,
        "v : 1\nu : 1\ni : 1\na : 1\nb : 1\nc : 1\nd : 1\nnoise : 1".replace("\ni :", "\nx :"),
        threshold="v >= 30", reset="v = c; u += d",
    )  # fmt: skip
    # The published order: spikes of the last step, reset, noise and synapses, two half steps of v, then u.
    cells.run_regularly(
        """x += noise*randn()
        v += 0.5*(0.04*v**2 + 5*v + 140 - u + x)
        v += 0.5*(0.04*v**2 + 5*v + 140 - u + x)
        u += a*(b*v - u)
        x = 0""",
        when="groups",
    )
    r_exc, r_inh = rng.random(n_exc), rng.random(spec.sizes["I"])
    cells.a = np.concatenate([np.full(n_exc, 0.02), 0.02 + 0.08 * r_inh])
    cells.b = np.concatenate([np.full(n_exc, 0.2), 0.25 - 0.05 * r_inh])
    cells.c = np.concatenate([-65 + 15 * r_exc**2, np.full(spec.sizes["I"], -65.0)])
    cells.d = np.concatenate([8 - 6 * r_exc**2, np.full(spec.sizes["I"], 2.0)])
    cells.noise = np.repeat([p["noise_exc"], p["noise_inh"]], list(spec.sizes.values()))
    cells.v = -65.0
    cells.u = "b*v"
    synapses = b.Synapses(cells, cells, "w : 1", on_pre="x_post += w")
    synapses.connect()
    synapses.w = f"rand()*({p['w_exc']}*int(i < {n_exc}) + {p['w_inh']}*int(i >= {n_exc}))"
    circuit.parts.append(synapses)
    return circuit.finish(cells)


def _exponential(spec: Spec) -> Any:
    p = spec.values
    names = dict(
        tau_m=p["tau_m"] * ms, tau_syn=p["tau_syn"] * ms, c_m=p["c_m"] * pF, e_l=p["e_l"] * mV, v_th=p["v_th"] * mV,
        v_reset=p["v_reset"] * mV, t_ref=p["t_ref"] * ms,
    )  # fmt: skip
    return b.NeuronGroup(
        spec.neurons, "dv/dt = (e_l - v)/tau_m + s/c_m : volt (unless refractory)\nds/dt = -s/tau_syn : amp",
        threshold="v > v_th", reset="v = v_reset", refractory="t_ref", method="exact", namespace=names,
    )  # fmt: skip


def pd14(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, p = InBrian2(spec, what), spec.values
    cells = _exponential(spec)
    rng, first = np.random.default_rng(what["seed"]), spec.first
    parts = {name: cells[first[name] : first[name] + size] for name, size in spec.sizes.items()}
    cells.v = np.concatenate([rng.normal(*PD_START[k], size) for k, size in spec.sizes.items()]) * mV
    for name, part in parts.items():
        circuit.parts.append(b.PoissonInput(part, "s", PD_DRIVE[name], p["bg_hz"] * Hz, p["w"] * pA))
    pairs, weights, delays = [], [], []
    for source, numbers in p["numbers"].items():
        exc = source.endswith("E")
        mean, std = p["delay_exc"] if exc else p["delay_inh"]
        for target, number in numbers.items():
            double = p["w_l4e_l23e"] if (source, target) == ("L4E", "L23E") else 1.0
            w = p["w"] * (1.0 if exc else p["g"]) * double
            pre = first[source] + np.sort(rng.integers(0, spec.sizes[source], number, dtype=np.int32))
            post = first[target] + rng.integers(0, spec.sizes[target], number, dtype=np.int32)
            pairs.append(np.stack([pre, post]))
            weights.append(_redrawn(rng, w, abs(w) * p["w_std"], number, 0.0, np.sign(w)))
            delays.append(_redrawn(rng, mean, std, number, spec.dt_ms, 1.0))
    # One object: each of 56 would be compiled.
    synapses = b.Synapses(cells, cells, "w : amp", on_pre="s_post += w")
    pre, post = np.concatenate(pairs, axis=1)
    synapses.connect(i=pre, j=post)
    synapses.w = np.concatenate(weights) * pA
    synapses.delay = np.concatenate(delays) * ms
    circuit.parts.append(synapses)
    return circuit.finish(cells)


def fly(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, p = InBrian2(spec, what), spec.values
    cells = _exponential(spec)
    cells.v = p["e_l"] * mV
    pre, post, weight = fly_synapses(spec, what["seed"])
    synapses = b.Synapses(cells, cells, "w : amp", on_pre="s_post += w", delay=p["delay"] * ms)
    synapses.connect(i=pre, j=post)
    synapses.w = weight * pA
    drive = b.PoissonGroup(p["driven"], p["drive_hz"] * Hz)
    kick = b.Synapses(drive, cells, on_pre="s_post += w_drive", namespace={"w_drive": 250 * p["w"] * pA})
    kick.connect(i=np.arange(p["driven"]), j=fly_driven(spec, what["seed"]))
    circuit.parts += [synapses, drive, kick]
    return circuit.finish(cells)


def _redrawn(rng: Any, mean: float, std: float, number: int, low: float, sign: float) -> Array:
    """Return normal numbers; those on the wrong side of `low` are drawn again."""
    found = rng.normal(mean, std, number)
    while (wrong := np.flatnonzero(sign * found < low)).size:
        found[wrong] = rng.normal(mean, std, wrong.size)
    return found


if __name__ == "__main__":
    serve({each.__name__: each for each in (brunel, cuba, coba, hh, izhikevich, pd14, fly, stdp)}, STARTED)
