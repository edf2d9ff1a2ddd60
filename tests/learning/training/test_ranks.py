"""Training over ranks gives the results of one process, bit for bit; what cannot be divided is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import neurosim as ns
from neurosim.errors import FileError, InputError
from neurosim.learning import HLOP, EProp, Feedback, LateralBanks, fit, load_checkpoint
from neurosim.network.ranks import Ranks, number_of_ranks, tree_sum
from neurosim.synapses import BatchNorm
from tests.ranks import run_module


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the results of all runs by name, one for each rank, and the folder of their checkpoints."""
    folder = tmp_path_factory.mktemp("ranks")
    return run_module("tests.learning.training.ranks_program", folder), folder


def same(a: Any, b: Any) -> bool:
    """Whether two runs have the same history and weights, bit for bit."""
    return a[0] == b[0] and all(torch.equal(a[1][name], b[1][name]) for name in a[1])


@pytest.mark.parametrize("name", ["two", "four", "resumed"])
def test_any_number_of_ranks_gives_the_bits_of_one(runs: Any, name: str) -> None:
    """Loss curve, metrics, validation and weights, with dropout, a short last batch, clipping and an average."""
    results, _ = runs
    assert len(results["one"][0][0]) == 3
    assert all(same(each, results["one"][0]) for each in results[name])


def test_a_rank_that_is_killed_ends_the_run_and_leaves_a_whole_checkpoint(runs: Any) -> None:
    """The run then resumes with another number of ranks; see the test of all bits."""
    results, folder = runs
    assert results["killed"][1] is None and isinstance(results["killed"][0], RuntimeError)
    assert load_checkpoint(folder / "killed" / "last.pt").training["epoch"] == 3  # type: ignore[index]


@pytest.mark.parametrize("number", ["two", "four"])
def test_checkpoints_are_those_of_one_process(runs: Any, number: str) -> None:
    """Rank 0 alone writes them."""
    _, folder = runs
    for name in ("last.pt", "best.pt"):
        one, other = (load_checkpoint(folder / run / name).network for run in ("one", number))
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("rule", ["OTTT", "SLTT", "EProp"])
def test_rules_that_keep_nothing_run_over_ranks(runs: Any, rule: str) -> None:
    """Step by step, with steps drawn at random, and with eligibility traces."""
    results, _ = runs
    assert all(same(each, results[f"{rule} one"][0]) for each in results[f"{rule} two"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no data", "epoch 1: rank 1 has no batch 4, another rank has one"),
        ("other batches", "epoch 1: batch 1 of rank 1 differs"),
        ("no shards", "runs on 2 ranks and shards is not given"),
        ("three shards", "shards=3 cannot be divided among 2 ranks"),
        ("other shards", "shards differs between the ranks: 4 on rank 0, 8 on rank 1"),
        ("no folder", "/dev/null/none"),
    ],
)
def test_what_ranks_cannot_share_is_an_error_on_all_of_them(runs: Any, name: str, message: str) -> None:
    """No rank waits for another one."""
    results, folder = runs
    for error in results[name]:
        assert isinstance(error, InputError | FileError) and message in str(error)
    if name == "no data":
        assert load_checkpoint(folder / "short" / "last.pt").training is not None


def parts(seed: int = 0) -> tuple[Any, Any]:
    """Return a network and batches of it."""
    torch.manual_seed(seed)
    net = ns.Sequential(ns.Linear(5, 8), ns.LIF(dt=1e-3, r=20.0), ns.Linear(8, 3), ns.LI(dt=1e-3))
    return net, [((torch.rand(9, 10, 5) < 0.5).float(), torch.randint(3, (10,)))]


def test_the_gradient_is_that_of_the_batch_up_to_rounding() -> None:
    """One step of plain gradient descent with and without shards, which 3 parts of 10 samples make uneven."""
    weights = []
    for shards in (None, 3):
        net, batches = parts()
        descent = torch.optim.SGD(net.parameters(), lr=1.0)
        fit(net, batches, epochs=1, shards=shards, optimizer=descent, progress=False, wake=False)
        weights.append([p.detach() for p in net.parameters()])
    start, _ = parts()
    for before, whole, divided in zip(start.parameters(), *weights, strict=True):
        assert (whole - before).abs().max() > 1e-4
        torch.testing.assert_close(divided - before, whole - before, rtol=1e-4, atol=1e-7)


def test_what_cannot_be_divided_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State of rules, batch statistics, seeds, small batches, samples that do not count, incomplete launches."""
    net, batches = parts()
    states = {
        "HLOP.* keeps": HLOP(ns.BPTT(), LateralBanks(net)),
        "EProp.* keeps feedback": EProp(feedback=Feedback(net)),
    }
    for message, rule in states.items():
        with pytest.raises(InputError, match=message):
            fit(net, batches, rule=rule, shards=2, progress=False)
    refused: dict[str, Any] = {
        "shards=0": {"shards": 0},
        "shards=True": {"shards": True},
        "need a seed": {"shards": 2, "seed": None},
        "has 10 samples for 11 shards": {"shards": 11},
        "weights of the classes": {"shards": 2, "loss": ns.CrossEntropy(class_weights=(1.0, 2.0, 3.0))},
        "the loss ignores": {"shards": 2, "loss": torch.nn.CrossEntropyLoss(ignore_index=int(batches[0][1][0]))},
    }
    for message, choices in refused.items():
        with pytest.raises(InputError, match=message):
            fit(net, batches, progress=False, **choices)
    fit(net, batches, epochs=1, shards=2, checkpoint=tmp_path, progress=False)
    with pytest.raises(InputError, match="the run used shards 2, now it is 4"):
        fit(net, batches, epochs=2, shards=4, checkpoint=tmp_path, resume=True, progress=False)
    normed = ns.Sequential(ns.Linear(5, 8), BatchNorm(8), ns.LIF(dt=1e-3), ns.Linear(8, 3), ns.LI(dt=1e-3))
    with pytest.raises(InputError, match="normalises by the mean of a batch"):
        fit(normed, batches, shards=2, progress=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="RANK, MASTER_ADDR, MASTER_PORT is not"):
        Ranks.here(torch.device("cpu"))
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(InputError, match="WORLD_SIZE='two'"):
        number_of_ranks()


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 12])
def test_partial_sums_of_ranks_have_the_bits_of_the_whole_sum(number: int) -> None:
    """A rank adds its own neighbours as far as they are a part of the tree."""
    values = list(
        torch.randn(number, 50, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.arange(50).sub(25)
    )
    (whole,) = tree_sum(values)
    for ranks in (n for n in range(1, number + 1) if number % n == 0):
        each = number // ranks
        levels = (each & -each).bit_length() - 1
        nodes = [node for r in range(ranks) for node in tree_sum(values[r * each : (r + 1) * each], levels)]
        assert torch.equal(tree_sum(nodes)[0], whole)


def test_a_plain_loop_runs_under_ddp_and_fsdp2(tmp_path: Path) -> None:
    """The losses are those of one process up to rounding; FSDP2 divides the parameters among the ranks."""
    results = run_module("tests.learning.training.wrapped_program", tmp_path)
    assert len({f"{loss:.4f}" for loss in results["one"]}) == 4
    for name in ("ddp", "fsdp2"):
        for each in results[name]:
            assert each == pytest.approx(results["one"], rel=1e-5), name
