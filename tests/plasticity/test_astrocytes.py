"""The astrocyte of a liquid: its fixed point, its program step by step, and what its weights do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.errors import InputError, ShapeError
from neurosim.plasticity.astrocytes import AstrocyteModulated, LiquidAstrocyte, branching_factor
from neurosim.plasticity.engine import Plasticity
from neurosim.plasticity.stdp import PairSTDP

DT, ETA = 1e-3, 0.1
ASTROCYTE = LiquidAstrocyte(("exc", "inh"), ("input",), weight=0.02, rest=ETA, tau=0.1)


def rule(low: float, high: float, inhibitory: bool = False) -> AstrocyteModulated:
    pair = PairSTDP(
        w_min=low,
        w_max=high,
        a_plus=0.1 * ETA,
        a_minus=0.1,
        tau_plus=10e-3,
        tau_minus=10e-3,
        coincident=False,
    )
    return AstrocyteModulated(pair, ASTROCYTE, inhibitory)


RULES = {
    "input->exc": rule(0.0, 3.0),
    "exc->exc": rule(0.0, 3.0),
    "exc->inh": rule(0.0, 3.0),
    "inh->exc": rule(-3.0, 0.0, inhibitory=True),
}


def liquid() -> ns.Network:
    torch.manual_seed(0)
    lif = ns.layer(ns.cores.lif)
    net = ns.Network(
        {"input": ns.Input(6), "exc": lif(dt=DT, r=10.0), "inh": lif(dt=DT, r=10.0)},
        [
            ns.Edge("input", "exc", ns.Linear(6, 8)),
            ns.Edge("exc", "exc", ns.Linear(8, 8)),
            ns.Edge("exc", "inh", ns.Linear(8, 3), delay=DT),
            ns.Edge("inh", "exc", ns.Linear(3, 8), delay=DT),
        ],
        output="exc",
    ).double()
    with torch.no_grad():
        for edge in net.edges:
            sign = -1.0 if edge.source == "inh" else 1.0
            edge.synapses[0].weight.uniform_(0.2, 1.0).mul_(sign)
    return net


def spikes(steps: int) -> Tensor:
    return (torch.rand(steps, 1, 6, generator=torch.Generator().manual_seed(1)) < 0.1).double()


def test_the_level_rests_at_its_fixed_point():
    seen = {"exc": torch.ones(3000, 2, 5), "inh": torch.ones(3000, 2, 2), "input": torch.ones(3000, 2, 4)}
    seen["input"][:, 1] = 0.0
    _, end = ASTROCYTE.levels(seen, DT)
    assert end.tolist() == pytest.approx([0.02 * (7 - 4) + ETA, 0.02 * 7 + ETA], rel=1e-5)
    _, quiet = ASTROCYTE.levels({name: torch.zeros_like(value) for name, value in seen.items()}, DT)
    assert quiet.tolist() == pytest.approx([ETA, ETA])


def test_weights_and_level_follow_the_program_step_by_step():
    net, x = liquid(), spikes(250)
    plasticity = Plasticity(net, RULES)
    weights = {edge.name: edge.synapses[0].weight.detach().clone() for edge in net.edges}
    kept, level = math.exp(-DT / 10e-3), ETA
    traces = {name: torch.zeros(n, dtype=torch.float64) for name, n in (("input", 6), ("exc", 8), ("inh", 3))}
    late, state = {"exc": torch.zeros(8).double(), "inh": torch.zeros(3).double()}, None
    for t in range(len(x)):
        before = state
        seen = net.run(x[t : t + 1], before, ("exc", "inh")).recorded
        fired = {"input": x[t, 0], **{name: value[0, 0] for name, value in seen.items()}}
        _, state = plasticity.run(x[t : t + 1], state)
        for name, modulated in RULES.items():
            source, target = name.split("->")
            # What arrives over a delay of a step was sent, and left its trace, a step ago.
            pre = late[source] if source in late else fired[source]
            x_pre = traces[f"{source} late"] if f"{source} late" in traces else traces[source]
            up = torch.outer(fired[target], x_pre)
            down = torch.outer(traces[target], pre)
            change = ETA * down - level * up if modulated.inhibitory else ETA * up - level * down
            weights[name] = (weights[name] + change).clamp(modulated.rule.w_min, modulated.rule.w_max)
            torch.testing.assert_close(
                net.edges[list(RULES).index(name)].synapses[0].weight.detach(), weights[name], rtol=0, atol=1e-12
            )
        for name, pre in late.items():
            traces[f"{name} late"] = kept * (traces.get(f"{name} late", torch.zeros_like(pre)) + 0.1 * pre)
        for name, spike in fired.items():
            traces[name] = kept * (traces[name] + 0.1 * spike)
        late = {name: fired[name] for name in late}
        total = fired["exc"].sum() + fired["inh"].sum() - fired["input"].sum()
        level = level + (0.02 * float(total) + ETA - level) / 100
    assert float(plasticity.levels[ASTROCYTE]) == pytest.approx(level, abs=1e-12)
    assert fired["exc"].numel() and abs(level - ETA) > 1e-3
    assert all((weights[e.name] != liquid().edges[k].synapses[0].weight).any() for k, e in enumerate(net.edges))


def test_a_split_run_equals_the_run_in_one():
    x = spikes(60)
    levels = []
    for cuts in ((60,), (7, 30, 23)):
        plasticity, state = Plasticity(liquid(), RULES, chunk=1), None
        for piece in x.split(cuts):
            _, state = plasticity.run(piece, state)
        levels.append(plasticity.levels[ASTROCYTE])
    assert torch.allclose(*levels, rtol=0, atol=1e-12)
    again = Plasticity(liquid(), RULES)
    again.load_state_dict(plasticity.state_dict())
    assert again.levels == plasticity.levels
    with pytest.raises(InputError, match=r"levels were saved for 1 astrocyte\(s\); here 0"):
        Plasticity(liquid(), {name: rule.rule for name, rule in RULES.items()}).load_state_dict(plasticity.state_dict())
    plasticity.forget()
    assert plasticity.levels == {}


def test_spikes_of_one_step_are_no_pair_on_request():
    before, after = torch.zeros(30, 1, 1).double(), torch.zeros(30, 1, 1).double()
    before[[5, 20]], after[[5, 12]] = 1.0, 1.0
    pair = PairSTDP(a_plus=1.0, a_minus=0.5, tau_plus=10e-3, tau_minus=20e-3, coincident=False)
    factors, _ = pair.factors(before, after, DT)
    expected = math.exp(-7 / 10) - 0.5 * (math.exp(-8 / 20) + math.exp(-15 / 20))
    assert float(pair.change(torch.zeros(1, 1).double(), factors)) == pytest.approx(expected, abs=1e-12)
    for nearest in (False, True):
        pair = PairSTDP(coincident=False, nearest=nearest)
        whole, end = pair.factors(before, after, DT)
        first, between = pair.factors(before[:11], after[:11], DT)
        second, last = pair.factors(before[11:], after[11:], DT, between)
        for a, b, c in zip(whole, first, second, strict=True):
            torch.testing.assert_close(a, torch.cat((b, c)), rtol=0, atol=1e-14)
        torch.testing.assert_close(end, last, rtol=0, atol=1e-14)


def test_the_branching_factor_by_hand():
    connected = torch.zeros(3, 3)
    connected[1, 0] = connected[2, 0] = connected[0, 1] = 1.0  # 0 reaches 1 and 2, 1 reaches 0
    train = torch.zeros(20, 1, 3)
    train[5, 0, 1] = train[7, 0, 0] = train[8, 0, 1] = train[9, 0, 2] = train[12, 0, 0] = 1.0
    # window 4, neuron 0: at 7 after 1 spike of neuron 1 come 2; at 12 after 1 (at 8) comes none: 1.
    # neuron 1: at 5 after none comes 1 (at 7); at 8 after 1 comes 1 (at 12): 1. Neuron 2 reaches none: 0.
    assert branching_factor(train, connected) == pytest.approx((1 + 1 + 0) / 3)
    assert branching_factor(torch.zeros(20, 1, 3), connected) == 0.0
    with pytest.raises(ShapeError, match=r"spikes must be \[T, B, N\]"):
        branching_factor(train[:, 0], connected)
    with pytest.raises(InputError, match="window must be a number of steps below half"):
        branching_factor(train, connected, window=10)


def test_wrong_modulation_is_refused_by_name():
    with pytest.raises(InputError, match="liquid must be names of nodes"):
        LiquidAstrocyte("exc", ("input",))
    with pytest.raises(InputError, match="weight must be a finite number"):
        LiquidAstrocyte(("exc",), ("input",), weight=math.inf)
    with pytest.raises(InputError, match="must be longer than a step"):
        LiquidAstrocyte(("a",), ("b",), tau=DT).levels({"a": torch.ones(2, 1, 1), "b": torch.ones(2, 1, 1)}, DT)
    with pytest.raises(InputError, match="a_plus and a_minus are above 0"):
        AstrocyteModulated(PairSTDP(a_minus=0.0), ASTROCYTE)
    with pytest.raises(InputError, match="inhibitory neurons stay below 0"):
        AstrocyteModulated(PairSTDP(), ASTROCYTE, inhibitory=True)
    other = AstrocyteModulated(PairSTDP(), LiquidAstrocyte(("pool",), ("input",)))
    with pytest.raises(InputError, match=r"its astrocyte integrates spikes of \['pool'\]; this network has"):
        Plasticity(liquid(), {"exc->exc": other})
