"""What delta activation layers send, counted in their states, and a loss on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurosim.errors import InputError, NetworkError
from neurosim.learning.losses.base import Loss, Steps
from neurosim.learning.rules.base import BPTT, Backward, Forward, Rule
from neurosim.models.delta import DeltaActivation, DeltaState
from neurosim.network.graph import NetworkState
from neurosim.network.network import Network


class Activity(NamedTuple):
    """What a layer sent between two states, without the first frame of each sample.

    Attributes
    ----------
    mean_change : Tensor
        Mean of ``|o_t - o_{t-1}|`` over neurons, frames and samples, with gradient; 0 without frames.
    events : int
        Changes that were not 0.
    nonzero : int
        Activations that were not 0: what a layer without memory would send.
    outputs : int
        Neurons times frames counted.
    """

    mean_change: Tensor
    events: int
    nonzero: int
    outputs: int


def activity(after: DeltaState, before: DeltaState | None = None) -> Activity:
    """Return what a layer sent up to a state, or between two states.

    Parameters
    ----------
    after : DeltaState
    before : DeltaState, optional
        An earlier state of the same run; its start by default.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import DeltaActivation, activity
    >>> frames = torch.tensor([0.6, 0.7, 0.9, -1.0]).reshape(4, 1, 1)
    >>> _, state = DeltaActivation(1, dt=1e-2, threshold=0.5)(frames)
    >>> activity(state).events, activity(state).outputs
    (2, 3)
    """
    names = ("change", "events", "nonzero", "frames")
    change, events, nonzero, frames = (
        getattr(after, name).sum() - (0.0 if before is None else getattr(before, name).sum()) for name in names
    )
    outputs = int(frames) * (after.sent[0].numel() if len(after.sent) else 0)
    return Activity(change / max(outputs, 1), int(events), int(nonzero), outputs)


def activity_loss(net: Network, after: NetworkState, before: NetworkState | None = None) -> Tensor:
    """Return the loss on activity: sum over layers with a threshold of ``rate * fan_out * mean |o_t - o_{t-1}|``.

    Parameters
    ----------
    net : Network
    after, before : NetworkState
        As in `activity`.

    Raises
    ------
    NetworkError
        When the network has no `DeltaActivation` with a threshold.
    """
    terms = []
    for name, layer in net.populations().items():
        if isinstance(layer, DeltaActivation) and layer.theta is not None:
            start = None if before is None else _state(before, name)
            terms.append(layer.rate * layer.fan_out * activity(_state(after, name), start).mean_change)
    if not terms:
        raise NetworkError("activity_loss: this network has no DeltaActivation with a threshold.")
    return torch.stack(terms).sum()


def _state(state: NetworkState, name: str) -> DeltaState:
    found = state.nodes[name]
    assert isinstance(found, DeltaState)
    return found


@dataclass(frozen=True)
class WithActivity(Rule):
    """Another rule, with the loss on activity added to the loss of the task.

    Parameters
    ----------
    rule : Rule
        A rule that calls the network, such as `BPTT` or `SLTT`.

    Raises
    ------
    InputError
        In `gradients`, when the network is not a `Network`.
    NetworkError
        In `gradients`, when it has no `DeltaActivation` with a threshold.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.models import DeltaActivation, WithActivity
    >>> net = ns.Sequential(ns.Linear(4, 3), DeltaActivation(3, dt=1e-2, rate=0.1))
    >>> value, _ = WithActivity().gradients(net, torch.rand(5, 2, 4), torch.tensor([0, 2]), ns.MeanMembrane())
    """

    rule: Rule = field(default_factory=BPTT)

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
        """Add the gradients of both losses; the value is their sum. See `Rule.gradients`."""
        if not isinstance(net, Network):
            raise InputError(f"WithActivity needs a Network; got {type(net).__name__}.")
        run = _Run(net)
        return self.rule.gradients(run, x, target, _Sum(loss, run), generator, backward=backward)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the rule inside."""
        return self.rule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of the rule inside."""
        self.rule.load_state_dict(state)


class _Run:
    """A network, and the loss on activity of its last call."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.activity: Tensor

    def __call__(self, x: Tensor, state: NetworkState | None = None, **choices: Any) -> tuple[Tensor, NetworkState]:
        output, after = self.net(x, state, **choices)
        self.activity = activity_loss(self.net, after, state)
        return output, after


class _Sum(Loss):
    """The loss of the task plus the loss on activity of the call that gave the output."""

    def __init__(self, loss: Loss, run: _Run) -> None:
        self.loss, self.run = loss, run

    @property
    def per_step(self) -> bool:  # type: ignore[override]
        return bool(getattr(self.loss, "per_step", False))

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        value = self.loss(output, target)
        return value + self.run.activity.to(value)

    def over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        value = self.loss.over(output, target, steps)
        return value + self.run.activity.to(value)

    def is_over_time(self, output: Tensor, target: Tensor) -> bool:
        return self.loss.is_over_time(output, target)

    def prediction(self, output: Tensor) -> Tensor:
        return self.loss.prediction(output)

    def __repr__(self) -> str:
        return repr(self.loss)
