"""Neurons whose time constants are computed at every step from input and state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurosim.cores import leaky_integrator, lif
from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.language import Reset, Surrogate, triangle
from neurosim.network.population import Population, State
from neurosim.synapses.synapse import count


class LiquidNeuronsState(NamedTuple):
    """State of `LiquidNeurons`.

    Attributes
    ----------
    v, a, z : Tensor [B, neurons]
        Membrane, trace of the spikes, spikes of the last step.
    """

    v: Tensor
    a: Tensor
    z: Tensor


class LiquidNeurons(Population):
    r"""Liquid spiking neurons: layers compute the decays of membrane and threshold from input and state.

    .. math::
        \alpha &= \sigma(W_\alpha [i; v] + b_\alpha), \quad \rho = \sigma(W_\rho [i; a] + b_\rho) \\
        a &\leftarrow \rho \odot a + (1 - \rho) \odot z, \quad \vartheta = \vartheta_0 + \beta a \\
        u &= v + \alpha \odot (i - v), \quad z = H(u - \vartheta), \quad v \leftarrow u (1 - z)

    The two layers connect the population all-to-all, so a step is not an elementwise core: it runs as torch operations,
    and exporters refuse it by name. The products with the input are computed for all steps at once. No gradient passes
    through the reset.

    Parameters
    ----------
    neurons : int
        Number of neurons.
    dt : float
        Length of a step, s, in (0, 0.1); :math:`\alpha` and :math:`\rho` are per step.
    v_th : float
        Threshold at rest, :math:`\vartheta_0`.
    beta : float
        Factor of the trace in the threshold.
    spike : Surrogate, optional
        ``triangle()`` by default.

    Raises
    ------
    InputError, UnitError
        For a value that cannot be used.

    References
    ----------
    Yin, Corradi and Bohté, "Accurate online training of dynamical spiking neural networks through forward propagation
    through time", Nature Machine Intelligence 5, 2023, doi:10.1038/s42256-023-00650-4, and their program.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import LiquidNeurons
    >>> z, state = LiquidNeurons(3, dt=1e-3)(torch.full((5, 1, 3), 2.0))
    >>> tuple(z.shape), tuple(state.v.shape)
    ((5, 1, 3), (1, 3))
    """

    def __init__(
        self,
        neurons: int,
        *,
        dt: float | None = None,
        v_th: float = 0.1,
        beta: float = 1.8,
        spike: Surrogate | None = None,
    ) -> None:
        super().__init__("liquid_neurons", dt, count("LiquidNeurons", "neurons", neurons))
        for name, value in (("v_th", v_th), ("beta", beta)):
            if isinstance(value, bool) or not (isinstance(value, (int, float)) and 0.0 <= value < float("inf")):
                raise InputError(f"LiquidNeurons: {name} must be a number from 0; got {value!r}.")
        self.v_th, self.beta = float(v_th), float(beta)
        self.spike = triangle() if spike is None else spike
        self.membrane, self.threshold = nn.Linear(2 * neurons, neurons), nn.Linear(2 * neurons, neurons)

    @property
    def is_spiking(self) -> bool:
        """True."""
        return True

    def initial_state(self, i: Tensor) -> LiquidNeuronsState:
        """Return the state before the first step for an input like `i` [T, B, neurons]: zeros."""
        return LiquidNeuronsState(*(i.new_zeros(i.shape[1:]) for _ in LiquidNeuronsState._fields))

    def run(
        self, i: Tensor, state: State | None = None, record: Sequence[str] = (), *, through_time: bool = True
    ) -> LayerOutput:
        """Run as `forward` does, and record the values named in `record` at every step.

        Parameters
        ----------
        i, state, through_time
            As in `forward`.
        record : sequence of str
            ``"v"`` and ``"a"``, ``"u"``, the membrane before reset, ``"alpha"`` and ``"rho"``, [T, B, neurons].
        """
        self._check_current(i)
        if i.dtype != self.membrane.weight.dtype:
            raise InputError(
                f"LiquidNeurons: i is {i.dtype}, the layers are {self.membrane.weight.dtype}; convert one with .to()."
            )
        known = ("v", "a", "u", "alpha", "rho")
        wrong = [name for name in record if name not in known]
        if wrong:
            raise InputError(f"LiquidNeurons: cannot record {wrong}; this population has {list(known)}.")
        v, a, z = self._start(i, state)
        (from_i, from_v), (to_threshold, from_a) = (
            layer.weight.split(i.shape[2], 1) for layer in (self.membrane, self.threshold)
        )
        alphas = functional.linear(i, from_i, self.membrane.bias)
        rhos = functional.linear(i, to_threshold, self.threshold.bias)
        spikes: list[Tensor] = []
        recorded: dict[str, list[Tensor]] = {name: [] for name in record}
        for current, alpha, rho in zip(i, alphas, rhos, strict=True):
            if not through_time:
                v, a, z = v.detach(), a.detach(), z.detach()
            alpha = torch.sigmoid(alpha + functional.linear(v, from_v))
            rho = torch.sigmoid(rho + functional.linear(a, from_a))
            a, _ = leaky_integrator(z, a, alpha_mem=rho, r=1.0)
            step: dict[str, Any] = dict(alpha_mem=1.0 - alpha, r=1.0)
            u = leaky_integrator(current, v, **step)[0] if "u" in record else None
            bound = dict(v_th=self.v_th + self.beta * a, v_reset=0.0)
            z, v = lif(current, v, **step, **bound, spike=self.spike, reset=Reset())
            spikes.append(z)
            now = {"v": v, "a": a, "u": u, "alpha": alpha, "rho": rho}
            for name in record:
                recorded[name].append(now[name].detach())
        values = {name: torch.stack(each) if each else torch.empty_like(i) for name, each in recorded.items()}
        out = torch.stack(spikes) if spikes else torch.empty_like(i)
        return LayerOutput(out, LiquidNeuronsState(v, a, z), values)

    def _start(self, i: Tensor, state: State | None) -> LiquidNeuronsState:
        if state is None:
            return self.initial_state(i)
        message = f"LiquidNeurons: state must be a tuple of v, a and z of shape {list(i.shape[1:])}"
        if not isinstance(state, tuple) or len(state) != 3:
            raise ShapeError(f"{message}; got {type(state).__name__}.")
        if any(value.shape != i.shape[1:] for value in state):
            raise ShapeError(f"{message}; got {[list(value.shape) for value in state]}.")
        return LiquidNeuronsState(*(value.to(i.dtype) for value in state))

    def extra_repr(self) -> str:
        """Return the numbers."""
        return f"{self._dt_text()}, v_th={self.v_th:g}, beta={self.beta:g}, spike={self.spike}"
