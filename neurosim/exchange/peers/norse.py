"""Conversion from and to Norse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurosim import cores
from neurosim.errors import TargetRunError
from neurosim.exchange.peers.conversion import (
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
from neurosim.exchange.peers.to_torch import RowStage, gain_of, scaled, stages, torch_layers
from neurosim.language import Surrogate
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
    """Convert layers of Norse, with their weights, exactly up to the order of the sums in a step.

    Norse computes ``v + dt/tau (v_leak - v + i)``, neurosim ``a v + (1 - a) i``: equal up to rounding. A membrane that
    leaks to `v_leak` and starts there is measured from it.

    Parameters
    ----------
    module : SequentialState, nn.Sequential or list of nn.Module
        In the order in which they are called: LIFBoxCell, LIFCell, LIFRecurrentCell, LIBoxCell, LICell, IAFCell of
        Norse, their versions over time (LIF, LIFRecurrent, LI, IAF), Lift, and layers of torch.
    input_shape, spike, dtype
        As in `from_snntorch`.

    Returns
    -------
    Network
        With the step dt of the neurons.

    Raises
    ------
    ConversionError
        For layers without an exact equivalent, with what to change.
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
        raise ConversionError(f"{where}: method='adjoint' is another gradient; use one of the surrogates.")
    rest: Number = tidy(p.v_leak) if hasattr(p, "v_leak") else tidy(p.v_reset)  # initial membrane
    if name == "IAFCell":
        return Step(1.0, v_th=tidy(p.v_th) - rest)
    # In the order and precision of Norse.
    share = tidy(doubled(dt * p.tau_mem_inv))
    decay: Number = 1.0 - share
    current = None
    if name in ("LIFCell", "LIFRecurrentCell", "LICell"):
        current = 1.0 - tidy(doubled(dt * p.tau_syn_inv))
    if name in ("LIBoxCell", "LICell"):
        if bool(doubled(rest).ne(0).any()):
            raise ConversionError(f"{where}: v_leak={rest}; the output would be shifted by it. Use v_leak=0.")
        return Step(decay, share, current=current)
    threshold = tidy(p.v_th)
    method = getattr(getattr(p, "reset_method", None), "__name__", "reset_value")
    if method == "reset_subtract":
        return Step(decay, share, threshold - rest, "subtract", amount=threshold, current=current)
    if method != "reset_value":
        raise ConversionError(f"{where}: reset_method={method}; only reset_value and reset_subtract are converted.")
    return Step(decay, share, threshold - rest, v_reset=tidy(p.v_reset) - rest, current=current)


def _matrix(weight: Tensor, dtype: torch.dtype) -> Linear:
    linear = Linear(weight.shape[1], weight.shape[0]).to(dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
    return linear


_CELLS = {
    cores.integrate_and_fire: "IAFCell",
    cores.lif: "LIFBoxCell",
    cores.cubalif: "LIFCell",
    cores.leaky_integrator: "LIBoxCell",
    cores.cuba_integrator: "LICell",
}


def to_norse(net: Network) -> nn.Module:
    """Return a network as a `norse.torch.SequentialState` with the same spikes up to rounding.

    Norse computes a step in another order (see `from_norse`), so a spike may differ where a membrane is within rounding
    of its threshold.

    Parameters
    ----------
    net : Network
        A sequence of populations: IF, LIF and CubaLIF with a reset to a value (IF: to 0), LIF also with a reset by
        subtraction of `v_th`; LI and its current-based kind; on a CubaLIF behind a matrix without bias a loop of a
        matrix without bias.

    Returns
    -------
    SequentialState
        To be called once per step with its state. The rest of the gain of a current is in the weights.

    Raises
    ------
    ConversionError
        For parts without an equivalent in Norse: node, value, what to change.
    TargetRunError
        If Norse is not installed.
    """
    row = stages(net, "Norse")
    try:
        import norse.torch
    except ImportError as error:
        raise TargetRunError("norse is not installed. Install it with: pip install 'neurosim[peers]'") from error
    layers: list[nn.Module] = []
    for stage in row:
        layers += _layers(stage, norse.torch, net.dt)
    sequence: nn.Module = norse.torch.SequentialState(*layers).eval()
    return sequence


def _layers(stage: RowStage, norse: Any, dt: float) -> list[nn.Module]:
    neuron, where, core = stage.neuron, stage.where, stage.neuron.core
    if core not in _CELLS:
        raise ConversionError(f"{where}: its core is {core.name!r}, which Norse has no equivalent of.")
    name = _CELLS[core]
    # Norse's membranes include the gain dt/tau = 1 - a; its IAF has a gain of 1.
    gain = gain_of(neuron) if name == "IAFCell" else tidy(neuron.value("r"))

    def tensor(value: Number) -> Tensor:
        return torch.as_tensor(value, dtype=torch.float64).to(stage.dtype)

    given: dict[str, Any] = {}
    if name != "IAFCell":
        given["tau_mem_inv"] = tensor(tidy((1.0 - doubled(neuron.decay("tau_mem"))) / dt))
    if name in ("LIFCell", "LICell"):
        given["tau_syn_inv"] = tensor(tidy((1.0 - doubled(neuron.decay("tau_syn"))) / dt))
    if name in ("IAFCell", "LIFBoxCell", "LIFCell"):
        given["v_th"] = tensor(tidy(neuron.value("v_th")))
        given |= _reset(stage, name, norse, tensor)
    parameters = getattr(norse, name.removesuffix("Cell") + "Parameters")(**given)
    if stage.loop is None:
        return [*torch_layers(stage, gain), getattr(norse, name)(parameters, dt=dt)]
    matrices = [scaled(s, gain, where).matrix for s in (*stage.synapses, stage.loop) if s.matrix is not None]
    plain = len(stage.synapses) == 1 and len(matrices) == 2 and all(m is not None and m.bias is None for m in matrices)
    if name != "LIFCell" or not plain:
        raise ConversionError(
            f"{where}: a loop; Norse has one only on a current-based neuron, of a Linear without bias, behind a Linear "
            "without bias."
        )
    outer, loop = (matrix.weight for matrix in matrices if matrix is not None)
    return [
        norse.LIFRecurrentCell(
            outer.shape[1],
            loop.shape[0],
            p=parameters,
            input_weights=outer,
            recurrent_weights=loop,
            autapses=True,
            dt=dt,
        )
    ]


def _reset(stage: RowStage, name: str, norse: Any, tensor: Any) -> dict[str, Any]:
    neuron, where = stage.neuron, stage.where
    if neuron.reset == "value":
        v_reset = tidy(neuron.value("v_reset"))
        if name == "IAFCell" and bool(doubled(v_reset).ne(0).any()):
            raise ConversionError(f"{where}: v_reset={v_reset}; Norse's IAF starts at v_reset. Use v_reset=0.")
        return {"v_reset": tensor(v_reset)}
    if neuron.reset == "subtract" and name == "LIFBoxCell" and not neuron.takes_own_amount:
        from norse.torch.functional.reset import reset_subtract

        return {"reset_method": reset_subtract}
    raise ConversionError(
        f"{where}: reset={neuron.reset!r}{' of an amount of its own' if neuron.takes_own_amount else ''}; Norse's "
        f'{name} does not have that. Use reset="value".'
    )
