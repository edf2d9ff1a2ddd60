"""Small random networks as Lava graphs, and their spikes by a plain float64 simulation in the network's own terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.hardware.lava.description import (
    BiasCurrent,
    ConvProcess,
    DenseProcess,
    LavaGraph,
    PopulationProcess,
    SourceProcess,
)
from neurosim.hardware.lava.exchange import Request

STEPS, SAMPLES = 40, 2


@dataclass(frozen=True)
class Case:
    """A graph, its input in Lava's layout, and the expected spikes [T, B, *Lava shape] of each population."""

    graph: LavaGraph
    request: Request
    expected: dict[str, np.ndarray]


class Neurons:
    """``j = a_syn j + i; v = a_mem v + j + drive``; hard reset to 0 above the threshold."""

    def __init__(
        self, shape: tuple[int, ...], a_syn: float, a_mem: np.ndarray | float, v_th: np.ndarray | float
    ) -> None:
        self.a_syn, self.a_mem, self.v_th = a_syn, a_mem, v_th
        self.j, self.v, self.z = np.zeros(shape), np.zeros(shape), np.zeros(shape)

    def step(self, current: np.ndarray, drive: np.ndarray | float = 0.0) -> np.ndarray:
        self.j = self.a_syn * self.j + current
        self.v = self.a_mem * self.v + self.j + drive
        self.z = (self.v > self.v_th).astype(float)
        self.v = np.where(self.z > 0, 0.0, self.v)
        return self.z


def correlate(
    x: np.ndarray,
    w: np.ndarray,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> np.ndarray:
    """Cross-correlate [C, H, W] with [Co, C/groups, kh, kw], sum by sum, as a convolutional layer is defined."""
    channels, height, width = x.shape
    c_out, per_group, kh, kw = w.shape
    padded = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2))
    h = (height + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    v = (width + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    out = np.zeros((c_out, h, v))
    for o in range(c_out):
        first = o // (c_out // groups) * per_group
        for c in range(per_group):
            for p in range(kh):
                for q in range(kw):
                    rows = padded[first + c, p * dilation[0] :, q * dilation[1] :]
                    out[o] += (
                        w[o, c, p, q]
                        * rows[: (h - 1) * stride[0] + 1 : stride[0], : (v - 1) * stride[1] + 1 : stride[1]]
                    )
    assert channels == per_group * groups
    return out


def for_lava(kernel: np.ndarray) -> np.ndarray:
    """Turn a cross-correlation kernel [Co, Ci, kh, kw] into a convolution kernel [Co, kw, kh, Ci]."""
    return np.ascontiguousarray(kernel[:, :, ::-1, ::-1].transpose(0, 3, 2, 1))


def dense_case(seed: int = 0) -> Case:
    """LIF with a time constant for each neuron, a loop and a bias; CubaLIF with a bias; a skip connection."""
    rng = np.random.default_rng(seed)
    x = rng.random((STEPS, SAMPLES, 12))  # graded
    a_mem, v_th = np.exp(-1 / rng.uniform(5, 20, 40)), rng.uniform(0.3, 0.9, 40)
    w1, loop, skip = rng.normal(0, 0.2, (40, 12)), rng.normal(0, 0.1, (40, 40)), rng.normal(0, 0.1, (30, 12))
    w2, bias, drive = rng.normal(0, 0.2, (30, 40)), rng.normal(0, 0.1, 30), rng.uniform(0, 0.05, 40)
    expected = {"lif": np.zeros((STEPS, SAMPLES, 40)), "cuba": np.zeros((STEPS, SAMPLES, 30))}
    for b in range(SAMPLES):
        lif, cuba = Neurons((40,), 0.0, a_mem, v_th), Neurons((30,), 0.8, 0.9, 1.0)
        for t in range(STEPS):
            expected["lif"][t, b] = lif.step(w1 @ x[t, b] + loop @ lif.z, drive)
            expected["cuba"][t, b] = cuba.step(w2 @ lif.z + skip @ x[t, b] + bias)
    one = np.array(1.0)
    graph = LavaGraph(
        sources=(SourceProcess("input", (12,)),),
        populations=(
            lif_population("lif", (40,), 1, one, 1 - a_mem, v_th, bias_mant=drive, v=-drive / a_mem),
            lif_population("cuba", (30,), 2, np.array(1 - 0.8), np.array(1 - 0.9), one),
        ),
        dense=(
            DenseProcess("input->lif", "input", "lif", w1),
            DenseProcess("lif->lif", "lif", "lif", loop),
            DenseProcess("lif->cuba", "lif", "cuba", w2),
            DenseProcess("input->cuba", "input", "cuba", skip, delay=np.array(1)),
        ),
        bias_currents=(BiasCurrent("cuba", bias),),
    )
    return Case(graph, Request({"input": x}, ("lif", "cuba")), expected)


def conv_case(seed: int = 0) -> Case:
    """Two convolutions, one in groups; stride, padding and dilation differ by axis; then all-to-all."""
    rng = np.random.default_rng(seed)
    x = (rng.random((STEPS, SAMPLES, 2, 9, 8)) < 0.3).astype(float)  # spikes
    k1, first = rng.normal(0.1, 0.5, (4, 1, 3, 2)), ((2, 1), (1, 2), (1, 2), 2)
    k2, second = rng.normal(0.1, 0.5, (3, 4, 2, 3)), ((1, 2), (0, 1), (2, 1), 1)
    shape = correlate(x[0, 0], k1, *first).shape
    flat = correlate(np.zeros(shape), k2, *second).size
    w, bias = rng.normal(0.0, 0.4, (20, flat)), np.broadcast_to(rng.normal(0, 0.2, 4)[:, None, None], shape)
    populations = {"images": (*shape,), "flat": (flat,), "out": (20,)}
    expected = {name: np.zeros((STEPS, SAMPLES, *s)) for name, s in populations.items()}
    for b in range(SAMPLES):
        images, vector = Neurons(shape, 0.5, 0.9, 1.0), Neurons((flat,), 0.0, 0.95, 1.0)
        out = Neurons((20,), 0.0, 1.0, 1.0)
        for t in range(STEPS):
            expected["images"][t, b] = images.step(correlate(x[t, b], k1, *first) + bias)
            expected["flat"][t, b] = vector.step(correlate(images.z, k2, *second).reshape(-1))
            expected["out"][t, b] = out.step(w @ vector.z)
    expected["images"] = expected["images"].transpose(0, 1, 4, 3, 2)
    one, none = np.array(1.0), np.array(0.0)
    graph = LavaGraph(
        sources=(SourceProcess("input", (8, 9, 2)),),
        populations=(
            lif_population("images", shape[::-1], 1, np.array(0.5), np.array(1 - 0.9), one),
            lif_population("flat", (flat,), 2, one, np.array(1 - 0.95), one),
            lif_population("out", (20,), 3, one, none, one),
        ),
        conv=(conv("input", "images", k1, *first), conv("images", "flat", k2, *second)),
        dense=(DenseProcess("flat->out", "flat", "out", w),),
        bias_currents=(BiasCurrent("images", bias.transpose(2, 1, 0).reshape(-1)),),
    )
    return Case(graph, Request({"input": x.transpose(0, 1, 4, 3, 2)}, ("images", "flat", "out")), expected)


def lif_population(
    name: str, shape: tuple[int, ...], latency: int, du: np.ndarray, dv: np.ndarray, vth: np.ndarray, **more: np.ndarray
) -> PopulationProcess:
    """Describe a population of Lava's ``LIF``."""
    return PopulationProcess(name, shape, latency, "LIF", {"du": du, "dv": dv, "vth": vth, **more})


def conv(
    source: str,
    target: str,
    kernel: np.ndarray,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> ConvProcess:
    """Describe a cross-correlation given with (height, width) pairs."""
    h, v, d = stride[::-1], padding[::-1], dilation[::-1]
    return ConvProcess(f"{source}->{target}", source, target, for_lava(kernel), h, v, d, groups)


CASES = {"dense": dense_case, "conv": conv_case}
