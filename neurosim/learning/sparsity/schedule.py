"""How sparse a network is after a number of steps of the optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neurosim.errors import InputError
from neurosim.synapses.synapse import count


@dataclass(frozen=True)
class CubicSparsity:
    r"""Sparsity that rises fast at first and slowly at last, from `initial` to `final`.

    .. math:: s_t = s_f + (s_i - s_f) \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^3

    between the steps :math:`t_0` and :math:`t_1`; before them :math:`s_i`, after them :math:`s_f`.

    Parameters
    ----------
    final : float
        Share of the weights that are 0 in the end, in [0, 1).
    begin, end : int
        Steps of the optimizer at which pruning starts and ends.
    initial : float
        Share of the weights that are 0 before, in [0, final].

    References
    ----------
    Zhu & Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017,
    arXiv:1710.01878, eq. 1.

    Examples
    --------
    >>> from neurosim.learning.sparsity import CubicSparsity
    >>> schedule = CubicSparsity(0.8, begin=100, end=300)
    >>> schedule(100), round(schedule(200), 9), schedule(300)
    (0.0, 0.7, 0.8)
    """

    final: float
    begin: int
    end: int
    initial: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        count("CubicSparsity", "begin", self.begin, 0)
        count("CubicSparsity", "end", self.end, self.begin + 1)
        check_share("CubicSparsity: final", self.final)
        check_share("CubicSparsity: initial", self.initial)
        if self.initial > self.final:
            raise InputError(f"CubicSparsity: initial={self.initial!r} is above final={self.final!r}.")

    def __call__(self, step: int) -> float:
        """Return the sparsity after so many steps."""
        left = 1.0 - min(max(step - self.begin, 0) / (self.end - self.begin), 1.0)
        return self.final * (1.0 - left**3) + self.initial * left**3


def check_share(what: str, value: object) -> float:
    """Return a share of 0 or more, below 1.

    Raises
    ------
    InputError
        For anything else.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value < 1:
        return float(value)
    raise InputError(f"{what} must be a share in [0, 1); got {value!r}.")
