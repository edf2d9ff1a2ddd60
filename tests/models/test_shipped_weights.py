"""Shipped weights: what their card says holds, and damaged files are refused by name."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
import torch

import neurosim as ns
from neurosim.datasets import digits, rate
from neurosim.errors import FileError
from neurosim.models import digits_network, pretrained, pretrained_names, weight_card
from neurosim.models.shipped_weights import LARGEST, load_weights


@pytest.fixture
def copied(root: Path, tmp_path: Path) -> Path:
    """Return the card of a copy of the shipped weights."""
    for ending in ("toml", "pt"):
        shutil.copy(root / "pretrained" / f"digits.{ending}", tmp_path)
    return tmp_path / "digits.toml"


def changed(card: Path, key: str, value: str) -> Path:
    text = card.read_text(encoding="utf-8")
    card.write_text(re.sub(rf"^{key} = .*$", f'{key} = "{value}"', text, count=1, flags=re.M), encoding="utf-8")
    return card


def test_the_digits_network_has_the_accuracy_of_its_card() -> None:
    test = digits().flat().test
    net = pretrained("digits")
    stated = [float(value) for value in re.findall(r"\d\d\.\d\d", weight_card("digits").accuracy)]
    measured = [
        100
        * ns.evaluate(net, test.batches(360, encoder=rate(25, max_rate=1000.0, dt=1e-3), seed=seed, shuffle=False))[
            "accuracy"
        ]
        for seed in (0, 1, 2)
    ]
    assert measured == pytest.approx(stated, abs=0.6)  # two images: sums of another order on another processor
    assert not net.training


def test_every_card_has_weights_under_the_limit(root: Path) -> None:
    assert pretrained_names() == ("digits",)
    for name in pretrained_names():
        card = weight_card(name)
        assert card.name == name and (root / "pretrained" / card.file).stat().st_size < LARGEST
        assert card.script.split()[1] == "examples/pretrained_digits.py" and "CC BY-SA" not in card.data_licence
        pretrained(name)


@pytest.mark.parametrize("place", [0, 1000, 40_000, -1])
def test_one_wrong_bit_is_refused_by_name(copied: Path, place: int) -> None:
    file = copied.with_name("digits.pt")
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        FileError, match=r"digits\.pt is damaged, or not the file of its card: its sha256 is [0-9a-f]{64}"
    ):
        load_weights(copied)


def test_short_missing_and_long_files_are_refused_by_name(copied: Path) -> None:
    file = copied.with_name("digits.pt")
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    with pytest.raises(FileError, match=r"digits\.pt is damaged"):
        load_weights(copied)
    file.write_bytes(content + bytes(LARGEST))
    with pytest.raises(FileError, match="2,000,000 are allowed"):
        load_weights(copied)
    file.unlink()
    with pytest.raises(FileError, match=r"digits\.pt: there is no such file"):
        load_weights(copied)


def test_weights_of_another_network_are_refused_by_name(copied: Path) -> None:
    file = copied.with_name("digits.pt")
    for net in (
        ns.Sequential(ns.Linear(64, 20), ns.LIF(dt=1e-3), ns.Linear(20, 10), ns.LI(dt=1e-3), names=["hidden", "out"]),
        ns.Sequential(ns.Linear(64, 256), ns.LIF(dt=1e-3), ns.Linear(256, 10), ns.LI(dt=1e-3), names=["hidden", "out"]),
    ):
        ns.save_checkpoint(file, net)
        changed(copied, "sha256", hashlib.sha256(file.read_bytes()).hexdigest())
        with pytest.raises(FileError, match=r"digits\.pt does not fit the network of its card, digits_network"):
            load_weights(copied)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("network", "vgg11", "must be one of digits_network"),
        ("file", "../digits.pt", "the name of a file beside the card"),
        ("file", "", "the name of a file beside the card"),
    ],
)
def test_cards_that_name_something_else_are_refused(copied: Path, key: str, value: str, said: str) -> None:
    with pytest.raises(FileError, match=said):
        load_weights(changed(copied, key, value))


def test_cards_with_missing_unknown_or_wrong_entries_are_refused(copied: Path) -> None:
    text = copied.read_text(encoding="utf-8")
    for wrong, said in (
        (text.replace("title =", "titel ="), "unknown entry 'titel'"),
        (text.replace("note =", "# note ="), "'note' is missing"),
        (text.replace('licence = "Apache-2.0"', "licence = 2"), "licence = 2, but it must be a text"),
    ):
        copied.write_text(wrong, encoding="utf-8")
        with pytest.raises(FileError, match=said):
            load_weights(copied)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(FileError, match=r"no 'speech' among the bundled pretrained: there are digits"):
        pretrained("speech")


def test_the_weights_are_not_those_drawn() -> None:
    torch.manual_seed(0)
    drawn, trained = digits_network().state_dict(), pretrained("digits").state_dict()
    assert drawn.keys() == trained.keys() and any(not torch.equal(drawn[name], trained[name]) for name in drawn)
