"""Sigma-delta neurons: they send the change of an activation since the last one sent, if it is large enough."""

from __future__ import annotations

from typing import Any

from neurosim.language.definition import core
from neurosim.language.functions import absolute, maximum, where


@core(state=("total",))
def sigma(i: Any, total: Any) -> tuple[Any, ...]:
    """Return the sum of the input over time: the decoder of a stream of changes, ``total += i`` (Lava ``Sigma``)."""
    held = total + i
    return held, held


@core(parameters=dict(v_th=0.1), state=("act", "residue"))
def delta(i: Any, act: Any, residue: Any, *, v_th: Any) -> tuple[Any, ...]:
    """Send the change of the input if it reaches the threshold, and keep the rest (Lava ``Delta``).

    ``d = i - act + residue``; ``s = d if |d| >= v_th else 0``; ``residue = d - s``; ``act = i``. The residue is
    missing at the receiver, so the sum of all spikes sent is never further from the input than `v_th`. With
    ``v_th = 0`` every change is sent. The spikes are graded; the choice to send passes no gradient, so none reaches
    `v_th`.
    """
    change = i - act + residue
    sent = where(absolute(change) >= v_th, change, 0.0)
    return sent, i, change - sent


@core(parameters=dict(v_th=0.1, bias=0.0), state=("total", "act", "residue"))
def sigma_delta(i: Any, total: Any, act: Any, residue: Any, *, v_th: Any, bias: Any) -> tuple[Any, ...]:
    """Add up changes, rectify, send changes: ``act = max(0, sum of i + bias)`` goes through `delta`.

    The float model of ``SigmaDelta`` with ReLU in Lava 0.10 (lava-nc, BSD-3): it sends at ``|d| >= v_th``, as that
    program does; its docstring says ``>``. A chain of such layers joined by weights W computes the network
    ``ReLU(W x + bias)`` within the bounds of its thresholds, and exactly with ``v_th = 0``. Synapses between them must
    have no bias: it would be added at every step. The output is graded; no gradient reaches `v_th`.
    """
    held = total + i
    active = maximum(held + bias, 0.0)
    change = active - act + residue
    sent = where(absolute(change) >= v_th, change, 0.0)
    return sent, held, active, change - sent


@core(parameters=dict(v_th=0.1, bias=0.0), state=("total", "act", "residue", "error"))
def sigma_delta_cumulative(
    i: Any, total: Any, act: Any, residue: Any, error: Any, *, v_th: Any, bias: Any
) -> tuple[Any, ...]:
    """`sigma_delta` that sends when the changes not sent *add up* to the threshold (Lava's ``cum_error``).

    ``error += d``; ``s = d if |error| >= v_th else 0``; the error is set to 0 where a spike is sent. As d includes
    the residue, a persistent error is added at each step, so that a small one is sent in the end; the sum of the
    spikes sent is within ``2 v_th`` of the activation.
    """
    held = total + i
    active = maximum(held + bias, 0.0)
    change = active - act + residue
    summed = error + change
    sent = where(absolute(summed) >= v_th, change, 0.0)
    return sent, held, active, change - sent, where(absolute(sent) > 0.0, 0.0, summed)
