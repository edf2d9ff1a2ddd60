"""The trials of a sweep, and what is refused at the door."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurosim.errors import InputError
from neurosim.sweeps.trials import Plan


def test_all_combinations_with_each_seed():
    plan = Plan({"a": list(np.array([1, 2])), "b": ["x", "y", "z"]}, 2)
    assert len(plan) == 12
    trials = list(plan)
    assert [trial.number for trial in trials] == list(range(12))
    assert trials[0].parameters == {"a": 1, "b": "x"} and [trial.seed for trial in trials[:3]] == [0, 1, 0]
    assert trials[11] == (11, {"a": 2, "b": "z"}, 1)
    assert type(trials[0].parameters["a"]) is int


def test_listed_combinations_and_trials_without_seeds():
    plan = Plan([{"a": 1.5, "b": True}, {"b": False, "a": torch.tensor(2.5)}], None)
    assert [trial.parameters for trial in plan] == [{"a": 1.5, "b": True}, {"a": 2.5, "b": False}]
    assert [trial.seed for trial in plan] == [None, None]
    assert [trial.seed for trial in Plan({"a": [1]}, np.int64(2))] == [0, 1]
    assert [trial.seed for trial in Plan({"a": [1]}, [7, 2**63 - 1])] == [7, 2**63 - 1]


@pytest.mark.parametrize(
    ("parameters", "seeds", "message"),
    [
        ({"a": []}, None, "'a' must be a sequence of one or more values"),
        ({"a": "text"}, None, "'a' must be a sequence of one or more values"),
        ({"a": 3}, None, "'a' must be a sequence of one or more values; got 3"),
        ({"a": [1, 2, 1]}, None, "'a' has the value 1 twice. For several trials use seeds="),
        ({"a": [1, "x"]}, None, "'a' mixes texts and numbers"),
        ([{"a": 1}, {"a": "x"}], None, "'a' mixes texts and numbers"),
        ({"a": [2**63]}, None, r"the integers of 'a' must be in -2\^63 ... 2\^63 - 1; got 9223372036854775808"),
        ({"a": ["x\0"]}, None, "'a' has a text with NUL"),
        ({".": [1]}, None, "a parameter must have a name"),
        ({"a": [[1, 2]]}, None, r"the values of 'a' must be numbers or texts; got \[1, 2\]"),
        ({"a": [float("nan")]}, None, "the values of 'a' must be numbers or texts; got nan"),
        ({"seed": [1]}, None, "a parameter must have a name without /, other than seed"),
        ({"a/b": [1]}, None, "a parameter must have a name without /"),
        ([], None, "parameters must be a mapping"),
        ({"a"}, None, "parameters must be a mapping"),
        ([{"a": 1}, {"b": 1}], None, r"all combinations must have the parameters \['a'\]; got \['b'\]"),
        ({"a": [1]}, 0, "seeds must be a number from 1"),
        ({"a": [1]}, [1, 1], "seeds must be different integers"),
        ({"a": [1]}, [-1], "seeds must be different integers"),
        ({"a": [1]}, [0.5], "seeds must be a number from 1, or a sequence of integers"),
    ],
)
def test_what_is_no_sweep_is_refused(parameters, seeds, message):
    with pytest.raises(InputError, match=message):
        Plan(parameters, seeds)
