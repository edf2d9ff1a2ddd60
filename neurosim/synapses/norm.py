"""Normalisation in an edge: of currents by their statistics, or of weights."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurosim.errors import InputError, ShapeError
from neurosim.synapses.conv import Conv1d, Conv2d
from neurosim.synapses.linear import Linear
from neurosim.synapses.lowering import Convolution, Dense, Lowered, Opaque, Scaling
from neurosim.synapses.synapse import Synapse, count

_repeats = 0


@contextlib.contextmanager
def repeating() -> Iterator[None]:
    """Leave running statistics unchanged inside the context, where an earlier run is repeated."""
    global _repeats
    _repeats += 1
    try:
        yield
    finally:
        _repeats -= 1


class BatchNorm(Synapse):
    r"""Batch normalisation of currents, channel by channel: ``[T, B, C, ...] -> [T, B, C, ...]``.

    .. math:: \hat i = \gamma\, \frac{i - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    In training :math:`\mu` and :math:`\sigma^2` are those of the current batch, and the running statistics follow them;
    in evaluation they are the running ones, and the result is a factor times the current plus a constant, which
    `neurosim.network.fold` moves into the weights before it.

    With ``over="step"`` each step has separate statistics, over samples and positions, as in the programs of SLTT and
    of its baseline. Steps are then independent: rules that learn step by step compute the same gradient for any chunk,
    and splitting a run changes nothing. With ``over="time"`` the statistics are over all steps of a call too (as in
    threshold-dependent batch normalisation, where :math:`\gamma` starts at a share of the threshold); a step then
    depends on later ones, so that only `BPTT` over full runs can train with it.

    Parameters
    ----------
    channels : int
        Number C of channels, or of neurons without positions.
    over : {"step", "time"}
        Axis of the statistics in training, besides samples and positions.
    momentum : float
        Share of the new statistics in the running ones, in [0, 1].
    eps : float
        Added to the variance, above 0.
    affine : bool
        Whether there are :math:`\gamma` and :math:`\beta`, which learn.
    start : float
        Initial value of :math:`\gamma`.

    Attributes
    ----------
    weight, bias : Parameter [C] or None
        :math:`\gamma` and :math:`\beta`.
    running_mean, running_var : Tensor [C]
        The running variance has n - 1 in the denominator, as in torch.

    Raises
    ------
    InputError
        For a number out of range; when a network is run with ``over="time"`` in training by a rule that learns step
        by step, with recomputation, or on a loop.
    ShapeError
        When the number of channels differs, or a step in training has only one value per channel.

    References
    ----------
    Ioffe, Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift",
    ICML 2015, arXiv:1502.03167. Zheng et al., "Going deeper with directly-trained larger spiking neural networks", AAAI
    2021, arXiv:2011.05280, for statistics over time.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.synapses import BatchNorm
    >>> net = ns.Sequential(
    ...     ns.Input((1, 8, 8)), ns.Conv2d(1, 4, 3), BatchNorm(4), ns.LIF(dt=1e-3),
    ...     ns.Flatten(), ns.Linear(144, 3), ns.LI(dt=1e-3),
    ... )
    >>> v, _ = net(torch.rand(5, 2, 1, 8, 8))
    >>> v.shape
    torch.Size([5, 2, 3])
    """

    traced = False
    folds = True
    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        *,
        over: Literal["step", "time"] = "step",
        momentum: float = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        start: float = 1.0,
    ) -> None:
        super().__init__()
        self.channels = count("BatchNorm", "channels", channels)
        if over not in ("step", "time"):
            raise InputError(f'BatchNorm: over must be "step" or "time"; got {over!r}.')
        if not 0 <= momentum <= 1:
            raise InputError(f"BatchNorm: momentum must be in [0, 1]; got {momentum!r}.")
        if not 0 < eps < math.inf:
            raise InputError(f"BatchNorm: eps must be a number above 0; got {eps!r}.")
        if not math.isfinite(start):
            raise InputError(f"BatchNorm: start must be a finite number; got {start!r}.")
        self.over, self.momentum, self.eps = over, momentum, eps
        self.weight = nn.Parameter(torch.full((channels,), float(start))) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    @property
    def mixes_steps(self) -> bool:
        """Whether the current of a step depends on other steps of the call."""
        return self.training and self.over == "time"

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return `shape` itself."""
        if not shape or shape[0] != self.channels:
            raise self.refuse(shape, f"{self.channels}, ...")
        return tuple(shape)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return ``x`` [n, C, ...] normalised; in training with the statistics of these n."""
        if not self.training:
            return self._normalised(x, self.running_mean, self.running_var, False, 0.0)
        if x.numel() <= self.channels:
            raise self._one_value()
        if _repeats:
            return self._normalised(x, None, None, True, 0.0)
        return self._normalised(x, self.running_mean, self.running_var, True, self.momentum)

    def _normalised(
        self, x: Tensor, mean: Tensor | None, var: Tensor | None, training: bool, momentum: float
    ) -> Tensor:
        return functional.batch_norm(x, mean, var, self.weight, self.bias, training, momentum, self.eps)

    def forward(self, x: Tensor, packed_bits: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return ``x`` [T, B, C, ...] normalised."""
        if not self.training or self.over == "time" or x.dim() < 3 or not len(x):
            return super().forward(x)
        self.output_shape(tuple(x.shape[2:]))
        if torch.compiler.is_compiling():
            return self._all_steps(x)
        return torch.stack([self.apply_step(step) for step in x])

    def _all_steps(self, x: Tensor) -> Tensor:
        """Do what `apply_step` does step by step, but for rounding, in operations that a graph of any length has."""
        steps, batch = x.shape[:2]
        if x[0].numel() <= self.channels:
            raise self._one_value()
        together = x.transpose(0, 1).flatten(1, 2)  # a channel for each step
        weight, bias = (None if p is None else p.repeat(steps) for p in (self.weight, self.bias))
        out = functional.batch_norm(together, None, None, weight, bias, True, 0.0, self.eps)
        if not _repeats:
            with torch.no_grad():
                across = [axis for axis in range(x.dim()) if axis not in (0, 2)]
                share = (1.0 - self.momentum) ** torch.arange(steps, -1, -1, dtype=x.dtype, device=x.device)[:, None]
                for running, values in ((self.running_mean, x.mean(across)), (self.running_var, x.var(across))):
                    running.mul_(share[0]).add_((self.momentum * share[1:] * values).sum(0))
        return out.view(batch, steps, *x.shape[2:]).transpose(0, 1)

    def _one_value(self) -> ShapeError:
        return ShapeError(
            "BatchNorm: in training the statistics need two values of each channel or more; got one. Give larger "
            "batches, or call eval() on the network to use the running statistics."
        )

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        if self.training:
            return Opaque("normalises by the statistics of each batch while it trains; call eval() on the network")
        scale, shift = (values.view(-1, *[1] * (len(shape) - 1)) for values in norm_factors(self))
        return Scaling(scale, shift)

    def extra_repr(self) -> str:
        """Return the size and the choices."""
        parts = f'{self.channels}, over="{self.over}", momentum={self.momentum}, eps={self.eps}'
        return f"{parts}, affine={self.weight is not None}"


def norm_factors(norm: BatchNorm | nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    r"""Return the factor and the constant of batch normalisation in evaluation.

    .. math:: s = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}, \quad b = \beta - s \mu

    Parameters
    ----------
    norm : BatchNorm, torch.nn.BatchNorm1d or torch.nn.BatchNorm2d

    Returns
    -------
    s, b : Tensor [C]
        In double precision: evaluation maps a current i to ``s i + b``.

    Raises
    ------
    InputError
        When it has no running statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise InputError(f"{type(norm).__name__} has no running statistics; make it with track_running_stats=True.")
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else norm.bias.detach().double() + shift


class Standardised(Synapse):
    r"""Linear or convolutional synapses whose weights are standardised, neuron by neuron, and then scaled.

    .. math:: \hat W_k = g_k\, s\, \frac{W_k - \bar W_k}{\sqrt{N\, \mathrm{var}(W_k) + \epsilon}}

    with the mean and variance over the N weights of each neuron or channel k. For inputs of any mean, each current then
    has the variance :math:`(g_k s)^2` of a single input, so that deep networks train without normalising currents:
    nothing depends on the batch or on other steps. OTTT and SLTT use it in their networks without batch normalisation;
    they multiply spikes by :math:`s = 2.74` before the weights, which is equal.

    Parameters
    ----------
    synapse : Linear, Conv1d or Conv2d
        W and the bias, which is not changed.
    scale : float
        s, a fixed number, not 0.
    gain : bool
        Whether :math:`g_k` learns, starting at 1; otherwise it is 1.
    eps : float
        Added under the root, above 0; 1e-4 in the program of OTTT.

    Attributes
    ----------
    gain : Parameter [out] or None

    Raises
    ------
    InputError
        For another synapse or a number out of range.

    References
    ----------
    Qiao et al., "Micro-batch training with batch-channel normalization and weight standardization", 2019,
    arXiv:1903.10520. Brock, De, Smith, "Characterizing signal propagation to close the performance gap in
    unnormalized ResNets", ICLR 2021, arXiv:2101.08692, for the scaled form, with the variance divided by N; the program
    of OTTT (Xiao et al., arXiv:2210.04195) divides by N - 1.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.synapses import Standardised
    >>> synapse = Standardised(ns.Linear(50, 4), scale=2.74)
    >>> w = synapse.effective()
    >>> w.sum(1).abs().max() < 1e-5, (w.square().sum(1).sqrt() / 2.74 - 1).abs().max() < 1e-3
    (tensor(True), tensor(True))
    """

    folds = True

    def __init__(
        self, synapse: Linear | Conv1d | Conv2d, *, scale: float = 1.0, gain: bool = True, eps: float = 1e-4
    ) -> None:
        super().__init__()
        if type(synapse) not in (Linear, Conv1d, Conv2d):
            raise InputError(
                f"Standardised: weights of Linear, Conv1d and Conv2d can be standardised; got {type(synapse).__name__}."
            )
        if not (math.isfinite(scale) and scale):
            raise InputError(f"Standardised: scale must be a finite number, not 0; got {scale!r}.")
        if not 0 < eps < math.inf:
            raise InputError(f"Standardised: eps must be a number above 0; got {eps!r}.")
        self.synapse, self.scale, self.eps = synapse, float(scale), eps
        self.gain = nn.Parameter(torch.ones(len(synapse.weight)).to(synapse.weight)) if gain else None

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the current."""
        return self.synapse.output_shape(shape)

    def effective(self) -> Tensor:
        """Return the standardised weights, of the shape of W."""
        return self._standardised(self.synapse.weight, self.gain)

    def _standardised(self, weight: Tensor, gain: Tensor | None) -> Tensor:
        rows = weight.flatten(1)
        var, mean = torch.var_mean(rows, 1, correction=0, keepdim=True)
        standard = (rows - mean) * (self.scale * torch.rsqrt(rows.shape[1] * var + self.eps))
        if gain is not None:
            standard = standard * gain[:, None]
        return standard.view_as(weight)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        inner = self.synapse.lowered(shape)
        assert isinstance(inner, (Dense, Convolution))  # of Linear, Conv1d and Conv2d
        weight, gain = inner.weight.double(), None if self.gain is None else self.gain.detach().double()
        return dataclasses.replace(inner, weight=self._standardised(weight, gain).to(inner.weight))  # rounded once

    def apply_step(self, x: Tensor) -> Tensor:
        """Return the currents of ``x`` [n, ...]."""
        return self.apply_spikes(x, None, None)

    def apply_spikes(self, x: Tensor, packed_bits: Tensor | None, mask: Tensor | None) -> Tensor:
        """Like `apply_step`, with the packed bits and the gradient mask of `forward`."""
        return self.synapse.product(x, self.effective(), packed_bits, mask)

    def extra_repr(self) -> str:
        """Return the choices."""
        return f"scale={self.scale:g}, gain={self.gain is not None}"
