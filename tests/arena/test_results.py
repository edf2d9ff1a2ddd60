"""The table, the plain values and the page of an arena."""

from __future__ import annotations

import json

from neurosim.arena import CONTESTS, Results

ENERGY = {"loihi1": 1e-6, "horowitz45": 2e-7}


def run_of(name, seed, score):
    """Return a run as `neurosim.arena.measuring.run` does."""
    return {
        "name": name,
        "seed": seed,
        "score": score,
        "validation": score,
        "train_seconds": 2.0,
        "parameters": 1000,
        "synaptic_operations": 50.0,
        "dense_operations": 500.0,
        "neurobench": {"effective_acs": 50.0, "effective_macs": 0.0, "dense": 500.0, "footprint": 4000},
        "energy_J": ENERGY,
        "peak_bytes": 2**20 * (seed + 1),
        "seconds": 3.0,
    }


def results():
    """Return three seeds of two sets, and one set that is missing."""
    runs = [run_of("braille", seed, score) for seed, score in enumerate((0.9, 0.94, 0.98))]
    runs += [run_of("mackey-glass", seed, 14.0) for seed in range(3)]
    return Results(tuple(runs), {"qtdb": "no <files> there"}, 18.0)


def test_rows_are_means_over_the_seeds():
    rows = {row["name"]: row for row in results().rows()}
    braille = rows["braille"]
    assert abs(braille["score"] - 0.94) < 1e-12 and abs(braille["deviation"] - 0.04) < 1e-12
    assert braille["reached"] and braille["peak_bytes"] == 3 * 2**20 and braille["energy_J"] == ENERGY
    assert rows["mackey-glass"]["reached"] is False, "an error above the bar"
    assert set(rows) == {"braille", "mackey-glass", "qtdb"}
    assert list(rows) == [name for name in CONTESTS if name in rows]


def test_the_table_names_what_is_missing():
    text = results().table()
    assert "94.00 ± 4.00 %" in text and "≥ 93 reached" in text and "< 13.37 missed" in text
    assert "QTDB heartbeats, per step is missing: no <files> there" in text


def test_the_page_needs_no_other_file(tmp_path):
    page = results().to_html(tmp_path / "arena.html").read_text(encoding="utf-8")
    assert "no &lt;files&gt; there" in page and "94.00 ± 4.00 %" in page
    assert "src=" not in page and "<link" not in page and "<script " not in page
    content = json.loads(results().to_json(tmp_path / "arena.json"))
    assert content["rows"][0]["name"] == "braille" and len(content["runs"]) == 6


def test_a_quick_pass_has_no_verdict():
    quick = Results((run_of("braille", 0, 0.99),), {}, 1.0, quick=True)
    assert quick.rows()[0]["reached"] is None
    assert "reached" not in quick.table() and "measures nothing" in quick.table()
