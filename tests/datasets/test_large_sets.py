"""Sets that are too large to be here: each loader reads small files of the same layout, which the tests write."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat
from torch.utils.data import DataLoader

from neurosim.datasets import (
    Labelled,
    adding,
    cameras,
    card,
    delayed_match,
    digits,
    load,
    oxford,
    pixel_by_pixel,
    sequences,
    spoken_events,
    tiny_text,
    wearables,
)
from neurosim.datasets.events import SensorEvents, write_events
from neurosim.errors import FileError, InputError
from neurosim.learning import pad
from tests.datasets.test_images import as_idx
from tests.datasets.test_small_sets import of_files, recording
from tests.datasets.test_spoken import tone, write_wav

# Heidelberg


def write_spoken(path: Path, labels: list[int], speakers: list[int] | None) -> None:
    with h5py.File(path, "w") as file:
        for name, of in (("times", "f2"), ("units", "u2")):
            rows = file.create_dataset(f"spikes/{name}", (len(labels),), dtype=h5py.vlen_dtype(np.dtype(of)))
            for n in range(len(labels)):
                rows[n] = np.array([0.25, 0.5], of) if name == "times" else np.array([n, 699], of)
        file["labels"] = np.array(labels)
        if speakers is not None:
            file["extra/speaker"] = np.array(speakers, "u2")


def test_the_digits_of_heidelberg_hold_out_whole_speakers(tmp_path: Path) -> None:
    (tmp_path / "shd").mkdir()
    write_spoken(tmp_path / "shd" / "shd_train.h5", [0, 19, 3, 4], [2, 10, 9, 2])
    write_spoken(tmp_path / "shd" / "shd_test.h5", [7], [4])
    parts = load("shd", tmp_path)
    train = parts["train"]
    assert train.events.t.tolist() == [250_000, 500_000] * 4 and train.events.x.tolist()[2:4] == [1, 699]
    assert train.groups == ("2", "10", "9", "2") and parts["test"].y.tolist() == [7]
    assert parts.held_out()["validation"].groups == ("10", "9") and parts.held_out()["train"].y.tolist() == [0, 4]
    task = spoken_events.shd_adding(tmp_path, batch_size=3, batches=1)
    assert isinstance(task["train"], adding.Adding) and task["test"].fixed and not task["train"].fixed
    assert next(iter(task["train"]))[0].shape == (200, 3, 700)


def test_the_commands_of_heidelberg_have_a_validation_part(tmp_path: Path) -> None:
    for name, label in (("train", 34), ("valid", 3), ("test", 0)):
        write_spoken(tmp_path / f"ssc_{name}.h5", [label], None)
    parts = load("ssc", tmp_path)
    assert [int(part.y[0]) for part in parts.values()] == [34, 3, 0] and parts.held_out() is parts
    write_spoken(tmp_path / "shd_train.h5", [20], None)
    write_spoken(tmp_path / "shd_test.h5", [0], None)
    with pytest.raises(FileError, match="labels reach 20; shd has 20 classes"):
        load("shd", tmp_path)


# Speech Commands


def write_commands(folder: Path) -> None:
    for word in ("yes", "no"):
        (folder / word).mkdir(parents=True)
        for speaker in ("aa", "bb", "cc"):
            write_wav(folder / word / f"{speaker}_nohash_0.wav", tone(300, 0.01))
    (folder / "validation_list.txt").write_text("yes/aa_nohash_0.wav\nno/aa_nohash_0.wav\n")
    (folder / "testing_list.txt").write_text("yes/bb_nohash_0.wav\n")


def test_speech_commands_are_split_by_the_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_commands(tmp_path / "speech_commands")
    parts = load("speech_commands", tmp_path)
    names = card("speech_commands").classes
    assert {
        part: [(names[y], who) for y, who in zip(each.y, each.groups, strict=True)] for part, each in parts.items()
    } == {
        "train": [("no", "bb"), ("no", "cc"), ("yes", "cc")],
        "validation": [("no", "aa"), ("yes", "aa")],
        "test": [("yes", "bb")],
    }
    with pytest.raises(FileError, match="has 8000 samples a second; 16000 are expected"):
        parts["test"][0]
    monkeypatch.setattr("neurosim.datasets.speech_words.RATE", 8000.0)
    sound, label = parts["test"][0]
    assert sound.shape == (80,) and names[label] == "yes" and sound.dtype == torch.float32
    x, _, lengths = next(iter(DataLoader(parts["train"], 3, collate_fn=pad)))
    assert x.shape == (80, 3) and lengths.tolist() == [80] * 3


def test_a_list_that_names_a_missing_recording_is_refused(tmp_path: Path) -> None:
    write_commands(tmp_path)
    (tmp_path / "testing_list.txt").write_text("yes/../../secret.wav\n")
    with pytest.raises(FileError, match=r"lacks 1 recordings of test, such as 'yes/\.\./\.\./secret\.wav'"):
        load("speech_commands", tmp_path)


# N-TIDIGITS


def write_tidigits(path: Path, **changes: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for part, people in (("train", ("man-ae", "man-bc", "woman-xy")), ("test", ("man-zz",))):
            for who in people:
                for what in ("a-o", "b-z", "a-3", "a-31z"):
                    name = f"{who}-{what}"
                    file[f"{part}_timestamps/{name}"] = changes.get("time", np.array([0.5, 0.25]))
                    file[f"{part}_addresses/{name}"] = changes.get("address", np.array([63, 1]))


def test_single_digits_of_tidigits(tmp_path: Path) -> None:
    write_tidigits(tmp_path / "n-tidigits.hdf5")
    parts = load("ntidigits", without_digests("ntidigits", tmp_path))
    train = parts["train"]
    assert len(train) == 9 and sorted(set(train.y.tolist())) == [0, 3, 10] and len(parts["test"]) == 3
    assert train.events.t[:2].tolist() == [250_000, 500_000] and train.events.x[:2].tolist() == [1, 63]
    assert set(parts.held_out()["validation"].groups) == {"woman-xy"}


def without_digests(name: str, folder: Path) -> Path:
    """Return a data root: cards without sha256 need none, so that the folder of the files serves."""
    assert all(file.sha256 is None for file in card(name).files)
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time": np.array([0.5, -0.25])}, "has times that are negative or too large"),
        ({"time": np.array([0.5])}, "not one for each of 2 addresses"),
        ({"address": np.array([64, 1])}, r"recording man-ae-a-3 of ntidigits: .*x\[1\] = 64"),
    ],
)
def test_damaged_recordings_of_tidigits_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    write_tidigits(tmp_path / "n-tidigits.hdf5", **changes)
    with pytest.raises(FileError, match=message):
        load("ntidigits", tmp_path)


# Event cameras


def write_aedat31(path: Path, times: list[int]) -> None:
    """Write polarity events as cAER does: a header of 28 bytes, then address and time of each event."""
    size = len(times)
    header = np.array([1, 1], "<i2").tobytes() + np.array([8, 4, 0, size, size, size], "<i4").tobytes()
    words = [(k << 17 | (2 * k) << 2 | 1 << 1 | 1, t) for k, t in enumerate(times)]
    head = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#End Of ASCII Header\r\n"
    path.write_bytes(head + header + np.array(words, "<i4").tobytes())


def write_gestures(folder: Path) -> None:
    users = {"train": range(1, 7), "test": (24,)}
    for part, numbers in users.items():
        trials = [f"user{number:02}_led.aedat" for number in numbers]
        (folder / f"trials_to_{part}.txt").write_text("\n".join(trials) + "\n")
        for trial in trials:
            write_aedat31(folder / trial, [100, 250, 260, 900])
            rows = "class,startTime_usec,endTime_usec\n1,200,300\n11,800,1000\n"
            (folder / trial.replace(".aedat", "_labels.csv")).write_text(rows)


def test_gestures_are_cut_from_their_trials(tmp_path: Path) -> None:
    (tmp_path / "DvsGesture").mkdir()
    write_gestures(tmp_path / "DvsGesture")
    parts = load("dvs_gesture", tmp_path)
    events, label = parts["train"][0]
    assert events.t.tolist() == [50, 60] and events.x.tolist() == [1, 2] and events.y.tolist() == [2, 4] and label == 0
    assert parts["train"].y.tolist() == [0, 10] * 6 and parts["test"].groups == ("24", "24")
    assert set(parts.held_out()["validation"].groups) == {"3", "4", "5", "6"}
    loaded = parts["test"].loaded()
    assert loaded.events.offsets.tolist() == [0, 2, 3] and loaded.frames(dt=1e-4, T=2)[1][0].sum() == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("trials_to_train.txt", "../user01_led.aedat", "names such as user01_led.aedat are expected"),
        ("user01_led_labels.csv", "head\n12,1,2\n", "class 1 to 11 and 0 <= start < end"),
        ("user01_led_labels.csv", "head\n1,5,2\n", "class 1 to 11 and 0 <= start < end"),
        ("user01_led_labels.csv", "head\n1,2\n", "line 2 is '1,2'"),
    ],
)
def test_lists_of_gestures_that_are_damaged_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    write_gestures(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(FileError, match=message):
        load("dvs_gesture", tmp_path)


def test_a_folder_for_each_class_of_event_files(tmp_path: Path) -> None:
    names = card("cifar10_dvs").classes
    for number, name in enumerate(names):
        (tmp_path / name).mkdir()
        events = SensorEvents([number, 7 + number], [0, 127], [1, 2], [1, 0], shape=(2, 128, 128))
        write_events(tmp_path / name / f"cifar10_{name}_0.bs2", events)
    parts = load("cifar10_dvs", tmp_path)
    assert len(parts["all"]) == 10 and parts["all"][3][0].t.tolist() == [3, 10]
    with pytest.raises(InputError, match="cifar10_dvs has no validation part and no rule"):
        parts.held_out()
    for name in ("accordion", "zebra"):
        (tmp_path / "Caltech101" / name).mkdir(parents=True)
        for number in (2, 10):
            content = recording((239, 179, 1, number), (0, 240, 0, 0), (0, 0, 0, 5))
            (tmp_path / "Caltech101" / name / f"image_{number}.bin").write_bytes(content)
    animals = load("ncaltech101", tmp_path)["all"]
    assert animals.classes == ("accordion", "zebra") and animals.y.tolist() == [0, 0, 1, 1]
    assert [events.t.tolist() for events, _ in (animals[0], animals[1])] == [[2, 8197], [10, 8197]]  # 2 before 10


def test_letters_in_matlab_files_and_cards_in_arrays(tmp_path: Path) -> None:
    for letter in card("asl_dvs").classes:
        (tmp_path / letter).mkdir()
        columns = {"ts": [[1], [5]], "x": [[239], [0]], "y": [[0], [179]], "pol": [[1], [0]]}
        savemat(tmp_path / letter / f"{letter}_0001.mat", {key: np.array(value) for key, value in columns.items()})
    letters = load("asl_dvs", tmp_path)["all"]
    assert len(letters) == 24 and "j" not in letters.classes and letters[5][0].y.tolist() == [0, 179]
    for part in ("train", "test"):
        for suit in card("poker_dvs").classes:
            (tmp_path / f"pips_{part}" / suit).mkdir(parents=True)
            np.save(
                tmp_path / f"pips_{part}" / suit / "0.npy", np.array([[3.0, 34.0, 0.0, 1.0], [4.0, 0.0, 34.0, 0.0]])
            )
    suits = load("poker_dvs", tmp_path)
    assert {name: len(part) for name, part in suits.items()} == {"train": 4, "test": 4}
    assert suits["test"][2][0].x.tolist() == [34, 0] and suits["test"][2][1] == 2
    np.save(tmp_path / "pips_test" / "cl" / "0.npy", np.array([[3.5, 0, 0, 1]]))
    with pytest.raises(FileError, match="t holds a value that is no integer"):
        suits["test"][0]
    np.save(tmp_path / "pips_test" / "cl" / "0.npy", np.zeros((2, 3)))
    with pytest.raises(FileError, match=r"holds \[2, 3\]; \[n, 4\]"):
        suits["test"][0]
    np.save(tmp_path / "pips_test" / "cl" / "0.npy", np.array([[3, 35, 0, 1]]))
    with pytest.raises(FileError, match=r"x\[0\] = 35"):
        suits["test"][0]


def test_folders_without_recordings_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cifar10_dvs not found below"):
        load("cifar10_dvs", tmp_path)
    (tmp_path / "airplane").mkdir()
    with pytest.raises(FileError, match="holds no recordings in the folders airplane, automobile"):
        load("cifar10_dvs", tmp_path)
    assert cameras.cifar10_dvs.__name__ == "cifar10_dvs"


# WISDM


def write_wisdm(folder: Path, people: int = 22, **changes: str) -> None:
    for sensor in ("accel", "gyro"):
        place = folder / "raw" / "watch" / sensor
        place.mkdir(parents=True, exist_ok=True)
        shift = 0 if sensor == "accel" else 25_000_000
        for person in range(1600, 1600 + people):
            rows = [f"{person},A,{k * 50_000_000 + shift},{k}.0,{2 * k},-1.0E-4;" for k in range(6)]
            rows += [f"{person},S,{10**11 + k * 50_000_000 + shift},1,1,1;" for k in range(2)]
            (place / f"data_{person}_{sensor}_watch.txt").write_text("\n".join(rows) + "\n\n")


def test_two_sensors_of_a_watch_share_their_times(tmp_path: Path) -> None:
    write_wisdm(tmp_path)
    parts = load("wisdm", tmp_path)
    train = parts["train"]
    assert train.groups == ("1600", "1600", "1601", "1601") and [int(y) for y in train.y] == [0, 17] * 2
    # The rotation begins 25 ms later: the first time of the acceleration has none.
    assert train.x[0][:, 0].tolist() == [1, 2, 3, 4, 5] and np.allclose(train.x[0][:, 3], np.arange(5) + 0.5)
    assert np.allclose(train.x[0][:, 4], 2 * np.arange(5) + 1) and np.allclose(train.x[0][:, 5], -1e-4)
    assert {name: sorted(set(part.groups))[0] for name, part in parts.items()} == {
        "train": "1600",
        "validation": "1602",
        "test": "1612",
    }


def test_a_gap_of_a_second_ends_a_sequence() -> None:
    time = np.array([0, 0.05, 0.1, 2.0, 2.05])
    table = np.column_stack([time, np.arange(5.0), np.zeros(5), np.zeros(5)])
    assert [len(each) for each in wearables._joined(table, table)] == [3, 2]
    assert wearables._joined(table, None) == [] and wearables._joined(table, table[:1]) == []
    sparse = table[[0, 4]]  # between its two times lie 2.05 s, in which nothing is interpolated
    assert [len(each) for each in wearables._joined(table, sparse)] == [1]  # its last time is one of the acceleration


@pytest.mark.parametrize("row", ["1600,N,1,1,1,1;", "1600,A,1,1,1;", "1600,A,x,1,1,1;", "1600,A,1,1,nan,1;", "1600"])
def test_a_damaged_row_of_a_watch_is_named(tmp_path: Path, row: str) -> None:
    write_wisdm(tmp_path)
    (tmp_path / "raw" / "watch" / "gyro" / "data_1600_gyro_watch.txt").write_text(f"\n{row}\n")
    with pytest.raises(FileError, match=rf"line 2 is '{row}'; person,letter,time,x,y,z; is expected"):
        load("wisdm", tmp_path)


def test_too_few_persons_are_refused(tmp_path: Path) -> None:
    write_wisdm(tmp_path, people=20)
    with pytest.raises(FileError, match="recordings of 20 persons; more than 20 are needed"):
        load("wisdm", tmp_path)


# Computed and made


def test_pixels_come_one_after_the_other() -> None:
    data = digits().test.subset(slice(0, 3))
    plain, mixed, other = (pixel_by_pixel(data, permute=seed) for seed in (None, 0, 1))
    assert torch.equal(plain.x[..., 0], data.x.flatten(1)) and plain.timed
    order = np.random.RandomState(0).permutation(64)
    assert torch.equal(mixed.x[..., 0], data.x.flatten(1)[:, order]) and not torch.equal(mixed.x, other.x)
    with pytest.raises(InputError, match="runs over time already"):
        pixel_by_pixel(plain)


def test_the_two_orders_of_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = card("mnist")
    draw = np.random.default_rng(0)
    for file in about.files:
        shape = (20, 28, 28) if file.holds == "images" else (20,)
        content = as_idx(draw.integers(0, 10, shape).astype(np.uint8))
        (tmp_path / file.name.removesuffix(".gz")).write_bytes(content)
    monkeypatch.setattr(sequences, "mnist", lambda root: load_small(root))

    def load_small(root: Path) -> object:
        from neurosim.datasets import load_idx

        files = tuple(dataclasses.replace(file, sha256=None, sha256_unpacked=None) for file in about.files)
        return load_idx(dataclasses.replace(about, files=files), root, verify=False)

    one, other = (load(name, tmp_path) for name in ("sequential_mnist", "permuted_mnist"))
    assert one["train"].x.shape == (20, 784, 1) and torch.equal(one["test"].x.sort(1)[0], other["test"].x.sort(1)[0])
    assert not torch.equal(one["test"].x, other["test"].x)


def test_delayed_match_is_decided_by_the_two_cues() -> None:
    data = delayed_match(200, channels=8, cues=3, cue=12, delay=20, rate=0.9, noise=0.0, seed=4)
    assert data.x.shape == (200, 44, 24) and set(data.x.unique().tolist()) == {0.0, 1.0}
    groups = data.x.unflatten(2, (3, 8)).sum(3)
    first, second = groups[:, :12].sum(1).argmax(1), groups[:, 32:].sum(1).argmax(1)
    assert torch.equal((first == second).long(), data.y) and 60 < int(data.y.sum()) < 140
    assert groups[:, 12:32].sum() == 0 and set(first.tolist()) == {0, 1, 2}
    assert torch.equal(delayed_match(5, seed=1).x, delayed_match(5, seed=1).x)
    assert delayed_match(2, delay=0).x.shape == (2, 20, 20)
    for wrong in ({"rate": 1.5}, {"noise": float("nan")}, {"cues": 1}, {"delay": -1}, {"rate": True}):
        with pytest.raises(InputError):
            delayed_match(2, **wrong)


def test_computed_sets_have_the_parts_of_their_cards() -> None:
    for name in ("parity", "delayed_match"):
        parts = load(name)
        assert {part: len(data) for part, data in parts.items()} == parts.card.counts
        assert all(isinstance(part, Labelled) for part in parts.values())
        rows = [{row.numpy().tobytes() for row in parts[part].x} for part in ("train", "test")]
        assert name == "parity" or not rows[0] & rows[1]


def test_trains_of_spikes_to_fit(tmp_path: Path) -> None:
    for name, t in (("input", [5, 1500, 1_888_000]), ("output", [7, 7, 20])):
        write_events(tmp_path / f"{name}.bs1", SensorEvents(t, [0, 199, 3], shape=200))
    with pytest.raises(FileError, match="is not the file that the card describes"):
        oxford(tmp_path)
    x, y = sequences.load_oxford(of_files("oxford", tmp_path), tmp_path)["train"][0]
    assert x.shape == y.shape == (1900, 200) and x.nonzero().tolist() == [[0, 0], [1, 199], [1888, 3]]
    assert y[0].nonzero()[:, 0].tolist() == [0, 3, 199]


def test_a_text_is_divided_in_one_alphabet(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("abcdefghij" * 20)
    with pytest.raises(FileError, match="is not the file that the card describes"):
        tiny_text(tmp_path)
    parts = sequences.load_text(of_files("tiny_text", tmp_path), tmp_path)
    assert [len(part.codes) for part in parts.values()] == [180, 10, 10]
    assert len({part.alphabet for part in parts.values()}) == 1 and repr(parts).endswith("validation: 10, test: 10>")
