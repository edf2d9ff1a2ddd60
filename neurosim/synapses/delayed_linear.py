r"""Synapses between all neurons that learn their delays together with their weights.

The method is that of Hammouamri, Khalfaoui-Hassani, Masquelier 2024, "Learning Delays in Spiking Neural Networks using
Dilated Convolutions with Learnable Spacings", ICLR, arXiv:2306.17670. Where the paper and the authors' program (the
repository Thvnvtos/SNN-delays) differ, `variant` says which is followed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.kernels.delayed.rows import DelayedRows, all_to_all
from neurosim.synapses.delay_schedule import Variant, checked_variant, decreasing_width
from neurosim.synapses.delay_taps import TapDelays, by_event, single_taps
from neurosim.synapses.lowering import Dense, Lowered
from neurosim.synapses.norm import norm_factors
from neurosim.synapses.rounded_delays import RoundedDelays

_EPSILON = 1e-7  # of the sum by which a kernel is divided
_TAP = 0.02  # time of a tap in torch's convolution; that of a synapse that a spike goes through is 1


class DelayedLinear(TapDelays):
    r"""All-to-all synapses that learn their delays: each has a Gaussian kernel in time, which narrows during training.

    .. math:: i_o[t] = \sum_j \sum_{n=0}^{D} K_{oj}[n]\, z_j[t-n] + b_o, \qquad
              K_{oj}[n] = w_{oj} \frac{k_{oj}[n]}{\sum_m k_{oj}[m] + 10^{-7}}, \qquad
              k_{oj}[n] = e^{-\frac12 \left(\frac{n - d_{oj}}{\sigma}\right)^2}

    with n in steps, D the longest delay and one width :math:`\sigma` for the layer, which is set (`narrow`) and not
    trained. A kernel sums to its weight at any width. In evaluation mode delays are rounded to integer steps and
    kernels are single taps.

    Any optimizer trains weights and delays. Delays need a larger learning rate (`delay_groups`) and are clamped after
    each step (`keep_in_range`). The authors' network has a batch norm between these synapses and the neurons; without
    it the blurred input of early training stays below threshold.

    Parameters
    ----------
    n_in, n_out : int
        Number of presynaptic and of postsynaptic neurons.
    max_delay : float
        Longest delay, s, an integer number of steps from 1; the kernel has one tap more (T_d in the paper).
    dt : float, optional
        Length of a step, s, in (0, 0.1); that of its network if left out. Weights and delays are made when it is known.
    bias : bool
        Whether each neuron gets a constant current as well; the authors' networks have none.
    variant : {"code", "paper"}
        The paper draws delays from U(0, D). The program draws positions from U(-c - 1, c), c = D / 2, since its integer
        division rounds down, and clamps them after the first step of training, so that one delay in D + 1 starts at the
        longest. See `decreasing_width` for the width.

    Attributes
    ----------
    weight : Parameter [n_out, n_in]
        At first U(-a, a), ``a = sqrt(6 / n_in)`` (He et al. 2015, for rectifiers), as in the program.
    delay : Parameter [n_out, n_in]
        In steps, d in the equation. The authors train the position p = D/2 - d from the middle of the kernel, which is
        equivalent.
    bias : Parameter [n_out] or None
    width : Tensor []
        Sigma, in steps; part of the state_dict. At first that of `decreasing_width` for the first epoch.
    memory : int
        D, steps of spikes that the state holds.

    Raises
    ------
    InputError
        For sizes and delays out of range.

    Notes
    -----
    Currents are a convolution by torch. On the CPU in evaluation mode, without gradients and for few spikes 0/1, each
    spike is delivered at its delays instead, as in `RoundedDelays`. With gradients in evaluation mode, weights learn
    through single taps and delays do not.

    Examples
    --------
    >>> import torch
    >>> from neurosim.synapses import DelayedLinear
    >>> synapse = DelayedLinear(3, 2, 24e-3, dt=1e-3)
    >>> current, state = synapse(torch.ones(50, 8, 3))
    >>> current.shape, state.shape
    (torch.Size([50, 8, 2]), torch.Size([24, 8, 3]))
    >>> torch.allclose(synapse.kernel().sum(-1), synapse.weight)
    True
    """

    width: Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        max_delay: float,
        *,
        dt: float | None = None,
        bias: bool = False,
        variant: Variant = "code",
    ) -> None:
        super().__init__(n_in, n_out)
        self.variant = checked_variant(variant)
        self._make_by(dt, "_draw", max_delay=max_delay, bias=bias)

    def _draw(self, max_delay: float, bias: bool) -> None:
        """Draw weights and delays."""
        self._set_memory(max_delay)
        if not self.memory:
            raise InputError(
                f"DelayedLinear: max_delay must be at least one step of {self.dt:g} s; got {max_delay!r} s."
            )
        bound, shape = math.sqrt(6.0 / self.n_in), (self.n_out, self.n_in)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.note_drawn_weights()
        self.delay = nn.Parameter(torch.rand(shape) * (self.memory + (self.variant == "code")))
        self.bias = nn.Parameter(torch.zeros(self.n_out)) if bias else None
        self.register_buffer("width", torch.tensor(decreasing_width(self.memory, 0, 1, self.variant)))

    def kernel(self) -> Tensor:
        """Return the kernels [n_out, n_in, D + 1], the tap of delay 0 first: Gaussians, or in eval mode single taps."""
        if not self.training:
            return single_taps(self.weight, self.delay_steps(), self.memory)
        taps = torch.arange(self.memory + 1, dtype=self.delay.dtype, device=self.delay.device)
        bell = torch.exp(-0.5 * ((taps - self.delay.unsqueeze(-1)) / self.width) ** 2)
        return self.weight.unsqueeze(-1) * (bell / (bell.sum(-1, keepdim=True) + _EPSILON))

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp the delays to 0 ... D steps."""
        self.delay.clamp_(0, self.memory)

    @torch.no_grad()
    def narrow(self, width: float) -> None:
        """Set the width, in steps, above 0."""
        if not 0 < width < math.inf:
            raise InputError(f"DelayedLinear: width must be above 0 steps; got {width!r}.")
        self.width.fill_(width)

    def delay_steps(self) -> Tensor:
        """Return the delays [n_out, n_in] of int64, rounded to integer steps in 0 ... D.

        Raises
        ------
        InputError
            When a delay is not finite.
        """
        delay = self.delay.detach()
        if not torch.isfinite(delay).all():
            raise InputError("DelayedLinear: delay holds NaN or infinity; train again, with a lower learning rate.")
        return delay.round().clamp(0, self.memory).long()

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return Dense(self.weight, self.bias, self.delay)

    def rounded(self, norm: nn.BatchNorm1d | None = None) -> RoundedDelays:
        """Return fixed synapses with the delays rounded to integer steps.

        Parameters
        ----------
        norm : torch.nn.BatchNorm1d, optional
            Batch normalisation of the currents; its running statistics become part of weights and bias.
        """
        weight, bias = self.weight.detach(), None if self.bias is None else self.bias.detach()
        if norm is not None:
            if norm.num_features != self.n_out or norm.running_mean is None or norm.running_var is None:
                raise InputError(
                    f"DelayedLinear: norm must hold running statistics of {self.n_out} neurons; got {norm!r}."
                )
            folded = Dense(weight, bias).times(*norm_factors(norm))
            weight, bias = folded.weight, folded.bias
        return RoundedDelays(weight, self.delay_steps(), bias, max_delay=self.max_delay, dt=self.dt)

    def _by_event(self, line: Tensor) -> Tensor | None:
        if self.training or (torch.is_grad_enabled() and any(t.requires_grad for t in (line, *self.parameters()))):
            return None
        return by_event(line, self.weight, self._synapses, share=_TAP * (self.memory + 1))

    def _synapses(self) -> tuple[Tensor, DelayedRows]:
        rows, order = all_to_all(self.delay_steps(), self.memory)
        return self.weight.detach().T.flatten()[order], rows

    def extra_repr(self) -> str:
        """Return the sizes."""
        bias = f", bias={self.bias is not None}" if self.has_dt else ""
        return f"{super().extra_repr()}{bias}, variant={self.variant!r}"
