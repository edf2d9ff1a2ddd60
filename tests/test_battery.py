"""Every core against every check."""

from __future__ import annotations

import pytest

import neurosim as ns
from neurosim.cores import Core
from tests.battery import CHECKS
from tests.models import MODELS


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_contract(model, check):
    check(model)


def test_every_core_of_the_package_is_listed():
    listed = [model.core for model in MODELS]
    assert len(set(listed)) == len(listed)
    assert {value for value in vars(ns.cores).values() if isinstance(value, Core)} <= set(listed)
