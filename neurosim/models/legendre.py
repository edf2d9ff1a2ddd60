"""Legendre memory: a window of the past in a few numbers, linear, and in populations of spiking neurons."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import numpy as np
import torch
from scipy.linalg import expm
from scipy.special import eval_legendre
from torch import Tensor, nn

from neurosim.cores.beta_lif import beta_lif
from neurosim.errors import InputError, ShapeError
from neurosim.language import Surrogate, atan
from neurosim.network.graph import Edge, Input
from neurosim.network.layers import LIF, layer
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import BlockLinear, Linear
from neurosim.synapses.synapse import count
from neurosim.units import check_dt, time_constant, unit_gain

Variant = Literal["paper", "code"]


def legendre_matrices(order: int, theta: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    r"""Return the matrices of a Legendre memory over a step: :math:`m \leftarrow \bar A m + \bar B u`.

    .. math:: A_{ij} = \frac{2i+1}{\theta} \begin{cases} -1 & i < j \\ (-1)^{i-j+1} & i \geq j \end{cases}, \quad
              B_i = \frac{(2i+1)(-1)^i}{\theta}

    held over a step (zero-order hold), exactly.

    Parameters
    ----------
    order : int
        Number of Legendre polynomials.
    theta : float
        Length of the window, in steps.

    Returns
    -------
    ndarray [order, order], ndarray [order]
        In double precision.

    References
    ----------
    Voelker, Kajic & Eliasmith, "Legendre memory units: continuous-time representation in recurrent neural networks",
    NeurIPS 2019.

    Examples
    --------
    >>> from neurosim.models import legendre_matrices
    >>> a, b = legendre_matrices(4, 7.0)
    >>> a.round(4)[0].tolist(), b.round(4).tolist()
    ([0.8518, -0.116, -0.0964, -0.034], [0.1482, -0.348, 0.4818, -0.2382])
    """
    order = count("legendre_matrices", "order", order)
    if not (isinstance(theta, (int, float)) and math.isfinite(theta) and theta > 0):
        raise InputError(f"legendre_matrices: theta must be a positive number of steps; got {theta!r}.")
    i, j = np.indices((order, order))
    a = (2 * i + 1) / theta * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    b = (2 * np.arange(order) + 1) * (-1.0) ** np.arange(order) / theta
    both = np.zeros((order + 1, order + 1))
    both[:order, :order], both[:order, order] = a, b
    held = expm(both)
    return held[:order, :order], held[:order, order]


class LegendreMemory(nn.Module):
    """Linear delay line: the last `theta` steps of each input as coefficients of Legendre polynomials.

    Parameters
    ----------
    order : int
    theta : float
        Length of the window, in steps.
    variant : {"paper", "code"}
        "code" is the transposed matrix of the authors' program of L2MU, which holds no window.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import LegendreMemory
    >>> memory = LegendreMemory(6, 100.0).double()
    >>> u = torch.sin(torch.arange(600) / 60.0).double()[:, None]
    >>> past = memory.past(memory(u), 0.5)
    >>> bool((past[300:, 0] - u[250:-50, 0]).abs().max() < 0.01)
    True
    """

    a: Tensor
    b: Tensor

    def __init__(self, order: int, theta: float, *, variant: Variant = "paper") -> None:
        super().__init__()
        a, b = matrices_of(variant, order, theta)
        self.order, self.theta = order, float(theta)
        self.register_buffer("a", torch.from_numpy(a).to(torch.get_default_dtype()))
        self.register_buffer("b", torch.from_numpy(b).to(torch.get_default_dtype()))
        self._exact = a, b

    def _apply(self, *args: Any, **kwargs: Any) -> LegendreMemory:
        super()._apply(*args, **kwargs)
        for name, exact in zip(("a", "b"), self._exact, strict=True):
            held = getattr(self, name)
            held.copy_(torch.from_numpy(exact))  # rounded once
        return self

    def forward(self, u: Tensor, state: Tensor | None = None) -> Tensor:
        """Return the coefficients [T, ..., order] after each step of u [T, ...], from `state` [..., order] or 0."""
        if u.dim() < 1:
            raise ShapeError("LegendreMemory: u must be [T, ...]; got a number.")
        if state is not None and state.shape != (*u.shape[1:], self.order):
            raise ShapeError(f"LegendreMemory: state must be {[*u.shape[1:], self.order]}; got {list(state.shape)}.")
        m = u.new_zeros(*u.shape[1:], self.order) if state is None else state
        found = []
        for value in u:
            m = m @ self.a.T + value[..., None] * self.b
            found.append(m)
        return torch.stack(found)

    def past(self, m: Tensor, share: float) -> Tensor:
        """Return the input ``share * theta`` steps before, with `share` in [0, 1], from coefficients [..., order]."""
        if not 0.0 <= share <= 1.0:
            raise InputError(f"LegendreMemory: share must be in [0, 1]; got {share!r}.")
        weights = [eval_legendre(k, 2.0 * share - 1.0) for k in range(self.order)]
        return m @ torch.tensor(weights, dtype=m.dtype, device=m.device)


def l2mu(
    n_in: int,
    classes: int,
    *,
    hidden: int = 120,
    memory: int = 70,
    order: int = 7,
    theta: float = 10.0,
    dt: float = 5e-3,
    variant: Variant = "paper",
    betas: tuple[float, float, float, float] = (0.878, 0.221, 0.537, 0.691),
    thresholds: tuple[float, float, float, float] = (0.171, 0.450, 0.711, 0.241),
    reset: Literal["subtract", "value"] = "subtract",
    spike: Surrogate | None = None,
) -> Network:
    r"""Build L2MU, a Legendre memory unit of spiking populations: u, the memory m, h and the output.

    .. math:: u &: e_x x + e_h s_h + e_m s_m, \quad m : \bar A s_m + \bar B s_u \\
              h &: W_x x + W_h s_h + W_m s_m, \quad o : W s_h + b

    Only spikes pass between the populations: those of h to u and itself, and of m to u and itself, are of the step
    before, those of u to m, of m to h and of h to o of the same step. The memory is of spikes, so that it is no linear
    delay line. :math:`\bar A` and :math:`\bar B` are fixed, one for each of `memory` channels; a neuron decays by its
    beta a step and subtracts its threshold, both learned, one for a population.

    Parameters
    ----------
    n_in, classes : int
    hidden, memory, order : int
        Neurons of h, channels of the memory, coefficients of a channel.
    theta : float
        Length of the window, in steps.
    dt : float
        Length of a step, s.
    variant : {"paper", "code"}
        The state matrix of the paper, or that of the authors' program, which is transposed.
    betas, thresholds : tuple of float
        First decay per step and threshold of u, m, h and the output: values that training on Braille letters reached
        in the authors' program.
    reset : {"subtract", "value"}
        "value" sets a membrane to 0, as chips do; the paper subtracts.
    spike : Surrogate, optional

    Returns
    -------
    Network
        Input ``"input"``, populations ``"u"``, ``"m"``, ``"h"`` and ``"output"``.

    References
    ----------
    Fra et al., "L2MU", ICANN 2024, arXiv:2407.04076; its cell in github.com/neuromorphic-polito/L2MU-Braille.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import l2mu
    >>> net = l2mu(24, 7, hidden=20, memory=6, order=4)
    >>> net((torch.rand(30, 2, 24) < 0.2).float())[0].shape
    torch.Size([30, 2, 7])
    """
    for name, value in dict(n_in=n_in, classes=classes, hidden=hidden, memory=memory).items():
        count("l2mu", name, value)
    dt = check_dt("l2mu", dt)
    a, b = matrices_of(variant, order, theta)
    own: dict[str, Any] = dict(dt=dt, reset=reset, learn=("beta", "v_th"), spike=spike or atan())
    populations = {
        name: layer(beta_lif)(beta=beta, v_th=threshold, **own)
        for name, beta, threshold in zip(("u", "m", "h", "output"), betas, thresholds, strict=True)
    }
    states = BlockLinear(memory * order, memory * order, memory)
    inputs = BlockLinear(memory, memory * order, memory)
    for synapse, matrix in ((states, a), (inputs, b[:, None])):
        fixed = torch.from_numpy(matrix).to(torch.get_default_dtype()).expand(memory, -1, -1).clone()
        synapse.weight = nn.Parameter(fixed.view_as(synapse.weight), requires_grad=False)
    return Network(
        nodes={"input": Input(n_in), **populations},
        edges=[
            Edge("input", "u", _uniform(n_in, memory)),
            Edge("h", "u", _uniform(hidden, memory), delay=dt),
            Edge("m", "u", _zero(memory * order, memory), delay=dt),
            Edge("u", "m", inputs),
            Edge("m", "m", states),
            Edge("input", "h", _xavier(n_in, hidden)),
            Edge("h", "h", _xavier(hidden, hidden)),
            Edge("m", "h", _xavier(memory * order, hidden)),
            Edge("h", "output", Linear(hidden, classes, bias=True)),
        ],
        output="output",
    )


def l2mu_as_lif(net: Network) -> Network:
    """Return the network with `LIF` neurons of the same decays and thresholds, which quantisation and export take.

    Parameters
    ----------
    net : Network
        Of `l2mu`, with ``reset="value"`` for targets whose neurons start again from 0; it is not changed.
    """
    nodes: dict[str, Any] = {name: copy.deepcopy(node) for name, node in net.nodes.items()}
    for population, node in nodes.items():
        if isinstance(node, Neuron):
            if node.core is not beta_lif:
                raise InputError(f"l2mu_as_lif: {population!r} is no population of l2mu but {node.core.name}.")
            beta, threshold = (float(torch.as_tensor(node.value(name)).detach()) for name in ("beta", "v_th"))
            tau = float(time_constant(beta, node.dt))
            nodes[population] = LIF(
                tau_mem=tau, r=unit_gain(tau, node.dt), v_th=threshold, dt=node.dt, reset=node.reset,
                spike=node.spike,
            )  # fmt: skip
    edges = [
        Edge(edge.source, edge.target, copy.deepcopy(edge.synapses), edge.delay, edge.name, edge.port)
        for edge in net.edges
    ]
    return Network(nodes, edges, output=net.output, seed=net.seed).train(net.training)


def matrices_of(variant: Variant, order: int, theta: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the matrices of a variant."""
    if variant not in ("paper", "code"):
        raise InputError(f'variant={variant!r}: "paper" or "code".')
    a, b = legendre_matrices(order, theta)
    return (a if variant == "paper" else np.ascontiguousarray(a.T)), b


def _uniform(n_in: int, n_out: int) -> Linear:
    synapse = Linear(n_in, n_out)
    nn.init.uniform_(synapse.weight, -math.sqrt(3.0 / n_in), math.sqrt(3.0 / n_in))
    return synapse


def _zero(n_in: int, n_out: int) -> Linear:
    synapse = Linear(n_in, n_out)
    nn.init.zeros_(synapse.weight)
    return synapse


def _xavier(n_in: int, n_out: int) -> Linear:
    synapse = Linear(n_in, n_out)
    nn.init.xavier_normal_(synapse.weight)
    return synapse
