"""The circuits that every simulator runs, as numbers: ms, mV, pF, nS, pA, Hz. Only NumPy is imported.

Published examples are not used: some that come with simulators differ from the papers that they cite.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
DT_MS = 0.1


@dataclasses.dataclass(frozen=True)
class Spec:
    """A circuit to run.

    `seconds` is the length of a timed run, `after` what statistics leave out, `sizes` the neurons of each population,
    `values` what the paper gives, `synapses` the expected number by source population.
    """

    name: str
    source: str
    sizes: dict[str, int]
    seconds: float
    after: float
    values: dict[str, Any]
    synapses: dict[str, float]
    dt_ms: float = DT_MS

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return sum(self.sizes.values())

    @property
    def total_synapses(self) -> float:
        """Expected number of synapses."""
        return sum(self.synapses.values())

    @property
    def first(self) -> dict[str, int]:
        """Number of the first neuron of each population."""
        found, at = {}, 0
        for name, size in self.sizes.items():
            found[name] = at
            at += size
        return found


def brunel(quick: bool = False) -> Spec:
    """Model A of Brunel (2000), J Comput Neurosci 8:183: delta synapses, fixed in-degree, g = 5, eta = 2."""
    n_exc, n_inh = (1000, 250) if quick else (10_000, 2_500)
    c_exc, c_inh = n_exc // 10, n_inh // 10
    j = 0.1 * 1000 / c_exc  # the quick form keeps J C_E
    values = dict(
        tau_m=20.0, v_th=20.0, v_reset=10.0, t_ref=2.0, j=j, g=5.0, delay=1.5, c_exc=c_exc, c_inh=c_inh,
        drive_hz=2.0 * 20.0 / (j * 20.0e-3), v_low=0.0, v_high=20.0,
    )  # fmt: skip
    n = n_exc + n_inh
    return Spec(
        "brunel", "Brunel (2000), model A", dict(E=n_exc, I=n_inh), 0.2 if quick else 0.5, 0.1 if quick else 0.5,
        values, dict(E=float(c_exc * n), I=float(c_inh * n)),
    )  # fmt: skip


def stdp(quick: bool = False) -> Spec:
    """Brunel's network whose synapses between excitatory neurons follow spike times, all pairs, with soft bounds.

    Changes are proportional to the distance to the bounds 0 and 2 J (Guetig et al., 2003, mu = 1), so that weights stay
    around J and the rates are those of `brunel`.
    """
    static = brunel(quick)
    more = dict(w_max=2 * static.values["j"], rate=0.001, tau_plus=20.0, tau_minus=20.0)
    return dataclasses.replace(
        static, name="stdp", source="Brunel (2000), model A, with STDP", values={**static.values, **more}
    )


def _brette(name: str, quick: bool, seconds: float, after: float, values: dict[str, Any]) -> Spec:
    sizes = dict(E=640, I=160) if quick else dict(E=3200, I=800)
    n, p = sum(sizes.values()), 0.1 if quick else 0.02
    shared = dict(p=p, delay=0.1, c_m=200.0, g_l=10.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0, tau_exc=5.0, tau_inh=10.0)
    return Spec(
        name, "Brette et al. (2007)", sizes, 0.1 if quick else seconds, 0.05 if quick else after,
        {**shared, **values}, {k: p * size * n for k, size in sizes.items()},
    )  # fmt: skip


def cuba(quick: bool = False) -> Spec:
    """Benchmark 2 of Brette et al. (2007), J Comput Neurosci 23:349: exponential currents, no stimulus."""
    return _brette("cuba", quick, 2.0, 0.2, dict(e_l=-49.0, w_exc=16.2, w_inh=-90.0, v_low=-60.0, v_high=-50.0))


_COBA_START = dict(v_mean=-65.0, v_std=5.0, g_exc_mean=40.0, g_exc_std=15.0, g_inh_mean=200.0, g_inh_std=120.0)


def coba(quick: bool = False) -> Spec:
    """Benchmark 1 of Brette et al. (2007): conductances of 6 and 67 nS."""
    return _brette(
        "coba", quick, 1.0, 0.2, dict(e_l=-60.0, e_exc=0.0, e_inh=-80.0, w_exc=6.0, w_inh=67.0, **_COBA_START)
    )


def hh(quick: bool = False) -> Spec:
    """Benchmark 3 of Brette et al. (2007): Traub-Miles channels, synapses as in benchmark 1."""
    values = dict(
        e_l=-60.0, e_exc=0.0, e_inh=-80.0, w_exc=6.0, w_inh=67.0, g_na=20_000.0, g_k=6_000.0, e_na=50.0, e_k=-90.0,
        v_t=-63.0, **_COBA_START,
    )  # fmt: skip
    return _brette("hh", quick, 0.5, 0.2, values)


def izhikevich(quick: bool = False) -> Spec:
    """Izhikevich (2003), IEEE TNN 14:1569: 1,000 neurons, all to all, steps of 1 ms."""
    sizes = dict(E=800, I=200)
    n = sum(sizes.values())
    values = dict(w_exc=0.5, w_inh=-1.0, noise_exc=5.0, noise_inh=2.0)
    return Spec(
        "izhikevich", "Izhikevich (2003)", sizes, 0.5 if quick else 3.0, 0.1 if quick else 0.5, values,
        {k: float(size * n) for k, size in sizes.items()}, dt_ms=1.0,
    )  # fmt: skip


PD_SIZES = dict(L23E=20683, L23I=5834, L4E=21915, L4I=5479, L5E=4850, L5I=1065, L6E=14395, L6I=2948)
PD_PROBABILITIES = (  # of a target (row) by a source (column)
    (0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0, 0.0076, 0.0),
    (0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0, 0.0042, 0.0),
    (0.0077, 0.0059, 0.0497, 0.135, 0.0067, 0.0003, 0.0453, 0.0),
    (0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0, 0.1057, 0.0),
    (0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0),
    (0.0548, 0.0269, 0.0257, 0.0022, 0.06, 0.3158, 0.0086, 0.0),
    (0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252),
    (0.0364, 0.001, 0.0034, 0.0005, 0.0277, 0.008, 0.0658, 0.1443),
)
PD_RATES = dict(L23E=0.943, L23I=3.026, L4E=4.368, L4I=5.882, L5E=7.733, L5I=8.664, L6E=1.096, L6I=7.851)
PD_START = dict(
    L23E=(-68.28, 5.36), L23I=(-63.16, 4.57), L4E=(-63.33, 4.74), L4I=(-63.45, 4.94), L5E=(-63.11, 4.94),
    L5I=(-61.66, 4.55), L6E=(-66.72, 5.46), L6I=(-61.43, 4.48),
)  # fmt: skip
PD_DRIVE = dict(L23E=1600, L23I=1500, L4E=2100, L4I=1900, L5E=2000, L5I=1900, L6E=2900, L6I=2100)


def pd14(quick: bool = False, scale: float | None = None) -> Spec:
    """Potjans & Diesmann (2014), Cereb Cortex 24:785, with `scale` of its neurons and all of their inputs.

    The number of synapses of a pair of populations is ``scale`` times the published one, so that a neuron keeps its
    in-degree.
    """
    scale = scale if scale is not None else 0.02 if quick else 0.1
    sizes = {name: round(scale * size) for name, size in PD_SIZES.items()}
    numbers: dict[str, dict[str, int]] = {name: {} for name in sizes}
    for target, row in zip(PD_SIZES, PD_PROBABILITIES, strict=True):
        for source, p in zip(PD_SIZES, row, strict=True):
            pairs = PD_SIZES[source] * PD_SIZES[target]
            if p:
                numbers[source][target] = round(scale * math.log(1.0 - p) / math.log1p(-1.0 / pairs))
    values = dict(
        scale=scale, tau_m=10.0, tau_syn=0.5, c_m=250.0, e_l=-65.0, v_th=-50.0, v_reset=-65.0, t_ref=2.0, w=87.8,
        w_std=0.1, w_l4e_l23e=2.0, g=-4.0, delay_exc=(1.5, 0.75), delay_inh=(0.75, 0.375), bg_hz=8.0, numbers=numbers,
    )  # fmt: skip
    return Spec(
        "pd14", "Potjans & Diesmann (2014)", sizes, 0.05 if quick else 0.3, 0.05 if quick else 0.2, values,
        {name: float(sum(each.values())) for name, each in numbers.items()},
    )  # fmt: skip


def fly(quick: bool = False) -> Spec:
    """Size of a whole fly brain, with constants of Shiu et al. (2024), doi:10.1038/s41586-024-07763-9.

    The connectome is not part of this repository. Degrees are lognormal at both ends, and so are the weights; see
    `fly_synapses`.
    """
    scale = 0.02 if quick else 1.0
    n = round(scale * 138_639)
    number = round(scale * 15_000_000)
    sizes = dict(E=6 * n // 10, I=n - 6 * n // 10)
    values = dict(
        scale=scale, tau_m=20.0, tau_syn=5.0, c_m=200.0, e_l=-52.0, v_th=-45.0, v_reset=-52.0, t_ref=2.2, delay=1.8,
        drive_hz=150.0, driven=20 if quick else 100, w=2.75, contacts=2.0, most=100.0, spread=1.0, number=number,
    )  # fmt: skip
    return Spec(
        "fly", "size of FlyWire, Shiu et al. (2024)", sizes, 0.2 if quick else 0.3, 0.1 if quick else 0.2, values,
        {name: number * size / n for name, size in sizes.items()},
    )  # fmt: skip


def fly_synapses(spec: Spec, seed: int) -> tuple[Array, Array, Array]:
    """Return source, target (int32) and weight in pA (float32) of each synapse, sorted by source.

    A neuron is drawn with a lognormal weight of its own at either end; the contacts of a synapse are lognormal.
    """
    p, rng = spec.values, np.random.default_rng(seed)
    ends = []
    for _ in range(2):
        shares = np.cumsum(rng.lognormal(0.0, p["spread"], spec.neurons))
        ends.append(np.searchsorted(shares / shares[-1], rng.random(p["number"])).astype(np.int32))
    pre, post = np.sort(ends[0]), ends[1]
    contacts = rng.lognormal(np.log(p["contacts"]), p["spread"], p["number"]).clip(max=p["most"])
    return pre, post, (p["w"] * contacts * np.where(pre < spec.sizes["E"], 1.0, -1.0)).astype(np.float32)


def fly_driven(spec: Spec, seed: int) -> Array:
    """Return the neurons that have a Poisson train."""
    return np.random.default_rng([seed, 1]).integers(0, spec.sizes["E"], spec.values["driven"])


SPECS = {each.__name__: each for each in (brunel, cuba, coba, hh, izhikevich, pd14, fly, stdp)}


def spec(name: str, quick: bool, scale: float | None = None) -> Spec:
    """Return a circuit by name; `scale` is for pd14."""
    return pd14(quick, scale) if name == "pd14" else SPECS[name](quick)
