"""Every plastic rule once, with how it is made and what it changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import neurosim as ns
from neurosim.plasticity import (
    AstrocyteModulated,
    InhibitorySTDP,
    LiquidAstrocyte,
    NeuromodulatedAdaptation,
    PairSTDP,
    Plasticity,
    RewardModulated,
    SoftHebb,
    SoftHebbConv,
    SynapticScaling,
    ThresholdHomeostasis,
    TripletSTDP,
)
from neurosim.synapses import BatchNorm, Synapse

DT = 1e-3
T, B, N_IN, N_OUT = 60, 3, 7, 5
Learner = tuple[Callable[[Tensor], Any], Any]  # runs on x, and the rule with its state


@dataclasses.dataclass(frozen=True)
class PlasticCase:
    """A rule under test.

    Attributes
    ----------
    kind : type
    make : callable
        From a network to the function that runs and learns on x [T, B, N_IN], and the object with the rule's state.
    sparse : bool
        Whether it changes weights of an edge, `Linear` or `Sparse`.
    grows : bool
        Whether it changes weights that are exactly 0.
    bounds : tuple of float
        Bounds of the weights.
    parts : bool
        Whether a run in two parts changes the weights as one run does.
    """

    kind: type
    make: Callable[[ns.Network], Learner]
    sparse: bool = True
    grows: bool = True
    bounds: tuple[float, float] = (-float("inf"), float("inf"))
    parts: bool = True

    def __str__(self) -> str:
        return self.kind.__name__


def network(synapse: Synapse | None = None, dtype: torch.dtype = torch.float64, norm: bool = False) -> ns.Network:
    """Return N_IN inputs and N_OUT neurons joined by `synapse`, with a loop that no rule changes."""
    torch.manual_seed(0)
    if synapse is None:
        synapse = dense()
    loop = ns.Linear(N_OUT, N_OUT)
    with torch.no_grad():
        loop.weight.mul_(0.3)
    chain = [synapse, BatchNorm(N_OUT)] if norm else [synapse]
    neurons = ns.LIF(dt=DT, tau_mem=5e-3, r=5.0, v_th=torch.ones(N_OUT))
    edges = [ns.Edge("in", "out", chain, name="plastic"), ns.Edge("out", "out", loop)]
    return ns.Network({"in": ns.Input(N_IN), "out": neurons}, edges).to(dtype).eval()


def weights() -> Tensor:
    """Return weights [N_OUT, N_IN] between 0.1 and 0.9."""
    return 0.1 + 0.8 * torch.rand(N_OUT, N_IN, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def exists() -> Tensor:
    """Return which of the synapses [N_OUT, N_IN] exist where not all do."""
    return torch.rand(N_OUT, N_IN, generator=torch.Generator().manual_seed(2)) < 0.6


def dense(mask: Tensor | None = None) -> ns.Linear:
    """Return the weights as `Linear`, those outside the mask 0."""
    synapse = ns.Linear(N_IN, N_OUT).double()
    with torch.no_grad():
        synapse.weight.copy_(weights() if mask is None else weights() * mask)
    return synapse


def sparse(mask: Tensor | None = None, twice: bool = False) -> ns.Sparse:
    """Return the weights as `Sparse`; with `twice` each pair has two synapses of half the weight."""
    mask = torch.ones(N_OUT, N_IN, dtype=torch.bool) if mask is None else mask
    pairs, values = mask.nonzero().T, weights()[mask]
    if twice:
        pairs, values = torch.cat((pairs, pairs), 1), torch.cat((values, values)) / 2
    return ns.Sparse(N_IN, N_OUT, pairs, values)


def data(steps: int = T, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return input spikes [T, B, N_IN]."""
    return (torch.rand(steps, B, N_IN, generator=torch.Generator().manual_seed(3)) < 0.25).to(dtype)


def plastic(rule: Any) -> Callable[[ns.Network], Learner]:
    """Return what makes a rule for the plastic edge."""

    def make(net: ns.Network, chunk: int = 1) -> Learner:
        plasticity, state = Plasticity(net, {"plastic": rule}, chunk=chunk), [None]

        def run(x: Tensor) -> Any:
            out, state[0] = plasticity.run(x, state[0])  # type: ignore[call-overload]
            if isinstance(rule, RewardModulated):
                plasticity.reward(torch.linspace(0.5, 1.0, x.shape[1]))
            return out

        return run, plasticity

    return make


def homeostatic(kind: Any, **settings: Any) -> Callable[[ns.Network], Learner]:
    def make(net: ns.Network) -> Learner:
        rule = kind(net, {"out": 30.0}, rate=2e-3, tau=0.1, **settings)

        def run(x: Tensor) -> Any:
            z, _ = net(x)
            rule.learn({"out": z.detach()})
            return z

        return run, rule

    return make


def soft_hebb(net: ns.Network) -> Learner:
    rule = SoftHebb(N_IN, N_OUT, rate=0.1, generator=torch.Generator().manual_seed(5)).double()
    return lambda x: [rule.learn(each) for each in x], rule


def soft_hebb_conv(net: ns.Network) -> Learner:
    rule = SoftHebbConv(1, 4, 3, rate=0.1, generator=torch.Generator().manual_seed(5)).double()
    return lambda x: [rule.learn(each[:, None, :, None].expand(-1, 1, -1, 5)) for each in x], rule


def adapted(net: ns.Network) -> Learner:
    chained = network(next(iter(net.edges)).synapses[0], norm=True)
    rule = NeuromodulatedAdaptation(chained, "plastic", rate=0.05)
    return rule, rule


PAIR = PairSTDP(a_plus=0.02, a_minus=0.015, w_max=1.0)
ASTROCYTE = LiquidAstrocyte(("out",), ("in",), weight=0.01, rest=0.5)
RULES = (
    PlasticCase(PairSTDP, plastic(PAIR), bounds=(0.0, 1.0)),
    PlasticCase(TripletSTDP, plastic(TripletSTDP(a2_plus=5e-3, w_max=1.0, mu=0.5)), bounds=(0.0, 1.0)),
    PlasticCase(InhibitorySTDP, plastic(InhibitorySTDP(rate=0.02, target=30.0)), bounds=(0.0, 1.0)),
    PlasticCase(RewardModulated, plastic(RewardModulated(PAIR, rate=0.5)), bounds=(0.0, 1.0), parts=False),
    PlasticCase(AstrocyteModulated, plastic(AstrocyteModulated(PAIR, ASTROCYTE)), bounds=(0.0, 1.0)),
    PlasticCase(SynapticScaling, homeostatic(SynapticScaling, edges={"out": "plastic"}), grows=False, parts=False),
    PlasticCase(ThresholdHomeostasis, homeostatic(ThresholdHomeostasis), sparse=False, parts=False),
    PlasticCase(SoftHebb, soft_hebb, sparse=False),
    PlasticCase(SoftHebbConv, soft_hebb_conv, sparse=False),
    PlasticCase(NeuromodulatedAdaptation, adapted, sparse=False, parts=False),
)
# Public names that are no rules by themselves, and what tests them here.
OTHERS = {
    "Plasticity": "runs the rules of edges",
    "HomeostaticScaling": "runs in circuits alone; its equation is that of SynapticScaling",
    "HomeostaticThreshold": "runs in circuits alone; its equation is that of ThresholdHomeostasis",
    "Rewiring": "runs in circuits alone",
    "Rewards": "are rewards over time for RewardModulated",
    "LiquidAstrocyte": "is a part of AstrocyteModulated",
    "TsodyksMarkram": "changes amplitudes, not weights",
    "branching_factor": "is a measure",
}
