"""The expressive leaky memory (ELM) neuron: many time constants of memory, written by a perceptron."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.kernels.elm import operator as kernel
from neurosim.kernels.elm import reference
from neurosim.kernels.elm.arguments import Weights
from neurosim.kernels.elm.cpu import padded_size
from neurosim.kernels.linear.product import linear
from neurosim.models.elm_routing import random_routing, windows
from neurosim.synapses.synapse import count
from neurosim.units import check_dt, decay_of

GAIN, SLOPE = 1.7159, 2.0 / 3.0  # of the tanh of a memory update


class ELMState(NamedTuple):
    """State of `ELM`.

    Attributes
    ----------
    branch : Tensor [B, N, branches]
        Sum of the synapse traces of each branch.
    memory : Tensor [B, N, d_m]
        The memory units.
    """

    branch: Tensor
    memory: Tensor


class ELM(nn.Module):
    r"""Independent ELM neurons, each with its own parameters.

    With branch traces b, memory m, perceptron MLP of one hidden layer, step :math:`\Delta t`:

    .. math::
        \kappa_s &= e^{-\Delta t/\tau_s}, \quad \kappa_m = e^{-\Delta t/\tau_m}, \quad w = \max(\tilde w, 0) \\
        b_t &= \kappa_s b_{t-1} + \sum_{\mathrm{branch}} w \odot x_t \\
        \Delta m_t &= 1.7159 \tanh\left(\tfrac{2}{3} \mathrm{MLP}([b_t; \kappa_m \odot m_{t-1}])\right) \\
        m_t &= \kappa_m \odot m_{t-1} + g \odot \Delta m_t, \quad y_t = W_y m_t + b_y

    The variant defines the gain g of a memory update: ``"v1"``, the published results, :math:`g = \lambda (1 -
    \kappa_m)`; ``"v2"``, the authors' later program, :math:`g = 1 - \kappa_m^\lambda`. v1 has a trace at each synapse;
    the synapses of a neuron share one :math:`\tau_s`, so the sum of a branch's traces is the trace of its sum, which is
    used here.

    The time constants of the memory are in ``(tau_m_min, tau_m_max)``: a sigmoid of `proto_tau_m`, initially uniform on
    a logarithmic scale. They are fixed unless `learn_tau_m`. Weights of synapses are never negative; an inhibitory
    input has negative x.

    On the CPU all steps run in one call of a fused kernel; elsewhere, under torch.compile and under torch.func the
    definition runs step by step. An ELM is a module and not a population of a `Network`, whose nodes have input and
    output of the same shape: an ELM neuron has all its synapses as inputs and `n_out` outputs.

    Parameters
    ----------
    n_in : int
        Inputs, shared by all neurons.
    n_out : int
        Outputs of a neuron.
    dt : float
        Length of a step, s, in (0, 0.1).
    neurons : int
        Number of neurons N.
    d_m : int
        Memory units of a neuron.
    d_mlp : int, optional
        Hidden units of its perceptron; ``2 d_m`` by default.
    branches, synapses : int, optional
        Branches of a neuron and synapses of a branch (Branch-ELM). By default each input has a branch of one synapse.
    routing : {"windows", "random"}
        Inputs of the synapses of a Branch-ELM; see `windows` and `random_routing`.
    variant : {"v1", "v2"}
        Which of the authors' two programs is followed.
    gain : float
        :math:`\lambda`, above 0.
    tau_s : float
        Time constant of the synapses, s.
    tau_m_min, tau_m_max : float
        Bounds of the time constants of the memory, s.
    learn_tau_m : bool
        Whether the time constants of the memory are learned.
    w_s : float
        Initial weight of every synapse.
    activation : {"relu", "silu"}
        Of the hidden units.

    Attributes
    ----------
    proto_w_s : Parameter [N, branches, synapses]
        :math:`\tilde w`.
    proto_tau_m : Tensor [N, d_m]
        A parameter only if `learn_tau_m`.
    inward, inward_bias : Parameter [N, d_mlp, branches + d_m], [N, d_mlp]
        First layer of the perceptron.
    outward, outward_bias : Parameter [N, d_m, d_mlp], [N, d_m]
        Its second layer.
    readout, readout_bias : Parameter [N, n_out, d_m], [N, n_out]
        :math:`W_y, b_y`.
    routes : Tensor [N, branches, synapses] of int64
        Input of each synapse.
    connected : Tensor [N, branches, synapses] of bool
        False where a window extends beyond the inputs; such a synapse has no effect.

    Raises
    ------
    InputError, UnitError
        For a size, a time constant or a choice that cannot be used.

    References
    ----------
    Spieler, Rahaman, Martius, Schölkopf, Levina 2023, "The Expressive Leaky Memory Neuron: an Efficient and Expressive
    Phenomenological Neuron Model Can Solve Long-Horizon Tasks", arXiv:2306.16922.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import ELM
    >>> neuron = ELM(700, 20, dt=10e-3, d_m=100)
    >>> sum(p.numel() for p in neuron.parameters())
    183020
    >>> y, state = neuron(torch.zeros(100, 8, 700))
    >>> tuple(y.shape), tuple(state.memory.shape)
    ((100, 8, 1, 20), (8, 1, 100))
    """

    routes: Tensor
    connected: Tensor
    proto_tau_m: Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        dt: float,
        neurons: int = 1,
        d_m: int = 100,
        d_mlp: int | None = None,
        branches: int | None = None,
        synapses: int | None = None,
        routing: Literal["windows", "random"] = "windows",
        variant: Literal["v1", "v2"] = "v1",
        gain: float = 5.0,
        tau_s: float = 5e-3,
        tau_m_min: float = 1e-3,
        tau_m_max: float = 1.0,
        learn_tau_m: bool = False,
        w_s: float = 0.5,
        activation: Literal["relu", "silu"] = "relu",
    ) -> None:
        super().__init__()
        self.n_in, self.n_out = count("ELM", "n_in", n_in), count("ELM", "n_out", n_out)
        self.neurons, self.d_m = count("ELM", "neurons", neurons), count("ELM", "d_m", d_m)
        self.d_mlp = 2 * d_m if d_mlp is None else count("ELM", "d_mlp", d_mlp)
        self.dt = check_dt("ELM", dt)
        self.variant = _one_of("variant", variant, ("v1", "v2"))
        self.activation = _one_of("activation", activation, ("relu", "silu"))
        self.tau_s = _duration("tau_s", tau_s)
        self.tau_m_min, self.tau_m_max = _duration("tau_m_min", tau_m_min), _duration("tau_m_max", tau_m_max)
        if not tau_m_min < tau_m_max:
            raise UnitError(f"ELM: tau_m_min must be below tau_m_max; got {tau_m_min!r} s and {tau_m_max!r} s.")
        if not (isinstance(gain, (int, float)) and 0 < gain < math.inf):
            raise InputError(f"ELM: gain must be a number above 0; got {gain!r}.")
        self.gain = float(gain)
        self.is_branched = branches is not None or synapses is not None
        routes, connected = self._routing(branches, synapses, routing)
        self.register_buffer("routes", routes)
        self.register_buffer("connected", connected)
        n, h = self.neurons, self.d_mlp
        self.branches = routes.shape[1]
        self.proto_w_s = nn.Parameter(torch.full(routes.shape, float(w_s)))
        proto = _proto_tau(self.tau_m_min, self.tau_m_max, self.d_m).expand(n, -1).clone()
        if learn_tau_m:
            self.proto_tau_m = nn.Parameter(proto)
        else:
            self.register_buffer("proto_tau_m", proto)
        self.inward, self.inward_bias = _layer(n, h, self.branches + self.d_m)
        self.outward, self.outward_bias = _layer(n, self.d_m, h)
        self.readout, self.readout_bias = _layer(n, self.n_out, self.d_m)

    def _routing(self, branches: int | None, synapses: int | None, routing: str) -> tuple[Tensor, Tensor]:
        _one_of("routing", routing, ("windows", "random"))
        if not self.is_branched:
            routes = torch.arange(self.n_in)[:, None]
            connected = torch.ones_like(routes, dtype=torch.bool)
        else:
            if branches is None or synapses is None:
                raise InputError("ELM: a Branch-ELM needs both branches and synapses; pass both or neither.")
            sizes = count("ELM", "branches", branches), count("ELM", "synapses", synapses)
            if routing == "random":
                drawn = torch.stack([random_routing(self.n_in, *sizes) for _ in range(self.neurons)])
                return drawn, torch.ones_like(drawn, dtype=torch.bool)
            routes, connected = windows(self.n_in, *sizes)
        return routes.repeat(self.neurons, 1, 1), connected.repeat(self.neurons, 1, 1)

    @property
    def tau_m(self) -> Tensor:
        """Time constants of the memory [N, d_m], s."""
        return self.tau_m_min + (self.tau_m_max - self.tau_m_min) * torch.sigmoid(self.proto_tau_m)

    @property
    def w_s(self) -> Tensor:
        """Weights of the synapses [N, branches, synapses]: 0 where the parameter is negative."""
        return torch.relu(self.proto_w_s)

    @property
    def kappa_s(self) -> float:
        """Decay of a synapse trace over a step."""
        return decay_of(self.tau_s, self.dt)

    def decay_and_gain(self) -> tuple[Tensor, Tensor]:
        """Return the decay of the memory units per step and the gain of an update, [N, d_m] each."""
        steps = -self.dt / self.tau_m
        if self.variant == "v1":
            return torch.exp(steps), -self.gain * torch.expm1(steps)
        return torch.exp(steps), -torch.expm1(self.gain * steps)

    def initial_state(self, x: Tensor) -> ELMState:
        """Return the state before the first step for an input like `x` [T, B, n_in]: zeros."""
        lead = (x.shape[1], self.neurons)
        return ELMState(x.new_zeros(*lead, self.branches), x.new_zeros(*lead, self.d_m))

    def forward(self, x: Tensor, state: ELMState | None = None) -> tuple[Tensor, ELMState]:
        """Run the neurons over time.

        Parameters
        ----------
        x : Tensor [T, B, n_in]
            Spikes (of inhibitory inputs as -1), counts or any other values.
        state : ELMState, optional
            State to start from; None is zeros.

        Returns
        -------
        y : Tensor [T, B, N, n_out]
            Output after each step.
        state : ELMState
            State after the last step.

        Raises
        ------
        ShapeError, InputError
            When x or state do not fit.
        """
        y, after, *_ = self.run(x, state)
        return y, after

    def run(self, x: Tensor, state: ELMState | None = None, record: Sequence[str] = ()) -> LayerOutput:
        """Run as `forward` does, and record the values named in `record` at every step, without gradient.

        Parameters
        ----------
        x, state
            As in `forward`.
        record : sequence of str
            ``"branch"`` [T, B, N, branches] and ``"memory"`` [T, B, N, d_m].
        """
        start = self._checked(x, state)
        wrong = [name for name in record if name not in ELMState._fields]
        if wrong:
            raise InputError(f"ELM: cannot record {wrong}; there are {list(ELMState._fields)}.")
        if x.shape[0] and x.shape[1] and kernel.can_run(x, *start, *self.parameters(), self.proto_tau_m):
            # The machine code reads single or double precision, whatever autocast makes of products.
            with torch.autocast(x.device.type, enabled=False):
                y, memory, after = self._fused(x, start, fresh=state is None)
        else:
            memory, last = self._stepped(x, start)
            y, after = self._read(memory), ELMState(last, memory[-1] if len(memory) else start.memory)
        kept = {"memory": memory.detach()[..., : self.d_m]} if "memory" in record else {}
        if "branch" in record:
            with torch.no_grad():
                kept["branch"] = self._branch_traces(x, start.branch)
        return LayerOutput(y, after, {name: kept[name] for name in record})

    def run_reference(self, x: Tensor, state: ELMState | None = None) -> LayerOutput:
        """Run as `forward` does, step by step: the definition, in torch's own operations."""
        start = self._checked(x, state)
        memory, last = self._stepped(x, start)
        return LayerOutput(self._read(memory), ELMState(last, memory[-1] if len(memory) else start.memory), {})

    def _checked(self, x: Tensor, state: ELMState | None) -> ELMState:
        if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != self.n_in:
            got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ShapeError(f"ELM: x must be a tensor [T, B, {self.n_in}]; got {got}. Time comes first.")
        if not x.is_floating_point():
            raise InputError(f"ELM: x must be in floating point; got {x.dtype}. Use x.float().")
        fresh = self.initial_state(x)
        if state is None:
            return fresh
        if len(state) != len(fresh):
            raise ShapeError(f"ELM: state must hold {list(ELMState._fields)}; got {len(state)} tensor(s).")
        for name, model, value in zip(ELMState._fields, fresh, state, strict=True):
            if value.shape != model.shape:
                raise ShapeError(f"ELM: state.{name} must be {list(model.shape)}; got {list(value.shape)}.")
        return ELMState(*state)

    def _matrix(self) -> Tensor:
        """Return the weights of all synapses as a matrix [N, branches, n_in]."""
        weight = self.w_s * self.connected
        if not self.is_branched:
            return torch.diag_embed(weight.squeeze(2))
        into = weight.new_zeros(self.neurons, self.branches, self.n_in)
        return into.scatter_add(2, self.routes, weight)

    def to_hidden(self) -> Tensor:
        """Return the matrix from inputs to hidden units [N, d_mlp, n_in], through synapses and branches."""
        first = self.inward[..., : self.branches]
        if not self.is_branched:
            return first * self.w_s.transpose(1, 2)
        return first @ self._matrix()

    def _fused(self, x: Tensor, start: ELMState, *, fresh: bool) -> tuple[Tensor, Tensor, ELMState]:
        """Return output [T, B, N, n_out] and memory [T, B, N, d_m padded] after each step, and the last state.

        `fresh`: the start is zeros.
        """
        d, h = (padded_size(size, x.dtype) - size for size in (self.d_m, self.d_mlp))
        first, second = self.inward.split([self.branches, self.d_m], dim=2)
        # Everything before the hidden units is linear: traces of hidden units replace those of branches.
        given, drive = self._drive(x, first, h)
        trace = drive.new_zeros(drive.shape[1:]) if fresh else _padded(_through(start.branch, first), h)
        keep, gain = self.decay_and_gain()
        weights = Weights(
            second,
            self.inward_bias,
            self.outward,
            self.outward_bias,
            keep,
            GAIN * gain,
            self.readout,
            self.readout_bias,
        )
        memory, smooth = _padded(start.memory, d), self.activation == "silu"
        tensors = (drive, trace, memory, *weights)
        trains = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        result = kernel.run_elm(kernel.Call(drive, trace, memory, weights, self.kappa_s, SLOPE, smooth, trains))
        last = self._last_traces(given, start.branch, fresh=fresh)
        return result.output, result.memory, ELMState(last, result.last[..., : self.d_m])

    def _drive(self, x: Tensor, first: Tensor, filler: int) -> tuple[Tensor, Tensor]:
        """Return the input of the hidden units at each step [T, B, N, d_mlp + filler], and that of the first matrix.

        Where branches are fewer than hidden units, inputs go to the branches first: that is less to multiply and what
        comes to the branches [T, B, N, branches] is known by the way. Else one map takes x [T, B, n_in] all the way.
        """
        steps, batch, _ = x.shape
        if self.branches >= self.d_mlp or not self.is_branched:
            to_hidden = _padded(self.to_hidden().transpose(1, 2), filler).transpose(1, 2).flatten(0, 1)
            return x, linear(x.flatten(0, 1), to_hidden, None).view(steps, batch, self.neurons, -1)
        come = linear(x.flatten(0, 1), self._matrix().flatten(0, 1), None).view(steps * batch, self.neurons, -1)
        drive = _through(come, _padded(first.transpose(1, 2), filler).transpose(1, 2))
        return come.view(steps, batch, self.neurons, -1), drive.view(steps, batch, self.neurons, -1)

    def last_traces(self, x: Tensor, branch: Tensor) -> Tensor:
        """Return the branch traces after the last step for `x` [T, B, n_in], having been `branch` at the start."""
        return self._last_traces(x, branch, fresh=False)

    def _last_traces(self, given: Tensor, branch: Tensor, *, fresh: bool) -> Tensor:
        """Do the same from x, or from the input of the branches [T, B, N, branches]; from zeros if `fresh`."""
        steps = len(given)
        decays = _decays(steps, self.kappa_s, given.dtype, given.device)
        come = (decays @ given.flatten(1)).view(given.shape[1:])
        if given.dim() == 3:
            if self.is_branched:
                come = _through(come[:, None].expand(-1, self.neurons, -1), self._matrix())
            else:
                come = come[:, None] * self.w_s.squeeze(2)
        return come if fresh else self.kappa_s**steps * branch + come

    def _inputs(self, x: Tensor) -> Tensor:
        """Return the input of each branch at one step, [B, N, branches], for `x` [B, n_in]."""
        weighted = x[:, self.routes] * (self.w_s * self.connected)
        return weighted.sum(3)

    def _branch_traces(self, x: Tensor, branch: Tensor) -> Tensor:
        traces = []
        for now in x:
            branch = self.kappa_s * branch + self._inputs(now)
            traces.append(branch)
        return torch.stack(traces) if traces else x.new_empty(0, *branch.shape)

    def _stepped(self, x: Tensor, start: ELMState) -> tuple[Tensor, Tensor]:
        """Do what `_fused` does, step by step and without padding."""
        keep, gain = self.decay_and_gain()
        after, branch = reference.recursion(
            map(self._inputs, x),
            *start,
            kappa_s=self.kappa_s,
            keep=keep,
            hidden=lambda branch, memory: self.activated(
                _map(torch.cat((branch, memory), dim=2), self.inward, self.inward_bias)
            ),
            written=lambda decayed, hidden: self.written(decayed, hidden, gain),
        )
        return torch.stack(after) if after else x.new_empty(0, *start.memory.shape), branch

    def activated(self, hidden: Tensor) -> Tensor:
        """Return the activation of the hidden units."""
        return functional.silu(hidden) if self.activation == "silu" else torch.relu(hidden)

    def written(self, decayed: Tensor, hidden: Tensor, gain: Tensor) -> Tensor:
        """Return the memory after an update by the hidden units, given the decayed memory."""
        return decayed + gain * (GAIN * torch.tanh(SLOPE * _map(hidden, self.outward, self.outward_bias)))

    def memory_loop(self, branch: Tensor, memory: Tensor) -> MemoryLoop:
        """Return the loop that runs the neurons step by step, given the input of the hidden units."""
        return MemoryLoop(self, branch, memory)

    def _read(self, memory: Tensor) -> Tensor:
        """Return the output for `memory` [T, B, N, d_m]."""
        return _map(memory.flatten(0, 1), self.readout, self.readout_bias).unflatten(0, memory.shape[:2])

    def load_released(self, weights: Mapping[str, Tensor]) -> None:
        """Load the parameters of one neuron from a state dict of the authors' program.

        Parameters
        ----------
        weights : mapping of str to Tensor
            With the keys ``_proto_w_s``, ``_proto_tau_m``, ``mlp.network.0.weight`` and ``.bias``,
            ``mlp.network.2.weight`` and ``.bias``, ``w_y.weight`` and ``.bias``, and of a Branch-ELM
            ``input_to_synapse_indices`` and ``valid_indices_mask``. ``tau_s``, there in ms, must be that of this
            neuron.

        Raises
        ------
        InputError, ShapeError
            When a key is missing, does not fit, or the time constant of the synapses differs.
        """
        if self.neurons != 1:
            raise InputError(f"ELM: a released neuron is one neuron; this module has {self.neurons}.")
        targets = {
            "_proto_w_s": self.proto_w_s,
            "_proto_tau_m": self.proto_tau_m,
            "mlp.network.0.weight": self.inward,
            "mlp.network.0.bias": self.inward_bias,
            "mlp.network.2.weight": self.outward,
            "mlp.network.2.bias": self.outward_bias,
            "w_y.weight": self.readout,
            "w_y.bias": self.readout_bias,
        }
        if self.is_branched:
            targets |= {"input_to_synapse_indices": self.routes, "valid_indices_mask": self.connected}
        missing = sorted({*targets} - {*weights})
        if missing:
            raise InputError(f"ELM: the released weights lack {missing}; they have {sorted(weights)}.")
        if "tau_s" in weights and not torch.allclose(
            weights["tau_s"].double(), torch.tensor(1e3 * self.tau_s, dtype=torch.float64), rtol=1e-5
        ):
            raise InputError(
                f"ELM: tau_s is {weights['tau_s'].flatten()[0]:g} ms there and {1e3 * self.tau_s:g} ms here."
            )
        for name, target in targets.items():
            if weights[name].numel() != target.numel():
                raise ShapeError(
                    f"ELM: {name} has shape {list(weights[name].shape)}; {list(target.shape[1:])} is needed."
                )
        with torch.no_grad():
            for name, target in targets.items():
                target.copy_(weights[name].reshape(target.shape))

    def extra_repr(self) -> str:
        """Return the sizes."""
        branched = f", branches={self.branches}, synapses={self.routes.shape[2]}" if self.is_branched else ""
        return (
            f"{self.n_in}, {self.n_out}, dt={self.dt:g}, neurons={self.neurons}, d_m={self.d_m}{branched}, "
            f"variant={self.variant!r}"
        )


class MemoryLoop:
    """ELM neurons run step by step, for a layer whose input depends on the step before.

    Traces are those of the hidden units, whose input is linear in synapses and branches.

    Parameters
    ----------
    elm : ELM
        The neurons.
    branch : Tensor [B, N, branches]
        Branch traces before the first step.
    memory : Tensor [B, N, d_m]
        Memory before the first step.
    """

    def __init__(self, elm: ELM, branch: Tensor, memory: Tensor) -> None:
        self.elm, self.memory = elm, memory
        first, second = elm.inward.split([elm.branches, elm.d_m], dim=2)
        self._keep, self._gain = elm.decay_and_gain()
        self._inward = second * self._keep[:, None]
        self._trace = torch.einsum("bnj,nhj->bnh", branch, first)

    def step(self, drive: Tensor) -> Tensor:
        """Run one step with the input `drive` [B, N, d_mlp] of the hidden units; return the output [B, N, n_out]."""
        elm = self.elm
        self._trace = elm.kappa_s * self._trace + drive
        hidden = elm.activated(self._trace + _map(self.memory, self._inward, elm.inward_bias))
        self.memory = elm.written(self._keep * self.memory, hidden, self._gain)
        return _map(self.memory, elm.readout, elm.readout_bias)


def _proto_tau(low: float, high: float, number: int) -> Tensor:
    """Return the logits of `number` time constants between the bounds, uniform on a logarithmic scale."""
    edge = 1e-6 * (high - low)
    tau = torch.logspace(math.log10(low + edge), math.log10(high - edge), number, dtype=torch.float64)
    share = (tau - low) / (high - low)
    return torch.logit(share).to(torch.get_default_dtype())


def _layer(neurons: int, n_out: int, n_in: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Return weights and offsets, initialised as torch's linear layers."""
    bound = 1.0 / math.sqrt(n_in)
    weight = torch.empty(neurons, n_out, n_in).uniform_(-bound, bound)
    return nn.Parameter(weight), nn.Parameter(torch.empty(neurons, n_out).uniform_(-bound, bound))


@functools.lru_cache(maxsize=8)
def _decays(steps: int, decay: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the factor of the input of each of `steps` steps in the trace after the last."""
    with torch.inference_mode(False):  # cached, and used in training too
        ages = torch.arange(steps - 1, -1, -1, dtype=torch.float64, device=device)
        return (decay**ages).to(dtype)


def _padded(x: Tensor, filler: int) -> Tensor:
    """Return `x` with `filler` zeros appended to its last axis; `x` itself if there are none."""
    return functional.pad(x, (0, filler)) if filler else x


def _through(x: Tensor, weight: Tensor) -> Tensor:
    """Return ``W x`` of each neuron for `x` [M, N, n]."""
    if len(weight) == 1:
        return functional.linear(x.squeeze(1), weight.squeeze(0)).unsqueeze(1)
    return torch.einsum("bnj,nhj->bnh", x, weight)


def _map(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return ``W x + b`` of each neuron for `x` [M, N, n]."""
    if len(weight) == 1:
        return functional.linear(x.squeeze(1), weight.squeeze(0), bias.squeeze(0)).unsqueeze(1)
    return torch.baddbmm(bias[:, None], x.transpose(0, 1), weight.transpose(1, 2)).transpose(0, 1)


def _duration(name: str, value: float) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 100:
        return float(value)
    raise UnitError(f"ELM: {name} must be a number in (0, 100] s; got {value!r}. Did you pass milliseconds?")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise InputError(f"ELM: {name} must be one of {list(known)}; got {value!r}.")
    return value
