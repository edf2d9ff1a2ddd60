"""Placement: published figures of a core's memory, every neuron placed once, no core above a limit, honest remedies."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosim as ns
from neurosim.errors import InputError
from neurosim.hardware import load_target
from neurosim.hardware.loihi import loihi_neurons
from neurosim.hardware.placement import Full, Link, Listed, NeuronGroup, Placement, Workload, place
from neurosim.hardware.placement.links import Chained, reach_of
from neurosim.hardware.placement.mesh import Mesh
from neurosim.hardware.placement.storage import Storage
from neurosim.synapses import BatchNorm, RoundedDelays
from neurosim.synapses.shift import Shift

MEMORY = "synapse_memory_per_core"

TINY = """
name = "tiny"
title = "Tiny"
kind = "chip"
summary = "A chip for tests."
spikes = "binary"
energy_not_public = "it does not exist"

[limits]
cores = {value = 16, unit = "1", source = "invented for a test"}
neurons_per_core = {value = 20, unit = "1", source = "invented for a test"}
input_axons_per_core = {value = 60, unit = "1", source = "invented for a test"}
output_axons_per_core = {value = 90, unit = "1", source = "invented for a test"}
synapse_memory_per_core = {value = 4096, unit = "bit", source = "invented for a test"}
compartment_configurations_per_core = {value = 3, unit = "1", source = "invented for a test"}

[storage]
block_synapses = {value = 8, unit = "1", source = "invented for a test"}
block_header = {value = 4, unit = "bit", source = "invented for a test"}
memory_word = {value = 16, unit = "bit", source = "invented for a test"}
index_bits = {value = [2, 6], unit = "bit", source = "invented for a test"}
shared_kernels = {value = 1, unit = "1", source = "invented for a test"}

[mesh]
columns = {value = 4, unit = "1", source = "invented for a test"}
cores_per_tile = {value = 2, unit = "1", source = "invented for a test"}
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("chip") / "tiny.toml"
    path.write_text(TINY)
    return load_target(path)


def row(*sizes: int) -> ns.Network:
    parts = [p for a, b in itertools.pairwise(sizes) for p in (ns.Linear(a, b), ns.LIF(dt=1e-3))]
    return ns.Sequential(*parts, names=[f"p{k}" for k in range(1, len(sizes))])


def sound(placement: Placement) -> None:
    """Check what holds for every placement."""
    cores = [part.core for _, part in placement.parts()]
    assert cores == list(range(len(cores)))
    for one in placement.populations:
        if one.parts:
            placed = np.concatenate([part.neurons for part in one.parts])
            assert sorted(placed.tolist()) == list(range(one.neurons))
        for part in one.parts:
            for key, limit in placement.limits.items():
                assert part.use[key] <= limit, (one.name, key)


@pytest.mark.parametrize(
    ("sizes", "share", "cores"),
    [((784, 256), 1.72, 2), ((784, 128), 0.86, 1), ((256, 10), 0.03, 1), ((1024, 113), 1.0, 1)],
)
def test_dense_layers_take_what_the_compiler_of_loihi_takes(sizes: tuple[int, int], share: float, cores: int) -> None:
    # 9 bits for each 8-bit weight of a full block of 64; figures of nengo-loihi's formula.
    placement = place(row(*sizes), "loihi1")
    sound(placement)
    assert round(placement["p1"].as_one_core[MEMORY], 2) == share
    assert placement.cores == cores and placement.fits
    assert placement["p1"].parts[0].storage == {"input->p1": "dense"}


def test_a_layer_that_fills_a_core_to_the_last_bit_fits() -> None:
    placement = place(row(1024, 113), "loihi1")
    assert placement["p1"].parts[0].use[MEMORY] == 1024 * 1024
    # 64 and 54 synapses still fill the same words, 64 and 55 another one.
    assert [place(row(1024, n), "loihi1").cores for n in (118, 119)] == [1, 2]


def test_a_sparse_layer_takes_a_third_of_a_core() -> None:
    # 26 of 256 neurons from each of 784: 26 (8 + 8) + 10 bits, rounded up to 448.
    post = np.concatenate([np.arange(26) * 9 % 256 for _ in range(784)])
    workload = Workload(
        {"in": 784},
        (NeuronGroup("p1", (256,)),),
        (Link("in->p1", "in", "p1", Listed(784, 256, post, np.repeat(np.arange(784), 26))),),
    )
    placement = place(workload, "loihi1")
    assert placement["p1"].parts[0].use[MEMORY] == 784 * 448
    assert round(placement["p1"].as_one_core[MEMORY], 2) == 0.33
    assert placement["p1"].parts[0].storage == {"in->p1": "sparse"}
    assert place(workload, "loihi1", storage="dense")["p1"].as_one_core[MEMORY] > 1.7


def test_blocks_are_rounded_up_one_by_one() -> None:
    storage = Storage.of(load_target("loihi1"))
    assert storage.bits(np.array([0]), 8) == 0
    assert storage.bits(np.array([1]), 8) == 64
    assert storage.bits(np.array([64]), 8) == 576
    assert storage.bits(np.array([65]), 8) == 576 + 64
    assert storage.bits(np.array([64, 49]), 8) == 576 + 448
    assert [storage.index(n) for n in (2, 64, 65, 1024, 9999)] == [6, 6, 7, 10, 12]


def test_delays_and_tags_cost_bits() -> None:
    net = ns.Network(
        {"in": ns.Input(64), "a": ns.LIF(dt=1e-3)}, [ns.Edge("in", "a", ns.Linear(64, 64), delay=20e-3, name="e")]
    )
    plain, delayed = (place(net, "loihi1", delay_bits=b)["a"].as_one_core[MEMORY] for b in (0, None))
    assert plain == 64 * 576 / 2**20
    assert delayed == 64 * (-(-(64 * 13 + 10) // 64) * 64) / 2**20  # 20 steps are 5 bits
    tagged = place(net, "loihi1", delay_bits=0, tag_bits=3)["a"].as_one_core[MEMORY]
    assert plain < tagged < delayed


def test_weights_are_stored_in_the_next_width_that_the_chip_has() -> None:
    assert [place(row(4, 3), "loihi1", weight_bits=bits).weight_bits for bits in (6, 7, 8)] == [6, 8, 8]


def test_the_step_of_every_connection_needs_no_delay() -> None:
    def delays(first: float, second: float) -> list[int]:
        net = ns.Network(
            {"in": ns.Input(3), "a": ns.LIF(dt=1e-3), "b": ns.LIF(dt=1e-3)},
            [ns.Edge("in", "a", ns.Linear(3, 3), delay=first), ns.Edge("a", "b", ns.Linear(3, 3), delay=second)],
        )
        return [link.delay for link in Workload.of(net).links]

    assert delays(1e-3, 1e-3) == [0, 0] and delays(1e-3, 3e-3) == [0, 2]
    assert delays(0, 3e-3) == [0, 3]


def test_a_loop_of_one_step_needs_no_delay() -> None:
    net = ns.Network(
        {"in": ns.Input(8), "a": ns.LIF(dt=1e-3)},
        [ns.Edge("in", "a", ns.Linear(8, 8)), ns.Edge("a", "a", ns.Linear(8, 8))],
    )
    assert [link.delay for link in Workload.of(net).links] == [0, 0]
    sound(place(net, "loihi1"))


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=4),
    density=st.sampled_from([0.05, 0.3, 1.0]),
    loop=st.booleans(),
    taus=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_every_neuron_is_placed_once_and_no_core_is_above_a_limit(
    tiny, sizes: list[int], density: float, loop: bool, taus: int, seed: int
) -> None:
    torch.manual_seed(seed)
    nodes: dict = {"in": ns.Input(sizes[0])}
    edges = []
    names = ["in", *(f"p{k}" for k in range(1, len(sizes)))]
    for a, b, n, m in zip(names[:-1], names[1:], sizes[:-1], sizes[1:], strict=True):
        tau = torch.tensor([5e-3, 10e-3, 20e-3, 30e-3, 40e-3])[torch.arange(m) % taus]
        nodes[b] = ns.LIF(dt=1e-3, tau_mem=tau)
        edges.append(ns.Edge(a, b, ns.Sparse.random(n, m, density)))
    if loop:
        edges.append(ns.Edge(b, b, ns.Linear(m, m)))
    net = ns.Network(nodes, edges)
    counts = []
    for bits in (1, 4, 8, 13):
        placement = place(net, tiny, weight_bits=bits, chips=9)
        sound(placement)
        assert bool(placement.misfits) >= any(not one.parts for one in placement.populations)
        counts.append([len(one.parts) if one.parts else 10**6 for one in placement.populations])
    # More bits never take fewer cores.
    assert all(a <= b for before, after in itertools.pairwise(counts) for a, b in zip(before, after, strict=True))


@settings(max_examples=8, deadline=None)
@given(
    channels=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    size=st.tuples(st.integers(4, 8), st.integers(4, 8)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    padding=st.integers(0, 1),
    dilation=st.integers(1, 2),
    pool=st.booleans(),
)
def test_the_synapses_of_a_convolution_are_counted_exactly(
    channels, size, kernel, stride, padding, dilation, pool
) -> None:
    shape = (channels[0], *(2 * n for n in size)) if pool else (channels[0], *size)
    conv = ns.Conv2d(
        *channels, kernel, stride=stride, padding=padding, dilation=min(dilation, 1 if min(kernel) == 1 else 2)
    )
    maps = [*([ns.AvgPool2d(2)] if pool else []), conv]
    try:
        out = conv.output_shape((channels[0], *size))
    except ns.NeurosimError:
        return
    reach = reach_of(maps, shape)
    assert isinstance(reach, Chained)
    # Each input alone sets off a current in the neurons that it reaches, and in no other.
    eye = torch.eye(reach.inputs).reshape(1, reach.inputs, *shape)
    current = eye
    with torch.no_grad():
        for one in maps:
            current = one(current)
    table = (current.flatten(2)[0] != 0).numpy()
    some = np.arange(0, reach.outputs, 2)
    assert (reach.onto(some) == table[:, some].sum(1)).all()
    # The lists that are left when equal ones are kept once: by brute force over all shifts of place.
    places = [
        tuple(sorted((n // (out[1] * out[2]), *divmod(n % (out[1] * out[2]), out[2])) for n in np.flatnonzero(line)))
        for line in table
    ]
    seen = set()
    for source, line in enumerate(places):
        if line:
            y0, x0 = min(y for _, y, _ in line), min(x for _, _, x in line)
            weights = tuple(float(v) for v in current.flatten(2)[0, source] if v != 0)
            seen.add((source // int(np.prod(shape[1:])), tuple((c, y - y0, x - x0) for c, y, x in line), weights))
    assert len(reach.shared(np.arange(reach.outputs))) >= len(seen)
    if stride == 1:
        assert len(reach.shared(np.arange(reach.outputs))) == len(seen)


def test_a_convolution_shares_its_kernel() -> None:
    net = ns.Sequential(ns.Input((2, 16, 16)), ns.Conv2d(2, 8, 3), ns.LIF(dt=1e-3), names=["c"])
    shared, sparse = (place(net, "loihi1", storage=kind)["c"].as_one_core[MEMORY] for kind in ("auto", "sparse"))
    assert place(net, "loihi1")["c"].parts[0].storage == {"input->c": "shared"}
    # 25 sets of positions of the kernel (5 by row times 5 by column) instead of 256 pixels.
    assert shared * 8 < sparse
    assert place(net, "truenorth", weight_bits=8)["c"].parts


def test_images_are_cut_by_place_where_that_takes_fewer_cores(tiny) -> None:
    net = ns.Sequential(ns.Input((4, 8, 8)), ns.Conv2d(4, 4, 3), ns.LIF(dt=1e-3), names=["c"])
    placement = place(net, tiny, weight_bits=2, chips=9)
    sound(placement)
    channels = {int(n) // 36 for n in placement["c"].parts[0].neurons}
    assert channels == {0, 1, 2, 3}


def test_synapses_of_every_kind_are_read() -> None:
    from neurosim.synapses import BlockLinear

    weight = torch.tensor([[1.0, 0.0], [2.0, 3.0]])
    delays = RoundedDelays(weight, torch.tensor([[3, 0], [0, 7]]), dt=1e-3)
    nodes = {"in": ns.Input(2), "a": ns.LIF(dt=1e-3), "b": ns.LIF(dt=1e-3), "c": ns.LIF(dt=1e-3)}
    edges = [
        ns.Edge("in", "a", delays),
        ns.Edge("a", "b", BlockLinear(2, 4, 2)),
        ns.Edge("b", "c", [ns.Linear(4, 3), BatchNorm(3)]),
    ]
    links = {link.name: link for link in Workload.of(ns.Network(nodes, edges)).links}
    assert links["in->a"].delay == 7
    assert links["in->a"].reach.onto(np.array([0, 1])).tolist() == [2, 1]
    assert links["a->b"].reach.onto(np.array([0, 1])).tolist() == [2, 0]
    assert links["b->c"].reach.onto(np.arange(3)).tolist() == [3] * 4


def test_a_network_in_whole_numbers_is_placed(tiny) -> None:
    neurons = loihi_neurons(dt=1e-3, du=torch.arange(12) // 2, dv=3, v_th=torch.arange(12) % 2 + 5)
    net = ns.Sequential(ns.Linear(4, 12), Shift(-1), neurons, names=["p"])
    assert [link.reach.onto(np.arange(12)).tolist() for link in Workload.of(net).links] == [[12] * 4]
    placement = place(net, tiny)
    # Six decays, three on a core.
    assert len(placement["p"].parts) == 2
    assert [part.use["threshold_configurations_per_core"] for part in placement["p"].parts] == [2, 2]


def test_output_axons_cut_the_population_before(tiny) -> None:
    # 60 neurons reach 15 cores each: 900 axons, 90 on a core.
    workload = Workload(
        {},
        (NeuronGroup("a", (60,)), NeuronGroup("b", (300,))),
        (Link("a->b", "a", "b", Listed(60, 300, np.repeat(np.arange(300), 60), np.tile(np.arange(60), 300))),),
    )
    placement = place(workload, tiny, weight_bits=1, chips=9)
    sound(placement)
    assert len(placement["b"].parts) == 15
    assert [len(part.neurons) for part in placement["a"].parts] == [6] * 10
    assert placement["a"].binds == "output_axons_per_core"


def test_settings_bind_where_neurons_differ(tiny) -> None:
    tau = torch.linspace(5e-3, 50e-3, 12)
    net = ns.Sequential(ns.Linear(4, 12), ns.LIF(dt=1e-3, tau_mem=tau), names=["p"])
    placement = place(net, tiny)
    assert len(placement["p"].parts) == 4 and placement["p"].binds == "compartment_configurations_per_core"


def test_what_does_not_fit_comes_with_what_would(tiny) -> None:
    net = row(40, 60, 150)
    placement = place(net, tiny, weight_bits=13)
    sound(placement)
    (misfit,) = placement.misfits
    assert misfit.limit == "cores" and misfit.needed == placement.cores > 16
    bits, density, chips = misfit.remedies
    fewer = int(bits.split()[2])
    assert [place(net, tiny, weight_bits=b).fits for b in (fewer, fewer + 1)] == [True, False]
    assert place(net, tiny, weight_bits=13, chips=int(chips.split()[0])).fits
    # Prune as the remedy says, and a little less.
    percent = int(density.split()[0])
    for share, fits in ((percent / 100, True), (percent / 100 + 0.05, False)):
        pruned = row(40, 60, 150)
        with torch.no_grad():
            for edge in pruned.edges:
                weight = edge.synapses[0].get_parameter("weight")
                keep = int(np.ceil(share * len(weight)))
                order = torch.rand(weight.shape).argsort(0).argsort(0)
                weight[order >= keep] = 0
        assert place(pruned, tiny, weight_bits=13).fits == fits


def test_a_neuron_with_too_many_inputs_is_named() -> None:
    placement = place(row(5000, 3, 2), "loihi1")
    sound(placement)
    (misfit,) = placement.misfits
    assert misfit.where == "p1" and misfit.limit == "input_axons_per_core"
    assert "fan-in of 5,000 exceeds the 4,096 input axons" in misfit.what and "81 %" in misfit.remedies[0]
    assert not placement["p1"].parts and placement["p2"].parts
    assert "does not fit" in placement.table()


def test_delays_pooling_and_fan_out_that_a_chip_cannot_hold_are_named() -> None:
    nodes = {"in": ns.Input((1, 4, 4)), "a": ns.LIF(dt=1e-3), "b": ns.LIF(dt=1e-3)}
    edges = [
        ns.Edge("in", "a", [ns.MaxPool2d(2), ns.Flatten(), ns.Linear(4, 300)]),
        ns.Edge("a", "b", ns.Linear(300, 300), delay=70e-3),
    ]
    net = ns.Network(nodes, edges)
    loihi = {m.where: m for m in place(net, "loihi1").misfits}
    assert "MaxPool2d is an or over windows" in loihi["in->a"].what
    assert loihi["a->b"].needed == 70 and "1.1 times as long" in loihi["a->b"].remedies[0]
    net = ns.Sequential(ns.Linear(8, 200), ns.LIF(dt=1e-3), ns.Linear(200, 400), ns.LIF(dt=1e-3), names=["a", "b"])
    (misfit,) = place(net, "truenorth").misfits
    assert misfit.limit == "targets_per_neuron" and misfit.remedies == ("2 copies of a, each for 1 of the cores",)


def test_chip_wide_limits_count_over_all_chips() -> None:
    placement = place(row(10, 300), load_target("odin"), weight_bits=3)
    assert placement.misfits[0].limit == "cores"
    big = Workload({"in": 10}, (NeuronGroup("a", (1_200_000,)),), (Link("in->a", "in", "a", Full(10, 1_200_000)),))
    limits = {m.limit: m for m in place(big, "loihi2").misfits}
    assert limits["neurons"].needed == 1_200_000 and limits["neurons"].remedies == ("2 chips",)


def test_hops_are_tiles_between_cores(tiny) -> None:
    # Cores 0 and 1 hold a, cores 2 to 4 hold b: tiles 0, 1, 1, 2 in one row.
    workload = Workload(
        {"in": 2},
        (NeuronGroup("a", (40,)), NeuronGroup("b", (60,))),
        (Link("in->a", "in", "a", Full(2, 40)), Link("a->b", "a", "b", Full(40, 60))),
    )
    placement = place(workload, tiny, weight_bits=1)
    assert [len(one.parts) for one in placement.populations] == [2, 3]
    assert placement.hops["a"] == (1 + 1 + 2, 0.0, 0.0) and placement.hops["b"] == (0.0, 0.0, 0.0)
    assert place(workload, "loihi2").hops == {}


def test_cores_lie_in_rows_of_tiles_every_other_one_backwards(tiny) -> None:
    x, y = Mesh.of(tiny).tile(np.arange(16))
    assert x.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 2, 2, 1, 1, 0, 0]
    assert y.tolist() == [0] * 8 + [1] * 8
    assert not Mesh.of(load_target("loihi2")).known


def test_spikes_between_chips_have_no_distance(tiny) -> None:
    workload = Workload(
        {"in": 2},
        (NeuronGroup("a", (200,)), NeuronGroup("b", (140,))),
        (
            Link("in->a", "in", "a", Full(2, 200)),
            Link("a->b", "a", "b", Listed(200, 140, np.array([0, 139]), np.array([0, 0]))),
        ),
    )
    placement = place(workload, tiny, weight_bits=1, chips=2)
    assert placement.chips_used == 2
    assert placement.hops["a"][2] == 1 / 200


def test_it_is_written_as_text_and_json(tmp_path: Path) -> None:
    placement = place(row(784, 256, 10), "loihi1")
    table = placement.table()
    assert "It fits: 3 of 128 cores of Intel Loihi (2018) at 8-bit weights." in table and "1.72" in table
    text = placement.to_json(tmp_path / "p.json")
    assert text == (tmp_path / "p.json").read_text()
    read = json.loads(text)
    assert read["cores"] == 3 and [p["core"] for one in read["populations"] for p in one["parts"]] == [0, 1, 2]
    with pytest.raises(InputError, match="no population 'p9'"):
        placement["p9"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(target="cpu"), "cpu states no cores or no limit of a core"),
        (
            dict(target="loihi1", weight_bits=9),
            "loihi1 stores weights of 1, 2, 3, 4, 5, 6, 8 bits; got 9. Quantise the weights to 8 bits",
        ),
        (dict(target="loihi1", weight_bits=0), "weight_bits must be an integer from 1; got 0"),
        (dict(target="loihi1", tag_bits=-1), "tag_bits must be an integer from 0"),
        (dict(target="loihi1", chips=0), "chips must be an integer from 1"),
        (dict(target="loihi1", chips=800), "the largest system of loihi1 has 768 chips; got chips=800"),
        (dict(target="loihi1", delay_bits=-1), "delay_bits must be an integer from 0, or None"),
        (dict(target="loihi1", storage="best"), "storage must be one of auto, dense, sparse, shared; got 'best'"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        place(row(4, 3), **arguments)
    assert message in str(caught.value)


def test_bits_left_out_are_those_of_the_chip() -> None:
    assert [place(row(4, 3), name).weight_bits for name in ("loihi1", "odin", "spinnaker")] == [8, 3, 16]
