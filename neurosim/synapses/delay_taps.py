"""Delays of all-to-all synapses: currents by convolution over time, or spike by spike."""

from __future__ import annotations

import abc
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.kernels.common import decisions
from neurosim.kernels.common.bits import pack
from neurosim.kernels.conv import dense
from neurosim.kernels.delayed.cpu import by_spike
from neurosim.kernels.delayed.rows import DelayedRows
from neurosim.synapses.delayed import Delayed
from neurosim.synapses.synapse import event_driven


class TapDelays(Delayed):
    """Synapses between all neurons, each with a kernel in time."""

    @abc.abstractmethod
    def kernel(self) -> Tensor:
        """Return the kernels [n_out, n_in, delay_span + 1], the tap of the shortest delay first."""

    @abc.abstractmethod
    def _by_event(self, line: Tensor) -> Tensor | None:
        """Return the currents summed over spikes, or None where that cannot be done or takes longer."""

    def _currents(self, line: Tensor, through_time: bool) -> Tensor:
        current = self._by_event(line)
        if current is not None:
            return current
        kernel = self.kernel()
        current = by_step(line if through_time else line.detach(), kernel)
        if not through_time and line.requires_grad and not self.min_delay:
            own = line[self.memory :]  # adds 0, and the gradient of the step itself
            current = current + functional.linear(own - own.detach(), kernel[..., 0].detach())
        return current


def by_step(line: Tensor, kernel: Tensor) -> Tensor:
    """Return the sum over taps at every step: [T, B, n_out] of ``line`` [taps - 1 + T, B, n_in]."""
    n_out, _, taps = kernel.shape
    steps = line.shape[0] - taps + 1
    if not steps or not line.shape[1]:
        return line.new_zeros((steps, line.shape[1], n_out))
    # As an image whose rows are steps and whose columns are samples: torch's convolution then works on both at once.
    image = line.permute(2, 0, 1).unsqueeze(0)
    taps_first = kernel.flip(2).unsqueeze(3)
    return dense.convolve(image, taps_first, None, (1, 1), (0, 0), (1, 1)).squeeze(0).permute(1, 2, 0)


def by_event(
    line: Tensor, weight: Tensor, synapses: Callable[[], tuple[Tensor, DelayedRows]], share: float
) -> Tensor | None:
    """Return the currents of spikes 0/1 through synapses with a delay each, spike by spike.

    Parameters
    ----------
    line : Tensor [span + T, B, n_in]
        Spikes; `span` is the largest delay of the synapses.
    weight : Tensor
        The weights, for their type and device.
    synapses : callable
        Returns weights and rows of the synapses; called only if they are needed.
    share : float
        Largest share of the inputs that may spike.

    Returns
    -------
    Tensor [T, B, n_out], or None
        None where there is no kernel, the input is not binary, or a larger share spikes.
    """
    if torch.compiler.is_compiling() or not event_driven(line, weight) or not line.shape[1]:
        return None
    packed = pack(line.detach().flatten(0, 1).contiguous())
    pays = packed.is_binary and packed.count <= share * line.numel()
    if decisions.observers:
        decisions.note_product(
            "delayed", "cpu", pays, packed.count, line.numel(), limit=share, needs_binary=not packed.is_binary
        )
    return by_spike(packed, line.shape[1], *synapses()) if pays else None


def single_taps(weight: Tensor, delay: Tensor, memory: int) -> Tensor:
    """Return kernels [n_out, n_in, memory + 1] that are `weight` at the tap of their `delay` and 0 elsewhere."""
    return weight.unsqueeze(-1) * functional.one_hot(delay, memory + 1).to(weight.dtype)
