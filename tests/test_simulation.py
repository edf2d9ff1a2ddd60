"""The simulator against the network itself, in memory and on disk, whole and in pieces."""

from __future__ import annotations

import errno
import io
import itertools
import os
import re
import subprocess
import sys
import tracemalloc

import h5py
import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit import Current, Poisson
from neurosim.errors import FileError, InputError, ShapeError
from neurosim.recording import writer as writer_module
from neurosim.recording.recording import Recording

DT = 1e-3
NAMES = ("input", "hidden", "out", "hidden.v", "hidden.u", "out.v")


@pytest.fixture
def net():
    """Weights are multiples of 1/64 and inputs 0/1: the sums are exact, however many rows a product gets at once."""
    made = ns.Network(
        {"input": ns.Input(4), "hidden": ns.LIF(dt=DT, v_th=0.05), "out": ns.LI(dt=DT)},
        [
            ns.Edge("input", "hidden", ns.Linear(4, 5)),
            ns.Edge("hidden", "hidden", ns.Linear(5, 5), delay=2e-3),
            ns.Edge("hidden", "out", ns.Linear(5, 3), delay=3e-3),
        ],
    )
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_((weight * 64).round() / 64)
    return made


@pytest.fixture
def x():
    return (torch.rand(50, 3, 4) < 0.6).float()


def same(one, other):
    assert sorted(one.spikes) == sorted(other.spikes)
    assert sorted(one.traces) == sorted(other.traces)
    for name, spikes in one.spikes.items():
        for field in ("step", "batch", "neuron"):
            assert np.array_equal(np.asarray(getattr(spikes, field)), np.asarray(getattr(other.spikes[name], field)))
    for name, trace in one.traces.items():
        assert np.array_equal(np.asarray(trace), np.asarray(other.traces[name])), name
    for kind in ("nodes", "in_flight"):
        for name, values in getattr(one.state, kind).items():
            pairs = zip(values, getattr(other.state, kind)[name], strict=True)
            assert all(torch.equal(a, b) for a, b in pairs), name


@pytest.mark.parametrize("chunk", [None, 1, 7, 50, 1000])
def test_it_records_what_the_network_does(net, x, chunk):
    z, state, values, *_ = net.run(x, None, NAMES)
    run = ns.simulate(net, x, record=NAMES, chunk=chunk)
    assert sorted(run.spikes) == ["hidden"]
    assert sorted(run.traces) == ["hidden.u", "hidden.v", "input", "out", "out.v"]
    assert 0 < len(run.spikes["hidden"]) < run.spikes["hidden"].to_grid().numel()
    assert np.array_equal(run.spikes["hidden"].to_grid(), values["hidden"].numpy())
    for name in run.traces:
        assert np.array_equal(run.traces[name], values[name].numpy()), name
    assert np.array_equal(run.traces["out"], z.detach().numpy())
    assert (run.dt, run.T, run.B) == (DT, 50, 3)
    assert torch.equal(run.state.nodes["hidden"].v, state.nodes["hidden"].v)
    assert torch.equal(run.state.in_flight["hidden"], state.in_flight["hidden"])
    assert not any(v.requires_grad for v in run.state.in_flight.values())


@pytest.mark.parametrize("chunk", [1, 13, None])
def test_on_disk_is_what_is_in_memory(net, x, chunk, tmp_path):
    with ns.simulate(net, x, record=NAMES, path=tmp_path / "run.h5", chunk=chunk) as disk:
        assert not isinstance(disk.traces["out"], np.ndarray)
        same(ns.simulate(net, x, record=NAMES), disk)
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]


def test_all_populations_are_recorded_unless_told(net, x):
    run = ns.simulate(net, x)
    assert (list(run.spikes), list(run.traces)) == (["hidden"], ["out"])
    assert ns.simulate(net, x, record=[]).rates() == {}


@pytest.mark.parametrize("cut", [1, 2, 3, 25])
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_run_goes_on_from_where_another_ended(net, x, cut, on_disk, tmp_path):
    whole = ns.simulate(net, x, record=NAMES)
    first = ns.simulate(net, x[:cut], record=NAMES, path=tmp_path / "first.h5" if on_disk else None)
    if on_disk:
        first.close()
        first = Recording.load(tmp_path / "first.h5")
    rest = ns.simulate(net, x[cut:], record=NAMES, state=first.state)
    for name in whole.traces:
        joined = np.concatenate((np.asarray(first.traces[name]), rest.traces[name]))
        assert np.array_equal(joined, whole.traces[name]), name
    dense = np.concatenate((first.spikes["hidden"].to_grid(), rest.spikes["hidden"].to_grid()))
    assert np.array_equal(dense, whole.spikes["hidden"].to_grid())
    first.close()


@pytest.mark.parametrize(
    "form", [lambda x: x.numpy(), lambda x: x.numpy().astype(np.uint8), lambda x: x.double(), lambda x: x.bool()]
)
def test_input_may_come_in_other_forms(net, x, form):
    same(ns.simulate(net, x), ns.simulate(net, form(x)))


def test_input_may_lie_in_a_file(net, x, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        same(ns.simulate(net, x), ns.simulate(net, file.create_dataset("x", data=x.numpy()), chunk=9))


def test_input_may_be_events(net, x):
    events = ns.Events.from_grid(x, DT)
    same(ns.simulate(net, x, record=NAMES), ns.simulate(net, events, record=NAMES, chunk=9))
    assert np.array_equal(ns.simulate(net, {"input": events.numpy()}, record=["input"]).traces["input"], x.numpy())
    times = ns.Events(time=[0.0], neuron=[0], duration=0.1, shape=4)
    with pytest.raises(InputError, match=r"x holds events at real times; use binned\(dt, T\) first"):
        ns.simulate(net, times)
    with pytest.raises(InputError, match=r"x lies on a grid of 0\.002 s, but the network has dt = 0\.001 s"):
        ns.simulate(net, ns.Events.from_grid(x, 2 * DT))


@pytest.fixture
def circuit():
    nodes = {"noise": Poisson(2000.0, 6), "drive": Current(0.25, 2), "out": ns.LIF(dt=DT, v_th=0.1)}
    made = ns.Network(nodes, [ns.Edge("noise", "out", ns.Linear(6, 3)), ns.Edge("drive", "out", ns.Linear(2, 3))])
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_((weight * 64).round() / 64)
    return made


@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_a_network_of_sources_runs_without_data(circuit, chunk, tmp_path):
    record = ("noise", "drive", "out", "out.v")
    run = ns.simulate(circuit, steps=30, batch=2, seed=4, record=record, chunk=chunk)
    start = circuit.initial_state(batch=2, seed=4)
    _, state, values, *_ = circuit.run(None, start, record, steps=30)
    assert sorted(run.spikes) == ["noise", "out"] and sorted(run.traces) == ["drive", "out.v"]
    assert values["noise"].max() > 1, "several spikes in a step are not being tested"
    for name, spikes in run.spikes.items():
        assert torch.equal(spikes.to_grid(), values[name].detach())
    for name, trace in run.traces.items():
        assert np.array_equal(trace, values[name].detach().numpy())
    assert all(torch.equal(a, b) for a, b in zip(run.state.nodes["noise"], state.nodes["noise"], strict=True))
    with ns.simulate(circuit, steps=30, batch=2, seed=4, record=record, chunk=chunk, path=tmp_path / "a.h5") as disk:
        for name, spikes in run.spikes.items():
            assert torch.equal(disk.spikes[name].to_grid(), spikes.to_grid())
        assert disk.state.nodes["noise"].step.tolist() == [30, 30]
    assert (ns.simulate(circuit, steps=5).B, ns.simulate(circuit, steps=5, trials=[3, 1]).B) == (1, 2)
    assert ns.simulate(circuit, steps=5, state=run.state).B == 2


def test_arguments_that_contradict_each_other_are_refused(net, circuit, x):
    state = circuit.initial_state()
    for call, said in (
        (lambda: ns.simulate(circuit), "this network has no Input; give steps= or seconds=, the length of the run"),
        (lambda: ns.simulate(circuit, steps=-1), "steps must be an integer from 0; got -1"),
        (lambda: ns.simulate(circuit, steps=5, batch=True), "batch must be an integer from 0; got True"),
        (lambda: ns.simulate(net, x, steps=5), "steps=5 and batch=None are for networks without Input"),
        (lambda: ns.simulate(net, x, seed=5), "seed and trials are for networks with sources"),
        (lambda: ns.simulate(circuit, steps=5, state=state, seed=1), "state carries the seed and the trials"),
        (lambda: ns.simulate(circuit, steps=5, state=state, trials=[1]), "state carries the seed and the trials"),
        (lambda: ns.simulate(net, x, state="x"), "state must be the NetworkState that a network returned"),
        (lambda: ns.simulate(circuit, steps=5, seed=-3), "seed must be an integer in 0 ... 2^63 - 1; got -3"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            call()
    with pytest.raises(ShapeError, match=r"x must be \[T, B, \.\.\.\]; got NoneType"):
        ns.simulate(net)


def test_several_inputs_are_given_by_name(x):
    nodes = {"left": ns.Input(4), "right": ns.Input(4), "out": ns.LI(dt=DT)}
    net = ns.Network(nodes, [ns.Edge(name, "out", ns.Linear(4, 2)) for name in ("left", "right")])
    run = ns.simulate(net, {"left": x, "right": 1 - x}, chunk=11)
    wanted = net({"left": x, "right": 1 - x})[0].detach().numpy()
    np.testing.assert_allclose(run.traces["out"], wanted, atol=1e-6)


def test_no_steps_and_no_samples_are_runs(net, x, tmp_path):
    for data in (x[:0], x[:, :0]):
        for path in (None, tmp_path / "run.h5"):
            with ns.simulate(net, data, record=NAMES, path=path) as run:
                assert run.spikes["hidden"].to_grid().shape == (*data.shape[:2], 5)
                assert run.traces["out.v"].shape == (*data.shape[:2], 3)


def test_the_network_is_not_changed(net, x):
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.train()
    ns.simulate(net, x)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert net.training and all(p.requires_grad and p.grad is None for p in net.parameters())


def test_another_device_gets_a_copy(net, x):
    with pytest.raises(RuntimeError, match="meta"):  # a device without data: nothing can be computed there
        ns.simulate(net, x, device="meta")
    assert {p.device.type for p in net.parameters()} == {"cpu"}


class Steps:
    """Input that is made as it is read, so that it needs no memory of its own."""

    def __init__(self, steps, batch, width):
        self.shape, self.longest = (steps, batch, width), 0

    def __getitem__(self, part):
        start, stop, _ = part.indices(self.shape[0])
        self.longest = max(self.longest, stop - start)
        return (
            ((np.arange(start, stop)[:, None, None] + np.arange(self.shape[2])) % 7 < 2)
            .astype(np.float32)
            .repeat(self.shape[1], 1)
        )


def peak(net, steps, path):
    data = Steps(steps, 4, 64)
    tracemalloc.start()
    with ns.simulate(net, data, record=["out", "out.v"], path=path, chunk=25) as run:
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert data.longest <= 32
        return held, run.traces["out.v"].shape[0], len(run.spikes["out"])


def test_memory_does_not_grow_with_the_run_on_disk(tmp_path):
    net = ns.Sequential(ns.Linear(64, 256), ns.LIF(dt=DT, v_th=0.05), names=["out"])
    peak(net, 50, tmp_path / "warm.h5")
    short, _, few = peak(net, 50, tmp_path / "short.h5")
    long, steps, many = peak(net, 500, tmp_path / "long.h5")
    assert (steps, many > 5 * few > 0) == (500, True)
    assert long < short + 60_000  # h5py's own objects; the trace of 450 more steps takes 1.8 MB
    in_memory, _, _ = peak(net, 500, None)
    assert in_memory > 3 * long


@pytest.mark.parametrize(
    ("progress", "limit", "shown"), [(None, 1, True), (None, 10**9, False), (True, 10**9, True), (False, 1, False)]
)
def test_the_bar_stands_on_long_runs(net, x, progress, limit, shown, monkeypatch, capsys):
    monkeypatch.setitem(ns.simulate.__globals__, "_LONG_RUN", limit)
    ns.simulate(net, x, progress=progress, chunk=10)
    assert ("simulate" in capsys.readouterr().err) == shown


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("chunk", [None, 4])
def test_what_is_no_number_is_found_with_its_step(net, x, value, chunk, tmp_path):
    x[17, 2, 1] = x[31, 0, 0] = value
    with pytest.raises(InputError) as caught:
        ns.simulate(net, x, chunk=chunk, path=tmp_path / "run.h5")
    assert str(caught.value) == (
        "x holds NaN or infinity, first at step 17; clean the data (torch.nan_to_num) and look where it came from."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (torch.ones(5, 4), ShapeError, "x must be [T, B, ...]; got [5, 4]. Time comes first, then the batch."),
        ([1.0], ShapeError, "x must be [T, B, ...]; got list. Time comes first, then the batch."),
        (torch.ones(5, 1, 9), ShapeError, "x for 'input' must be a tensor [T, B, 4]; got [5, 1, 9]."),
        (
            {"input": torch.ones(5)},
            ShapeError,
            "x['input'] must be [T, B, ...]; got [5]. Time comes first, then the batch.",
        ),
        (
            {"input": torch.ones(5, 1, 4), "b": torch.ones(6, 1, 4)},
            ShapeError,
            "all inputs must share T and B; got {'input': (5, 1), 'b': (6, 1)}.",
        ),
        ({}, ShapeError, "all inputs must share T and B; got no input at all."),
        ({"other": torch.ones(5, 1, 4)}, InputError, "x must give data for the inputs ['input']; got ['other']."),
    ],
)
def test_data_that_do_not_fit_are_refused(net, data, kind, said):
    with pytest.raises(kind) as caught:
        ns.simulate(net, data)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"chunk": 0}, "chunk must be an integer number of steps from 1; got 0."),
        ({"chunk": 2.5}, "chunk must be an integer number of steps from 1; got 2.5."),
        ({"record": "hidden"}, "record must be a sequence of names; got the text 'hidden'. Write record=['hidden']."),
        (
            {"record": ["nobody"]},
            "cannot record 'nobody': no node 'nobody'; this network has ['input', 'hidden', 'out'].",
        ),
    ],
)
def test_wrong_options_are_refused(net, x, options, said):
    with pytest.raises(InputError) as caught:
        ns.simulate(net, x, **options)
    assert str(caught.value) == said


def left(folder):
    return sorted(p.name for p in folder.iterdir())


def test_an_interrupt_leaves_the_earlier_file(net, x, tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    path.write_bytes(b"old")
    calls = itertools.count()
    trace = writer_module.Writer.trace

    def interrupted(self, *args):
        if next(calls) == 3:
            raise KeyboardInterrupt
        trace(self, *args)

    monkeypatch.setattr(writer_module.Writer, "trace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ns.simulate(net, x, path=path, chunk=5)
    assert (path.read_bytes(), left(tmp_path)) == (b"old", ["run.h5"])


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_by_simulating(net, x, path):
    ns.simulate(net, x, record=NAMES, path=path, chunk=10).close()


def write_by_saving(net, x, path):
    ns.simulate(net, x, record=NAMES).save(path)


@pytest.mark.parametrize("write", [write_by_simulating, write_by_saving])
@pytest.mark.parametrize("refused", ["os.fsync", "os.replace", "h5py.File"])
def test_a_disk_that_refuses_is_named_and_nothing_is_lost(net, x, tmp_path, monkeypatch, write, refused):
    path = tmp_path / "run.h5"
    path.write_bytes(b"old")
    monkeypatch.setattr(refused, full)
    with pytest.raises(FileError) as caught:
        write(net, x, path)
    assert str(caught.value) == (
        f"cannot write {path}: No space left on device; the earlier file is untouched. "
        "Free some space or choose another folder."
    )
    assert (path.read_bytes(), left(tmp_path)) == (b"old", ["run.h5"])


@pytest.mark.parametrize("room", [0, 500, 5_000, 8_000])
@pytest.mark.parametrize("write", [write_by_simulating, write_by_saving])
def test_a_disk_that_fills_up_is_named_whenever_it_does(net, x, tmp_path, monkeypatch, write, room):
    real = writer_module._Disk

    class Small(real):
        def __init__(self, path):
            super().__init__(path)
            self._file = Limited(self._file)

    class Limited(io.RawIOBase):
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def seek(self, *args):
            return self.file.seek(*args)

        def readinto(self, buffer):
            return self.file.readinto(buffer)

        def tell(self):
            return self.file.tell()

        def truncate(self, size=None):
            return self.file.truncate(min(size, room))

        def write(self, data):
            fits = max(min(len(data), room - self.file.tell()), 0)
            return self.file.write(data[:fits]) if fits else full()

        def close(self):
            self.file.close()

    monkeypatch.setattr(writer_module, "_Disk", Small)
    path = tmp_path / "run.h5"
    path.write_bytes(b"old")
    with pytest.raises(FileError, match=r"run\.h5: No space left on device; the earlier file is untouched"):
        write(net, x, path)
    assert (path.read_bytes(), left(tmp_path)) == (b"old", ["run.h5"])


FILE_LIMIT = """
import resource, signal, sys, torch, neurosim as ns
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
net = ns.Sequential(ns.Linear(20, 200), ns.LIF(dt=1e-3, v_th=0.05), names=["out"])
try:
    ns.simulate(net, torch.rand(200, 4, 20), record=["out", "out.v"], path=sys.argv[1], chunk=20)
except ns.NeurosimError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits on the size of a file are POSIX's")
def test_a_real_refusal_of_the_system_ends_in_an_error_and_no_crash(tmp_path, root):
    path = tmp_path / "run.h5"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", FILE_LIMIT, str(path)], capture_output=True, text=True, timeout=120, cwd=root
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"cannot write {path}: File too large; the earlier file is untouched.")
    assert (path.read_bytes(), left(tmp_path)) == (b"old", ["run.h5"])


def test_events_are_an_input_of_simulate_and_named_by_a_network() -> None:
    first = ns.Sequential(ns.Linear(4, 3), ns.LIF(dt=1e-3, r=50.0), names=["a"])
    second = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=1e-3, r=50.0), names=["b"])
    x = (torch.rand(40, 2, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    spikes = ns.simulate(first, x).spikes["a"]
    assert len(spikes) > 0
    with torch.no_grad():
        expected = second(first(x)[0])[0]
    assert torch.equal(ns.simulate(second, spikes).spikes["b"].to_grid(), expected)
    with pytest.raises(ns.NeurosimError, match=r"got Events. Pass x.to_grid\(\), or use simulate"):
        second(spikes)
