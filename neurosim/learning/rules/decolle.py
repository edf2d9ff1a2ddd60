"""DECOLLE: every layer learns online from a loss of its own, read through fixed random weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from neurosim.errors import InputError
from neurosim.learning.losses.base import Loss, Masked, Steps, check_per_step
from neurosim.learning.rules.base import Backward, Forward, Rule, check_number, check_steps
from neurosim.learning.rules.decolle_stepwise import run_stepwise
from neurosim.learning.rules.filtered_trace import FilteredTrace
from neurosim.learning.rules.local_readouts import LocalReadouts
from neurosim.network.graph import NetworkState
from neurosim.network.in_flight import arriving
from neurosim.synapses.dropout import shared_masks


@dataclass(frozen=True)
class DECOLLE(Rule):
    r"""Deep continuous local learning: the gradients of a loss at every layer and step, within the layer and step.

    .. math:: \nabla W_l = \sum_t \left( \sigma'(U_l[t]) \odot G_l^\top \nabla_{y_l} \ell(y_l[t]) \right)
              P_{l}[t]^\top

    with P the twice filtered spikes before the weights. No gradient passes between layers or steps or into the
    readouts. The network is a `LocalReadouts`. Synapses must be linear, because they are applied to traces instead of
    spikes: every synapse but max pooling.

    Parameters
    ----------
    burn_in : int
        First steps that are run without learning (100 of 500 in the authors' DVS program).
    regularisation : float
        Weight of ``mean relu(U + 0.01)`` and of ``relu(0.1 - mean sigmoid(U))`` of each layer, which bound the
        membranes and keep layers active (means over a chunk); 3e-3 in the authors' program. Not part of the value
        returned.
    chunk : int
        Steps per call of the network. A longer chunk is faster, uses more memory and gives the same gradient. With 1
        the network is not called: each step is computed from the traces before the weights.
    update : callable, optional
        Called after the gradients of each chunk. The authors change the weights at every step: ``chunk=1`` and an
        update that steps the optimizer and clears the gradients, in a training loop outside `fit`; every membrane is
        then computed with the newest weights. In longer chunks the filters after the weights still hold currents of
        earlier weights. By default the gradients of all steps are summed for one step of the optimizer.

    Raises
    ------
    InputError
        When a number is out of range; in `gradients`, when the network is no `LocalReadouts`, the loss is not a mean
        over steps, or no step remains after the burn-in.

    References
    ----------
    Kaiser, Mostafa and Neftci, "Synaptic plasticity dynamics for deep continuous local learning (DECOLLE)", Frontiers
    in Neuroscience 14, 2020, doi:10.3389/fnins.2020.00424.
    """

    burn_in: int = 0
    regularisation: float = 0.0
    chunk: int = 32
    update: Callable[[], Any] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_number("DECOLLE", "chunk", self.chunk)
        if not isinstance(self.burn_in, int) or self.burn_in < 0:
            raise InputError(f"DECOLLE(burn_in={self.burn_in!r}): an integer number of steps, from 0 up.")
        if not (math.isfinite(self.regularisation) and self.regularisation >= 0):
            raise InputError(f"DECOLLE(regularisation={self.regularisation}): a finite number from 0 up.")

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
        """Run chunk by chunk; the value is the sum over layers of the mean over steps. See `Rule.gradients`."""
        steps = check_steps(x)
        if not isinstance(net, LocalReadouts):
            raise InputError(f"DECOLLE needs LocalReadouts(net, classes); got {type(net).__name__}.")
        check_per_step("DECOLLE", loss)
        if self.burn_in and isinstance(loss, Masked):
            raise InputError(
                f"DECOLLE(burn_in={self.burn_in}) has no lengths or masks, as samples may end before it; use 0."
            )
        if self.burn_in >= steps:
            raise InputError(f"DECOLLE(burn_in={self.burn_in}) leaves none of T = {steps} steps. Lower burn_in.")
        with shared_masks():
            if self.chunk == 1:
                penalty = self._penalty if self.regularisation else None
                return run_stepwise(
                    net, x, target, loss, backward, burn_in=self.burn_in, penalty=penalty, update=self.update
                )
            return self._chunks(net, x, target, loss, backward)

    def _chunks(
        self, net: LocalReadouts, x: Tensor, target: Tensor, loss: Loss, backward: Backward
    ) -> tuple[Tensor, Tensor]:
        """Run the network and the traces of its edges chunk by chunk."""
        inner, names, steps = net.net, list(net.net.populations()), len(x)
        traces = {edge.name: FilteredTrace(inner, edge) for edge in inner.edges}
        recorded = [*names, *(f"{name}.u" for name in names)]
        state: NetworkState | None = None
        total, outputs = torch.zeros((), device=x.device), []
        start = 0
        while start < steps:
            stop = min(start + self.chunk, steps) if start >= self.burn_in else min(start + self.chunk, self.burn_in)
            with torch.no_grad():
                z, after, values, *_ = inner.run(x[start:stop], state, recorded)
                sent = {inner.inputs[0]: x[start:stop], **{name: values[name] for name in names}}
                for edge in inner.edges:
                    traces[edge.name].run(arriving(edge, sent[edge.source], state))
            outputs.append(net.read(inner.output, values[f"{inner.output}.u"], z))
            if start >= self.burn_in:
                share = (stop - start) / (steps - self.burn_in)
                value, penalty = self._local(net, names, traces, values, target, loss, Steps(start, steps))
                backward((value + penalty) * share)
                total = total + value.detach() * share
                if self.update is not None:
                    self.update()
            state, start = after, stop
        return total, torch.cat(outputs)

    def _local(
        self,
        net: LocalReadouts,
        names: list[str],
        traces: dict[str, FilteredTrace],
        values: Mapping[str, Tensor],
        target: Tensor,
        loss: Loss,
        span: Steps,
    ) -> tuple[Tensor, Tensor]:
        """Return the sum over layers of the loss of a chunk, and of the regularisation."""
        value, penalty = torch.zeros(()), torch.zeros(())
        for name in names:
            node = net.net.neurons()[name]
            driven = sum(traces[edge.name].current() for edge in net.net.edges if edge.target == name)
            assert isinstance(driven, Tensor)  # a node without edges is refused when the network is made
            # The value of the membrane is that of the run, its gradient that of the traces through the weights.
            u = values[f"{name}.u"] + (driven - driven.detach())
            y = net.read(name, u, node.spike(u - node.value("v_th")))
            value = value.to(y) + loss.over(y, target, span)
            if self.regularisation:
                penalty = penalty.to(y) + self._penalty(u)
        return value, penalty.to(value)

    def _penalty(self, u: Tensor) -> Tensor:
        return self.regularisation * (F.relu(u + 0.01).mean() + F.relu(0.1 - torch.sigmoid(u).mean()))
