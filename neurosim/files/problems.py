"""Everything that a target cannot hold of a network, collected and reported in one error."""

from __future__ import annotations

from neurosim.errors import ExportError


class Problems:
    """A list of problems, each with the node or edge it belongs to.

    Parameters
    ----------
    summary : str
        First line of the error, such as ``"Lava cannot hold this network"``.

    Examples
    --------
    >>> problems = Problems("this chip cannot hold the network")
    >>> problems.add("node 'a'", "v_reset=-0.5; the chip resets to 0")
    >>> bool(problems)
    True
    >>> problems.raise_if_any()
    Traceback (most recent call last):
        ...
    neurosim.errors.ExportError: this chip cannot hold the network:
      - node 'a': v_reset=-0.5; the chip resets to 0
    """

    def __init__(self, summary: str) -> None:
        self._summary = summary
        self._lines: list[str] = []

    def __len__(self) -> int:
        """Return the number of problems."""
        return len(self._lines)

    def add(self, where: str, what: str) -> None:
        """Add a problem of a node, an edge or the network.

        Parameters
        ----------
        where : str
            Such as ``"edge 'a->b'"``.
        what : str
            What the target cannot hold, and what to change.
        """
        self._lines.append(f"{where}: {what}")

    def raise_if_any(self) -> None:
        """Raise an `ExportError` that lists all problems.

        Raises
        ------
        ExportError
            When there is a problem.
        """
        if self._lines:
            raise ExportError("\n".join((f"{self._summary}:", *(f"  - {line}" for line in self._lines))))
