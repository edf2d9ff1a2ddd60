"""One self-contained HTML file about a run: numbers, plots, energy, export check."""

from __future__ import annotations

import base64
import io
import numbers
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosim.energy.report import EnergyReport
from neurosim.energy.times import LatencyReport
from neurosim.errors import InputError
from neurosim.files.atomic import replaced
from neurosim.hardware.placement import Placement
from neurosim.quantities import quantity, significant
from neurosim.report.plots.chip import chip_map
from neurosim.report.plots.energy import energy_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light dark; --ink: #222; --page: #fff; --link: #0072B2; --line: #ddd; --faint: #eee; --dim: #666;
        --warn: #884400; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --page: #16181b; --link: #6cb8ea; --line: #444; --faint: #2c2f33; --dim: #999; --warn: #e0a060; }
}
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; color: var(--ink); background: var(--page);
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
nav { margin: 0 0 1rem; font-size: .9rem; }
nav a { margin-right: 1rem; color: var(--link); text-decoration: none; }
figure { margin: 1rem 0; overflow-x: auto; }
/* Plots are drawn on white, in the dark too. */
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
/* On a phone a plot of several panels is scrolled: made as narrow as the screen, its text could not be read. */
@media (max-width: 45rem) { img { max-width: none; width: 56rem; } td.refused { max-width: 16rem; } }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--faint); }
thead th { border-bottom: 2px solid var(--line); }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer;
            text-align: inherit; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
td.number, th.number { text-align: right; white-space: nowrap; }
td:first-child { white-space: nowrap; }
table.pairs td.number { text-align: left; }
td.refused { color: var(--warn); white-space: normal; overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; }
footer { margin-top: 3rem; color: var(--dim); font-size: .85rem; }
@media print { nav { display: none; } h2 { break-after: avoid; } figure, table { break-inside: avoid; } }
"""

_SORTED = '<table class="sorts">'

# The head of each column of a table becomes a button that sorts the rows: by mouse, by touch and from the keyboard.
_SORT = """
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const value = (row, k) => { const c = row.cells[k]; return c ? c.dataset.v ?? c.textContent : ""; };
  heads.forEach((head, k) => {
    const button = document.createElement("button");
    button.type = "button"; button.title = "sort"; button.append(...head.childNodes); head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending", rows = [...body.rows];
      heads.forEach(each => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const order = (a, b) => {
        const x = value(a, k), y = value(b, k), p = parseFloat(x), q = parseFloat(y);
        if (isNaN(p) !== isNaN(q)) return isNaN(p) ? 1 : -1;  // what is no number is last
        const found = isNaN(p) ? x.localeCompare(y) : p - q;
        return up ? found : -found;
      };
      body.append(...rows.sort(order));
    });
  });
}
"""


@dataclass(frozen=True, init=False)
class Section:
    """A heading and its content.

    Parameters
    ----------
    heading : str
        Text of the heading.
    *items : str, Figure, EnergyReport, LatencyReport, Placement, mapping, or sequence of mappings
        A paragraph; a plot; a report of energy or time, or a placement (table, findings and plots); names with values;
        a table with one row per mapping. All text is escaped.
    """

    heading: str
    items: tuple[Any, ...]

    def __init__(self, heading: str, *items: Any) -> None:
        object.__setattr__(self, "heading", heading)
        object.__setattr__(self, "items", items)


def write_report(path: str | os.PathLike[str], *, title: str, sections: Sequence[Section], note: str = "") -> Path:
    """Write one HTML file that can be mailed, archived and read offline.

    Parameters
    ----------
    path : path-like
        Ends in ``.html``.
    title : str
        Title and first heading.
    sections : sequence of Section
        In the order of the page.
    note : str
        A line under the title, such as the command that wrote the report.

    Returns
    -------
    pathlib.Path
        The path of the file.

    Raises
    ------
    InputError
        For another ending, no section, or an item of a kind that cannot be shown.
    FileError
        When the file cannot be written; an existing file does not change.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"a report must end in .html; got {path.name!r}.")
    if not sections:
        raise InputError("a report needs at least one section.")
    from neurosim import __version__

    anchors = [f"s{k}" for k in range(len(sections))]
    links = "".join(f'<a href="#{a}">{escape(s.heading)}</a>' for a, s in zip(anchors, sections, strict=True))
    body = "".join(
        f'<section id="{a}"><h2>{escape(s.heading)}</h2>{"".join(_item(i, s.heading) for i in s.items)}</section>\n'
        for a, s in zip(anchors, sections, strict=True)
    )
    text = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n"
        f"{f'<p>{escape(note)}</p>' if note else ''}<nav>{links}</nav>\n{body}"
        f"<footer>neurosim {escape(__version__)}</footer>"
        f"{f'<script>{_SORT}</script>' if _SORTED in body else ''}</body></html>\n"
    )
    with replaced(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def _item(item: Any, heading: str) -> str:
    if isinstance(item, str):
        return f"<p>{escape(item)}</p>"
    if isinstance(item, EnergyReport):
        return _energy(item, heading)
    if isinstance(item, LatencyReport):
        return _latency(item)
    if isinstance(item, Placement):
        return _placement(item, heading)
    if isinstance(item, Mapping):
        return _pairs(item)
    if isinstance(item, Sequence) and item and all(isinstance(row, Mapping) for row in item):
        return _rows(item)
    if hasattr(item, "savefig"):
        return _figure(item, heading)
    raise InputError(
        f"section {heading!r} holds a {type(item).__name__}, which cannot be displayed. "
        "Give text, a figure, an EnergyReport, a LatencyReport, a Placement, a mapping, or a list of mappings."
    )


def _figure(figure: Figure, heading: str) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=160)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return f'<figure><img alt="{escape(heading)}" src="data:image/png;base64,{data}"></figure>'


def _pairs(values: Mapping[Any, Any]) -> str:
    rows = "".join(f"<tr><th>{escape(str(key))}</th>{_cell(value)}</tr>" for key, value in values.items())
    return f'<div class="scroll"><table class="pairs"><tbody>{rows}</tbody></table></div>'


def _rows(rows: Sequence[Mapping[Any, Any]]) -> str:
    names = list(dict.fromkeys(key for row in rows for key in row))
    head = "".join(
        f"<th{_number_class(any(_is_number(row.get(name)) for row in rows))}>{escape(str(name))}</th>" for name in names
    )
    body = "".join(f"<tr>{''.join(_cell(row.get(name, '')) for name in names)}</tr>" for row in rows)
    return f'<div class="scroll">{_SORTED}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _energy(report: EnergyReport, heading: str) -> str:
    layers = report.operations.layers
    head = "".join(
        f"<th{_number_class(k > 0)}>{escape(name)}</th>"
        for k, name in enumerate(("target", *layers, "total", "dense ANN, 1 pass"))
    )
    body = ""
    for column in report.columns:
        name = f"<td>{escape(column.target.title)}</td>"
        if column.refused:
            body += f'<tr>{name}<td class="refused" colspan="{len(layers) + 2}">{escape(column.refused)}</td></tr>'
            continue
        joules = [*map(column.layer, layers), column.total, column.ann]
        cells = [(value, "-" if value is None else quantity(value, "J")) for value in joules]
        body += f"<tr>{name}{''.join(_number_cell(value, shown) for value, shown in cells)}</tr>"
    findings = "".join(f"<li>{escape(line)}</li>" for line in report.verdict())
    omitted = "".join(
        f"<li>{escape(c.target.title)}: {escape('; '.join((*c.target.excluded, *c.notes)))}</li>"
        for c in report.columns
        if not c.refused
    )
    return (
        f"<p>{escape(report.heading())}</p>"
        f'<div class="scroll">{_SORTED}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f"{_figure(energy_figure(report), heading)}<ul>{findings}</ul>"
        f"<p>Estimates from published figures per operation, not measured power. Not included:</p><ul>{omitted}</ul>"
    )


def _latency(report: LatencyReport) -> str:
    findings = "".join(f"<li>{escape(line)}</li>" for line in report.findings())
    return f"<p>{escape(report.heading())}</p>{_rows(report.rows())}<ul>{findings}</ul>"


def _placement(placement: Placement, heading: str) -> str:
    findings = "".join(
        f"<li>{escape(m.where)}: {escape(m.what)}"
        + (f"<ul>{''.join(f'<li>would fit: {escape(r)}</li>' for r in m.remedies)}</ul>" if m.remedies else "")
        + "</li>"
        for m in placement.misfits
    )
    return (
        f"<p>{escape(placement.heading())}</p>{_rows(placement.rows())}"
        f"{f'<ul>{findings}</ul>' if findings else ''}{_figure(chip_map(placement), heading)}"
        f"<p>{escape(' '.join(placement.notes))}</p>"
    )


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"<td>{_pairs(value)}</td>"
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if value is None:
        return "<td>-</td>"
    if _is_number(value):
        shown = f"{value:,}" if isinstance(value, numbers.Integral) else significant(float(value), 4)
        return _number_cell(float(value), shown)
    return f"<td>{escape(str(value))}</td>"


def _number_cell(value: float | None, shown: str) -> str:
    """Return a cell that is sorted by its value."""
    key = "" if value is None else f' data-v="{value!r}"'
    return f"<td class=number{key}>{escape(shown)}</td>"


def _number_class(yes: bool) -> str:
    return " class=number" if yes else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
