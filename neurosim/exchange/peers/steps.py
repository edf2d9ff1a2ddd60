"""A neuron of another library by the numbers of its step, and the neurons of neurosim that compute the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from neurosim import cores
from neurosim.errors import InputError, NeurosimError
from neurosim.exchange.peers.errors import ConversionError
from neurosim.language import Core, Surrogate
from neurosim.language.definition import RESET_AMOUNT
from neurosim.network.neuron import Neuron
from neurosim.units import resistance, time_constant

Number = float | Tensor


@dataclasses.dataclass(frozen=True)
class Choices:
    """What a conversion gives to all neurons.

    Attributes
    ----------
    dt : float
        Length of a step, s.
    dtype : torch.dtype
        Precision of the run.
    spike : Surrogate, optional
        That of the library if left out.
    learn : tuple of str
        Names of parameters to be trained, in the neurons that have them.
    """

    dt: float
    dtype: torch.dtype
    spike: Surrogate | None = None
    learn: tuple[str, ...] = ()

    def neuron(self, where: str, core: Core, **values: Any) -> Neuron:
        """Return neurons of `core`; `where` is their name in messages."""
        if self.spike is not None:
            values["spike"] = self.spike
        present = {name: parameter.default for name, parameter in core.parameters.items()}
        present |= {name: value for name, value in values.items() if name in present or name == RESET_AMOUNT}
        learn = [name for name in self.learn if name in present]
        values |= {name: torch.as_tensor(present[name], dtype=torch.float64).to(self.dtype) for name in learn}
        try:
            return Neuron(core, dt=self.dt, learn=learn, **values)
        except NeurosimError as error:
            raise ConversionError(f"{where}: {error}") from error

    def tau(self, where: str, decay: Number, longest: float = 1.0) -> Number:
        """Return the time constant of a decay over a step, below `longest` s."""
        try:
            tau = time_constant(tidy(decay), self.dt)
        except InputError as error:
            raise ConversionError(f"{where}: {error}") from error
        largest = float(torch.as_tensor(tau).max())
        if largest >= longest:
            shorter = self.dt * longest / largest
            raise ConversionError(
                f"{where}: a decay of {float(torch.as_tensor(decay).max()):.9g} in a step of {self.dt:g} s is a time "
                f"constant of {largest:.6g} s, and time constants are below {longest:g} s; give a smaller dt, below "
                f"{shorter:.3g} s: it affects only how time constants are expressed."
            )
        return tau


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a neuron: ``u = decay v + gain i; z = u > v_th``, then the reset.

    Attributes
    ----------
    decay, gain : float or Tensor
        Of the membrane. A decay of 1 is an integrator without leak.
    v_th : float or Tensor, optional
        None for a membrane without spikes.
    reset : {"value", "subtract", None}
    v_reset, amount : float or Tensor
        Value after a reset to a value, and amount of a reset by subtraction.
    current : float or Tensor, optional
        Decay of a synaptic current: ``j = current j + i`` then replaces i.
    """

    decay: Number
    gain: Number = 1.0
    v_th: Number | None = None
    reset: Literal["value", "subtract"] | None = "value"
    v_reset: Number = 0.0
    amount: Number | None = None
    current: Number | None = None

    def neuron(self, where: str, choices: Choices) -> Neuron:
        """Return the neurons of this step; `where` is their name in messages."""
        values: dict[str, Any] = {}
        decay, gain = tidy(self.decay), tidy(self.gain)
        ones = decay == 1.0
        perfect = bool(ones.all()) if isinstance(ones, Tensor) else ones
        if perfect and self.current is None:
            core, values["r"] = (cores.integrator if self.v_th is None else cores.integrate_and_fire), gain
        else:
            if (isinstance(ones, Tensor) and ones.any()) or perfect:
                raise ConversionError(
                    f"{where}: a decay of 1 (no leak) beside a synaptic current, or beside neurons that leak, has no "
                    "equivalent; use a decay below 1."
                )
            if self.current is None:
                core = cores.leaky_integrator if self.v_th is None else cores.lif
            else:
                core = cores.cuba_integrator if self.v_th is None else cores.cubalif
                values["tau_syn"] = choices.tau(where, self.current)
            values["tau_mem"], values["r"] = choices.tau(where, decay), resistance(decay, gain, choices.dtype)
        if self.v_th is not None:
            values |= {"v_th": tidy(self.v_th), "reset": self.reset}
            if self.reset == "value":
                values["v_reset"] = tidy(self.v_reset)
            elif self.amount is not None:
                values["reset_amount"] = tidy(self.amount)
        return choices.neuron(where, core, **values)


def tidy(value: Any) -> Number:
    """Return a number that all neurons share as a float, other numbers as a tensor in double precision."""
    if not isinstance(value, Tensor):
        return float(value)
    flat = value.detach().double()
    return float(flat.flatten()[0]) if flat.numel() and bool((flat == flat.flatten()[0]).all()) else flat.clone()


def doubled(value: Any) -> Tensor:
    """Return numbers as a tensor in double precision, without gradient."""
    return value.detach().double() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def check_threshold(where: str, fires: Callable[[Tensor], Tensor], *, at_threshold: bool) -> None:
    """Check that a spike function returns 1 above the threshold and else 0.

    Parameters
    ----------
    where : str
        Name of the layer in messages.
    fires : callable
        The function that runs, of the distance from the threshold.
    at_threshold : bool
        Whether a distance of 0 gives 1.

    Raises
    ------
    ConversionError
        For another function, such as one that is smooth, graded or random.
    """
    above = torch.tensor([1e-6, 1e-3, 0.1, 0.5, 1.0, 3.0, 100.0]).repeat(32)
    x = torch.cat((above, -above, torch.zeros(32)))
    with torch.no_grad():
        z = fires(x)
    expected = (x >= 0 if at_threshold else x > 0).to(z.dtype)
    if z.shape != x.shape or not torch.equal(z, expected):
        raise ConversionError(
            f"{where}: its spike function is not a step at the threshold: it returns values other than 0 and 1, or at "
            "random; a neuron of neurosim sends 0 or 1. Convert a layer whose forward pass spikes."
        )


def check_learned(learn: Iterable[str]) -> tuple[str, ...]:
    """Return `learn` as names of parameters."""
    if isinstance(learn, str):
        raise InputError(f'learn must be a sequence of names, such as ("tau_mem",); got {learn!r}.')
    return tuple(learn)
