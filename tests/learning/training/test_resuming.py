"""A run resumes with the arguments it had, from a file that is checked whole before anything is loaded."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import neurosim as ns
from neurosim.errors import FileError, InputError, NeurosimError
from tests.learning.training.test_fit import batches, equal, quiet

DT = 1e-3


def network(**neuron: Any) -> Any:
    torch.manual_seed(0)
    parts = (ns.Linear(8, 6), ns.LIF(**({"dt": DT, "tau_mem": 5e-3, "r": 9.0} | neuron)), ns.Linear(6, 3), ns.LI(dt=DT))
    return ns.Sequential(*parts)


def adam(net: nn.Module, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), **({"lr": 0.01} | options))


def run(folder: Path, epochs: int, net: Any = None, lr: float = 0.01, gamma: float | None = 0.9, **options: Any) -> Any:
    net = network() if net is None else net
    optimizer = adam(net, lr=lr, weight_decay=options.pop("weight_decay", 0.0))
    scheduler = None if gamma is None else torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma)
    options = {"loss": ns.CrossEntropy(), "clip": 1.0, "optimizer": optimizer, "scheduler": scheduler} | options
    quiet(net, batches(2), epochs=epochs, checkpoint=folder, **options)
    return net


def test_the_same_arguments_resume(tmp_path: Path) -> None:
    run(tmp_path / "parts", 1)
    net = run(tmp_path / "parts", 3, resume=True)
    assert equal(net, run(tmp_path / "whole", 3))


def test_the_objects_of_the_run_itself_resume(tmp_path: Path) -> None:
    net = network()
    optimizer = adam(net)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    options = {"optimizer": optimizer, "scheduler": scheduler, "loss": ns.CrossEntropy(), "clip": 1.0}
    for epochs in (1, 3):
        quiet(net, batches(2), epochs=epochs, checkpoint=tmp_path / "parts", resume=epochs > 1, **options)
    assert equal(net, run(tmp_path / "whole", 3))
    # Its settings stay those of the start.
    assert equal(run(tmp_path / "parts", 3, resume=True), net)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"net": dict(tau_mem=6e-3)}, r"nodes\.lif1: tau_mem was 0\.005, now it is 0\.006"),
        ({"net": dict(v_th=1.5)}, r"v_th was 1\.0, now it is 1\.5"),
        ({"net": dict(reset="subtract")}, r"reset was 'value', now it is 'subtract'"),
        ({"net": dict(spike=ns.triangle())}, r"spike was 'atan"),
        ({"loss": ns.MaxMembrane()}, r"the run used loss CrossEntropy\(\), now it is MaxMembrane\(\)"),
        ({"loss": ns.CrossEntropy(label_smoothing=0.1)}, r"now it is CrossEntropy\(label_smoothing=0\.1\)"),
        ({"rule": ns.SLTT()}, r"the run used rule BPTT\(\), now it is SLTT"),
        ({"clip": None}, r"the run used clip 1\.0, now it is None"),
        ({"clip": 2.0}, r"the run used clip 1\.0, now it is 2\.0"),
        ({"seed": 3}, r"the run used seed 0, now it is 3"),
        ({"accumulate": 2}, r"the run used accumulate 1, now it is 2"),
        ({"average": 0.9}, r"the run used average None, now it is 0\.9"),
        ({"watch": "accuracy", "watch_mode": "max"}, r"the run used watch .*loss, now it is .*accuracy"),
        ({"scheduler_per": "batch"}, r"the run used scheduler_per epoch, now it is batch"),
        ({"lr": 0.02}, r"the run used optimizer Adam with \w+ 0\.01, now it is 0\.02"),
        ({"weight_decay": 0.1}, r"the run used optimizer Adam with weight_decay 0\.0, now it is 0\.1"),
        ({"gamma": 0.5}, r"the run used scheduler ExponentialLR with gamma 0\.9, now it is 0\.5"),
        ({"gamma": None}, r"the run used scheduler ExponentialLR, now it is none"),
        ({"optimizer": None, "scheduler": None}, r"default optimizer|scheduler"),
    ],
)
def test_other_arguments_are_refused_by_name(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    run(tmp_path, 1)
    whole = (tmp_path / "last.pt").read_bytes()
    net = network(**options.pop("net", {}))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(InputError, match=message):
        run(tmp_path, 2, net=net, resume=True, **options)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert (tmp_path / "last.pt").read_bytes() == whole


def test_a_checkpoint_is_refused_by_a_network_with_other_constants(tmp_path: Path) -> None:
    ns.save_checkpoint(tmp_path / "net.pt", network())
    other = network(tau_mem=7e-3)
    before = copy.deepcopy(other)
    with pytest.raises(InputError, match=r"net\.pt was saved from another network: nodes\.lif1: tau_mem was 0\.005"):
        ns.load_checkpoint(tmp_path / "net.pt", other)
    assert equal(before, other)
    # The way that the message names.
    other.load_state_dict(ns.load_checkpoint(tmp_path / "net.pt").network)
    assert equal(other, network())


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to all entries of nested dicts, and to the first of lists."""
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list):
        items = list(enumerate(value))[:3]
    else:
        return [path]
    return [path, *(place for key, each in items for place in places(each, (*path, key)))]


DAMAGES: list[Any] = ["text", -3, None, [], {}, 1e300, True, torch.zeros(0), torch.zeros(2, 2), float("nan")]


def damaged(content: dict[str, Any], path: tuple[Any, ...], new: Any, remove: bool) -> dict[str, Any]:
    content = copy.deepcopy(content)
    *above, last = path
    part: Any = content
    for key in above:
        part = part[key]
    if remove and isinstance(part, dict):
        del part[last]
    else:
        part[last] = new
    return content


def test_an_edited_checkpoint_is_refused_whole_or_taken_whole(tmp_path: Path) -> None:
    run(tmp_path, 2)
    file = tmp_path / "last.pt"
    content = torch.load(file, weights_only=True)
    generator = torch.Generator().manual_seed(0)
    cases = [path for path in places(content) if path and path[0] != "version"]
    refused = taken = 0
    for path in cases:
        choice = int(torch.randint(len(DAMAGES) + 1, (1,), generator=generator))
        edited = damaged(content, path, DAMAGES[choice % len(DAMAGES)], remove=choice == len(DAMAGES))
        torch.save(edited, file)
        net = network()
        optimizer = adam(net)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        rng = torch.get_rng_state()
        try:
            run(tmp_path, 2, net=net, optimizer=optimizer, scheduler=scheduler, resume=True)
        except NeurosimError as error:
            refused += 1
            assert equal(net, network()), (path, error)
            assert optimizer.state_dict()["state"] == {} and scheduler.last_epoch == 0, (path, error)
            assert torch.equal(torch.get_rng_state(), rng)
        else:
            taken += 1
    assert refused > 60 and refused + taken == len(cases)


def test_an_edited_checkpoint_that_is_taken_can_go_on(tmp_path: Path) -> None:
    """No part that fails only in the next step of the run is taken."""
    run(tmp_path, 1)
    file = tmp_path / "last.pt"
    content = torch.load(file, weights_only=True)
    state = ("training", "optimizer", "state")
    for path in places(content):
        if path[:3] != state or len(path) < 5:
            continue
        for new in (torch.zeros(2, 2), torch.zeros(1), "text", [1.0], {}):
            torch.save(damaged(content, path, new, False), file)
            with pytest.raises((FileError, InputError), match=r"is damaged: optimizer|groups differ"):
                run(tmp_path, 2, resume=True)
