"""The result of running neurons over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from neurosim.compiler.plan import find
from neurosim.kernels.common.under_compile import constant_in_graph


class LayerOutput(NamedTuple):
    """The result of running neurons over time: a population, a population with its synapses, or a network.

    Attributes
    ----------
    out : Tensor [T, B, ...]
        Output at each step.
    state : NamedTuple of Tensor [B, ...]
        State after the last step; of a network a `NetworkState`.
    recorded : mapping of str to Tensor [T, B, ...]
        Values to record, by name, without gradient.
    packed_bits : Tensor [T B, ceil(N / 64)] of int64, optional
        The output, one bit each, if it is spikes and was packed.
    mask : Tensor [T B, ceil(N / 64)] of int64, optional
        A bit is set where a gradient of the output is needed: where the surrogate is not zero. None if that is
        everywhere or not known.
    last : Tensor [B, ...], optional
        Output of the last step as a tensor of its own, which a recurrent run starts from.
    """

    out: Tensor
    state: Any
    recorded: Mapping[str, Tensor]
    packed_bits: Tensor | None = None
    mask: Tensor | None = None
    last: Tensor | None = None


def recorded_values(plan_key: str, stored: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the values to record among those that a plan stores at each step, by name and without gradient."""
    return {name: stored[position].detach() for name, position in _recorded(plan_key)}


@constant_in_graph
def _recorded(plan_key: str) -> tuple[tuple[str, int], ...]:
    """Return names and positions of the values to record; a compiler cannot look up the plan itself."""
    return find(plan_key).recorded_positions
