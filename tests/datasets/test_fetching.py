"""Files of a data set are checked before they are used, wherever they come from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from neurosim.datasets import Unverified, fetch
from neurosim.errors import FileError
from neurosim.files.lock import owned
from tests.files.test_downloads import CONTENT, Host, host
from tests.files.test_unpacking import write_tar, write_zip

__all__ = ["host"]


def write_card(folder: Path, *files: str, access: str = "direct", name: str = "mine") -> Path:
    text = f"""
name = "{name}"
title = "Mine"
source = "https://example.org/mine"
download = "https://example.org/mine/files"
licence = "none"
citation = "me"
format = "idx"
shape = [1]
classes = ["a"]
split = "none"
access = "{access}"
[counts]
train = 1
"""
    entries = [f'[[files]]\npart = "train"\nholds = "images"\n{each}' for each in files]
    path = folder / "card.toml"
    path.write_text("\n".join([text, *entries]))
    return path


def entry(host: Host | None, name: str, content: bytes | None = None, **more: str) -> str:
    lines = {"name": name, **more}
    if host is not None:
        lines.setdefault("url", f"{host.url}{name}")
    if content is not None:
        lines["sha256"] = hashlib.sha256(content).hexdigest()
    return "\n".join(f'{key} = "{value}"' for key, value in lines.items())


def test_a_file_of_the_stated_digest_is_fetched_once(tmp_path: Path, host: Host) -> None:
    card = write_card(tmp_path, entry(host, "a.bin", CONTENT))
    told = list[tuple[str, int, int | None]]()
    folder = fetch(card, tmp_path / "data", progress=lambda *all_: told.append(all_))
    assert folder == tmp_path / "data" / "mine" and told[-1] == ("a.bin", len(CONTENT), len(CONTENT))
    assert {p.name for p in folder.iterdir()} == {"a.bin"} and (folder / "a.bin").read_bytes() == CONTENT
    fetch(card, tmp_path / "data")
    assert len(host.asked) == 1


def test_a_file_of_another_digest_is_not_used(tmp_path: Path, host: Host) -> None:
    card = write_card(tmp_path, entry(host, "a.bin", b"something else"))
    with pytest.raises(FileError, match=r"a\.bin is not the file that the card of mine describes: its sha256 is"):
        fetch(card, tmp_path / "data")
    assert not list((tmp_path / "data" / "mine").iterdir())


def test_what_lies_there_is_checked_and_never_overwritten(tmp_path: Path, host: Host) -> None:
    card = write_card(tmp_path, entry(host, "a.bin", CONTENT))
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "mine" / "a.bin").write_text("mine")
    with pytest.raises(FileError, match=r"is not the file expected.*move it away"):
        fetch(card, tmp_path / "data")
    assert (tmp_path / "data" / "mine" / "a.bin").read_text() == "mine" and not host.asked


def test_an_unknown_digest_needs_a_confirmation(tmp_path: Path, host: Host) -> None:
    card = write_card(tmp_path, entry(host, "a.bin", md5=hashlib.md5(CONTENT).hexdigest()))
    with pytest.raises(FileError, match=r"no sha256 is known for it.*and the stated md5.*--accept-unverified"):
        fetch(card, tmp_path / "data")
    assert not (tmp_path / "data" / "mine" / "a.bin").exists()
    asked = list[Unverified]()

    def confirm(file: Unverified) -> bool:
        asked.append(file)
        return True

    folder = fetch(card, tmp_path / "data", confirm=confirm)
    assert asked[0].sha256 == hashlib.sha256(CONTENT).hexdigest() and asked[0].md5 and len(host.asked) == 1
    assert (folder / "a.bin").read_bytes() == CONTENT
    fetch(card, tmp_path / "data")  # confirmed once
    (folder / "a.bin").write_text("changed")
    with pytest.raises(FileError, match="is not the file expected"):
        fetch(card, tmp_path / "data")


def test_a_file_that_the_user_put_there_is_confirmed_in_its_place(tmp_path: Path, host: Host) -> None:
    card = write_card(tmp_path, entry(host, "a.bin"))
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "mine" / "a.bin").write_text("mine")
    with pytest.raises(FileError, match="no sha256 is known"):
        fetch(card, tmp_path / "data")
    fetch(card, tmp_path / "data", confirm=lambda _: True)
    assert (tmp_path / "data" / "mine" / "a.bin").read_text() == "mine" and not host.asked


def test_another_md5_is_refused_even_when_confirmed(tmp_path: Path, host: Host) -> None:
    card = write_card(tmp_path, entry(host, "a.bin", md5="0" * 32))
    with pytest.raises(FileError, match="does not have the md5 0000"):
        fetch(card, tmp_path / "data", confirm=lambda _: True)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_is_checked_then_unpacked_once(tmp_path: Path, host: Host, kind: str) -> None:
    write = {"zip": write_zip, "tar": write_tar}[kind]
    content = write(tmp_path / "archive", {"Train/0/1.bin": b"12345"}).read_bytes()
    host.files["a.bin"] = content
    card = write_card(tmp_path, entry(host, "a.bin", content, unpack=kind))
    folder = fetch(card, tmp_path / "data")
    assert (folder / "Train" / "0" / "1.bin").read_bytes() == b"12345" and not (folder / "a.bin").exists()
    fetch(card, tmp_path / "data")
    assert len(host.asked) == 1
    evil = write(tmp_path / "evil", {"../../evil": b"1"}).read_bytes()
    host.files["a.bin"] = evil
    with pytest.raises(FileError, match="lies outside the folder"):
        fetch(write_card(tmp_path, entry(host, "a.bin", evil, unpack=kind), name="other"), tmp_path / "data")
    assert not (tmp_path / "evil2").exists() and not (tmp_path / "data" / "evil").exists()


def test_a_member_of_an_archive_is_the_file(tmp_path: Path, host: Host) -> None:
    host.files["wheel"] = write_zip(
        tmp_path / "archive", {"pkg/data/x.npy": b"data", "pkg/code.py": b"no"}
    ).read_bytes()
    card = write_card(tmp_path, entry(host, "x.npy", b"data", url=f"{host.url}wheel", member="pkg/data/x.npy"))
    folder = fetch(card, tmp_path / "data")
    assert {p.name for p in folder.iterdir()} == {"x.npy"} and (folder / "x.npy").read_bytes() == b"data"
    wrong = write_card(tmp_path, entry(host, "x.npy", b"d", url=f"{host.url}wheel", member="pkg/data/x.npy"), name="o")
    with pytest.raises(FileError, match=r"x\.npy is not the file"):
        fetch(wrong, tmp_path / "data")


def test_a_host_that_asks_for_a_browser_is_named_with_the_files(tmp_path: Path, host: Host) -> None:
    host.kind = "text/html"
    card = write_card(tmp_path, entry(host, "a.bin", CONTENT))
    expected = r"a\.bin must be fetched with a browser\. Open https://example\.org/mine/files and save it.*--file PATH"
    with pytest.raises(FileError, match=f"answers with a page.*{expected}"):
        fetch(card, tmp_path / "data")
    by_hand = write_card(tmp_path, entry(None, "a.bin", CONTENT), entry(None, "b.bin"), access="browser")
    with pytest.raises(FileError, match=r"mine: a\.bin, b\.bin must be fetched with a browser.*save them"):
        fetch(by_hand, tmp_path / "data")


def test_a_file_given_by_its_path_is_checked_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    (tmp_path / "b.zip").write_bytes(write_zip(tmp_path / "archive", {"deep/x": b"x"}).read_bytes())
    card = write_card(tmp_path, entry(None, "a.bin", CONTENT), entry(None, "b.zip", unpack="zip"), access="browser")
    given = [tmp_path / "a.bin", tmp_path / "b.zip"]
    with pytest.raises(FileError, match=r"b\.zip: no sha256 is known"):
        fetch(card, tmp_path / "data", files=given)
    folder = fetch(card, tmp_path / "data", files=given, confirm=lambda file: file.size > 0)
    assert (folder / "deep" / "x").read_bytes() == b"x" and (tmp_path / "a.bin").exists()
    (tmp_path / "a.bin").write_bytes(b"damaged")
    (folder / "a.bin").unlink()
    with pytest.raises(FileError, match=r"a\.bin is not the file that the card of mine describes"):
        fetch(card, tmp_path / "data", files=given)
    for wrong, message in (
        (tmp_path / "c.bin", "is none of the files of mine"),
        (tmp_path / "n" / "a.bin", "no such file"),
    ):
        with pytest.raises(FileError, match=message):
            fetch(card, tmp_path / "data", files=[wrong])


def test_sets_without_files_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match="parity has no files to fetch: it is computed"):
        fetch("parity", tmp_path)
    monkeypatch.delenv("NEUROSIM_DATA", raising=False)
    with pytest.raises(FileError, match="no folder to fetch parity to"):
        fetch("parity")


def test_one_process_fetches_to_a_folder_at_a_time(tmp_path: Path, host: Host) -> None:
    card = write_card(tmp_path, entry(host, "a.bin", CONTENT))
    folder = tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    with owned(folder), pytest.raises(FileError, match=rf"process {os.getpid()}"):
        fetch(card, tmp_path / "data")
    assert not (folder / "a.bin").exists() and not host.asked
    fetch(card, tmp_path / "data")
    with owned(folder):  # what is there needs no lock
        assert fetch(card, tmp_path / "data") == folder
