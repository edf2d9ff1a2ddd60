r"""Adaptive gain control: interneurons whiten a signal by changing their gains and, slowly, their synapses.

Duong, Lipshutz, Heeger, Chklovskii & Simoncelli, "Adaptive whitening in neural populations with gain-modulating
interneurons", ICML 2023, arXiv:2301.11955; with slowly learning synapses Duong, Simoncelli, Chklovskii &
Lipshutz, "Adaptive whitening with fast gain modulation and slow synaptic plasticity", NeurIPS 2023, arXiv:2308.13633.
The equations follow the authors' programs (lyndond/frame_whitening, lyndond/multi_timescale_whitening); an online
branch there omits the leak; here `alpha` is always included.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError


class Whitened(NamedTuple):
    """Responses to one batch.

    Attributes
    ----------
    y : Tensor [n, N]
        The primary neurons.
    z : Tensor [n, K]
        Input of the interneurons, before their gain.
    """

    y: Tensor
    z: Tensor


class FrameWhitening(nn.Module):
    r"""N neurons and K interneurons in a loop whose gains converge to white responses.

    The responses are the fixed point of :math:`\dot y = x - W (g \circ W^T y) - \alpha y`. Each interneuron changes its
    gain until the variance of its input is the squared length of its frame vector:

    .. math:: y = (\alpha I + W \mathrm{diag}(g) W^T)^{-1} x, \qquad z = W^T y, \qquad
              \Delta g_i = \eta\,(\overline{z_i^2} - |w_i|^2)

    K variances are K constraints on the covariance of y, so exact whitening needs :math:`K \ge N (N + 1) / 2` vectors
    in general position. With fewer, all :math:`z_i` reach their variances and y stays correlated. Gains may be
    negative.

    With a `frame_rate` :math:`\eta_W` the synapses learn too, much more slowly:

    .. math:: \Delta W = \eta_W\,(\overline{y\, (g \circ z)^T} - W \mathrm{diag}(g))

    Its fixed point is y white along every vector with a gain, so that N vectors can whiten too: the vectors those of
    one signal, the gains those of signals with the same axes.

    Parameters
    ----------
    frame : Tensor [N, K]
        W, one vector per column.
    alpha : float
        Leak, above 0.
    rate : float
        :math:`\eta`.
    gain : float
        Initial gains.
    frame_rate : float
        :math:`\eta_W`; with 0 the frame is fixed.

    Attributes
    ----------
    frame : Tensor [N, K]
    gains : Tensor [K]

    Raises
    ------
    ShapeError, InputError
        For a frame that is not a matrix or does not span the N axes, or a number out of range.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models.whitening import FrameWhitening, mercedes_benz
    >>> circuit = FrameWhitening(mercedes_benz())
    >>> covariance = torch.tensor([[2.0, 0.9], [0.9, 0.8]], dtype=torch.float64)
    >>> circuit.gains = circuit.optimal_gains(covariance)
    >>> circuit.gains.round(decimals=2)
    tensor([-0.3300,  0.7200, -0.2500], dtype=torch.float64)
    >>> circuit.covariance(covariance).round(decimals=6) + 0.0
    tensor([[1., 0.],
            [0., 1.]], dtype=torch.float64)
    """

    frame: Tensor
    gains: Tensor

    def __init__(
        self, frame: Tensor, *, alpha: float = 1.0, rate: float = 5e-3, gain: float = 1.0, frame_rate: float = 0.0
    ) -> None:
        super().__init__()
        if frame.dim() != 2 or not frame.is_floating_point():
            raise ShapeError(f"FrameWhitening: frame must be [N, K] in floating point; got {list(frame.shape)}.")
        rank = int(torch.linalg.matrix_rank(frame))
        if rank < len(frame):
            raise InputError(
                f"FrameWhitening: the {frame.shape[1]} vectors span {rank} of {len(frame)} axes; add vectors."
            )
        for name, number in (("alpha", alpha), ("rate", rate)):
            if not 0 < number < math.inf:
                raise InputError(f"FrameWhitening: {name} must be a number above 0; got {number!r}.")
        if not 0 <= frame_rate < math.inf:
            raise InputError(f"FrameWhitening: frame_rate must be a number from 0; got {frame_rate!r}.")
        self.alpha, self.rate, self.frame_rate = alpha, rate, frame_rate
        self.register_buffer("frame", frame.detach().clone())
        self.register_buffer("gains", torch.full_like(frame[0], gain))

    def response_matrix(self) -> Tensor:
        """Return the symmetric matrix [N, N] from x to y."""
        loop = (self.frame * self.gains) @ self.frame.T
        return torch.linalg.inv(self.alpha * torch.eye(len(loop), dtype=loop.dtype, device=loop.device) + loop)

    def forward(self, x: Tensor) -> Whitened:
        """Return the responses to `x` [n, N] at the fixed point of the loop."""
        if x.dim() != 2 or x.shape[1] != len(self.frame):
            raise ShapeError(f"FrameWhitening: x must be [n, {len(self.frame)}]; got {list(x.shape)}.")
        y = x @ self.response_matrix()
        return Whitened(y, y @ self.frame)

    @torch.no_grad()
    def learn(self, x: Tensor) -> Whitened:
        """Return the responses to a batch `x` [n, N], then update the gains, and the frame if it learns."""
        responses = self(x)
        self.gains += self.rate * ((responses.z**2).mean(0) - (self.frame**2).sum(0))
        if self.frame_rate:
            correlation = responses.y.T @ (self.gains * responses.z) / len(x)
            self.frame += self.frame_rate * (correlation - self.frame * self.gains)
        return responses

    def covariance(self, covariance: Tensor) -> Tensor:
        """Return the covariance of y [N, N] for a signal of mean 0 with `covariance` [N, N]."""
        matrix = self.response_matrix()
        return matrix @ covariance @ matrix

    def optimal_gains(self, covariance: Tensor) -> Tensor:
        r"""Return the gains that whiten a signal with this covariance.

        :math:`g^* = [(W^T W)^{\circ 2}]^{-1} \mathrm{diag}(W^T (C^{1/2} - \alpha I) W)`, which is exact for
        :math:`K = N (N + 1) / 2` vectors in general position; the least-squares solution otherwise.

        Parameters
        ----------
        covariance : Tensor [N, N]
            C, symmetric and positive definite.
        """
        values, vectors = torch.linalg.eigh(covariance.to(self.frame))
        if not bool((values > 0).all()):
            raise InputError(f"FrameWhitening: covariance must be positive definite; its eigenvalues are {values}.")
        missing = (vectors * values.sqrt()) @ vectors.T
        missing = missing - self.alpha * torch.eye(len(missing), dtype=missing.dtype, device=missing.device)
        along = torch.einsum("nk,nm,mk->k", self.frame, missing, self.frame)
        return torch.linalg.pinv((self.frame.T @ self.frame) ** 2, hermitian=True) @ along

    def extra_repr(self) -> str:
        """Return the sizes and numbers."""
        neurons, interneurons = self.frame.shape
        return f"{neurons} neurons, {interneurons} interneurons, alpha={self.alpha:g}, rate={self.rate:g}"


def mercedes_benz() -> Tensor:
    """Return three unit vectors of the plane, 120 degrees apart, [2, 3] in double precision."""
    angles = torch.arange(3, dtype=torch.float64) * (2 * math.pi / 3) + math.pi / 2
    return torch.stack((angles.cos(), angles.sin()))


def random_frame(neurons: int, vectors: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Return unit vectors in random directions, [neurons, vectors] in double precision."""
    for name, number in (("neurons", neurons), ("vectors", vectors)):
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise InputError(f"random_frame: {name} must be an integer from 1; got {number!r}.")
    directions = torch.randn(neurons, vectors, generator=generator, dtype=torch.float64)
    return directions / directions.norm(dim=0)
