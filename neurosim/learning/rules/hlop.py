"""HLOP: continual learning by updates orthogonal to the input subspaces of earlier tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.learning.losses.base import Loss
from neurosim.learning.rules.base import Backward, Forward, Rule
from neurosim.learning.rules.lateral_banks import LateralBanks
from neurosim.learning.rules.lateral_inputs import observed
from neurosim.learning.rules.ottt import OTTT


@dataclass(frozen=True, eq=False)
class HLOP(Rule):
    r"""Hebbian-learning-based orthogonal projection of the gradients of another rule.

    Beside each layer, lateral neurons learn the subspace of its inputs x (`LateralBank`). From the second task on, the
    gradient of its weights uses only the part of x outside the subspace of earlier tasks,

    .. math:: \nabla W = \sum \delta\, x_\perp^\top, \quad x_\perp = x - H^\top H x

    with H the frozen rows. The forward pass and the gradients of activations are unchanged. With orthonormal rows
    :math:`W x` stays the same for every x in their span, whatever is learned. Under `OTTT` x is the trace of the
    spikes, and the lateral neurons learn from the spikes and from their traces.

    Parameters without a bank, such as biases, get no gradient once there are frozen rows. Use an optimizer without
    weight decay, and a new one for each task if it has momentum: both would move weights along directions of earlier
    tasks.

    Parameters
    ----------
    rule : Rule
        The rule whose gradients are projected: `BPTT`, `SLTT` or `OTTT`.
    banks : LateralBanks
        The lateral neurons of the network that is trained. Call `banks.begin_task(rows)` before each task.
    project : {"gradients", "inputs"}, optional
        What is projected. With real lateral neurons both give :math:`\nabla W (1 - H^\top H)`; the first, the
        default, costs far less. Spiking lateral neurons round their response to the inputs, so they allow only the
        second, which is their default.

    Raises
    ------
    InputError
        For another choice, or spiking lateral neurons with ``project="gradients"``.

    References
    ----------
    Xiao et al., "Hebbian learning based orthogonal projection for continual learning of spiking neural networks",
    ICLR 2024, arXiv:2402.11984, and the authors' program. There the lateral neurons of the OTTT variant learn after
    each time step, and quantised ones respond to the trace; here they learn once per batch, and the trace is that of
    the unexplained part of the spikes.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.learning import HLOP, LateralBanks
    >>> net = ns.Sequential(ns.Linear(20, 10), ns.LIF(dt=1e-3), ns.Linear(10, 3), ns.LI(dt=1e-3))
    >>> banks = LateralBanks(net)
    >>> rule = HLOP(ns.BPTT(), banks)
    >>> for task in range(2):
    ...     banks.begin_task([6, 4])
    ...     data = [(torch.rand(5, 8, 20), torch.randint(3, (8,)))]
    ...     optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    ...     history = ns.fit(net, data, rule=rule, optimizer=optimizer, epochs=1, progress=False)
    >>> banks
    LateralBanks(
      (banks): ModuleDict(
        (input->lif1): LateralBank(20, rows=12, frozen=6, rate=0.01)
        (lif1->leaky_integrator2): LateralBank(10, rows=8, frozen=4, rate=0.01)
      )
    )
    """

    rule: Rule
    banks: LateralBanks = field(repr=False)
    project: Literal["gradients", "inputs"] | None = None

    def __post_init__(self) -> None:
        """Check the choice."""
        if self.project not in (None, "gradients", "inputs"):
            raise InputError(f'HLOP: project must be "gradients", "inputs" or None; got {self.project!r}.')
        if self.project == "gradients" and self.banks.spiking is not None:
            raise InputError(
                "HLOP: spiking lateral neurons respond to inputs, and would round gradients to 0; "
                'leave out project, or use project="inputs".'
            )

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
        """Compute and project the rule's gradients, then train the lateral neurons; see `Rule.gradients`."""
        at_inputs = self.project == "inputs" or self.banks.spiking is not None
        weights = [place.synapse.weight for place, _ in self.banks.each()]
        others = self.banks.unprotected()
        before = [parameter.grad for parameter in (*weights, *others)]
        for parameter in (*weights, *others):
            parameter.grad = None
        protects = self.banks.protects
        with observed(self.banks, isinstance(self.rule, OTTT), protects and at_inputs) as observer:

            def backward_paused(value: Tensor) -> Any:
                # Inputs that are recomputed in the backward pass have been collected already.
                with observer.paused():
                    return backward(value)

            value, output = self.rule.gradients(net, x, target, loss, generator, backward=backward_paused)
        if protects:
            for place, bank in self.banks.each():
                if place.synapse.weight.grad is not None and not at_inputs:
                    flat = place.synapse.weight.grad.flatten(1)
                    flat.copy_(bank.orthogonal(flat))
            for parameter in others:
                parameter.grad = None
        for parameter, old in zip((*weights, *others), before, strict=True):
            if old is not None:
                parameter.grad = old if parameter.grad is None else old.add_(parameter.grad)
        observer.learn()
        return value, output

    def state_dict(self) -> dict[str, Any]:
        """Return the lateral neurons and the state of the projected rule; see `Rule.state_dict`."""
        return {"banks": dict(self.banks.state_dict()), "rule": self.rule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of `state_dict`; the banks get its number of rows."""
        rows = {name: tuple(value.shape[1:]) for name, value in self.banks.state_dict().items()}
        saved = {name: tuple(value.shape[1:]) for name, value in state["banks"].items()}
        if rows != saved:
            raise InputError(f"the lateral neurons belong to other layers: {list(saved)}; here {list(rows)}.")
        self.rule.load_state_dict(state["rule"])
        self.banks.load_state_dict(state["banks"])
