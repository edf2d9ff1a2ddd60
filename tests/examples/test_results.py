"""A study keeps its finished parts, and refuses other settings."""

from __future__ import annotations

import doctest
import json

import pytest
import results
from results import Results

from neurosim.errors import FileError


def study(path, settings, parts):
    """Run a study; return which parts it had to do, and its rows."""
    done, results = [], Results(path, settings)
    rows = [results.once({"part": part}, lambda part=part: done.append(part) or {"value": part * 2}) for part in parts]
    return done, rows


def test_what_is_done_is_not_done_again(tmp_path):
    path = tmp_path / "runs" / "result.json"
    assert study(path, {"rate": 0.1}, [1, 2]) == ([1, 2], [{"part": 1, "value": 2}, {"part": 2, "value": 4}])
    assert study(path, {"rate": 0.1}, [2, 3, 1]) == (
        [3],
        [{"part": 2, "value": 4}, {"part": 3, "value": 6}, {"part": 1, "value": 2}],
    )
    assert [row["part"] for row in json.loads(path.read_text())["results"]] == [1, 2, 3]


def test_other_settings_are_refused_and_no_row_is_lost(tmp_path):
    path = tmp_path / "result.json"
    study(path, {"rate": 0.1, "sizes": (1, 2)}, [1, 2])
    assert study(path, {"rate": 0.1, "sizes": [1, 2]}, [1])[0] == []
    before = path.read_text()
    with pytest.raises(FileError, match=r"holds results of other settings: rate 0\.1, now 0\.2\. Give another file"):
        study(path, {"rate": 0.2, "sizes": (1, 2)}, [1])
    with pytest.raises(FileError, match="other settings: more None, now 1"):
        study(path, {"rate": 0.1, "sizes": (1, 2), "more": 1}, [1])
    assert path.read_text() == before


@pytest.mark.parametrize(
    "text", ["[]", '{"settings": 1}', '{"settings": {}, "results": 1}', '{"results": [1]}', "[" * 100_000]
)
def test_a_file_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(FileError, match=r"result\.json"):
        Results(tmp_path / "result.json", {})
    assert (tmp_path / "result.json").read_text() == text


def test_a_part_that_fails_leaves_those_before(tmp_path):
    path = tmp_path / "result.json"
    study(path, {}, [1])
    with pytest.raises(ZeroDivisionError):
        Results(path, {}).once({"part": 2}, lambda: {"value": 1 / 0})
    assert study(path, {}, [1])[0] == []


def test_a_file_that_is_none_is_left_alone(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("notes of mine")
    with pytest.raises(FileError, match=r"result\.json is not JSON"):
        Results(path, {})
    assert path.read_text() == "notes of mine"


def test_the_example_in_the_docstring_runs():
    outcome = doctest.testmod(results, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert outcome.attempted == 5 and outcome.failed == 0
