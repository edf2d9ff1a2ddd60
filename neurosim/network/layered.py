"""Running a network component by component, each by the first strategy that applies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from neurosim.errors import NetworkError
from neurosim.network.component import Component
from neurosim.network.context import RunContext
from neurosim.network.strategies import Strategy


def run_layered(
    context: RunContext, components: Iterable[Component], strategies: Sequence[Strategy], keep: set[str]
) -> None:
    """Run components in order, and free outputs that are not read any more.

    Parameters
    ----------
    context : RunContext
        Inputs and states; afterwards with the outputs of the nodes in `keep`.
    components : iterable of Component
        In order of computation.
    strategies : sequence of Strategy
        In order of preference.
    keep : set of str
        Nodes whose output is needed after the run.
    """
    context.components, context.keep = tuple(components), keep
    for component in context.components:
        if component.nodes[0] not in context.finished:
            choose(strategies, context, component).run(context, component)
        context.release(component, keep)


def choose(strategies: Iterable[Strategy], context: RunContext, component: Component) -> Strategy:
    """Return the first strategy that applies to a component.

    Raises
    ------
    NetworkError
        When none does.
    """
    for strategy in strategies:
        if strategy.applies(context, component):
            return strategy
    raise NetworkError(
        f"no strategy runs {' and '.join(component.nodes)}; net.strategies has {list(strategies)}. Append those of "
        "neurosim.network.preference.STRATEGIES."
    )
