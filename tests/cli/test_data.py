"""`neurosim data` lists, describes, fetches, converts and shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from neurosim.datasets import dataset_names
from neurosim.datasets.events import SensorEvents, read_events, read_nirdata, write_events
from tests.cli.test_cli import fail, run
from tests.datasets.test_fetching import entry, write_card
from tests.files.test_downloads import CONTENT, Host, host

__all__ = ["host"]
EVENTS = SensorEvents([5, 9, 40], [1, 0, 2], [0, 1, 1], [1, 0, 1], shape=(2, 34, 34))


def test_every_data_set_is_listed_and_described() -> None:
    listed = json.loads(run("data", "list", "--json", "-"))
    assert {*listed} == {*dataset_names()} and len(listed) >= 28
    text = run("data", "info", "shd")
    assert "validation" in text and "no digest known" in text and "CC BY 4.0" in text and "data fetch shd" in text
    about = json.loads(run("data", "info", "speech_commands", "--json", "-"))
    assert about["files"][0]["sha256"].startswith("af14739e") and about["access"] == "direct"


def test_files_are_fetched(
    tmp_path: Path, host: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = write_card(tmp_path, entry(host, "a.bin", CONTENT))
    result = json.loads(run("data", "fetch", card, "--root", tmp_path / "data", "--json", "-"))
    assert result == {"name": "mine", "folder": str(tmp_path / "data" / "mine")}
    assert (tmp_path / "data" / "mine" / "a.bin").read_bytes() == CONTENT
    card = write_card(tmp_path, entry(host, "a.bin"), name="other")
    error = fail(capsys, monkeypatch, "data", "fetch", card, "--root", tmp_path / "data")
    assert "no sha256 is known for it" in error and "--accept-unverified" in error
    text = run("data", "fetch", card, "--root", tmp_path / "data", "--accept-unverified")
    assert "no sha256 is known" in text and (tmp_path / "data" / "other" / "a.bin").exists()
    (tmp_path / "b.bin").write_bytes(CONTENT)
    by_hand = write_card(tmp_path, entry(None, "b.bin", CONTENT), access="browser", name="third")
    assert "must be fetched with a browser" in fail(capsys, monkeypatch, "data", "fetch", by_hand, "--root", tmp_path)
    run("data", "fetch", by_hand, "--root", tmp_path, "--file", tmp_path / "b.bin")
    assert (tmp_path / "third" / "b.bin").read_bytes() == CONTENT


def test_a_file_of_events_is_converted_and_compared(tmp_path: Path) -> None:
    write_events(tmp_path / "a.bin", EVENTS)
    line = ("data", "convert", tmp_path / "a.bin")
    result = json.loads(run(*line, tmp_path / "a.raw", "--shape", "2,34,34", "--to", "evt3", "--json", "-"))
    assert result["events"] == 3 and read_events(tmp_path / "a.raw") == EVENTS
    assert "5 to 40 us" in run("data", "convert", tmp_path / "a.raw", tmp_path / "b.nir")
    assert read_nirdata(tmp_path / "b.nir", shape=(2, 34, 34)) == EVENTS
    run("data", "convert", tmp_path / "b.nir", tmp_path / "c.h5", "--shape", "2x34x34")
    assert read_events(tmp_path / "c.h5", shape=(2, 34, 34)) == EVENTS


def test_what_cannot_be_converted_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_events(tmp_path / "a.bin", EVENTS)
    assert "give one of evt2" in fail(
        capsys, monkeypatch, "data", "convert", tmp_path / "a.bin", tmp_path / "a.xyz", "--shape", "2,34,34"
    )
    assert "give integers with commas" in fail(
        capsys, monkeypatch, "data", "convert", tmp_path / "a.bin", tmp_path / "a.h5", "--shape", "two"
    )
    assert not (tmp_path / "a.xyz").exists() and not (tmp_path / "a.h5").exists()


def test_samples_and_files_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "digits, sample 3 of test" in run(
        "data", "show", "digits", "--part", "test", "--sample", "3", "--out", tmp_path / "d.png"
    )
    run("data", "show", "delayed_match", "--out", tmp_path / "m.png")
    write_events(tmp_path / "a.bin", EVENTS)
    run("data", "show", tmp_path / "a.bin", "--shape", "2,34,34", "--frames", "5", "--out", tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames > 1
    assert (tmp_path / "d.png").stat().st_size and (tmp_path / "m.png").stat().st_size
    for line, message in (
        (("digits", "--out", tmp_path / "x.gif"), "an animation shows events"),
        (("digits", "--part", "dev", "--out", tmp_path / "x.png"), "part = 'dev', but digits has train, test"),
        (("nothing", "--out", tmp_path / "x.png"), "no 'nothing' among the bundled datasets"),
    ):
        assert message in fail(capsys, monkeypatch, "data", "show", *line)
