"""The contract of a learning rule: every rule passes it by being listed in `tests.rule_list`."""

from __future__ import annotations

import copy
import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.errors import NeurosimError, ShapeError
from tests.rule_list import WHOLE_LOSS, RuleCase, data

CHUNKS = (1, 2, 4, 100)


def gradients(
    rule: ns.Rule, net: nn.Module, seed: int = 0, scale: float = 1.0, times: int = 1
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return value, output and gradients of the parameters that got one, for the batch of `data`."""
    x, y = data()
    for parameter in net.parameters():
        parameter.grad = None
    for _ in range(times):
        value, output = rule.gradients(
            net, x, y, ns.CrossEntropy(), torch.Generator().manual_seed(seed), backward=lambda v: (v * scale).backward()
        )
    found = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    assert found and max(float(g.abs().max()) for g in found) > 1e-6, "no gradient: nothing is tested"
    return value, output, found


def close(a: list[Tensor], b: list[Tensor], tolerance: float = 1e-11) -> bool:
    scale = max(float(g.abs().max()) for g in b)
    return all(float((g - h).abs().max()) <= tolerance * scale for g, h in zip(a, b, strict=True))


def train(
    case: RuleCase, folder: Path | None, epochs: int, *, resume: bool = False
) -> tuple[nn.Module, ns.Rule, ns.History]:
    """Train a new network with a new rule on two batches."""
    net = case.network()
    rule = case.make(net)
    x, y = data()
    batches = [(x[:, ::2], y[::2]), (x[:, 1::2], y[1::2])]
    optimizer = torch.optim.Adam([*net.parameters(), *case.keeps(rule)], case.rate)
    history = ns.fit(
        net, batches, rule=rule, optimizer=optimizer, epochs=epochs, checkpoint=folder, resume=resume, progress=False
    )
    return net, rule, history


def flat(state: dict[str, Any], place: str = "") -> dict[str, Tensor]:
    """Return the tensors of nested dictionaries by their path."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        found |= flat(value, f"{place}{name}/") if isinstance(value, dict) else {place + name: torch.as_tensor(value)}
    return found


def check_results(case: RuleCase, folder: Path) -> None:
    """The value is a scalar and the output [T, B, C], both detached; parameters and modes are as before."""
    net = case.network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x, y = data()
    value, output, _ = gradients(case.make(net), net)
    assert value.shape == () and torch.isfinite(value) and not value.requires_grad
    assert output.dim() == 3 and output.shape[1] == len(y) and not output.requires_grad
    assert len(output) in (1, len(x))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training and all(p.requires_grad for p in net.parameters())


def check_accumulates(case: RuleCase, folder: Path) -> None:
    """Gradients are added to `.grad`, not stored into it."""
    net = case.network()
    once, twice = (gradients(case.make(net), net, times=times)[2] for times in (1, 2))
    assert close(twice, [2.0 * g for g in once])


def check_backward_is_called(case: RuleCase, folder: Path) -> None:
    """A gradient scaler comes in through `backward`: all gradients are scaled."""
    net = case.network()
    plain, scaled = (gradients(case.make(net), net, scale=scale)[2] for scale in (1.0, 64.0))
    assert all(torch.equal(g * 64.0, h) for g, h in zip(plain, scaled, strict=True))


def check_repeats(case: RuleCase, folder: Path) -> None:
    """The same generator gives the same bits, whatever torch's global generator did; none of it is used."""
    results = []
    for seed in (1, 2):
        net = case.network()
        rule = case.make(net)
        torch.manual_seed(seed)
        results.append(gradients(rule, net, seed=5))
        after = torch.rand(3)
        torch.manual_seed(seed)
        assert torch.equal(after, torch.rand(3)), "the global generator was used although one was given"
    (value, output, first), (again, output_again, second) = results
    assert torch.equal(value, again) and torch.equal(output, output_again)
    assert all(map(torch.equal, first, second))


def check_chunks(case: RuleCase, folder: Path) -> None:
    """The length of a chunk changes no result."""
    results = []
    for chunk in CHUNKS:
        net = case.network()
        results.append(gradients(case.make(net, chunk), net))
    for (value, output, found), (other, output_other, found_other) in itertools.pairwise(results):
        torch.testing.assert_close(value, other, rtol=1e-11, atol=0)
        torch.testing.assert_close(output, output_other, rtol=1e-11, atol=1e-12)
        assert close(found, found_other)


def check_learns(case: RuleCase, folder: Path) -> None:
    """Training lowers the loss and finds the classes."""
    net, _, history = train(case, None, 30)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    x, y = data()
    assert ns.evaluate(net, [(x, y)])["accuracy"] > 0.8


def check_resumes(case: RuleCase, folder: Path) -> None:
    """A resumed run is the uninterrupted one, bit for bit; so is what the rule holds."""
    whole, rule, history = train(case, folder / "whole", 3)
    train(case, folder / "parts", 1)
    parts, resumed, rows = train(case, folder / "parts", 3, resume=True)
    assert all(map(torch.equal, whole.state_dict().values(), parts.state_dict().values()))
    held, again = (flat(each.state_dict()) for each in (rule, resumed))
    assert held.keys() == again.keys() and all(torch.equal(held[name], again[name]) for name in held)
    assert history["loss"] == rows["loss"]
    fresh = case.network()
    assert any(not torch.equal(a, b) for a, b in zip(whole.parameters(), fresh.parameters(), strict=True))


def check_state_round_trip(case: RuleCase, folder: Path) -> None:
    """What the rule holds is plain data; with it a new rule is the old one."""
    _, rule, _ = train(case, None, 2)
    torch.save(rule.state_dict(), folder / "rule.pt")
    state = torch.load(folder / "rule.pt", weights_only=True)
    net = case.network()
    other = case.make(net)
    other.load_state_dict(state)
    held, again = flat(rule.state_dict()), flat(other.state_dict())
    assert held.keys() == again.keys() and all(torch.equal(held[name], again[name]) for name in held)
    with pytest.raises((NeurosimError, KeyError, RuntimeError)):
        case.make(net).load_state_dict({"of another rule": torch.zeros(1)})


def check_copies(case: RuleCase, folder: Path) -> None:
    """Copies of network and rule, made together, give the same gradients."""
    net = case.network()
    rule = case.make(net)
    pairs = [copy.deepcopy((net, rule)), pickle.loads(pickle.dumps((net, rule)))]
    value, _, found = gradients(rule, net)
    for other_net, other in pairs:
        assert repr(other) == repr(rule)
        value_other, _, found_other = gradients(other, other_net)
        assert torch.equal(value, value_other) and all(map(torch.equal, found, found_other))


def check_wrong_input(case: RuleCase, folder: Path) -> None:
    """An input without steps is refused before anything runs."""
    net = case.network()
    x, y = data()
    for wrong in (x[:0], torch.zeros(()), None):
        with pytest.raises(ShapeError, match="at least one step"):
            case.make(net).gradients(net, wrong, y, ns.CrossEntropy())  # type: ignore[arg-type]


def check_wrong_loss(case: RuleCase, folder: Path) -> None:
    """A loss that is no mean over steps is refused; the message names rule and loss."""
    net = case.network()
    with pytest.raises(NeurosimError, match=r"mean over steps.*MaxMembrane\(\)|MaxMembrane\(\) (looks|uses)"):
        case.make(net).gradients(net, *data(), WHOLE_LOSS)
    assert all(p.grad is None for p in net.parameters())


def check_wrong_network(case: RuleCase, folder: Path) -> None:
    """A network that it cannot train is refused; the message names what is missing."""
    assert case.refused
    for message, make in case.refused.items():
        net = make()
        with pytest.raises(NeurosimError, match=message):
            case.make(net).gradients(net, *data(), ns.CrossEntropy())
        assert all(p.grad is None for p in net.parameters())


CHECKS = {name.removeprefix("check_"): check for name, check in sorted(globals().items()) if name.startswith("check_")}
