"""What a training step asks of a CUDA device, counted on the CPU: launches, and waits of the host.

The CUDA path runs on CPU tensors, with each Triton kernel left out. Every operation of torch that would launch a kernel
counts as one.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import neurosim as ns
from neurosim.kernels.common import constants
from neurosim.kernels.linear import cuda as linear_cuda
from neurosim.kernels.linear import cuda_events, product
from neurosim.kernels.linear import operator as linear
from neurosim.kernels.neurons import cuda as neurons_cuda
from neurosim.kernels.neurons import operator as neurons
from neurosim.kernels.recurrent import cuda as recurrent_cuda
from neurosim.kernels.recurrent import operator as recurrent
from neurosim.learning.training.precision import Precision
from neurosim.network.fused_row import FusedRow
from neurosim.synapses import DelayedLinear, conv, delay_taps

# Operations that allocate, look or are a view; `detach` and the like are among the views by their schema.
_FREE = {"aten::empty", "aten::empty_like", "aten::new_empty", "aten::empty_strided", "aten::new_empty_strided"}
_FREE |= {"aten::detach", "aten::alias", "aten::lift_fresh", "aten::_unsafe_view", "aten::set_"}
_WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero", "aten::masked_select"}


class Counted(TorchDispatchMode):
    """Counts launches and waits."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split(".")[0]
        aliases = [result.alias_info for result in func._schema.returns]
        is_view = any(alias is not None and not alias.is_write for alias in aliases)
        if name in _WAITS:
            self.waits[name] += 1
        elif name not in _FREE and not is_view:
            self.launches[name] += 1
        return func(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        """Number of launches."""
        return sum(self.launches.values())


class _LeftOut:
    """A Triton kernel that is counted and not run."""

    def __init__(self, name: str, count: Callable[[str], None]) -> None:
        self.name, self.count = name, count

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        return lambda *_, **__: self.count(self.name)


@contextlib.contextmanager
def cuda_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    """Let layers take the CUDA path on CPU tensors, and count inside the block."""
    counted = Counted()

    def count(name: str) -> None:
        counted.launches[f"triton::{name}"] += 1

    with monkeypatch.context() as patch:
        patch.setattr(linear, "_kernels", lambda like: linear_cuda)
        patch.setattr(neurons, "_kernels", lambda like: neurons_cuda)
        patch.setattr(recurrent, "_kernels", lambda like: recurrent_cuda)
        patch.setattr(linear, "is_single_step", lambda call: False)
        patch.setattr(FusedRow, "concerns", lambda *_: False)  # it is for the CPU
        patch.setattr(neurons, "gradient_mask", lambda call, outputs: None)
        patch.setattr(constants, "on_accelerator", lambda device: True)
        for module in (conv, delay_taps):
            patch.setattr(module, "event_driven", lambda x, weight: False)
        patch.setattr(product, "on_accelerator", lambda device: True)
        way = ("forward", "backward")
        patch.setattr(neurons_cuda, "compiled", lambda key, real, back, _: _LeftOut(f"core {way[back]}", count))
        patch.setattr(recurrent_cuda, "compiled", lambda key, r, w, back, *_: _LeftOut(f"loop {way[back]}", count))
        for name in ("_pack", "_unpack", "_gather", "_transpose"):
            patch.setattr(cuda_events, name, _LeftOut(name, count))
        with counted:
            yield counted


def _feedforward(recompute: bool = False) -> tuple[Any, Tensor]:
    net = ns.Sequential(
        ns.Linear(700, 256), ns.LIF(), ns.Linear(256, 256), ns.LIF(), ns.Linear(256, 20), ns.LIF(), dt=1e-3
    )
    return functools.partial(net, recompute=recompute), torch.zeros(10, 4, 700)


def _recurrent(n: int) -> tuple[Any, Tensor]:
    net = ns.Network(
        nodes={"in": ns.Input(700), "r": ns.LIF(), "out": ns.LI()},
        edges=[
            ns.Edge("in", "r", ns.Linear(700, n)),
            ns.Edge("r", "r", ns.Linear(n, n)),
            ns.Edge("r", "out", ns.Linear(n, 20)),
        ],
        dt=1e-3,
    )
    return net, torch.zeros(10, 4, 700)


def _convolutional() -> tuple[Any, Tensor]:
    net = ns.Sequential(
        ns.Input((2, 10, 10)),
        ns.Conv2d(2, 4, 3, padding=1),
        ns.LIF(),
        ns.Conv2d(4, 4, 3),
        ns.LIF(),
        ns.Flatten(),
        ns.Linear(4 * 64, 20),
        ns.LIF(),
        dt=1e-3,
    )
    return net, torch.zeros(10, 4, 2, 10, 10)


def _delayed() -> tuple[Any, Tensor]:
    net = ns.Network(
        nodes={"in": ns.Input(40), "h": ns.LIF(), "out": ns.LI()},
        edges=[
            ns.Edge("in", "h", DelayedLinear(40, 30, max_delay=5e-3), delay=2e-3),
            ns.Edge("h", "out", ns.Linear(30, 20), delay=1e-3),
        ],
        dt=1e-3,
    )
    return net, torch.zeros(10, 4, 40)


# Networks and inputs of training steps, by name; few steps and samples, on which the launches do not depend.
STEPS: dict[str, Callable[[], tuple[Any, Tensor]]] = {
    "train-step": _feedforward,
    "train-step, recompute": functools.partial(_feedforward, True),
    "recurrent-step 700-128-20": functools.partial(_recurrent, 128),
    "conv-step": _convolutional,
    "delays-step": _delayed,
}


def counted_step(monkeypatch: pytest.MonkeyPatch, name: str) -> Counted:
    """Return the counts of one forward pass, loss and backward pass, after a first one that makes what is kept."""
    run, x = STEPS[name]()
    target, precision = torch.zeros(4, dtype=torch.int64), Precision(None, torch.device("cpu"))

    def step() -> None:
        out, _ = run(x)
        precision.backward(functional.cross_entropy(out.mean(0), target))

    with cuda_path(monkeypatch):
        step()
    for parameter in (run.func if isinstance(run, functools.partial) else run).parameters():
        parameter.grad = None
    with cuda_path(monkeypatch) as counted:
        step()
    return counted
