"""Modules with the names, the attributes and the equations that Rockpool 3 documents, where it is not installed."""

from __future__ import annotations

import sys
import types
from typing import Any

import torch
from torch import Tensor, nn


class StepPWL:
    """Number of thresholds that a membrane holds, at most `most`."""

    @staticmethod
    def apply(x: Tensor, threshold: Tensor, window: Tensor, most: Tensor) -> Tensor:
        return ((x >= threshold) * torch.floor(x / threshold)).float().minimum(most)


class _Module(nn.Module):
    def __init__(self, shape: Any) -> None:
        super().__init__()
        sizes = (shape, shape) if isinstance(shape, int) else (*shape, *shape)[:2]
        self.size_in, self.size_out = sizes[0], sizes[-1]

    def __call__(self, x: Tensor) -> tuple[Tensor, dict[str, Any], dict[str, Any]]:
        return self.forward(x), {}, {}


class LinearTorch(_Module):
    """``y = x W + b``."""

    def __init__(self, shape: Any, has_bias: bool = False) -> None:
        super().__init__(shape)
        self.weight = nn.Parameter(torch.randn(self.size_in, self.size_out))
        self.bias = nn.Parameter(torch.randn(self.size_out)) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight if self.bias is None else x @ self.weight + self.bias


class ExpSynTorch(_Module):
    """``i = exp(-dt / tau) (i + x)``."""

    def __init__(self, shape: Any, tau: float = 10e-3, noise_std: float = 0.0, dt: float = 1e-3) -> None:
        super().__init__(shape)
        self.tau, self.noise_std, self.dt = nn.Parameter(torch.tensor(tau)), torch.tensor(noise_std), dt
        self.isyn = torch.zeros(self.size_out)

    def forward(self, x: Tensor) -> Tensor:
        current, sent = torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            current = (current + x[:, t]) * torch.exp(-self.dt / self.tau)
            sent.append(current)
        return torch.stack(sent, 1)


class LIFNeuronTorch(_Module):
    """``v = alpha v + x + b``; spikes at the threshold, which each of them subtracts."""

    def __init__(
        self, shape: Any, tau_mem: float = 20e-3, bias: float = 0.0, threshold: float = 1.0, **more: Any
    ) -> None:
        super().__init__(shape)
        self.dt = more.get("dt", 1e-3)
        self.noise_std = more.get("noise_std", 0.0)
        self.max_spikes_per_dt = torch.as_tensor(more.get("max_spikes_per_dt", 2.0**16))
        self.tau_mem, self.bias, self.threshold = (nn.Parameter(torch.as_tensor(v)) for v in (tau_mem, bias, threshold))
        self.spike_generation_fn = more.get("spike_generation_fn", StepPWL).apply
        self.vmem = torch.zeros(self.size_out)

    @property
    def alpha(self) -> Tensor:
        return torch.exp(-self.dt / self.tau_mem)

    def current(self, x: Tensor, spikes: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        v, spikes, sent = torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            v = v * self.alpha + self.current(x[:, t], spikes) + self.bias
            spikes = self.spike_generation_fn(v, self.threshold, torch.tensor(0.5), self.max_spikes_per_dt)
            v = v - spikes * self.threshold
            sent.append(spikes)
        return torch.stack(sent, 1)


class LIFTorch(LIFNeuronTorch):
    """The same behind ``i = beta (i + x + W z)``."""

    def __init__(self, shape: Any, tau_syn: float = 20e-3, has_rec: bool = False, **more: Any) -> None:
        super().__init__(shape, **more)
        self.n_synapses = self.size_in // self.size_out
        self.tau_syn, self._has_rec = nn.Parameter(torch.tensor(tau_syn)), has_rec
        self.w_rec = nn.Parameter(torch.randn(self.size_out, self.size_in)) if has_rec else None

    @property
    def beta(self) -> Tensor:
        return torch.exp(-self.dt / self.tau_syn)

    def forward(self, x: Tensor) -> Tensor:
        self.kept = torch.zeros_like(x[:, 0])
        return super().forward(x)

    def current(self, x: Tensor, spikes: Tensor) -> Tensor:
        x = x if self.w_rec is None else x + spikes @ self.w_rec
        self.kept = self.beta * (self.kept + x)
        return self.kept


class TorchSequential(_Module):
    """Modules in a row."""

    def __init__(self, *modules: _Module) -> None:
        super().__init__((modules[0].size_in, modules[-1].size_out))
        for number, module in enumerate(modules):
            self.add_module(str(number), module)

    def forward(self, x: Tensor) -> Tensor:
        for module in self._modules.values():
            x = module(x)[0]  # type: ignore[misc]
        return x


def install() -> None:
    """Make the modules importable under Rockpool's names."""
    names = ("rockpool", "nn", "modules", "torch"), ("rockpool", "nn", "combinators", "sequential")
    for path in names:
        for depth in range(1, len(path) + 1):
            sys.modules.setdefault(".".join(path[:depth]), types.ModuleType(".".join(path[:depth])))
    own = sys.modules["rockpool.nn.modules.torch"]
    for kind in (LinearTorch, ExpSynTorch, LIFNeuronTorch, LIFTorch, TorchSequential):
        kind.__module__ = "rockpool.nn.modules.torch"
        setattr(own, kind.__name__, kind)
    _Module.__module__ = "rockpool.nn.modules.torch"
    sequential = sys.modules["rockpool.nn.combinators.sequential"]
    sequential.TorchSequential = sequential.Sequential = TorchSequential  # type: ignore[attr-defined]
    sys.modules["rockpool.nn.modules"].torch = own  # type: ignore[attr-defined]
