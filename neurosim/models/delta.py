r"""Delta activation layers: networks that send changes since the previous frame.

Yousefzadeh & Sifalakis, "Training for temporal sparsity in deep neural networks, application in video processing",
arXiv:2107.07305, after the author's layer: with :math:`\vartheta = |\theta|`,

.. math:: o_t = \mathrm{round}(\mathrm{act}(x_t + b) / \vartheta)\,\vartheta, \qquad \Delta_t = o_t - o_{t-1},

and a loss on the mean of :math:`|\Delta_t|`, times the fan-out, which a trained threshold lowers. Only changes need to
be sent: with :math:`y_t = y_{t-1} + W \Delta_t` the next layer has :math:`W o_t` again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.kernels.common.availability import DTYPES
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.network.network import Network
from neurosim.network.population import Population, State
from neurosim.synapses.lowering import Opaque, Pooling, Shifted
from neurosim.synapses.synapse import lowered_chain

Flow = Literal["values", "changes"]
FLOWS = ("values", "changes")


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
    change : Tensor [B]
        Sum of ``|o_t - o_{t-1}|`` over neurons and frames since the first, in float64, with gradient.
    events : Tensor [B]
        Number of changes that were not 0 since the first frame, in float64 as are the next two.
    nonzero : Tensor [B]
        Number of activations that were not 0 since the first frame.
    frames : Tensor [B]
        Number of frames since the first.
    """

    total: Tensor
    sent: Tensor
    begun: Tensor
    change: Tensor
    events: Tensor
    nonzero: Tensor
    frames: Tensor


class DeltaActivation(Population):
    """An activation rounded to multiples of a trained threshold, whose changes are what is sent.

    Training runs on values, as in the authors' program: the next layer gets ``o_t`` and the changes are only counted,
    in the state (`neurosim.models.delta_activity`). `send_changes` switches a trained network to changes; its outputs
    stay the same to rounding. The next layer sums the changes, so synapses behind this layer must have no bias: the
    bias is a parameter of the layer.

    Parameters
    ----------
    size : int or tuple of int
        Shape of the population; channels first.
    dt : float
        Time between two frames, s, in (0, 0.1).
    threshold : float or None
        Initial step of the quantiser, above 0; trained. None: no rounding, for an output.
    per : {"channel", "neuron", "layer"}
        Whether each channel, each neuron or the layer has one threshold.
    rectify : bool
        Whether the activation is ReLU; otherwise it is the identity.
    takes, sends : {"values", "changes"}
        Kind of input and of output. Incoming changes are summed first (the sigma of sigma-delta).
    rate : float
        Weight of this layer in the loss on activity.
    fan_out : int
        Synapses behind each neuron: makes the loss proportional to the operations that a change causes.

    Attributes
    ----------
    bias : Parameter
        One for each channel.
    theta : Parameter
        Threshold, used as its absolute value.

    Notes
    -----
    Derivatives are those of the author's layer: 1 by the activation, and ``- round(act / threshold)`` by the
    threshold. That is not the derivative of a quantiser: its sign is opposite, so that lowering the loss on activity
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
        dt: float | None = None,
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

    @property
    def is_spiking(self) -> bool:
        """False: the output is graded."""
        return False

    @property
    def threshold(self) -> Tensor | None:
        """The step of the quantiser, above 0, or None."""
        return None if self.theta is None else self.theta.abs()

    def initial_state(self, i: Tensor) -> DeltaState:
        """Return the state before the first frame for an input like `i` [T, B, ...]."""
        i = i if i.dtype in DTYPES else i.float()
        counters = (i.new_zeros(i.shape[1], dtype=torch.float64) for _ in range(4))
        return DeltaState(torch.zeros_like(i[0]), torch.zeros_like(i[0]), i.new_zeros(i.shape[1]), *counters)

    def run(
        self, i: Tensor, state: State | None = None, record: Sequence[str] = (), *, through_time: bool = True
    ) -> LayerOutput:
        """Run as `forward` does, and record the values named in `record` at every frame.

        Parameters
        ----------
        i, state, through_time
            As in `forward`.
        record : sequence of str
            ``"o"``, the quantised activation, is the only one.
        """
        self._check_current(i)
        wrong = [name for name in record if name != "o"]
        if wrong:
            raise InputError(f"{self.kind}: cannot record {wrong}; this layer has ['o'].")
        self._check_device("bias", self.bias, i)
        x = i if i.dtype in DTYPES else i.float()
        before = self._checked(self.initial_state(x) if state is None else state, x)
        if not len(x):
            return LayerOutput(i, before, {name: i for name in record})
        total = before.total
        if self.takes == "changes":
            x = x.cumsum(0) + total if through_time else (x.cumsum(0) + total - x).detach() + x
            total = x[-1]
        active = x + self.bias
        active = active.relu_() if self.rectify else active
        quantised = active if self.theta is None else _Quantise.apply(active, self.theta)
        out = quantised
        if self.sends == "changes":
            earlier = torch.cat((before.sent[None], quantised[:-1]))
            out = quantised - (earlier if through_time else earlier.detach())
        counters = self._counters(quantised, before, begins=state is None, through_time=through_time)
        after = DeltaState(total, quantised[-1], torch.ones_like(before.begun), *counters)
        return LayerOutput(out.to(i.dtype), after, {name: quantised.detach() for name in record})

    def _counters(
        self, quantised: Tensor, before: DeltaState, *, begins: bool, through_time: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return change, events, nonzero and frames after the frames `quantised` [T, B, ...]."""
        with torch.no_grad():
            changes = quantised[1:] - quantised[:-1]
            events, nonzero = _nonzero(changes), _nonzero(quantised[1:])
            first = None
            if not begins:  # the first frame of a sample that has begun is a change too
                begun = before.begun.reshape(-1, *[1] * (quantised.dim() - 2))
                first = (quantised[0] - before.sent) * begun
                events = events + _nonzero(first[None])
                nonzero = nonzero + _nonzero((quantised[0] * begun)[None])
        change = _Change.apply(quantised, before.sent, changes, first, through_time)
        return (
            before.change + change,
            before.events + events,
            before.nonzero + nonzero,
            before.frames + before.begun + (len(quantised) - 1),
        )

    def _checked(self, state: State, x: Tensor) -> DeltaState:
        if len(state) != len(DeltaState._fields):
            raise ShapeError(f"{self.kind}: state must hold {list(DeltaState._fields)}; got {len(state)} tensor(s).")
        made = DeltaState(*state)
        for name, value in zip(DeltaState._fields, made, strict=True):
            shape = x.shape[1:] if name in ("total", "sent") else x.shape[1:2]
            if value.shape != shape:
                raise ShapeError(f"{self.kind}: state.{name} must be {list(shape)}; got {list(value.shape)}.")
            self._check_device(f"state.{name}", value, x)
        return made._replace(**{name: getattr(made, name).to(x.dtype) for name in ("total", "sent", "begun")})

    def extra_repr(self) -> str:
        """Return the arguments of this layer."""
        step = "none" if self.theta is None else f"{list(self.theta.shape)}"
        return f"{self.size}, threshold={step}, takes={self.takes!r}, sends={self.sends!r}, rate={self.rate:g}"


def _nonzero(x: Tensor) -> Tensor:
    """Count the values of each sample [T, B, ...] that are not 0: [B]; faster on the CPU than torch.count_nonzero."""
    return x.ne(0).flatten(2).sum((0, 2), dtype=torch.int32)


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


class _Change(torch.autograd.Function):
    """Sum of the absolute changes of each sample: between frames, and from the frame before the first where given."""

    @staticmethod
    def forward(
        ctx: Any, quantised: Tensor, sent: Tensor, changes: Tensor, first: Tensor | None, through_time: bool
    ) -> Tensor:
        ctx.save_for_backward(changes, first)
        ctx.through_time = through_time
        total = changes.abs().flatten(2).sum((0, 2))
        total = total if first is None else total + first.abs().flatten(1).sum(1)
        return total.double()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        changes, first = ctx.saved_tensors
        share, sign = g.to(changes.dtype).reshape(-1, *[1] * (changes.dim() - 2)), changes.sign()
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
        return g_quantised, g_sent, None, None, None


def send_changes(net: Network, on: bool = True) -> None:
    """Switch all edges between `DeltaActivation` layers of a network to changes, or back to values.

    The outputs stay the same to rounding.

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
                f"edge {edge.name!r} sends changes to a {type(receiver).__name__}, which does not sum them; "
                "end the network in DeltaActivation(threshold=None, rectify=False)."
            )
        for synapse, value in zip(edge.synapses, lowered_chain(edge.synapses, net.shape(edge.source)), strict=True):
            maximum = isinstance(value, Pooling) and value.kind == "max"
            if maximum or isinstance(value, (Opaque, Shifted)):
                raise NetworkError(
                    f"edge {edge.name!r}: {type(synapse).__name__} of changes is not the change of its output."
                )
            if getattr(value, "bias", None) is not None:
                raise NetworkError(
                    f"edge {edge.name!r}: {type(synapse).__name__} has a bias, which would be added at every frame; "
                    "use bias=False: the delta layer behind it has one."
                )
    receivers = {edge.target for edge in inner}
    for edge in net.edges:
        if edge.target in receivers and edge not in inner:
            raise NetworkError(f"{edge.target!r} would get changes and, from {edge.source!r}, values.")
    flow: Flow = "changes" if on else "values"
    for edge in inner:
        source, target = net.nodes[edge.source], net.nodes[edge.target]
        assert isinstance(source, DeltaActivation) and isinstance(target, DeltaActivation)
        source.sends = target.takes = flow
