"""Lateral neurons that learn the subspace of their inputs by a Hebbian and an anti-Hebbian rule."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.synapses.synapse import count


@dataclasses.dataclass(frozen=True)
class RoundedResponses:
    r"""Responses as numbers of spikes: clipped and rounded.

    .. math:: y \leftarrow \frac{S}{N} \, \mathrm{round}\!\left(N \, \mathrm{clip}(y, -S, S) / S\right)

    Parameters
    ----------
    scale : float
        Largest response S, above 0.
    steps : int
        Number of spikes N of the largest response, from 1.

    References
    ----------
    Xiao et al., ICLR 2024, and the authors' program, whose defaults these are.
    """

    scale: float = 20.0
    steps: int = 1000

    def __post_init__(self) -> None:
        """Check the two numbers."""
        if not 0 < self.scale < math.inf:
            raise InputError(f"RoundedResponses: scale is the largest response, above 0; got {self.scale!r}.")
        count("RoundedResponses", "steps", self.steps)

    def __call__(self, y: Tensor) -> Tensor:
        """Return the rounded responses."""
        return (y.clamp(-self.scale, self.scale) * (self.steps / self.scale)).round() * (self.scale / self.steps)


class LateralBank(nn.Module):
    r"""A bank of lateral neurons beside a layer's inputs: Oja's subspace rule, row by row of a matrix H.

    .. math:: y = H x, \quad \hat x = H^\top y, \quad
              \Delta = \langle y\,(x - \hat x)^\top \rangle, \quad
              M \leftarrow m\,M + (1 - m)\,\Delta, \quad H \leftarrow H + \eta\,M

    :math:`y` is the Hebbian direction; :math:`\hat x`, the part of the input that the bank explains, the anti-Hebbian
    one. Both include all rows; frozen rows of H and M do not change. New rows therefore learn the residual of the
    frozen ones and become orthogonal to them. The rows converge to an orthonormal basis of the principal subspace, not
    to its axes.

    Parameters
    ----------
    inputs : int
        Number n of input neurons, or of values of a patch.
    rate : float
        Learning rate :math:`\eta`, above 0.
    momentum : float
        m, in [0, 1).
    iterations : int
        Updates from each batch of samples, from 1.
    limit : float
        Bound of each element of :math:`\Delta`, above 0.
    spiking : RoundedResponses, optional
        Rounds the responses y; None for real responses.

    Attributes
    ----------
    weight : Tensor [M, n]
        H; without rows at first.
    drift : Tensor [M, n]
        M, the running mean of the updates.
    frozen : int
        Number of rows, from the first on, that do not learn.

    Raises
    ------
    InputError
        For a number out of range.
    ShapeError
        When samples do not have n values.

    References
    ----------
    Xiao et al., "Hebbian learning based orthogonal projection for continual learning of spiking neural networks",
    ICLR 2024, arXiv:2402.11984. Oja, "Neural networks, principal components, and subspaces", 1989.

    Examples
    --------
    >>> import torch
    >>> from neurosim.synapses.lateral import LateralBank
    >>> generator = torch.Generator().manual_seed(0)
    >>> basis = torch.linalg.qr(torch.randn(8, 2, generator=generator)).Q
    >>> bank = LateralBank(8, rate=0.1)
    >>> bank.grow(2)
    >>> for _ in range(100):
    ...     bank.learn(torch.randn(64, 2, generator=generator) @ basis.T)
    >>> bank.freeze()
    >>> x = torch.randn(5, 2, generator=generator) @ basis.T
    >>> bank.orthogonal(x).abs().max() < 1e-2
    tensor(True)
    """

    weight: Tensor
    drift: Tensor
    _frozen: Tensor

    def __init__(
        self,
        inputs: int,
        *,
        rate: float = 0.01,
        momentum: float = 0.9,
        iterations: int = 5,
        limit: float = 10.0,
        spiking: RoundedResponses | None = None,
    ) -> None:
        super().__init__()
        self.inputs = count("LateralBank", "inputs", inputs)
        self.iterations = count("LateralBank", "iterations", iterations)
        for name, value, low, high in (("rate", rate, 0, math.inf), ("limit", limit, 0, math.inf)):
            if not low < value < high:
                raise InputError(f"LateralBank: {name} must be a number above 0; got {value!r}.")
        if not 0 <= momentum < 1:
            raise InputError(f"LateralBank: momentum must be in [0, 1); got {momentum!r}.")
        self.rate, self.momentum, self.limit, self.spiking = rate, momentum, limit, spiking
        self.register_buffer("weight", torch.empty(0, inputs))
        self.register_buffer("drift", torch.empty(0, inputs))
        self.register_buffer("_frozen", torch.tensor(0))

    @property
    def frozen(self) -> int:
        """Number of rows that do not learn."""
        return int(self._frozen)

    def freeze(self) -> None:
        """Freeze all rows."""
        self._frozen.fill_(len(self.weight))

    def grow(self, rows: int) -> None:
        """Add `rows` new lateral neurons with random orthonormal weights; from 0."""
        count("LateralBank.grow", "rows", rows, low=0)
        fresh = self.weight.new_empty(rows, self.inputs)
        if rows:
            nn.init.orthogonal_(fresh)
        self.weight = torch.cat((self.weight, fresh))
        self.drift = torch.cat((self.drift, torch.zeros_like(fresh)))

    def response(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """Return the responses of the lateral neurons (with `frozen` only those that do not learn) to `x` [..., n]."""
        self._check(x)
        y = x @ (self.weight[: self.frozen] if frozen else self.weight).T
        return y if self.spiking is None else self.spiking(y)

    def explained(self, x: Tensor) -> Tensor:
        """Return the part of `x` [..., n] that the frozen rows explain, ``H^T H x``."""
        return self.response(x, frozen=True) @ self.weight[: self.frozen]

    def orthogonal(self, x: Tensor) -> Tensor:
        """Return the part of `x` [..., n] that the frozen rows do not explain, ``x - H^T H x``."""
        return x - self.explained(x)

    @torch.no_grad()
    def learn(self, x: Tensor) -> None:
        """Learn from samples `x` [N, n]: `iterations` updates."""
        self._check(x)
        if not len(x) or self.frozen == len(self.weight):
            return
        for _ in range(self.iterations):
            y = self.response(x)
            rest = x - y @ self.weight
            self._step(y[:, self.frozen :].T @ rest / len(x))

    @torch.no_grad()
    def learn_moment(self, moment: Tensor) -> None:
        r"""Learn from the second moment :math:`C = \langle x x^\top \rangle` [n, n] of samples, as `learn` from them.

        With real responses :math:`\Delta = H C (1 - H^\top H)`, for any number of samples; rounded ones need the
        samples.
        """
        if self.spiking is not None:
            raise InputError("LateralBank: rounded responses do not follow from a second moment; use learn(x).")
        if moment.shape != (self.inputs, self.inputs):
            raise ShapeError(
                f"LateralBank: the second moment must be [{self.inputs}, {self.inputs}]; got {list(moment.shape)}."
            )
        if self.frozen == len(self.weight):
            return
        for _ in range(self.iterations):
            driven = self.weight[self.frozen :] @ moment
            self._step(driven - (driven @ self.weight.T) @ self.weight)

    def _step(self, change: Tensor) -> None:
        """Take one step of the rows that learn."""
        drift, weight = self.drift[self.frozen :], self.weight[self.frozen :]
        drift.mul_(self.momentum).add_(change.clamp_(-self.limit, self.limit), alpha=1 - self.momentum)
        weight.add_(drift, alpha=self.rate)

    def _check(self, x: Tensor) -> None:
        if x.shape[-1] != self.inputs:
            raise ShapeError(f"LateralBank: samples must be [..., {self.inputs}]; got {list(x.shape)}.")

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        # A bank grows: a loaded bank has the rows of the saved one.
        for name in ("weight", "drift"):
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor) and saved.shape[1:] == (self.inputs,):
                setattr(self, name, getattr(self, name).new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *others)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.inputs}, rows={len(self.weight)}, frozen={self.frozen}, rate={self.rate}"
