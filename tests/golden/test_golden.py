"""The golden set holds what the simulator computes now, and each file pins its rule."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest

from neurosim.hardware.c import MACHINES, verify_c
from neurosim.hardware.integers import computes_in_integers
from tests.golden.generate import FOLDER, Golden, content, golden, text

CASES = {case.name: case for case in golden()}


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _equal(a: Any, b: Any, tolerance: float) -> bool:
    """Compare nested values: numbers within a tolerance, everything else exactly."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key], tolerance) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(_equal(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) or isinstance(b, float):
        return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
    return bool(a == b)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_file_is_what_the_simulator_computes(case: Golden) -> None:
    kept, now = _read(case.name), content(case)
    # The decay of a membrane is an exponential, whose last digit differs between libraries of C.
    tolerance = 0.0 if computes_in_integers(case.net) else 1e-12
    assert _equal(json.loads(text(now)), kept, tolerance), "run python -m tests.golden.generate, and say why it changed"
    assert kept["output"] == now["output"] or not case.net.neurons()["out"].is_spiking


def test_the_files_are_those_of_the_set() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(CASES)


@pytest.mark.skipif(bool(MACHINES["gcc"].missing), reason="gcc is not installed")
@pytest.mark.parametrize("name", ["threshold_is_strict", "delays", "voltage_saturates"])
def test_a_c_program_computes_the_file(name: str) -> None:
    case = CASES[name]
    assert verify_c(case.net, case.x.unsqueeze(1), input_range=(-2, 3)).total == 0


def _column(values: list[list[float]]) -> list[float]:
    return [row[0] for row in values]


def test_a_membrane_at_the_threshold_sends_nothing() -> None:
    found = _read("threshold_is_strict")
    at = _column(found["states"]["out"]["v"]).index(6400)
    assert found["output"]["out"][at] == [0] and found["populations"][0]["parameters"]["v_th"] == 100
    assert sum(_column(found["output"]["out"])) > 0


def test_the_resets_differ_in_the_first_step_of_a_spike() -> None:
    after = {}
    for name in ("reset_to_value", "reset_by_subtraction", "no_reset"):
        found = _read(name)
        first = _column(found["output"]["out"]).index(1)
        after[name] = first, found["states"]["out"]["v"][first][0]
    assert len({first for first, _ in after.values()}) == 1
    assert after["reset_to_value"][1] == 0.25
    assert after["no_reset"][1] - after["reset_by_subtraction"][1] == pytest.approx(1.0)


def test_delays_bring_each_spike_to_its_step() -> None:
    found = _read("delays")
    current = [[value // 64 for value in row] for row in found["states"]["out"]["u"]]
    expected = [[0, 0] for _ in range(12)]
    own, edge = [[1, 2], [3, 4]], [[10, 20], [30, 40]]
    for step, source in ((0, 0), (1, 1), (6, 0), (6, 1)):
        for target in range(2):
            expected[step + [[0, 2], [1, 5]][target][source]][target] += own[target][source]
            expected[step + 3][target] += edge[target][source]
    assert current == expected


def test_rounding_saturation_and_wrapping_happen() -> None:
    rounded = _column(_read("shift_rounds_down")["states"]["out"]["u"])
    assert rounded == [2 * 64, -4 * 64, -1 * 64, -6 * 64, 0]  # 5, -7, -2 and -12 over 2
    voltages = _column(_read("voltage_saturates")["states"]["out"]["v"])
    assert max(voltages) <= 2**23 - 1 and -(2**23 - 1) in voltages
    currents = _column(_read("current_wraps")["states"]["out"]["u"])
    assert any(abs(b - a) > 2**23 for a, b in itertools.pairwise(currents))
    assert _column(_read("refractory")["output"]["out"])[:7] == [1, 0, 0, 1, 0, 0, 1]
    assert _column(_read("bias_from_the_first_step")["states"]["out"]["v"])[0] == 1000
