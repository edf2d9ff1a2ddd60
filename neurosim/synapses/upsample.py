"""Images enlarged by repeating each value."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from neurosim.synapses.synapse import Synapse, pair


class Upsample(Synapse):
    """Each value repeated over a window: ``[T, B, C, H, W] -> [T, B, C, factor H, factor W]``; spikes stay spikes.

    Parameters
    ----------
    factor : int or (int, int)
        Height and width of the window, as ``scale_factor`` of ``torch.nn.Upsample`` with its mode ``"nearest"``.

    Examples
    --------
    >>> import torch
    >>> from neurosim.synapses import Upsample
    >>> Upsample((1, 2))(torch.tensor([[[[[0.0, 1.0]]]]])).tolist()
    [[[[[0.0, 0.0, 1.0, 1.0]]]]]
    """

    def __init__(self, factor: int | tuple[int, int]) -> None:
        super().__init__()
        self.factor = pair("Upsample", "factor", factor, 2)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(C, factor H, factor W)``."""
        if len(shape) != 3:
            raise self.refuse(shape, "C, H, W")
        return (shape[0], shape[1] * self.factor[0], shape[2] * self.factor[1])

    def apply_step(self, x: Tensor) -> Tensor:
        """Return ``x`` [n, C, H, W] enlarged."""
        return functional.interpolate(x, scale_factor=tuple(map(float, self.factor)), mode="nearest")

    def extra_repr(self) -> str:
        """Return the factor."""
        return f"factor={self.factor}"
