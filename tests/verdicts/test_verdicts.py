"""One verdict over all targets: what is exact, bounded, refused, missing, different and failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import neurosim as ns
from neurosim.errors import ExportError, FileError, InputError, ShapeError, TargetRunError
from neurosim.verdicts import JUDGES, Judge, TargetVerdict, TargetVerdicts, bounded, exact, running, verify_all
from neurosim.verdicts.verdict import MEANINGS


@pytest.fixture
def net() -> ns.Network:
    torch.manual_seed(0)
    return ns.Sequential(ns.Linear(20, 10), ns.LIF(dt=1e-3, r=100.0), names=["out"])


@pytest.fixture
def x() -> torch.Tensor:
    return (torch.rand(50, 2, 20, generator=torch.Generator().manual_seed(1)) < 0.2).float()


def test_each_judge_of_the_registry_has_a_name_of_its_own_and_says_what_installs_it() -> None:
    assert len({judge.name for judge in JUDGES}) == len(JUDGES)
    assert all(judge.install for judge in JUDGES if judge.modules or judge.programs)


def test_the_page_on_targets_has_a_row_for_each_judge(root: Path) -> None:
    page = (root / "docs" / "targets.md").read_text(encoding="utf-8")
    assert [judge.name for judge in JUDGES if f"\n| `{judge.name}` |" not in page] == []


def test_nir_is_exact_and_a_net_file_is_bounded(net: ns.Network, x: torch.Tensor) -> None:
    pytest.importorskip("nir")
    verdicts = verify_all(net, x, targets=["nir", "netx"])
    assert verdicts["nir"].outcome == "exact" and verdicts["nir"].compared == 1000
    assert verdicts["netx"].outcome == "bounded" and verdicts["netx"].differing == 0
    share = verdicts["netx"].bound
    assert share is not None and 0.0 <= share < 0.05
    assert verdicts.agrees


def test_lava_judges_the_network_and_its_integers(net: ns.Network, x: torch.Tensor) -> None:
    pytest.importorskip("lava")
    verdicts = verify_all(net, x[:, :1], targets=["lava", "loihi"])
    assert verdicts["lava"].outcome == "exact" and verdicts["lava"].compared == 500
    assert verdicts["loihi"].outcome == "bounded" and verdicts["loihi"].compared == 3 * 500


def test_rounding_of_the_gain_in_nir_is_a_bound_with_its_reason(x: torch.Tensor) -> None:
    pytest.importorskip("nir")
    torch.manual_seed(0)
    net = ns.Sequential(ns.Linear(20, 10), ns.LI(dt=1e-3, r=3.0), names=["out"])
    verdict = verify_all(net, x, targets=["nir"])["nir"]
    assert verdict.outcome == "bounded" and verdict.differing == 0 and "the gain of the neurons" in verdict.why


def test_a_refusal_names_the_node_and_what_to_change(x: torch.Tensor) -> None:
    net = ns.Sequential(ns.Linear(20, 10), ns.LIF(dt=1e-3, reset="subtract"), names=["out"])
    verdicts = verify_all(net, x, targets=["netx"])
    assert verdicts["netx"].outcome == "refused"
    assert "node 'out': reset='subtract'" in verdicts["netx"].why and 'train with reset="value"' in verdicts["netx"].why
    assert verdicts.agrees, "a refusal gave no wrong number"


def test_a_silent_network_is_not_called_exact(net: ns.Network, x: torch.Tensor) -> None:
    verdict = verify_all(net, torch.zeros_like(x), targets=["netx"])["netx"]
    assert verdict.is_wrong and verdict.outcome == "silent" and "nothing was compared" in verdict.why


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: dict(x=x[..., :19]), "must be a tensor"),
        (lambda x: dict(x=x.numpy()), "must be a tensor"),
        (lambda x: dict(x=None), "must give data for the inputs"),
        (lambda x: dict(x=x[:0]), "give at least one step and one sample"),
        (lambda x: dict(x=x, targets="netx"), "give a list of names"),
        (lambda x: dict(x=x, targets=[]), "targets is empty"),
    ],
)
def test_what_no_judge_could_judge_is_no_agreement(net: ns.Network, x: torch.Tensor, change, message: str) -> None:
    with pytest.raises((InputError, ShapeError), match=message):
        verify_all(net, **{"targets": ["netx"], **change(x)})


def _raising(error: Exception) -> Judge:
    def judge(net: ns.Network, x: torch.Tensor) -> TargetVerdict:
        raise error

    return Judge("other", "a judge", judge)


@pytest.mark.parametrize(
    ("error", "outcome", "agrees"),
    [
        (ExportError("delays: none there"), "refused", True),
        (InputError("x: spikes only"), "refused", True),
        (TargetRunError("took too long"), "failed", False),
    ],
)
def test_errors_of_a_judge_become_verdicts(
    net: ns.Network, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: str, agrees: bool
) -> None:
    monkeypatch.setattr(running, "JUDGES", (_raising(error),))
    verdicts = verify_all(net, x)
    assert (verdicts["other"].outcome, verdicts["other"].why, verdicts.agrees) == (outcome, str(error), agrees)


def test_other_errors_of_a_judge_are_not_hidden(
    net: ns.Network, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "JUDGES", (_raising(ZeroDivisionError("a bug")),))
    with pytest.raises(ZeroDivisionError):
        verify_all(net, x)


def test_a_judge_that_is_not_installed_says_what_installs_it(
    net: ns.Network, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge("other", "a judge", lambda net, x: exact("it", 1), "apt-get install it", ("no_such.module",), ("nx",))
    monkeypatch.setattr(running, "JUDGES", (judge,))
    verdict = verify_all(net, x)["other"]
    assert verdict.outcome == "missing" and verdict.why == "no_such.module, nx not installed; apt-get install it"


def test_a_difference_is_wrong_whether_the_target_rounds_or_not() -> None:
    assert exact("it", 10).outcome == "exact" and not exact("it", 10).is_wrong
    assert exact("it", 10, 1).outcome == "differs" and exact("it", 10, 1).is_wrong
    assert bounded("it", 10, 1, 0.1, "rounding").outcome == "differs"
    assert bounded("it", 10, 0, 0.1, "rounding").bound == 0.1


def test_an_unknown_target_is_refused(net: ns.Network, x: torch.Tensor) -> None:
    with pytest.raises(InputError, match="no judge is called 'abacus'; there are lava"):
        verify_all(net, x, targets=["abacus"])
    with pytest.raises(InputError, match="no target 'abacus' was judged"):
        TargetVerdicts({})["abacus"]


def test_the_table_and_the_file_hold_every_verdict(tmp_path: Path) -> None:
    verdicts = TargetVerdicts({name: TargetVerdict(name, "it 1.0", 5, 0, None, f"because {name}") for name in MEANINGS})
    table = verdicts.table()
    assert all(f"{name}: because {name}" in table for name in MEANINGS)
    path = tmp_path / "all.json"
    verdicts.to_json(path)
    assert TargetVerdicts.read(path) == verdicts
    assert json.loads(path.read_text())["agrees"] is False


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"targets": {"a": {"outcome": "fine"}}}', '{"targets": {"a": {"x": 1}}}']
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "all.json").write_text(text)
    with pytest.raises(FileError, match=r"all\.json holds"):
        TargetVerdicts.read(tmp_path / "all.json")
