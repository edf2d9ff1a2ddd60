"""Every core against every check."""

from __future__ import annotations

import pytest

import neurosim as ns
from neurosim.language import Core
from tests.battery import CHECKS
from tests.core_list import MODELS, ROUNDED


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("model", (*MODELS, *ROUNDED), ids=lambda model: model.name)
def test_contract(model, check):
    check(model)


def test_every_core_of_the_package_is_listed():
    listed = [model.core for model in (*MODELS, *ROUNDED)]
    assert len(set(listed)) == len(listed)
    # These send values, not spikes, and their threshold has no gradient: tests/cores/test_sigma_delta.py.
    graded = {ns.cores.sigma, ns.cores.delta, ns.cores.sigma_delta, ns.cores.sigma_delta_cumulative}
    # Send values too, or do not fire regularly: tests/cores/test_lava_cores.py.
    others = {ns.cores.ternary_lif, ns.cores.resonate_and_fire, ns.cores.resonate_and_fire_izhikevich}
    # What NIR has besides, readouts and nodes without memory among them: tests/exchange/nir/test_exporting.py.
    of_nir = {
        *(ns.cores.integrator, ns.cores.cuba_integrator, ns.cores.cuba_integrator_resting),
        *(ns.cores.cubalif_resting, ns.cores.threshold, ns.cores.relay),
    }
    # Cores of whole numbers do not take the random currents of the battery: tests/cores/test_loihi.py.
    real = {value for value in vars(ns.cores).values() if isinstance(value, Core) and value.whole_up_to is None}
    assert real <= {*listed, *graded, *others, *of_nir}
