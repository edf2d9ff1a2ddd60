"""Penalties on hidden activity: rates, spikes and membranes of populations, added to the loss of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.learning.losses.base import Loss, Masked, Steps, number_of_steps, shares, valid_steps
from neurosim.learning.rules.base import BPTT, SLTT, Backward, Forward, Rule
from neurosim.learning.rules.ottt import OTTT
from neurosim.network.graph import NetworkState
from neurosim.network.network import Network


@dataclass(frozen=True)
class Penalty(ABC):
    """A penalty on what populations of a network do.

    A user's penalty derives from this class and defines `over`; its field `nodes` names populations.

    Parameters
    ----------
    weight : float
        Factor of the penalty in the loss, from 0.
    nodes : sequence of str, optional
        Populations; all spiking ones but the output if left out.

    Attributes
    ----------
    per_step : bool
        Whether it is a mean over steps, which rules that learn step by step need.
    variable : str
        State variable of the populations that is penalised; empty for their output.
    """

    per_step: ClassVar[bool] = False
    variable: ClassVar[str] = ""

    weight: float = 1.0
    nodes: Sequence[str] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check weight and names."""
        check_from_0(type(self).__name__, "weight", self.weight)
        if isinstance(self.nodes, str):
            raise InputError(f'{type(self).__name__}: nodes is a tuple of names, such as nodes=("{self.nodes}",).')
        if self.nodes is not None:
            object.__setattr__(self, "nodes", tuple(self.nodes))

    def recorded(self, net: Network) -> list[str]:
        """Return what a run has to record, one name for each population."""
        populations = net.populations()
        names = self.nodes
        if names is None:
            names = [name for name, node in populations.items() if node.is_spiking and name != net.output]
            if not names:
                raise InputError(
                    f"{type(self).__name__}: no population beside the output spikes; name populations, "
                    f'such as nodes=("{net.output}",).'
                )
        for name in names:
            if name not in populations:
                raise InputError(f"{type(self).__name__}: no population {name!r}; the network has {list(populations)}.")
        return [f"{name}.{self.variable}" if self.variable else name for name in names]

    @abstractmethod
    def over(self, values: Tensor, steps: Steps, dt: float) -> Tensor:
        """Return the penalty, without its weight, of values [t, B, ...] of one population at some steps of a run.

        The penalties of the populations are added. For a penalty that is a mean over steps, the sum over the chunks of
        a run, each times its number of steps over T, is the penalty of the run.
        """


@dataclass(frozen=True)
class RatePenalty(Penalty):
    r"""Squared distance of the mean rate of each neuron from a range, mean over neurons.

    .. math:: \frac{w}{N} \sum_j \max(f_j - f_{high}, 0)^2 + \max(f_{low} - f_j, 0)^2

    with :math:`f_j` the rate of neuron j in hertz, over all valid steps and samples of a batch.

    Parameters
    ----------
    weight : float
        w, per Hz^2; 1e-4 is a start.
    low, high : float, optional
        The range, Hz; without a limit if left out. One of them is needed.
    nodes : sequence of str, optional
        As in `Penalty`.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> _ = torch.manual_seed(0)
    >>> hidden, out = ns.LIF(dt=1e-3, r=9.0), ns.LI(dt=1e-3)
    >>> net = ns.Sequential(ns.Linear(4, 20), hidden, ns.Linear(20, 2), out, names=["h", "o"])
    >>> x, y = (torch.rand(50, 8, 4) < 0.3).float(), torch.arange(8) % 2
    >>> before = float(net.run(x, record=["h"]).recorded["h"].mean())
    >>> _ = ns.fit(net, [(x, y)], epochs=60, penalties=[ns.RatePenalty(1e-2, high=10.0)], progress=False)
    >>> float(net.run(x, record=["h"]).recorded["h"].mean()) < 0.8 * before
    True
    """

    low: float | None = field(default=None, kw_only=True)
    high: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the range."""
        super().__post_init__()
        if self.low is None and self.high is None:
            raise InputError("RatePenalty needs low= or high=, rates in Hz.")
        for name in ("low", "high"):
            if getattr(self, name) is not None:
                check_from_0("RatePenalty", name, getattr(self, name))
        if self.low is not None and self.high is not None and self.low > self.high:
            raise InputError(f"RatePenalty: low={self.low} is above high={self.high}.")

    def over(self, values: Tensor, steps: Steps, dt: float) -> Tensor:
        """Return the squared distance of the rates from the range."""
        counted = valid_steps(values, steps.mask).flatten(2)
        total = number_of_steps(values, steps.mask)
        samples = values.shape[1]
        duration = (total.sum() if isinstance(total, Tensor) else total * samples) * dt
        rates = counted.sum((0, 1)) / duration
        return _outside(rates, self.low, self.high).mean()


@dataclass(frozen=True)
class SpikePenalty(Penalty):
    r"""Mean number of spikes per neuron and step, :math:`w\, \mathrm{mean}\,|z|`: few spikes, as energy asks for.

    A mean over steps: usable with SLTT and OTTT.

    Parameters
    ----------
    weight : float
    nodes : sequence of str, optional
        As in `Penalty`.
    """

    per_step: ClassVar[bool] = True

    def over(self, values: Tensor, steps: Steps, dt: float) -> Tensor:
        """Return the mean number of spikes."""
        return _mean(values.abs(), steps)


@dataclass(frozen=True)
class MembranePenalty(Penalty):
    r"""Squared distance of membranes from a range, mean over neurons, samples and steps.

    .. math:: w\, \mathrm{mean}\big(\max(v - v_{high}, 0)^2 + \max(v_{low} - v, 0)^2\big)

    v is the membrane after the step. A mean over steps: usable with SLTT and OTTT. Populations whose membranes are
    penalised run step by step, which is slow.

    Parameters
    ----------
    weight : float
    low, high : float, optional
        The range, in units of the membrane. One of them is needed.
    nodes : sequence of str, optional
        As in `Penalty`.
    """

    per_step: ClassVar[bool] = True
    variable: ClassVar[str] = "v"

    low: float | None = field(default=None, kw_only=True)
    high: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the range."""
        super().__post_init__()
        if self.low is None and self.high is None:
            raise InputError("MembranePenalty needs low= or high=, in units of the membrane.")

    def over(self, values: Tensor, steps: Steps, dt: float) -> Tensor:
        """Return the mean squared distance of the membranes from the range."""
        return _mean(_outside(values, self.low, self.high), steps)


def check_from_0(owner: str, name: str, value: Any) -> None:
    """Raise `InputError` unless `value` is a finite number from 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise InputError(f"{owner}: {name} must be a finite number from 0; got {value!r}.")


def _outside(values: Tensor, low: float | None, high: float | None) -> Tensor:
    """Return the squared distance of values from the range of two limits."""
    above = torch.zeros_like(values) if high is None else (values - high).clamp(min=0.0).square()
    return above if low is None else above + (low - values).clamp(min=0.0).square()


def _mean(values: Tensor, steps: Steps) -> Tensor:
    """Return the mean over neurons, samples and valid steps; see `Loss.over`."""
    if steps.mask is None:
        return values.mean()
    each = values.flatten(2).mean(2)
    return (each * steps.of(shares(each, steps), len(each)).T).sum() * (steps.total / len(each))


@dataclass(frozen=True)
class Penalised(Rule):
    """Another rule, with penalties added to the loss of the task; `fit` makes it of its `penalties`.

    Parameters
    ----------
    rule : Rule
        `BPTT`, `SLTT` or `OTTT`.
    penalties : sequence of Penalty
        For SLTT and OTTT means over steps.

    Raises
    ------
    InputError
        For another rule or penalty; in `gradients`, when the network is no `Network`.
    """

    rule: Rule
    penalties: tuple[Penalty, ...]

    def __post_init__(self) -> None:
        """Check rule and penalties."""
        penalties = self.penalties
        if isinstance(penalties, Penalty) or not isinstance(penalties, Sequence) or not penalties:
            raise InputError(f"penalties is a list such as [ns.RatePenalty(1e-4, high=20.0)]; got {penalties!r}.")
        for each in penalties:
            if not isinstance(each, Penalty):
                raise InputError(f"penalties is a list such as [ns.RatePenalty(1e-4, high=20.0)]; it has {each!r}.")
        object.__setattr__(self, "penalties", tuple(penalties))
        if not isinstance(self.rule, (BPTT, SLTT, OTTT)):
            raise InputError(
                f"penalties need a rule whose gradients pass the network, BPTT, SLTT or OTTT; got {self.rule!r}."
            )
        for each in self.penalties:
            if not each.per_step and not isinstance(self.rule, BPTT):
                raise InputError(
                    f"{each!r} is a function of all steps, which {self.rule!r} does not have at once. Use BPTT(), or a "
                    "penalty that is a mean over steps, such as SpikePenalty(...)."
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
        """Add the gradients of loss and penalties; the value is their sum. See `Rule.gradients`."""
        if not isinstance(net, Network):
            raise InputError(
                f"penalties need the Network itself, in full precision; got {type(net).__name__}. Leave them out, or "
                "train the network inside."
            )
        run = _Run(net, self.penalties)
        return self.rule.gradients(run, x, target, _Sum(loss, run), generator, backward=backward)


class _Run:
    """A network that records what penalties need, with its gradient."""

    def __init__(self, net: Network, penalties: Sequence[Penalty]) -> None:
        self.net, self.penalties = net, penalties
        self.names = {penalty: penalty.recorded(net) for penalty in penalties}
        self.recorded: Mapping[str, Tensor] = {}

    def __call__(self, x: Tensor, state: NetworkState | None = None, **choices: Any) -> tuple[Tensor, NetworkState]:
        record = list(dict.fromkeys(name for names in self.names.values() for name in names))
        result = self.net.run(x, state, record, gradient=True, **choices)
        self.recorded = result.recorded
        return result.out, result.state

    def penalty(self, steps: Steps) -> Tensor:
        """Return the sum of the penalties on the last call."""
        terms = [
            penalty.weight * penalty.over(self.recorded[name], steps, self.net.dt)
            for penalty, names in self.names.items()
            for name in names
        ]
        self.recorded = {}
        return torch.stack(terms).sum()


class _Sum(Loss):
    """The loss of the task plus the penalties on the call that gave the output."""

    def __init__(self, loss: Loss, run: _Run) -> None:
        self.loss, self.run = loss, run

    @property
    def per_step(self) -> bool:  # type: ignore[override]
        return self.loss.per_step

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return self.over(output, target, Steps(0, len(output)))

    def over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        mask = self.loss.mask if isinstance(self.loss, Masked) else None
        whole = steps.are_all(output)
        value = self.loss(output, target) if whole else self.loss.over(output, target, steps)
        return value + self.run.penalty(Steps(steps.start, steps.total, mask)).to(value)

    def prediction(self, output: Tensor) -> Tensor:
        return self.loss.prediction(output)

    def __repr__(self) -> str:
        return repr(self.loss)
