from __future__ import annotations

import gzip
import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from neurosim.datasets import card, fashion_mnist, load_idx, mnist
from neurosim.errors import FileError, InputError

PARTS = {"train": 6, "test": 4}


def as_idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def contents(part: str) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(PARTS[part])
    images = draw.integers(0, 256, (PARTS[part], 28, 28), dtype=np.uint8)
    images[0, 0, :2] = 0, 255
    return images, draw.integers(0, 10, PARTS[part], dtype=np.uint8)


def write(folder, name: str, values: np.ndarray, *, packed: bool) -> bytes:
    folder.mkdir(parents=True, exist_ok=True)
    data = gzip.compress(as_idx(values), mtime=0) if packed else as_idx(values)
    (folder / (name if packed else name.removesuffix(".gz"))).write_bytes(data)
    return data


@pytest.fixture
def small(tmp_path):
    """A dataset as MNIST is, but of ten images, in `tmp_path/mnist`; and the card that describes it."""
    about = card("mnist")
    files = []
    for file in about.files:
        values = contents(file.part)[file.holds == "labels"]
        data = write(tmp_path / "mnist", file.name, values, packed=True)
        unpacked = hashlib.sha256(as_idx(values)).hexdigest()
        files.append(replace(file, sha256=hashlib.sha256(data).hexdigest(), sha256_unpacked=unpacked))
    return replace(about, counts=PARTS, files=tuple(files))


def test_images_and_labels_come_back(tmp_path, small):
    data = load_idx(small, tmp_path)
    assert data.card is small
    for part, labelled in (("train", data.train), ("test", data.test)):
        images, labels = contents(part)
        assert labelled.x.dtype == torch.float32 and labelled.x.shape == (PARTS[part], 1, 28, 28)
        assert np.array_equal(labelled.x[:, 0].numpy(), images.astype(np.float32) / np.float32(255))
        assert labelled.x.min() == 0 and labelled.x.max() == 1
        assert labelled.y.dtype == torch.int64 and labelled.y.tolist() == labels.tolist()
    assert data.flat().train.x.shape == (6, 784)


@pytest.mark.parametrize("where", ["mnist", "MNIST/raw", "."])
@pytest.mark.parametrize("packed", [True, False])
def test_usual_places_are_looked_at(tmp_path, small, where, packed):
    root = tmp_path / "elsewhere"
    for file in small.files:
        write(root / where, file.name, contents(file.part)[file.holds == "labels"], packed=packed)
    assert load_idx(small, root).test.y.tolist() == contents("test")[1].tolist()


def test_the_argument_wins_over_the_environment(tmp_path, small, monkeypatch):
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path))
    assert len(load_idx(small).train) == 6
    with pytest.raises(FileError, match=r"not found below .*empty"):
        load_idx(small, tmp_path / "empty")
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path / "empty"))
    assert len(load_idx(small, tmp_path).train) == 6


@pytest.mark.parametrize("value", [None, ""])
def test_no_root_at_all_says_what_to_set(monkeypatch, value):
    if value is None:
        monkeypatch.delenv("NEUROSIM_DATA", raising=False)
    else:
        monkeypatch.setenv("NEUROSIM_DATA", value)
    with pytest.raises(
        FileError, match=r"give `root` or set the environment variable NEUROSIM_DATA to the folder that"
    ):
        mnist()


@pytest.mark.parametrize(("load", "source"), [(mnist, "yann.lecun.com"), (fashion_mnist, "zalandoresearch")])
def test_missing_files_are_listed_with_their_source(tmp_path, load, source):
    with pytest.raises(FileError, match=r"t10k-labels-idx1-ubyte\.gz") as caught:
        load(tmp_path)
    about = card(load.__name__)
    assert all(file.name in str(caught.value) for file in about.files)
    assert about.download in str(caught.value) and source in str(caught.value)


def test_one_missing_file_is_named(tmp_path, small):
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileError, match=r"mnist lacks t10k-labels-idx1-ubyte\.gz\. Get them from"):
        load_idx(small, tmp_path)


@pytest.mark.parametrize("packed", [True, False])
def test_another_file_of_the_same_name_is_noticed(tmp_path, small, packed):
    labels = np.zeros(6, np.uint8)
    if not packed:
        (tmp_path / "mnist" / "train-labels-idx1-ubyte.gz").unlink()
    data = write(tmp_path / "mnist", "train-labels-idx1-ubyte.gz", labels, packed=packed)
    with pytest.raises(FileError, match=rf"its sha256 is {hashlib.sha256(data).hexdigest()}, expected .*verify=False"):
        load_idx(small, tmp_path)
    assert load_idx(small, tmp_path, verify=False).train.y.tolist() == [0] * 6


def test_where_the_card_states_no_digest_none_is_checked(tmp_path, small):
    small = replace(small, files=tuple(replace(file, sha256=None) for file in small.files))
    write(tmp_path / "mnist", "train-labels-idx1-ubyte.gz", np.zeros(6, np.uint8), packed=True)
    assert load_idx(small, tmp_path).train.y.tolist() == [0] * 6


def test_mnist_s_own_loader_checks_the_official_digests(tmp_path, small):
    with pytest.raises(FileError, match="expected 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"):
        mnist(tmp_path)
    assert len(mnist(tmp_path, verify=False).test) == 4
    with pytest.raises(FileError, match="expected 3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"):
        fashion_mnist(tmp_path / "mnist")  # MNIST's files lie there under the same names
    assert fashion_mnist(tmp_path / "mnist", verify=False).train.classes[9] == "Ankle boot"


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("train-images-idx3-ubyte.gz", np.zeros((6, 28, 27), np.uint8), r"shape \(28, 27\), expected \(1, 28, 28\)"),
        ("train-images-idx3-ubyte.gz", np.zeros((5, 28, 28), np.uint8), r"holds 5 samples, but .* holds 6 labels"),
        (
            "train-labels-idx1-ubyte.gz",
            np.zeros((6, 1), np.uint8),
            r"shape \(6, 1\), expected integers",
        ),
        ("train-labels-idx1-ubyte.gz", np.full(6, 10, np.uint8), r"labels from 10 to 10, expected 0 to 9"),
    ],
)
def test_contents_that_do_not_fit_the_card_are_refused_even_unverified(tmp_path, small, name, values, message):
    write(tmp_path / "mnist", name, values, packed=True)
    with pytest.raises(FileError, match=message):
        load_idx(small, tmp_path, verify=False)


def test_values_above_the_card_s_scale_are_refused(tmp_path, small):
    with pytest.raises(FileError, match="values from 0 to 255, expected 0 to 16"):
        load_idx(replace(small, scale=16.0), tmp_path)


def test_a_wrong_number_of_samples_is_refused_unless_told_otherwise(tmp_path, small):
    more = replace(small, counts={"train": 7, "test": 4})
    with pytest.raises(FileError, match=r"holds 6 samples, expected 7.*verify=False"):
        load_idx(more, tmp_path)
    assert len(load_idx(more, tmp_path, verify=False).train) == 6


def test_a_truncated_file_is_named(tmp_path, small):
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileError, match=r"t10k-images-idx3-ubyte\.gz ends early"):
        load_idx(small, tmp_path, verify=False)


def test_a_file_that_may_not_be_read_is_named(tmp_path, small, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("neurosim.datasets.places.open", refuse, raising=False)
    with pytest.raises(FileError, match=r"cannot read .*train-images.*: Permission denied\. Check its permissions"):
        load_idx(small, tmp_path)


def test_a_card_that_is_not_idx_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"card 'digits' has format 'scikit-learn' .*load_idx needs idx"):
        load_idx(card("digits"), tmp_path)
