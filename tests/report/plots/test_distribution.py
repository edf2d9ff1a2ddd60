"""Distributions over neurons: each panel holds the numbers of the analysis."""

from __future__ import annotations

import numpy as np
import pytest

import neurosim as ns
from neurosim.analysis import interval_cv, intervals
from neurosim.errors import InputError, UnitError
from neurosim.recording.recording import Recording
from neurosim.report import distributions
from tests.report.plots.test_populations import axes_of, circuit


def test_each_panel_holds_all_its_values() -> None:
    run = circuit({"E": 40, "I": 15})
    rates, variations, gaps = axes_of(distributions(run, after=0.5))
    for k, name in enumerate(("E", "I")):
        part = run.spikes[name].between(500, 2000)
        share, edges, _ = rates.patches[k].get_data()
        assert share == pytest.approx(np.histogram(part.count(), edges * 1.5)[0] / part.count().size)
        assert share.sum() == pytest.approx(1.0)
        share, edges, _ = variations.patches[k].get_data()
        cv = interval_cv(part)
        assert share == pytest.approx(np.histogram(cv[~np.isnan(cv)], edges)[0] / np.sum(~np.isnan(cv)))
        assert share.sum() == pytest.approx(1.0)
        density, edges, _ = gaps.patches[k].get_data()
        assert (density * np.diff(np.log10(edges))).sum() == pytest.approx(1.0)
        steps = intervals(part).steps
        inside = (steps >= round(edges[0])) & (steps < round(edges[5]))
        assert (density * np.diff(np.log10(edges)))[:5].sum() == pytest.approx(inside.mean())


def test_the_legend_has_means_and_silent_shares() -> None:
    run = circuit({"E": 40})
    (text,) = axes_of(distributions(run))[0].get_legend_handles_labels()[1]
    assert text == f"E: mean {run.spikes['E'].rate():.3g} Hz, 0% silent"


def test_a_silent_population_leaves_its_panels_empty() -> None:
    events = ns.Events(step=[], neuron=[], T=100, dt=1e-3, shape=3)
    run = Recording({"E": events}, {}, dt=1e-3, T=100, B=1, state=ns.NetworkState({}, {}))
    rates, variations, gaps = axes_of(distributions(run))
    assert len(rates.patches) == 1 and len(variations.patches) == len(gaps.patches) == 0


@pytest.mark.parametrize(("after", "error"), [(2.0, InputError), (0.0005, UnitError), (-1.0, UnitError)])
def test_a_beginning_that_does_not_fit_is_refused(after: float, error: type[Exception]) -> None:
    with pytest.raises(error, match="distributions: after must be"):
        distributions(circuit({"E": 4}), after=after)
