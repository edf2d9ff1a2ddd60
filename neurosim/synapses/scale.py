"""One-to-one synapses: the output of each neuron times a factor, or unchanged."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurosim.errors import ShapeError
from neurosim.synapses.lowering import Lowered, Scaling
from neurosim.synapses.synapse import Synapse


class Scale(Synapse):
    """One synapse from each neuron to its counterpart: ``i = s z + b``; NIR's ``Scale``.

    Parameters
    ----------
    weight : float or Tensor [...]
        Factor of each neuron, of the shape of the population; or one number for all.
    bias : Tensor [...], optional
        Constant current.

    Attributes
    ----------
    weight : Parameter [...]
    bias : Parameter [...] or None

    Examples
    --------
    >>> import torch
    >>> from neurosim.synapses import Scale
    >>> Scale(torch.tensor([0.5, 2.0]))(torch.ones(1, 1, 2)).tolist()
    [[[0.5, 2.0]]]
    """

    def __init__(self, weight: float | Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(_floating(weight))
        self.bias = None if bias is None else nn.Parameter(_floating(bias).to(self.weight.dtype))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return `shape`, which must be the shape of factors and bias unless they are single numbers."""
        for name, values in (("weight", self.weight), ("bias", self.bias)):
            if values is not None and values.dim() and tuple(values.shape) != tuple(shape):
                raise ShapeError(
                    f"Scale: spikes must be [T, B, {', '.join(map(str, values.shape))}] as its {name} is; "
                    f"got [T, B, {', '.join(map(str, shape))}]."
                )
        return tuple(shape)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return each of ``x`` [n, ...] times its factor, and the bias."""
        current = x * self.weight
        return current if self.bias is None else current + self.bias

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return Scaling(self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the shape."""
        return f"{list(self.weight.shape)}, bias={self.bias is not None}"


class Identity(Synapse):
    """One synapse from each neuron to its counterpart, with weight 1 and no parameters."""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return `shape`."""
        return tuple(shape)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return `x`."""
        return x

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return Scaling(torch.ones(()))


def _floating(values: float | Tensor) -> Tensor:
    tensor = torch.as_tensor(values)
    return tensor.detach().clone() if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())
