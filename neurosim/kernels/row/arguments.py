"""Arguments and results of a row of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Layer(NamedTuple):
    """What is known of a layer before a call: synapses `Linear`, then neurons, which may have a loop of one step.

    Attributes
    ----------
    plan_key : str
        Key of the neurons' plan, whose only fed port the synapses and the loop feed.
    n_in, width : int
        Sources, and neurons.
    forward_numbers, backward_numbers : tuple of float
        Coefficients shared by all neurons, as the kernels of the plan take them.
    states, coefficients : int
        Number of state variables, and of coefficients that are tensors.
    train : bool
        Whether a gradient passes through the neurons.
    is_biased, has_loop : bool
    """

    plan_key: str
    n_in: int
    width: int
    forward_numbers: tuple[float, ...]
    backward_numbers: tuple[float, ...]
    states: int
    coefficients: int
    train: bool
    is_biased: bool
    has_loop: bool


class Row(NamedTuple):
    """What is known of a row of layers before a call; calls with equal rows run the same prepared kernels.

    Attributes
    ----------
    real : {"float", "double"}
    steps, batch : int
        T and B.
    layers : tuple of Layer
    has_bits, needs_x : bool
        Whether the bits of the input are given, and whether its gradient is needed.
    threads : tuple of int
        Number of torch's threads, and that which is forced (0 if none is).
    by_events : bool
        Whether event-driven products are forced.
    """

    real: str
    steps: int
    batch: int
    layers: tuple[Layer, ...]
    has_bits: bool
    needs_x: bool
    threads: tuple[int, int]
    by_events: bool


class LayerTensors(NamedTuple):
    """The tensors of a layer in one call, contiguous.

    Attributes
    ----------
    weight : Tensor [N, n]
    bias : Tensor [N] or None
    state : sequence of Tensor [B, N]
        Before the first step.
    coefficients : sequence of Tensor [B, N]
    loop : Tensor [N, N] or None
        Weight of the loop; a row belongs to a postsynaptic neuron.
    z0 : Tensor [B, N] or None
        Output before the first step, of a layer with a loop.
    """

    weight: Tensor
    bias: Tensor | None
    state: Sequence[Tensor]
    coefficients: Sequence[Tensor]
    loop: Tensor | None
    z0: Tensor | None

    def contiguous(self) -> LayerTensors:
        """Return the same with contiguous tensors."""
        bias, loop, z0 = (None if t is None else t.contiguous() for t in (self.bias, self.loop, self.z0))
        state, coefficients = ([t.contiguous() for t in several] for several in (self.state, self.coefficients))
        return LayerTensors(self.weight.contiguous(), bias, state, coefficients, loop, z0)

    def flat(self) -> list[Tensor]:
        """Return the tensors that there are, in order."""
        singles = (t for t in (self.weight, self.bias) if t is not None)
        last = (t for t in (self.loop, self.z0) if t is not None)
        return [*singles, *self.state, *self.coefficients, *last]


class Input(NamedTuple):
    """The input of a row.

    Attributes
    ----------
    x : Tensor [T, B, n]
    packed_bits, mask : Tensor [T B, ceil(n / 64)] of int64 or None
        As in `neurosim.kernels.linear.arguments.Call`.
    """

    x: Tensor
    packed_bits: Tensor | None
    mask: Tensor | None


class Outputs(NamedTuple):
    """Results of a call.

    Attributes
    ----------
    out : Tensor [T, B, N]
        Of the last layer.
    packed_bits, mask : Tensor [T B, ceil(N / 64)] of int64 or None
        Of the last layer, as in `neurosim.kernels.common.layer_output.LayerOutput`.
    states : sequence of sequence of Tensor [B, N]
        Of each layer after the last step.
    last : sequence of (Tensor [B, N] or None)
        Output of the last step of each layer with a loop.
    saved : Tensor of uint8
        What the backward pass reads.
    """

    out: Tensor
    packed_bits: Tensor | None
    mask: Tensor | None
    states: Sequence[Sequence[Tensor]]
    last: Sequence[Tensor | None]
    saved: Tensor
