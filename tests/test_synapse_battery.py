"""Every synapse against every check and every reader."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import neurosim
from neurosim.synapses import Synapse
from tests.synapse_battery import CHECKS, READERS, check_reader
from tests.synapse_list import SYNAPSES


def cases() -> Iterator[object]:
    """Yield each synapse with each check; a check that one leaves out must fail, or its reason is out of date."""
    for case in SYNAPSES:
        for name, check in CHECKS.items():
            why = case.leaves_out.get(name)
            marks = () if why is None else (pytest.mark.xfail(reason=why, strict=True),)
            yield pytest.param(case, check, id=f"{case}-{name}", marks=marks)


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@pytest.mark.parametrize(("case", "check"), [*cases()])
def test_contract(case, check, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", SYNAPSES, ids=str)
def test_readers(case, reader: str, tmp_path: Path) -> None:
    check_reader(case, reader, tmp_path)


def test_every_synapse_of_the_package_is_listed() -> None:
    for module in pkgutil.walk_packages(neurosim.__path__, "neurosim."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = set(), [Synapse]
    while waiting:
        kinds = waiting.pop().__subclasses__()
        waiting += kinds
        found |= {kind for kind in kinds if kind.__module__.startswith("neurosim.") and not inspect.isabstract(kind)}
    assert len(found) >= 17
    assert sorted(kind.__name__ for kind in found - {case.kind for case in SYNAPSES}) == []


@pytest.mark.parametrize("case", SYNAPSES, ids=str)
def test_what_is_left_out_is_a_check_and_has_a_reason(case) -> None:
    assert set(case.leaves_out) <= set(CHECKS) and set(case.refused) <= set(READERS)
    assert all(len(why) > 20 for why in case.leaves_out.values())
