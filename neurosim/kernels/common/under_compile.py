"""Getting on with torch.compile without paying for it where it is not used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])


def constant_in_graph(function: Function) -> Function:
    """Mark `function` as one that torch.compile calls while it traces, keeping the result as a constant.

    The mark is that of ``torch.compiler.assume_constant_result``, which would load the whole compiler, 2 s, when
    this package is imported.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
