"""A dataset is loaded by its card, whatever its format."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neurosim.datasets import cards, dataset_names, digits, load, loading, mnist
from neurosim.errors import FileError
from tests.cli.test_choices import write_card


def test_every_format_of_a_card_has_a_reader() -> None:
    assert set(loading._READERS) == set(cards.FORMATS)


def test_a_bundled_dataset_is_loaded_by_its_name() -> None:
    assert torch.equal(load("digits").test.x, digits().test.x)
    assert "mnist" in dataset_names()


def test_a_card_of_the_users_is_loaded_by_its_path(tmp_path: Path) -> None:
    data = load(write_card(tmp_path), tmp_path)
    assert len(data.train) == 30 and data.train.x.shape[1:] == (1, 4, 4) and data.card.name == "noise"


def test_missing_files_are_those_of_the_function_of_the_dataset(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        load("mnist", tmp_path)
    with pytest.raises(FileError) as same:
        mnist(tmp_path)
    assert str(caught.value) == str(same.value)


def test_another_card_cannot_claim_the_format_of_the_digits(tmp_path: Path) -> None:
    card = write_card(tmp_path)
    card.write_text(card.read_text().replace('format = "idx"', 'format = "scikit-learn"'))
    with pytest.raises(FileError, match=r"that of the digits alone; got name = 'noise'"):
        load(card)
