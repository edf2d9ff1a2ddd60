"""The synapse with the settings of a layer of torch: the one description of these layers, which all readers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from neurosim.synapses.conv import Conv1d, Conv2d, Conv3d
from neurosim.synapses.conv_transpose import ConvTranspose2d
from neurosim.synapses.linear import Linear
from neurosim.synapses.norm import BatchNorm
from neurosim.synapses.pool import AvgPool2d, Flatten, MaxPool2d, SumPool2d
from neurosim.synapses.pool1d import AvgPool1d, MaxPool1d
from neurosim.synapses.scale import Identity
from neurosim.synapses.step_norm import GroupNorm, LayerNorm
from neurosim.synapses.synapse import Synapse
from neurosim.synapses.torch_modules import numbers


def counterpart(module: nn.Module, kind: type, *, share: bool) -> Synapse | None:
    """Return the one synapse that computes what a layer of torch does, if there is one for inputs of any shape.

    Parameters
    ----------
    module : torch.nn.Module
        A layer that computes what its class `kind` does; see `neurosim.synapses.torch_modules.check_unchanged`.
    kind : type
        A class of `COUNTERPARTS`.
    share : bool
        Whether parameters and buffers of the synapse are those of the layer. Otherwise they are copies, of weights
        that hooks or parametrisations compute too, and are trained where those of the layer are.

    Returns
    -------
    Synapse or None
        In training if the layer is; None for settings that no synapse has.
    """
    synapse = COUNTERPARTS[kind](module)
    if synapse is not None:
        (_share if share else _copy)(synapse, module)
        synapse.train(module.training)
    return synapse


def convolution(module: Any, kernel: Any, padding: Any, dilation: Any) -> Synapse:
    """Return a convolution with the channels, groups, stride and bias of a layer of torch, its weights to be set."""
    kind: Any = {1: Conv1d, 2: Conv2d, 3: Conv3d}[len(kernel)]
    settings = dict(stride=tuple(module.stride), padding=padding, dilation=dilation, groups=module.groups)
    conv: Synapse = kind(module.in_channels, module.out_channels, kernel, bias=module.bias is not None, **settings)
    return conv


def copy_numbers(synapse: Synapse, module: nn.Module, **values: Any) -> None:
    """Give a synapse copies of the numbers of a layer, or of `values` in their place.

    A parameter that the layer lacks keeps its value and is not trained.
    """
    for name, parameter in list(synapse.named_parameters(recurse=False)):
        value = values[name] if name in values else numbers(module, name)[0]
        own = module._parameters.get(name)
        if value is None:
            parameter.requires_grad_(False)
        else:
            setattr(synapse, name, nn.Parameter(value.clone(), requires_grad=own is None or own.requires_grad))


def _share(synapse: Synapse, module: nn.Module) -> None:
    for name, parameter in module.named_parameters(recurse=False):
        setattr(synapse, name, parameter)
    for name, buffer in module.named_buffers(recurse=False):
        if name in synapse._buffers:
            setattr(synapse, name, buffer)


def _copy(synapse: Synapse, module: nn.Module) -> None:
    copy_numbers(synapse, module)
    for name in synapse._buffers:
        setattr(synapse, name, numbers(module, name)[0].clone())  # type: ignore[union-attr]


def pair_of(value: Any) -> tuple[int, int]:
    """Return a setting of two axes, which torch also takes as one number."""
    first, second = (value, value) if isinstance(value, (int, float)) else value
    return int(first), int(second)


def single(value: Any) -> int:
    """Return a setting of one axis, which torch takes as a number or a tuple of one."""
    return int(value if isinstance(value, int) else value[0])


def _linear(m: Any) -> Synapse:
    return Linear(m.in_features, m.out_features, bias=m.bias is not None)


def _conv(m: Any) -> Synapse | None:
    if isinstance(m.padding, str) or m.padding_mode != "zeros":
        return None
    return convolution(m, tuple(m.kernel_size), tuple(int(p) for p in m.padding), tuple(m.dilation))


def _transposed(m: Any) -> Synapse | None:
    if m.groups != 1 or set(m.dilation) != {1}:
        return None
    sizes = dict(stride=m.stride, padding=m.padding, output_padding=m.output_padding)
    return ConvTranspose2d(m.in_channels, m.out_channels, m.kernel_size, bias=m.bias is not None, **sizes)


def _pool2d(m: Any) -> Synapse | None:
    kernel, padding = pair_of(m.kernel_size), pair_of(m.padding)
    stride = kernel if m.stride is None else pair_of(m.stride)
    if m.ceil_mode:
        return None
    if isinstance(m, nn.MaxPool2d):
        is_plain = pair_of(m.dilation) == (1, 1) and not m.return_indices
        return MaxPool2d(kernel, stride=stride, padding=padding) if is_plain else None
    if padding != (0, 0) or m.divisor_override not in (None, 1):
        return None
    return (AvgPool2d if m.divisor_override is None else SumPool2d)(kernel, stride=stride)


def _pool1d(m: Any) -> Synapse | None:
    is_average = isinstance(m, nn.AvgPool1d)
    if m.ceil_mode or single(m.padding) or (not is_average and (single(m.dilation) != 1 or m.return_indices)):
        return None
    kernel = single(m.kernel_size)
    return (AvgPool1d if is_average else MaxPool1d)(kernel, stride=single(m.stride or kernel))


def _norm(m: Any) -> Synapse | None:
    if m.running_mean is None or m.running_var is None:
        return None
    # A momentum of None, an average over all batches, matters in training alone.
    return BatchNorm(m.num_features, eps=m.eps, momentum=0.1 if m.momentum is None else m.momentum, affine=m.affine)


def _flatten(m: Any) -> Synapse | None:
    return Flatten() if (m.start_dim, m.end_dim) == (1, -1) else None


COUNTERPARTS: dict[type[nn.Module], Callable[[Any], Synapse | None]] = {
    nn.Linear: _linear,
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.Conv3d: _conv,
    nn.ConvTranspose2d: _transposed,
    nn.AvgPool1d: _pool1d,
    nn.MaxPool1d: _pool1d,
    nn.AvgPool2d: _pool2d,
    nn.MaxPool2d: _pool2d,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.GroupNorm: lambda m: GroupNorm(m.num_groups, m.num_channels, eps=m.eps),
    nn.LayerNorm: lambda m: LayerNorm(tuple(m.normalized_shape), eps=m.eps),
    nn.Flatten: _flatten,
    nn.Identity: lambda m: Identity(),
}
