"""Blocks with the names, the attributes and the integer arithmetic that lava-dl 0.6 documents, where it is missing."""

from __future__ import annotations

import sys
import types
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Neuron(nn.Module):
    """The CUBA neuron: states are integers times 1 / s_scale, decays of 4096ths, rounded toward zero."""

    def __init__(self, threshold: float, current_decay: float, voltage_decay: float, **more: Any) -> None:
        super().__init__()
        self.w_scale = more.get("scale", 64)
        self.s_scale = self.w_scale * 64
        self.threshold = int(threshold * self.w_scale) / self.w_scale
        self.shared_param, self.persistent_state = True, more.get("persistent_state", False)
        self.graded_spike, self.norm, self.drop, self.debug = more.get("graded_spike", False), None, None, False
        self.current_decay = nn.Parameter(torch.tensor([4096 * current_decay]))
        self.voltage_decay = nn.Parameter(torch.tensor([4096 * voltage_decay]))

    def quantize_8bit(self, weight: Tensor) -> Tensor:
        step = 2 / self.w_scale
        return ((weight / step).round() * step).clamp(-256 / self.w_scale, 254 / self.w_scale)

    def forward(self, x: Tensor) -> Tensor:
        kept = [4096 - int(decay.round()) for decay in (self.current_decay, self.voltage_decay)]
        u = v = torch.zeros_like(x[..., 0], dtype=torch.int64)
        sent = []
        for t in range(x.shape[-1]):
            u = torch.div(u * kept[0], 4096, rounding_mode="trunc") + (self.s_scale * x[..., t]).to(torch.int64)
            v = torch.div(v * kept[1], 4096, rounding_mode="trunc") + u
            z = v > round(self.threshold * self.s_scale)
            v = v * ~z
            sent.append(z.to(x.dtype))
        return torch.stack(sent, -1)


class _Synapse(nn.Conv3d):
    def __init__(self, *sizes: Any, weight_norm: bool = False, **more: Any) -> None:
        super().__init__(*sizes, bias=False, **more)
        self.weight_norm_enabled, self.pre_hook_fx = weight_norm, None
        if weight_norm:
            torch.nn.utils.weight_norm(self)

    def forward(self, x: Tensor) -> Tensor:
        shape = x.shape
        x = x.reshape(shape[0], -1, 1, 1, shape[-1]) if x.dim() == 3 else x
        weight = self.weight if self.pre_hook_fx is None else self.pre_hook_fx(self.weight)
        z = functional.conv3d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)
        return z.flatten(1, 3) if isinstance(self, DenseSynapse) else z


class DenseSynapse(_Synapse):
    """All-to-all weights."""


class ConvSynapse(_Synapse):
    """A convolution over two axes."""


def _late(x: Tensor) -> Tensor:
    return functional.pad(x, (1, 0))[..., :-1]


class _Block(nn.Module):
    def __init__(self, delay_shift: bool = True) -> None:
        super().__init__()
        self.delay_shift, self.count_log = delay_shift, False
        self.neuron: Any = None
        self.delay = self.mask = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.neuron(self.synapse(x))
        return _late(x) if self.delay_shift else x


class Input(_Block):
    """Passes spikes on."""

    def forward(self, x: Tensor) -> Tensor:
        return _late(x) if self.delay_shift else x


class Flatten(nn.Module):
    """All axes but batch and time into one."""

    count_log = False

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1, -2)


class Dense(_Block):
    """Dense synapses and neurons."""

    def __init__(self, neuron_params: Any, n_in: int, n_out: int, weight_scale: float = 1.0, **more: Any) -> None:
        super().__init__(more.pop("delay_shift", True))
        self.neuron = Neuron(**neuron_params)
        self.synapse = DenseSynapse(n_in, n_out, (1, 1, 1), **more)
        self.synapse.pre_hook_fx = self.neuron.quantize_8bit
        with torch.no_grad():
            next(self.synapse.parameters()).mul_(weight_scale)


class Conv(_Block):
    """A convolution and neurons."""

    def __init__(
        self, neuron_params: Any, c_in: int, c_out: int, kernel_size: int, weight_scale: float = 1.0, **more: Any
    ) -> None:
        super().__init__(more.pop("delay_shift", True))
        self.neuron = Neuron(**neuron_params)
        sizes = {name: (*(more.pop(name),) * 2, last) for name, last in (("stride", 1), ("padding", 0)) if name in more}
        self.synapse = ConvSynapse(c_in, c_out, (kernel_size, kernel_size, 1), **sizes, **more)
        self.synapse.pre_hook_fx = self.neuron.quantize_8bit
        with torch.no_grad():
            next(self.synapse.parameters()).mul_(weight_scale)


def install() -> None:
    """Make the blocks importable under the names of lava-dl."""
    paths = {
        "lava.lib.dl.slayer.block.cuba": dict(Dense=Dense, Conv=Conv, Flatten=Flatten, Input=Input),
        "lava.lib.dl.slayer.neuron.cuba": dict(Neuron=Neuron),
        "lava.lib.dl.slayer.synapse.layer": dict(Dense=DenseSynapse, Conv=ConvSynapse),
    }
    for path, kinds in paths.items():
        parts = path.split(".")
        for depth in range(1, len(parts) + 1):
            name = ".".join(parts[:depth])
            sys.modules.setdefault(name, types.ModuleType(name))
            if depth > 1:
                setattr(sys.modules[".".join(parts[: depth - 1])], parts[depth - 1], sys.modules[name])
        for name, kind in kinds.items():
            kind.__module__ = path
            setattr(sys.modules[path], name, kind)
