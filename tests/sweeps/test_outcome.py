"""What a trial returns, and as a line of a log."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from neurosim.errors import FailedTrials, InputError
from neurosim.sweeps import load_sweep, sweep
from neurosim.sweeps.outcome import Outcome, values_of


def test_results_are_numbers_texts_and_arrays_by_name():
    assert values_of(2, ()) == {"result": 2}
    found = values_of({"E": {"rate": np.float32(0.5), "n": torch.tensor(3)}, "t": "text", "v": [1, 2], "b": True}, ())
    assert found.pop("v").tolist() == [1, 2]
    assert found == {"E.rate": 0.5, "E.n": 3, "t": "text", "b": True}
    assert values_of({"x": torch.ones(2, 3)}, ())["x"].shape == (2, 3)


@pytest.mark.parametrize("result", [object(), {"a": None}, {"a": 1j}, {"a": np.array(["x"])}, {"a": [[1], [2, 3]]}])
def test_other_results_are_refused(result):
    with pytest.raises((InputError, ValueError)):
        values_of(result, ())


@pytest.mark.parametrize("name", ["seed", "error", "a/b", "", ".", "a\0b", "\ud800"])
def test_names_of_the_data_set_are_refused(name):
    with pytest.raises(InputError, match="must not be called"):
        values_of({name: 1}, ())


@pytest.mark.parametrize("result", [{"E": {"rate": 1}, "E.rate": 2}, {1: 1, "1": 2}])
def test_two_results_of_one_name_are_refused(result):
    with pytest.raises(InputError, match="two results that are called"):
        values_of(result, ())


def test_a_result_named_as_a_parameter_is_refused():
    with pytest.raises(InputError, match="must not have the name of a parameter; 'x' has"):
        values_of({"x": 1}, ("x",))


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_texts_that_a_file_cannot_hold_are_refused(text):
    with pytest.raises(InputError, match="surrogate"):
        values_of(text, ())


def test_a_line_gives_the_bits_back():
    rng = np.random.default_rng(0)
    values = {
        "float": 0.1 + 0.2, "nan": math.nan, "inf": -math.inf, "int": 2**60, "bool": False, "text": "a\nb\u00e9",
        "big": rng.normal(size=(3, 2)).astype(">f4"), "ints": np.arange(4, dtype=np.uint8), "empty": np.zeros((0, 2)),
    }  # fmt: skip
    line = Outcome(7, values, "", 0.25).line()
    assert line.count("\n") == 1 and line.endswith("\n")
    read = Outcome.of_line(line)
    assert (read.number, read.error, read.seconds) == (7, "", 0.25)
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            assert read.values[name].shape == value.shape and (read.values[name] == value).all()
            assert read.values[name].dtype == value.dtype.newbyteorder("=")
        else:
            assert type(read.values[name]) is type(value)
            assert read.values[name] == value or math.isnan(value)


@pytest.mark.parametrize(
    "line",
    [
        "", "[]", "3", '{"trial":1}', '{"trial":1,"seconds":0,"error":"","values":[]}',
        '{"trial":1,"seconds":0,"error":"","values":{"a":{"dtype":"O","shape":[1],"base64":"AAAA"}}}',
        '{"trial":1,"seconds":0,"error":"","values":{"a":{"dtype":"<f8","shape":[9],"base64":"AAAA"}}}',
    ],
)  # fmt: skip
def test_other_lines_are_refused(line):
    with pytest.raises(ValueError, match=r"."):
        Outcome.of_line(line)


def test_large_integers_beside_a_failed_trial_are_not_rounded(tmp_path):
    def found(n):
        if n == 1:
            raise ValueError("none")
        return {"big": 2**53 + 1 + n, "small": n}

    with pytest.warns(FailedTrials):
        data = sweep(found, {"n": [0, 1, 2]}, workers=0, path=tmp_path / "a.nc")
    for each in (data, load_sweep(tmp_path / "a.nc")):
        assert each.big.values.tolist() == [str(2**53 + 1), "", str(2**53 + 3)]
        assert each.small.values[0] == 0 and np.isnan(each.small.values[1])
