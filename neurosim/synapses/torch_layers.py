"""Synapses that compute what a layer of torch computes for one sample, or the reason why there are none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.synapses.building import synapses_of
from neurosim.synapses.dropout import Dropout
from neurosim.synapses.lowering import Scaling
from neurosim.synapses.pool import AvgPool2d, Flatten, MaxPool2d
from neurosim.synapses.pool1d import AdaptiveAvgPool2d
from neurosim.synapses.probing import matrix_of
from neurosim.synapses.synapse import Synapse
from neurosim.synapses.torch_counterparts import convolution, copy_numbers, counterpart, pair_of, single
from neurosim.synapses.torch_modules import check_unchanged, nearest, numbers
from neurosim.synapses.unflatten import Unflatten
from neurosim.synapses.upsample import Upsample

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where a layer of torch stands.

    Attributes
    ----------
    shape : tuple of int
        Of one step of one sample of its input.
    axes_before : int
        Axes of its input before those of `shape`: 1 for the batch, 2 for batch and time.
    non_negative : bool
        Whether its input is never below 0, as spikes are not.
    dtype : torch.dtype, optional
        Precision of the synapses; that of the weights if left out.
    aliases : mapping of type to type
        Classes of another library, each with the class of torch that computes the same.
    """

    shape: Shape
    axes_before: int = 1
    non_negative: bool = False
    dtype: torch.dtype | None = None
    aliases: Mapping[type, type] = field(default_factory=dict)


def torch_synapses(module: nn.Module, place: Place) -> list[Synapse] | None:
    """Return synapses that compute, one after the other, what a layer of torch computes in evaluation mode.

    The class of the layer is the one whose methods a call runs. Weights that parametrisations or the hooks of
    `torch.nn.utils` compute are computed; a layer with other hooks, or with a forward method of its own, is refused.

    Parameters
    ----------
    module : torch.nn.Module
        It is not changed.
    place : Place

    Returns
    -------
    list of Synapse or None
        Of copies; empty for a layer that passes its input on. None for a module that is no known layer of torch.

    Raises
    ------
    InputError
        For settings that no synapse has, a layer that was changed, and a shape that does not fit. The message ends a
        sentence that begins with the layer.

    Examples
    --------
    >>> import torch
    >>> from neurosim.synapses.torch_layers import Place, torch_synapses
    >>> torch_synapses(torch.nn.Linear(4, 3), Place((4,)))
    [Linear(4, 3, bias=True)]
    >>> torch_synapses(torch.nn.Flatten(), Place((2, 3)))
    [Flatten()]
    """
    kind = nearest(module, (*_LAYERS, *place.aliases))
    if kind is None:
        return None
    torch_kind = place.aliases.get(kind, kind)
    check_unchanged(module, kind, computed_weights=torch_kind in _WEIGHTED)
    try:
        synapses = _LAYERS[torch_kind](module, place)
        _shape_after(synapses, place.shape)
    except ShapeError as error:
        raise InputError(f"cannot take an input of {list(place.shape)}: {error}") from error
    return synapses if place.dtype is None else [synapse.to(place.dtype) for synapse in synapses]


def is_torch_layer(module: nn.Module) -> bool:
    """Whether `torch_synapses` converts, or refuses by name, a module of this class."""
    return nearest(module, _LAYERS) is not None


def _linear(module: Any, place: Place) -> list[Synapse]:
    if place.shape != (module.in_features,):
        raise InputError(
            f"reads the last axis of an input of {list(place.shape)}; a synapse reads one row of {module.in_features} "
            "neurons. Flatten before it."
        )
    return _copied(module, nn.Linear)


def _conv(module: Any, place: Place) -> list[Synapse]:
    _batch_first(module, place)
    if module.padding_mode != "zeros":
        raise InputError(f"padding_mode={module.padding_mode!r}; only padding with zeros has an equivalent.")
    if not isinstance(module.padding, str):
        return _copied(module, nn.Conv2d)
    weight, padding, dilation = _padded(module)
    conv = convolution(module, tuple(weight.shape[2:]), padding, dilation)
    copy_numbers(conv, module, weight=weight)
    return [conv]


def _padded(module: Any) -> tuple[Tensor, Shape, Shape]:
    """Return weight, padding and dilation with padding in numbers, equal on both sides, where it is a text.

    Padding with "same" of an odd number of zeros has one more at the end: the kernel then begins with a weight of 0 in
    its place.
    """
    (weight,), dilation = numbers(module, "weight"), tuple(module.dilation)
    assert weight is not None
    if module.padding == "valid":
        return weight, (0,) * len(dilation), dilation
    total = [d * (k - 1) for d, k in zip(dilation, module.kernel_size, strict=True)]
    if not any(t % 2 for t in total):
        return weight, tuple(t // 2 for t in total), dilation
    odd = [t % 2 for t in total]
    full = weight.new_zeros(*weight.shape[:2], *(t + 1 + o for t, o in zip(total, odd, strict=True)))
    places = [slice(o, None, d) for o, d in zip(odd, dilation, strict=True)]
    full[(slice(None), slice(None), *places)] = weight
    return full, tuple((t + o) // 2 for t, o in zip(total, odd, strict=True)), (1,) * len(dilation)


def _transposed(module: Any, place: Place) -> list[Synapse]:
    _batch_first(module, place)
    synapse = counterpart(module, nn.ConvTranspose2d, share=False) if len(module.kernel_size) == 2 else None
    if synapse is not None:
        return [synapse]
    weight, bias = numbers(module, "weight", "bias")
    assert weight is not None
    run = nn.functional.conv_transpose1d if weight.dim() == 3 else nn.functional.conv_transpose2d
    settings = (module.stride, module.padding, module.output_padding, module.groups, module.dilation)
    exact = weight.double()
    synapses = _matrix(lambda x: run(x, exact, None, *settings), place, weight.dtype)
    if bias is None:
        return synapses
    shape = _shape_after(synapses, place.shape)
    constant = bias.view(-1, *[1] * (len(shape) - 1)).expand(shape)
    return [*synapses, *synapses_of(Scaling(torch.ones((), dtype=bias.dtype), constant), shape, dt=0.0)]


def _pool2d(module: Any, place: Place) -> list[Synapse]:
    _batch_first(module, place)
    if isinstance(module, nn.MaxPool2d):
        for name, is_set in (
            ("dilation", pair_of(module.dilation) != (1, 1)),
            ("ceil_mode", module.ceil_mode),
            ("return_indices", module.return_indices),
        ):
            if is_set:
                raise InputError(f"{name}={getattr(module, name)!r}; pooling of neurosim has no such setting.")
        if len(place.shape) != 3:
            raise InputError(f"pools an input of {list(place.shape)}; pooling needs [C, H, W].")
        return _copied(module, nn.MaxPool2d)
    synapse = counterpart(module, nn.AvgPool2d, share=False) if len(place.shape) == 3 else None
    if synapse is not None:
        return [synapse]
    settings = (module.kernel_size, module.stride, module.padding, module.ceil_mode, module.count_include_pad)
    return _fixed(_matrix(lambda x: nn.functional.avg_pool2d(x, *settings, module.divisor_override), place))


def _pool1d(module: Any, place: Place) -> list[Synapse]:
    _batch_first(module, place)
    if len(place.shape) != 2:
        raise InputError(f"pools an input of {list(place.shape)}; pooling over one axis needs [C, L].")
    synapse = counterpart(module, nn.AvgPool1d, share=False)
    if synapse is not None:
        return [synapse]
    if isinstance(module, nn.AvgPool1d):
        settings = (module.kernel_size, module.stride, module.padding, module.ceil_mode, module.count_include_pad)
        return _fixed(_matrix(lambda x: nn.functional.avg_pool1d(x, *settings), place))
    window = nn.MaxPool2d((1, single(module.kernel_size)), (1, single(module.stride or module.kernel_size)))
    window.padding, window.dilation = (0, single(module.padding)), (1, single(module.dilation))
    window.ceil_mode, window.return_indices = module.ceil_mode, module.return_indices
    channels, length = place.shape
    image = Place((channels, 1, length))
    pool = _pool2d(window, image)
    after = _shape_after(pool, image.shape)
    return [Unflatten(image.shape), *pool, Unflatten((channels, after[2]))]


def _adaptive(module: Any, place: Place) -> list[Synapse]:
    _batch_first(module, place)
    axes = 1 if isinstance(module, nn.AdaptiveAvgPool1d) else 2
    if len(place.shape) != 1 + axes:
        raise InputError(f"pools an input of {list(place.shape)}; pooling over {axes} axes needs {axes + 1}.")
    given = (module.output_size,) * axes if isinstance(module.output_size, int) else tuple(module.output_size)
    places = place.shape[1:]
    size = tuple(n if o is None else o for n, o in zip(places, given, strict=True))
    window = tuple(n // o for n, o in zip(places, size, strict=True))
    if axes == 2 and all(n % o == 0 for n, o in zip(places, size, strict=True)):
        pool = MaxPool2d if isinstance(module, nn.AdaptiveMaxPool2d) else AvgPool2d
        return [pool((window[0], window[1]))]
    if isinstance(module, nn.AdaptiveMaxPool2d):
        raise InputError(f"output_size={module.output_size!r} does not divide {list(places)} into equal windows.")
    if axes == 2:
        return [AdaptiveAvgPool2d((size[0], size[1]))]
    return _fixed(_matrix(lambda x: nn.functional.adaptive_avg_pool1d(x, size[0]), place))


def _flatten(module: Any, place: Place) -> list[Synapse]:
    total = place.axes_before + len(place.shape)
    start, end = (axis + total if axis < 0 else axis for axis in (module.start_dim, module.end_dim))
    if not place.axes_before <= start <= end < total:
        raise InputError(
            f"flattens axes {module.start_dim} to {module.end_dim} of [{'T, ' * (place.axes_before - 1)}B, "
            f"{', '.join(map(str, place.shape))}]; a conversion exists only for axes of one sample."
        )
    first, last = start - place.axes_before, end - place.axes_before
    return _reshaped(place, (*place.shape[:first], math.prod(place.shape[first : last + 1]), *place.shape[last + 1 :]))


def _unflatten(module: Any, place: Place) -> list[Synapse]:
    total = place.axes_before + len(place.shape)
    if isinstance(module.dim, str):
        raise InputError(f"unflattens the named axis {module.dim!r}; give the number of the axis.")
    axis = (module.dim + total if module.dim < 0 else module.dim) - place.axes_before
    if not 0 <= axis < len(place.shape):
        raise InputError(f"unflattens axis {module.dim}; a conversion exists only for axes of one sample.")
    rest = [size for size in module.unflattened_size if size >= 0]
    sizes = [place.shape[axis] // math.prod(rest) if size < 0 else size for size in module.unflattened_size]
    return _reshaped(place, (*place.shape[:axis], *sizes, *place.shape[axis + 1 :]))


def _reshaped(place: Place, shape: Shape) -> list[Synapse]:
    if shape == place.shape:
        return []
    synapse = Flatten() if len(shape) == 1 else Unflatten(shape)
    synapse.output_shape(place.shape)
    return [synapse]


def _norm(module: Any, place: Place) -> list[Synapse]:
    _batch_first(module, place)
    if module.training or module.running_mean is None or module.running_var is None:
        raise InputError(
            "is in training, or has no running statistics, so it mixes the samples of a batch; call .eval() on the "
            "module."
        )
    axes = (1, 2) if isinstance(module, nn.BatchNorm1d) else (3,)
    if len(place.shape) not in axes:
        raise InputError(f"cannot take an input of {list(place.shape)} beside the batch.")
    return _copied(module, nn.BatchNorm1d)


def _group_norm(module: Any, place: Place) -> list[Synapse]:
    _batch_first(module, place)
    return _copied(module, nn.GroupNorm)


def _layer_norm(module: Any, place: Place) -> list[Synapse]:
    if tuple(module.normalized_shape) != place.shape:
        raise InputError(
            f"normalises the axes {list(module.normalized_shape)} of an input of {list(place.shape)}; a conversion "
            "exists only for all axes of one sample."
        )
    return _copied(module, nn.LayerNorm)


def _dropout(module: Any, place: Place) -> list[Synapse]:
    return [Dropout(module.p).eval()] if 0 < module.p < 1 else []


def _same(module: Any, place: Place) -> list[Synapse]:
    return []


def _relu(module: Any, place: Place) -> list[Synapse]:
    if place.non_negative:
        return []
    raise InputError(
        "rectifies currents, which may be below 0: no synapse does. Behind spikes it changes nothing; elsewhere put "
        "spiking neurons in its place."
    )


def _upsample(module: Any, place: Place) -> list[Synapse]:
    _batch_first(module, place)
    factors = pair_of(module.scale_factor) if _is_whole(module.scale_factor) else None
    if module.mode == "nearest" and module.size is None and factors is not None and len(place.shape) == 3:
        return [Upsample(factors)]
    settings = dict(
        size=module.size, scale_factor=module.scale_factor, mode=module.mode, align_corners=module.align_corners
    )
    settings["recompute_scale_factor"] = module.recompute_scale_factor
    return _fixed(_matrix(lambda x: nn.functional.interpolate(x, **settings), place))


def _zeros_around(module: Any, place: Place) -> list[Synapse]:
    _batch_first(module, place)
    return _fixed(_matrix(lambda x: nn.functional.pad(x, tuple(module.padding)), place))


def _matrix(run: Callable[[Tensor], Tensor], place: Place, dtype: torch.dtype | None = None) -> list[Synapse]:
    """Return a linear function of [n, *shape], which a layer of torch is, as listed synapses between flat rows."""
    try:
        value, out_shape = matrix_of(run, place.shape)
    except (RuntimeError, IndexError, ValueError) as error:
        raise InputError(f"cannot take an input of {list(place.shape)}: {error}") from error
    synapses = synapses_of(value, place.shape, dt=0.0)
    reshape: list[Synapse] = [Unflatten(out_shape)] if len(out_shape) > 1 else []
    kind = place.dtype or dtype or torch.get_default_dtype()
    return [*(synapse.to(kind) for synapse in synapses), *reshape]


def _fixed(synapses: list[Synapse]) -> list[Synapse]:
    """Return synapses of a layer without weights: theirs are not trained."""
    return [synapse.requires_grad_(False) for synapse in synapses]


def _copied(module: nn.Module, kind: type) -> list[Synapse]:
    """Return a copy as the one synapse with the settings of a layer, which are known to have one."""
    synapse = counterpart(module, kind, share=False)
    assert synapse is not None
    return [synapse]


def _shape_after(synapses: Sequence[Synapse], shape: Shape) -> Shape:
    for synapse in synapses:
        shape = synapse.output_shape(shape)
    return shape


def _batch_first(module: nn.Module, place: Place) -> None:
    if place.axes_before != 1:
        raise InputError("takes the axes [B, ...]; here it is given time and batch. Apply it to each step.")


def _is_whole(factor: Any) -> bool:
    values = factor if isinstance(factor, tuple) else (factor,)
    return all(isinstance(value, (int, float)) and value >= 1 and value == int(value) for value in values)


_WEIGHTED = frozenset(
    {
        nn.Linear,
        nn.Conv1d,
        nn.Conv2d,
        nn.Conv3d,
        nn.ConvTranspose1d,
        nn.ConvTranspose2d,
        nn.BatchNorm1d,
        nn.BatchNorm2d,
        nn.GroupNorm,
        nn.LayerNorm,
    }
)
_LAYERS: dict[type, Callable[[Any, Place], list[Synapse]]] = {
    nn.Linear: _linear,
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.Conv3d: _conv,
    nn.ConvTranspose1d: _transposed,
    nn.ConvTranspose2d: _transposed,
    nn.AvgPool1d: _pool1d,
    nn.MaxPool1d: _pool1d,
    nn.AvgPool2d: _pool2d,
    nn.MaxPool2d: _pool2d,
    nn.AdaptiveAvgPool1d: _adaptive,
    nn.AdaptiveAvgPool2d: _adaptive,
    nn.AdaptiveMaxPool2d: _adaptive,
    nn.Flatten: _flatten,
    nn.Unflatten: _unflatten,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.Identity: _same,
    nn.Dropout: _dropout,
    nn.Dropout1d: _dropout,
    nn.Dropout2d: _dropout,
    nn.ReLU: _relu,
    nn.Upsample: _upsample,
    nn.ZeroPad1d: _zeros_around,
    nn.ZeroPad2d: _zeros_around,
}
