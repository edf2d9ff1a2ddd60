"""Shared parts of all conversions: a neuron by the numbers of its step, layers of torch as synapses, a sequence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from neurosim import cores
from neurosim.errors import InputError, NeurosimError
from neurosim.network import Network, Recurrent, Sequential
from neurosim.network.graph import Input
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.synapses import (
    AvgPool2d,
    BatchNorm,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    Synapse,
)
from neurosim.synapses.building import synapses_of
from neurosim.synapses.lowering import Convolution, Dense
from neurosim.units import resistance, time_constant

Number = float | Tensor
Part = Synapse | Neuron | Recurrent


class ConversionError(NeurosimError, ValueError):
    """A part of another library, or of a network, has no exact equivalent."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a neuron: ``u = decay v + gain i; z = u > v_th``, then the reset.

    Attributes
    ----------
    decay, gain : float or Tensor
        Of the membrane. A decay of 1 is an integrator without leak.
    v_th : float or Tensor, optional
        None for a membrane without spikes.
    reset : {"value", "subtract", None}
    v_reset, amount : float or Tensor
        Value after a reset to a value, and amount of a reset by subtraction.
    current : float or Tensor, optional
        Decay of a synaptic current: ``j = current j + i`` then replaces i.
    """

    decay: Number
    gain: Number = 1.0
    v_th: Number | None = None
    reset: Literal["value", "subtract"] | None = "value"
    v_reset: Number = 0.0
    amount: Number | None = None
    current: Number | None = None

    def neuron(self, where: str, dt: float, dtype: torch.dtype, choices: dict[str, Any]) -> Neuron:
        """Return the neurons of this step; `where` is their name in messages."""
        values: dict[str, Any] = {}
        decay, gain = tidy(self.decay), tidy(self.gain)
        ones = decay == 1.0
        perfect = bool(ones.all()) if isinstance(ones, Tensor) else ones
        if perfect and self.current is None:
            core, values["r"] = (cores.integrator if self.v_th is None else cores.integrate_and_fire), gain
        else:
            if (isinstance(ones, Tensor) and ones.any()) or perfect:
                raise ConversionError(
                    f"{where}: a decay of 1 (no leak) beside a synaptic current, or beside neurons that leak, has no "
                    "equivalent; use a decay below 1."
                )
            if self.current is None:
                core = cores.leaky_integrator if self.v_th is None else cores.lif
            else:
                core = cores.cuba_integrator if self.v_th is None else cores.cubalif
                values["tau_syn"] = _time(where, self.current, dt)
            values["tau_mem"], values["r"] = _time(where, decay, dt), resistance(decay, gain, dtype)
        if self.v_th is not None:
            values |= {"v_th": tidy(self.v_th), "reset": self.reset, **choices}
            if self.reset == "value":
                values["v_reset"] = tidy(self.v_reset)
            elif self.amount is not None:
                values["reset_amount"] = tidy(self.amount)
        try:
            return Neuron(core, dt=dt, **values)
        except NeurosimError as error:
            raise ConversionError(f"{where}: {error}") from error


def _time(where: str, decay: Number, dt: float) -> Number:
    try:
        return time_constant(tidy(decay), dt)
    except InputError as error:
        raise ConversionError(f"{where}: {error}") from error


def tidy(value: Any) -> Number:
    """Return a number that all neurons share as a float, other numbers as a tensor in double precision."""
    if not isinstance(value, Tensor):
        return float(value)
    flat = value.detach().double()
    return float(flat.flatten()[0]) if flat.numel() and bool((flat == flat.flatten()[0]).all()) else flat.clone()


def doubled(value: Any) -> Tensor:
    """Return numbers as a tensor in double precision, without gradient."""
    return value.detach().double() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def precision(module: Any, dtype: torch.dtype | None) -> torch.dtype:
    """Return the precision of layers: `dtype`, or that of their first parameter or buffer."""
    if dtype is not None:
        return dtype
    numbers = (t for _, layer in layers(module) for t in (*layer.parameters(), *layer.buffers()))
    return next((t.dtype for t in numbers if t.is_floating_point()), torch.get_default_dtype())


def layers(module: Any, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a sequence with their names for messages; containers are flattened."""
    if isinstance(module, (nn.Sequential, nn.ModuleList)):
        for name, inner in module.named_children():
            yield from layers(inner, f"{path}{name}.")
    elif isinstance(module, (list, tuple)):
        for number, inner in enumerate(module):
            yield from layers(inner, f"{path}{number}.")
    elif isinstance(module, nn.Module):
        yield f"layer {path.rstrip('.')!r} ({type(module).__name__})", module
    else:
        raise ConversionError(f"layer {path.rstrip('.')!r} must be a torch module; got {type(module).__name__}.")


def parts_of(where: str, module: nn.Module, dtype: torch.dtype) -> list[Part] | None:
    """Return the equivalent of a layer of torch; None for other modules.

    Subclasses of torch's layers in other libraries are converted as these layers.

    Raises
    ------
    ConversionError
        For settings without an equivalent.
    """
    if isinstance(module, nn.Linear):
        return _synapses(Dense(module.weight, module.bias), (module.in_features,), dtype)
    if isinstance(module, (nn.Conv1d, nn.Conv2d)) and not getattr(module, "transposed", False):
        if module.padding_mode != "zeros" or isinstance(module.padding, str):
            raise ConversionError(
                f"{where}: padding_mode={module.padding_mode!r}, padding={module.padding!r}; only padding with "
                "zeros, given in numbers, is converted."
            )
        padding = tuple(int(p) for p in module.padding)
        settings = (tuple(module.stride), padding, tuple(module.dilation), module.groups)
        return _synapses(Convolution(module.weight, *settings, module.bias), (module.in_channels,), dtype)
    if isinstance(module, (nn.AvgPool2d, nn.MaxPool2d)):
        return [_pool(where, module)]
    if isinstance(module, nn.Flatten):
        if module.start_dim != 1 or module.end_dim != -1:
            raise ConversionError(
                f"{where}: flattens axes {module.start_dim} to {module.end_dim}; a conversion exists only for all axes "
                "but the batch."
            )
        return [Flatten()]
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return [_norm(where, module, dtype)]
    if isinstance(module, (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)):
        return []  # dropout changes nothing in evaluation
    return None


def _synapses(value: Dense | Convolution, shape: tuple[int, ...], dtype: torch.dtype) -> list[Part]:
    return [synapse.to(dtype) for synapse in synapses_of(value, shape, dt=0.0)]  # without delays dt has no effect


def _pool(where: str, module: nn.AvgPool2d | nn.MaxPool2d) -> Synapse:
    def pair(value: Any) -> tuple[int, int]:
        first, second = (value, value) if isinstance(value, int) else value
        return first, second

    strange = {"padding": pair(module.padding) != (0, 0), "ceil_mode": module.ceil_mode}
    strange["divisor_override"] = getattr(module, "divisor_override", None) is not None
    strange["dilation"] = pair(getattr(module, "dilation", 1)) != (1, 1)
    wrong = [name for name, is_set in strange.items() if is_set]
    if wrong:
        raise ConversionError(
            f"{where}: {wrong[0]}={getattr(module, wrong[0])!r}; pooling of neurosim has no such setting."
        )
    kind = AvgPool2d if isinstance(module, nn.AvgPool2d) else MaxPool2d
    return kind(pair(module.kernel_size), stride=pair(module.stride))


def _norm(where: str, module: nn.BatchNorm1d | nn.BatchNorm2d, dtype: torch.dtype) -> Synapse:
    if module.training or module.running_mean is None or module.running_var is None:
        raise ConversionError(
            f"{where}: is in training, or has no running statistics, so it mixes the samples of a batch; call .eval() "
            "on the module."
        )
    norm = BatchNorm(module.num_features, eps=module.eps, affine=module.affine).to(dtype)
    with torch.no_grad():
        norm.running_mean.copy_(module.running_mean)
        norm.running_var.copy_(module.running_var)
        if norm.weight is not None and norm.bias is not None:
            norm.weight.copy_(module.weight)
            norm.bias.copy_(module.bias)
    return norm.eval()


def converted(
    module: Any, of_library: Callable[[str, nn.Module], list[Part] | None], library: str, dtype: torch.dtype
) -> list[Part]:
    """Return the equivalents of all layers of a sequence."""
    parts: list[Part] = []
    for where, layer in layers(module):
        equivalent = of_library(where, layer)
        equivalent = parts_of(where, layer, dtype) if equivalent is None else equivalent
        if equivalent is None:
            raise ConversionError(
                f"{where}: is no layer of torch or {library} that is converted. Pass the layers in the order in which "
                "they are called, as a list or nn.Sequential; the forward method of another module cannot be read."
            )
        parts += equivalent
    return parts


def assembled(parts: Sequence[Part], input_shape: int | Sequence[int] | None, dt: float) -> Network:
    """Return the network of a sequence of parts; currents at its end are passed on by a relay."""
    row: list[Any] = []
    if input_shape is not None:
        row.append(Input(input_shape))
    elif not parts or not isinstance(parts[0], Linear):
        raise ConversionError("the shape of the input is not known, because no Linear is first; pass input_shape=.")
    for part in parts:
        lone = isinstance(part, (Population, Recurrent)) and (not row or not isinstance(row[-1], Synapse))
        row += [Identity(), part] if lone else [part]
    if isinstance(row[-1], Synapse):
        row.append(Neuron(cores.relay, dt=dt))
    return Sequential(*row).eval()
