"""The results of a GPU run as a page and as a few lines, with a verdict for each operator."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

from neurosim.files.notebook import table_html, text_html

_STYLE = (
    "body{font-family:sans-serif;margin:2em} table{border-collapse:collapse} td,th{border:1px solid #999;padding:.3em}"
)
COLUMNS = ("operator", "parity", "share of the device's rate", "launches", "verdict")


def records(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the records of all parts."""
    for part in result["parts"].values():
        yield from part["records"]


def verdicts(result: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Return a row for each operator; see `COLUMNS`.

    Parity counts the comparisons that hold. The share is that of the copy bandwidth or the matrix rate, lowest to
    highest. An operator is "wrong" if a comparison does not hold, "suspect" if a share is more than the device can do,
    "right" if all comparisons hold, and "not compared" if there is none.
    """
    by_operator: dict[str, list[dict[str, Any]]] = {}
    for record in records(result):
        if "operator" in record and record["operator"] != "none":
            by_operator.setdefault(record["operator"], []).append(record)
    rows = []
    for operator, found in by_operator.items():
        held = [each["holds"] for each in found if "holds" in each]
        shares = [each["share"] for each in found if "share" in each]
        launches = {each["launches"] for each in found if each.get("launches") is not None}
        verdict = "not compared" if not held else "right" if all(held) else "wrong"
        if verdict != "wrong" and any(each.get("implausible") for each in found):
            verdict = "suspect"
        shown = f"{min(shares):.2f} to {max(shares):.2f}" if shares else "not measured"
        parity = f"{sum(held)} of {len(held)}" if held else "none"
        counts = f"{min(launches)} to {max(launches)}" if launches else "not counted"
        rows.append((operator, parity, shown, counts, verdict))
    return rows


def summary(result: dict[str, Any]) -> str:
    """Return the verdicts and what does not hold, as text."""
    lines = ["", " | ".join(COLUMNS), *(" | ".join(row) for row in verdicts(result))]
    for each in records(result):
        if each.get("holds") is False:
            away = f"{each['away']:.2e} away, {each['allowed']:.2e} allowed"
            lines.append(f"does not hold: {each['operator']}, {each['case']}: {away}")
    for name, part in result["parts"].items():
        if part["status"] != "done":
            lines.append(f"{name}: {part['status']}; {len(part['records'])} records kept")
    return "\n".join(lines)


def page(result: dict[str, Any]) -> str:
    """Return the results as HTML that needs nothing else."""
    facts = next((each for each in records(result) if each.get("fact") == "machine"), {})
    body = [table_html("Machine", ("fact", "value"), facts.items()), table_html("Verdicts", COLUMNS, verdicts(result))]
    for name, part in result["parts"].items():
        head = f"{name}: {part['status']}, {part['seconds']:.0f} s"
        columns = list(dict.fromkeys(key for record in part["records"] for key in record))
        rows = [[record.get(column, "") for column in columns] for record in part["records"]]
        body.append(table_html(head, columns, rows))
        if part.get("error"):
            body.append(text_html(part["error"]))
    title = html.escape(f"neurosim on {facts.get('device', 'an unknown device')}")
    head = f"<!DOCTYPE html><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"
    return head + "".join(body)
