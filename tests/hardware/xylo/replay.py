"""The fused core on the arrivals of a run, with the order of the spikes in a step kept."""

from __future__ import annotations

import numpy as np
import torch

from neurosim.hardware.xylo.configuration import MOST_HIDDEN, MOST_OUTPUT, STATE, XyloConfiguration
from neurosim.hardware.xylo.neurons import xylo_neurons
from neurosim.hardware.xylo.reference import XyloRun


def arrivals(groups: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Return sum, lowest and highest current after the arrivals of each step [T, B, n].

    Additions that saturate, one after the other, are ``clip(current + sum, low, high)``: `low` and `high` are where the
    lowest and the highest current end.
    """
    total = sum(spikes @ weights for spikes, weights in groups)
    ends = []
    for start in STATE:
        end = np.full(total.shape, start)
        for spikes, weights in groups:
            for pre in range(len(weights)):
                end = np.clip(end + spikes[..., pre, None] * weights[pre], *STATE)
        ends.append(end)
    return [total, *ends]


def replay(chip: XyloConfiguration, x: np.ndarray, run: XyloRun, dtype: torch.dtype) -> XyloRun:
    """Run the fused core on the spikes of a run; aliases must go to neurons of higher number."""
    assert all(alias < 0 or alias > number for number, alias in enumerate(chip.aliases))
    before = np.concatenate([np.zeros_like(run.hidden[:1]), run.hidden[:-1]])
    came = np.zeros_like(run.hidden)
    for number, alias in enumerate(chip.aliases):
        if alias >= 0:
            came[..., alias] = np.minimum(came[..., alias] + run.hidden[..., number], MOST_HIDDEN)
    ports = {"alias": came}
    for k, suffix in enumerate(("", "2")):
        groups = [(x, chip.weights_in[..., k] << chip.shift_in), (before, chip.weights_rec[..., k] << chip.shift_rec)]
        ports |= dict(zip((f"i{suffix}", f"low{suffix}", f"high{suffix}"), arrivals(groups), strict=True))
    registers = dict(
        dash_mem=chip.dash_mem,
        dash_syn=chip.dash_syn[:, 0],
        dash_syn2=chip.dash_syn[:, 1],
        v_th=chip.threshold,
        bias=chip.bias,
    )
    hidden, current, second, v = _fused(registers, MOST_HIDDEN, ports, dtype)
    of_output = zip(("i", "low", "high"), arrivals([(before, chip.weights_out << chip.shift_out)]), strict=True)
    registers = dict(
        dash_mem=chip.dash_mem_out, dash_syn=chip.dash_syn_out, v_th=chip.threshold_out, bias=chip.bias_out
    )
    output, current_out, _, v_out = _fused(registers, MOST_OUTPUT, dict(of_output), dtype)
    return XyloRun(hidden, current, second, v, output, current_out, v_out)


def _fused(
    registers: dict[str, np.ndarray], most: int, ports: dict[str, np.ndarray], dtype: torch.dtype
) -> list[np.ndarray]:
    layer = xylo_neurons(dt=1e-3, most=most, **{key: torch.from_numpy(value) for key, value in registers.items()})
    fed = {name: torch.from_numpy(values).to(dtype) for name, values in ports.items()}
    result = layer.run(fed, None, ("i_syn", "i_syn2", "v"))
    return [
        each.numpy().astype(np.int64) for each in (result.out, *(result.recorded[s] for s in ("i_syn", "i_syn2", "v")))
    ]
