"""How operations run, where a test or benchmark forces it."""

from __future__ import annotations

import pytest

from neurosim.compiler.llvm import threads
from neurosim.kernels.common import policy


def state() -> tuple[object, ...]:
    return policy.is_forced(), threads.forced, policy.through_operators


def test_without_force_the_cheaper_product_is_taken():
    assert not policy.is_forced() and policy.choose(True) and not policy.choose(False)


@pytest.mark.parametrize(("product", "choice"), [("events", True), ("dense", False)])
def test_a_forced_product_is_taken_whatever_it_costs(product, choice):
    with policy.forced(product):
        assert policy.is_forced() and policy.choose(True) is choice and policy.choose(False) is choice


def test_the_number_of_threads_is_that_of_the_context():
    with policy.forced(threads=5):
        assert threads.number_of_threads() == 5 and threads.shares(20, 1000, 1) == (5, 4)


def test_contexts_nest_and_end_even_with_an_error():
    before = state()
    with pytest.raises(ZeroDivisionError), policy.forced("events", threads=3):
        with policy.forced("dense", threads=7, operators=True):
            assert state() == (True, 7, True) and not policy.choose(True)
        assert state() == (True, 3, False) and policy.choose(False)
        raise ZeroDivisionError
    assert state() == before
