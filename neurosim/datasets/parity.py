"""N-parity: whether the last N bits of a sequence hold an odd number of ones."""

from __future__ import annotations

import torch

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.labelled import Labelled
from neurosim.errors import InputError


def parity(number: int, order: int, *, steps: int | None = None, hold: int = 1, seed: int = 0) -> Labelled:
    """Make random sequences of bits, labelled with the parity of the last N of them.

    The label is independent of any N - 1 of these bits, so that N is the memory that the task requires.

    Parameters
    ----------
    number : int
        Sequences.
    order : int
        N.
    steps : int, optional
        Bits of a sequence, from N on; N if left out. The earlier ones must be forgotten.
    hold : int
        Steps that each bit lasts.
    seed : int
        Not negative.

    Returns
    -------
    Labelled
        `x` float32 [number, steps hold, 1] of -1 (a 0) and 1, `y` int64: 1 where the number of ones is odd.

    Raises
    ------
    InputError
        For sizes out of range, or fewer steps than N.

    References
    ----------
    Khajehabdollahi, Zeraati, Giannakakis, Schäfer, Martius, Levina 2023, "Emergent mechanisms for long timescales
    depend on training curriculum and affect performance in memory tasks", arXiv:2309.12927.

    Examples
    --------
    >>> from neurosim.datasets.parity import parity
    >>> data = parity(1, 3, seed=2)
    >>> data.x.flatten().tolist(), data.y.tolist()
    ([-1.0, 1.0, 1.0], [0])
    """
    checked_integer("number", number)
    checked_integer("hold", hold)
    length = checked_integer("order", order) if steps is None else checked_integer("steps", steps)
    if length < order:
        raise InputError(f"parity: steps = {length}, but the parity of {order} bits needs at least {order} steps.")
    bits = torch.randint(
        2, (number, length), generator=torch.Generator().manual_seed(checked_integer("seed", seed, least=0))
    )
    x = (2.0 * bits - 1.0).repeat_interleave(hold, dim=1)
    return Labelled(x[..., None], bits[:, -order:].sum(1) % 2, ("even", "odd"), timed=True)
