"""Soft Hebbian learning: neurons that share each input out among them, and weights that find their own norm."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError


class SoftHebb:
    r"""Soft winner-take-all Hebbian learning of a matrix of weights, without labels.

    .. math:: u = W x, \quad y = \mathrm{softmax}(t\,u), \quad
              \Delta w_k = \sum (y_k x - y_k u_k w_k)

    with the mean over samples for the sum. Of one input only, ``w = x / |x|`` is where it comes to rest; a neuron that
    wins inputs ends on a norm of 1, one that wins none may stay where it is. The form of the authors for deep layers,
    whose losers learn with the opposite sign and whose rates follow the norms, is not here.

    Parameters
    ----------
    inputs, neurons : int
        Sizes, from 1.
    inverse_temperature : float
        t, above 0.
    rate : float
        :math:`\eta`.
    scale : float
        Weights are drawn from N(0, 1) times ``scale / sqrt(inputs)``: a norm of about `scale`.
    generator : torch.Generator, optional
        Source of chance.

    Attributes
    ----------
    weight : Tensor [neurons, inputs]
    rate : float
        May be changed from batch to batch.

    Raises
    ------
    InputError
        For a number out of range.

    References
    ----------
    Moraitis et al., "SoftHebb: Bayesian inference in unsupervised Hebbian soft winner-take-all networks",
    Neuromorphic Computing and Engineering 2, 2022, doi:10.1088/2634-4386/aca710.

    Examples
    --------
    >>> import torch
    >>> from neurosim.learning.plasticity_hebb import SoftHebb
    >>> hebb = SoftHebb(4, 1, rate=0.1, generator=torch.Generator().manual_seed(0))
    >>> for _ in range(300):
    ...     hebb.learn(torch.tensor([[0.6, 0.0, 0.8, 0.0]]))
    >>> hebb.weight.round(decimals=3) + 0.0
    tensor([[0.6000, 0.0000, 0.8000, 0.0000]])
    """

    def __init__(
        self,
        inputs: int,
        neurons: int,
        *,
        inverse_temperature: float = 1.0,
        rate: float = 0.01,
        scale: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        for name, number in (("inputs", inputs), ("neurons", neurons)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise InputError(f"SoftHebb: {name} must be a whole number from 1; got {number!r}.")
        for name, value in (("inverse_temperature", inverse_temperature), ("scale", scale)):
            if not 0 < value < math.inf:
                raise InputError(f"SoftHebb: {name} must be a number above 0; got {value!r}.")
        self.inverse_temperature, self.rate = inverse_temperature, rate
        self.weight = torch.randn(neurons, inputs, generator=generator) * (scale / math.sqrt(inputs))

    def response(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and y [n, neurons] for samples `x` [n, inputs]."""
        if x.dim() != 2 or x.shape[1] != self.weight.shape[1]:
            raise ShapeError(f"SoftHebb: samples must be [n, {self.weight.shape[1]}]; got {list(x.shape)}.")
        u = x @ self.weight.T
        return u, torch.softmax(self.inverse_temperature * u, 1)

    def update(self, x: Tensor) -> Tensor:
        """Return the change of the weights from samples `x` [n, inputs], before any rate."""
        u, y = self.response(x)
        return (y.T @ x - (y * u).sum(0)[:, None] * self.weight) / len(x)

    @torch.no_grad()
    def learn(self, x: Tensor) -> None:
        """Change the weights by one batch of samples `x` [n, inputs]."""
        self.weight += self.rate * self.update(x)
