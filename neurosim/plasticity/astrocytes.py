"""An astrocyte that integrates the activity of a liquid and its input and sets the strength of depression."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.language import seconds
from neurosim.plasticity.stdp import Factors, PairSTDP, shifted, trace


@dataclass(frozen=True)
class LiquidAstrocyte:
    r"""Leaky integrator of the difference between the spike counts of a liquid and its input.

    .. math:: A \leftarrow A + \frac{dt}{\tau_A} \left(w_A \Big(\sum_{liquid} s - \sum_{input} s\Big) + b_A - A\right)

    with A initially :math:`b_A`, for each sample of a batch. At constant rates A converges to
    :math:`w_A (\Sigma_{liquid} - \Sigma_{input}) + b_A`; if :math:`b_A` is the rate of potentiation, depression equals
    potentiation when the liquid fires as much as its input.

    Parameters
    ----------
    liquid, inputs : tuple of str
        Nodes whose spikes are added and subtracted.
    weight : float
        :math:`w_A`. The authors use 0.015 for 1000 neurons and 0.0075 for 8000.
    rest : float
        :math:`b_A`.
    tau : float
        :math:`\tau_A`, s, in (0, 100) and longer than a step.

    References
    ----------
    Ivanov and Michmizos, "Increasing liquid state machine performance with edge-of-chaos dynamics organized by
    astrocyte-modulated plasticity", NeurIPS 2021, arXiv:2111.01760, with the equations of the authors' program
    (combra-lab/NALSM, MIT), without its factor by which A, w_A and b_A may decrease at each step.
    """

    liquid: tuple[str, ...]
    inputs: tuple[str, ...]
    weight: float = 0.01
    rest: float = 0.1
    tau: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers and the names."""
        seconds(0.1, high=100.0).check("LiquidAstrocyte", "tau", self.tau)
        for name, nodes in (("liquid", self.liquid), ("inputs", self.inputs)):
            if isinstance(nodes, str) or not nodes:
                raise InputError(f"LiquidAstrocyte: {name} must be names of nodes, at least one; got {nodes!r}.")
        for name, value in (("weight", self.weight), ("rest", self.rest)):
            if not math.isfinite(value):
                raise InputError(f"LiquidAstrocyte: {name} must be a finite number; got {value!r}.")

    def levels(self, seen: Mapping[str, Tensor], dt: float, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return A before the spikes of each step, and A after the last step.

        Parameters
        ----------
        seen : mapping of str to Tensor [T, B, ...]
            Spikes of the nodes.
        dt : float
            Length of a step, s.
        start : Tensor [B], optional
            A after an earlier call; `rest` by default.

        Returns
        -------
        Tensor [T, B], Tensor [B]
        """
        share = dt / self.tau
        if share >= 1:
            raise InputError(f"LiquidAstrocyte: tau={self.tau:g} s must be longer than a step, {dt:g} s.")
        from_liquid, from_inputs = (
            torch.stack([seen[name].flatten(2).sum(2) for name in nodes]).sum(0) for nodes in (self.liquid, self.inputs)
        )
        excess = from_liquid - from_inputs
        first = torch.full_like(excess[0], self.rest) if start is None else start
        after = trace(share * (self.weight * excess + self.rest), 1 - share, first)
        return shifted(after, first), after[-1]


@dataclass(frozen=True)
class AstrocyteModulated:
    r"""A pair rule whose depression is scaled by the level of an astrocyte.

    .. math:: \Delta w = A_+\, x\, s_{post} - A\, A_-\, y\, s_{pre}

    with the traces x and y of `PairSTDP` and the astrocyte's level A before the step; A below 0 potentiates. Synapses
    of inhibitory neurons, whose weights are negative, learn with opposite signs: :math:`\Delta w = A_+\, y\, s_{pre} -
    A\, A_-\, x\, s_{post}`.

    The authors' program is ``PairSTDP(a_plus=0.1 * eta, a_minus=0.1, tau_plus=10e-3, tau_minus=10e-3,
    coincident=False)`` with `LiquidAstrocyte.rest` the same ``eta``, and weights clipped at 3.

    Parameters
    ----------
    rule : PairSTDP
        With both amplitudes above 0.
    astrocyte : LiquidAstrocyte
        May be shared by several edges.
    inhibitory : bool
        Whether the presynaptic neurons are inhibitory.
    """

    rule: PairSTDP
    astrocyte: LiquidAstrocyte
    inhibitory: bool = False

    def __post_init__(self) -> None:
        """Check the rule."""
        if not isinstance(self.rule, PairSTDP) or not min(self.rule.a_plus, self.rule.a_minus) > 0:
            raise InputError(
                f"AstrocyteModulated: rule must be a PairSTDP whose a_plus and a_minus are above 0; got {self.rule!r}."
            )
        if self.inhibitory and self.rule.w_max > 0:
            raise InputError(
                "AstrocyteModulated: weights of inhibitory neurons stay below 0; got a rule with "
                f"w_max={self.rule.w_max!r}. Use w_max=0.0 and a w_min below."
            )

    def modulated(self, factors: Factors, level: Tensor) -> Factors:
        """Return the rule's factors with its depression scaled by the level [T, B]."""
        up, pre_up, down, pre_down = factors
        if not self.inhibitory:
            return Factors(up, pre_up, level[..., None] * down, pre_down)
        ratio = self.rule.a_minus / self.rule.a_plus
        return Factors(down / ratio, pre_down, level[..., None] * ratio * up, pre_up)


def branching_factor(spikes: Tensor, connected: Tensor, *, window: int = 4) -> float:
    """Return the ratio of postsynaptic spikes after a spike to presynaptic spikes before it.

    For every spike of a neuron, the number of spikes of its postsynaptic neurons in the next `window` steps is divided
    by that of its presynaptic neurons in the `window` steps before, or by 1 if there were none. The ratio is averaged
    over the spikes of each neuron, then over the neurons that fired. Near 1 activity neither dies out nor diverges. The
    measure is that of the program of `LiquidAstrocyte`'s authors.

    Parameters
    ----------
    spikes : Tensor [T, B, N]
    connected : Tensor [N, N]
        Not 0 where the neuron of the column projects to that of the row.
    window : int
        Steps, from 1; spikes of the first and last `window` steps are not used.

    Examples
    --------
    >>> import torch
    >>> ring = torch.roll(torch.eye(3), 1, 0)  # each neuron projects to the next
    >>> spikes = torch.eye(3).repeat(5, 1)[:, None]  # a circulating spike
    >>> branching_factor(spikes, ring, window=2)
    1.0
    """
    if spikes.dim() != 3 or connected.shape != (spikes.shape[-1],) * 2:
        raise ShapeError(
            f"branching_factor: spikes must be [T, B, N] and connected [N, N]; got {list(spikes.shape)} and "
            f"{list(connected.shape)}."
        )
    if not isinstance(window, int) or isinstance(window, bool) or not 1 <= window < len(spikes) / 2:
        raise InputError(f"branching_factor: window must be a number of steps below half of them; got {window!r}.")
    reach = (connected != 0).to(spikes.dtype)
    around = spikes.unfold(0, window, 1).sum(-1)  # [t] holds steps t .. t + window - 1
    now = spikes[window:-window]
    preceding = (around[: len(now)] @ reach.T).clamp(min=1)
    follow = around[window + 1 :] @ reach
    number = now.sum((0, 1))
    each = (now * follow / preceding).sum((0, 1))[number > 0] / number[number > 0]
    return float(each.mean()) if len(each) else 0.0
