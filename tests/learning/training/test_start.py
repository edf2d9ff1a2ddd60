"""The start of training: silent populations, resumed runs, groups of parameters."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.datasets import digits, rate
from neurosim.errors import ActivityWarning, InputError

DT = 1e-3


def default(seed: int = 0) -> ns.Network:
    torch.manual_seed(seed)
    return ns.Sequential(ns.Linear(16, 40), ns.LIF(dt=DT), ns.Linear(40, 3), ns.LIF(dt=DT))


def batches(number: int = 3) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand(number, 20, 6, 16, generator=generator) < 0.3).float()
    return list(zip(x, torch.randint(3, (number, 6), generator=generator), strict=True))


def train(net: nn.Module, epochs: int = 2, **options: Any) -> ns.History:
    return ns.fit(net, options.pop("data", batches()), epochs=epochs, progress=False, **options)


def weights(net: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten() for value in net.parameters()])


def test_a_network_of_all_defaults_learns_the_digits_in_five_epochs() -> None:
    torch.manual_seed(0)
    net = ns.Sequential(ns.Linear(64, 256), ns.LIF(dt=DT), ns.Linear(256, 10), ns.LIF(dt=DT))
    data, encode = digits().flat(), rate(32, max_rate=1000.0, dt=DT)
    with pytest.warns(ActivityWarning, match=r"hardly a spike .* multiplied: lif1: input->lif1 times 6\."):
        ns.fit(net, data.train.batches(64, encoder=encode), epochs=5, progress=False)
    assert ns.evaluate(net, data.test.batches(360, encoder=encode, shuffle=False))["accuracy"] > 0.9


def test_without_it_the_network_stays_silent_and_says_so() -> None:
    net, before = default(), weights(default())
    with pytest.warns(ActivityWarning) as told:
        train(net, 1, wake=False)
    assert {Path(one.filename).name for one in told} == {"test_start.py"}
    assert [str(one.message)[:44] for one in told] == ["no spike in the first batch: lif1, lif2. The"]
    assert net(batches()[0][0])[0].sum() == 0 and float((weights(net) - before).abs().max()) < 0.01


def test_weights_that_are_not_as_drawn_are_left() -> None:
    net = default()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0.5)
    with pytest.warns(ActivityWarning, match="no spike in the first batch: lif1, lif2"):
        train(net, 1)
    assert all(one.initial_scale == 1.0 for edge in net.edges for one in edge.synapses)


def test_a_network_that_fires_is_left() -> None:
    net = ns.Sequential(ns.Linear(16, 40), ns.LIF(dt=DT, r=20.0), names=["out"])
    net.edges[0].synapses[0].weight.data.abs_()
    net.edges[0].synapses[0].note_drawn_weights()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(net, 1)
    assert net.edges[0].synapses[0].initial_scale == 1.0


def interrupted(number: int) -> Any:
    """Batches that fail at one of them."""

    class Data(list[Any]):
        def __iter__(self) -> Any:
            for place, batch in enumerate(batches()):
                if place == number:
                    raise KeyboardInterrupt
                yield batch

    return Data(batches())


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("own", [False, True])
def test_a_run_interrupted_in_the_first_epoch_resumes_to_the_same_bits(tmp_path: Path, place: int, own: bool) -> None:
    def options(net: nn.Module) -> dict[str, Any]:
        return {"optimizer": torch.optim.Adam(net.parameters(), lr=0.01)} if own else {}

    whole = default()
    train(whole, **options(whole))
    first, second = default(), default(5)
    with pytest.raises(KeyboardInterrupt):
        train(first, data=interrupted(place), checkpoint=tmp_path, **options(first))
    train(second, checkpoint=tmp_path, resume=True, **options(second))
    assert torch.equal(weights(whole), weights(second))


def test_a_run_stopped_between_epochs_resumes_with_its_learning_rates(tmp_path: Path) -> None:
    whole, first, second = default(), default(), default(5)
    train(whole, 3)
    train(first, 1, checkpoint=tmp_path)
    train(second, 3, checkpoint=tmp_path, resume=True)
    assert torch.equal(weights(whole), weights(second))
    scales = [[one.initial_scale for edge in net.edges for one in edge.synapses] for net in (whole, second)]
    assert scales[0] == scales[1] and min(scales[0]) > 1


def test_groups_have_the_scale_of_the_weights_and_spare_biases_and_neurons() -> None:
    net = ns.Sequential(
        *(ns.Linear(4, 8, bias=True), ns.LIF(dt=DT, learn=["tau_mem"]), ns.Linear(8, 2), ns.LI(dt=DT, learn=["r"]))
    )
    first, second = (edge.synapses[0] for edge in net.edges)
    second.initial_scale = 3.0
    first.bias.requires_grad_(False)
    groups = ns.parameter_groups(nn.Sequential(net), lr=0.1, weight_decay=0.5)
    found = [([id(one) for one in group["params"]], group["lr"], group["weight_decay"]) for group in groups]
    neurons = [id(one) for node in net.nodes.values() for one in node.parameters()]
    assert sorted(found[:1] + found[2:], key=lambda group: group[1]) == [
        ([id(first.weight)], 0.1, 0.5),
        ([id(second.weight)], pytest.approx(0.3), 0.5),
    ]
    assert found[1] == (neurons, 0.1, 0.0)
    for options, message in (({"lr": 0}, "lr=0: a learning rate"), ({"weight_decay": -1}, "weight_decay=-1: at least")):
        with pytest.raises(InputError, match=message):
            ns.parameter_groups(net, **options)
