"""Our networks as layers of snnTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neurosim import cores
from neurosim.errors import TargetRunError
from neurosim.interop.conversion import ConversionError, Number, doubled, tidy
from neurosim.interop.to_torch import Stage, gain_of, scale, stages, torch_layer, torch_layers
from neurosim.network import Network
from neurosim.synapses import Linear

_FIRES = (cores.lif, cores.integrate_and_fire, cores.cubalif)
_READS_OUT = (cores.leaky_integrator, cores.integrator)


def to_snntorch(net: Network) -> nn.Sequential:
    """Return a network as layers of snnTorch that give the same spikes, to be called step by step.

    Parameters
    ----------
    net : Network
        A row of populations: IF, LIF and CubaLIF with a reset to 0, without reset, or by subtraction of what snnTorch
        takes off, ``v_th / decay``; a loop of a Linear on them, but for a CubaLIF with a reset to 0; LI at the end.

    Returns
    -------
    nn.Sequential
        Of neurons with ``init_hidden=True``; call it once for each step, after `reset_mem` of each neuron. The gain of
        a current goes into the weights. The last neuron returns its spikes and its membrane.

    Raises
    ------
    ConversionError
        For what snnTorch has no exact equivalent of, by node, value and what to change.
    TargetRunError
        If snnTorch is not installed.
    """
    row = stages(net, "snnTorch")
    try:
        import snntorch
    except ImportError as error:
        raise TargetRunError("snntorch is not installed. Install it with: pip install 'neurosim[peers]'") from error
    made: list[nn.Module] = []
    for stage in row:
        gain = gain_of(stage.neuron) if stage.neuron.core in (*_FIRES, *_READS_OUT) else 1.0
        made += [*torch_layers(stage, gain), _neuron(stage, gain, snntorch, last=stage is row[-1])]
    return nn.Sequential(*made).eval()


def _neuron(stage: Stage, gain: Number, snntorch: Any, last: bool) -> Any:
    neuron, where, core = stage.neuron, stage.where, stage.neuron.core
    if core not in (*_FIRES, *_READS_OUT):
        raise ConversionError(f"{where}: its core is {core.name!r}, which snnTorch has no exact equivalent of.")
    integrates = core in (cores.integrate_and_fire, cores.integrator)
    decay: Number = 1.0 if integrates else tidy(neuron.decay("tau_mem"))
    given: dict[str, Any] = {"beta": _tensor(stage, decay), "init_hidden": True, "output": last}
    if core in _READS_OUT:
        if stage.loop is not None or not last:
            raise ConversionError(f"{where}: {core.name} can only be read out at the end of the row, without a loop.")
        return snntorch.Leaky(**given, reset_mechanism="none")
    given["threshold"] = _tensor(stage, tidy(neuron.value("v_th")))
    given |= _reset(stage, decay)
    name = "Leaky"
    if core is cores.cubalif:
        name, given["alpha"] = "Synaptic", _tensor(stage, tidy(neuron.decay("tau_syn")))
    if stage.loop is None:
        return getattr(snntorch, name)(**given)
    if not isinstance(stage.loop, Linear):
        raise ConversionError(f"{where}: a loop of {type(stage.loop).__name__}; snnTorch's is a Linear.")
    if name == "Synaptic" and neuron.reset == "value":
        raise ConversionError(
            f"{where}: a loop on a current-based neuron that resets to 0; snnTorch 1.0 resets RSynaptic by the spike "
            'of the step before. Use reset="subtract" with reset_amount = v_th / decay.'
        )
    made = getattr(snntorch, f"R{name}")(**given, linear_features=stage.loop.n_in)
    made.recurrent = torch_layer(stage.loop, where)
    scale(made.recurrent, gain, where)
    return made


def _reset(stage: Stage, decay: Number) -> dict[str, Any]:
    neuron, where = stage.neuron, stage.where
    if neuron.reset is None:
        return {"reset_mechanism": "none"}
    if neuron.reset == "value":
        if bool(doubled(neuron.value("v_reset")).ne(0).any()):
            raise ConversionError(f"{where}: v_reset={neuron.value('v_reset')}; snnTorch resets to 0. Use v_reset=0.")
        return {"reset_mechanism": "zero", "reset_delay": False}
    amount = doubled(neuron.value("reset_amount" if neuron.takes_own_amount else "v_th"))
    theirs = doubled(neuron.value("v_th")) / doubled(decay)
    if not torch.allclose(amount, theirs, rtol=1e-12, atol=0.0):
        raise ConversionError(
            f"{where}: its reset takes {amount.tolist()} off; snnTorch's takes v_th / decay = {theirs.tolist()}. Set "
            "reset_amount to that and train again."
        )
    return {"reset_mechanism": "subtract", "reset_delay": True}


def _tensor(stage: Stage, value: Number) -> Tensor:
    weights = [p.dtype for synapse in stage.synapses for p in synapse.parameters()]
    return torch.as_tensor(value, dtype=torch.float64).to(weights[0] if weights else torch.get_default_dtype())
