"""Layers and networks of ELM neurons."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.elm.operator import can_run
from neurosim.kernels.elm_layer import operator as kernel
from neurosim.kernels.elm_layer.arguments import Start, Weights
from neurosim.models.elm import ELM, GAIN, SLOPE, ELMState
from neurosim.network.layers import LI
from neurosim.synapses.synapse import count


class ELMLayerState(NamedTuple):
    """State of `ELMLayer`.

    Attributes
    ----------
    branch : Tensor [B, N, branches]
        Branch traces.
    memory : Tensor [B, N, d_m]
        Memory units.
    slow : Tensor [B, N]
        Low-pass of the output, subtracted from the activity.
    activity : Tensor [B, N]
        Activity after the last step, the recurrent input of the next step.
    """

    branch: Tensor
    memory: Tensor
    slow: Tensor
    activity: Tensor


class ELMLayer(nn.Module):
    r"""ELM neurons with random synapses from the inputs and, one step late, from the activity of the layer.

    Each neuron is an `ELM` of one output y with its own parameters and its own random table of routes. With
    :math:`\kappa_r = e^{-\Delta t/\tau_r}` its activity is

    .. math::
        r_t = \kappa_r r_{t-1} + (1 - \kappa_r) y_t, \quad a_t = \max(y_t - r_t, 0)

    a high-pass and a rectifier. Default sizes are those of the authors' network; only the time constant of its
    high-pass is known here, the form above is this project's.

    On the CPU all steps run in one fused call, whose work is proportional to the number of synapses. Elsewhere, under
    torch.compile and under torch.func a recurrent layer runs step by step as torch operations for all neurons.

    Parameters
    ----------
    n_in : int
        Inputs.
    neurons : int
        Number of neurons and of outputs N.
    dt : float
        Length of a step, s.
    d_m : int
        Memory units of a neuron.
    d_mlp : int, optional
        Hidden units; ``2 d_m`` by default.
    branches : int, optional
        Branches of a neuron; ``2 d_mlp`` by default.
    synapses : int, optional
        Synapses of a branch; the number of branches by default.
    recurrent : bool
        Whether the activity of the step before is an input.
    tau_r : float
        Time constant of the high-pass, s.
    dropout : float
        Probability in [0, 1) that in training an input or a recurrent connection is silent for a whole run.
    variant, tau_m_min, tau_m_max, learn_tau_m
        As in `ELM`.

    Raises
    ------
    InputError, UnitError
        For a value that cannot be used.

    References
    ----------
    The network of ELM neurons of arXiv:2605.12049 (2026). The neuron: see `ELM`.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import ELMLayer
    >>> layer = ELMLayer(64, 16, dt=1e-3)
    >>> a, state = layer(torch.rand(20, 4, 64).round())
    >>> tuple(a.shape), layer.elm.branches, layer.elm.d_mlp
    ((20, 4, 16), 40, 20)
    """

    def __init__(
        self,
        n_in: int,
        neurons: int,
        *,
        dt: float,
        d_m: int = 10,
        d_mlp: int | None = None,
        branches: int | None = None,
        synapses: int | None = None,
        recurrent: bool = True,
        tau_r: float = 5e-3,
        dropout: float = 0.0,
        variant: Literal["v1", "v2"] = "v2",
        tau_m_min: float = 1e-3,
        tau_m_max: float = 1.0,
        learn_tau_m: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise InputError(f"ELMLayer: dropout must be a probability in [0, 1); got {dropout!r}.")
        self.n_in, self.neurons = count("ELMLayer", "n_in", n_in), count("ELMLayer", "neurons", neurons)
        self.recurrent, self.dropout = recurrent, float(dropout)
        hidden = 2 * d_m if d_mlp is None else d_mlp
        n_branches = 2 * hidden if branches is None else branches
        self.elm = ELM(
            n_in + neurons if recurrent else n_in,
            1,
            dt=dt,
            neurons=neurons,
            d_m=d_m,
            d_mlp=hidden,
            branches=n_branches,
            synapses=n_branches if synapses is None else synapses,
            routing="random",
            variant=variant,
            tau_m_min=tau_m_min,
            tau_m_max=tau_m_max,
            learn_tau_m=learn_tau_m,
        )
        self.low_pass = LI(tau_mem=tau_r, dt=dt)

    def initial_state(self, x: Tensor) -> ELMLayerState:
        """Return the state before the first step for an input like `x` [T, B, n_in]: zeros."""
        zeros = x.new_zeros(x.shape[1], self.neurons)
        branch, memory = self.elm.initial_state(x)
        return ELMLayerState(branch, memory, zeros, zeros)

    def forward(self, x: Tensor, state: ELMLayerState | None = None) -> tuple[Tensor, ELMLayerState]:
        """Run the layer over time.

        Parameters
        ----------
        x : Tensor [T, B, n_in]
            Input.
        state : ELMLayerState, optional
            State to start from; None is zeros.

        Returns
        -------
        a : Tensor [T, B, N]
            Activity after each step, not negative.
        state : ELMLayerState
            State after the last step.

        Raises
        ------
        ShapeError, InputError
            When x or state do not fit.
        """
        if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != self.n_in:
            got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ShapeError(f"ELMLayer: x must be a tensor [T, B, {self.n_in}]; got {got}. Time comes first.")
        if not x.is_floating_point():
            raise InputError(f"ELMLayer: x must be in floating point; got {x.dtype}. Use x.float().")
        start = self._checked(x, state)
        mask = self._mask(x)
        if not self.recurrent:
            y, after = self.elm(x if mask is None else x * mask, ELMState(start.branch, start.memory))
            activity, slow = self._high_pass(y[..., 0], start.slow)
            last = activity[-1] if len(x) else start.activity
            return activity, ELMLayerState(after.branch, after.memory, slow, last)
        if x.shape[0] and x.shape[1] and can_run(x, *start, *self.parameters(), self.elm.proto_tau_m):
            with torch.autocast(x.device.type, enabled=False):
                return self._fused(x, start, mask)
        return self.stepped(x, start, mask)

    def _checked(self, x: Tensor, state: ELMLayerState | None) -> ELMLayerState:
        fresh = self.initial_state(x)
        if state is None:
            return fresh
        if len(state) != len(fresh):
            raise ShapeError(f"ELMLayer: state must hold {list(fresh._fields)}; got {len(state)} tensor(s).")
        for name, model, value in zip(fresh._fields, fresh, state, strict=True):
            if value.shape != model.shape:
                raise ShapeError(f"ELMLayer: state.{name} must be {list(model.shape)}; got {list(value.shape)}.")
        return ELMLayerState(*state)

    def _mask(self, x: Tensor) -> Tensor | None:
        if not (self.training and self.dropout):
            return None
        keep = 1.0 - self.dropout
        return torch.empty(x.shape[1], self.elm.n_in, dtype=x.dtype, device=x.device).bernoulli_(keep) / keep

    def _high_pass(self, y: Tensor, slow: Tensor) -> tuple[Tensor, Tensor]:
        low: Tensor
        low, (last,) = self.low_pass(y, (slow,))
        return torch.relu(y - low), last

    def stepped(self, x: Tensor, start: ELMLayerState, mask: Tensor | None = None) -> tuple[Tensor, ELMLayerState]:
        """Run a recurrent layer step by step in torch's own operations, with which the fused call is compared.

        Parameters
        ----------
        x, start
            As in `forward`.
        mask : Tensor [B, n_in + N], optional
            Factor of the inputs and of the recurrent connections.
        """
        elm, kappa = self.elm, self.low_pass.decay("tau_mem")
        to_hidden = elm.to_hidden()
        outside, inside = to_hidden.split([self.n_in, self.neurons], dim=2)
        input_mask, loop_mask = (None, None) if mask is None else mask.split([self.n_in, self.neurons], dim=1)
        inputs = x if input_mask is None else x * input_mask
        drive = functional.linear(inputs, outside.flatten(0, 1)).unflatten(2, (self.neurons, elm.d_mlp))
        loop = elm.memory_loop(start.branch, start.memory)
        activity, slow, recurrent, activities = start.activity, start.slow, [], []
        for now in drive:
            z = activity if loop_mask is None else activity * loop_mask
            recurrent.append(z)
            from_loop = functional.linear(z, inside.flatten(0, 1)).unflatten(1, (self.neurons, elm.d_mlp))
            y = loop.step(now + from_loop)[..., 0]
            slow = kappa * slow + (1.0 - kappa) * y
            activity = torch.relu(y - slow)
            activities.append(activity)
        if not activities:
            return x.new_empty(0, x.shape[1], self.neurons), start
        branch = elm.last_traces(torch.cat((inputs, torch.stack(recurrent)), dim=2), start.branch)
        return torch.stack(activities), ELMLayerState(branch, loop.memory, slow, activity)

    def _fused(self, x: Tensor, start: ELMLayerState, mask: Tensor | None) -> tuple[Tensor, ELMLayerState]:
        elm = self.elm
        input_mask, loop_mask = (None, None) if mask is None else mask.split([self.n_in, self.neurons], dim=1)
        given = x if input_mask is None else x * input_mask
        keep, gain = elm.decay_and_gain()
        weights = Weights(
            elm.w_s, elm.inward, elm.inward_bias, elm.outward, elm.outward_bias, keep, GAIN * gain,
            elm.readout[:, 0], elm.readout_bias[:, 0],
        )  # fmt: skip
        states = Start(start.branch, start.memory, start.slow, start.activity)
        trains = torch.is_grad_enabled() and any(t.requires_grad for t in (given, *states, *weights))
        made = kernel.run_elm_layer(
            kernel.Call(
                given, states, weights, torch.ones_like(start.slow) if loop_mask is None else loop_mask,
                elm.routes.int(), elm.kappa_s, float(self.low_pass.decay("tau_mem")), SLOPE,
                elm.activation == "silu", trains,
            )
        )  # fmt: skip
        return made.activity, ELMLayerState(made.branch, made.memory, made.slow, made.activity[-1])


class ELMNetwork(nn.Module):
    """Layers of ELM neurons in a row, and a linear readout of the last layer at every step.

    Parameters
    ----------
    n_in : int
        Inputs.
    neurons : sequence of int
        Neurons of each layer.
    n_out : int
        Outputs.
    dt : float
        Length of a step, s.
    **options
        Options of every `ELMLayer`.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import ELMNetwork
    >>> network = ELMNetwork(40, [16, 16], 10, dt=1e-3, d_m=5)
    >>> y, state = network(torch.rand(20, 4, 40).round())
    >>> tuple(y.shape), len(state)
    ((20, 4, 10), 2)
    """

    def __init__(self, n_in: int, neurons: Sequence[int], n_out: int, *, dt: float, **options: Any) -> None:
        super().__init__()
        sizes = [n_in, *neurons]
        if len(sizes) == 1:
            raise InputError("ELMNetwork: neurons must have at least one layer; got none.")
        self.layers = nn.ModuleList(ELMLayer(n, m, dt=dt, **options) for n, m in pairwise(sizes))
        self.readout = nn.Linear(sizes[-1], count("ELMNetwork", "n_out", n_out))

    def forward(
        self, x: Tensor, state: Sequence[ELMLayerState] | None = None
    ) -> tuple[Tensor, tuple[ELMLayerState, ...]]:
        """Run the network over time.

        Parameters
        ----------
        x : Tensor [T, B, n_in]
            Input.
        state : sequence of ELMLayerState, optional
            One for each layer; None is zeros.

        Returns
        -------
        y : Tensor [T, B, n_out]
            Readout after each step.
        state : tuple of ELMLayerState
            After the last step.
        """
        if state is not None and len(state) != len(self.layers):
            raise ShapeError(f"ELMNetwork: state must hold {len(self.layers)} layers' states; got {len(state)}.")
        after = []
        for number, layer in enumerate(self.layers):
            x, last = layer(x, None if state is None else state[number])
            after.append(last)
        return self.readout(x), tuple(after)
