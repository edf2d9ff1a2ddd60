"""Delta activation layers and networks for tests."""

from __future__ import annotations

import torch
from torch import Tensor

import neurosim as ns
from neurosim.models import DeltaActivation

DT = 1e-2


def layer(size: int | tuple[int, ...] = 5, **choices) -> DeltaActivation:
    return DeltaActivation(size, dt=DT, **choices).double()


def wandering(steps: int = 60, size: tuple[int, ...] = (2, 5), scale: float = 0.1) -> Tensor:
    return (scale * torch.randn(steps, *size, dtype=torch.float64)).cumsum(0)


def network(**choices) -> ns.Network:
    torch.manual_seed(1)
    return ns.Sequential(
        ns.Input((1, 8, 8)),
        ns.Conv2d(1, 4, 3),
        DeltaActivation((4, 6, 6), dt=DT, **choices),
        ns.AvgPool2d(2),
        ns.Flatten(),
        ns.Linear(36, 12),
        DeltaActivation(12, dt=DT, **choices),
        ns.Linear(12, 3),
        DeltaActivation(3, dt=DT, threshold=None, rectify=False),
        names=("one", "two", "out"),
    ).double()
