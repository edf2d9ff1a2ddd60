"""Which values of the forward pass to keep for the backward pass: the cheapest cut through the step's graph."""

from __future__ import annotations

from collections.abc import Sequence

from neurosim.compiler.program import Levels
from neurosim.language.expression import Expression, topological


def values_to_keep(needed: Sequence[Expression], level: Levels) -> tuple[Expression, ...]:
    """Return the smallest set of values of a step from which all of `needed` can be computed.

    A minimum vertex cut between the leaves that change at every step (input and state) and `needed`; each value
    costs one array over time. For the LIF neuron with fixed parameters it is the membrane before reset alone.

    Parameters
    ----------
    needed : sequence of Expression
        Values of the forward step that the adjoint reads.
    level : Levels
        How often each value changes; only values of a step need to be stored.

    Returns
    -------
    tuple of Expression
        In the order of computation.
    """
    import networkx

    per_step = [node for node in topological(needed) if level(node) == "step"]
    if not per_step:
        return ()
    graph = networkx.DiGraph()
    for number, node in enumerate(per_step):
        # Slightly more expensive towards the inputs, so that of equal cuts the one nearest the adjoint is chosen; a
        # truth value is never stored.
        cost = float("inf") if node.is_boolean else 1.0 - 1e-6 * number
        graph.add_edge((id(node), "in"), (id(node), "out"), capacity=cost)
        for arg in node.args:
            if level(arg) == "step":
                graph.add_edge((id(arg), "out"), (id(node), "in"))
        if not node.args:
            graph.add_edge("source", (id(node), "in"))
    for node in needed:
        if level(node) == "step":
            graph.add_edge((id(node), "out"), "sink")
    _, (before, _) = networkx.minimum_cut(graph, "source", "sink")
    return tuple(n for n in per_step if (id(n), "in") in before and (id(n), "out") not in before)
