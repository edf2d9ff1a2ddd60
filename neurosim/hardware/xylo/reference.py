"""The plain definition of a Xylo: a step of the chip in NumPy's integers, arrival by arrival."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.errors import InputError, ShapeError
from neurosim.hardware.xylo.configuration import MOST_HIDDEN, MOST_INPUT, MOST_OUTPUT, STATE, XyloConfiguration

STATES = ("hidden", "i_syn", "i_syn2", "v", "output", "i_syn_out", "v_out")


@dataclass(frozen=True, eq=False)
class XyloRun:
    """Everything that a chip computes, int64 [T, B, neurons].

    Attributes
    ----------
    hidden, output : numpy.ndarray
        Spikes of the hidden and of the output neurons in each step.
    i_syn, i_syn2, v : numpy.ndarray
        Synaptic currents and membrane of the hidden neurons after each step.
    i_syn_out, v_out : numpy.ndarray
        The same of the output neurons.
    """

    hidden: np.ndarray
    i_syn: np.ndarray
    i_syn2: np.ndarray
    v: np.ndarray
    output: np.ndarray
    i_syn_out: np.ndarray
    v_out: np.ndarray


def evolve(chip: XyloConfiguration, x: np.ndarray) -> XyloRun:
    """Run a chip from rest.

    Parameters
    ----------
    chip : XyloConfiguration
    x : numpy.ndarray [T, B, inputs]
        Spikes of each input in each step, 0 ... 15.

    Returns
    -------
    XyloRun

    Raises
    ------
    ShapeError, InputError
        When x does not fit.

    Notes
    -----
    In a step the spikes of the inputs arrive, then those that the hidden neurons sent in the step before, at hidden and
    output neurons, in order of the presynaptic neuron; each arrival saturates by itself. Then the hidden neurons are
    updated in order, then the output neurons.
    """
    x = checked_input(chip, x)
    steps, batch = x.shape[:2]
    current = np.zeros((2, batch, chip.hidden), np.int64)
    current_out = np.zeros((batch, chip.outputs), np.int64)
    v, v_out = np.zeros((batch, chip.hidden), np.int64), np.zeros((batch, chip.outputs), np.int64)
    sent = np.zeros((batch, chip.hidden), np.int64)
    kept: dict[str, list[np.ndarray]] = {name: [] for name in STATES}
    for step in range(steps):
        for synapse in (0, 1):
            _arrive(current[synapse], x[step], chip.weights_in[..., synapse], chip.shift_in)
            _arrive(current[synapse], sent, chip.weights_rec[..., synapse], chip.shift_rec)
        _arrive(current_out, sent, chip.weights_out, chip.shift_out)
        for synapse in (0, 1):
            current[synapse] -= _decay(current[synapse], chip.dash_syn[:, synapse])
        current_out -= _decay(current_out, chip.dash_syn_out)
        v = _integrated(v, current[0] + current[1], chip.dash_mem, chip.bias)
        v_out = _integrated(v_out, current_out, chip.dash_mem_out, chip.bias_out)
        sent = _hidden_spikes(chip, v)
        output = _spikes(v_out, chip.threshold_out, np.full_like(v_out, MOST_OUTPUT))
        now = (sent, current[0], current[1], v, output, current_out, v_out)
        for name, values in zip(STATES, now, strict=True):
            kept[name].append(values.copy())
    return XyloRun(**{name: np.stack(values) for name, values in kept.items()})


def checked_input(chip: XyloConfiguration, x: np.ndarray) -> np.ndarray:
    """Return the input of a chip as int64 [T, B, inputs]."""
    x = np.asarray(x)
    if x.ndim != 3 or x.shape[2] != chip.inputs or 0 in x.shape:
        raise ShapeError(f"x must be [T, B, {chip.inputs}] with T and B from 1; got {list(x.shape)}.")
    wrong = x[~((x >= 0) & (x <= MOST_INPUT) & (x == np.trunc(x)))]
    if wrong.size:
        raise InputError(
            f"x must hold numbers of spikes from 0 to {MOST_INPUT}, the most of an input of Xylo in a step; got "
            f"{wrong.flat[0]}."
        )
    return x.astype(np.int64)


def _saturated(x: np.ndarray) -> np.ndarray:
    return np.clip(x, *STATE)


def _arrive(current: np.ndarray, spikes: np.ndarray, weights: np.ndarray, shift: int) -> None:
    """Add the weights of all spikes to a current [B, n], in place and in order of the presynaptic neuron.

    The spikes of one neuron in a step have one weight, so that their additions saturate as their sum does.
    """
    for pre in np.flatnonzero(spikes.any(0)):
        current[:] = _saturated(current + spikes[:, pre, None] * (weights[pre] << shift))


def _decay(x: np.ndarray, dash: np.ndarray) -> np.ndarray:
    shifted = x >> dash
    return np.where((shifted == 0) & (x > 0), 1, shifted)


def _integrated(v: np.ndarray, current: np.ndarray, dash: np.ndarray, bias: np.ndarray) -> np.ndarray:
    change = -_decay(v, dash)
    change = np.where(change > STATE[1], STATE[0], change)  # in 16 bits the lowest number has no positive twin
    return _saturated(v + _saturated(_saturated(change + current) + bias))


def _spikes(v: np.ndarray, threshold: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Return how often the membrane holds the threshold, up to `room`, and lower the membrane in place."""
    sent = np.minimum(np.maximum(v, 0) // threshold, room)
    v -= sent * threshold
    return sent


def _hidden_spikes(chip: XyloConfiguration, v: np.ndarray) -> np.ndarray:
    """Return the spikes of the hidden neurons in order of their number, those that come by an alias included."""
    if (chip.aliases < 0).all():
        return _spikes(v, chip.threshold, np.full_like(v, MOST_HIDDEN))
    sent = np.zeros_like(v)
    for number, alias in enumerate(chip.aliases):
        own = _spikes(v[:, number], chip.threshold[number], MOST_HIDDEN - sent[:, number])
        sent[:, number] += own
        if alias >= 0:
            sent[:, alias] = np.minimum(sent[:, alias] + sent[:, number], MOST_HIDDEN)
    return sent


def order_matters(chip: XyloConfiguration, x: np.ndarray, run: XyloRun) -> int:
    """Count the currents of a run that may depend on the order in which the spikes of a step arrive.

    That is where arrivals of both signs meet and those of one sign alone would exceed 16 bits. A network of
    `xylo_neurons` adds the arrivals of a step first; where this is 0 it computes what the chip computes.

    Parameters
    ----------
    chip : XyloConfiguration
    x : numpy.ndarray [T, B, inputs]
    run : XyloRun
        The run of the chip on x.
    """
    x = checked_input(chip, x)
    before = np.concatenate([np.zeros_like(run.hidden[:1]), run.hidden[:-1]])
    rows = [
        (held, [(x, chip.weights_in[..., k] << chip.shift_in), (before, chip.weights_rec[..., k] << chip.shift_rec)])
        for k, held in enumerate((run.i_syn, run.i_syn2))
    ]
    rows.append((run.i_syn_out, [(before, chip.weights_out << chip.shift_out)]))
    total = 0
    for after, arrivals in rows:
        held = np.concatenate([np.zeros_like(after[:1]), after[:-1]])
        up = sum(_product(spikes, np.maximum(weights, 0)) for spikes, weights in arrivals)
        down = sum(_product(spikes, np.minimum(weights, 0)) for spikes, weights in arrivals)
        both = (up > 0) & (down < 0)
        total += int((both & ((held + up > STATE[1]) | (held + down < STATE[0]))).sum())
    return total


def _product(spikes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return a product of integers, by floating point of double precision, which holds them exactly."""
    return spikes.astype(np.float64) @ weights.astype(np.float64)
