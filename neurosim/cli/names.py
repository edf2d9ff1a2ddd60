"""How a class of the library is called on the command line."""

from __future__ import annotations

import re


def command_name(name: str) -> str:
    """Return the name of a class in lower case, its words joined by hyphens.

    Examples
    --------
    >>> [command_name(name) for name in ("BPTT", "EProp", "CrossEntropyMSE")]
    ['bptt', 'e-prop', 'cross-entropy-mse']
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()
