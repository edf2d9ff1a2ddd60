"""Archives that are unpacked: hostile names, kinds and sizes are refused, and nothing is overwritten."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from neurosim.errors import FileError
from neurosim.files.unpacking import member_of, unpack

FILES = {"a.txt": b"one", "sub/b.bin": bytes(5000), "./sub/deep/c": b"", "sub/Ünïcode name.txt": b"x"}


def write_zip(path: Path, files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def below(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


WRITERS = {"zip": write_zip, "tar": write_tar}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_come_to_their_places(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path / "archive", FILES)
    made = unpack(path, tmp_path / "out", kind)
    assert below(tmp_path / "out") == {name.removeprefix("./"): content for name, content in FILES.items()}
    assert len(made) == 4 and all(file.is_file() for file in made)
    (tmp_path / "out" / "mine.txt").write_text("mine")
    unpack(path, tmp_path / "out", kind)  # again: what is there stays
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:/evil", "sub/..", "con.txt", " x"]
)
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    path = WRITERS[kind](tmp_path / "archive", {"good.txt": b"good", name: b"evil"})
    with pytest.raises(FileError, match=r"lies outside the folder, or is no name\. Nothing of it is used"):
        unpack(path, tmp_path / "out", kind)
    assert not below(tmp_path / "out") and {p.name for p in tmp_path.iterdir()} == {"archive", "out"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "archive", "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc"
        archive.addfile(info)
    with pytest.raises(FileError, match="'link' is no regular file"):
        unpack(tmp_path / "archive", tmp_path / "out", "tar")
    assert not below(tmp_path / "out")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
    with pytest.raises(FileError, match="'link' is no regular file"):
        unpack(tmp_path / "archive", tmp_path / "out", "zip")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_too_many_bytes_are_refused(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path / "archive", {"big": bytes(100_000), "more": bytes(100_000)})
    with pytest.raises(FileError, match="unpacks to more than is declared or allowed"):
        unpack(path, tmp_path / "out", kind, limit=150_000)
    assert not below(tmp_path / "out")


def test_a_zip_bomb_is_refused_by_its_declared_size(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "archive", {"bomb": bytes(2**21)})
    content = bytearray(path.read_bytes())
    place = content.rfind(b"PK\x01\x02")
    content[place + 24 : place + 28] = (2**31).to_bytes(4, "little")  # the declared size, of 2 KiB packed bytes
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"'bomb' declares 2,147,483,648 bytes of .* packed ones"):
        unpack(path, tmp_path / "out", "zip")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_appears_twice_is_refused(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path / "archive", {"a": b"1", "A": b"2"})
    with pytest.raises(FileError, match="appears twice"):
        unpack(path, tmp_path / "out", kind)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_nothing_is_overwritten(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path / "archive", FILES)
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "sub" / "b.bin").write_text("mine")
    with pytest.raises(FileError, match=r"b\.bin is there already and differs"):
        unpack(path, tmp_path / "out", kind)
    assert below(tmp_path / "out") == {"sub/b.bin": b"mine"}


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "outside")
    with pytest.raises(FileError, match="is a link or a file, where the archive has a folder"):
        unpack(write_zip(tmp_path / "archive", FILES), tmp_path / "out", "zip")
    assert not below(tmp_path / "outside")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_damaged_archives_are_refused_and_leave_nothing(tmp_path: Path, kind: str) -> None:
    whole = WRITERS[kind](
        tmp_path / "archive", {**FILES, "noise": bytes(k * k % 251 for k in range(3000))}
    ).read_bytes()
    path = tmp_path / "damaged"
    refused = 0
    for place in range(0, len(whole), max(len(whole) // 25, 1)):
        for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]):
            path.write_bytes(content)
            try:
                unpack(path, tmp_path / "out", kind)
            except FileError:
                refused += 1
            assert not list((tmp_path / "out").glob(".*")) or not (tmp_path / "out").exists()
            for file in sorted((tmp_path / "out").rglob("*"), reverse=True) if (tmp_path / "out").exists() else []:
                file.rmdir() if file.is_dir() else file.unlink()
    assert refused > 25


def test_archives_inside_are_unpacked_beside_their_place(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", {"raw/x.txt": b"x"}).read_bytes()
    path = write_zip(tmp_path / "archive", {"data/inner.zip": inner, "readme": b"r"})
    unpack(path, tmp_path / "out", "zip")
    assert below(tmp_path / "out") == {"data/raw/x.txt": b"x", "readme": b"r"}


def test_one_member_of_a_zip(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "archive", FILES)
    member_of(path, "a.txt", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"one"
    with pytest.raises(FileError, match="does not hold z"):
        member_of(path, "z", tmp_path / "z")
    path.write_bytes(b"no archive")
    with pytest.raises(FileError, match="cannot be unpacked"):
        member_of(path, "a.txt", tmp_path / "z")
