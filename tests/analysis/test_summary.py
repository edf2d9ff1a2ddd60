"""The table of a run: each number by its own function, and what cannot be computed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.peers.measures import measures
from neurosim import Events
from neurosim.analysis import fano_factor, firing_rates, interval_cv, population_statistics, synchrony
from neurosim.errors import InputError, UnitError
from tests.analysis.trains import poisson


def test_each_number_is_that_of_its_function() -> None:
    events = poisson(20.0, 40, 10_000, 1e-4, seed=1, B=3)
    found = population_statistics({"E": events}, after=0.2, bin=5e-3)
    part = events.between(2000, 10_000)
    assert found["E"] == pytest.approx(
        {
            "neurons": 40,
            "spikes": len(part),
            "rate": firing_rates(part).mean(),
            "rate_sd": firing_rates(part).std(),
            "cv": np.nanmean(interval_cv(part)),
            "fano": fano_factor(part, 5e-3).mean(),
            "synchrony": synchrony(part, 5e-3).mean(),
            "silent": (firing_rates(part) == 0).mean(),
        }
    )


@pytest.mark.parametrize(("dt", "bin"), [(1e-4, 3e-3), (1e-3, 3e-3), (2e-3, 4e-3), (7e-4, 2.8e-3), (0.05, 0.05)])
def test_the_bin_is_the_multiple_of_dt_nearest_to_three_milliseconds(dt: float, bin: float) -> None:
    assert population_statistics({"E": poisson(5.0, 4, 200, dt, seed=2)}).bin == pytest.approx(bin)


def test_a_silent_population_has_dashes_in_the_table() -> None:
    found = population_statistics({"I": Events(step=[], neuron=[], T=100, dt=1e-3, shape=3)})
    assert found["I"]["rate"] == 0 and found["I"]["silent"] == 1 and np.isnan(found["I"]["cv"])
    assert repr(found).splitlines()[-1].split() == ["I", "3", "0", "0", "0", "-", "-", "-", "100.0%"]
    assert "<pre>" in found._repr_html_()


@pytest.mark.parametrize(
    ("after", "error"), [(1.0, InputError), (2.0, InputError), (-0.1, UnitError), (5e-5, UnitError), (None, UnitError)]
)
def test_a_beginning_that_does_not_fit_is_refused(after: float | None, error: type[Exception]) -> None:
    with pytest.raises(error, match="after must be"):
        population_statistics({"E": poisson(20.0, 4, 1000, 1e-3, seed=3)}, after=after)


def test_a_run_without_spikes_recorded_is_refused() -> None:
    with pytest.raises(InputError, match="no spikes were recorded"):
        population_statistics({})


def test_the_scripts_of_other_simulators_compute_the_same() -> None:
    # They may import NumPy only, and so have a copy of these statistics.
    events = poisson(20.0, 40, 10_001, 1e-4, seed=4)
    ours = population_statistics({"E": events})["E"]
    theirs = measures(events.step, events.neuron, 40, 10_001, 1e-4)
    names = {"rate": "rate", "sd_rates": "rate_sd", "cv": "cv", "fano": "fano", "spikes": "spikes"}
    assert theirs == pytest.approx({name: ours[own] for name, own in names.items()})
