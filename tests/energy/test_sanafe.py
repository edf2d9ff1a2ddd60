"""Traffic, energies and times of placed networks beside those of SANA-FE 2.2.9 on its model of Loihi.

``make sanafe`` installs it, in an environment of its own; skipped where that is not there.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import neurosim as ns
from benchmarks.peers.environments import python_of
from neurosim.hardware.loihi import loihi_neurons
from neurosim.hardware.placement import Placement, place
from neurosim.network import Network
from neurosim.network.neuron import Neuron
from tests.energy.judge import Compared, compare

PYTHON = python_of("sanafe")
pytestmark = pytest.mark.skipif(PYTHON is None, reason="sanafe is not installed: make sanafe")
STEPS, REST = 16, 5


def small_cores(root: Path, folder: Path, columns: int) -> Path:
    """Return the file of the chip with 12 neurons a core and tiles in few columns: a small network takes many."""
    text = (root / "hardware_targets" / "loihi1_board.toml").read_text(encoding="utf-8")
    path = folder / "loihi1_board.toml"
    text = text.replace("value = 1024\n", "value = 12\n", 1).replace("value = 8\n", f"value = {columns}\n", 1)
    path.write_text(text, encoding="utf-8")
    return path


def neurons() -> Neuron:
    return loihi_neurons(dt=1e-3, dv=300, v_th=70, bias_mant=-20)


def layers() -> Network:
    return drawn(ns.Sequential(ns.Linear(20, 70), neurons(), ns.Linear(70, 9), neurons(), names=("hidden", "out")))


def loop() -> Network:
    edges = [
        ns.Edge("input", "hidden", ns.Linear(20, 70)),
        ns.Edge("hidden", "hidden", ns.Linear(70, 70), delay=1e-3),
        ns.Edge("hidden", "out", ns.Linear(70, 9)),
    ]
    nodes = {"input": ns.Input(20), "hidden": neurons(), "out": neurons()}
    return drawn(Network(nodes, edges, output="out"))


def drawn(net: Network) -> Network:
    """Draw integer weights, many of them 0, so that neurons do not all send to the same cores."""
    torch.manual_seed(1)
    with torch.no_grad():
        for edge in net.edges:
            weight = edge.synapses[0].get_parameter("weight")
            density = 0.06 if edge.source == "hidden" else 0.7
            high = 40 if edge.source == edge.target else 90  # a loop that comes to rest
            weight.copy_(torch.randint(-40, high, weight.shape) * (torch.rand_like(weight) < density))
    return net


@pytest.fixture(scope="module", params=[(layers, 8), (loop, 1)], ids=["layers", "loop"])
def both(
    request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Compared, Placement]:
    make, columns = request.param
    net = make()
    placement = place(net, small_cores(root, tmp_path_factory.mktemp("chip"), columns))
    x = (torch.rand(STEPS, 1, 20, generator=torch.Generator().manual_seed(3)) < 0.4).float()
    x[-REST:] = 0.0
    assert PYTHON is not None
    return compare(net, x, placement, PYTHON), placement


def test_no_spike_differs(both: tuple[Compared, Placement]) -> None:
    found, placement = both
    assert placement.cores == 7, "inputs are on the last core of the second tile"
    assert found.compared == 79 * (STEPS + 2)
    assert found.differing == 0


def test_counts_agree(both: tuple[Compared, Placement]) -> None:
    for name, (ours, theirs) in both[0].counts.items():
        assert ours == theirs, name
        assert ours > 100, name


def test_energies_agree_by_part(both: tuple[Compared, Placement]) -> None:
    for name, (ours, theirs) in both[0].energies.items():
        assert ours == pytest.approx(theirs, rel=1e-9, abs=0), name
        assert ours > 1e-9, name


def test_the_lower_bound_is_the_simple_timing_and_the_detailed_one_lies_between(
    both: tuple[Compared, Placement],
) -> None:
    found, _ = both
    assert found.least == pytest.approx(found.simple, rel=1e-9, abs=0)
    assert found.least <= found.detailed <= found.most


def test_a_neuron_at_rest_is_read_there_and_updated_here(root: Path, tmp_path: Path) -> None:
    net = drawn(ns.Sequential(ns.Linear(20, 30), loihi_neurons(dt=1e-3, dv=4096, v_th=70), names=("out",)))
    placement = place(net, small_cores(root, tmp_path, 8))
    x = torch.zeros(STEPS, 1, 20)
    x[1] = 1.0
    assert PYTHON is not None
    found = compare(net, x, placement, PYTHON, always=False)
    updates, (soma, theirs) = found.counts["neuron updates"], found.energies["soma"]
    assert found.differing == 0 and 0 < updates[1] < updates[0] == 30 * (STEPS + 1)
    # 21.6 pJ is the update itself; reading the neuron costs 51.2 pJ in any case.
    assert soma - theirs == pytest.approx((updates[0] - updates[1]) * 21.6e-12, rel=1e-9, abs=0)
