"""Every plastic rule against every check."""

from __future__ import annotations

import pytest

from neurosim import plasticity
from tests.plasticity_battery import CHECKS
from tests.plasticity_list import OTHERS, RULES


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize("case", RULES, ids=str)
def test_contract(case, check) -> None:
    check(case)


def test_every_public_rule_is_listed() -> None:
    listed = {case.kind.__name__ for case in RULES}
    assert set(plasticity.__all__) - listed == set(OTHERS)
    assert not listed & set(OTHERS)
