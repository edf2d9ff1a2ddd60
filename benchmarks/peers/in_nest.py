"""The circuits in NEST: ``PYTHON_OF_NEST -m benchmarks.peers.in_nest JSON``, see `service`."""

from __future__ import annotations

from benchmarks.peers.service import Array, Circuit, Timer, serve

STARTED = Timer()

from typing import Any  # noqa: E402

import nest  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.peers.specs import PD_DRIVE, PD_START, Spec, fly_driven, fly_synapses  # noqa: E402


class InNest(Circuit):
    """A circuit of one `Create` after the other, all spikes recorded in memory."""

    cells: Any

    def __init__(self, spec: Spec, what: dict[str, Any]) -> None:
        threads, seed = what["threads"], what["seed"]
        nest.verbosity = nest.VerbosityLevel.ERROR
        nest.ResetKernel()
        nest.SetKernelStatus({"resolution": spec.dt_ms, "local_num_threads": threads, "rng_seed": seed + 1})
        self.version, self.spec, self.ran = nest.__version__, spec, 0
        self.rng = np.random.default_rng(seed)
        self.recorder = nest.Create("spike_recorder")
        self.records = what.get("record", True)

    def finish(self, cells: Any, drives: int = 0) -> InNest:
        """Prepare and return the circuit, of which each neuron is also connected with the recorder and its drives."""
        if self.records:
            nest.Connect(cells, self.recorder)
            drives += 1
        self.synapses = nest.GetKernelStatus("num_connections") - self.spec.neurons * drives
        nest.Prepare()
        return self

    def advance(self) -> None:
        """Run on."""
        nest.Run(self.spec.seconds * 1e3)
        self.ran += 1

    def spikes(self) -> tuple[Array, Array, float]:
        """Return the spikes; NEST stamps the end of a step."""
        events = self.recorder.events
        step = np.rint(events["times"] / self.spec.dt_ms).astype(np.int64) - 1
        return step, events["senders"].astype(np.int64) - 2, self.ran * self.spec.seconds


def brunel(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, cells = _brunel_cells(spec, what)
    p = spec.values
    for source, degree, weight in (("E", p["c_exc"], p["j"]), ("I", p["c_inh"], -p["g"] * p["j"])):
        _fixed(spec, cells, source, cells, degree, weight)
    return circuit.finish(cells, drives=1)


def stdp(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, cells = _brunel_cells(spec, what)
    p = spec.values
    exc, inh = cells[: spec.sizes["E"]], cells[spec.sizes["E"] :]
    cells.tau_minus = p["tau_minus"]
    # Only the model with common parameters keeps them once; "lambda" is the change in units of Wmax.
    values = {
        "tau_plus": p["tau_plus"], "lambda": p["rate"], "alpha": 1.0, "mu_plus": 1.0, "mu_minus": 1.0,
        "Wmax": p["w_max"], "weight": p["j"], "delay": p["delay"],
    }  # fmt: skip
    nest.CopyModel("stdp_synapse_hom", "plastic", values)
    nest.Connect(exc, exc, {"rule": "fixed_indegree", "indegree": p["c_exc"]}, {"synapse_model": "plastic"})
    _fixed(spec, cells, "E", inh, p["c_exc"], p["j"])
    _fixed(spec, cells, "I", cells, p["c_inh"], -p["g"] * p["j"])
    return circuit.finish(cells, drives=1)


def _brunel_cells(spec: Spec, what: dict[str, Any]) -> tuple[InNest, Any]:
    circuit, p = InNest(spec, what), spec.values
    neuron = dict(
        tau_m=p["tau_m"], C_m=p["tau_m"], E_L=0.0, V_th=p["v_th"], V_reset=p["v_reset"], t_ref=p["t_ref"], I_e=0.0
    )
    cells = nest.Create("iaf_psc_delta", spec.neurons, params=neuron)
    cells.V_m = list(circuit.rng.uniform(p["v_low"], p["v_high"], spec.neurons))
    drive = nest.Create("poisson_generator", params={"rate": p["drive_hz"]})
    nest.Connect(drive, cells, syn_spec={"weight": p["j"], "delay": p["delay"]})
    return circuit, cells


def _fixed(spec: Spec, cells: Any, source: str, targets: Any, degree: int, weight: float) -> None:
    first = spec.first[source]
    nest.CopyModel("static_synapse_hom_w", f"fixed {source}", {"weight": weight, "delay": spec.values["delay"]})
    rule = {"rule": "fixed_indegree", "indegree": degree}
    nest.Connect(cells[first : first + spec.sizes[source]], targets, rule, {"synapse_model": f"fixed {source}"})


def _wired(circuit: InNest, model: str, neuron: dict[str, float], inhibitory: float) -> InNest:
    spec, p = circuit.spec, circuit.spec.values
    cells = nest.Create(model, spec.neurons, params=neuron)
    for source, weight in ((cells[: spec.sizes["E"]], p["w_exc"]), (cells[spec.sizes["E"] :], inhibitory)):
        rule = {"rule": "pairwise_bernoulli", "p": p["p"]}
        nest.Connect(source, cells, rule, {"weight": weight, "delay": p["delay"]})
    circuit.cells = cells
    return circuit


def cuba(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, p = InNest(spec, what), spec.values
    neuron = dict(
        tau_m=p["c_m"] / p["g_l"], C_m=p["c_m"], E_L=p["e_l"], V_th=p["v_th"], V_reset=p["v_reset"], t_ref=p["t_ref"],
        tau_syn_ex=p["tau_exc"], tau_syn_in=p["tau_inh"],
    )  # fmt: skip
    _wired(circuit, "iaf_psc_exp", neuron, p["w_inh"])
    circuit.cells.V_m = list(circuit.rng.uniform(p["v_low"], p["v_high"], spec.neurons))
    return circuit.finish(circuit.cells)


def _conductances(circuit: InNest) -> InNest:
    p, n, rng = circuit.spec.values, circuit.spec.neurons, circuit.rng
    circuit.cells.V_m = list(rng.normal(p["v_mean"], p["v_std"], n))
    # Not every model lets its conductances be set: a spike of its own weight in the first step does it for each.
    for sign, name in ((1.0, "g_exc"), (-1.0, "g_inh")):
        start = rng.normal(p[f"{name}_mean"], p[f"{name}_std"], n).clip(0.0)
        kick = nest.Create("spike_generator", params={"spike_times": [circuit.spec.dt_ms]})
        nest.Connect(kick, circuit.cells, "all_to_all", {"weight": sign * start[:, None], "delay": circuit.spec.dt_ms})
    return circuit.finish(circuit.cells, drives=2)


def coba(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, p = InNest(spec, what), spec.values
    neuron = dict(
        C_m=p["c_m"], g_L=p["g_l"], E_L=p["e_l"], V_th=p["v_th"], V_reset=p["v_reset"], t_ref=p["t_ref"],
        E_ex=p["e_exc"], E_in=p["e_inh"], tau_syn_ex=p["tau_exc"], tau_syn_in=p["tau_inh"],
    )  # fmt: skip
    # A negative weight of this model adds its size to the inhibitory conductance.
    return _conductances(_wired(circuit, "iaf_cond_exp", neuron, -p["w_inh"]))


def hh(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, p = InNest(spec, what), spec.values
    neuron = dict(
        C_m=p["c_m"], g_L=p["g_l"], E_L=p["e_l"], E_ex=p["e_exc"], E_in=p["e_inh"], tau_syn_ex=p["tau_exc"],
        tau_syn_in=p["tau_inh"], g_Na=p["g_na"], g_K=p["g_k"], E_Na=p["e_na"], E_K=p["e_k"], V_T=p["v_t"],
    )  # fmt: skip
    return _conductances(_wired(circuit, "hh_cond_exp_traub", neuron, -p["w_inh"]))


def pd14(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, p = InNest(spec, what), spec.values
    neuron = dict(
        tau_m=p["tau_m"], C_m=p["c_m"], E_L=p["e_l"], V_th=p["v_th"], V_reset=p["v_reset"], t_ref=p["t_ref"],
        tau_syn_ex=p["tau_syn"], tau_syn_in=p["tau_syn"],
    )  # fmt: skip
    cells = nest.Create("iaf_psc_exp", spec.neurons, params=neuron)
    first = spec.first
    parts = {name: cells[first[name] : first[name] + size] for name, size in spec.sizes.items()}
    for name, part in parts.items():
        part.V_m = list(circuit.rng.normal(*PD_START[name], spec.sizes[name]))
        drive = nest.Create("poisson_generator", params={"rate": PD_DRIVE[name] * p["bg_hz"]})
        nest.Connect(drive, part, syn_spec={"weight": p["w"], "delay": 1.5})
    for source, numbers in p["numbers"].items():
        exc = source.endswith("E")
        mean, std = p["delay_exc"] if exc else p["delay_inh"]
        delay = nest.math.redraw(nest.random.normal(mean, std), min=spec.dt_ms, max=np.inf)
        for target, number in numbers.items():
            double = p["w_l4e_l23e"] if (source, target) == ("L4E", "L23E") else 1.0
            w = p["w"] * (1.0 if exc else p["g"]) * double
            low, high = (0.0, np.inf) if w > 0 else (-np.inf, 0.0)
            # The spread of the doubled weight is relative to it, as in the published model.
            weight = nest.math.redraw(nest.random.normal(w, abs(w) * p["w_std"]), min=low, max=high)
            rule = {"rule": "fixed_total_number", "N": number}
            nest.Connect(parts[source], parts[target], rule, {"weight": weight, "delay": delay})
    return circuit.finish(cells, drives=1)


def fly(spec: Spec, what: dict[str, Any]) -> Circuit:
    circuit, p = InNest(spec, what), spec.values
    neuron = dict(
        tau_m=p["tau_m"], C_m=p["c_m"], E_L=p["e_l"], V_th=p["v_th"], V_reset=p["v_reset"], t_ref=p["t_ref"],
        tau_syn_ex=p["tau_syn"], tau_syn_in=p["tau_syn"], V_m=p["e_l"],
    )  # fmt: skip
    cells = nest.Create("iaf_psc_exp", spec.neurons, params=neuron)
    pre, post, weight = fly_synapses(spec, what["seed"])
    first = cells[0].global_id
    delay = np.full(len(pre), p["delay"])
    nest.Connect(pre + first, post + first, "one_to_one", {"weight": weight.astype(float), "delay": delay})
    # A parrot for each train: a neuron may be drawn twice.
    drive, trains = (
        nest.Create("poisson_generator", params={"rate": p["drive_hz"]}),
        nest.Create("parrot_neuron", p["driven"]),
    )
    nest.Connect(drive, trains)
    kick = {"weight": np.full(p["driven"], 250 * p["w"]), "delay": np.full(p["driven"], spec.dt_ms)}
    nest.Connect(np.array(trains.tolist()), fly_driven(spec, what["seed"]) + first, "one_to_one", kick)
    circuit.finish(cells)
    circuit.synapses = len(pre)
    return circuit


if __name__ == "__main__":
    serve({each.__name__: each for each in (brunel, cuba, coba, hh, pd14, fly, stdp)}, STARTED)
