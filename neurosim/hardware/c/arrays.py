"""The arrays of a C program, and the bytes that they take."""

from __future__ import annotations

import math

import numpy as np

from neurosim.compiler.integers.ranges import Range
from neurosim.hardware.c.expressions import bytes_of, constant_type, literal

VALUES_PER_LINE = 24


class Arrays:
    """Declarations of constants and variables.

    Attributes
    ----------
    constants, variables : list of str
        Their declarations.
    constant_bytes, state_bytes : int
        Bytes of each.
    """

    def __init__(self) -> None:
        self.constants: list[str] = []
        self.variables: list[str] = []
        self.constant_bytes = self.state_bytes = 0

    def constant(self, name: str, values: np.ndarray) -> str:
        """Add an array of constants, of the narrowest type; return the type."""
        flat = values.reshape(-1)
        kind = constant_type(Range(int(flat.min(initial=0)), int(flat.max(initial=0))))
        self.constants.append(f"static const {kind} {name}[{max(flat.size, 1)}] = {{\n{listed(flat)}\n}};")
        self.constant_bytes += max(flat.size, 1) * bytes_of(kind)
        return kind

    def variable(self, kind: str, name: str, *sizes: int) -> None:
        """Add a variable, an array where there are sizes."""
        size = f"[{' * '.join(map(str, sizes))}]" if sizes else ""
        self.variables.append(f"static {kind} {name}{size};")
        self.state_bytes += math.prod(sizes) * bytes_of(kind)


def listed(values: np.ndarray) -> str:
    """Return the numbers of an initialiser."""
    numbers = [literal(int(value)) for value in values] or ["0"]
    rows = (numbers[k : k + VALUES_PER_LINE] for k in range(0, len(numbers), VALUES_PER_LINE))
    return ",\n".join("    " + ", ".join(row) for row in rows)
