r"""Delta activation layers: networks that pass on what has changed since the frame before.

Yousefzadeh & Sifalakis, "Training for temporal sparsity in deep neural networks, application in video processing",
arXiv:2107.07305, after the author's layer: with :math:`\vartheta = |\theta|`,

.. math:: o_t = \mathrm{round}(\mathrm{act}(x_t + b) / \vartheta)\,\vartheta, \qquad \Delta_t = o_t - o_{t-1},

and a loss on the mean of :math:`|\Delta_t|`, times the fan-out, that a trained threshold lowers. Only changes need to
be sent: with :math:`y_t = y_{t-1} + W \Delta_t` the next layer has :math:`W o_t` again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.kernels.common.availability import DTYPES
from neurosim.learning.losses import Loss
from neurosim.network.network import Network
from neurosim.network.population import Population, State
from neurosim.synapses import AvgPool2d, Conv1d, Conv2d, Flatten, Linear, Sparse, SumPool2d

Flow = Literal["values", "changes"]
FLOWS = ("values", "changes")
_LINEAR = (AvgPool2d, Conv1d, Conv2d, Flatten, Linear, Sparse, SumPool2d)


class DeltaState(NamedTuple):
    """State of a `DeltaActivation` between two frames.

    Attributes
    ----------
    total : Tensor [B, ...]
        Sum of the changes that came in; 0 where values come in.
    sent : Tensor [B, ...]
        The quantised activation of the frame before.
    begun : Tensor [B]
        0 before the first frame, then 1.
    """

    total: Tensor
    sent: Tensor
    begun: Tensor


class Activity(NamedTuple):
    """What a layer sent in its last call, frames after a sample's first one only.

    Attributes
    ----------
    mean_change : Tensor
        Mean of ``|o_t - o_{t-1}|``, a scalar with gradient: what the loss on activity is made of.
    events : int
        Changes that were not zero.
    nonzero : int
        Values of the activation itself that were not zero: what a layer without memory would send.
    outputs : int
        Neurons times frames counted.
    """

    mean_change: Tensor
    events: int
    nonzero: int
    outputs: int


class DeltaActivation(Population):
    """An activation rounded to multiples of a trained threshold, whose changes are what is sent.

    Training runs on values (the authors' program does the same): the next layer gets ``o_t`` and the changes are only
    counted. `send_changes` switches a trained network to changes; its outputs stay the same to rounding. As changes
    are added up, synapses behind this layer must have no bias: it lives here.

    Parameters
    ----------
    size : int or tuple of int
        Shape of the population; channels first.
    dt : float
        Time between two frames, s, in (0, 0.1).
    threshold : float or None
        Step of the quantiser at the start, above 0; trained. None: no rounding, for an output.
    per : {"channel", "neuron", "layer"}
        What has a threshold of its own.
    rectify : bool
        ReLU, or the value as it is.
    takes, sends : {"values", "changes"}
        What comes in and what goes out. Changes that come in are added up first (the sigma of sigma-delta).
    rate : float
        Weight of this layer in the loss on activity.
    fan_out : int
        Synapses behind each neuron: makes the loss follow the operations that a change sets off.

    Attributes
    ----------
    bias : Parameter
        One for each channel.
    theta : Parameter
        Threshold, used as its absolute value.
    activity : Activity or None
        Of the last call.

    Notes
    -----
    Derivatives are those of the author's layer: 1 by the activation, and ``- round(act / threshold)`` by the
    threshold. That is not the derivative of a quantiser: the sign is turned, so that lowering the loss on activity
    *raises* the threshold.

    Raises
    ------
    InputError
        For a choice or a number out of range.

    Examples
    --------
    >>> import torch
    >>> layer = DeltaActivation(1, dt=1e-2, threshold=0.5, sends="changes")
    >>> frames = torch.tensor([0.6, 0.7, 0.9, -1.0]).reshape(4, 1, 1)
    >>> layer(frames)[0].flatten().tolist()
    [0.5, 0.0, 0.5, -1.0]
    """

    def __init__(
        self,
        size: int | Sequence[int],
        *,
        dt: float,
        threshold: float | None = 0.1,
        per: Literal["channel", "neuron", "layer"] = "channel",
        rectify: bool = True,
        takes: Flow = "values",
        sends: Flow = "values",
        rate: float = 0.0,
        fan_out: int = 1,
    ) -> None:
        super().__init__("delta_activation", dt, size)
        assert self.size is not None
        channel = (self.size[0], *[1] * (len(self.size) - 1))
        shapes: dict[str, tuple[int, ...]] = {"channel": channel, "neuron": self.size, "layer": ()}
        if per not in shapes:
            raise InputError(f"delta_activation: per must be one of {list(shapes)}; got {per!r}.")
        for name, flow in (("takes", takes), ("sends", sends)):
            if flow not in FLOWS:
                raise InputError(f"delta_activation: {name} must be one of {FLOWS}; got {flow!r}.")
        if threshold is not None and not 0 < threshold < float("inf"):
            raise InputError(f"delta_activation: threshold must be a finite number above 0 or None; got {threshold!r}.")
        if not rate >= 0 or not fan_out >= 1:
            raise InputError(
                f"delta_activation: rate must be at least 0 and fan_out at least 1; got {rate!r} and {fan_out!r}."
            )
        self.rectify, self.rate, self.fan_out = rectify, float(rate), int(fan_out)
        self.takes: Flow = takes
        self.sends: Flow = sends
        self.bias = nn.Parameter(torch.zeros(channel))
        self.theta = None if threshold is None else nn.Parameter(torch.full(shapes[per], float(threshold)))
        self.activity: Activity | None = None

    @property
    def is_spiking(self) -> bool:
        """False: what is sent is graded."""
        return False

    @property
    def threshold(self) -> Tensor | None:
        """The step of the quantiser, above 0, or None."""
        return None if self.theta is None else self.theta.abs()

    def initial_state(self, i: Tensor) -> DeltaState:
        """Return the state before the first frame for an input like `i` [T, B, ...]."""
        i = i if i.dtype in DTYPES else i.float()
        return DeltaState(torch.zeros_like(i[0]), torch.zeros_like(i[0]), i.new_zeros(i.shape[1]))

    def recorded(
        self, i: Tensor, state: State | None = None, names: Sequence[str] = (), *, through_time: bool = True
    ) -> tuple[Tensor, DeltaState, dict[str, Tensor]]:
        """Run as `forward` does and return as well the values called `names` at every frame, without gradient.

        Parameters
        ----------
        i, state, through_time
            As in `forward`.
        names : sequence of str
            ``"o"``, the quantised activation, is the only one.
        """
        self._check_current(i)
        wrong = [name for name in names if name != "o"]
        if wrong:
            raise InputError(f"{self.kind}: cannot record {wrong}; this layer has ['o'].")
        self._check_device("bias", self.bias, i)
        x = i if i.dtype in DTYPES else i.float()
        before = self._checked(self.initial_state(x) if state is None else state, x)
        if not len(x):
            return i, before, {name: i for name in names}
        total = before.total
        if self.takes == "changes":
            x = x.cumsum(0) + total if through_time else (x.cumsum(0) + total - x).detach() + x
            total = x[-1]
        active = x + self.bias
        active = active.relu_() if self.rectify else active
        quantised = active if self.theta is None else _Quantise.apply(active, self.theta)
        self._count(quantised, before, through_time)
        out = quantised
        if self.sends == "changes":
            earlier = torch.cat((before.sent[None], quantised[:-1]))
            out = quantised - (earlier if through_time else earlier.detach())
        after = DeltaState(total, quantised[-1], torch.ones_like(before.begun))
        return out.to(i.dtype), after, {name: quantised.detach() for name in names}

    def _count(self, quantised: Tensor, before: DeltaState, through_time: bool) -> None:
        begun = int(before.begun.sum())
        per_frame = quantised[0, 0].numel() if quantised.shape[1] else 0
        outputs = (begun + (len(quantised) - 1) * quantised.shape[1]) * per_frame
        kept = before.begun.reshape(-1, *[1] * (quantised.dim() - 2))
        with torch.no_grad():
            changes = quantised[1:] - quantised[:-1]
            events, nonzero = _nonzero(changes), _nonzero(quantised[1:])
            first = None
            if begun:
                first = (quantised[0] - before.sent) * kept
                events += _nonzero(first)
                nonzero += _nonzero(quantised[0] * kept)
        mean = _MeanChange.apply(quantised, before.sent, changes, first, max(outputs, 1), through_time)
        self.activity = Activity(mean, events, nonzero, outputs)

    def _checked(self, state: State, x: Tensor) -> DeltaState:
        if len(state) != 3:
            raise ShapeError(f"{self.kind}: state must hold {list(DeltaState._fields)}; got {len(state)} tensor(s).")
        made = DeltaState(*state)
        for name, value in zip(DeltaState._fields, made, strict=True):
            wanted = x.shape[1:2] if name == "begun" else x.shape[1:]
            if value.shape != wanted:
                raise ShapeError(f"{self.kind}: state.{name} must be {list(wanted)}; got {list(value.shape)}.")
            self._check_device(f"state.{name}", value, x)
        return DeltaState(*(value.to(x.dtype) for value in made))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what the last call left: its graph cannot be copied."""
        return {**self.__dict__, "activity": None}

    def extra_repr(self) -> str:
        """Return what distinguishes this layer."""
        step = "none" if self.theta is None else f"{list(self.theta.shape)}"
        return f"{self.size}, threshold={step}, takes={self.takes!r}, sends={self.sends!r}, rate={self.rate:g}"


def _nonzero(x: Tensor) -> int:
    """Count what is not zero; five times as fast on the CPU as torch.count_nonzero."""
    return int(x.ne(0).sum(dtype=torch.int32))


class _Quantise(torch.autograd.Function):
    """Round to multiples of the threshold, with the derivatives of the author's layer."""

    @staticmethod
    def forward(ctx: Any, active: Tensor, theta: Tensor) -> Tensor:
        step = theta.abs()
        count = (active / step).round_()
        ctx.save_for_backward(count, theta)
        return count * step

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        count, theta = ctx.saved_tensors
        return g, (g * count).sum_to_size(theta.shape) * -theta.sign()


class _MeanChange(torch.autograd.Function):
    """Mean of the absolute changes: those between frames, and the first from what was sent before, where there was."""

    @staticmethod
    def forward(
        ctx: Any,
        quantised: Tensor,
        sent: Tensor,
        changes: Tensor,
        first: Tensor | None,
        outputs: int,
        through_time: bool,
    ) -> Tensor:
        ctx.save_for_backward(changes, first)
        ctx.outputs, ctx.through_time = outputs, through_time
        total = changes.abs().sum()
        return (total if first is None else total + first.abs().sum()) / outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        changes, first = ctx.saved_tensors
        share, sign = g / ctx.outputs, changes.sign()
        sign *= share
        g_quantised = torch.empty((len(changes) + 1, *changes.shape[1:]), dtype=changes.dtype, device=changes.device)
        g_quantised[1:] = sign
        g_sent = None
        if first is None:
            g_quantised[0] = 0.0
        else:
            g_quantised[0] = first.sign() * share
            if ctx.through_time:
                g_sent = -g_quantised[0]
        if ctx.through_time:
            g_quantised[:-1] -= sign
        return g_quantised, g_sent, None, None, None, None


def activity_loss(net: nn.Module) -> Tensor:
    """Return the loss on activity of the last call: sum over layers of ``rate * fan_out * mean |o_t - o_{t-1}|``.

    Raises
    ------
    NetworkError
        When the network has no `DeltaActivation` or has not been run.
    """
    layers = [module for module in net.modules() if isinstance(module, DeltaActivation)]
    terms = [
        layer.rate * layer.fan_out * layer.activity.mean_change
        for layer in layers
        if layer.activity is not None and layer.theta is not None
    ]
    if not terms:
        raise NetworkError("activity_loss: no DeltaActivation with a threshold has been run in this network.")
    return torch.stack(terms).sum()


@dataclass(frozen=True)
class WithActivity(Loss):
    """A loss plus the loss on activity of the network that made the output.

    Parameters
    ----------
    loss : Loss
        Of the task.
    net : Module
        The network.
    """

    loss: Loss
    net: nn.Module

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the sum of both; to be called right after the network."""
        return self.loss(output, target) + activity_loss(self.net)

    def prediction(self, output: Tensor) -> Tensor:
        """Return the class of each sample, as the loss of the task does."""
        return self.loss.prediction(output)

    def check_target(self, target: Tensor, classes: int) -> None:
        """Refuse what the loss of the task refuses."""
        self.loss.check_target(target, classes)


def send_changes(net: Network, on: bool = True) -> None:
    """Let the delta layers of a network pass changes to one another, or values again.

    Every edge between two `DeltaActivation` layers is switched. The outputs stay the same to rounding.

    Raises
    ------
    NetworkError
        When an edge from a delta layer leads elsewhere, has a bias, or is not linear.
    """
    inner = [edge for edge in net.edges if isinstance(net.nodes[edge.source], DeltaActivation)]
    for edge in inner:
        receiver = net.nodes[edge.target]
        if not isinstance(receiver, DeltaActivation):
            raise NetworkError(
                f"edge {edge.name!r} takes changes to a {type(receiver).__name__}, which does not add them up; "
                "end in DeltaActivation(threshold=None, rectify=False)."
            )
        for synapse in edge.synapses:
            if not isinstance(synapse, _LINEAR):
                raise NetworkError(
                    f"edge {edge.name!r}: {type(synapse).__name__} of changes is not the change of its output."
                )
            if getattr(synapse, "bias", None) is not None:
                raise NetworkError(
                    f"edge {edge.name!r}: {type(synapse).__name__} has a bias, which would be added at every frame; "
                    "make it without: the delta layer behind it has one."
                )
    fed = {edge.target for edge in inner}
    for edge in net.edges:
        if edge.target in fed and edge not in inner:
            raise NetworkError(f"{edge.target!r} would get changes and, from {edge.source!r}, values.")
    flow: Flow = "changes" if on else "values"
    for edge in inner:
        source, target = net.nodes[edge.source], net.nodes[edge.target]
        assert isinstance(source, DeltaActivation) and isinstance(target, DeltaActivation)
        source.sends = target.takes = flow
