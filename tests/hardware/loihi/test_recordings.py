"""Recordings of Loihi: checked where the data folder is there, and the same machinery on data of our own."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.hardware.loihi import recordings as loihi_recordings
from tests.hardware.loihi import verify

DATA = Path(os.environ.get("NEUROSIM_DATA", "")) / "loihi"
needs_data = pytest.mark.skipif(
    not (DATA / "ntidigits.net").is_file(), reason="NEUROSIM_DATA holds no loihi/ntidigits.net"
)


@needs_data
def test_every_bin_of_ntidigits() -> None:
    found = loihi_recordings.ntidigits(DATA)
    assert (found.bins, found.differing, found.spikes) == (726_000, 0, 22_572)


@needs_data
def test_the_chip() -> None:
    """Loihi 2 shows a voltage of 128 in the step of a spike, where lava-nc and we show 0; nothing else differs."""
    spikes, apart = loihi_recordings.chip(DATA)
    assert (spikes.bins, spikes.differing, spikes.spikes) == (1000, 0, 4)
    assert apart.shape == (4, 4) and set(apart[1]) == {1} and set(apart[2]) == {128} and set(apart[3]) == {0}


def decayed(x: np.ndarray, kept: int) -> np.ndarray:
    return np.sign(x) * (np.abs(x) * kept >> 12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write small recordings of the same form, computed by numpy in integers."""
    generator = np.random.default_rng(0)
    steps, sizes = 120, (64, 9, 8, 5)
    spikes = (generator.random((64, steps)) < 0.1).astype(np.int64)
    np.save(tmp_path / "input.npy", spikes.astype(float))
    with h5py.File(tmp_path / "ntidigits.net", "w") as file:
        for k, (n_in, n_out) in enumerate(itertools.pairwise(sizes), start=2):
            weight = generator.integers(-60, 90, (n_out, n_in)) * 2
            delay = generator.integers(0, 20, n_out) if k < 4 else np.zeros(n_out, int)
            group = file.create_group(f"layer/{k}")
            group["weight"] = weight.astype(np.float32)
            for key, value in dict(iDecay=1024, vDecay=512, vThMant=300).items():
                group[f"neuron/{key}"] = value
            if k < 4:
                group["delay"] = delay.astype(np.float32)
            u, v, out = np.zeros(n_out, np.int64), np.zeros(n_out, np.int64), np.zeros((n_out, steps), np.int64)
            for t in range(steps):
                arrived = np.zeros(n_out, np.int64)
                for o in range(n_out):
                    if t - 1 - delay[o] >= 0:
                        arrived[o] = weight[o] @ spikes[:, t - 1 - delay[o]]
                u = decayed(u, 4096 - 1024) + 64 * arrived
                v = decayed(v, 4096 - 512) + u
                out[:, t] = v > 64 * 300
                v[out[:, t] == 1] = 0
            spikes = out
    np.save(tmp_path / "output.npy", np.concatenate((np.zeros((5, 1)), spikes[:, :-1]), axis=1))
    before, voltage, rows = 0, 0, []
    for x in (generator.random(200) < 0.2).astype(int).tolist():
        voltage = (voltage * (4096 - 163) >> 12) + 640 * before
        fired = voltage > 64 * 25
        rows.append((x, 128 if fired else voltage, int(fired)))
        voltage, before = 0 if fired else voltage, x
    np.savetxt(tmp_path / "lif_lava_loihi_fixed.csv", np.array(rows), delimiter=",")
    return tmp_path


def test_recordings_of_our_own(folder: Path) -> None:
    found = verify.recordings(folder)
    assert found["ntidigits"]["bins"] == 600 and found["ntidigits"]["spikes"] > 50
    assert found["ntidigits"]["differing"] == found["chip"]["differing"] == 0 < found["chip"]["spikes"]
    assert found["chip"]["voltages_differing"] == found["chip"]["of_those_at_spikes"] == found["chip"]["spikes"]


def test_a_difference_is_counted(folder: Path) -> None:
    output = np.load(folder / "output.npy")
    output[2, 50] = 1 - output[2, 50]
    np.save(folder / "output.npy", output)
    assert verify.recordings(folder)["ntidigits"]["differing"] == 1
