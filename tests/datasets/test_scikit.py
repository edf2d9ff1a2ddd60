from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest
import torch

from neurosim.datasets import card, digits
from neurosim.errors import FileError


@pytest.fixture(scope="module")
def data():
    return digits()


def test_the_parts_are_those_of_the_card(data):
    assert {"train": len(data.train), "test": len(data.test)} == card("digits").counts == {"train": 1437, "test": 360}
    for part in (data.train, data.test):
        assert part.x.dtype == torch.float32 and part.x.shape == (len(part), 1, 8, 8)
        assert part.x.min() == 0 and part.x.max() == 1
        assert part.classes == tuple("0123456789")
    assert data.test.y.bincount().tolist() == [36] * 10


def test_no_sample_is_lost_or_in_both_parts(data):
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    whole = sorted((*row.astype(int), label) for row, label in zip(pixels, labels, strict=True))
    ours = [
        (*(16 * x).flatten().int().tolist(), int(y))
        for part in (data.train, data.test)
        for x, y in zip(part.x, part.y, strict=True)
    ]
    assert sorted(ours) == whole


# The split is part of what an accuracy means: it must never change, on any version of numpy or scikit-learn.
@pytest.mark.parametrize(
    ("part", "digest"),
    [
        ("train", "3be13145d1eb4593cc2ebc8e20accadc309c0e1d6b14882d8930617cc7cec1c2"),
        ("test", "5becaef9c969bed20d1bad0e1b5a0e69c964a8727061ce989816eaf224b950ef"),
    ],
)
def test_the_split_never_changes(data, part, digest):
    labelled = getattr(data, part)
    stored = (16 * labelled.x).to(torch.uint8).numpy().tobytes() + labelled.y.to(torch.uint8).numpy().tobytes()
    assert hashlib.sha256(stored).hexdigest() == digest


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(FileError, match=r"ship with scikit-learn.*pip install 'neurosim-toolkit\[data\]'"):
        digits()


def test_other_data_is_refused(monkeypatch):
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda return_X_y: (np.zeros((10, 64)), np.zeros(10)))
    with pytest.raises(FileError, match=r"shape \(10, 64\) .*expected \(1797, 64\) and 0 to 16"):
        digits()
