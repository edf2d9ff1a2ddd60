"""All-to-all synapses."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurosim.kernels.common import decisions
from neurosim.kernels.common.availability import DTYPES, fused
from neurosim.synapses.lowering import Dense, Lowered
from neurosim.synapses.synapse import Synapse, count


def uniform_weight(shape: tuple[int, ...], fan_in: int) -> nn.Parameter:
    """Return weights drawn from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the initial values of torch's linear layers."""
    bound = 1.0 / math.sqrt(max(fan_in, 1))
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class Linear(Synapse):
    """Dense synapses: ``i = W z + b``.

    Parameters
    ----------
    n_in, n_out : int
        Number of presynaptic and of postsynaptic neurons.
    bias : bool
        Whether each neuron gets a constant current too.

    Attributes
    ----------
    weight : Parameter [n_out, n_in]
    bias : Parameter [n_out] or None
    """

    def __init__(self, n_in: int, n_out: int, *, bias: bool = False) -> None:
        super().__init__()
        self.n_in, self.n_out = count("Linear", "n_in", n_in), count("Linear", "n_out", n_out)
        self.weight = uniform_weight((n_out, n_in), n_in)
        self.bias = uniform_weight((n_out,), n_in) if bias else None
        self.note_drawn_weights()

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(n_out,)``."""
        if tuple(shape) != (self.n_in,):
            raise self.refuse(shape, f"{self.n_in}")
        return (self.n_out,)

    def takes_events(self, x: Tensor) -> bool:
        """Whether the product with `x` can be event-driven."""
        if x.dtype != self.weight.dtype or x.dtype not in DTYPES or not fused(x.device):
            return False
        # Under autocast on a GPU the product belongs to the matrix units, in half precision.
        return x.device.type == "cpu" or not torch.is_autocast_enabled(x.device.type)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return ``x W^T + b``."""
        return self.apply_spikes(x, None, None)

    def apply_spikes(self, x: Tensor, packed_bits: Tensor | None, mask: Tensor | None) -> Tensor:
        """Like `apply_step`, with the packed bits and the gradient mask of `forward`."""
        return self.product(x, self.weight, packed_bits, mask)

    def product(
        self, x: Tensor, weight: Tensor, packed_bits: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return the currents of ``x`` with these weights, of the shape and type of the synapse's own."""
        if self.takes_events(x):
            from neurosim.kernels.linear import product

            return product.linear(x, weight, self.bias, packed_bits, mask)
        if decisions.observers:
            reason = "no kernel on this device, in this precision or under autocast"
            decisions.note("linear", x.device.type, "torch", reason)
        return functional.linear(x, weight, self.bias)

    def weight_gradient(self, x: Tensor, g: Tensor) -> Tensor:
        """Return the gradient of the weight [n_out, n_in] for input `x` [T, B, n_in] and that of its current, `g`."""
        if x.device.type == "cpu" and self.takes_events(x):
            from neurosim.kernels.common.bits import pack
            from neurosim.kernels.linear import product

            packed = pack(x.contiguous().flatten(0, 1))
            return product.weight_gradient(g, packed.bits, self.n_in, None if packed.is_binary else x)
        return g.flatten(0, 1).T @ x.flatten(0, 1)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return Dense(self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.n_in}, {self.n_out}, bias={self.bias is not None}"
