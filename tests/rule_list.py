"""Every learning rule, once. A rule listed here has to pass all of `tests.rule_battery` but what it leaves out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.learning import (
    DECOLLE,
    HLOP,
    DecolleLIF,
    EProp,
    EventProp,
    Feedback,
    ForwardForward,
    Goodness,
    LateralBanks,
    LocalReadouts,
    MaxMembrane,
)
from neurosim.learning.penalties import Penalised, SpikePenalty
from neurosim.learning.rules.eventprop import CubaLI
from neurosim.models import DeltaActivation, WithActivity

DT, INPUTS, HIDDEN, CLASSES = 1e-3, 12, 16, 3


@dataclasses.dataclass(frozen=True)
class RuleCase:
    """A rule, a network that it trains, and what it refuses.

    Attributes
    ----------
    kind : type of Rule
    network : callable
        Makes a network for `data` in float64, the same at each call.
    make : callable
        Makes the rule for a network; a further argument is the length of a chunk.
    rate : float
        Learning rate of Adam in the check that it learns.
    refused : mapping
        Networks that it cannot train, each as a callable, by what the error says.
    keeps : callable, optional
        Returns parameters beside those of the network that the optimizer moves.
    leaves_out : mapping of str to str
        Checks of `tests.rule_battery` that it does not pass, by name, with the reason.
    name : str
        Where a rule is listed in several forms.
    """

    kind: type[ns.Rule]
    network: Callable[[], nn.Module]
    make: Callable[..., ns.Rule]
    rate: float = 0.01
    refused: Mapping[str, Callable[[], nn.Module]] = dataclasses.field(default_factory=dict)
    keeps: Callable[[ns.Rule], list[nn.Parameter]] = lambda rule: []
    leaves_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.kind.__name__


def data(samples: int = 12, steps: int = 9) -> tuple[Tensor, Tensor]:
    """Return spikes [steps, samples, INPUTS] of classes that differ in which inputs are active, and the classes."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(samples) % CLASSES
    active = torch.arange(INPUTS) % CLASSES == y[:, None]
    rates = torch.where(active, 0.8, 0.1)
    return (torch.rand(steps, samples, INPUTS, generator=generator) < rates).double(), y


def _network(*parts: Any, scale: float = 1.0, **choices: Any) -> ns.Network:
    """Return a network in float64 whose weights are random around 0.1."""
    net = ns.Sequential(*parts, **choices).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        if parameter.dim() > 1:
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            nn.init.constant_(parameter, 0.1)
            parameter.data.add_(0.4 * values).mul_(scale)
    return net


def spiking() -> ns.Network:
    """Return LIF neurons and a leaky readout."""
    return _network(
        ns.Linear(INPUTS, HIDDEN),
        ns.LIF(dt=DT, tau_mem=5e-3, r=4.0),
        ns.Linear(HIDDEN, CLASSES),
        ns.LI(dt=DT, tau_mem=5e-3, r=4.0),
        names=("hidden", "out"),
    )


def convolutional() -> ns.Network:
    """Return a network whose first edge is not all-to-all."""
    return _network(
        ns.Input((1, INPUTS)),
        ns.Conv1d(1, 2, 3),
        ns.LIF(dt=DT),
        ns.Flatten(),
        ns.Linear(2 * (INPUTS - 2), CLASSES),
        ns.LI(dt=DT),
        names=("hidden", "out"),
    )


def blocks() -> ns.Network:
    """Return a network with a block-diagonal edge."""
    return _network(ns.Input(INPUTS), ns.BlockLinear(INPUTS, INPUTS, 2), ns.LIF(dt=DT))


def current_based() -> ns.Network:
    """Return CubaLIF neurons and a readout of the same kind."""
    taus = dict(tau_mem=10e-3, tau_syn=5e-3)
    return _network(
        ns.Linear(INPUTS, HIDDEN),
        ns.CubaLIF(dt=DT, **taus),
        ns.Linear(HIDDEN, CLASSES),
        CubaLI(dt=DT, **taus),
        names=("hidden", "out"),
        scale=3.0,
    )


def local() -> LocalReadouts:
    """Return DECOLLE's neurons with local readouts."""
    times = dict(tau_syn=2e-3, tau_mem=4e-3)
    net = _network(
        ns.Linear(INPUTS, HIDDEN),
        DecolleLIF(dt=DT, **times),
        ns.Linear(HIDDEN, HIDDEN),
        DecolleLIF(dt=DT, **times),
        names=("one", "two"),
    )
    return LocalReadouts(net, CLASSES, scale=4.0, generator=torch.Generator().manual_seed(2))


def judging() -> Goodness:
    """Return two layers of LIF neurons that give the goodness of each class."""
    neurons = dict(dt=DT, tau_mem=3e-3, r=4.0)
    parts = (ns.Linear(INPUTS, HIDDEN), ns.LIF(**neurons), ns.Linear(HIDDEN, HIDDEN), ns.LIF(**neurons))
    return Goodness(_network(*parts, names=("one", "two")), CLASSES)


def changing() -> ns.Network:
    """Return delta activation layers."""
    return _network(
        ns.Linear(INPUTS, HIDDEN),
        DeltaActivation(HIDDEN, dt=DT, rate=0.1),
        ns.Linear(HIDDEN, CLASSES),
        DeltaActivation(CLASSES, dt=DT, threshold=None, rectify=False),
        names=("hidden", "out"),
    )


def _eprop(net: nn.Module, chunk: int = 64) -> EProp:
    inner = net if isinstance(net, ns.Network) else net.get_submodule("0")
    assert isinstance(inner, ns.Network)
    feedback = Feedback(inner, adaptive=True, generator=torch.Generator().manual_seed(3))
    return EProp(feedback=feedback, chunk=chunk)


def _hlop(inner: Callable[[int], ns.Rule]) -> Callable[..., HLOP]:
    def make(net: nn.Module, chunk: int = 8) -> HLOP:
        assert isinstance(net, ns.Network)
        torch.manual_seed(4)
        banks = LateralBanks(net)
        for rows in ([3, 2], [2, 2]):  # of a task before and of this one
            banks.begin_task(rows)
        return HLOP(inner(chunk), banks)

    return make


def _matrices(rule: ns.Rule) -> list[nn.Parameter]:
    assert isinstance(rule, EProp) and rule.feedback is not None
    return list(rule.feedback.matrices.values())


ANY_LOSS = "it differentiates the loss of all steps at once"
ANY_NETWORK = "it calls the network and looks at nothing in it"
ONE_CALL = "it runs all steps in one call"

RULES = (
    RuleCase(
        ns.BPTT,
        spiking,
        lambda net: ns.BPTT(),
        leaves_out={"wrong_loss": ANY_LOSS, "wrong_network": ANY_NETWORK, "chunks": ONE_CALL},
    ),
    RuleCase(
        ns.BPTT,
        spiking,
        lambda net: ns.BPTT(recompute=True),
        leaves_out={"wrong_loss": ANY_LOSS, "wrong_network": ANY_NETWORK, "chunks": ONE_CALL},
        name="BPTT-recompute",
    ),
    RuleCase(ns.SLTT, spiking, lambda net, chunk=8: ns.SLTT(chunk=chunk), leaves_out={"wrong_network": ANY_NETWORK}),
    RuleCase(
        ns.SLTT,
        spiking,
        lambda net, chunk=8: ns.SLTT(k=4, chunk=chunk),
        leaves_out={"wrong_network": ANY_NETWORK},
        name="SLTT-k",
    ),
    RuleCase(
        ns.OTTT,
        spiking,
        lambda net, chunk=16: ns.OTTT(chunk=chunk),
        refused={
            "which need one input port and one shared tau_mem": lambda: _network(
                ns.Linear(INPUTS, CLASSES), ns.LIF(dt=DT, tau_mem=torch.full((CLASSES,), 5e-3))
            )
        },
    ),
    RuleCase(
        EProp,
        spiking,
        _eprop,
        keeps=_matrices,
        refused={
            "one Linear is needed": convolutional,
            "EProp needs the Network itself": lambda: nn.Sequential(spiking()),
        },
    ),
    RuleCase(
        EventProp,
        current_based,
        lambda net, chunk=64: EventProp(chunk=chunk),
        leaves_out={"wrong_loss": ANY_LOSS},
        refused={"must be CubaLIF": spiking, "EventProp needs the Network itself": lambda: nn.Sequential(spiking())},
    ),
    RuleCase(
        DECOLLE,
        local,
        lambda net, chunk=32: DECOLLE(chunk=chunk),
        rate=0.1,
        refused={"DECOLLE needs LocalReadouts": spiking},
    ),
    RuleCase(
        ForwardForward,
        judging,
        lambda net: ForwardForward(threshold=1.0),
        refused={"ForwardForward needs Goodness": spiking},
        leaves_out={
            "wrong_loss": "the loss given is not trained: each layer has its own",
            "chunks": ONE_CALL,
        },
    ),
    RuleCase(
        HLOP,
        spiking,
        _hlop(lambda chunk: ns.SLTT(chunk=chunk)),
        refused={"has no bank of lateral neurons": blocks},
    ),
    RuleCase(
        Penalised,
        spiking,
        lambda net, chunk=8: Penalised(ns.SLTT(chunk=chunk), (SpikePenalty(0.05),)),
        refused={"penalties need the Network itself": lambda: nn.Sequential(spiking())},
    ),
    RuleCase(
        WithActivity,
        changing,
        lambda net, chunk=8: WithActivity(ns.SLTT(chunk=chunk)),
        refused={"WithActivity needs a Network": lambda: nn.Sequential(spiking())},
        leaves_out={"chunks": "the mean change of a chunk excludes the first frame of the run alone"},
    ),
)
WHOLE_LOSS = MaxMembrane()  # of all steps at once
