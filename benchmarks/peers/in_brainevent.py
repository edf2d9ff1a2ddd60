"""A circuit of brainevent's event-driven products: ``PYTHON_OF_BRAINEVENT -m benchmarks.peers.in_brainevent JSON``.

brainevent has sparse products with spikes and no neurons: the membranes are written here in JAX, with the exact
propagators of the equations. See `service`.
"""

from __future__ import annotations

import json
import os
import sys

if __name__ == "__main__" and json.loads(sys.argv[1])["threads"] == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

from benchmarks.peers.service import Array, Circuit, Timer, serve

STARTED = Timer()

import math  # noqa: E402
from typing import Any  # noqa: E402

import brainevent  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.peers.specs import Spec  # noqa: E402
from benchmarks.peers.wiring import pairwise, uniform  # noqa: E402

CHUNK_S = 0.1  # of a call, whose spikes are a mask of all neurons and steps


class Cuba(Circuit):
    """CUBA: one row-sparse matrix for each population, a scan over the steps of 0.1 s compiled once."""

    def __init__(self, spec: Spec, what: dict[str, Any]) -> None:
        p, dt, n, seed = spec.values, spec.dt_ms, spec.neurons, what["seed"]
        self.version, self.spec = brainevent.__version__, spec
        matrices, self.synapses = [], 0
        for k, (size, weight) in enumerate(zip(spec.sizes.values(), (p["w_exc"], p["w_inh"]), strict=True)):
            pre, post = pairwise(size, n, p["p"], 2 * seed + k)
            starts = np.concatenate([[0], np.cumsum(np.bincount(pre, minlength=size))])
            rows = jnp.float32(weight), jnp.asarray(post, jnp.int32), jnp.asarray(starts, jnp.int32)
            matrices.append(brainevent.CSR(rows, shape=(size, n)))
            self.synapses += len(post)
        tau_m, n_exc, wait_steps = p["c_m"] / p["g_l"], spec.sizes["E"], round(p["t_ref"] / dt)
        decay_m = math.exp(-dt / tau_m)
        kinds = []
        for tau in (p["tau_exc"], p["tau_inh"]):
            decay = math.exp(-dt / tau)
            kinds.append((decay, tau * tau_m / (tau - tau_m) * (decay - decay_m) / p["c_m"]))

        def step(carry: Any, _: None) -> Any:
            v, i_exc, i_inh, wait, z = carry
            rest = p["e_l"] + (v - p["e_l"]) * decay_m + kinds[0][1] * i_exc + kinds[1][1] * i_inh
            v = jnp.where(wait > 0, v, rest)
            i_exc = kinds[0][0] * i_exc + brainevent.BinaryArray(z[:n_exc]) @ matrices[0]
            i_inh = kinds[1][0] * i_inh + brainevent.BinaryArray(z[n_exc:]) @ matrices[1]
            z = v > p["v_th"]
            wait = jnp.where(z, wait_steps, jnp.maximum(wait - 1, 0))
            return (jnp.where(z, p["v_reset"], v), i_exc, i_inh, wait, z), z

        self.chunk = round(min(CHUNK_S, spec.seconds) * 1e3 / dt)
        self.run = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=self.chunk))
        start = jnp.asarray(uniform(n, p["v_low"], p["v_high"], seed), jnp.float32)
        zeros = jnp.zeros(n, jnp.float32)
        self.carry = start, zeros, zeros, jnp.zeros(n, jnp.int32), jnp.zeros(n, bool)
        self.calls, self.found = 0, list[tuple[Array, Array]]()

    def advance(self) -> None:
        """Run on and keep the spikes."""
        for _ in range(round(self.spec.seconds * 1e3 / self.spec.dt_ms) // self.chunk):
            self.carry, mask = self.run(self.carry)
            step, neuron = np.nonzero(np.asarray(mask))
            self.found.append((step + self.calls * self.chunk, neuron))
            self.calls += 1

    def spikes(self) -> tuple[Array, Array, float]:
        """Return the spikes so far."""
        step, neuron = (np.concatenate(columns) for columns in zip(*self.found, strict=True))
        return step, neuron, self.calls * self.chunk * self.spec.dt_ms * 1e-3


if __name__ == "__main__":
    serve({"cuba": Cuba}, STARTED)
