"""Sets that need no network: each is read from small files of its format that the tests write; damage is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from neurosim.datasets import (
    card,
    circles,
    delay_equation,
    heartbeats,
    load,
    mackey_glass,
    mackey_glass_series,
    nmnist_files,
    packaged,
    read_ts,
    smartwatch,
    spoken_digits,
    touch,
    vowels,
    yin_yang,
    yin_yang_points,
)
from neurosim.datasets.cards import Card
from neurosim.errors import FileError, InputError
from tests.datasets.test_spoken import tone, write_wav


def of_files(name: str, folder: Path, **changes: object) -> Card:
    """Return a bundled card whose digests are those of the files in a folder."""
    about = card(name)
    files = tuple(
        dataclasses.replace(file, sha256=hashlib.sha256((folder / file.name).read_bytes()).hexdigest())
        for file in about.files
        if (folder / file.name).exists()
    )
    return dataclasses.replace(about, files=files, **changes)


# Braille


def write_braille(path: Path, labels: np.ndarray, **changes: object) -> np.ndarray:
    x = np.random.default_rng(0).integers(0, 2, (len(labels), 5, 3)).astype(np.uint8)
    stored = {"x_packed": np.packbits(x), "shape": np.array(x.shape), "label": labels.astype(np.uint8)}
    np.savez_compressed(path, **{**stored, **changes})
    return x


def test_braille_is_unpacked_and_every_letter_is_in_every_part(tmp_path: Path) -> None:
    file = tmp_path / card("braille").files[0].name
    label = np.repeat(np.arange(7), 20)
    x = write_braille(file, label)
    parts = touch.load_braille(of_files("braille", tmp_path), tmp_path)
    assert {name: len(part) for name, part in parts.items()} == {"train": 98, "validation": 14, "test": 28}
    assert torch.bincount(parts["test"].y).tolist() == [4] * 7 and parts["test"].timed
    rows = {row.tobytes() for row in x.astype(np.float32)}
    assert {row.numpy().tobytes() for part in parts.values() for row in part.x} == rows
    assert torch.equal(touch.load_braille(of_files("braille", tmp_path), file)["test"].x, parts["test"].x)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": np.array([140, 5])}, r"shape is \[140, 5\]; three sizes"),
        ({"shape": np.array([140, 5, 4])}, r"too short or long for \[140, 5, 4\]"),
        ({"shape": np.array([2**30, 2**30, 4])}, "three sizes of at most"),
        ({"label": np.full(140, 7, np.uint8)}, "labels 0 to 6"),
        ({"label": np.zeros(139, np.uint8)}, "labels 0 to 6"),
        ({"label": np.array(["A"] * 140)}, "where numbers are expected"),
        ({"label": np.array([None] * 140)}, r"holds object|where numbers are expected"),
    ],
)
def test_readings_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    file = tmp_path / card("braille").files[0].name
    write_braille(file, np.repeat(np.arange(7), 20), **changes)
    with pytest.raises(FileError, match=message):
        touch.load_braille(of_files("braille", tmp_path), tmp_path)


def test_another_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"braille not found below .*braille7_sigma_delta_unique1158\.npz"):
        load("braille", tmp_path)
    write_braille(tmp_path / card("braille").files[0].name, np.repeat(np.arange(7), 20))
    with pytest.raises(FileError, match=r"is not the file that the card describes: its sha256 is"):
        load("braille", tmp_path)


@pytest.mark.parametrize("cut", [10, 100, -30])
def test_a_truncated_archive_of_arrays_is_refused(tmp_path: Path, cut: int) -> None:
    file = tmp_path / card("braille").files[0].name
    write_braille(file, np.repeat(np.arange(7), 20))
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(FileError, match=r"no complete \.npz file"):
        touch.load_braille(of_files("braille", tmp_path), tmp_path)


# QTDB


def write_qtdb(folder: Path, y: np.ndarray | None = None) -> None:
    draw = np.random.default_rng(0)
    for file, number in zip(card("qtdb").files, (12, 3), strict=True):
        x = draw.integers(0, 2, (number, 9, 4)).astype(np.int16)
        x[:, -1, 0] = -1
        labels = draw.integers(0, 6, (number, 9)) if y is None else np.zeros((number, 9), int)
        marks = np.eye(6, dtype=np.uint8)[labels]
        marks[:, 2] = 0  # a step without a mark
        savemat(folder / file.name, {"x": x, "y": marks if y is None else y[:number]})


def test_qtdb_has_a_label_for_each_step_and_no_artefact(tmp_path: Path) -> None:
    write_qtdb(tmp_path)
    parts = heartbeats.load_qtdb(of_files("qtdb", tmp_path), tmp_path)
    x, y = parts["train"][0]
    assert x.shape == (9, 4) and y.shape == (9,) and x.min() == 0 and y[2] == 0
    held = parts.held_out()
    assert (len(held["train"]), len(held["validation"]), len(held["test"])) == (11, 1, 3)
    assert torch.equal(held["validation"].x[0], parts["train"].x[-1])


def test_records_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_qtdb(tmp_path, np.ones((12, 9, 6), np.uint8))
    with pytest.raises(FileError, match="marks more than one class in a step"):
        heartbeats.load_qtdb(of_files("qtdb", tmp_path), tmp_path)
    write_qtdb(tmp_path, np.ones((12, 8, 6), np.uint8))
    with pytest.raises(FileError, match=r"holds x \[12, 9, 4\] and y \[12, 8, 6\]"):
        heartbeats.load_qtdb(of_files("qtdb", tmp_path), tmp_path)
    savemat(tmp_path / "QTDB_train.mat", {"z": 1})
    with pytest.raises(FileError, match="lacks the array 'x'; it has z"):
        heartbeats.load_qtdb(of_files("qtdb", tmp_path), tmp_path)
    (tmp_path / "QTDB_train.mat").write_bytes(b"no MATLAB file, but long enough for a header" * 9)
    with pytest.raises(FileError, match="no complete MATLAB file"):
        heartbeats.load_qtdb(of_files("qtdb", tmp_path), tmp_path)


# Yin-Yang


def test_yin_yang_begins_with_the_published_points() -> None:
    # The first rows of train_samples.npy and test_samples.npy, which numpy.random.RandomState gives for ever.
    parts = {"train": yin_yang_points(3, seed=42), "test": yin_yang_points(1, seed=40)}
    expected = [0.68030754, 0.45049925, 0.31969246, 0.54950075], [0.09767211, 0.68423303, 0.90232789, 0.31576697]
    assert torch.allclose(parts["train"].x[:2], torch.tensor(expected), atol=1e-7)
    assert torch.allclose(parts["test"].x[0], torch.tensor([0.23409665, 0.40172498, 0.76590335, 0.59827502]), atol=1e-7)


def test_the_points_of_a_class_lie_where_it_is() -> None:
    data = yin_yang()["validation"]
    a, b = data.x[:, 0] - 0.5, data.x[:, 1] - 0.5
    assert (a**2 + b**2 <= 0.25 + 1e-6).all() and torch.allclose(data.x[:, :2] + data.x[:, 2:], torch.ones(1))
    dots = (a.abs() - 0.25) ** 2 + b**2 < 0.01
    assert torch.equal(dots, data.y == 2)
    # Half a turn of the circle swaps yin and yang.
    turned = torch.tensor([circles._class_of(1 - p, 1 - q) for p, q in data.x[~dots, :2].tolist()])
    assert torch.equal(turned, 1 - data.y[~dots])


def test_the_files_of_yin_yang_are_read_as_they_are(tmp_path: Path) -> None:
    points = {name: yin_yang_points(4, seed=seed) for name, seed in circles.SEEDS.items()}
    for name, data in points.items():
        np.save(tmp_path / f"{name}_samples.npy", data.x.numpy().astype(np.float64))
        np.save(tmp_path / f"{name}_labels.npy", data.y.numpy())
    parts = circles.load_yin_yang(of_files("yin_yang", tmp_path), tmp_path)
    assert all(torch.equal(parts[name].x, points[name].x) for name in points)
    content = bytearray((tmp_path / "test_samples.npy").read_bytes())
    (tmp_path / "test_samples.npy").write_bytes(content.replace(b"(4, 4)", b"(9, 9)"))
    with pytest.raises(FileError, match=r"declares float64 of shape \[9, 9\], but holds 128 bytes"):
        circles.load_yin_yang(of_files("yin_yang", tmp_path), tmp_path)


# Mackey-Glass


def test_the_delayed_equation_is_solved_by_the_series() -> None:
    # An independent solution: Runge-Kutta's fourth order, the delayed value between steps by Hermite's cubic.
    delay, number = 17.0, 340
    h, past, steps = delay / number, delay_equation.PAST, number * 3
    x, slope = np.empty(steps + 1), np.empty(steps + 1)
    x[0] = past

    def change(late: float, now: float) -> float:
        return 0.2 * late / (1 + late**10) - 0.1 * now

    for i in range(steps):
        j = i - number
        a, b = (past if k < 0 else x[k] for k in (j, j + 1))
        middle = past if j < 0 else (a + b) / 2 + h / 8 * (slope[j] - slope[j + 1])
        k1 = change(a, x[i])
        k2 = change(middle, x[i] + h / 2 * k1)
        k3 = change(middle, x[i] + h / 2 * k2)
        k4 = change(b, x[i] + h * k3)
        slope[i], x[i + 1] = k1, x[i] + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    series = mackey_glass_series(50, interval=1.0)
    assert np.abs(series - x[:: number // 17][:50]).max() < 1e-8


def test_more_points_of_a_polynomial_change_rounding_alone() -> None:
    law = (0.2, 0.1, 10.0)
    one, other = (delay_equation._solved(750, 197 / 75, 17.0, 0.7206597, law, nodes) for nodes in (64, 96))
    assert np.abs(one - other)[:375].max() < 1e-9 and np.abs(one - other).max() < 1e-6


def test_the_task_is_to_predict_the_next_point() -> None:
    parts, later = mackey_glass(), mackey_glass(3)
    train, test = parts["train"], parts["test"]
    assert train.x[0].shape == test.y[0].shape == (750, 1) and train.x[0].dtype == torch.float64
    assert torch.equal(train.y[0][:-1], train.x[0][1:]) and torch.equal(train.y[0][-1], test.x[0][0])
    assert torch.equal(later["train"].x[0][:-112], train.x[0][112:])


def test_the_series_of_neurobench_is_read_by_its_path(tmp_path: Path) -> None:
    np.save(tmp_path / "mg_17.npy", mackey_glass_series(1600, interval=197 / 75))
    assert torch.equal(mackey_glass(path=tmp_path / "mg_17.npy")["test"].x[0], mackey_glass()["test"].x[0])
    with pytest.raises(FileError, match="1651 finite values in a line are needed"):
        mackey_glass(4, path=tmp_path / "mg_17.npy")
    for wrong in ({"interval": 0.0}, {"gamma": -1.0}, {"past": float("nan")}, {"delay": True}):
        with pytest.raises(InputError):
            mackey_glass_series(3, **wrong)
    with pytest.raises(InputError, match="100,000 points"):
        mackey_glass_series(10**6)


# JapaneseVowels

TS = """# a comment
@problemName Vowels
@timeStamps false
@missing false
@univariate false
@classLabel true a b
@data
1.0,2.0,3.0:4,5,6:a
-1,0.5:2,2:b
"""


def test_sequences_of_a_ts_file(tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    path.write_text(TS)
    data = read_ts(path)
    assert data.classes == ("a", "b") and [int(y) for y in data.y] == [0, 1]
    assert data.x[0].tolist() == [[1, 4], [2, 5], [3, 6]] and data.x[1].tolist() == [[-1, 2], [0.5, 2]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("@classLabel true a b", "@classLabel false", "no list of class labels"),
        ("@timeStamps false", "@timeStamps true", "timestamps or missing values"),
        ("6:a", "6:c", "line 8 ends with the label 'c'"),
        ("4,5,6", "4,5", r"line 8 has dimensions \[3, 2\]"),
        ("4,5,6", "4,?,6", "line 8: .*Missing values are not read"),
        ("4,5,6", "4,nan,6", "line 8 holds a value that is NaN"),
        ("-1,0.5:2,2", "-1,0.5", r"line 9 has dimensions \[2\]"),
        ("@problemName", "problemName", "line 2 is 'problemName Vowels', before @data"),
        ("1.0,2.0,3.0:4,5,6:a\n-1,0.5:2,2:b\n", "", "holds no sequences"),
    ],
)
def test_a_ts_file_that_is_damaged_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "x.ts"
    path.write_text(TS.replace(old, new))
    with pytest.raises(FileError, match=message):
        read_ts(path)


def write_vowels(folder: Path) -> None:
    names = " ".join(map(str, range(1, 10)))
    for file, each in (("JapaneseVowels_TRAIN.ts", 30), ("JapaneseVowels_TEST.ts", 1)):
        rows = [":".join([f"{k},{n}"] * 12 + [str(k)]) for k in range(1, 10) for n in range(each)]
        (folder / file).write_text("\n".join([f"@classLabel true {names}", "@data", *rows]))


def test_the_last_sequences_of_each_speaker_are_held_out(tmp_path: Path) -> None:
    write_vowels(tmp_path)
    about = of_files("japanese_vowels", tmp_path, counts={"train": 270, "test": 9})
    held = vowels.load_ts(about, tmp_path).held_out()
    assert (len(held["train"]), len(held["validation"]), len(held["test"])) == (216, 54, 9)
    assert sorted({int(x[1, 0]) for x in held["validation"].x}) == [24, 25, 26, 27, 28, 29]
    with pytest.raises(FileError, match="test has 9 sequences, expected 370"):
        vowels.load_ts(of_files("japanese_vowels", tmp_path), tmp_path)


def test_the_files_of_an_installed_package_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "aeon" / "datasets" / "data" / "JapaneseVowels"
    folder.mkdir(parents=True)
    (tmp_path / "aeon" / "__init__.py").write_text("raise RuntimeError('the package is not imported')")
    write_vowels(folder)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("NEUROSIM_DATA", raising=False)
    assert packaged.packaged("aeon", "datasets/data/JapaneseVowels") == folder
    about = of_files("japanese_vowels", folder, counts={"train": 270, "test": 9})
    assert len(vowels.load_ts(about)["train"]) == 270
    assert packaged.packaged("no_such_package_at_all", "data") is None


# The smartwatch


def write_exercises(path: Path, content: object | None = None) -> None:
    persons = np.arange(1, 11).repeat(2)
    x = [np.full((4 + k % 3, 6), k, float) for k in range(20)]
    stored = {"X": x, "y": np.arange(20) % 7, "subject": persons} if content is None else content
    stream = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(stream, header)
    path.write_bytes(stream.getvalue() + pickle.dumps(np.array(stored, dtype=object), protocol=2))


def test_persons_of_the_smartwatch_are_in_one_part_each(tmp_path: Path) -> None:
    write_exercises(tmp_path / "watch_dataset.npy")
    parts = smartwatch.load_exercises(of_files("exercises", tmp_path), tmp_path)
    assert {name: sorted(set(part.groups), key=int) for name, part in parts.items()} == {
        "train": list("12345"),
        "validation": list("67"),
        "test": ["8", "9", "10"],
    }
    assert parts["train"].x[3].tolist() == [[3.0] * 6] * 4 and parts.held_out() is parts


def test_a_pickle_of_another_digest_or_with_another_name_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "watch_dataset.npy"
    write_exercises(path)
    with pytest.raises(FileError, match="is not the file that the card describes"):
        load("exercises", tmp_path)
    unknown = dataclasses.replace(
        card("exercises"), files=(dataclasses.replace(card("exercises").files[0], sha256=None),)
    )
    with pytest.raises(FileError, match="is a pickle; state its sha256"):
        smartwatch.load_exercises(unknown, tmp_path)
    touched = tmp_path / "touched"
    write_exercises(path, {"X": touched.touch})  # a bound method: unpickled by getattr
    with pytest.raises(FileError, match="which is not loaded"):
        smartwatch.load_exercises(of_files("exercises", tmp_path), tmp_path)
    assert not touched.exists()


# Spoken digits


@pytest.mark.parametrize("place", ["fsdd", "fsdd/recordings", "recordings", "."])
def test_spoken_digits_are_split_by_their_takes(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    for take in (0, 4, 5, 9, 10, 49):
        write_wav(folder / f"3_ann_{take}.wav", tone(300, 0.01))
    parts = spoken_digits(tmp_path).held_out()
    takes = {name: [word.take for word in part] for name, part in parts.items()}
    assert takes == {"train": [10, 49], "validation": [5, 9], "test": [0, 4]}


def test_spoken_digits_in_an_archive_and_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEUROSIM_DATA", raising=False)
    with pytest.raises(FileError, match="no folder to read spoken_digits from"):
        spoken_digits()
    with pytest.raises(FileError, match=r"no recordings such as 7_jackson_0\.wav below"):
        spoken_digits(tmp_path)
    (tmp_path / "fsdd").mkdir()
    write_wav(tmp_path / "7_bob_5.wav", tone(300, 0.01))
    with tarfile.open(tmp_path / "fsdd" / "fsdd_all.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "7_bob_5.wav", "recordings/7_bob_5.wav")
    assert [word.speaker for word in spoken_digits(tmp_path)["train"]] == ["bob"]
    assert len(spoken_digits(tmp_path / "fsdd" / "fsdd_all.tar.xz")["train"]) == 1


# N-MNIST


def recording(*events: tuple[int, int, int, int]) -> bytes:
    return b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for x, y, p, t in events)


def write_small(folder: Path, packed: bool = False) -> None:
    (folder / "train1K.txt").write_text("#sample #class\n1\t5\n2\t0\n")
    (folder / "test100.txt").write_text("#sample #class\n60001 7\n")
    files = {"1": [(3, 5, 1, 256), (0, 33, 0, 70000)], "2": [(1, 1, 0, 9)], "60001": [(2, 2, 1, 7)]}
    for name, events in files.items():
        (folder / f"{name}.bs2").write_bytes(recording(*events))
    if packed:
        with tarfile.open(folder / "small.tar.xz", "w:xz") as archive:
            for name in files:
                archive.add(folder / f"{name}.bs2", f"NMNISTsmall/{name}.bs2")
                (folder / f"{name}.bs2").unlink()


@pytest.mark.parametrize("packed", [False, True])
def test_the_small_part_of_nmnist(tmp_path: Path, packed: bool) -> None:
    write_small(tmp_path, packed)
    parts = nmnist_files.nmnist_small(tmp_path)
    train = parts["train"]
    assert train.y.tolist() == [5, 0] and train.events.offsets.tolist() == [0, 2, 3]
    assert train.events.t.tolist() == [256, 70000, 9] and train.events.y.tolist() == [5, 33, 1]
    assert train.events.p.tolist() == [1, 0, 0] and parts["test"].y.tolist() == [7]


def test_damaged_recordings_and_lists_are_refused(tmp_path: Path) -> None:
    write_small(tmp_path)
    for content, message in (
        (b"1234", "1.bs2 is 4 bytes long"),
        (recording((34, 0, 0, 1)), r"recordings of nmnist_small: .*x\[0\] = 34"),
        (recording((1, 0, 0, 9), (1, 0, 0, 8)), "recordings of nmnist_small: .*before event 0"),
    ):
        (tmp_path / "1.bs2").write_bytes(content)
        with pytest.raises(FileError, match=message):
            nmnist_files.nmnist_small(tmp_path)
    (tmp_path / "1.bs2").unlink()
    with pytest.raises(FileError, match=r"lacks 1 recordings, such as 1\.bs2"):
        nmnist_files.nmnist_small(tmp_path)
    (tmp_path / "train1K.txt").write_text("1 five\n")
    with pytest.raises(FileError, match="line 1 is '1 five'"):
        nmnist_files.nmnist_small(tmp_path)
    with pytest.raises(FileError, match="nmnist_small not found below"):
        nmnist_files.nmnist_small(tmp_path / "elsewhere")


def test_nmnist_is_read_file_by_file(tmp_path: Path) -> None:
    for place in ("Train/0/00002", "Train/0/00010", "Train/7/00001", "Test/3/00005"):
        part, digit, name = place.split("/")
        folder = tmp_path / "nmnist" / part / digit
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.bin").write_bytes(recording((int(digit), 5, 1, 256)))
    parts = load("nmnist", tmp_path)
    assert parts["train"].y.tolist() == [0, 0, 7] and parts["test"].y.tolist() == [3]
    events, label = parts["train"][2]
    assert events.x.tolist() == [7] and label == 7 and events.shape == (2, 34, 34)
    assert nmnist_files.last_tenth(torch.tensor([0] * 10 + [1] * 25)).nonzero()[:, 0].tolist() == [9, 33, 34]
