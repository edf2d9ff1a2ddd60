"""The weight exponent of a chip: the sum of a step's weights times a power of two, as an integer."""

from __future__ import annotations

from torch import Tensor

from neurosim.errors import InputError
from neurosim.language.functions import floor
from neurosim.synapses.lowering import Lowered, Shifted
from neurosim.synapses.synapse import Synapse


class Shift(Synapse):
    """Sums times a power of two, rounded down: the shift of a Loihi core.

    It follows the synapses with weights. Gradients pass straight through the rounding.

    Parameters
    ----------
    exponent : int
        Of two, -7 ... 7. From 0 on nothing is rounded.

    Examples
    --------
    >>> import torch
    >>> from neurosim.synapses.shift import Shift
    >>> Shift(-1)(torch.tensor([[[5.0, -5.0]]])).tolist()
    [[[2.0, -3.0]]]
    """

    def __init__(self, exponent: int) -> None:
        super().__init__()
        if not isinstance(exponent, int) or isinstance(exponent, bool) or abs(exponent) > 7:
            raise InputError(f"Shift: exponent must be an integer from -7 to 7; got {exponent!r}.")
        self.exponent = exponent

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the same shape."""
        return shape

    def apply_step(self, x: Tensor) -> Tensor:
        """Return ``floor(x 2^exponent)``."""
        scaled = x * 2.0**self.exponent
        return scaled if self.exponent >= 0 else floor(scaled)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return Shifted(self.exponent)

    def extra_repr(self) -> str:
        """Return the exponent."""
        return f"{self.exponent}"
