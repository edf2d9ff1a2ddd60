"""Which strategy and which kernels run each part of a network, and why."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterable, Sequence
from typing import Any

from neurosim.kernels.common.decisions import Decision, observed
from neurosim.network.component import Component
from neurosim.network.context import RunContext
from neurosim.network.graph import Connection
from neurosim.network.strategies import Strategy


@dataclasses.dataclass(frozen=True)
class KernelCalls:
    """Calls of one kernel while a component ran.

    Attributes
    ----------
    operation : str
        Such as ``"linear"``, ``"conv"`` or ``"neurons"``.
    device : str
        ``"cpu"`` or ``"cuda"``.
    kernel : str
        ``"event-driven"``, ``"dense"``, ``"fused"`` or ``"reference"``.
    calls : int
    reason : str
        Why that kernel ran in the last call, with the measured numbers; empty if there was no choice.
    """

    operation: str
    device: str
    kernel: str
    calls: int
    reason: str

    def __str__(self) -> str:
        return f"{self.operation}: {self.kernel} on {self.device}" + (f", {self.calls} calls" * (self.calls > 1))


@dataclasses.dataclass(frozen=True)
class ComponentExplanation:
    """How one component of a network ran.

    Attributes
    ----------
    populations : tuple of str
        A population, or the populations of a cycle.
    strategy : str
        Name of the strategy that ran it.
    skipped : dict of str to str
        Strategies that come first but could not run it, each with the reason.
    kernels : tuple of KernelCalls
        The kernels that ran.
    rates : dict of str to float
        Share of values that are not zero, measured at the source of each edge into the component.
    """

    populations: tuple[str, ...]
    strategy: str
    skipped: dict[str, str]
    kernels: tuple[KernelCalls, ...]
    rates: dict[str, float]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why this strategy and these kernels ran."""
        skipped = (f"not {name}: {reason}" for name, reason in self.skipped.items())
        return (*skipped, *(f"{k.operation}: {k.reason}" for k in self.kernels if k.reason))


@dataclasses.dataclass(frozen=True)
class Explanation:
    """How the components of a network ran; as text a table.

    Attributes
    ----------
    rows : tuple of ComponentExplanation
        In order of computation; empty if nothing was run.
    circuit : neurosim.circuit.explanation.CircuitExplanation
        Whether and how the engine of circuits runs the network.
    """

    rows: tuple[ComponentExplanation, ...]
    circuit: Any

    def __str__(self) -> str:
        if not self.rows:
            return str(self.circuit)
        return self._table() + (f"\n\n{self.circuit}" if self.circuit.chosen else "")

    def _table(self) -> str:
        table: list[list[list[str]]] = [[["populations"], ["strategy"], ["kernels"], ["input rate"], ["why"]]]
        for row in self.rows:
            rates = [f"{name}: {100.0 * rate:.3g} %" for name, rate in row.rates.items()]
            kernels = [str(calls) for calls in row.kernels]
            table.append([[*row.populations], [row.strategy], kernels, rates, [*row.reasons]])
        widths = [max(len(text) for cells in table for text in cells[column]) for column in range(len(table[0]))]
        lines = []
        for cells in table:
            for number in range(max(len(cell) for cell in cells)):
                texts = [cell[number] if number < len(cell) else "" for cell in cells]
                lines.append("  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip())
        return "\n".join(lines)


def circuit_of(net: Any, record: Sequence[str], batch: int, plasticity: Any) -> Any:
    """Return whether and how the engine of circuits, which is above this package, runs a network."""
    module = importlib.import_module("neurosim.circuit.explanation")
    return module.explained(net, record, batch, plasticity)


def observe(strategies: Iterable[Strategy], rows: list[ComponentExplanation]) -> tuple[Strategy, ...]:
    """Return strategies that do what `strategies` do, and append to `rows` how each component ran."""
    skipped: dict[str, str] = {}
    return tuple(_Observed(strategy, skipped, rows) for strategy in strategies)


class _Observed(Strategy):
    name = "observed"

    def __init__(self, strategy: Strategy, skipped: dict[str, str], rows: list[ComponentExplanation]) -> None:
        self.strategy, self.skipped, self.rows = strategy, skipped, rows

    def concerns(self, context: RunContext, component: Component) -> bool:
        return self.strategy.concerns(context, component)

    def obstacle(self, context: RunContext, component: Component) -> str | None:
        reason = self.strategy.obstacle(context, component)
        if reason is not None:
            self.skipped[self.strategy.name] = reason
        return reason

    def run(self, context: RunContext, component: Component) -> None:
        rates = _rates(context, component.outer)
        before = set(context.finished)
        with observed() as decisions:
            self.strategy.run(context, component)
        rates.update(_rates(context, component.inner))
        further = tuple(name for name in context.nodes if name in context.finished - before - {*component.nodes})
        names = (*component.nodes, *further)
        rates.update(context.rates)
        context.rates.clear()
        self.rows.append(
            ComponentExplanation(names, self.strategy.name, dict(self.skipped), _grouped(decisions), rates)
        )
        self.skipped.clear()


def _rates(context: RunContext, edges: Iterable[Connection]) -> dict[str, float]:
    """Return the share of values that are not zero at the source of each edge, where its output is there."""
    outputs = {edge.name: context.outputs[edge.source].out for edge in edges if edge.source in context.outputs}
    return {name: int(x.detach().count_nonzero()) / max(x.numel(), 1) for name, x in outputs.items()}


def _grouped(decisions: Sequence[Decision]) -> tuple[KernelCalls, ...]:
    groups: dict[tuple[str, str, str], list[Decision]] = {}
    for decision in decisions:
        groups.setdefault(decision[:3], []).append(decision)
    return tuple(KernelCalls(*which, len(group), group[-1].reason) for which, group in groups.items())
