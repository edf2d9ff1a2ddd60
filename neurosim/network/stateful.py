"""A network as a module of one tensor to one tensor, for use inside `torch.nn.Sequential`."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.network.network import Network
from neurosim.network.population import Population


class Stateful(nn.Module):
    """A network or population that returns its output alone, and keeps its state between calls if asked to.

    Everywhere else in this library state goes in and comes out; this module serves code that cannot pass it on.

    Parameters
    ----------
    net : Network or Population
    keep : bool
        Whether a call starts from the state after the call before, detached; without it from the initial state. Call
        `reset` before each new batch.
    single_step : bool
        Whether a call is one step: x and the output are then [B, ...] instead of [T, B, ...].

    Attributes
    ----------
    state : NetworkState or NamedTuple of Tensor, optional
        After the last call, with its gradient; None before the first.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from torch import nn
    >>> from neurosim.network import Stateful
    >>> hidden = ns.Sequential(ns.Linear(8, 16), ns.LIF(dt=1e-3))
    >>> model = nn.Sequential(Stateful(hidden), nn.Linear(16, 3))
    >>> model(torch.rand(20, 5, 8)).shape
    torch.Size([20, 5, 3])
    """

    def __init__(self, net: Network | Population, *, keep: bool = False, single_step: bool = False) -> None:
        super().__init__()
        if not isinstance(net, (Network, Population)):
            raise InputError(f"Stateful needs a network, or a population such as ns.LIF(dt=...); got {net!r}.")
        self.net, self.keep, self.single_step = net, keep, single_step
        self.state: Any = None

    def reset(self) -> None:
        """Start the next call from the initial state."""
        self.state = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for x, [T, B, ...], or [B, ...] with `single_step`."""
        start = None
        if self.keep and self.state is not None:
            kind = type(self.state)
            start = self.state.detach() if isinstance(self.net, Network) else kind(*(v.detach() for v in self.state))
        output: Tensor
        output, self.state = self.net(x[None] if self.single_step else x, start)
        return output[0] if self.single_step else output

    def extra_repr(self) -> str:
        """Return the choices."""
        return f"keep={self.keep}, single_step={self.single_step}"

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes without the state of the last call, which may have a graph."""
        return {**self.__dict__, "state": None}
