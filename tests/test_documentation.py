"""The README and the pages of docs/: their Python examples run, and the names, files and links in them exist."""

from __future__ import annotations

import doctest
import functools
import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
FENCED = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
PICTURE = re.compile(r"!\[[^\]\n]*\]\(([^)\s]+)\)")

# Pages whose examples use an optional package.
NEED = {
    "README.md": ("lava",),
    "docs/conversions.md": ("snntorch",),
    "docs/from_snntorch.md": ("snntorch", "norse", "spikingjelly", "sinabs"),
    "docs/lava.md": ("lava",),
    "docs/names.md": ("snntorch", "norse", "spikingjelly", "sinabs", "nir"),
    "docs/nir.md": ("nir",),
}


def blocks(text: str) -> list[tuple[int, str]]:
    """List the Python blocks of a Markdown text, each with the number of lines above it."""
    return [(text.count("\n", 0, found.start(1)), found[1]) for found in FENCED.finditer(text)]


def run_block(source: str, above: int, names: dict[str, Any], where: str) -> None:
    """Run one block: a dialogue is compared with its expected output, anything else must not raise."""
    if ">>>" not in source:
        # Without dont_inherit the block would inherit this file's `from __future__ import annotations`.
        exec(compile("\n" * above + source, where, "exec", dont_inherit=True), names)
        return
    dialogue = doctest.DocTestParser().get_doctest(source, names, where, where, above)
    output: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    # A page is read from top to bottom: later blocks use what earlier ones define.
    runner.run(dialogue, out=output.append, clear_globs=False)
    names.update(dialogue.globs)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)


def run_page(text: str, where: str) -> None:
    """Run the blocks of one page in order, as one program."""
    names: dict[str, Any] = {"__name__": "page"}
    for above, source in blocks(text):
        run_block(source, above, names, where)


PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(read(page))])
def test_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [package for package in NEED.get(page, ()) if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    monkeypatch.chdir(tmp_path)
    run_page(read(page), page)


def test_a_page_is_one_program() -> None:
    run_page(
        "```python\nx = 2\n```\ntext\n```python\n>>> x + 1\n3\n>>> y = x\n```\n```python\nassert y == 2\n```\n",
        "a page",
    )


@pytest.mark.parametrize("block", ["assert 1 == 2", "raise ValueError", ">>> 1 + 1\n3", ">>> 1 / 0"])
def test_a_wrong_example_is_found(block: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        run_page(f"text\n\n```python\n{block}\n```\n", "a page")


def test_an_error_names_the_line_of_the_page() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run_page("text\n\n```python\nx = 1\nx / 0\n```\n", "a page")
    assert caught.traceback[-1].lineno == 4


# The changelog may name what has moved: only its links are checked.
DESCRIBING = [page for page in PAGES if page != "CHANGELOG.md"]
NAME = re.compile(r"(?<![\w/.])(neurosim|ns)((?:\.[A-Za-z_]\w*)+)")
FOLDERS = "neurosim|tests|docs|examples|benchmarks|datasets|hardware_targets|pretrained"
ROOMS = "kernels|compiler|language|cores|network|learning|hardware|exchange|energy|plasticity|synapses|cli|report"
FILE = re.compile(rf"(?<![\w/.])(?:{FOLDERS}|{ROOMS})/[\w*./-]+")
COMMANDED = re.compile(r"(?<![\w/.-])(?:tests|examples|benchmarks)/[\w*./]+")
BUILT = ("docs/_build",)
BENCHMARK = re.compile(r"python -m (benchmarks(?:\.\w+)?|tests(?:\.\w+)+)((?: [a-z][a-z-]*)*)")


def inline_code(text: str) -> Iterator[str]:
    """Yield the code between single backticks, outside of blocks."""
    yield from CODE.findall(ANY_FENCE.sub("", text))


def exists(name: str) -> bool:
    """Whether a dotted name such as ``neurosim.learning.fit`` can be reached by imports and attributes."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(value, part):
                # An annotation without a default is a field of a dataclass or a named tuple.
                return part in getattr(value, "__annotations__", {})
            value = getattr(value, part)
        return True
    return False


def missing_names(text: str) -> list[str]:
    """List the names of neurosim in inline code that do not exist."""
    found = {f"neurosim{tail}" for code in inline_code(text) for _, tail in NAME.findall(code)}
    return sorted(name for name in found if not exists(name))


def missing_files(text: str) -> list[str]:
    """List the files and folders in inline code and in commands that do not exist; * stands for any text."""
    found = {match.rstrip(".") for code in inline_code(text) for match in FILE.findall(code)}
    found |= {match.rstrip(".") for match in COMMANDED.findall(text)}
    present = (name for name in found if not name.startswith(BUILT))
    return sorted(name for name in present if not any([*ROOT.glob(name), *(ROOT / "neurosim").glob(name)]))


@functools.cache
def benchmark_names() -> frozenset[str]:
    from benchmarks.__main__ import BENCHMARKS

    return frozenset(BENCHMARKS)


def missing_commands(text: str) -> list[str]:
    """List the benchmarks, test modules and make targets in commands of a page that do not exist."""
    found = []
    for module, arguments in BENCHMARK.findall(text):
        path = ROOT.joinpath(*module.split("."))
        if not (path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()):
            found.append(f"python -m {module}")
        if module == "benchmarks":
            found += [f"python -m benchmarks {name}" for name in arguments.split() if name not in benchmark_names()]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {*re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE)}
    return found + [f"make {name}" for name in re.findall(r"`make ([a-z][\w-]*)`", text) if name not in targets]


@pytest.mark.parametrize("page", DESCRIBING)
def test_the_names_on_a_page_exist(page: str) -> None:
    assert missing_names(read(page)) == []


@pytest.mark.parametrize("folder", ["neurosim", "examples", "benchmarks"])
def test_the_names_in_docstrings_and_errors_exist(folder: str) -> None:
    wrong = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        named = {f"neurosim{tail}" for head, tail in NAME.findall(path.read_text(encoding="utf-8")) if head != "ns"}
        if missing := sorted(name for name in named if not exists(name)):
            wrong[path.relative_to(ROOT).as_posix()] = missing
    assert wrong == {}


@pytest.mark.parametrize("page", DESCRIBING)
def test_the_files_and_commands_on_a_page_exist(page: str) -> None:
    assert missing_files(read(page)) == []
    assert missing_commands(read(page)) == []


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings of a page."""
    headings = re.findall(r"^#{1,3} (.+)$", ANY_FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(page: str, text: str) -> list[str]:
    """List the links of a page to files, pages and headings that do not exist."""
    broken = []
    for target in [*LINK.findall(ANY_FENCE.sub("", text)), *PICTURE.findall(text)]:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        content = (
            text if not name else path.read_text(encoding="utf-8") if path.suffix == ".md" and path.is_file() else ""
        )
        if not path.exists() or (anchor and anchor not in anchors(content)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    assert broken_links(page, read(page)) == []


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("`neurosim.hardware.nothing`", missing_names),
        ("`ns.Nothing(2)`", missing_names),
        ("`neurosim.learning.fit.nothing`", missing_names),
        ("`kernels/nothing.py`", missing_files),
        ("`tests/nothing/test_*.py`", missing_files),
        ("`python -m benchmarks nothing`", missing_commands),
        ("    python -m tests.nothing.verify", missing_commands),
        ("`make nothing`", missing_commands),
    ],
)
def test_what_does_not_exist_is_found(text: str, check: Any) -> None:
    assert len(check(text)) == 1


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("`neurosim.learning.fit(net)` and `ns.Linear`", missing_names),
        ("`neurosim.datasets.Labelled.timed`", missing_names),
        ("`kernels/linear/cpu.py` and `tests/learning/`", missing_files),
        ("`python -m benchmarks train-step --quick`, `python -m benchmarks.gpu`", missing_commands),
    ],
)
def test_what_exists_is_let_through(text: str, check: Any) -> None:
    assert check(text) == []


@pytest.mark.parametrize("target", ["nothing.md", "README.md#nothing", "#nothing", "docs/nothing.svg"])
def test_a_broken_link_is_found(target: str) -> None:
    assert broken_links("README.md", f"# A page\n\n[there]({target})") == [target]
    assert broken_links("README.md", "# A page\n\n[here](#a-page), [docs](docs/index.md), [web](https://a.org)") == []


def test_every_page_can_be_reached_from_the_start_page() -> None:
    start = read("docs/index.md")
    pages = {Path(page).stem for page in PAGES if page.startswith("docs/")} - {"index"}
    listed = {*re.findall(r"^([a-z_0-9]+)$", start, re.MULTILINE)}
    assert sorted(pages - listed) == []


def test_the_list_of_names_has_every_package() -> None:
    # The page takes the names from `__all__`; of these packages users need no name, or only those of neurosim.
    inner = {"cli", "compiler", "files", "kernels", "recording"}
    packages = {path.parent.name for path in (ROOT / "neurosim").glob("*/__init__.py")} - inner
    assert sorted(name for name in packages if f"neurosim.{name}" not in read("docs/api.md")) == []
