"""OTTT: gradients computed forward in time from presynaptic traces, in memory independent of T."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim.learning.losses.base import Loss
from neurosim.learning.rules.base import Backward, Forward, Rule, check_number, check_steps, forward_in_time
from neurosim.synapses.traced import Traces


@dataclass(frozen=True)
class OTTT(Rule):
    r"""Online training through time: SLTT with traces of the spikes before each synapse.

    .. math:: \nabla W_l = \sum_t \delta_l[t]\, \hat a_{l-1}[t]^\top, \quad
              \hat a[t] = \alpha\, \hat a[t-1] + s[t]

    with :math:`\delta_l[t]` computed within the step, as in `SLTT`, and :math:`\alpha` the decay of the postsynaptic
    membrane. The gradient is exact for a readout and, if the readout has no memory, for the layer before it when its
    neurons are LIF with ``reset="subtract"``, detached. The gradient of a bias is :math:`\sum_t \delta[t]`.

    Parameters
    ----------
    chunk : int
        Steps per call of the network, >= 1. A longer chunk is faster, uses more memory and gives the same gradient.

    Raises
    ------
    InputError
        In `gradients`, when the loss is not a mean over steps, or postsynaptic neurons do not share one membrane time
        constant.

    References
    ----------
    Xiao et al., "Online training through time for spiking neural networks", NeurIPS 2022, arXiv:2210.04195.
    """

    chunk: int = 16

    def __post_init__(self) -> None:
        """Check the number."""
        check_number("OTTT", "chunk", self.chunk)

    def gradients(
        self,
        net: Forward,
        x: Tensor,
        target: Tensor,
        loss: Loss,
        generator: torch.Generator | None = None,
        *,
        backward: Backward = torch.Tensor.backward,
    ) -> tuple[Tensor, Tensor]:
        """Run each chunk forward and backward before the next; see `Rule.gradients`."""
        steps = check_steps(x)
        spans = [(start, min(start + self.chunk, steps), True) for start in range(0, steps, self.chunk)]
        return forward_in_time(self, net, x, target, loss, spans, backward, through_time=False, traces=Traces())
