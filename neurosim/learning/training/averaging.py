"""A moving average of the parameters of a network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class Average:
    """The exponential moving average of the trained parameters, ``a <- decay a + (1 - decay) p``.

    Parameters
    ----------
    net : Module
        The average starts from its parameters.
    decay : float
        From 0 to below 1.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in net.named_parameters() if parameter.requires_grad
        }

    def __repr__(self) -> str:
        return f"average={self.decay}"

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Follow the parameters after a step of the optimizer."""
        for name, parameter in net.named_parameters():
            if name in self.values:
                self.values[name].lerp_(parameter, 1.0 - self.decay)

    @torch.no_grad()
    def copy_to(self, net: nn.Module) -> None:
        """Set the parameters to their average."""
        for name, parameter in net.named_parameters():
            if name in self.values:
                parameter.copy_(self.values[name])

    @contextlib.contextmanager
    def applied(self, net: nn.Module) -> Iterator[None]:
        """Context in which the parameters are their average."""
        before = {name: p.detach().clone() for name, p in net.named_parameters() if name in self.values}
        self.copy_to(net)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in net.named_parameters():
                    if name in before:
                        parameter.copy_(before[name])
