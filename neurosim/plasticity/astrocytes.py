"""An astrocyte that listens to a liquid and its input and sets how strongly synapses are depressed."""

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
    r"""Leaky integrator of how much more a liquid fires than its input does.

    .. math:: A \leftarrow A + \frac{dt}{\tau_A} \left(w_A \Big(\sum_{liquid} s - \sum_{input} s\Big) + b_A - A\right)

    with A starting from :math:`b_A`, in each sample of a batch on its own. Where both fire steadily A rests at
    :math:`w_A (\Sigma_{liquid} - \Sigma_{input}) + b_A`; with :math:`b_A` the rate of potentiation, depression is as
    strong as it where the liquid fires as much as its input.

    Parameters
    ----------
    liquid, inputs : tuple of str
        Nodes whose spikes are added and taken off.
    weight : float
        :math:`w_A`. The authors take 0.015 for 1000 neurons and 0.0075 for 8000.
    rest : float
        :math:`b_A`.
    tau : float
        :math:`\tau_A`, s, in (0, 100) and longer than a step.

    References
    ----------
    Ivanov and Michmizos, "Increasing liquid state machine performance with edge-of-chaos dynamics organized by
    astrocyte-modulated plasticity", NeurIPS 2021, arXiv:2111.01760, with the equations of the authors' program
    (combra-lab/NALSM, MIT), whose factor by which A, w_A and b_A may shrink at each step is left out.
    """

    liquid: tuple[str, ...]
    inputs: tuple[str, ...]
    weight: float = 0.01
    rest: float = 0.1
    tau: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers and that there is something to hear."""
        seconds(0.1, high=100.0).check("LiquidAstrocyte", "tau", self.tau)
        for name, nodes in (("liquid", self.liquid), ("inputs", self.inputs)):
            if isinstance(nodes, str) or not nodes:
                raise InputError(f"LiquidAstrocyte: {name} must be names of nodes, at least one; got {nodes!r}.")
        for name, value in (("weight", self.weight), ("rest", self.rest)):
            if not math.isfinite(value):
                raise InputError(f"LiquidAstrocyte: {name} must be a finite number; got {value!r}.")

    def levels(self, seen: Mapping[str, Tensor], dt: float, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return A as each step finds it, before it hears that step's spikes, and A after the last step.

        Parameters
        ----------
        seen : mapping of str to Tensor [T, B, ...]
            Spikes of the nodes.
        dt : float
            Length of a step, s.
        start : Tensor [B], optional
            A after an earlier call; `rest` if left out.

        Returns
        -------
        Tensor [T, B], Tensor [B]
        """
        share = dt / self.tau
        if share >= 1:
            raise InputError(f"LiquidAstrocyte: tau={self.tau:g} s must be longer than a step, {dt:g} s.")
        fired, came = (
            torch.stack([seen[name].flatten(2).sum(2) for name in nodes]).sum(0) for nodes in (self.liquid, self.inputs)
        )
        more = fired - came
        first = torch.full_like(more[0], self.rest) if start is None else start
        after = trace(share * (self.weight * more + self.rest), 1 - share, first)
        return shifted(after, first), after[-1]


@dataclass(frozen=True)
class AstrocyteModulated:
    r"""A pair rule whose depression is as strong as an astrocyte says.

    .. math:: \Delta w = A_+\, x\, s_{post} - A\, A_-\, y\, s_{pre}

    with the traces x and y of `PairSTDP` and the astrocyte's level A as the step finds it; A below 0 strengthens.
    Synapses of inhibitory neurons, whose weights are negative, learn with signs swapped:
    :math:`\Delta w = A_+\, y\, s_{pre} - A\, A_-\, x\, s_{post}`.

    The authors' program is ``PairSTDP(a_plus=0.1 * eta, a_minus=0.1, tau_plus=10e-3, tau_minus=10e-3,
    coincident=False)`` with `LiquidAstrocyte.rest` the same ``eta``, and weights clipped at 3.

    Parameters
    ----------
    rule : PairSTDP
        With both sizes above 0.
    astrocyte : LiquidAstrocyte
        One may serve several edges.
    inhibitory : bool
        Whether the neurons before the synapses are inhibitory.
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
                f"w_max={self.rule.w_max!r}. Give it w_max=0.0 and a w_min below."
            )

    def modulated(self, factors: Factors, level: Tensor) -> Factors:
        """Return the rule's factors with its depression scaled by the level [T, B]."""
        up, before_up, down, before_down = factors
        if not self.inhibitory:
            return Factors(up, before_up, level[..., None] * down, before_down)
        ratio = self.rule.a_minus / self.rule.a_plus
        return Factors(down / ratio, before_down, level[..., None] * ratio * up, before_up)


def branching_factor(spikes: Tensor, connected: Tensor, *, window: int = 4) -> float:
    """Return how many spikes of the neurons behind it follow on a spike, for each that came before it.

    For every spike of a neuron those of the neurons it reaches in the next `window` steps are divided by those of the
    neurons that reach it in the `window` steps before, or by 1 where there were none. This is averaged over the spikes
    of each neuron, then over the neurons that fired. Near 1 activity neither dies out nor runs away. The measure is
    that of the program of `LiquidAstrocyte`'s authors.

    Parameters
    ----------
    spikes : Tensor [T, B, N]
    connected : Tensor [N, N]
        Not zero where the neuron of the column reaches that of the row.
    window : int
        Steps, from 1; in the first and last so many no spike is looked at.

    Examples
    --------
    >>> import torch
    >>> ring = torch.roll(torch.eye(3), 1, 0)  # each neuron reaches the next
    >>> spikes = torch.eye(3).repeat(5, 1)[:, None]  # a spike that goes round
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
    came = (around[: len(now)] @ reach.T).clamp(min=1)
    follow = around[window + 1 :] @ reach
    number = now.sum((0, 1))
    each = (now * follow / came).sum((0, 1))[number > 0] / number[number > 0]
    return float(each.mean()) if len(each) else 0.0
