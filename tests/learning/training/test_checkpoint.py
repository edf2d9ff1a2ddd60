from __future__ import annotations

import errno
import io
import os
import pickle
import resource
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neurosim.errors import FileError, InputError, ShapeError
from neurosim.learning import load_checkpoint, save_checkpoint
from neurosim.learning.training import checkpoint as module


def small(seed: int = 0, hidden: int = 5) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, hidden), nn.Linear(hidden, 2))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(s, t) for s, t in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the path of a checkpoint of `small(0)`."""
    save_checkpoint(tmp_path / "net.pt", small(0), notes={"classes": ["a", "b"]})
    return tmp_path / "net.pt"


def test_a_network_is_restored_bit_for_bit(saved: Path) -> None:
    net = small(1)
    assert not same(net, small(0))
    found = load_checkpoint(saved, net)
    assert same(net, small(0))
    assert found.notes == {"classes": ["a", "b"]} and found.training is None
    assert list(found.network) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_folders_are_created_and_no_other_file(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "runs" / "one" / "net.pt", small())
    assert [path.name for path in (tmp_path / "runs" / "one").iterdir()] == ["net.pt"]


def test_plain_content_is_restored_with_its_types(tmp_path: Path) -> None:
    notes: dict[str, Any] = {
        "nest": [1, 2.5, "x", None, True, (1, [2])],
        "tensor": torch.arange(3),
        "ordered": OrderedDict(a=1),
        "counter": Counter({3: 2}),
        "numpy": np.float64(0.25),
        "by number": {0: "zero"},
    }
    save_checkpoint(tmp_path / "net.pt", small(), notes=notes)
    found = load_checkpoint(tmp_path / "net.pt").notes
    assert torch.equal(found.pop("tensor"), notes.pop("tensor"))
    assert found == notes and type(found["counter"]) is Counter and type(found["numpy"]) is float


def test_values_that_need_code_to_load_are_refused_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"notes\.a\[1\]\.b is a \w*Path, which a checkpoint cannot hold without code"):
        save_checkpoint(tmp_path / "net.pt", small(), notes={"a": [1, {"b": Path("x")}]})
    with pytest.raises(InputError, match=r"notes\.f is a function"):
        save_checkpoint(tmp_path / "net.pt", small(), notes={"f": small})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot read .*none\.pt: there is no such file"):
        load_checkpoint(tmp_path / "none.pt")
    with pytest.raises(FileError, match=r"cannot read .*: it is a folder"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_named_and_left_as_it_was(saved: Path, share: float) -> None:
    whole = saved.read_bytes()
    cut = whole[: int(share * len(whole))]
    saved.write_bytes(cut)
    net = small(1)
    with pytest.raises(
        FileError, match=r"net\.pt is not a complete checkpoint .*truncated, damaged or of another kind"
    ):
        load_checkpoint(saved, net)
    assert saved.read_bytes() == cut and same(net, small(1))


def test_every_damaged_byte_is_noticed(saved: Path) -> None:
    # A byte may be one that carries no content (padding, dates); otherwise the reader must refuse.
    whole, expected = saved.read_bytes(), small(0)
    refused = 0
    for place in range(0, len(whole), 37):
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        net = small(1)
        try:
            load_checkpoint(saved, net)
        except FileError:
            refused += 1
            assert same(net, small(1))
        else:
            assert same(net, expected)
    assert refused > 20


def test_an_archive_of_excessive_size_in_memory_is_refused(saved: Path) -> None:
    # The same entries, and one of 64 MiB of zeros that takes 64 KiB of the file.
    with zipfile.ZipFile(saved) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.writestr("net/data/99", bytes(2**26))
    packed = saved.read_bytes()
    with pytest.raises(FileError, match=r"net\.pt is not a complete checkpoint \(BadZipFile\)"):
        load_checkpoint(saved)
    assert saved.read_bytes() == packed


def test_every_damaged_weight_is_noticed(saved: Path) -> None:
    weights = small(0).state_dict()["0.weight"].numpy().tobytes()
    whole = saved.read_bytes()
    start = whole.index(weights)
    for place in range(start, start + len(weights), 7):
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(FileError, match="truncated, damaged or of another kind"):
            load_checkpoint(saved)


class Bomb:
    """Writes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    content = {"format": module.FORMAT, "version": 1, "network": {}, "training": None, "notes": Bomb(tmp_path / "ran")}
    torch.save(content, tmp_path / "bomb.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    for name in ("bomb.pt", "bare.pt"):
        with pytest.raises(FileError, match=rf"{name} is not a complete checkpoint"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    torch.save({"weights": torch.ones(2)}, tmp_path / "other.pt")
    with pytest.raises(FileError, match=r"other\.pt is not a neurosim checkpoint"):
        load_checkpoint(tmp_path / "other.pt")
    with zipfile.ZipFile(tmp_path / "archive.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    (tmp_path / "text.pt").write_text("hello")
    for name in ("archive.pt", "text.pt"):
        with pytest.raises(FileError, match=rf"{name} is not a complete checkpoint"):
            load_checkpoint(tmp_path / name)


def rewritten(path: Path, **changes: Any) -> None:
    content = torch.load(path, weights_only=True)
    content.update(changes)
    torch.save({key: value for key, value in content.items() if value is not ...}, path)


def test_another_version_is_refused(saved: Path) -> None:
    rewritten(saved, version=3)
    with pytest.raises(FileError, match=r"has checkpoint version 3, this neurosim reads version 2\. Install"):
        load_checkpoint(saved)


def test_missing_parts_are_named(saved: Path) -> None:
    rewritten(saved, notes=..., training=...)
    with pytest.raises(FileError, match=r"lacks notes, training: it is not a complete checkpoint"):
        load_checkpoint(saved)
    rewritten(saved, notes={}, training=None, network={"0.weight": 3})
    with pytest.raises(FileError, match=r"holds no tensors by name"):
        load_checkpoint(saved)


def test_another_network_is_refused_by_parameter_and_unchanged(saved: Path) -> None:
    wide = small(1, hidden=6)
    with pytest.raises(ShapeError, match=r"net\.pt: '0\.weight' is \[5, 3\], in the network it is \[6, 3\]\. Build"):
        load_checkpoint(saved, wide)
    assert same(wide, small(1, hidden=6))
    with pytest.raises(InputError, match=r"holds '1\.weight', which the network does not have"):
        load_checkpoint(saved, nn.Sequential(nn.Linear(3, 5)))
    with pytest.raises(InputError, match=r"has no '2\.weight', which the network needs"):
        load_checkpoint(saved, nn.Sequential(*small(), nn.Linear(2, 2)))
    with pytest.raises(
        InputError, match=r"'0\.weight' is torch\.float32, in the network it is torch\.float64\. Convert"
    ):
        load_checkpoint(saved, small().double())


def test_a_full_disk_leaves_the_earlier_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = saved.read_bytes()

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            super().write(bytes(data)[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "open", Full, raising=False)
    with pytest.raises(FileError, match=r"net\.pt: No space left on device; the earlier file is untouched\. Free some"):
        save_checkpoint(saved, small(1))
    assert saved.read_bytes() == whole
    assert [path.name for path in saved.parent.iterdir()] == ["net.pt"]


def test_a_system_that_stops_a_write_half_way_leaves_the_earlier_file(saved: Path) -> None:
    # Not simulated: the kernel refuses to let files grow beyond 1000 bytes.
    whole = saved.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(FileError, match=r"net\.pt: File too large; the earlier file is untouched"):
            save_checkpoint(saved, small(1))
        with pytest.raises(FileError, match=r"new\.pt: File too large; nothing was left behind"):
            save_checkpoint(saved.with_name("new.pt"), small(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert saved.read_bytes() == whole
    assert [path.name for path in saved.parent.iterdir()] == ["net.pt"]
