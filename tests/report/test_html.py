"""The HTML report: one file, nothing outside it, everything escaped."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

import neurosim as ns
from neurosim.energy import chip_latency, count_operations, energy
from neurosim.errors import FileError, InputError
from neurosim.recording.recording import Recording
from neurosim.report import Section, html, raster, write_report
from neurosim.report.plots.style import new_figure

VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Checks that tags close in order; keeps texts, attributes and tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert not reader.open
    return reader


def test_a_whole_run_in_one_file_that_needs_no_network(tmp_path: Path, recording: Recording) -> None:
    net = ns.Sequential(ns.Linear(8, 3), ns.LIF(dt=1e-3), names=("out",))
    report = energy(count_operations(net, torch.ones(4, 2, 8)), ("loihi1", "loihi2", "horowitz45"))
    times = chip_latency(net, torch.ones(4, 2, 8), ("loihi1", "loihi2"))
    path = write_report(
        tmp_path / "report.html",
        title="A run",
        note="made by a test",
        sections=[
            Section(
                "Metrics",
                {"accuracy": 0.97224, "epochs": 1500, "fused": True, "rates": recording.rates(), "none": None},
            ),
            Section("Spikes", "Some samples.", raster(recording)),
            Section("Energy", report),
            Section("Latency", times),
            Section("Export check", [{"node": "out", "spikes compared": 1234, "differing": 0}, {"node": "b"}]),
        ],
    )
    reader = read(path)
    for text in ("A run", "made by a test", "0.9722", "1,500", "yes", "Some samples.", "1,234", "spikes compared"):
        assert text in reader.texts, text
    assert "Intel Loihi 2 (2021)" in reader.texts and any("Intel has published no energy" in t for t in reader.texts)
    assert all(line in reader.texts for line in report.verdict())
    assert "0 (out), 100% of steps" in reader.texts and all(line in reader.texts for line in times.findings())
    assert reader.tags.count("img") == 2 and reader.tags.count("section") == 5
    for name, value in reader.attributes:
        if name in ("src", "href"):
            assert value is not None and value.startswith(("data:image/png;base64,", "#"))
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<script [^>]|<link|url\(|@import", text) and reader.tags.count("script") == 1
    assert reader.attributes.count(("class", "sorts")) == 3 and ("data-v", "1234.0") in reader.attributes
    assert "prefers-color-scheme: dark" in text


def test_everything_is_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>&'
    path = write_report(
        tmp_path / "r.html",
        title=evil,
        note=evil,
        sections=[Section(evil, evil, {evil: evil}, [{evil: evil}], new_figure(1, 1))],
    )
    reader = read(path)
    assert reader.tags.count("script") == 1
    assert reader.texts.count(evil) >= 8
    assert ("alt", evil) in reader.attributes


_PAGE = """
class Node {
  constructor(text, v) { this.childNodes = [text]; this.textContent = text; this.attributes = {}; this.listeners = [];
                         this.dataset = v === undefined ? {} : { v }; this.cells = []; this.rows = []; }
  append(...nodes) { nodes.forEach(node => { this.rows = this.rows.filter(one => one !== node).concat([node]); }); }
  getAttribute(name) { return this.attributes[name] ?? null; }
  setAttribute(name, value) { this.attributes[name] = value; }
  removeAttribute(name) { delete this.attributes[name]; }
  addEventListener(_, call) { this.listeners.push(call); }
}
const buttons = [], head = new Node(""), body = new Node("");
head.cells = [new Node("name"), new Node("energy")];
for (const [name, shown, v] of [["b", "2 mJ", "0.002"], ["c", "-", undefined], ["a", "10 uJ", "0.00001"]]) {
  const row = new Node(name); row.cells = [new Node(name), new Node(shown, v)]; body.append(row);
}
const table = { tBodies: [body], tHead: { rows: [head] } };
globalThis.document = {
  querySelectorAll: () => [table],
  createElement: () => { const button = new Node(""); buttons.push(button); return button; },
};
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_click_on_a_head_sorts_by_value_and_again_the_other_way() -> None:
    clicks = """
    const order = () => body.rows.map(row => row.textContent).join("");
    const click = k => { buttons[k].listeners[0](); return order() + " " + head.cells[k].getAttribute("aria-sort"); };
    console.log(JSON.stringify([click(0), click(0), click(1), click(1), head.cells[0].getAttribute("aria-sort")]));
    """
    program = _PAGE + html._SORT + clicks
    out = subprocess.run(["node", "-e", program], capture_output=True, text=True, timeout=60, check=True).stdout
    assert json.loads(out) == ["abc ascending", "cba descending", "abc ascending", "bac descending", None]


def test_names_of_layers_and_targets_are_escaped(tmp_path: Path) -> None:
    net = ns.Sequential(ns.Linear(2, 2), ns.LIF(dt=1e-3), names=("<b>",))
    path = write_report(
        tmp_path / "r.html", title="t", sections=[Section("e", energy(count_operations(net, torch.ones(2, 1, 2))))]
    )
    reader = read(path)
    assert "b" not in reader.tags and "<b>" in reader.texts


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in .html; got 'r.txt'"):
        write_report(tmp_path / "r.txt", title="t", sections=[Section("a", "b")])
    with pytest.raises(InputError, match="at least one section"):
        write_report(tmp_path / "r.html", title="t", sections=[])
    with pytest.raises(InputError, match="section 'a' holds a set, which cannot be displayed"):
        write_report(tmp_path / "r.html", title="t", sections=[Section("a", {1, 2})])
    assert not (tmp_path / "r.html").exists()


def test_an_earlier_report_survives_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    write_report(path, title="first", sections=[Section("a", "b")])
    folder = tmp_path / "file"
    folder.write_text("in the way")
    with pytest.raises(FileError, match="cannot write"):
        write_report(folder / "r.html", title="t", sections=[Section("a", "b")])
    with pytest.raises(InputError):
        write_report(path, title="second", sections=[Section("a", object())])
    assert "first" in path.read_text(encoding="utf-8")
