"""The NIR equations as published (Pedersen et al. 2024, doi:10.1038/s41467-024-52259-9), stepped by forward Euler.

Written apart from neurosim, in plain numpy over the nodes of a `nir.NIRGraph`: what any reader of a file should get.
A neuron sees what others sent in this step if they come before it on the way from the input, else in the step before.
The synaptic current is updated before the membrane. Everything starts at 0.
"""

from __future__ import annotations

import itertools

import numpy as np

NEURONS = {"I", "IF", "LI", "LIF", "CubaLI", "CubaLIF", "Threshold"}


class Interpreter:
    """One graph without graphs inside, run on one sample."""

    def __init__(self, graph, dt: float) -> None:
        self.nodes, self.dt = graph.nodes, dt
        self.before = {name: [a for a, b in graph.edges if b == name] for name in self.nodes}
        self.after = {name: [b for a, b in graph.edges if a == name] for name in self.nodes}
        self.order = self._order()

    def kind(self, name: str) -> str:
        return type(self.nodes[name]).__name__

    def _order(self) -> list[str]:
        """Depth first from the inputs; what closes a cycle is seen late."""
        done: list[str] = []
        standing: set[str] = set()

        def visit(name: str) -> None:
            if name in standing or name in done:
                return
            standing.add(name)
            for after in self.after[name]:
                visit(after)
            standing.discard(name)
            done.append(name)

        for name in self.nodes:
            if self.kind(name) == "Input":
                visit(name)
        return [name for name in reversed(done) if self.kind(name) in NEURONS]

    def run(self, x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what each neuron and output node sends [T, ...] for inputs [T, ...]."""
        steps = len(next(iter(x.values())))
        self.state: dict[str, dict[str, np.ndarray]] = {name: {} for name in self.nodes}
        self.sent: dict[str, np.ndarray | float] = dict.fromkeys(self.order, 0.0)
        self.line: dict[str, list[np.ndarray]] = {n: [] for n in self.nodes if self.kind(n) == "Delay"}
        outputs = {n: [] for n in self.nodes if self.kind(n) == "Output"}
        spikes = {name: [] for name in self.order}
        for t in range(steps):
            self.now, self.t = {name: data[t] for name, data in x.items()}, t
            for name in self.order:
                self.sent[name] = self._neuron(name, self._arriving(name))
                spikes[name].append(self.sent[name])
            for name in outputs:
                outputs[name].append(self._arriving(name))
            for name in self.line:
                self.line[name].append(self._arriving(name))
        return {name: np.array(values) for name, values in {**spikes, **outputs}.items()}

    def _arriving(self, name: str) -> np.ndarray:
        total: np.ndarray = np.zeros(())
        for before in self.before[name]:
            total = np.add(total, self._value(before))
        return total

    def _value(self, name: str) -> np.ndarray:
        node, kind = self.nodes[name], self.kind(name)
        if kind == "Input":
            return self.now[name]
        if kind in NEURONS:
            sent = self.sent[name]
            if np.ndim(sent) == 0 and node.output_type:
                return np.zeros(tuple(node.output_type["output"]))
            return np.asarray(sent)
        if kind == "Delay":
            steps = np.rint(np.asarray(node.delay) / self.dt).astype(int)
            now = self._arriving(name) if np.any(steps == 0) else np.zeros(steps.shape)
            out = np.zeros(steps.shape)
            for d in np.unique(steps):
                at = self.t - d
                value = now if d == 0 else self.line[name][at] if at >= 0 else np.zeros(steps.shape)
                out[steps == d] = np.broadcast_to(value, steps.shape)[steps == d]
            return out
        return self._map(node, kind, self._arriving(name))

    def _map(self, node, kind: str, x: np.ndarray) -> np.ndarray:
        if kind in ("Linear", "Affine"):
            return node.weight @ x + getattr(node, "bias", 0.0)
        if kind == "Scale":
            return node.scale * x
        if kind == "Flatten":
            return np.asarray(x).reshape(-1)
        if kind in ("SumPool2d", "AvgPool2d"):
            (kh, kw), (sh, sw) = node.kernel_size, node.stride
            height, width = (x.shape[1] - kh) // sh + 1, (x.shape[2] - kw) // sw + 1
            out = np.zeros((x.shape[0], height, width))
            for i, j in itertools.product(range(height), range(width)):
                out[:, i, j] = x[:, i * sh : i * sh + kh, j * sw : j * sw + kw].sum((1, 2))
            return out / (kh * kw) if kind == "AvgPool2d" else out
        assert kind in ("Conv1d", "Conv2d"), kind
        one = kind == "Conv1d"
        weight = node.weight[:, :, None] if one else node.weight
        x = x[:, None] if one else x
        stride, padding, dilation = (
            (0 if field == "padding" else 1, value) if one else tuple(value)
            for field, value in (("stride", node.stride), ("padding", node.padding), ("dilation", node.dilation))
        )
        out = _correlate(x, weight, stride, padding, dilation, int(node.groups)) + node.bias[:, None, None]
        return out[:, 0] if one else out

    def _neuron(self, name: str, s: np.ndarray) -> np.ndarray:
        node, kind, state, dt = self.nodes[name], self.kind(name), self.state[name], self.dt
        if kind == "Threshold":
            return (s > node.threshold) * 1.0
        v = state.get("v", np.zeros(np.shape(node.r)))
        if kind in ("I", "IF"):
            v = v + dt * node.r * s
        else:
            drive = s
            if kind.startswith("Cuba"):
                i = state.get("i", np.zeros(np.shape(node.r)))
                drive = state["i"] = i + dt / node.tau_syn * (-i + node.w_in * s)
            tau = node.tau_mem if kind.startswith("Cuba") else node.tau
            v = v + dt / tau * ((node.v_leak - v) + node.r * drive)
        state["v"] = v
        if not hasattr(node, "v_threshold"):
            return v
        z = v > node.v_threshold
        state["v"] = np.where(z, node.v_reset, v)
        return z * 1.0


def _correlate(x, weight, stride, padding, dilation, groups):
    padded = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2))
    (outs, ins, kh, kw), (sh, sw), (dh, dw) = weight.shape, stride, dilation
    height = (padded.shape[1] - dh * (kh - 1) - 1) // sh + 1
    width = (padded.shape[2] - dw * (kw - 1) - 1) // sw + 1
    out = np.zeros((outs, height, width))
    each = outs // groups
    for o, i, j in itertools.product(range(outs), range(height), range(width)):
        first = (o // each) * ins
        window = padded[first : first + ins, i * sh : i * sh + dh * kh : dh, j * sw : j * sw + dw * kw : dw]
        out[o, i, j] = (window[:, :kh, :kw] * weight[o]).sum()
    return out
