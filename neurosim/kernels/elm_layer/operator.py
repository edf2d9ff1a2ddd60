"""A recurrent layer of ELM neurons over time as an operation for plain eager code on the CPU."""

from __future__ import annotations

from neurosim.kernels.common.operator import Operation
from neurosim.kernels.elm_layer import cpu
from neurosim.kernels.elm_layer.arguments import Call, Outputs, Saved

__all__ = ["Call", "run_elm_layer"]


def _save(call: Call, outputs: Outputs) -> Saved:
    stored = (outputs.sources, outputs.branches, outputs.values, outputs.hidden, outputs.slope, outputs.squashed)
    constants = (call.kappa_s, call.kappa_r, call.bend, call.smooth)
    return Saved(outputs.activity, *stored, call.weights, call.mask, call.routes, *constants)


run_elm_layer = Operation(
    Call,
    Outputs,
    Saved,
    forward=cpu.forward,
    save=_save,
    backward=cpu.backward,
    inputs=("x", "start", "weights"),
    results=("activity", "branch", "memory", "slow"),
    private=("sources", "branches", "values", "hidden", "slope", "squashed"),
)
