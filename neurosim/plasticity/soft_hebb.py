"""Soft Hebbian learning: neurons compete softly for each input, and the norms of their weights converge."""

from __future__ import annotations

import abc
import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.float32 import same_for_convolutions
from neurosim.synapses.synapse import count

_LEAST = -30.0  # of a logarithm of a prior


class _SoftHebb(nn.Module, abc.ABC):
    """Base of the dense and the convolutional form, which define the product of weights and inputs."""

    weight: Tensor
    prior: Tensor | None

    def __init__(
        self,
        shape: tuple[int, ...],
        inverse_temperature: float,
        rate: float,
        scale: float,
        anti_hebbian: bool,
        bounded: bool,
        power: float,
        prior_rate: float,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if not 0 <= prior_rate < 1:
            raise InputError(f"{name}: prior_rate must be a number in [0, 1); got {prior_rate!r}.")
        for parameter, value in (("inverse_temperature", inverse_temperature), ("scale", scale)):
            if not 0 < value < math.inf:
                raise InputError(f"{name}: {parameter} must be a number above 0; got {value!r}.")
        if not 0 <= power < math.inf:
            raise InputError(f"{name}: power must be a number from 0; got {power!r}.")
        if not math.isfinite(rate):
            raise InputError(f"{name}: rate must be a finite number; got {rate!r}.")
        self.inverse_temperature, self.rate, self.power = inverse_temperature, rate, power
        self.anti_hebbian, self.bounded, self.prior_rate = anti_hebbian, bounded, prior_rate
        even = torch.full(shape[:1], -math.log(shape[0]))
        self.register_buffer("prior", even if prior_rate else None)
        initial = torch.randn(shape, generator=generator) * (scale / math.sqrt(math.prod(shape[1:])))
        self.register_buffer("weight", initial)

    @abc.abstractmethod
    def drive(self, x: Tensor) -> Tensor:
        """Return u for samples `x`: neurons or channels on axis 1."""

    @abc.abstractmethod
    def correlate(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum of ``y_k x`` over samples and positions, of the shape of the weights."""

    def response(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and y = softmax(t u + b), neurons or channels on axis 1, for samples `x`."""
        u = self.drive(x)
        logits = self.inverse_temperature * u
        if self.prior is not None:
            logits = logits + self.prior.view(-1, *[1] * (u.dim() - 2))
        return u, torch.softmax(logits, 1)

    def update(self, x: Tensor) -> Tensor:
        """Return the change of the weights from samples `x`, before the rates."""
        return self._change(x, *self.response(x))

    def _change(self, x: Tensor, u: Tensor, y: Tensor) -> Tensor:
        if self.anti_hebbian:
            won = torch.zeros_like(y).scatter_(1, u.argmax(1, keepdim=True), 1.0)
            y = y * (2.0 * won - 1.0)
        shares = (y * u).transpose(0, 1).flatten(1).sum(1)
        change = self.correlate(x, y) - self._each(shares) * self.weight
        if self.bounded:
            return change / change.abs().max().clamp(min=1e-30)
        return change / (u.numel() / len(self.weight))

    def rates(self) -> Tensor:
        r"""Return the rate of each neuron, :math:`\eta\,|\,\|w_k\| - 1|^p`."""
        return self.rate * (self.weight.flatten(1).norm(dim=1) - 1.0).abs().pow(self.power)

    @torch.no_grad()
    def learn(self, x: Tensor) -> None:
        """Change the weights by one batch of samples `x`."""
        if not len(x):
            return
        u, y = self.response(x)
        self.weight += self._each(self.rates()) * self._change(x, u, y)
        if self.prior is not None:
            shares = y.transpose(0, 1).flatten(1).mean(1)
            self.prior += self.prior_rate * (shares * torch.exp(-self.prior) - 1.0).clamp(max=1.0 / self.prior_rate)
            self.prior -= torch.logsumexp(self.prior, 0)
            self.prior.clamp_(min=_LEAST)  # the prior of a neuron that never wins stays finite

    def features(self, x: Tensor, power: float = 1.0) -> Tensor:
        r"""Return the output of a layer: ``relu(u - mean u)^power``, the mean over neurons or channels.

        Parameters
        ----------
        x : Tensor
            Samples.
        power : float
            0.7, 1.4 and 1 in the three layers of the authors' network.
        """
        u = self.drive(x)
        return functional.relu(u - u.mean(1, keepdim=True)).pow(power)

    def _each(self, values: Tensor) -> Tensor:
        """Return values [N] in a shape that broadcasts against the weights."""
        return values.view(-1, *[1] * (self.weight.dim() - 1))

    def extra_repr(self) -> str:
        """Return the sizes and choices."""
        sizes = ", ".join(map(str, (self.weight.shape[1], len(self.weight), *self.weight.shape[2:])))
        return (
            f"{sizes}, inverse_temperature={self.inverse_temperature:g}, rate={self.rate:g}, "
            f"anti_hebbian={self.anti_hebbian}, bounded={self.bounded}, power={self.power:g}, "
            f"prior_rate={self.prior_rate:g}"
        )


class SoftHebb(_SoftHebb):
    r"""Soft winner-take-all Hebbian learning of a matrix of weights, without labels.

    .. math:: u = W x, \quad y = \mathrm{softmax}(t\,u + b), \quad
              \Delta w_k = \sum s_k y_k\, (x - u_k w_k), \quad
              w_k \leftarrow w_k + \eta\,\bigl|\,\|w_k\| - 1\bigr|^p\, \Delta w_k

    The plain form has all signs :math:`s_k = 1`, the mean over samples in place of the sum, and p = 0. For a single
    input its fixed point is ``w = x / |x|``; the norm of a neuron that wins inputs converges to 1, that of one that
    wins none need not. In the form for deep networks, neurons that do not win an input learn with the opposite sign
    (`anti_hebbian`), the change is divided by its largest element (`bounded`), and rates vanish as norms approach 1
    (``power=0.5``), from weights with an initial norm of 25 (`scale`).

    With a `prior_rate` :math:`\eta_b` each neuron has a bias b that converges to the logarithm of its mean response,
    its prior in the mixture model,

    .. math:: b_k \leftarrow b_k + \eta_b\, e^{-b_k} \bigl(\langle y_k \rangle - e^{b_k}\bigr)

    by at most 1 per batch, then normalised so that the priors sum to 1, and at least -30; without it b = 0.

    Along its weights a neuron changes by :math:`s_k y_k u_k (1 - \|w_k\|^2)`. A norm of 1 is stable for winners and
    unstable for others, which above 1 grow by a factor of :math:`1 + \eta\,y_k u_k` per batch if the competition is so
    soft that y is not 0. Large norms therefore need hard competition, gaps of u far above 1/t, as patches of
    standardised images have; on few orthogonal inputs signed losers diverge from norms of 25 even with bounded steps,
    and the plain form does not. They also need bounded steps: if :math:`\eta\,y_k u_k` is above 2, winners overshoot,
    with either sign of the losers, and the weights diverge within a few batches.

    Parameters
    ----------
    inputs, neurons : int
        Sizes, from 1.
    inverse_temperature : float
        t, above 0: factor of u.
    rate : float
        :math:`\eta`.
    scale : float
        Initial weights are from N(0, 1) times ``scale / sqrt(inputs)``: a norm of about `scale`.
    anti_hebbian : bool
        Whether all but the winner, the neuron of the largest u, learn with the opposite sign.
    bounded : bool
        Whether the change is divided by its largest element instead of the number of samples.
    power : float
        p, from 0.
    prior_rate : float
        :math:`\eta_b`, in [0, 1); 0 for no bias.
    generator : torch.Generator, optional
        Source of the initial weights.

    Attributes
    ----------
    weight : Tensor [n_out, n_in]
        A buffer, part of checkpoints.
    prior : Tensor [n_out] or None
        b, a buffer too.
    rate : float
        May be changed from batch to batch.

    Raises
    ------
    InputError
        For a number out of range.
    ShapeError
        When samples do not fit.

    References
    ----------
    Moraitis et al., "SoftHebb: Bayesian inference in unsupervised Hebbian soft winner-take-all networks", Neuromorphic
    Computing and Engineering 2, 2022, doi:10.1088/2634-4386/aca710, for the plain form. Journé et al., "Hebbian deep
    learning without feedback", ICLR 2023, arXiv:2209.11883, and the authors' program, for the form for deep networks.

    Examples
    --------
    >>> import torch
    >>> from neurosim.plasticity import SoftHebb
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
        anti_hebbian: bool = False,
        bounded: bool = False,
        power: float = 0.0,
        prior_rate: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        shape = (count("SoftHebb", "neurons", neurons), count("SoftHebb", "inputs", inputs))
        super().__init__(shape, inverse_temperature, rate, scale, anti_hebbian, bounded, power, prior_rate, generator)

    def drive(self, x: Tensor) -> Tensor:
        """Return u [n, neurons] for samples `x` [n, inputs]."""
        if x.dim() != 2 or x.shape[1] != self.weight.shape[1]:
            raise ShapeError(f"SoftHebb: samples must be [n, {self.weight.shape[1]}]; got {list(x.shape)}.")
        return x @ self.weight.T

    def correlate(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``y^T x``."""
        return y.T @ x


class SoftHebbConv(_SoftHebb):
    r"""Soft Hebbian learning of the kernels of a convolution: channels compete at each position.

    The rule of `SoftHebb` with every patch of the images as a sample; images are padded by reflection, so the output
    has their size. The defaults are those of the authors' first layer for CIFAR-10; later layers have t = 0.65 and
    0.25, and the input of each is the normalised features of the layer before.

    Parameters
    ----------
    c_in, c_out : int
        Channels before and after.
    kernel : int
        Height and width, odd.
    inverse_temperature, rate, scale, anti_hebbian, bounded, power, prior_rate, generator
        As in `SoftHebb`.

    Attributes
    ----------
    weight : Tensor [c_out, c_in, kernel, kernel]
        A buffer, part of checkpoints.

    Raises
    ------
    InputError
        For a number out of range.
    ShapeError
        When images do not fit.

    References
    ----------
    As for `SoftHebb`.

    Examples
    --------
    >>> import torch
    >>> from neurosim.plasticity import SoftHebbConv
    >>> hebb = SoftHebbConv(1, 8, 3, generator=torch.Generator().manual_seed(0))
    >>> images = torch.randn(4, 1, 10, 10, generator=torch.Generator().manual_seed(1))
    >>> hebb.learn(images)
    >>> hebb.features(images, power=0.7).shape
    torch.Size([4, 8, 10, 10])
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        *,
        inverse_temperature: float = 1.0,
        rate: float = 0.08,
        scale: float = 25.0,
        anti_hebbian: bool = True,
        bounded: bool = True,
        power: float = 0.5,
        prior_rate: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        shape = (count("SoftHebbConv", "c_out", c_out), count("SoftHebbConv", "c_in", c_in), kernel, kernel)
        if not count("SoftHebbConv", "kernel", kernel) % 2:
            raise InputError(
                f"SoftHebbConv: kernel must be odd, so that the output has the size of the image; got {kernel}."
            )
        super().__init__(shape, inverse_temperature, rate, scale, anti_hebbian, bounded, power, prior_rate, generator)

    def drive(self, x: Tensor) -> Tensor:
        """Return u [n, c_out, H, W] for images `x` [n, c_in, H, W]."""
        with same_for_convolutions():
            return functional.conv2d(self._padded(x), self.weight)

    def correlate(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum of ``y_k`` times its patch."""
        with same_for_convolutions():
            return conv2d_weight(self._padded(x), list(self.weight.shape), y)

    def _padded(self, x: Tensor) -> Tensor:
        width, channels = self.weight.shape[2] // 2, self.weight.shape[1]
        if x.dim() != 4 or x.shape[1] != channels or min(x.shape[2:]) <= width:
            raise ShapeError(
                f"SoftHebbConv: images must be [n, {channels}, H, W] with H and W above {width}; got {list(x.shape)}."
            )
        return functional.pad(x, (width,) * 4, mode="reflect")
