"""Nodes and initialisers of an ONNX graph, and the step of a core as such nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neurosim.compiler.integers.lowering import ON_NUMBERS
from neurosim.compiler.program import Program
from neurosim.language.expression import BOOLEAN, Expression, topological

Number = float | np.ndarray
_OPS = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "neg": "Neg",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
    "abs": "Abs",
    "floor": "Floor",
    "max": "Max",
    "min": "Min",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "lt": "Less",
    "le": "LessOrEqual",
    "eq": "Equal",
}


class Graph:
    """A graph under construction.

    Parameters
    ----------
    dtype : numpy.dtype
        Of all values, float32 or float64.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Return the name of a constant, rounded once to the type of the graph."""
        from onnx import numpy_helper

        name = f"/c{len(self.initializers)}"  # no node of a network has a slash in its name
        array = np.ascontiguousarray(np.asarray(value, dtype=self.dtype if dtype is None else dtype))
        self.initializers.append(numpy_helper.from_array(array.reshape(np.shape(value)), name))
        return name

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        from onnx import helper

        output = output or f"/t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def step(
        self, program: Program, numbers: Mapping[str, Number], leaves: Mapping[tuple[str, str], str]
    ) -> dict[int, str]:
        """Add the nodes of a core's step; return the names of its values by the id of the expression.

        Parameters
        ----------
        program : Program
        numbers : mapping of str to float or numpy.ndarray
            Coefficients by name. What follows from them alone is computed in double precision.
        leaves : mapping of (str, str) to str
            Names of inputs and states.
        """
        from onnx import TensorProto

        kind = TensorProto.DOUBLE if self.dtype == np.float64 else TensorProto.FLOAT
        values: dict[int, str | Number] = {}
        truths: dict[int, str] = {}

        def value(each: Expression) -> str:
            found = values.get(id(each))
            if found is None:
                found = self.add("Cast", truths[id(each)], to=kind)
            elif not isinstance(found, str):
                found = self.constant(found)
            values[id(each)] = found
            return found

        def truth(each: Expression) -> str:
            if id(each) not in truths:
                is_zero = self.add("Equal", value(each), self.constant(0.0))
                truths[id(each)] = self.add("Not", is_zero)
            return truths[id(each)]

        for each in topological([program.output, *program.state.values()]):
            op, args = each.op, each.args
            known = [values.get(id(a)) for a in args]
            if op == "constant":
                values[id(each)] = float(each.payload)
            elif op == "parameter":
                values[id(each)] = numbers[each.payload]
            elif not args:
                values[id(each)] = leaves[op, each.payload]
            elif all(isinstance(k, (float, np.ndarray)) for k in known):
                found = np.asarray(ON_NUMBERS[op](*known), dtype=np.float64)
                values[id(each)] = found if found.ndim else float(found)
            elif op == "detach":
                values[id(each)] = value(args[0])
                if id(args[0]) in truths:
                    truths[id(each)] = truths[id(args[0])]
            elif op == "spike":
                truths[id(each)] = self.add("Greater", value(args[0]), self.constant(0.0))
            elif op in BOOLEAN:
                truths[id(each)] = self.add(_OPS[op], value(args[0]), value(args[1]))
            elif op == "select":
                values[id(each)] = self.add("Where", truth(args[0]), value(args[1]), value(args[2]))
            elif op == "trunc":
                x = value(args[0])
                values[id(each)] = self.add("Mul", self.add("Sign", x), self.add("Floor", self.add("Abs", x)))
            else:
                values[id(each)] = self.add(_OPS[op], *(value(a) for a in args))
        return {id(each): value(each) for each in (program.output, *program.state.values())}
