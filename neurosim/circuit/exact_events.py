"""Spikes of current-based LIF neurons at their exact times, without a time grid, and exact gradients (EventProp)."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.recording.events import Events

Array = np.ndarray[Any, np.dtype[Any]]
LIMIT = 100_000  # events of a run, so that a network that explodes ends with a message


def exact_events(
    weight: Tensor,
    times: Tensor,
    sources: Tensor,
    *,
    tau_mem: float,
    tau_syn: float,
    duration: float,
    delay: Tensor | None = None,
    threshold: float | Sequence[float] = 1.0,
    samples: Sequence[float] = (),
) -> tuple[Events, Tensor]:
    r"""Run current-based LIF neurons from spike to spike, each spike time solved to rounding.

    .. math:: \tau_m \dot V = -V + I, \quad \tau_s \dot I = -I; \qquad
              \text{a spike of i: } I_j \leftarrow I_j + w_{ji}; \qquad
              V_j = \vartheta: \text{ spike, } V_j \leftarrow 0

    The gradients are those of the events themselves, by the adjoint system of EventProp, with nothing put in place of
    a derivative. With :math:`\mu` the derivative of the loss by a state, going back in time: it flows as the transposed
    system, and at spike k of neuron n

    .. math:: \mu_{V,n} \leftarrow \mu_{V,n} + \frac{\vartheta \mu_{V,n} - \tau_m S_k}{I_n - \vartheta}, \quad
              S_k = \frac{\partial l}{\partial t_k}
              + \sum_j w_{jn} \left(\frac{\mu_{I,j}}{\tau_s} - \frac{\mu_{V,j}}{\tau_m}\right)

    the sum taken when each spike arrives; :math:`\partial L / \partial w_{ji} = \sum \mu_{I,j}` over arrivals, and the
    bracket times the weight is the gradient of a delay or of an input's time. The published :math:`\lambda` are
    :math:`\lambda_V = -\mu_V / \tau_m` and :math:`\lambda_I = -\mu_I / \tau_s`. A spike that appears or vanishes has
    no gradient: a silent neuron gets none.

    Written plainly for few neurons: it defines what the rule `EventProp` approaches on a grid.

    Parameters
    ----------
    weight : Tensor [N, n_in + N], float64
        Synapses from the inputs and then from the neurons themselves; 0 is no synapse.
    times : Tensor [E], s
        When inputs fire, from 0 up.
    sources : Tensor [E] of int64
        Which.
    tau_mem, tau_syn : float
        Time constants, s; not equal.
    duration : float
        Length of the run, s.
    delay : Tensor [N, n_in + N], optional
        From spike to arrival, s; none if left out.
    threshold : float or one for each neuron
        Above 0; infinite for neurons that are only read.
    samples : sequence of float
        When to read the membranes, s.

    Returns
    -------
    spikes : Events
        Spikes of the neurons at real times; `time` is differentiable.
    voltages : Tensor [M, N]
        Membranes at the sampling times; differentiable.

    Raises
    ------
    ShapeError, InputError, UnitError
        When shapes or numbers do not fit, or the run has more than 100,000 events.

    References
    ----------
    Wunderlich and Pehle, "Event-based backpropagation can compute exact gradients for spiking neural networks",
    Scientific Reports 11, 2021, doi:10.1038/s41598-021-91786-z.
    """
    neurons, columns = weight.shape
    for name, tau in (("tau_mem", tau_mem), ("tau_syn", tau_syn)):
        if not (0 < tau < 1):
            raise UnitError(f"exact_events: {name} must be in (0, 1) s; got {tau!r}. Did you pass milliseconds?")
    if math.isclose(tau_mem, tau_syn, rel_tol=1e-6):
        raise InputError(f"exact_events: tau_mem and tau_syn are both {tau_mem:g} s; they must differ.")
    if columns < neurons:
        raise ShapeError(f"exact_events: weight must be [N, n_in + N]; got {list(weight.shape)}.")
    delay = torch.zeros_like(weight) if delay is None else delay
    if delay.shape != weight.shape:
        raise ShapeError(f"exact_events: delay must be {list(weight.shape)} as weight; got {list(delay.shape)}.")
    if times.shape != sources.shape or times.dim() != 1:
        raise ShapeError(f"exact_events: times and sources must be [E]; got {[*times.shape]} and {[*sources.shape]}.")
    if any(t.dtype != torch.float64 for t in (weight, times, delay)):
        raise InputError("exact_events: weight, times and delay must be float64.")
    if (delay < 0).any() or (times < 0).any():
        raise InputError("exact_events: delays and times must not be negative.")
    inputs = columns - neurons
    if len(sources) and not (int(sources.min()) >= 0 and int(sources.max()) < inputs):
        raise InputError(f"exact_events: sources must be inputs 0 to {inputs - 1}.")
    heights = np.broadcast_to(np.asarray(threshold, dtype=float), (neurons,))
    if not (heights > 0).all():
        raise InputError(f"exact_events: threshold must be above 0; got {threshold!r}.")
    system = _System(tau_mem, tau_syn, float(duration), heights, sources.numpy(), tuple(map(float, samples)))
    fired, which, voltages = _Run.apply(weight, times, delay, system)
    return Events(time=fired, neuron=which, shape=neurons, duration=system.duration), voltages


@dataclasses.dataclass(frozen=True, eq=False)
class _System:
    tau_mem: float
    tau_syn: float
    duration: float
    threshold: Array
    sources: Array
    samples: tuple[float, ...]

    def flow(self, v: Array, i: Array, s: float) -> tuple[Array, Array]:
        """Return membranes and currents `s` later."""
        slow, fast = math.exp(-s / self.tau_mem), math.exp(-s / self.tau_syn)
        return v * slow + self.gain * i * (slow - fast), i * fast

    @property
    def gain(self) -> float:
        return self.tau_syn / (self.tau_mem - self.tau_syn)

    def crossing(self, v: Array, i: Array) -> tuple[float, int]:
        """Return how long until the first neuron fires, infinite if none will, and which it is."""
        p, q = v + self.gain * i, self.gain * i
        with np.errstate(all="ignore"):
            ratio = np.log(q * self.tau_mem / (p * self.tau_syn))
            top = ratio / (1 / self.tau_syn - 1 / self.tau_mem)
        top = np.where(np.isfinite(top) & (top > 0) & (i > v), top, 0.0)

        peak = p * np.exp(-top / self.tau_mem) - q * np.exp(-top / self.tau_syn)
        will = np.flatnonzero((peak >= self.threshold) & (top > 0) & np.isfinite(self.threshold))
        waits = [(self._wait(float(p[n]), float(q[n]), float(self.threshold[n]), float(top[n])), int(n)) for n in will]
        return min(waits, default=(math.inf, -1))

    def _wait(self, p: float, q: float, threshold: float, top: float) -> float:
        """Return when ``p exp(-s/tau_m) - q exp(-s/tau_s)``, which rises up to `top`, meets the threshold."""
        low, high = 0.0, top
        for _ in range(100):
            middle = (low + high) / 2
            if middle in (low, high):
                break
            if p * math.exp(-middle / self.tau_mem) - q * math.exp(-middle / self.tau_syn) >= threshold:
                high = middle
            else:
                low = middle
        return high


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, times: Tensor, delay: Tensor, system: _System) -> tuple[Tensor, ...]:
        w, d = weight.numpy(), delay.numpy()
        neurons, inputs = w.shape[0], w.shape[1] - w.shape[0]
        v, i, now = np.zeros(neurons), np.zeros(neurons), 0.0
        queue: list[tuple[float, int, int, int, int]] = []  # when, number, event it comes from, column, neuron

        def send(t: float, event: int, column: int) -> None:
            for j in np.flatnonzero(w[:, column]):
                heapq.heappush(queue, (t + d[j, column], len(tape) + len(queue), event, column, int(j)))

        # Each entry: how long after the one before, kind, and what the way back needs.
        tape: list[tuple[float, str, tuple[Any, ...]]] = []
        for event, (t, source) in enumerate(zip(times.tolist(), system.sources.tolist(), strict=True)):
            send(t, event, source)
        fired: list[float] = []
        which: list[int] = []
        voltages = np.zeros((len(system.samples), neurons))
        reading = sorted(range(len(system.samples)), key=system.samples.__getitem__)
        while True:
            wait, neuron = system.crossing(v, i)
            arrives = queue[0][0] if queue else math.inf
            read = system.samples[reading[0]] if reading else math.inf
            then = min(now + wait, arrives, read)
            if then > system.duration:
                break
            if len(tape) > LIMIT:
                raise InputError(f"exact_events: more than {LIMIT} events by {now:g} s. Lower weights or duration.")
            passed = then - now
            v, i = system.flow(v, i, passed)
            now = then
            if then == arrives:
                _, _, event, column, j = heapq.heappop(queue)
                i[j] += w[j, column]
                tape.append((passed, "arrival", (event, column, j)))
            elif then == read:
                voltages[reading[0]] = v
                tape.append((passed, "sample", (reading.pop(0),)))
            else:
                tape.append((passed, "spike", (len(fired), neuron, i[neuron])))
                v[neuron] = 0.0
                send(now, len(times) + len(fired), inputs + neuron)
                fired.append(now)
                which.append(neuron)
        ctx.save_for_backward(weight)
        ctx.tape, ctx.system, ctx.entered = tape, system, len(times)
        neuron_of = torch.tensor(which, dtype=torch.int64)
        ctx.mark_non_differentiable(neuron_of)
        return torch.tensor(fired, dtype=torch.float64), neuron_of, torch.from_numpy(voltages)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_times: Tensor, _: Tensor, g_voltages: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        w, system = weight.numpy(), ctx.system
        mu_v, mu_i = np.zeros(len(w)), np.zeros(len(w))
        g_w, g_d = np.zeros_like(w), np.zeros_like(w)
        # What a later time of each event is worth: inputs first, then spikes.
        worth = np.concatenate((np.zeros(ctx.entered), g_times.numpy()))
        for passed, kind, held in reversed(ctx.tape):
            if kind == "arrival":
                event, column, j = held
                later = w[j, column] * (mu_i[j] / system.tau_syn - mu_v[j] / system.tau_mem)
                g_w[j, column] += mu_i[j]
                g_d[j, column] += later
                worth[event] += later
            elif kind == "sample":
                mu_v = mu_v + g_voltages[held[0]].numpy()
            else:
                spike, n, current = held
                height = system.threshold[n]
                jump = height * mu_v[n] - system.tau_mem * worth[ctx.entered + spike]
                mu_v[n] += jump / (current - height)
            slow, fast = math.exp(-passed / system.tau_mem), math.exp(-passed / system.tau_syn)
            mu_v, mu_i = mu_v * slow, mu_i * fast + system.gain * (slow - fast) * mu_v
        return torch.from_numpy(g_w), torch.from_numpy(worth[: ctx.entered]), torch.from_numpy(g_d), None
