"""The width of the kernels of learned delays, which falls during training."""

from __future__ import annotations

from typing import Any, Literal

from neurosim.errors import InputError
from neurosim.synapses.synapse import count

Variant = Literal["paper", "code"]

_NARROWEST = 0.5  # steps; the authors' program has it as 0.23 + 0.27
_OFFSET = 0.27  # what that program adds to the width it lets decay


def decreasing_width(memory: int, epoch: int, epochs: int, variant: Variant = "code") -> float:
    r"""Return the width of the Gaussians in an epoch, in steps: it falls by a constant factor each epoch, to 0.5.

    With :math:`T_d` = `memory` + 1 taps and :math:`E` = `epochs` // 4, at least 1:

    .. math:: \text{paper: } \tfrac{T_d}{2} \left(\frac{0.5}{T_d / 2}\right)^{\min(e / E,\, 1)}, \qquad
              \text{code: } 0.27 + s \left(\frac{0.23}{s}\right)^{\min(e / E,\, 1)}, \; s = \lfloor T_d / 2 \rfloor

    Parameters
    ----------
    memory : int
        Longest delay in steps, from 1.
    epoch : int
        e, from 0: finished epochs.
    epochs : int
        Epochs of the training, from 1.
    variant : {"code", "paper"}
        Which equation.

    Examples
    --------
    >>> from neurosim.synapses.delay_schedule import decreasing_width
    >>> [round(decreasing_width(24, epoch, 16), 2) for epoch in (0, 1, 2, 3, 4, 15)]
    [12.27, 4.73, 1.93, 0.89, 0.5, 0.5]
    """
    memory, epochs = count("decreasing_width", "memory", memory), count("decreasing_width", "epochs", epochs)
    part = min(count("decreasing_width", "epoch", epoch, low=0) / max(epochs // 4, 1), 1.0)
    taps = memory + 1
    if checked_variant(variant) == "paper":
        return taps / 2 * (_NARROWEST / (taps / 2)) ** part
    start = float(taps // 2)
    return _OFFSET + start * ((_NARROWEST - _OFFSET) / start) ** part


def checked_variant(variant: Any) -> Variant:
    """Return `variant` if it is one."""
    if variant not in ("code", "paper"):
        raise InputError(f'DelayedLinear: variant must be "code" or "paper"; got {variant!r}.')
    checked: Variant = variant
    return checked
