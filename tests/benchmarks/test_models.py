"""The models are timed against plain loops that do the same work, and a loop that does not is noticed."""

from __future__ import annotations

import json

import pytest

from benchmarks import elm, models
from benchmarks.__main__ import main
from benchmarks.options import Options
from benchmarks.timing import ImplausibleError
from neurosim.models import ELM


@pytest.mark.parametrize("benchmark", [elm, models], ids=lambda each: each.NAME)
def test_every_case_is_timed_and_shown(benchmark, tmp_path, capsys):
    path = tmp_path / "figures.json"
    assert main([benchmark.NAME, "--quick", "--json", str(path)]) == 0
    cases = json.loads(path.read_text())[benchmark.NAME]["cases"]
    assert len(cases) == (len(elm.QUICK) if benchmark is elm else len(models.MODELS))
    shown = capsys.readouterr().out
    for case in cases:
        ours, loop = (case["contenders"][name]["median_s"] for name in (benchmark.OURS, benchmark.LOOP))
        assert ours > 0 and case["times_as_fast"] == pytest.approx(loop / ours)
        assert f"{case['times_as_fast']:.1f}" in shown
        assert str(case.get("work", "")) in shown


def test_a_kernel_that_is_wrong_is_not_timed(monkeypatch):
    original = ELM.run

    def run(self, x, state=None, record=()):
        result = original(self, x, state, record)
        return result._replace(out=1.01 * result.out)

    monkeypatch.setattr(ELM, "run", run)
    with pytest.raises(ImplausibleError, match="off by"):
        elm.measure(Options(quick=True))


def test_a_model_that_does_something_else_is_not_timed(monkeypatch):
    original = models.DelayedLinear.over

    def over(self, line, **choices):
        return 1.01 * original(self, line, **choices)

    monkeypatch.setattr(models.DelayedLinear, "over", over)
    with pytest.raises(ImplausibleError, match=r"delayed synapses .*: off by"):
        models.measure(Options(quick=True))
