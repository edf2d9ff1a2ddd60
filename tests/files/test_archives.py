"""Archives are read within limits, whatever they declare."""

from __future__ import annotations

import io
import lzma
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from neurosim.errors import FileError
from neurosim.files import archives
from neurosim.files.archives import tar_members


def write(path: Path, members: dict[str, bytes], mode: str = "w:xz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return path


def is_wav(name: str) -> bool:
    return name.endswith(".wav")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_the_members_that_are_wanted_are_read(tmp_path: Path, mode: str) -> None:
    path = write(tmp_path / "a.tar", {"a/b.wav": b"sound", "a/c.txt": b"text", "../d.wav": b"more"}, mode)
    assert dict(tar_members(path, is_wav)) == {"b.wav": b"sound", "d.wav": b"more"}
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]


def test_links_and_devices_in_it_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            about = tarfile.TarInfo("x.wav")
            about.type, about.linkname = kind, "/etc/passwd"
            archive.addfile(about)
    assert list(tar_members(path, is_wav)) == []


def test_a_member_that_declares_a_petabyte_is_refused(tmp_path: Path) -> None:
    about = tarfile.TarInfo("x.wav")
    about.size = 10**15
    (tmp_path / "a.tar").write_bytes(about.tobuf() + bytes(1024))
    with pytest.raises(FileError, match=r"x\.wav declares 1,000,000,000,000,000 bytes"):
        list(tar_members(tmp_path / "a.tar", is_wav))


def test_a_small_archive_that_unpacks_to_much_is_refused_before_memory_is_full(tmp_path: Path) -> None:
    compressor = lzma.LZMACompressor(preset=0)
    about = tarfile.TarInfo("notes.txt")
    about.size = 2**28
    with open(tmp_path / "a.tar.xz", "wb") as stream:
        stream.write(compressor.compress(about.tobuf()))
        for _ in range(256):
            stream.write(compressor.compress(bytes(2**20)))
        stream.write(compressor.flush())
    assert (tmp_path / "a.tar.xz").stat().st_size < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match="unpacks to more than 16,777,216 bytes"):
            list(tar_members(tmp_path / "a.tar.xz", is_wav, limit=2**24))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_member_with_holes_is_refused(tmp_path: Path) -> None:
    about = tarfile.TarInfo("x.wav")
    about.type, about.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(about.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"00000000000\0" + b"00000000100\0"  # one piece of 64 bytes at 0
    block[483:495] = b"07777777777\0"  # size with the holes
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block[:512]):06o}\0 ".encode()
    (tmp_path / "a.tar").write_bytes(bytes(block) + bytes(2048))
    with pytest.raises(FileError, match=r"x\.wav declares 1,073,741,823 bytes with holes"):
        list(tar_members(tmp_path / "a.tar", is_wav))


def test_the_number_of_members_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MEMBERS", 2)
    path = write(tmp_path / "a.tar", {f"{n}.txt": b"" for n in range(3)}, "w")
    with pytest.raises(FileError, match="more than 2 members"):
        list(tar_members(path, is_wav))


def test_cut_off_anywhere_it_is_refused(tmp_path: Path) -> None:
    content = write(tmp_path / "a.tar", {"x.wav": bytes(range(256)) * 4}).read_bytes()
    for length in range(0, len(content), 7):
        (tmp_path / "b.tar").write_bytes(content[:length])
        with pytest.raises(FileError, match=r"b\.tar is not a complete tar archive"):
            list(tar_members(tmp_path / "b.tar", is_wav))
