"""The tasks of a circuit in plain NumPy, one at a time: what each adds to its accumulator in a step.

The reference of the neurons is that of `kernels.neurons`; that of a run is a call of the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from neurosim.kernels.circuit.plastic import LONG_AGO, PairRule
from neurosim.kernels.circuit.tasks import MAGNITUDE, PAD, Delivery, PoissonInput, Sample
from neurosim.kernels.common.philox import philox


def deliver(task: Delivery, step: int) -> None:
    """Add the weights of the spikes that arrive in a step: the longest delay first, then in order of the source."""
    total, delays = task.total.numpy(), task.delays.tolist()
    for number, delay in reversed(list(enumerate(delays))):
        row = task.log.history + step - delay
        for ids, ends in zip(task.log.ids, task.log.ends, strict=True):
            for source in ids[ends[row] : ends[row + 1]].tolist():
                _deliver_row(task, total, source, source * len(delays) + number)


def _deliver_row(task: Delivery, total: np.ndarray, source: int, group: int) -> None:
    if task.kind == "bits":
        first, last = PAD * int(task.first), PAD * int(task.last)
        bits = np.unpackbits(task.post[source].numpy().view(np.uint8), bitorder="little")
        total[first:last] += bits[first:last].astype(np.int32) * np.int32(task.weight)
        return
    begin, end = int(task.first[group]), int(task.last[group])
    words = task.post.numpy()[begin:end].view(np.uint32 if task.post.itemsize == 4 else np.uint16).astype(np.int64)
    weights = task.weight[begin:end].numpy() if isinstance(task.weight, Tensor) else np.int64(task.weight)
    if task.kind == "packed":
        words, weights = words >> MAGNITUDE, weights * (words & ((1 << MAGNITUDE) - 1))
    np.add.at(total, words, np.asarray(weights, total.dtype))


def poisson(task: PoissonInput, step: int) -> None:
    """Add the numbers of spikes of a step, times their weight."""
    row = int(task.rows[step])
    total, limits = task.total.numpy(), task.limits[row, : int(task.counts[row])].numpy().astype(np.int64)
    key = task.seed & 0xFFFFFFFF, task.seed >> 32
    for neuron in range(PAD * task.blocks[0], PAD * task.blocks[1]):
        word = philox((neuron // 4, task.first + step, task.trial, task.stream), key)[neuron % 4]
        total[neuron] += total.dtype.type(task.weight) * total.dtype.type((limits <= word).sum())


def sample(task: Sample, step: int) -> None:
    """Copy the values of a step that is due."""
    since = step - task.begin
    if since >= 0 and step < task.end and since % task.every == 0:
        task.out[task.row + since // task.every, : len(task.neurons)] = task.values[task.neurons.long()]


def pair_weights(
    rule: PairRule,
    arrivals: Sequence[int],
    spikes: Sequence[int],
    weight: np.floating,
    surprises: Sequence[float] | None = None,
) -> np.ndarray:
    """Return the weight of one synapse after each step.

    Parameters
    ----------
    rule : PairRule
    arrivals : sequence of int
        Presynaptic spikes that arrive at the synapse in each step.
    spikes : sequence of int
        Postsynaptic spikes, 0 or 1, that arrive there in each step.
    weight : number of NumPy
        Before the first step, in the precision of the weights.
    surprises : sequence of float, optional
        What the eligibility is multiplied with at the end of each step, for a rule that has one.
    """
    w, real, found = float(weight), type(weight), []
    x, y, x_time, y_time = 0.0, 0.0, LONG_AGO, LONG_AGO
    three, x_slow, y_slow = rule.triplets, 0.0, 0.0
    scale = 1 / (rule.w_max - rule.w_min)
    eligible, since = 0.0, 0
    for t, (pre, post) in enumerate(zip(arrivals, spikes, strict=True)):
        x_before, y_before = x * rule.plus(t - x_time), y * rule.minus(t - y_time)
        one_up, one_down = rule.a_plus, rule.a_minus
        if three is not None and post:
            y_slow *= three.post(t - y_time)
            one_up += three.plus * y_slow
            y_slow += 1.0
        if three is not None and pre:
            x_slow *= three.pre(t - x_time)
            one_down += three.minus * x_slow
            for _ in range(pre):
                x_slow += 1.0
        if pre:
            x, x_time = 0.0 if rule.nearest else x_before, t
            for _ in range(pre):
                x += 1.0
        if post:
            y, y_time = 1.0 if rule.nearest else y_before + 1.0, t
        x_now, y_now = (x if pre else x_before), (y if post else y_before)
        up = one_up * (x_now if rule.coincident else x_before) if post else 0.0
        down = sum([one_down] * pre) * ((y_now if rule.coincident else y_before) - rule.alpha) if pre else 0.0
        if rule.mu:
            up *= ((rule.w_max - w) * scale) ** rule.mu
            down *= ((w - rule.w_min) * scale) ** rule.mu
        change = up - down if pre or post else 0.0
        if rule.fade is not None:
            if pre or post:
                eligible, since = eligible * rule.fade(t - since) + change, t
            surprise = surprises[t] if surprises is not None else 0.0
            change = surprise * (eligible * rule.fade(t - since))
        if change:
            w = float(real(min(max(w + change, rule.w_min), rule.w_max)))
        found.append(real(w))
    return np.array(found)
