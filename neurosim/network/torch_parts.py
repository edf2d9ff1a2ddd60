"""Modules of torch.nn as synapses, where they compute exactly the same at every step."""

from __future__ import annotations

from typing import Any

from torch import nn

from neurosim.errors import NetworkError
from neurosim.network.population import has_hooks
from neurosim.synapses import AvgPool2d, BatchNorm, Conv1d, Conv2d, Flatten, Identity, Linear, MaxPool2d, Synapse

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
    make = _MAKERS.get(kind)
    if make is None:
        instead = next((text for kinds, text in _INSTEAD if isinstance(module, kinds)), None)
        if instead is None and any(issubclass(kind, known) for known in _MAKERS):
            instead = (
                "its class is derived from one of torch.nn and may compute something else; use the synapse of the same "
                "name (ns.Linear, ns.Conv2d, ...), or derive a class from neurosim.synapses.Synapse"
            )
        instead = instead or "use a synapse such as ns.Linear, or derive a class from neurosim.synapses.Synapse"
        raise NetworkError(f"{place} is {kind.__module__}.{kind.__qualname__}: {instead}.")
    if has_hooks(module) or "forward" in vars(module):
        raise NetworkError(f"{place} is {kind.__name__} with a hook or a forward of its own, which would not run here.")
    return make(module, f"{place} is {kind.__name__}")


def _own(synapse: Synapse, module: nn.Module) -> Synapse:
    """Give a synapse the parameters and buffers of a module."""
    for name, parameter in module.named_parameters(recurse=False):
        setattr(synapse, name, parameter)
    for name, buffer in module.named_buffers(recurse=False):
        if name in synapse._buffers:
            setattr(synapse, name, buffer)
    return synapse.train(module.training)


def _linear(m: Any, place: str) -> Synapse:
    return _own(Linear(m.in_features, m.out_features, bias=m.bias is not None), m)


def _conv(kind: Any) -> Any:
    def make(m: Any, place: str) -> Synapse:
        if isinstance(m.padding, str) or m.padding_mode != "zeros":
            raise NetworkError(
                f"{place} with padding={m.padding!r}, padding_mode={m.padding_mode!r}; give the number of zeros, such "
                "as padding=1."
            )
        options = dict(stride=m.stride, padding=m.padding, dilation=m.dilation, groups=m.groups)
        return _own(kind(m.in_channels, m.out_channels, m.kernel_size, bias=m.bias is not None, **options), m)

    return make


def _norm(m: Any, place: str) -> Synapse:
    if m.momentum is None or not m.track_running_stats:
        raise NetworkError(f"{place} without a momentum or running statistics; use neurosim.synapses.BatchNorm.")
    return _own(BatchNorm(m.num_features, momentum=m.momentum, eps=m.eps, affine=m.affine), m)


def _pool(kind: Any) -> Any:
    def make(m: Any, place: str) -> Synapse:
        plain = not m.ceil_mode and m.padding in (0, (0, 0)) and getattr(m, "dilation", 1) in (1, (1, 1))
        plain = plain and getattr(m, "divisor_override", None) is None and not getattr(m, "return_indices", False)
        if not plain:
            raise NetworkError(f"{place} with padding, dilation, ceil_mode or another divisor; use ns.{m._get_name()}.")
        return _own(kind(m.kernel_size, stride=m.stride), m)

    return make


def _flatten(m: Any, place: str) -> Synapse:
    if (m.start_dim, m.end_dim) != (1, -1):
        raise NetworkError(f"{place} of dimensions {m.start_dim} to {m.end_dim}; ns.Flatten() joins those of a step.")
    return Flatten()


_MAKERS: dict[type[nn.Module], Any] = {
    nn.Linear: _linear,
    nn.Conv1d: _conv(Conv1d),
    nn.Conv2d: _conv(Conv2d),
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.AvgPool2d: _pool(AvgPool2d),
    nn.MaxPool2d: _pool(MaxPool2d),
    nn.Flatten: _flatten,
    nn.Identity: lambda m, place: Identity(),
}
