"""The step of a core of integers as integer arithmetic: the source of every program that has no floating point."""

from __future__ import annotations

from neurosim.compiler.integers.lowering import Lowered, lower
from neurosim.compiler.integers.nodes import Graph, Node
from neurosim.compiler.integers.step import IntegerStep, integer_step

__all__ = ["Graph", "IntegerStep", "Lowered", "Node", "integer_step", "lower"]
