"""Populations of Loihi's neuron, from the contents of the chip's registers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim import cores
from neurosim.errors import InputError
from neurosim.language import Surrogate
from neurosim.network.layers import layer
from neurosim.network.neuron import Neuron

CORES = (cores.loihi, cores.loihi_refractory, cores.loihi_integrator)
MANTISSA = (-4096, 4095)
EXPONENTS = range(8)
THRESHOLD_UNIT = 64  # voltage of a threshold of 1


def loihi_neurons(
    *,
    dt: float,
    du: int | Tensor = 4095,
    dv: int | Tensor = 0,
    v_th: int | Tensor | None = 64,
    bias_mant: int | Tensor = 0,
    bias_exp: int | Tensor = 0,
    refractory: int | Tensor = 1,
    unit: float = 4096.0,
    size: int | Sequence[int] | None = None,
    spike: Surrogate | None = None,
) -> Neuron:
    """Make a population of Loihi's neuron.

    Parameters
    ----------
    dt : float
        Time that a step of the chip represents, s.
    du : int or Tensor
        Decay of the current, -1 ... 4095: each step keeps ``(4095 - du) / 4096`` of it. With 4095 nothing is kept and
        the current acts for one step; -1, a chip whose offset bit is off, keeps all.
    dv : int or Tensor
        Decay of the voltage, 0 ... 4096: each step keeps ``(4096 - dv) / 4096`` of it.
    v_th : int or Tensor or None
        Mantissa of the threshold, 0 ... 131071; the threshold is 64 times that. None for neurons that never fire and
        whose voltage is read out.
    bias_mant, bias_exp : int or Tensor
        Each step adds ``bias_mant 2^bias_exp`` to the voltage, -4096 ... 4095 and -12 ... 7, rounded down where the
        exponent is below 0.
    refractory : int or Tensor
        1 ... 64: steps from a spike to the next possible one; Loihi 1 only.
    unit : float
        Voltage that is 1 for the surrogate; for neurons that never fire the output is the voltage over this.
    size, spike
        As in `neurosim.network.neuron.Neuron`.

    Returns
    -------
    Neuron
        With the core `neurosim.cores.loihi`, `loihi_refractory` or `loihi_integrator`.

    Examples
    --------
    >>> import torch
    >>> from neurosim.hardware.loihi import loihi_neurons
    >>> layer = loihi_neurons(dt=1e-3, du=1024, dv=128, v_th=80)
    >>> z, state = layer(torch.full((20, 1, 1), 12.0, dtype=torch.float64))
    >>> int(z.sum()), int(state.u), int(state.v)
    (8, 3057, 3057)
    """
    values: dict[str, float | Tensor] = dict(du=du, dv=dv, bias=effective_bias(bias_mant, bias_exp), unit=unit)
    delayed = isinstance(refractory, Tensor) or refractory != 1
    if v_th is None:
        if delayed:
            raise InputError("loihi_neurons: refractory must be left out where v_th is None; such neurons never fire.")
        return layer(cores.loihi_integrator)(dt=dt, size=size, **values)
    values["v_th"] = v_th
    if delayed:
        values["refractory"] = refractory
    core = cores.loihi_refractory if delayed else cores.loihi
    return layer(core)(dt=dt, size=size, spike=spike, **values)


def effective_bias(mantissa: int | Tensor, exponent: int | Tensor) -> float | Tensor:
    """Return the integer ``mantissa 2^exponent``, rounded down.

    Raises
    ------
    InputError
        When one of them is outside the chip's range.
    """
    for name, value, (low, high) in (("bias_mant", mantissa, MANTISSA), ("bias_exp", exponent, (-12, 7))):
        values = torch.as_tensor(value, dtype=torch.float64)
        outside = values[~((values >= low) & (values <= high) & (values % 1 == 0))]
        if outside.numel():
            got = outside.flatten()[0].item()
            raise InputError(f"loihi_neurons: {name} must be an integer from {low} to {high}; got {got!r}.")
    shifted = torch.floor(torch.as_tensor(mantissa, dtype=torch.float64) * 2.0 ** torch.as_tensor(exponent).double())
    return shifted if isinstance(mantissa, Tensor) or isinstance(exponent, Tensor) else float(shifted)


def split_bias(bias: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return mantissas and the smallest exponents, int64, of a bias.

    Raises
    ------
    InputError
        When a bias needs more bits than the mantissa has.
    """
    values = torch.as_tensor(bias, dtype=torch.float64)
    exponent = torch.full_like(values, -1)
    for e in EXPONENTS:
        mantissa = values / 2.0**e
        fits = (mantissa % 1 == 0) & (mantissa >= MANTISSA[0]) & (mantissa <= MANTISSA[1])
        exponent = torch.where((exponent < 0) & fits, float(e), exponent)
    if (exponent < 0).any():
        got = values[exponent < 0].flatten()[0].item()
        raise InputError(
            f"loihi_neurons: a bias of {got:.0f} is no mantissa from {MANTISSA[0]} to {MANTISSA[1]} times 2 to a power "
            f"from 0 to {EXPONENTS[-1]}."
        )
    return (values / 2.0**exponent).long(), exponent.long()
