"""Arithmetic of one update of a neuron, counted on the recorded step."""

from __future__ import annotations

import dataclasses

from neurosim.compiler.program import Levels, Program
from neurosim.language.expression import LEAVES, topological


@dataclasses.dataclass(frozen=True)
class OperationCount:
    """Operations of one neuron in one step; values that are computed before the run do not count.

    Attributes
    ----------
    add, mul, div : int
        Additions and subtractions, multiplications, divisions.
    compare, select : int
        Comparisons (the threshold among them) and choices (a reset among them).
    function : int
        Exponentials and other functions.
    state : int
        State variables, each read and written once.
    """

    add: int = 0
    mul: int = 0
    div: int = 0
    compare: int = 0
    select: int = 0
    function: int = 0
    state: int = 0


_KIND = {
    "add": "add",
    "sub": "add",
    "neg": "add",
    "mul": "mul",
    "div": "div",
    "spike": "compare",
    "gt": "compare",
    "ge": "compare",
    "lt": "compare",
    "le": "compare",
    "eq": "compare",
    "max": "compare",
    "min": "compare",
    "select": "select",
}


def operations(program: Program) -> OperationCount:
    """Count the operations of one step of `program`.

    Notes
    -----
    A value that depends on parameters alone costs nothing per step. ``(1 - alpha) * r * i`` counts as one
    multiplication, since the product of the parameters is computed before the run.
    """
    level = Levels(program.per_neuron, program.per_trial)
    count = dict.fromkeys((f.name for f in dataclasses.fields(OperationCount)), 0)
    for node in topological([program.output, *program.state.values()]):
        if level(node) == "step" and node.op not in LEAVES and node.op != "detach":
            count[_KIND.get(node.op, "function")] += 1
    return OperationCount(**{**count, "state": len(program.state)})
