"""The reset of the membrane after a spike, as a value that the step function receives."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from neurosim.language.functions import detach, where

ResetMode = Literal["value", "subtract"] | None


@dataclasses.dataclass(frozen=True)
class Reset:
    """The reset of a step; a step function calls it on the membrane before the reset.

    Parameters
    ----------
    mode : {"value", "subtract", None}
        To a fixed value, by subtraction, or none.
    detached : bool
        Whether the gradient through the reset is cut.
    amount : number, Tensor or Expression, optional
        Amount that a reset by subtraction subtracts instead of that of the step function.
    """

    mode: ResetMode = "value"
    detached: bool = True
    amount: Any = None

    def gate(self, z: Any) -> Any:
        """Return the spike that the reset uses: without gradient if the reset is detached."""
        return detach(z) if self.detached else z

    def __call__(self, u: Any, z: Any, *, to: Any, by: Any) -> Any:
        """Return membrane `u` after spike `z`: `to` or ``u - by`` where z is 1."""
        if self.mode is None:
            return u
        gate = self.gate(z)
        if self.mode == "value":
            return where(gate, to, u)
        return u - gate * (by if self.amount is None else self.amount)
