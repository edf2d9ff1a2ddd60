"""The fidelity ledger: for everything that has a reference, what it is checked against and how well it agrees.

`ROWS` are written by hand; the observed errors are measured by running the tests that they name, with every comparison
watched (`python -m tests.ledger --write`, a few minutes), and kept in ``tests/ledger.json``. ``docs/fidelity.md`` is
made of the two; `tests/test_ledger.py` checks that it is current and complete.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tests.ledger_rows import KINDS, ROWS, Row
from tests.observed import observing

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "fidelity.md"
ERRORS = ROOT / "tests" / "ledger.json"
SMALLEST = 1e-16  # differences below are shown as this
HEAD = """# Fidelity ledger

Everything here that has a reference: the reference, the test that compares with it, the error that the test observed,
and the known differences. An error is the largest difference that the comparisons of the test saw, as a share of the
largest value expected; 0 means the same bits or the same spikes. Words in place of a number say what the test counts.
What was measured with published methods on data is in [published methods](methods.md).

The page is generated from the tests; its errors are measured by

    python -m tests.ledger --write
"""


class Measured(NamedTuple):
    """What the comparisons of a test saw.

    Attributes
    ----------
    comparisons : int
    error : float
        The largest.
    """

    comparisons: int
    error: float


def relative(actual: Any, expected: Any) -> float:
    """Return the largest difference as a share of the largest value expected; 0 of nothing."""
    a, b = (
        np.asarray(v.detach().cpu().double() if isinstance(v, Tensor) else v, dtype=np.float64)
        for v in (actual, expected)
    )
    if a.size == 0 or b.size == 0:
        return 0.0
    difference, size = float(np.max(np.abs(a - b))), float(np.max(np.abs(b)))
    return difference / size if size else difference


@contextmanager
def _replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    real = getattr(owner, name)
    setattr(owner, name, make(real))
    try:
        yield
    finally:
        setattr(owner, name, real)


class Recorder:
    """A pytest plugin that notes the largest difference that the comparisons of each test saw."""

    def __init__(self) -> None:
        self.measured: dict[str, Measured] = {}
        self.failed: list[str] = []
        self.skipped: list[str] = []
        self.errors: list[float] = []

    def note(self, error: float) -> None:
        if math.isfinite(error):
            self.errors.append(error)

    def _if_true(self, real: Callable[..., Any], error: Callable[..., float]) -> Callable[..., Any]:
        def compare(*given: Any, **named: Any) -> Any:
            result = real(*given, **named)
            if result is None or result is True:  # an assertion that passed, or a comparison that holds
                self.note(error(*given[:2]))
            return result

        return compare

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note every comparison inside."""
        import pytest

        def close(real: Callable[..., Any]) -> Callable[..., Any]:
            return self._if_true(real, relative)

        def equal(real: Callable[..., Any]) -> Callable[..., Any]:
            return self._if_true(real, lambda *_: 0.0)

        def approximately(real: Callable[..., Any]) -> Callable[..., Any]:
            return self._if_true(real, lambda expected, actual: relative(actual, expected.expected))

        with (
            _replaced(torch.testing, "assert_close", close),
            _replaced(torch, "allclose", close),
            _replaced(np.testing, "assert_allclose", close),
            _replaced(np, "allclose", close),
            _replaced(torch, "equal", equal),
            _replaced(np, "array_equal", equal),
            _replaced(type(pytest.approx(1.0)), "__eq__", approximately),
            observing(self.note),
        ):
            yield

    def pytest_runtest_call(self, item: Any) -> None:
        self.errors.clear()

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.split("[")[0]
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.skipped:
            self.skipped.append(name)
        elif report.when == "call":
            before = self.measured.get(name, Measured(0, 0.0))
            seen = [before.error, *self.errors]
            self.measured[name] = Measured(before.comparisons + len(self.errors), max(seen))


def measure(tests: list[str]) -> Recorder:
    """Run tests and return what their comparisons saw."""
    import pytest

    recorder = Recorder()
    with recorder.watching():
        pytest.main(["-q", "-p", "no:cacheprovider", "--no-header", *tests], plugins=[recorder])
    return recorder


def shown(error: float) -> str:
    """Return an error with one digit, rounded up."""
    if error == 0.0:
        return "0"
    error = max(error, SMALLEST)
    power = math.floor(math.log10(error))
    digit = math.ceil(error / 10.0**power - 1e-9)
    return f"{digit}e{power}" if digit < 10 else f"1e{power + 1}"


def line(row: Row, errors: dict[str, float]) -> str:
    """Return the line of the table for a row."""
    path, _, test = row.check.partition("::")
    observed = row.observed or shown(errors[row.check])
    cells = (f"`{row.name}`", row.reference, f"`{path}`<br>`{test}`", observed, row.difference or "none known")
    return f"| {' | '.join(cells)} |"


def page(errors: dict[str, float]) -> str:
    """Return the page."""
    parts = [HEAD]
    for kind, title in KINDS.items():
        parts += [
            f"\n## {title}\n",
            "| name | reference | check | observed error | known difference |",
            "|---|---|---|---|---|",
            *(line(row, errors) for row in ROWS if row.kind == kind),
        ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Measure the observed errors and write them with the page, or compare them with those kept."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="write tests/ledger.json and docs/fidelity.md")
    parser.add_argument("--page", action="store_true", help="write docs/fidelity.md from the errors kept; run nothing")
    parser.add_argument("text", nargs="?", default="", help="measure only tests whose name contains it")
    args = parser.parse_args()
    needed = sorted({row.check for row in ROWS if not row.observed})
    kept = json.loads(ERRORS.read_text(encoding="utf-8")) if ERRORS.exists() else {}
    tests = [] if args.page else [test for test in needed if args.text in test]
    errors = {test: kept[test] for test in needed if test in kept and test not in tests}
    errors |= _measured(tests) if tests else {}
    if args.write or args.page:
        ERRORS.write_text(json.dumps(errors, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        PAGE.write_text(page(errors), encoding="utf-8")
        return
    worse = [f"{test}: {errors[test]:g}, kept {kept[test]:g}" for test in tests if grown(errors[test], kept[test])]
    raise SystemExit("\n".join(worse))


def grown(error: float, kept: float) -> bool:
    """Whether an error is more than rounding on another machine above the one kept."""
    return error > 10 * max(kept, 1e-15)


def _measured(tests: list[str]) -> dict[str, float]:
    os.chdir(ROOT)
    recorder = measure(tests)
    silent = [test for test in tests if test in recorder.measured and not recorder.measured[test].comparisons]
    absent = [test for test in tests if test not in recorder.measured]
    for what, names in (("failed", recorder.failed), ("compared nothing", silent), ("did not run", absent)):
        if names:
            raise SystemExit(f"{what}: {', '.join(names)}")
    return {test: float(f"{recorder.measured[test].error:.2g}") for test in tests}


if __name__ == "__main__":
    main()
