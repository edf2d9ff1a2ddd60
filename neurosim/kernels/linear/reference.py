"""The definition of a linear layer: torch's product, then the neurons on its current."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import Tensor
from torch.nn import functional

Result = TypeVar("Result")


def run(
    neurons: Callable[[Tensor, Sequence[Tensor]], Result],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    state: Sequence[Tensor],
) -> Result:
    """Run `neurons` on the current ``x W^T + b``; every fused kernel is compared with this.

    Parameters
    ----------
    neurons : callable
        Takes a current [T, B, N] and a state, such as `Neuron.run_reference`.
    x : Tensor [T, B, n]
    weight : Tensor [N, n]
    bias : Tensor [N] or None
    state : sequence of Tensor [B, N]
        Before the first step.

    Returns
    -------
    What `neurons` returns.
    """
    return neurons(functional.linear(x, weight, bias), state)
