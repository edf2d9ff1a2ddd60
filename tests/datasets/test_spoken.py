"""Recordings from disk, the cochlea, and words that come as spikes."""

from __future__ import annotations

import tarfile
import wave
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from neurosim.datasets import Word, cochlea, heard, read_shd, read_words, spoken
from neurosim.errors import FileError, InputError, ShapeError, UnitError

RATE = 8000


def tone(frequency: float, seconds: float = 0.2) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


def write_wav(path: Path, samples: np.ndarray, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def test_recordings_in_a_folder_and_in_an_archive(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    write_wav(folder / "3_ann_7.wav", tone(300))
    write_wav(folder / "0_bob_12.wav", tone(500, 0.1))
    (folder / "notes.txt").write_text("no recording")
    with tarfile.open(tmp_path / "words.tar.xz", "w:xz") as archive:
        archive.add(folder, "recordings")
    for path in (folder, tmp_path / "words.tar.xz"):
        zero, three = read_words(path)
        assert zero[1:] == (RATE, 0, "bob", 12) and three[1:] == (RATE, 3, "ann", 7)
        assert len(zero.wave) == 800 and np.allclose(three.wave, tone(300), atol=1e-4)


def test_recordings_that_cannot_be_read(tmp_path):
    with pytest.raises(FileError, match=r"holds no recordings called digit_speaker_take\.wav"):
        read_words(tmp_path)
    with pytest.raises(FileError, match="there is no such file"):
        read_words(tmp_path / "missing.tar")
    write_wav(tmp_path / "1_ann_0.wav", tone(300), channels=2)
    with pytest.raises(FileError, match=r"1_ann_0.wav has 2 channel\(s\) of 16 bits; only 16-bit mono"):
        read_words(tmp_path)
    (tmp_path / "1_ann_0.wav").write_bytes(b"no sound")
    with pytest.raises(FileError, match=r"1_ann_0\.wav is not a wav file"):
        read_words(tmp_path)


def test_a_tone_is_heard_at_its_place_on_the_scale_of_erb():
    counts = [cochlea(tone(f), RATE, channels=64, low=100, high=3500).sum(0) for f in (200, 400, 800, 1600, 3200)]
    places = [int(c.argmax()) for c in counts]
    scale = [21.4 * np.log10(1 + 4.37e-3 * f) for f in (100, 3500, 200, 400, 800, 1600, 3200)]
    wanted = [63 * (s - scale[0]) / (scale[1] - scale[0]) for s in scale[2:]]
    assert np.abs(np.array(places) - wanted).max() <= 2
    assert all(c[p] > 4 * c[(p + 32) % 64] for c, p in zip(counts, places, strict=True))


def test_the_loudest_step_fires_at_the_peak_rate_whatever_the_scale():
    spikes = cochlea(tone(800), RATE, peak_rate=200.0)
    assert spikes.shape == (20, 64) and spikes.sum(0).max() == pytest.approx(200.0 * 0.2, abs=2)
    assert np.array_equal(spikes, cochlea(16.0 * tone(800), RATE, peak_rate=200.0))
    assert not cochlea(np.zeros(800), RATE).any()


def test_silence_and_sound_in_time():
    sound = np.concatenate((np.zeros(800), tone(800, 0.1), np.zeros(800)))
    spikes = cochlea(sound, RATE).sum(1)
    assert spikes[:8].sum() == 0 and spikes[22:].sum() == 0 and spikes[10:20].min() > 0


def test_what_the_cochlea_refuses():
    with pytest.raises(ShapeError, match=r"sound must be samples \[n\]; got shape \[2, 3\]"):
        cochlea(np.zeros((2, 3)), RATE)
    with pytest.raises(InputError, match="centres must lie in"):
        cochlea(tone(300), RATE, high=5000)
    with pytest.raises(UnitError, match="cochlea: dt"):
        cochlea(tone(300), RATE, dt=10)


def test_words_of_one_duration():
    data = heard([Word(tone(300, 0.1), RATE, 3, "ann", 0), Word(tone(800, 0.9), RATE, 8, "bob", 1)], channels=16)
    assert data.x.shape == (2, 50, 16) and data.y.tolist() == [3, 8] and data.timed
    assert data.x[0, 12:].sum() == 0 and data.x[1, -1].sum() > 0
    assert len(heard([])) == 0
    with pytest.raises(InputError, match="less than a step"):
        heard([], duration=1e-3)


def test_words_are_converted_once(tmp_path, monkeypatch):
    words = [Word(tone(300, 0.1), RATE, 3, "ann", 0), Word(tone(800, 0.9), RATE, 8, "bob", 1)]
    fresh = heard(words, channels=16, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    calls = []
    real = spoken.cochlea
    monkeypatch.setattr(spoken, "cochlea", lambda *a, **k: calls.append(1) or real(*a, **k))
    again = heard(words, channels=16, cache=tmp_path / "cache")
    assert calls == [] and torch.equal(again.x, fresh.x) and torch.equal(again.y, fresh.y)
    assert torch.equal(heard(words, channels=16).x, fresh.x)
    calls.clear()
    # Whatever the spikes depend on makes another file.
    louder = [words[0]._replace(wave=words[0].wave * np.float32(0.5)), words[1]]
    for other in (
        {"words": words, "channels": 8},
        {"words": words, "channels": 16, "dt": 5e-3},
        {"words": words, "channels": 16, "duration": 0.4},
        {"words": words[::-1], "channels": 16},
        {"words": louder, "channels": 16},
        {"words": [words[0]._replace(rate=RATE * 2.0), words[1]], "channels": 16},
    ):
        before = len(calls)
        heard(**other, cache=tmp_path / "cache")
        assert len(calls) == before + 2
    # A damaged file is written anew.
    for content in (b"", file.read_bytes()[:200], b"no file of numbers"):
        file.write_bytes(content)
        before = len(calls)
        assert torch.equal(heard(words, channels=16, cache=tmp_path / "cache").x, fresh.x)
        assert len(calls) == before + 2


def test_spikes_of_shd_are_counted_and_late_ones_cut(tmp_path):
    path = tmp_path / "shd_train.h5"
    times, units = [[0.0005, 0.003, 0.0095, 0.5, 1.2], [0.999]], [[4, 4, 699, 0, 1], [3]]
    with h5py.File(path, "w") as file:
        group = file.create_group("spikes")
        for name, values, kind in (("times", times, np.float32), ("units", units, np.uint16)):
            rows = group.create_dataset(name, (2,), dtype=h5py.vlen_dtype(kind))
            for n, row in enumerate(values):
                rows[n] = np.array(row, dtype=kind)
        file["labels"] = np.array([3, 17], dtype=np.uint8)
    data = read_shd(path)
    assert data.x.shape == (2, 100, 700) and data.y.tolist() == [3, 17] and len(data.classes) == 20
    assert data.x[0, 0, 4] == 2 and data.x[0, 0, 699] == 1 and data.x[0, 50, 0] == 1 and data.x[0].sum() == 4
    assert data.x[1, 99, 3] == 1 and data.x[1].sum() == 1
    assert torch.equal(read_shd(path, samples=[1]).x, data.x[1:])
    with pytest.raises(FileError, match=r"missing\.h5: there is no such file"):
        read_shd(tmp_path / "missing.h5")
    with pytest.raises(InputError, match=r"samples holds 2; the file has the samples 0 to 1"):
        read_shd(path, samples=[2])
