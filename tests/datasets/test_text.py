"""Characters of a file as numbers, in streams that go on from window to window."""

from __future__ import annotations

import pytest
import torch

from neurosim.datasets.text import Text, read_text
from neurosim.errors import FileError, InputError

WORDS = "to be, or not to be: that is the question.\n"


def test_a_text_is_found_and_numbered(tmp_path):
    folder = tmp_path / "tinyshakespeare"
    folder.mkdir()
    (folder / "input.txt").write_text(WORDS + "é", encoding="utf-8")
    for place in (tmp_path, folder, folder / "input.txt"):
        text = read_text(place)
        assert "".join(text.alphabet[code] for code in text.codes) == WORDS + "é"
    assert list(text.alphabet) == sorted(set(WORDS + "é"))


def test_texts_that_cannot_be_read(tmp_path):
    with pytest.raises(FileError, match=r"no text at .*: give a text file, or a folder that holds it as input\.txt"):
        read_text(tmp_path)
    (tmp_path / "input.txt").write_bytes(b"")
    with pytest.raises(FileError, match="is empty"):
        read_text(tmp_path)
    (tmp_path / "input.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="Give a text file in UTF-8"):
        read_text(tmp_path)


def test_a_split_shares_the_alphabet():
    first, rest = Text.of(WORDS).split(0.75)
    assert first.alphabet == rest.alphabet and len(first.codes) == 32
    assert torch.equal(torch.cat((first.codes, rest.codes)), Text.of(WORDS).codes)
    with pytest.raises(InputError, match="share must lie between 0 and 1"):
        Text.of(WORDS).split(1.0)


def test_each_stream_goes_on_and_is_followed_by_its_next_character():
    text = Text.of(WORDS)
    windows = list(text.windows(batch=3, steps=5))
    x, y = (torch.cat(parts) for parts in zip(*windows, strict=True))
    length = (len(text.codes) - 1) // 3
    assert len(windows) == length // 5
    for b in range(3):
        stream = text.codes[b * length : (b + 1) * length + 1]
        assert torch.equal(x[:, b], stream[: len(x)]) and torch.equal(y[:, b], stream[1 : len(x) + 1])
    with pytest.raises(InputError, match="43 characters give 20 streams of 2, less than a window of 5"):
        next(text.windows(batch=20, steps=5))
