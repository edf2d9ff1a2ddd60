"""Norse's neurons as ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.cores import Surrogate
from neurosim.interop.conversion import (
    ConversionError,
    Number,
    Part,
    Step,
    assembled,
    converted,
    doubled,
    precision,
    tidy,
)
from neurosim.network import Network, Recurrent
from neurosim.synapses import Linear

_ONE_STEP = {"LIFBoxCell", "LIFCell", "LIBoxCell", "LICell", "IAFCell", "LIFRecurrentCell"}
_OVER_TIME = {"LIF": "LIFCell", "LI": "LICell", "IAF": "IAFCell", "LIFRecurrent": "LIFRecurrentCell"}


def from_norse(
    module: Any,
    *,
    input_shape: int | Sequence[int] | None = None,
    spike: Surrogate | None = None,
    dtype: torch.dtype | None = None,
) -> Network:
    """Convert layers of Norse, with their weights, exactly but for the order in which a step is summed.

    Norse writes ``v + dt/tau (v_leak - v + i)``, a step here ``a v + (1 - a) i``: the same number but for rounding. A
    membrane that leaks to `v_leak` and starts there is measured from it.

    Parameters
    ----------
    module : SequentialState, nn.Sequential or list of nn.Module
        In the order in which they are called: LIFBoxCell, LIFCell, LIFRecurrentCell, LIBoxCell, LICell, IAFCell of
        Norse, the same over time (LIF, LIFRecurrent, LI, IAF), Lift, and torch's own layers.
    input_shape, spike, dtype
        As in `from_snntorch`.

    Returns
    -------
    Network
        With the step dt of the neurons.

    Raises
    ------
    ConversionError
        For what has no exact equivalent, by layer and what to change.
    """
    kind = precision(module, dtype)
    choices = {} if spike is None else {"spike": spike}
    steps: dict[str, float] = {}

    def of_library(where: str, layer: nn.Module) -> list[Part] | None:
        if not type(layer).__module__.startswith("norse."):
            return None
        name = _OVER_TIME.get(type(layer).__name__, type(layer).__name__)
        if name == "Lift":
            return converted(layer.lifted_module, of_library, "Norse", kind)
        if name not in _ONE_STEP:
            raise ConversionError(f"{where}: of Norse only {', '.join(sorted(_ONE_STEP))} and Lift are converted.")
        steps[where] = float(layer.dt)  # type: ignore[arg-type]
        neuron = _step(where, layer, name).neuron(where, steps[where], kind, choices)
        if name != "LIFRecurrentCell":
            return [neuron]
        weights = [_matrix(getattr(layer, field), kind) for field in ("input_weights", "recurrent_weights")]
        return [weights[0], Recurrent(neuron, weights[1])]

    parts = converted(module, of_library, "Norse", kind)
    if len(set(steps.values())) != 1:
        raise ConversionError(f"all neurons must share one dt, and there must be some; got {steps}.")
    return assembled(parts, input_shape, next(iter(steps.values())))


def _step(where: str, layer: Any, name: str) -> Step:
    p, dt = layer.p, float(layer.dt)
    if getattr(p, "method", "super") == "adjoint":
        raise ConversionError(f"{where}: method='adjoint' is another gradient; take one of the surrogates.")
    rest: Number = tidy(p.v_leak) if hasattr(p, "v_leak") else tidy(p.v_reset)  # where the membrane starts
    if name == "IAFCell":
        return Step(1.0, v_th=tidy(p.v_th) - rest)
    # As Norse multiplies them, in the precision of its parameters.
    share = tidy(doubled(dt * p.tau_mem_inv))
    decay: Number = 1.0 - share
    current = None
    if name in ("LIFCell", "LIFRecurrentCell", "LICell"):
        current = 1.0 - tidy(doubled(dt * p.tau_syn_inv))
    if name in ("LIBoxCell", "LICell"):
        if bool(doubled(rest).ne(0).any()):
            raise ConversionError(f"{where}: v_leak={rest}; what is read out would be off by it. Use v_leak=0.")
        return Step(decay, share, current=current)
    threshold = tidy(p.v_th)
    method = getattr(getattr(p, "reset_method", None), "__name__", "reset_value")
    if method == "reset_subtract":
        return Step(decay, share, threshold - rest, "subtract", amount=threshold, current=current)
    if method != "reset_value":
        raise ConversionError(f"{where}: reset_method={method}; only reset_value and reset_subtract are known here.")
    return Step(decay, share, threshold - rest, v_reset=tidy(p.v_reset) - rest, current=current)


def _matrix(weight: Tensor, dtype: torch.dtype) -> Linear:
    made = Linear(weight.shape[1], weight.shape[0]).to(dtype)
    with torch.no_grad():
        made.weight.copy_(weight)
    return made
