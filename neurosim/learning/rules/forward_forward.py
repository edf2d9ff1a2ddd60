"""Forward-forward: each layer learns separately to have a high goodness for right inputs and a low one for wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurosim.errors import InputError
from neurosim.learning.losses.base import Loss, check_classes_alone
from neurosim.learning.rules.base import Backward, Forward, Rule, check_steps
from neurosim.network.graph import NetworkState
from neurosim.network.network import Network
from neurosim.network.population import Population


class Goodness(nn.Module):
    r"""A network whose layers score whether an input belongs to a class; its output is the goodness of each class.

    .. math:: r_l = \frac1T \sum_t z_l[t], \quad g_l = \sum_j r_{l,j}^2

    The class replaces the first inputs: one of them is `strength`, the others are 0. The input of each layer but the
    first is the spikes of the layer before, divided by the root mean square of their rates, so that it does not contain
    the goodness of that layer. The goodness of a class is the sum of :math:`g_l` over the layers from the second on (of
    the first, if there is only one).

    Parameters
    ----------
    net : Network
        Spiking populations in a row, without delays, as `Sequential` builds it.
    classes : int
        From 2 to the number of inputs.
    strength : float
        Value of the input that encodes the class.

    Raises
    ------
    InputError
        When the network is not of this kind, or a number is out of range.
    """

    def __init__(self, net: Network, classes: int, *, strength: float = 1.0) -> None:
        super().__init__()
        names = list(net.populations()) if isinstance(net, Network) else []
        if not names or len(net.inputs) != 1:
            raise InputError(f"Goodness needs a Network with one input; got {type(net).__name__}.")
        for edge, source, name in zip(net.edges, (net.inputs[0], *names), names, strict=False):
            node = net.nodes[name]
            in_row = len(net.edges) == len(names) and (edge.source, edge.target) == (source, name)
            if not in_row or edge.delay_steps or edge.memory:
                raise InputError(f"Goodness: populations must be in a row without delays; see edge {edge.name!r}.")
            if not isinstance(node, Population) or not node.is_spiking:
                raise InputError(
                    f"Goodness: {name!r} never fires; goodness is computed from spikes. Use LIF, CubaLIF, ALIF."
                )
            if len(node.ports) > 1:
                raise InputError(f"Goodness: {name!r} has the input ports {list(node.ports)}; use a core with one.")
        if not isinstance(classes, int) or not 2 <= classes <= math.prod(net.shape(net.inputs[0])):
            raise InputError(f"Goodness: classes must be from 2 to the number of inputs; got {classes!r}.")
        if not (math.isfinite(strength) and strength):
            raise InputError(f"Goodness: strength must be a finite number, not 0; got {strength!r}.")
        self.net, self.classes, self.strength = net, classes, float(strength)

    def with_classes(self, x: Tensor, classes: Tensor) -> Tensor:
        """Return `x` [T, B, ...] with `classes` [B] in its first inputs."""
        rows = x.flatten(2).clone()
        rows[:, :, : self.classes] = self.strength * functional.one_hot(classes, self.classes).to(x)
        return rows.view_as(x)

    def layers(self, x: Tensor, *, through_time: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Yield the name and goodness [B] of each layer; no gradient passes between layers."""
        for edge in self.net.edges:
            node = self.net.nodes[edge.target]
            z, _ = node(edge(x), through_time=through_time)
            rates = z.mean(0).flatten(1)
            yield edge.target, rates.square().sum(1)
            size = rates.detach().square().mean(1).sqrt().clamp(min=1e-8)
            x = z.detach() / size.view(-1, *[1] * (z.dim() - 2))

    def total(self, goodness: dict[str, Tensor]) -> Tensor:
        """Return the goodness of a class: the sum over the layers from the second on."""
        return torch.stack(list(goodness.values())[min(len(goodness) - 1, 1) :]).sum(0)

    @torch.no_grad()
    def forward(self, x: Tensor, state: NetworkState | None = None, **choices: Any) -> tuple[Tensor, NetworkState]:
        """Return the goodness of every class [1, B, classes]; a run cannot be continued."""
        if state is not None:
            raise InputError("Goodness runs complete inputs from the initial state; call it without a state.")
        goodness = []
        for label in range(self.classes):
            classes = torch.full(x.shape[1:2], label, device=x.device)
            goodness.append(self.total(dict(self.layers(self.with_classes(x, classes)))))
        return torch.stack(goodness, 1)[None], NetworkState({}, {})


@dataclass(frozen=True)
class ForwardForward(Rule):
    r"""Forward-forward learning: each layer has a loss on its own goodness, and no gradient passes between layers.

    .. math:: \ell_l = \log(1 + e^{\theta - g_l^+}) + \log(1 + e^{g_l^- - \theta})

    with :math:`g^+` the goodness of an input with its class and :math:`g^-` that of the same input with another class,
    drawn at random. Within a layer the gradient passes through the surrogate, and through time unless `through_time` is
    False. The network is a `Goodness`.

    The loss given to `fit` is not minimised; it only defines how classes are predicted, as `CrossEntropy` does. The
    output of `gradients` contains the goodness of the right and of the drawn class, and 0 for others: the accuracy in
    training is how often the right class wins against one wrong class. Evaluation compares all classes.

    Parameters
    ----------
    threshold : float
        :math:`\theta`, above 0: the goodness that separates right from wrong.
    through_time : bool
        Whether the gradient of a layer passes from step to step.

    Raises
    ------
    InputError
        For a threshold out of range, or another network.

    References
    ----------
    Hinton, "The forward-forward algorithm: some preliminary investigations", 2022, arXiv:2212.13345. The
    spiking form, goodness of rates and spikes divided by the size of their rates, is ours.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.learning import ForwardForward, Goodness
    >>> _ = torch.manual_seed(0)
    >>> net = Goodness(ns.Sequential(ns.Linear(12, 20), ns.LIF(dt=1e-3), ns.Linear(20, 20), ns.LIF(dt=1e-3)), 2)
    >>> data = [(torch.rand(5, 8, 12), torch.randint(2, (8,)))]
    >>> history = ns.fit(net, data, rule=ForwardForward(), epochs=2, progress=False)
    >>> net(data[0][0])[0].shape
    torch.Size([1, 8, 2])
    """

    threshold: float = 2.0
    through_time: bool = True

    def __post_init__(self) -> None:
        """Check the number."""
        if not 0 < self.threshold < math.inf:
            raise InputError(f"ForwardForward: threshold must be a number above 0; got {self.threshold!r}.")

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
        """Add the gradients of each layer's loss; the value is their sum. See `Rule.gradients`."""
        check_steps(x)
        if not isinstance(net, Goodness):
            raise InputError(f"ForwardForward needs Goodness(net, classes); got {type(net).__name__}.")
        check_classes_alone("ForwardForward", loss, target)
        step = torch.randint(1, net.classes, target.shape, generator=generator).to(target)
        wrong = (target + step) % net.classes
        both = torch.cat((net.with_classes(x, target), net.with_classes(x, wrong)), 1)
        total, goodness = torch.zeros((), device=x.device), {}
        for name, found in net.layers(both, through_time=self.through_time):
            right, other = found.chunk(2)
            value = (
                functional.softplus(self.threshold - right).mean() + functional.softplus(other - self.threshold).mean()
            )
            backward(value)
            goodness[name] = found.detach()
            total = total + value.detach()
        right, other = net.total(goodness).chunk(2)
        output = right.new_zeros((1, len(target), net.classes))
        output[0].scatter_(1, wrong[:, None], other[:, None]).scatter_(1, target[:, None], right[:, None])
        return total, output
