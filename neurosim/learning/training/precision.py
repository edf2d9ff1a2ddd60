"""Half precision on a GPU: autocast for the network, and scaling of small gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from neurosim.errors import InputError
from neurosim.kernels.common import constants
from neurosim.learning.rules.base import Forward, called
from neurosim.network.graph import NetworkState


class Precision:
    """Precision of a training run: that of the network, or matrix products in half precision.

    Parameters
    ----------
    dtype : torch.dtype or None
        `torch.float16`, `torch.bfloat16`, or None for the network's own precision.
    device : torch.device
        Device of the network.
    optimizer : torch.optim.Optimizer, optional
        The optimizer of the run, None for evaluation.

    Raises
    ------
    InputError
        For another dtype, a device other than CUDA, or an optimizer that cannot work with scaled gradients.
    """

    def __init__(self, dtype: torch.dtype | None, device: torch.device, optimizer: Optimizer | None = None) -> None:
        if dtype not in (None, torch.float16, torch.bfloat16):
            raise InputError(f"mixed_precision={dtype}: torch.float16, torch.bfloat16 or None.")
        if dtype is not None and device.type != "cuda":
            raise InputError(
                f"mixed_precision={dtype} needs a CUDA device, the network is on {device}. "
                "Leave mixed_precision out, or pass device='cuda'."
            )
        if dtype == torch.float16 and isinstance(optimizer, LBFGS):
            raise InputError("LBFGS cannot work with the scaled gradients of torch.float16. Use bfloat16 or Adam.")
        self.dtype = dtype
        self.device_type = device.type
        # bfloat16 has the exponent range of float32: its gradients do not vanish and need no scaling.
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def forward(self, net: nn.Module) -> Forward:
        """Return the callable that a rule uses as its network."""
        if self.dtype is None:
            return net

        def run(x: Tensor, state: NetworkState | None = None, **choices: Any) -> tuple[Tensor, NetworkState]:
            with torch.autocast(self.device_type, dtype=self.dtype):
                output, after = called(net, x, state, **choices)
            # Losses sum over steps and classes: in float32.
            return output.float(), after

        return run

    def backward(self, value: Tensor) -> None:
        """Run the backward pass of a loss, scaled for float16."""
        scaled = self.scaler.scale(value)
        scaled.backward(constants.filled(scaled, scaled.shape, 1.0, scaled.dtype))
