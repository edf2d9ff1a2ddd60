"""Where the synapses of a Branch-ELM neuron come from."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim.errors import InputError


def windows(n_in: int, branches: int, synapses: int) -> tuple[Tensor, Tensor]:
    """Return the input of each synapse, and whether it exists: overlapping windows over interleaved inputs.

    The first half of the inputs is excitatory, the second inhibitory. They are interleaved: position k is input
    ``(k mod 2) n_in / 2 + floor(k / 2)``. Branch j has the positions ``j stride ... j stride + synapses - 1`` with
    ``stride = ceil(n_in / branches)``. Positions beyond the end have no synapse.

    Parameters
    ----------
    n_in : int
        Number of inputs, even.
    branches, synapses : int
        Number of branches, and of synapses of each.

    Returns
    -------
    routes : Tensor [branches, synapses] of int64
    connected : Tensor [branches, synapses] of bool

    Examples
    --------
    >>> from neurosim.models import windows
    >>> windows(6, 3, 4)[0].tolist(), windows(6, 3, 4)[1].sum().item()
    ([[0, 3, 1, 4], [1, 4, 2, 5], [2, 5, 5, 5]], 10)
    """
    if n_in % 2:
        raise InputError(f"ELM: windows run over pairs of inputs, so n_in must be even; got {n_in}.")
    stride = -(-n_in // branches)
    places = stride * torch.arange(branches)[:, None] + torch.arange(synapses)
    inside = places.clamp(max=n_in - 1)
    return (inside % 2) * (n_in // 2) + inside // 2, places < n_in


def random_routing(n_in: int, branches: int, synapses: int) -> Tensor:
    """Return an input for each synapse [branches, synapses], uniform with replacement, by torch's global generator."""
    return torch.randint(n_in, (branches, synapses))
