"""Kinds of errors: one root, and beside it the kind of Python's own that a user would catch."""

from __future__ import annotations

import pytest

from neurosim import errors

KINDS = {
    "ShapeError": ValueError,
    "UnitError": ValueError,
    "InputError": ValueError,
    "NetworkError": ValueError,
    "FileError": OSError,
    "KernelError": RuntimeError,
    "ExportError": ValueError,
    "TargetRunError": RuntimeError,
    "ClusterError": RuntimeError,
}


WARNINGS = {"ActivityWarning", "FailedTrials", "NothingCompared"}


def test_every_kind_is_listed():
    defined = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert defined == {"NeurosimError", *KINDS, *WARNINGS}
    assert all(issubclass(getattr(errors, name), UserWarning) for name in WARNINGS)


@pytest.mark.parametrize("name", KINDS)
def test_each_is_caught_by_the_root_and_by_its_cousin_in_python(name):
    for kind in (errors.NeurosimError, KINDS[name]):
        with pytest.raises(kind, match=r"^what is wrong$"):
            raise getattr(errors, name)("what is wrong")
