"""Recordings that go to disk and come back."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.analysis import population_statistics
from neurosim.cores import conductance_lif
from neurosim.errors import FileError

DT = 1e-3


@pytest.fixture
def net():
    loop = ns.Recurrent(ns.ALIF(dt=DT, v_th=0.05), ns.Linear(5, 5), delay=2e-3)
    return ns.Sequential(ns.Linear(4, 5), loop, ns.Linear(5, 3), ns.LI(dt=DT), names=("hidden", "out"))


@pytest.fixture
def recording(net):
    return ns.simulate(net, torch.rand(20, 3, 4) * 4, record=("hidden", "out", "hidden.v"))


def same(one, other):
    assert (one.dt, one.T, one.B) == (other.dt, other.T, other.B)
    assert sorted(one.spikes) == sorted(other.spikes)
    for name, spikes in one.spikes.items():
        twin = other.spikes[name]
        assert (spikes.T, spikes.B, spikes.shape, spikes.dt) == (twin.T, twin.B, twin.shape, twin.dt)
        for field in ("step", "batch", "neuron"):
            assert np.array_equal(np.asarray(getattr(spikes, field)), np.asarray(getattr(twin, field))), (name, field)
    assert sorted(one.traces) == sorted(other.traces)
    for name, trace in one.traces.items():
        assert np.array_equal(np.asarray(trace), np.asarray(other.traces[name])), name
    for kind in ("nodes", "in_flight"):
        held, twins = getattr(one.state, kind), getattr(other.state, kind)
        assert sorted(held) == sorted(twins)
        for name, values in held.items():
            assert getattr(values, "_fields", None) == getattr(twins[name], "_fields", None)
            assert all(torch.equal(a, b) for a, b in zip(values, twins[name], strict=True))


def test_a_recording_comes_back_as_it_went(recording, tmp_path):
    recording.save(tmp_path / "run.h5")
    with ns.Recording.load(tmp_path / "run.h5") as loaded:
        same(recording, loaded)
        assert np.array_equal(loaded.spikes["hidden"].to_grid(), recording.spikes["hidden"].to_grid())
        assert np.array_equal(
            loaded.spikes["hidden"].between(4, 9).to_grid(), recording.spikes["hidden"].to_grid()[4:9]
        )
        loaded.save(tmp_path / "again.h5")
    with ns.Recording.load(tmp_path / "again.h5") as again:
        same(recording, again)


def test_a_recording_can_be_saved_over_itself(recording, tmp_path):
    recording.save(tmp_path / "run.h5")
    with ns.Recording.load(tmp_path / "run.h5") as loaded:
        loaded.save(tmp_path / "run.h5")
    with ns.Recording.load(tmp_path / "run.h5") as again:
        same(recording, again)


def test_rates_and_summary(recording):
    spikes = recording.spikes["hidden"]
    assert len(spikes) > 0
    assert recording.rates() == {"hidden": spikes.rate()}
    assert repr(recording) == f"<Recording T=20 B=3 dt=0.001 s; hidden: {len(spikes)} spikes; out, hidden.v>"


def test_a_missing_recording_is_named(tmp_path):
    with pytest.raises(FileError) as caught:
        ns.Recording.load(tmp_path / "no.h5")
    assert (
        str(caught.value)
        == f"no recording at {tmp_path / 'no.h5'}; give the path that simulate(..., path=...) or save wrote."
    )


@pytest.mark.parametrize("kept", [0, 1, 40, 0.5, 0.9, -1])
def test_a_truncated_recording_is_refused_and_left(recording, tmp_path, kept):
    path = tmp_path / "run.h5"
    recording.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    before = path.read_bytes()
    with pytest.raises(FileError) as caught:
        ns.Recording.load(path)
    assert str(caught.value).startswith(f"{path} is not a recording that can be read: truncated, damaged or of another")
    assert str(caught.value).endswith("It is left as it is.")
    assert path.read_bytes() == before


def _no_format(file):
    del file.attrs["format"]


def _other_format(file):
    file.attrs["format"] = 99


def _no_neurons(file):
    del file["spikes/hidden/neuron"]


def _short_list(file):
    file["spikes/hidden/step"].resize(1, axis=0)


def _short_trace(file):
    file["traces/out"].resize(3, axis=0)


def _no_group(file):
    del file["spikes"]
    file["spikes"] = 1.0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_no_format, "format"),
        (_other_format, "format 99 instead of 3"),
        (_no_neurons, "neuron"),
        (_short_list, "the lists of /spikes/hidden differ in length"),
        (_short_trace, r"trace 'out' is of shape .* where \[20, 3, ...\] is expected"),
        (_no_group, "spikes|items"),
    ],
)
def test_a_file_that_is_no_complete_recording_is_refused_and_left(recording, tmp_path, damage, said):
    path = tmp_path / "run.h5"
    recording.save(path)
    with h5py.File(path, "r+") as file:
        damage(file)
    before = path.read_bytes()
    with pytest.raises(
        FileError,
        match=rf"run\.h5 is not a complete recording \(.*({said}).*\); it is left as it is\. Simulate again\.",
    ):
        ns.Recording.load(path)
    assert path.read_bytes() == before


def as_format_2(path, lines):
    """Rewrite a recording as one of format 2, with spikes in flight for each edge."""
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = 2
        del file["state/in_flight"]
        for edge, line in lines.items():
            file[f"state/edges/{edge}"] = line.numpy()


def test_a_recording_of_the_format_before_is_read(tmp_path):
    nodes = {"in": ns.Input(4), "a": ns.LIF(dt=DT, v_th=0.05), "hh": ns.Neuron(conductance_lif, dt=DT)}
    edges = [
        ns.Edge("in", "a", ns.Linear(4, 5), delay=2 * DT),
        ns.Edge("a", "a", ns.Linear(5, 5)),
        ns.Edge("a", "hh", ns.Linear(5, 3), delay=4 * DT, port="ge"),
        ns.Edge("in", "hh", ns.Linear(4, 3), port="gi"),
    ]
    net, x = ns.Network(nodes, edges), torch.rand(20, 3, 4) * 4
    recording = ns.simulate(net, x)
    recording.save(tmp_path / "run.h5")
    a = recording.state.in_flight["a"]
    lines = {"in->a": recording.state.in_flight["in"], "a->a": a[-1:], "a->hh:ge": a}
    as_format_2(tmp_path / "run.h5", lines)
    with ns.Recording.load(tmp_path / "run.h5") as loaded:
        same(recording, loaded)
        same(ns.simulate(net, x, state=recording.state), ns.simulate(net, x, state=loaded.state))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ({"feed": torch.zeros(2, 3, 5)}, "a file of format 2 does not name the source of the edge 'feed'"),
        ({"in->b": torch.zeros(2, 3, 5)}, "a file of format 2 does not name the source of the edge 'in->b'"),
        ({"in->out": torch.zeros(2, 3, 4), "in->hidden": torch.zeros(1, 3, 5)}, "the edge 'in->out' and another"),
        ({"in->out": torch.zeros(2, 3, 4), "in->hidden": torch.ones(1, 3, 4)}, "the edge 'in->out' and another"),
    ],
)
def test_spikes_in_flight_of_the_format_before_that_name_no_source_are_refused(recording, tmp_path, lines, said):
    recording.save(tmp_path / "run.h5")
    as_format_2(tmp_path / "run.h5", lines)
    with pytest.raises(FileError, match=said):
        ns.Recording.load(tmp_path / "run.h5")


def test_a_node_without_state_is_kept_on_disk(tmp_path):
    @ns.core(state=())
    def relay(i, *, spike):
        return (spike(i),)

    net = ns.Sequential(ns.Linear(3, 2), ns.layer(relay)(dt=1e-3), names=["out"])
    kept = ns.simulate(net, torch.randn(5, 2, 3), path=tmp_path / "run.h5")
    assert kept.spikes["out"].T == 5 and kept.state.nodes["out"] == ()
    assert ns.simulate(net, torch.randn(5, 2, 3), state=kept.state).T == 5


def test_a_node_may_have_any_name(tmp_path):
    net = ns.Network({"in": ns.Input(3), "pool 1": ns.LIF(dt=DT)}, [ns.Edge("in", "pool 1", ns.Linear(3, 2))])
    x = torch.rand(5, 2, 3)
    with ns.simulate(net, x, path=tmp_path / "run.h5") as kept:
        assert torch.equal(kept.state.nodes["pool 1"].v, ns.simulate(net, x).state.nodes["pool 1"].v)


def _step_out_of_range(file):
    file["spikes/hidden/step"][3] = 20


def _neuron_out_of_range(file):
    file["spikes/hidden/neuron"][3] = -1


def _out_of_order(file):
    step = file["spikes/hidden/step"]
    step[...] = step[...][::-1]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_step_out_of_range, "step holds 20, where 0 to 19"),
        (_neuron_out_of_range, "neuron holds -1, where 0 to 4"),
        (_out_of_order, "step is not in ascending order"),
    ],
)
@pytest.mark.parametrize(
    "use", [lambda spikes: spikes.to_grid(), lambda spikes: spikes.between(0, 5), lambda spikes: spikes.neuron[0]]
)
def test_events_of_a_file_are_checked_when_they_are_used(recording, tmp_path, damage, said, use):
    path = tmp_path / "run.h5"
    recording.save(path)
    with h5py.File(path, "r+") as file:
        damage(file)
    with ns.Recording.load(path) as loaded, pytest.raises(FileError, match=rf"run.h5: /spikes/hidden/{said}"):
        use(loaded.spikes["hidden"])


def _attribute(place, name, value):
    def damage(file):
        file[place].attrs[name] = value

    return damage


def _float_steps(file):
    step = file["spikes/hidden/step"][...]
    del file["spikes/hidden/step"]
    file["spikes/hidden/step"] = step.astype(float)


def _state_of_another_batch(file):
    v = file["state/nodes/hidden/v"][...]
    del file["state/nodes/hidden/v"]
    file["state/nodes/hidden/v"] = v[:2]


def _declared_only(file):
    file["traces"].create_dataset("large", (20, 3, 10**6), "f4", chunks=(20, 3, 4096))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_attribute("/", "T", 2**62), "T is 4611686018427387904, where an integer from 0"),
        (_attribute("/", "T", -1), "T is -1, where an integer from 0"),
        (_attribute("/", "T", 20.5), "T is 20.5, where an integer from 0"),
        (_attribute("/", "B", 2**62), "B is 4611686018427387904, where an integer from 0"),
        (_attribute("/", "B", 4), "trace .* where .20, 4, .... is expected"),
        (_attribute("/", "dt", float("nan")), "dt must be a number in .0, 0.1. s; got nan"),
        (_attribute("/", "dt", -1e-3), "dt must be a number in .0, 0.1. s; got -0.001"),
        (_attribute("spikes/hidden", "shape", [-5]), "the shape of 'hidden' is .-5., where integers from 1"),
        (_attribute("spikes/hidden", "shape", [2**50]), "are more than 1099511627776 values"),
        (_float_steps, "/spikes/hidden/step is .* float64.*, where a list of integers"),
        (_state_of_another_batch, "the state of 'hidden' is of shape .*, where axis 0 or 1 must be B = 3"),
        (_declared_only, "declares 240,000,000 bytes, of which the file stores 0"),
    ],
)
def test_sizes_that_no_recording_has_are_refused(recording, tmp_path, damage, said):
    path = tmp_path / "run.h5"
    recording.save(path)
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(FileError, match=said) as caught:
        ns.Recording.load(path)
    assert "run.h5" in str(caught.value)


def test_a_damaged_file_is_named_on_loading_or_on_use(recording, tmp_path):
    path = tmp_path / "run.h5"
    recording.save(path)
    whole, draw, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(150):
        content = bytearray(whole)
        for place in draw.integers(len(content), size=draw.integers(1, 9)):
            content[place] = draw.integers(256)
        path.write_bytes(bytes(content[: draw.integers(len(content)) if draw.random() < 0.2 else None]))
        try:
            with ns.Recording.load(path) as loaded:
                loaded.rates()
                for spikes in loaded.spikes.values():
                    assert spikes.read().count().sum() == len(spikes)
                for trace in loaded.traces.values():
                    assert np.asarray(trace).shape == trace.shape
        except FileError:
            refused += 1
    assert refused > 50


def test_statistics_are_those_of_the_analysis_and_of_a_file(tmp_path):
    random = np.random.default_rng(0)
    events = ns.Events.from_grid((random.random((400, 2, 5)) < 0.1).astype(np.int64), dt=1e-3)
    run = ns.Recording({"E": events}, {}, dt=1e-3, T=400, B=2, state=ns.NetworkState({}, {}))
    found = run.statistics(after=0.1, bin=4e-3)
    assert dict(found) == dict(population_statistics({"E": events}, after=0.1, bin=4e-3))
    assert found["E"]["spikes"] == int((events.step >= 100).sum())
    run.save(tmp_path / "run.h5")
    with ns.Recording.load(tmp_path / "run.h5") as stored:
        assert dict(stored.statistics(after=0.1, bin=4e-3)) == dict(found)
