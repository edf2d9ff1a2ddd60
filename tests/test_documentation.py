"""Every Python example in the README and in the pages of docs/ runs."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
FENCED = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[int, str]]:
    """List the Python blocks of a Markdown text, each with the number of lines above it."""
    return [(text.count("\n", 0, found.start(1)), found[1]) for found in FENCED.finditer(text)]


def run_block(source: str, above: int, names: dict[str, Any], where: str) -> None:
    """Run one block: a dialogue is compared with what it says, anything else has to pass."""
    if ">>>" not in source:
        exec(compile("\n" * above + source, where, "exec"), names)
        return
    dialogue = doctest.DocTestParser().get_doctest(source, names, where, where, above)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    # A page is read from top to bottom: what a block defines, the next ones use.
    runner.run(dialogue, out=said.append, clear_globs=False)
    names.update(dialogue.globs)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def run_page(text: str, where: str) -> None:
    """Run the blocks of one page in order, as one program."""
    names: dict[str, Any] = {"__name__": "page"}
    for above, source in blocks(text):
        run_block(source, above, names, where)


PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", [page for page in PAGES if blocks((ROOT / page).read_text(encoding="utf-8"))])
def test_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page((ROOT / page).read_text(encoding="utf-8"), page)


def test_a_page_is_one_program() -> None:
    run_page(
        "```python\nx = 2\n```\ntext\n```python\n>>> x + 1\n3\n>>> y = x\n```\n```python\nassert y == 2\n```\n",
        "a page",
    )


@pytest.mark.parametrize("block", ["assert 1 == 2", "raise ValueError", ">>> 1 + 1\n3", ">>> 1 / 0"])
def test_an_example_that_is_wrong_is_found(block: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        run_page(f"text\n\n```python\n{block}\n```\n", "a page")


def test_an_error_names_the_line_of_the_page() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run_page("text\n\n```python\nx = 1\nx / 0\n```\n", "a page")
    assert caught.traceback[-1].lineno == 4
