"""HTML that a notebook shows as the value of a cell."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any


def text_html(text: str) -> str:
    """Return a text of several lines, such as a table, as HTML that keeps its columns.

    Examples
    --------
    >>> text_html("a < b")
    '<pre>a &lt; b</pre>'
    """
    return f"<pre>{html.escape(text)}</pre>"


def table_html(head: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as HTML, with a line above it.

    Examples
    --------
    >>> table_html("2 < 3", ["a"], [[1.5]])
    '<p>2 &lt; 3</p><table><thead><tr><th>a</th></tr></thead><tbody><tr><td>1.5</td></tr></tbody></table>'
    """

    def line(cells: Iterable[Any], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(_shown(cell))}</{tag}>' for cell in cells)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<p>{html.escape(head)}</p><table><thead>{line(columns, 'th')}</thead><tbody>{body}</tbody></table>"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
