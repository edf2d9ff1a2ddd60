"""The circuits in Sparx, as it ships them: ``PYTHON_OF_SPARXML -m benchmarks.peers.in_sparx JSON``, see `service`."""

from __future__ import annotations

import json
import os
import sys

if __name__ == "__main__" and json.loads(sys.argv[1])["threads"] == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

from benchmarks.peers.service import Array, Circuit, Timer, serve

STARTED = Timer()

from typing import Any  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402
import sparx  # noqa: E402
from sparx import graph  # noqa: E402

from benchmarks.peers.specs import Spec  # noqa: E402

CHUNK_S = 0.1  # of a call, whose spikes are a mask of all neurons and steps


class InSparx(Circuit):
    """A network that is compiled once, and run in calls of 0.1 s."""

    def __init__(self, spec: Spec, net: Any, what: dict[str, Any]) -> None:
        self.version, self.spec, self.net = sparx.__version__, spec, net
        self.synapses = round(spec.total_synapses)
        self.variables = net.init(jax.random.key(what["seed"]), {}, steps=1)
        self.state = self.variables["state"]
        self.key = jax.random.key(what["seed"] + 1)
        self.names = dict(zip(spec.sizes, ("e", "i"), strict=True))
        monitors = {name: graph.SpikeRaster(own) for name, own in self.names.items()}
        self.chunk = round(min(CHUNK_S, spec.seconds) * 1e3 / spec.dt_ms)
        self.calls, self.found = 0, list[tuple[Array, Array]]()

        def run(state: Any, key: Any) -> Any:
            fixed = {name: each for name, each in self.variables.items() if name != "state"}
            found, updates = net.apply(
                {**fixed, "state": state}, {}, steps=self.chunk, monitors=monitors, rngs={"noise": key},
                mutable=["state"],
            )  # fmt: skip
            return found, updates["state"]

        self.run = jax.jit(run)

    def advance(self) -> None:
        """Run on and keep the spikes."""
        for _ in range(round(self.spec.seconds * 1e3 / self.spec.dt_ms) // self.chunk):
            masks, self.state = self.run(self.state, jax.random.fold_in(self.key, self.calls))
            for name, first in self.spec.first.items():
                step, neuron = np.nonzero(np.asarray(masks[name]))
                self.found.append((step + self.calls * self.chunk, neuron + first))
            self.calls += 1

    def spikes(self) -> tuple[Array, Array, float]:
        """Return the spikes so far."""
        step, neuron = (np.concatenate(columns) for columns in zip(*self.found, strict=True))
        return step, neuron, self.calls * self.chunk * self.spec.dt_ms * 1e-3


def brunel(spec: Spec, what: dict[str, Any]) -> Circuit:
    p = spec.values
    order = spec.sizes["I"]
    return InSparx(spec, graph.brunel(order, g=p["g"], eta=2.0, j=p["j"], delay=p["delay"]), what)


def cuba(spec: Spec, what: dict[str, Any]) -> Circuit:
    return InSparx(_full(spec), graph.cuba(), what)


def coba(spec: Spec, what: dict[str, Any]) -> Circuit:
    return InSparx(_full(spec), graph.coba(), what)


def _full(spec: Spec) -> Spec:
    if spec.neurons != 4000:
        raise SystemExit(f"Sparx ships {spec.name} with 4,000 neurons, not {spec.neurons}")
    return spec


if __name__ == "__main__":
    serve({each.__name__: each for each in (brunel, cuba, coba)}, STARTED)
