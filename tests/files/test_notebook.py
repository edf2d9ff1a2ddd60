"""What a notebook shows of results is a table, with every character of it escaped."""

from __future__ import annotations

import torch

import neurosim as ns
from neurosim.energy import chip_latency, count_operations, energy
from neurosim.files.notebook import table_html, text_html
from neurosim.hardware.placement import place


def test_text_is_escaped() -> None:
    assert "<script>" not in text_html("<script>") and "&lt;script&gt;" in text_html("<script>")
    shown = table_html("<a>", ["<b>"], [["<c>", 0.123456789]])
    assert not {"<a>", "<b>", "<c>"} & {*shown.split("&")} and "0.123457" in shown and "&lt;c&gt;" in shown


def test_results_show_themselves() -> None:
    net = ns.Sequential(ns.Linear(3, 2), ns.LIF(r=50.0, dt=1e-3), names=["<out>"])
    x = torch.ones(10, 2, 3)
    recording = ns.simulate(net, x, record=["<out>", "<out>.v"])
    placed = place(net, "loihi1")
    report = energy(count_operations(net, x), ["loihi1"])
    times = chip_latency(net, x, "loihi1")
    for value, text in (
        (recording, "&lt;out&gt;.v"),
        (ns.History([{"epoch": 1, "loss": 0.25}]), "<td>0.25</td>"),
        (placed, "It fits"),
        (report, "loihi1"),
        (times, "0 (&lt;out&gt;)"),
    ):
        shown = value._repr_html_()
        assert text in shown and "<out>" not in shown
