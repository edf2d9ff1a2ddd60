"""Names of nodes and edges as identifiers of a programming language."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from neurosim.errors import InputError


def identifiers(names: Iterable[str], taken: set[str], keywords: Collection[str] = ()) -> dict[str, str]:
    """Return a unique identifier of ASCII letters, digits and underscores for each name.

    Parameters
    ----------
    names : iterable of str
    taken : set of str
        Identifiers that are in use; those returned are added.
    keywords : collection of str
        Words of the language; a name that is one gets a prefix.

    Raises
    ------
    InputError
        When a name is no text.

    Examples
    --------
    >>> identifiers(["hidden->out", "for", "2"], set(), ["for"])
    {'hidden->out': 'hidden_to_out', 'for': 'n_for', '2': 'n_2'}
    """
    found: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"a name must be text; got {name!r}.")
        base = re.sub(r"\W+", "_", name.replace("->", "_to_"), flags=re.ASCII).strip("_").lower() or "part"
        base = f"n_{base}" if base[0].isdigit() or base in keywords else base
        candidate, number = base, 2
        while candidate in taken:
            candidate, number = f"{base}_{number}", number + 1
        taken.add(candidate)
        found[name] = candidate
    return found
