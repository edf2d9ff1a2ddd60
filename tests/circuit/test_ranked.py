"""A circuit over ranks has the raster, traces and state of one process, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit.engine import Engine
from neurosim.errors import InputError
from neurosim.plasticity import PairSTDP
from tests.circuit.ranks_program import circuit
from tests.ranks import run_module


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the results of all runs by name, one for each rank."""
    return run_module("tests.circuit.ranks_program", tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", ["one", "two", "four"])
def test_any_number_of_ranks_gives_the_bits_of_one_process(runs: Any, name: str) -> None:
    """Of all formats of rows, in two pieces of a run whose ends lie within a delay, for two trials."""
    recorded, states, under_way = runs["plain"][0]
    assert all(len(spikes[0]) > 100 for spikes in recorded if isinstance(spikes, tuple))
    for other in runs[name]:
        for a, b in zip(recorded, other[0], strict=True):
            assert all(map(np.array_equal, a, b)) if isinstance(a, tuple) else np.array_equal(a, b)
        assert all(map(torch.equal, states, other[1]))
        assert under_way.keys() == other[2].keys()
        assert all(torch.equal(under_way[key], other[2][key]) for key in under_way)


def test_each_rank_keeps_the_synapses_onto_its_neurons_alone(runs: Any) -> None:
    """Together they have all of them."""
    net = circuit()
    routes = Engine(net, net.initial_state(batch=1, seed=0), ["E"], parts=1).wiring.routes
    whole = sorted((route.kind, route.source, route.post.numel()) for route in routes)
    assert {kind for kind, *_ in whole} == {"bits", "constant", "packed", "real"}
    for (kind, source, number), *shares in zip(whole, *runs["synapses"], strict=True):
        assert all(share[:2] == (kind, source) for share in shares)
        assert sum(share[2] for share in shares) == number
    assert all(0 < sum(share[2] for share in rank) < sum(row[2] for row in whole) for rank in runs["synapses"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no delay", "edge 'E->I:dv' has no delay, so that ranks would exchange spikes within a step"),
        ("other seeds", "network of the run differs between the ranks"),
        ("not finite", "I.v of neuron 129 in trial 0 is no longer finite"),
    ],
)
def test_errors_are_raised_on_all_ranks(runs: Any, name: str, message: str) -> None:
    """No rank waits for another one."""
    for error in runs[name]:
        assert isinstance(error, InputError) and message in str(error)


def test_runs_that_ranks_cannot_share_are_refused_by_name(tmp_path: Any) -> None:
    """Layers, plastic synapses, files."""
    net, rule = circuit(), PairSTDP(a_plus=1e-5, a_minus=1e-5, w_min=-9.0, w_max=9.0)
    refused: dict[str, Any] = {
        "the layered engine runs it": {"engine": "layered"},
        "'I->I:dv' changes by a rule": {"plasticity": {"I->I:dv": rule}},
        "path is given": {"path": tmp_path / "a.h5"},
    }
    for message, choices in refused.items():
        with pytest.raises(InputError, match=message):
            ns.simulate(net, steps=5, ranks=True, **choices)
