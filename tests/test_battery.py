"""Every core against every check."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import neurosim
from neurosim.language import Core
from tests.battery import CHECKS
from tests.core_list import MODELS


def cases() -> Iterator[object]:
    """Yield each model with each check; a check that a model leaves out must fail, or its reason is out of date."""
    for model in MODELS:
        for name, check in CHECKS.items():
            why = model.leaves_out.get(name)
            marks = () if why is None else (pytest.mark.xfail(reason=why, strict=True),)
            yield pytest.param(model, check, id=f"{model.name}-{name}", marks=marks)


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@pytest.mark.parametrize(("model", "check"), [*cases()])
def test_contract(model, check):
    check(model)


def cores_of_the_package() -> dict[str, Core]:
    """Find every core that stands at the top level of a module of neurosim, by module and name."""
    found = {}
    for module in pkgutil.walk_packages(neurosim.__path__, "neurosim."):
        if not module.name.endswith("__main__"):
            loaded = importlib.import_module(module.name)
            public = {name: value for name, value in vars(loaded).items() if not name.startswith("_")}
            found |= {f"{module.name}.{name}": value for name, value in public.items() if isinstance(value, Core)}
    return found


def test_every_core_of_the_package_is_listed():
    listed = [model.core for model in MODELS]
    assert len(set(listed)) == len(listed)
    found = cores_of_the_package()
    assert "neurosim.cores.lif" in found and len(set(found.values())) > 30
    assert sorted(name for name, core in found.items() if core not in listed) == []


def test_every_core_of_the_package_lives_in_cores():
    homes = {core.step.__module__ for core in cores_of_the_package().values()}
    assert sorted(home for home in homes if not home.startswith("neurosim.cores.")) == []


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_what_is_left_out_is_a_check_and_has_a_reason(model):
    assert set(model.leaves_out) <= set(CHECKS)
    assert set(model.without_gradient) <= {*model.learnable, *(f"state.{name}" for name in model.core.state)}
    assert all(len(why) > 20 for why in (*model.leaves_out.values(), *model.without_gradient.values()))
