r"""Synapses that each have a delay of their own, learned together with their weights.

The method is that of Hammouamri, Khalfaoui-Hassani, Masquelier 2024, "Learning Delays in Spiking Neural Networks using
Dilated Convolutions with Learnable Spacings", ICLR, arXiv:2306.17670. Where the paper and the authors' program (the
repository Thvnvtos/SNN-delays) differ, `variant` says which is followed.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.bits import pack
from neurosim.kernels.sparse.delayed import DelayLists, delay_lists, deliver
from neurosim.synapses.linear import Linear
from neurosim.synapses.lowering import Dense, Lowered, Opaque
from neurosim.synapses.norm import norm_factors
from neurosim.synapses.synapse import Synapse, count, event_driven
from neurosim.units import check_dt

Variant = Literal["paper", "code"]

_EPSILON = 1e-7  # of the sum by which a kernel is divided
_NARROWEST = 0.5  # steps; the authors' program has it as 0.23 + 0.27
_OFFSET = 0.27  # what that program adds to the width it lets decay
_TAP = 0.02  # time of a tap in torch's convolution, that of a connection which a spike goes through being 1


class Delayed(Synapse):
    """What both kinds share: the spikes on their way as state, and the sum over them."""

    bias: Tensor | nn.Parameter | None

    def __init__(self, n_in: int, n_out: int, max_delay: float, dt: float) -> None:
        super().__init__()
        name = self._get_name()
        self.n_in, self.n_out = count(name, "n_in", n_in), count(name, "n_out", n_out)
        self.dt = check_dt(name, dt)
        self.memory = _whole_steps(name, max_delay, dt)

    @property
    def delay_span(self) -> int:
        """Steps from the shortest delay to the longest."""
        return self.memory - self.min_delay

    @property
    def max_delay(self) -> float:
        """Longest delay, s."""
        return self.memory * self.dt

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(n_out,)``."""
        if tuple(shape) != (self.n_in,):
            raise self.refuse(shape, f"{self.n_in}")
        return (self.n_out,)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return the currents of steps [n, n_in] that have none before them."""
        return self(x.unsqueeze(0))[0][0]

    def initial_state(self, x: Tensor) -> Tensor:
        """Return the state before the first step for spikes like `x` [T, B, n_in]: none under way."""
        return x.new_zeros((self.memory, x.shape[1], self.n_in))

    def _found(self, shape: tuple[int, ...], written: Callable[[tuple[int, ...]], Lowered] | None = None) -> Lowered:
        return Opaque("combines spikes of several steps by methods or hooks of its own")

    def _line(self, x: Tensor, state: Tensor | None) -> Tensor:
        """Return the spikes under way and those of `x` in one row [memory + T, B, n_in]."""
        name = self._get_name()
        if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != self.n_in:
            got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ShapeError(f"{name}: spikes must be [T, B, {self.n_in}]; got {got}. Time comes first.")
        if not x.is_floating_point():
            raise InputError(f"{name}: spikes must be in floating point; got {x.dtype}. Use x.float().")
        if state is None:
            state = self.initial_state(x)
        wanted = (self.memory, x.shape[1], self.n_in)
        if not isinstance(state, Tensor) or state.shape != wanted:
            got = list(state.shape) if isinstance(state, Tensor) else type(state).__name__
            raise ShapeError(
                f"{name}: state must be the spikes of the last {self.memory} steps, {list(wanted)}; got {got}. Was it "
                "made by another layer?"
            )
        return torch.cat((state, x))

    @abc.abstractmethod
    def kernel(self) -> Tensor:
        """Return the kernels [n_out, n_in, delay_span + 1], the tap of the shortest delay first."""

    def forward(  # type: ignore[override]  # with its state, where a map without memory has none
        self, x: Tensor, state: Tensor | None = None, *, through_time: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Return the currents and the spikes still under way.

        Parameters
        ----------
        x : Tensor [T, B, n_in]
            Spikes, or currents of an input.
        state : Tensor [memory, B, n_in], optional
            What came before, the oldest first; None is nothing. A run cut in two gives the same currents.
        through_time : bool
            Without it no gradient crosses from a step to an earlier one: `x` learns through the tap of delay 0 alone,
            and `state` not at all. Weights and delays learn from every tap as ever: what is under way counts as input
            of the step in which it arrives.

        Returns
        -------
        i : Tensor [T, B, n_out]
        state : Tensor [memory, B, n_in]
        """
        line = self._line(x, state if through_time or state is None else state.detach())
        after = line[x.shape[0] :]
        current = self.over(line[: self.delay_span + x.shape[0]], through_time=through_time)
        return current, after if through_time else after.detach()

    def over(self, line: Tensor, *, through_time: bool = True) -> Tensor:
        """Return the currents of T steps.

        Parameters
        ----------
        line : Tensor [delay_span + T, B, n_in]
            Spikes from `memory` steps before the first of these steps to `min_delay` steps before the last.
        through_time : bool
            As in `forward`.

        Returns
        -------
        Tensor [T, B, n_out]
        """
        current = self._by_event(line)
        if current is None:
            kernel = self.kernel()
            current = _by_step(line if through_time else line.detach(), kernel)
            if not through_time and line.requires_grad and not self.min_delay:
                own = line[self.memory :]  # adds 0, and the gradient of the step itself
                current = current + functional.linear(own - own.detach(), kernel[..., 0].detach())
        return current if self.bias is None else current + self.bias

    @abc.abstractmethod
    def _by_event(self, line: Tensor) -> Tensor | None:
        """Return the same without the bias, spike by spike, where that can be done and pays."""

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.n_in}, {self.n_out}, max_delay={self.max_delay:g}, dt={self.dt:g}"


class RoundedDelays(Delayed):
    r"""Synapses with fixed delays of whole steps: ``i[t, o] = sum_j w[o, j] z[t - d[o, j], j] + b[o]``.

    On the CPU, for spikes 0/1, each is delivered once to each neuron after it, when its delay there is over; nothing
    is done for what does not spike, and currents are sums in order of the spikes' step, then of their neuron, so that
    a run cut in two gives the same bits. Other input goes through a convolution. Made by `DelayedLinear.rounded`, or
    from tensors. Holds no parameters: it is for use, not for training.

    Parameters
    ----------
    weight : Tensor [n_out, n_in]
        In floating point.
    delay : Tensor [n_out, n_in] of int64
        Steps, from 0.
    bias : Tensor [n_out], optional
        Constant current.
    max_delay : float, optional
        Length of the memory, s; the longest delay if left out.
    dt : float
        Length of a step, s, in (0, 0.1).

    Attributes
    ----------
    weight, delay, bias
        As given, as buffers.
    memory : int
        Steps of spikes that the state holds.
    min_delay : int
        Shortest delay, steps. A cycle of a network runs that many steps at once.

    Raises
    ------
    ShapeError, InputError
        When the tensors do not fit each other, or a delay is below 0 or beyond `max_delay`.

    Examples
    --------
    >>> import torch
    >>> from neurosim.synapses.delayed import RoundedDelays
    >>> synapse = RoundedDelays(torch.tensor([[1.0], [2.0]]), torch.tensor([[0], [2]]), dt=1e-3)
    >>> spike = torch.tensor([1.0, 0.0]).view(2, 1, 1)
    >>> first, state = synapse(spike)
    >>> later, state = synapse(torch.zeros(2, 1, 1), state)
    >>> torch.cat((first, later))[:, 0].tolist()
    [[1.0, 0.0], [0.0, 0.0], [0.0, 2.0], [0.0, 0.0]]
    """

    weight: Tensor
    delay: Tensor
    bias: Tensor | None

    def __init__(
        self, weight: Tensor, delay: Tensor, bias: Tensor | None = None, *, max_delay: float | None = None, dt: float
    ) -> None:
        if weight.dim() != 2 or delay.shape != weight.shape or not weight.is_floating_point():
            raise ShapeError(
                "RoundedDelays: weight must be [n_out, n_in] in floating point and delay of the same shape; got "
                f"{list(weight.shape)} of {weight.dtype} and {list(delay.shape)}."
            )
        if delay.dtype != torch.int64:
            raise InputError(f"RoundedDelays: delay must be in whole steps, of int64; got {delay.dtype}.")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ShapeError(f"RoundedDelays: bias must be [{weight.shape[0]}]; got {list(bias.shape)}.")
        longest = max(int(delay.max()), 0) if delay.numel() else 0
        super().__init__(weight.shape[1], weight.shape[0], longest * dt if max_delay is None else max_delay, dt)
        if (delay.numel() and int(delay.min()) < 0) or longest > self.memory:
            raise InputError(
                f"RoundedDelays: delays must lie in 0 to {self.memory} steps; got {int(delay.min())} to {longest}."
            )
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("delay", delay.clone())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self._held: tuple[int, int, DelayLists] | None = None
        self._shortest: tuple[Tensor, int, int] | None = None

    @property
    def min_delay(self) -> int:
        """Shortest delay, steps; that of an absent synapse of weight 0 counts too."""
        known = self._shortest
        if known is None or known[0] is not self.delay or known[1] != self.delay._version:
            shortest = int(self.delay.min()) if self.delay.numel() else self.memory
            known = self._shortest = self.delay, self.delay._version, shortest
        return known[2]

    def kernel(self) -> Tensor:
        """Return the kernels [n_out, n_in, delay_span + 1], a single tap each."""
        return _one_hot(self.weight, self.delay - self.min_delay, self.delay_span)

    def _by_event(self, line: Tensor) -> Tensor | None:
        learns = torch.is_grad_enabled() and line.requires_grad
        return None if learns else _by_event(line, self.weight, self._lists, share=1.0)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return Dense(self.weight, self.bias, self.delay)

    def by_delay(self) -> list[tuple[float, Linear]]:
        """Return the same synapses as undelayed ones, one map for each delay that occurs.

        As edges of a network they give the same currents, and whatever a network can do or be exported to, delayed
        edges included, holds for them::

            edges = [
                ns.Edge("a", "b", synapse, delay=delay, name=f"a->b after {delay:g} s")
                for delay, synapse in rounded.by_delay()
            ]

        The weights of other delays are 0 in each map. A bias goes with the first.

        Returns
        -------
        list of (float, Linear)
            Delay in s, ascending, and the map.
        """
        maps: list[tuple[float, Linear]] = []
        for steps in self.delay.unique().tolist():
            bias = self.bias if not maps else None
            synapse = Linear(self.n_in, self.n_out, bias=bias is not None).to(self.weight)
            with torch.no_grad():
                synapse.weight.copy_(self.weight * (self.delay == steps))
                if synapse.bias is not None and bias is not None:
                    synapse.bias.copy_(bias)
            maps.append((steps * self.dt, synapse))
        return maps

    def _lists(self) -> DelayLists:
        version = self.weight._version, self.delay._version
        if self._held is None or self._held[:2] != version:
            self._held = *version, delay_lists(self.weight, self.delay - self.min_delay, self.delay_span)
        return self._held[2]

    def _apply(self, *arguments: Any, **named: Any) -> RoundedDelays:
        self._held = None  # of another place or precision
        return super()._apply(*arguments, **named)


class DelayedLinear(Delayed):
    r"""Dense synapses that learn their delays: a Gaussian over time for each, which narrows as training goes on.

    .. math:: i_o[t] = \sum_j \sum_{n=0}^{D} K_{oj}[n]\, z_j[t-n] + b_o, \qquad
              K_{oj}[n] = w_{oj} \frac{k_{oj}[n]}{\sum_m k_{oj}[m] + 10^{-7}}, \qquad
              k_{oj}[n] = e^{-\frac12 \left(\frac{n - d_{oj}}{\sigma}\right)^2}

    with n in steps, D the longest delay and one width :math:`\sigma` for the layer, which is not trained but set
    (`narrow`). A kernel sums to its weight at any width. In eval mode delays are rounded to whole steps and kernels
    are single taps.

    Both weights and delays are learned by any optimizer; `delay_groups` gives the delays the learning rate of their
    own that they need, and `keep_in_range` clamps them after each step of it. Between these synapses and the neurons
    the authors' network has a batch norm, without which the blurred input of early training stays below threshold.

    Parameters
    ----------
    n_in, n_out : int
        Number of neurons before and after.
    max_delay : float
        Longest delay, s, a whole number of steps from 1; the kernel has one tap more than that (T_d in the paper).
    dt : float
        Length of a step, s, in (0, 0.1).
    bias : bool
        Whether each neuron gets a constant current as well; there is none in the authors' networks.
    variant : {"code", "paper"}
        Delays are drawn from U(0, D) in the paper. The program draws its positions from U(-c - 1, c), c = D / 2, by a
        rounding down of its language, and clamps them after the first step of training: of the delays one in D + 1
        starts at the longest.
        Of the width see `decreasing_width`.

    Attributes
    ----------
    weight : Parameter [n_out, n_in]
        At first U(-a, a), ``a = sqrt(6 / n_in)`` (He et al. 2015, for rectifiers), as in the program.
    delay : Parameter [n_out, n_in]
        In steps, d in the equation. The authors train the position p = D/2 - d, measured from the middle of the
        kernel; the sign aside that is the same.
    bias : Parameter [n_out] or None
    width : Tensor []
        Sigma, in steps; saved with the state. At first that of `decreasing_width` before the first epoch.
    memory : int
        D, steps of spikes that the state holds.

    Raises
    ------
    InputError
        For sizes and delays out of range.

    Notes
    -----
    The sum over taps is a convolution of torch's. On the CPU in eval mode, where no gradient is asked for and the
    input is spikes 0/1, so few that it takes less time, each spike is instead delivered at its delays, as
    `RoundedDelays` always does. With gradient the rounded kernels act as single taps through which weights learn and
    delays do not.

    Examples
    --------
    >>> import torch
    >>> from neurosim.synapses.delayed import DelayedLinear
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
        dt: float,
        bias: bool = False,
        variant: Variant = "code",
    ) -> None:
        super().__init__(n_in, n_out, max_delay, dt)
        if not self.memory:
            raise InputError(f"DelayedLinear: max_delay must be at least one step of {dt:g} s; got {max_delay!r} s.")
        self.variant = _checked_variant(variant)
        bound = math.sqrt(6.0 / n_in)
        self.weight = nn.Parameter(torch.empty(n_out, n_in).uniform_(-bound, bound))
        self.delay = nn.Parameter(torch.rand(n_out, n_in) * (self.memory + (variant == "code")))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        self.register_buffer("width", torch.tensor(decreasing_width(self.memory, 0, 1, variant)))

    def kernel(self) -> Tensor:
        """Return the kernels [n_out, n_in, D + 1], the tap of delay 0 first: Gaussians, or in eval mode single taps."""
        if not self.training:
            return _one_hot(self.weight, self.delay_steps(), self.memory)
        taps = torch.arange(self.memory + 1, dtype=self.delay.dtype, device=self.delay.device)
        bell = torch.exp(-0.5 * ((taps - self.delay.unsqueeze(-1)) / self.width) ** 2)
        return self.weight.unsqueeze(-1) * (bell / (bell.sum(-1, keepdim=True) + _EPSILON))

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring the delays back into 0 ... D steps."""
        self.delay.clamp_(0, self.memory)

    @torch.no_grad()
    def narrow(self, width: float) -> None:
        """Set the width, in steps, above 0."""
        if not 0 < width < math.inf:
            raise InputError(f"DelayedLinear: width must be above 0 steps; got {width!r}.")
        self.width.fill_(width)

    def delay_steps(self) -> Tensor:
        """Return the delays [n_out, n_in] of int64, rounded to whole steps in 0 ... D.

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
        """Return fixed synapses with the delays rounded to whole steps.

        Parameters
        ----------
        norm : torch.nn.BatchNorm1d, optional
            The norm behind these synapses, whose running statistics become part of weights and bias.
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
        return _by_event(line, self.weight, self._lists, share=_TAP * (self.memory + 1))

    def _lists(self) -> DelayLists:
        return delay_lists(self.weight.detach(), self.delay_steps(), self.memory)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{super().extra_repr()}, bias={self.bias is not None}, variant={self.variant!r}"


def decreasing_width(memory: int, epoch: int, epochs: int, variant: Variant = "code") -> float:
    r"""Return the width of the Gaussians in an epoch, in steps: falling by a constant factor, then 0.5.

    With :math:`T_d` = `memory` + 1 taps and :math:`E` = `epochs` // 4, at least 1:

    .. math:: \text{paper: } \tfrac{T_d}{2} \left(\frac{0.5}{T_d / 2}\right)^{\min(e / E,\, 1)}, \qquad
              \text{code: } 0.27 + s \left(\frac{0.23}{s}\right)^{\min(e / E,\, 1)}, \; s = \lfloor T_d / 2 \rfloor

    Parameters
    ----------
    memory : int
        Longest delay in steps, from 1.
    epoch : int
        e, from 0: how many were finished before.
    epochs : int
        How many there will be, from 1.
    variant : {"code", "paper"}
        Whose equation.

    Examples
    --------
    >>> from neurosim.synapses.delayed import decreasing_width
    >>> [round(decreasing_width(24, epoch, 16), 2) for epoch in (0, 1, 2, 3, 4, 15)]
    [12.27, 4.73, 1.93, 0.89, 0.5, 0.5]
    """
    memory, epochs = count("decreasing_width", "memory", memory), count("decreasing_width", "epochs", epochs)
    part = min(count("decreasing_width", "epoch", epoch, low=0) / max(epochs // 4, 1), 1.0)
    taps = memory + 1
    if _checked_variant(variant) == "paper":
        return taps / 2 * (_NARROWEST / (taps / 2)) ** part
    start = float(taps // 2)
    return _OFFSET + start * ((_NARROWEST - _OFFSET) / start) ** part


def narrow(net: nn.Module, epoch: int, epochs: int) -> None:
    """Set the width of all `DelayedLinear` in a network to that of `decreasing_width` for an epoch, from 0.

    Call it before each epoch; in `fit`, ``on_epoch=lambda row: narrow(net, row["epoch"], epochs)`` does so for the one
    after.
    """
    for layer in _delayed(net):
        layer.narrow(decreasing_width(layer.memory, epoch, epochs, layer.variant))


def delay_groups(
    net: nn.Module, *, lr: float = 1e-3, delay_lr: float = 0.1, weight_decay: float = 1e-5
) -> list[dict[str, Any]]:
    """Return parameter groups for an optimizer, with a learning rate of their own for delays.

    Parameters
    ----------
    net : torch.nn.Module
        Holds at least one `DelayedLinear`.
    lr : float
        Of everything else.
    delay_lr : float
        Of the delays, in steps; a hundred times that of the weights in the authors' program.
    weight_decay : float
        Of everything but delays and batch norms.

    Returns
    -------
    list of dict
        Named ``"weights"``, ``"norms"`` (where there are any) and ``"delays"``, of parameters that require a gradient.

    Raises
    ------
    InputError
        When there is no delay to learn.
    """
    delays = {id(layer.delay) for layer in _delayed(net)}
    norms = {
        id(p)
        for module in net.modules()
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))
        for p in module.parameters()
    }
    learned = [p for p in net.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"name": "weights", "params": [p for p in learned if id(p) not in delays | norms], "lr": lr},
        {"name": "norms", "params": [p for p in learned if id(p) in norms], "lr": lr},
        {"name": "delays", "params": [p for p in learned if id(p) in delays], "lr": delay_lr},
    ]
    if not groups[-1]["params"]:
        raise InputError("delay_groups: this network holds no DelayedLinear whose delays are learned.")
    for group in groups:
        group["weight_decay"] = weight_decay if group["name"] == "weights" else 0.0
    return [group for group in groups if group["params"]]


def keep_in_range(optimizer: torch.optim.Optimizer, net: nn.Module) -> RemovableHandle:
    """Clamp the delays of all `DelayedLinear` in a network after each step of an optimizer.

    Returns
    -------
    torch.utils.hooks.RemovableHandle
        Its `remove` ends that.
    """
    layers = list(_delayed(net))

    def clamp(*_: Any) -> None:
        for layer in layers:
            layer.clamp_()

    handle: RemovableHandle = optimizer.register_step_post_hook(clamp)
    return handle


def _delayed(net: nn.Module) -> Iterator[DelayedLinear]:
    return (module for module in net.modules() if isinstance(module, DelayedLinear))


def _by_step(line: Tensor, kernel: Tensor) -> Tensor:
    """Return the sum over taps at every step: [T, B, n_out] of ``line`` [taps - 1 + T, B, n_in]."""
    n_out, _, taps = kernel.shape
    steps = line.shape[0] - taps + 1
    if not steps or not line.shape[1]:
        return line.new_zeros((steps, line.shape[1], n_out))
    # As an image whose rows are steps and whose columns are samples: torch's convolution then works on both at once.
    image = line.permute(2, 0, 1).unsqueeze(0)
    return functional.conv2d(image, kernel.flip(2).unsqueeze(3)).squeeze(0).permute(1, 2, 0)


def _by_event(line: Tensor, weight: Tensor, lists: Callable[[], DelayLists], share: float) -> Tensor | None:
    """Return the same for spikes 0/1 and rounded delays, spike by spike.

    None where this cannot be done, or more than a `share` of the inputs spike.
    """
    if torch.compiler.is_compiling() or not event_driven(line, weight) or not line.shape[1]:
        return None
    packed = pack(line.detach().flatten(0, 1).contiguous())
    pays = packed.ones and packed.count <= share * line.numel()
    return deliver(packed, line.shape[1], lists()) if pays else None


def _one_hot(weight: Tensor, delay: Tensor, memory: int) -> Tensor:
    return weight.unsqueeze(-1) * functional.one_hot(delay, memory + 1).to(weight.dtype)


def _whole_steps(owner: str, delay: float, dt: float) -> int:
    known = isinstance(delay, (int, float)) and math.isfinite(delay)
    steps = round(delay / dt) if known else -1
    if not known or steps < 0 or abs(delay / dt - steps) > 1e-6 * max(steps, 1):
        raise InputError(f"{owner}: max_delay must be a whole number of steps of {dt:g} s; got {delay!r} s.")
    if delay >= 10:
        raise InputError(f"{owner}: max_delay must be in [0, 10) s; got {delay!r}. Did you pass milliseconds?")
    return steps


def _checked_variant(variant: Any) -> Variant:
    if variant not in ("code", "paper"):
        raise InputError(f'DelayedLinear: variant must be "code" or "paper"; got {variant!r}.')
    checked: Variant = variant
    return checked
