"""The masked parallel spiking neuron: a PSN that becomes causal during training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.language import Surrogate
from neurosim.parallel.psn import PSN, check_count


class MaskedPSN(PSN):
    r"""Masked parallel spiking neuron of order k: fully masked, a step depends on itself and the k - 1 steps before.

    .. math:: H = \left(W \odot (\lambda M_k + (1 - \lambda) \mathbb{1})\right) X, \quad
              M_k[t, s] = 1 \text{ where } t - k < s \le t, \text{ else } 0

    With :math:`\lambda` = `masking` = 0 it is a `PSN`; at 1 it is causal. The authors increase it from 0 to 1 during
    training (see `masking_at`). Below 1 a step also depends on later steps: results for a causal network need 1.

    Parameters
    ----------
    steps : int
        T, the length of every run.
    order : int
        k, from 1.
    dt : float, optional
        Length of a step, s, in (0, 0.1); that of its network if left out.
    masking : float
        In [0, 1]. Can be set at any time; part of the layer's ``state_dict``.
    size, spike
        As in `PSN`.

    Raises
    ------
    InputError, ShapeError
        As `PSN` does, and for a `masking` outside [0, 1].

    References
    ----------
    Fang et al. 2023, arXiv:2304.12760.

    Examples
    --------
    >>> import torch
    >>> from neurosim.parallel import MaskedPSN
    >>> layer = MaskedPSN(4, 2, dt=1e-3, masking=1.0)
    >>> (layer.mixing() != 0).int()
    tensor([[1, 0, 0, 0],
            [1, 1, 0, 0],
            [0, 1, 1, 0],
            [0, 0, 1, 1]], dtype=torch.int32)
    """

    band: Tensor

    def __init__(
        self,
        steps: int,
        order: int,
        *,
        dt: float | None = None,
        masking: float = 0.0,
        size: int | Sequence[int] | None = None,
        spike: Surrogate | None = None,
    ) -> None:
        super().__init__(steps, dt=dt, size=size, spike=spike)
        self.order = check_count(self.kind, "order", order)
        self.masking = masking
        self.register_buffer("band", torch.ones(steps, steps).tril().triu(1 - order), persistent=False)

    @property
    def masking(self) -> float:
        """Strength of the mask: 0 none, 1 full."""
        return self._masking

    @masking.setter
    def masking(self, value: float) -> None:
        if not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise InputError(f"{self.kind}: masking must be a number in [0, 1]; got {value!r}. See masking_at.")
        self._masking = float(value)

    def mixing(self) -> Tensor:
        """Return the matrix [T, T] that multiplies the input over time, with the current mask."""
        mask = self.masking * self.band + (1.0 - self.masking)
        return self.weight * mask

    def get_extra_state(self) -> Tensor:
        """Return the part of ``state_dict`` besides the parameters: `masking`."""
        return torch.tensor(self.masking, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Load `masking` from a ``state_dict``."""
        self.masking = float(state)

    def extra_repr(self) -> str:
        """Return the arguments of this layer."""
        parts = super().extra_repr().split(", ", 1)
        return f"{parts[0]}, {self.order}, masking={self.masking:g}, {parts[1]}"


def masking_at(epoch: int, epochs: int) -> float:
    """Return the authors' schedule of `MaskedPSN.masking`: linear from 0 in the first epoch to 1 in the last.

    Parameters
    ----------
    epoch : int
        Number of finished epochs; 0 in the first.
    epochs : int
        Number of epochs. With one epoch the mask is full from the start; after the last it stays 1.

    Examples
    --------
    >>> from neurosim.parallel import masking_at
    >>> [masking_at(epoch, 5) for epoch in range(5)]
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if epochs < 1 or epoch < 0:
        raise InputError(f"masking_at: epoch counts from 0 and epochs from 1; got {epoch} of {epochs}.")
    return min(1.0, epoch / (epochs - 1)) if epochs > 1 else 1.0
