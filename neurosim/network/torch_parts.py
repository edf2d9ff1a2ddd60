"""Modules of torch.nn as synapses, where they compute exactly the same at every step."""

from __future__ import annotations

from typing import Any

from torch import nn

from neurosim.errors import NetworkError
from neurosim.network.population import has_hooks
from neurosim.synapses import Synapse
from neurosim.synapses.torch_counterparts import counterpart

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_ACCEPTED = (nn.Linear, nn.Conv1d, nn.Conv2d, *_NORMS, nn.AvgPool2d, nn.MaxPool2d, nn.Flatten, nn.Identity)

# What to use instead of modules that have no exact counterpart.
_INSTEAD: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    (
        (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout),
        "it draws a mask for each step, and a membrane over many steps then hardly drops an input; use ns.Dropout(p), "
        "which has one mask for all steps",
    ),
    ((nn.ReLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU), "use neurons, such as ns.LIF(dt=1e-3)"),
    ((nn.LayerNorm,), "use neurosim.synapses.LayerNorm"),
    ((nn.GroupNorm,), "use neurosim.synapses.GroupNorm"),
    ((nn.RNN, nn.LSTM, nn.GRU), "use ns.Recurrent(neuron, synapse)"),
    ((nn.Softmax, nn.LogSoftmax), "leave it out: the losses contain it"),
    ((nn.Conv3d, nn.ConvTranspose2d, nn.Upsample), "use the class of the same name in neurosim.synapses"),
)


def as_synapse(module: nn.Module, place: str) -> Synapse:
    """Return a synapse that computes what a module of torch.nn computes at each step, with its parameters.

    Parameters
    ----------
    module : torch.nn.Module
        `Linear`, `Conv1d`, `Conv2d`, `Flatten`, `Identity`, `BatchNorm1d`, `BatchNorm2d`, `AvgPool2d` or `MaxPool2d`.
        Its parameters and buffers become those of the synapse; they are not copied.
    place : str
        Of the module, for messages.

    Raises
    ------
    NetworkError
        For any other module or option, with what to use instead.
    """
    kind = type(module)
    if kind not in _ACCEPTED:
        instead = next((text for kinds, text in _INSTEAD if isinstance(module, kinds)), None)
        if instead is None and issubclass(kind, _ACCEPTED):
            instead = (
                "its class is derived from one of torch.nn and may compute something else; use the synapse of the same "
                "name (ns.Linear, ns.Conv2d, ...), or derive a class from neurosim.synapses.Synapse"
            )
        instead = instead or "use a synapse such as ns.Linear, or derive a class from neurosim.synapses.Synapse"
        raise NetworkError(f"{place} is {kind.__module__}.{kind.__qualname__}: {instead}.")
    if has_hooks(module):
        raise NetworkError(f"{place} is {kind.__name__} with a hook or a forward of its own, which would not run here.")
    if isinstance(module, _NORMS) and (module.momentum is None or not module.track_running_stats):
        raise NetworkError(
            f"{place} is {kind.__name__} without a momentum or running statistics; use neurosim.synapses.BatchNorm."
        )
    synapse = counterpart(module, kind, share=True)
    if synapse is None:
        raise NetworkError(f"{place} is {kind.__name__} {_setting_without_equal(module)}")
    return synapse


def _setting_without_equal(module: Any) -> str:
    """Return the settings because of which a module has no counterpart, and what to use instead."""
    if isinstance(module, (nn.Conv1d, nn.Conv2d)):
        return (
            f"with padding={module.padding!r}, padding_mode={module.padding_mode!r}; give the number of zeros, such as "
            "padding=1."
        )
    if isinstance(module, nn.Flatten):
        return f"of dimensions {module.start_dim} to {module.end_dim}; ns.Flatten() joins those of a step."
    return f"with padding, dilation, ceil_mode or another divisor; use ns.{module._get_name()}."
