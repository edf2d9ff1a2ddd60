"""Our lines in the tables of docs/from_nest.md and docs/from_brian2.md run, with the names of their pages."""

from __future__ import annotations

import ast
import functools
import re
from typing import Any

import pytest

from tests.test_documentation import blocks, read, run_block

PAGES = ("docs/from_nest.md", "docs/from_brian2.md")
ROW = re.compile(r"^\| (.+?) \| `([^`]+)` \| (.*)\|$", re.MULTILINE)
NETWORK = """
nodes = {"noise": Poisson(800 * Hz, 20)}
nodes |= {name: ns.layer(cores.lif_exp)(size=20) for name in ("pre", "post")}
edges = [
    ns.Edge("noise", "pre", Scale(1e3 * pA), port="i_exc"),
    ns.Edge("pre", "post", ns.Drawn(Bernoulli(0.5), weight=500 * pA), port="i_exc", delay=1.5 * ms),
]
net = ns.Network(nodes, edges, dt=0.1 * ms)
run = ns.simulate(net, seconds=0.05, record=["post"])
"""


def rows(page: str) -> list[str]:
    """Return our cells of a page's tables."""
    return [ours for _, ours, _ in ROW.findall(read(page))]


@functools.cache
def names(page: str) -> dict[str, Any]:
    """Return what the first block of a page imports, and a small network with a run."""
    defined: dict[str, Any] = {"__name__": "page"}
    above, source = blocks(read(page))[0]
    run_block(source, above, defined, page)
    exec(NETWORK, defined)
    return defined


@pytest.mark.filterwarnings("ignore::neurosim.errors.ActivityWarning")
@pytest.mark.parametrize(("page", "ours"), [(page, ours) for page in PAGES for ours in rows(page)])
def test_our_line_runs(page: str, ours: str) -> None:
    exec(compile(ast.parse(ours), page, "exec"), dict(names(page)))


@pytest.mark.parametrize("page", PAGES)
def test_every_row_of_a_page_is_found(page: str) -> None:
    lines = [
        line for line in read(page).splitlines() if line.startswith("| ") and "neurosim | what differs" not in line
    ]
    assert len(rows(page)) == len(lines) > 20
    assert any("Drawn" in ours for ours in rows(page))
