"""The leaky memory of ELM neurons over time as an operation for plain eager code on the CPU."""

from __future__ import annotations

from torch import Tensor

from neurosim.kernels.common.autograd import can_call_directly, under_transform
from neurosim.kernels.common.availability import DTYPES, fused, warn_of_missing
from neurosim.kernels.common.operator import Operation
from neurosim.kernels.elm import cpu
from neurosim.kernels.elm.arguments import Call, Outputs, Saved

__all__ = ["Call", "can_run", "run_elm"]


def can_run(*tensors: Tensor) -> bool:
    """Return whether `run_elm` takes these tensors: plain ones on the CPU, all in single or all in double precision."""
    first = tensors[0]
    if not can_call_directly(tensors) or under_transform():
        return False
    if first.device.type != "cpu":
        warn_of_missing("ELM neurons", first.device)
        return False
    alike = first.dtype in DTYPES and all(t.dtype == first.dtype and t.device == first.device for t in tensors)
    return alike and fused(first.device)


def _save(call: Call, outputs: Outputs) -> Saved:
    values = (outputs.values, outputs.hidden, outputs.slope, outputs.squashed)
    return Saved(*values, call.weights, call.kappa, call.bend, call.smooth)


run_elm = Operation(
    Call,
    Outputs,
    Saved,
    forward=cpu.forward,
    save=_save,
    backward=cpu.backward,
    inputs=("drive", "trace", "start", "weights"),
    results=("output", "last"),
    private=("values", "hidden", "slope", "squashed"),
)
