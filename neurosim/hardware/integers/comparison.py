"""What a program or design computed for a network of integers, beside the simulator."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from neurosim.files.notebook import text_html
from neurosim.hardware.integers.traces import Traces

Kind = TypeVar("Kind", bound="Comparison")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """How many outputs and states differ.

    Attributes
    ----------
    samples, steps : int
    compared : int
        Neuron-steps: in each the output and all states are compared.
    values : int
        Outputs and states that were compared.
    sent : int
        Outputs that are not 0.
    differing : mapping of str to mapping of str to int
        By population, how many outputs and how many of each state differ.
    """

    samples: int
    steps: int
    compared: int
    values: int
    sent: int
    differing: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls: type[Kind], ours: Traces, theirs: Traces, **about: Any) -> Kind:
        """Compare two traces; `about` has the values of the other fields."""
        steps, samples = next(iter(ours.outputs.values())).shape[:2]
        return cls(
            samples=samples,
            steps=steps,
            compared=ours.compared,
            values=ours.values,
            sent=ours.sent,
            differing=ours.differing(theirs),
            **about,
        )

    @property
    def total(self) -> int:
        """How many values differ."""
        return sum(sum(each.values()) for each in self.differing.values())

    @property
    def agrees(self) -> bool:
        """Whether none does."""
        return self.total == 0

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def _repr_html_(self) -> str:
        return text_html(self.summary())

    def summary(self) -> str:
        """Return the result in a few lines."""
        lines = [
            f"{self._what()} and simulator: {self.total} values differ in {self.compared} neuron-steps, "
            f"{self.sent} outputs not 0 ({self.samples} samples of {self.steps} steps)",
            *self._more(),
        ]
        for name, counts in self.differing.items():
            lines.append(f"  {name}: " + ", ".join(f"{count} of {what}" for what, count in counts.items()) + " differ")
        if not self.sent:
            lines.append("  no output was sent, so that this shows little: give other data")
        return "\n".join(lines)

    def _what(self) -> str:
        """Return what is compared with the simulator."""
        raise NotImplementedError

    def _more(self) -> list[str]:
        """Return further lines of the summary."""
        return []
