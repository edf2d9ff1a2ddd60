"""Live input: the steps of a run are those of the recording, losses are counted, and the source is held back."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.datasets.events import SensorEvents, counts, signed, write_events
from neurosim.datasets.live import Camera, Live, LiveSource, Packet, Replay, SocketSource, send_events
from neurosim.errors import FileError, InputError, ShapeError

SHAPE = (2, 3, 4)


def recorded(n: int = 400, last: int = 50_000) -> SensorEvents:
    rng = np.random.default_rng(1)
    t = np.sort(rng.integers(0, last, n))
    return SensorEvents(t, rng.integers(0, 4, n), rng.integers(0, 3, n), rng.integers(0, 2, n), shape=SHAPE)


def network() -> ns.Network:
    torch.manual_seed(0)
    hidden = ns.LIF(tau_mem=5e-3, r=3.0, dt=1e-3)
    return ns.Sequential(ns.Linear(24, 8), hidden, ns.Linear(8, 3), ns.LI(tau_mem=10e-3, dt=1e-3))


NET = network()


def whole(events: SensorEvents, steps: int) -> torch.Tensor:
    with torch.no_grad():
        return NET(events.binned(1e-3, steps).flatten(2))[0]


def fast(events: SensorEvents, every: float = 1e-3) -> Replay:
    return Replay(events, speed=math.inf, every=every)


@pytest.mark.parametrize("chunk", [1, 7, 50])
@pytest.mark.parametrize("every", [0.3e-3, 1e-3, 0.011])
def test_a_live_run_gives_the_output_of_one_call(chunk: int, every: float) -> None:
    events = recorded()
    run = Live(NET, fast(events, every), chunk=chunk)
    output = torch.cat([steps.output for steps in run])
    report = run.report()
    assert len(output) >= events.last // 1000 + 1 and report.steps == len(output)
    assert torch.equal(output, whole(events, len(output)))
    assert report.events == 400 and report.dropped_events == report.late_events == report.lost_packets == 0
    assert "0 events in 0 packets" in str(report) and len(report.latency) == -(-len(output) // chunk)


def test_a_replay_takes_the_time_of_the_recording_and_its_latency_is_measured() -> None:
    begun = time.perf_counter()
    run = Live(NET, Replay(recorded(), speed=1.0))
    seen = [(steps.first, time.perf_counter() - begun) for steps in run]
    assert all(when >= (first + 1) * 1e-3 for first, when in seen) and 0.05 <= seen[-1][1] < 2.0
    report = run.report()
    assert (report.latency > 0).all() and len(report.latency) == report.steps == 50


def test_a_slow_network_holds_the_source_back_and_loses_nothing() -> None:
    events, produced = recorded(), list[int]()

    class Counted(Replay):
        def packets(self) -> Iterator[Packet]:
            for packet in super().packets():
                produced.append(packet.until)
                yield packet

    run = Live(NET, Counted(events, speed=math.inf), queue=2)
    for steps in run:
        time.sleep(2e-3)
        assert len(produced) <= steps.first + 1 + 2 + 2  # what was run, what waits, and what is in hand
    assert run.report().events == 400 and run.report().waited > 0.01


def test_packets_that_do_not_fit_are_counted() -> None:
    events = recorded()
    run = Live(NET, fast(events), queue=1, full="drop")
    outputs = []
    for steps in run:
        outputs.append(steps.output)
        time.sleep(2e-3)
    report = run.report()
    assert report.dropped_packets > 10 and report.events + report.dropped_events == 400
    assert report.packets + report.dropped_packets == 50 and report.late_events == 0


class Packets(LiveSource):
    """Packets as a test has them."""

    shape = SHAPE

    def __init__(self, *packets: Packet | Exception) -> None:
        self._packets, self.closed = packets, False

    def packets(self) -> Iterator[Packet]:
        for packet in self._packets:
            if isinstance(packet, Exception):
                raise packet
            yield packet

    def close(self) -> None:
        self.closed = True


def packet(until: int, *t: int, lost: int = 0) -> Packet:
    zeros = [0] * len(t)
    return Packet(SensorEvents([*t], zeros, zeros, zeros, shape=SHAPE), until, time.perf_counter(), lost)


def test_late_events_and_losses_of_the_device_are_counted() -> None:
    source = Packets(packet(2000, 100, 1500), packet(4000, 900, 2500, lost=3), packet(4000, 3999))
    run = Live(NET, source)
    output = torch.cat([steps.output for steps in run])
    report = run.report()
    assert (report.events, report.late_events, report.lost_packets) == (3, 2, 3) and source.closed
    kept = SensorEvents([100, 1500, 2500], [0] * 3, [0] * 3, [0] * 3, shape=SHAPE)
    assert torch.equal(output, whole(kept, 4))


def test_an_error_of_the_source_comes_after_the_steps_before_it() -> None:
    source = Packets(packet(2000, 100), FileError("the cable was pulled"))
    run = Live(NET, source)
    seen = []
    with pytest.raises(FileError, match="the cable was pulled"):
        for steps in run:
            seen.append(steps.first)
    assert seen == [0, 1] and source.closed
    with pytest.raises(FileError, match="at once"):
        list(Live(NET, Packets(FileError("at once"))))
    assert list(Live(NET, Packets())) == []
    with pytest.raises(InputError, match="the source was used"):
        list(run)


def test_a_run_that_is_left_ends_its_thread() -> None:
    source = Packets(*(packet(1000 * k, 1000 * k - 1) for k in range(1, 500)))
    for _ in Live(NET, source, queue=1):
        break
    assert source.closed and "neurosim-live" not in {thread.name for thread in threading.enumerate()}
    run = Live(NET, fast(recorded()), steps=10, chunk=4)
    assert [len(steps.output) for steps in run] == [4, 4, 2] and run.report().steps == 10


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"a step of the source is \[3, 4\], the input of the network \[24\]"):
        Live(NET, fast(recorded()), value=signed)
    assert Live(NET, fast(recorded()), value=counts).report().steps == 0
    with pytest.raises(InputError, match="full = 'block'"):
        Live(NET, fast(recorded()), full="block")  # type: ignore[arg-type]
    for wrong in ({"speed": 0.0}, {"speed": float("nan")}, {"speed": True}):
        with pytest.raises(InputError):
            Replay(recorded(), **wrong)
    with pytest.raises(InputError, match="the recording has 2 samples"):
        Replay(SensorEvents.joined([recorded(), recorded()]))


def test_a_file_is_replayed_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = recorded()
    write_events(tmp_path / "a.raw", events, kind="evt2")
    monkeypatch.setattr("neurosim.datasets.events.files.reading.PIECE", 200)
    source = Replay(tmp_path / "a.raw", speed=math.inf, shape=SHAPE)
    packets = list(source.packets())
    assert all(p.events.last < p.until for p in packets if len(p.events)) and len(packets) == events.last // 1000 + 1
    assert SensorEvents.merged([p.events for p in packets]).sorted() == events.sorted()


# Sockets


def test_events_come_over_a_socket_and_nothing_is_lost() -> None:
    events, source = recorded(), SocketSource(SHAPE)
    sender = threading.Thread(target=send_events, args=(fast(events), source.port))
    sender.start()
    run = Live(NET, source, queue=1)
    output = torch.cat([steps.output for steps in run])
    sender.join()
    assert torch.equal(output, whole(events, len(output))) and run.report().events == 400


def _sent(source: SocketSource, content: bytes) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", source.port)) as connection:
        connection.sendall(content)


HEAD = (1).to_bytes(4, "little") + (1000).to_bytes(8, "little")
EVENT = (5).to_bytes(8, "little") + bytes([3, 0, 2, 0, 1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEAD + EVENT[:7], "ended inside a packet: 7 of 13 bytes"),
        (HEAD[:5], "ended inside a packet: 5 of 12 bytes"),
        (HEAD + EVENT[:8] + bytes([4, 0, 2, 0, 1]), r"a packet was received that is refused: .*x\[0\] = 4"),
        (HEAD + (2000).to_bytes(8, "little") + EVENT[8:], "an event at 2000 us was received in a packet up to 1000 us"),
        (b"\xff" * 12, "a packet of 4,294,967,295 events"),
        (HEAD + EVENT + HEAD[:4] + (10).to_bytes(8, "little"), "up to 10 us after 1000 us"),
    ],
)
def test_damaged_packets_are_refused(content: bytes, message: str) -> None:
    source = SocketSource(SHAPE)
    sender = threading.Thread(target=_sent, args=(source, content))
    sender.start()
    with pytest.raises(FileError, match=message):
        list(Live(NET, source))
    sender.join()


def test_a_socket_that_stays_silent_or_cannot_be_taken_is_named() -> None:
    source = SocketSource(SHAPE, timeout=0.05)
    with pytest.raises(InputError, match=f"cannot listen at 127.0.0.1, port {source.port}"):
        SocketSource(SHAPE, port=source.port)
    with pytest.raises(FileError, match=r"no events came for 0\.05 s"):
        list(Live(NET, source))
    with pytest.raises(FileError, match="cannot send to"):
        send_events(fast(recorded()), source.port)


# Cameras


class FakeDevice:
    """A camera of neuromorphic-drivers that gives a recorded stream."""

    def __init__(self, events: SensorEvents, polarity: str = "p", begin: int = 7_000_000) -> None:
        kind = [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), (polarity, "?")]
        self.rows = np.zeros(len(events), kind)
        for name in ("t", "x", "y"):
            self.rows[name] = getattr(events, name)
        self.rows[polarity] = events.p
        self.rows["t"] += begin
        self.begin, self.closed = begin, False

    def properties(self) -> SimpleNamespace:
        return SimpleNamespace(width=4, height=3)

    def __iter__(self) -> Iterator[tuple[SimpleNamespace, SimpleNamespace | None]]:
        yield SimpleNamespace(ring=None), None  # nothing has come yet
        for k in range(0, 60, 10):
            inside = (self.rows["t"] >= self.begin + 1000 * k) & (self.rows["t"] < self.begin + 1000 * (k + 10))
            ring = SimpleNamespace(dropped_packets=2 if k >= 30 else 0, current_t=self.begin + 1000 * (k + 10))
            overflows = np.array([0]) if k == 10 else None
            yield (
                SimpleNamespace(ring=ring),
                SimpleNamespace(polarity_events=self.rows[inside], polarity_events_overflow_indices=overflows),
            )

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("polarity", ["p", "on"])
def test_a_camera_runs_the_network_and_its_losses_are_counted(polarity: str) -> None:
    events = recorded()
    device = FakeDevice(events, polarity)
    run = Live(NET, Camera(device))
    output = torch.cat([steps.output for steps in run])
    counted = events.shifted(-events.first * 1e-6)
    assert torch.equal(output, whole(counted, len(output))) and device.closed
    assert run.report().events == 400 and run.report().lost_packets == 3


def test_no_driver_and_no_camera_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "neuromorphic_drivers", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'neurosim-toolkit\[camera\]'|neuromorphic_drivers"):
        Camera()

    def refuse() -> None:
        raise RuntimeError("device not found")

    monkeypatch.setitem(__import__("sys").modules, "neuromorphic_drivers", SimpleNamespace(open=refuse))  # type: ignore[arg-type]
    with pytest.raises(FileError, match="no event camera could be opened: device not found"):
        Camera()
