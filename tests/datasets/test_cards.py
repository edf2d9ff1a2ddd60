from __future__ import annotations

import dataclasses

import pytest

from neurosim.datasets import card
from neurosim.errors import FileError
from neurosim.files.bundled import data_files

A_CARD = """
name = "kmnist"
title = "Kuzushiji"
source = "https://example.org/kmnist"
download = "https://example.org/kmnist/files"
licence = "CC BY-SA 4.0"
citation = "Someone (2018)"
format = "idx"
shape = [1, 28, 28]
classes = ["o", "ki"]
split = "theirs"

[counts]
train = 6
test = 4

[[files]]
name = "train.gz"
part = "train"
holds = "images"
"""


def written(folder, text):
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", data_files("datasets"), ids=lambda path: path.stem)
def test_every_bundled_card_is_whole(path):
    about = card(path.stem)
    assert about.name == path.stem
    assert about.path == path
    assert about.source.startswith("http")
    assert len(set(about.classes)) == len(about.classes)
    assert {"train", "test"} <= set(about.counts) or len(about.counts) == 1
    assert about.validation
    assert all((about.title, about.licence, about.citation, about.download, about.split))


def test_the_facts_of_mnist():
    about = card("mnist")
    assert about.shape == (1, 28, 28)
    assert about.counts == {"train": 60000, "test": 10000}
    assert about.files[0].name == "train-images-idx3-ubyte.gz"
    assert about.files[0].sha256 == "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    assert {(file.part, file.holds) for file in about.files} == {
        (part, holds) for part in ("train", "test") for holds in ("images", "labels")
    }


def test_a_card_says_where_its_digests_come_from():
    assert "not verified by us" in card("fashion_mnist").note.lower()
    assert "computed by us" in card("mnist").note


def test_a_card_of_ones_own_is_read_from_its_path(tmp_path):
    path = written(tmp_path, A_CARD)
    about = card(path)
    assert about == card(str(path))
    assert (about.name, about.folders, about.scale, about.note) == ("kmnist", ("kmnist",), 1.0, "")
    assert about.files[0].sha256 is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        about.name = "other"  # type: ignore[misc]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(FileError, match=r"no 'kmnist' among the bundled datasets: .*mnist.*path, ending in \.toml"):
        card("kmnist")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Kuzushiji"\n', "", r"'title' is missing; it is a text"),
        ("[counts]\ntrain = 6\ntest = 4\n", "", r"'counts' is missing; it is a table of sample numbers"),
        ("split =", "spilt =", r"unknown entry 'spilt'; a card has name, title"),
        ("[1, 28, 28]", "[1, 0]", r"shape = \[1, 0\], but it must be a list of sizes"),
        ("[1, 28, 28]", "28", r"shape = 28, but it must be a list of sizes"),
        ('["o", "ki"]', '["o", 1]', r"classes = \['o', 1\], but it must be a list of texts"),
        ("train = 6", "train = -6", r"counts = .*-6.* must be a table of sample numbers"),
        ("shape", "scale = 0\nshape", r"scale = 0, but it must be a positive number"),
        ("shape", "scale = true\nshape", r"scale = True, but it must be a positive number"),
        ('"theirs"', "1", r"split = 1, but it must be a text"),
        ('format = "idx"', 'format = "pickle"', r"format = 'pickle', but it must be one of braille, .*idx"),
        ('part = "train"', 'part = "dev"', r"file 'train.gz': part = 'dev' is not among the counts: train, test"),
        ('holds = "images"', 'holds = "sounds"', r"holds = 'sounds', but it must be images or labels"),
        ('holds = "images"', "", r"file 'train.gz': has the entries 'name', 'part'; it needs name, part and holds"),
        ('holds = "images"', "holds = 1", r"all are texts"),
        ('holds = "images"', 'holds = "images"\nsha1 = ""', r"'sha1'; it needs name, part and holds"),
        ('holds = "images"', 'holds = "images"\nsha256 = "?"', r"sha256 = '\?' is not 64 hexadecimal digits"),
        ('"train.gz"', '"../train.gz"', r"a file name without folders is needed"),
    ],
)
def test_a_faulty_card_is_refused_by_entry(tmp_path, old, new, message):
    assert old in A_CARD
    with pytest.raises(FileError, match=rf"card .*own\.toml.*{message}"):
        card(written(tmp_path, A_CARD.replace(old, new, 1)))
