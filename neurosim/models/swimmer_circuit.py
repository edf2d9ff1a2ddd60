"""The motor circuit of a swimming worm as an architecture: four weights whose signs are given."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.synapses.synapse import count

EXCITES, INHIBITS = ("prop", "osc", "ipsi", "turn"), ("contra", "speed")


class SwimmerCircuit(nn.Module):
    r"""Neural circuit architectural prior of a swimmer: an oscillator at the head, proprioception along the body.

    Of each joint i, with the angle :math:`q` as a share of its limit, the dorsal and the ventral interneuron and muscle

    .. math::
        d_i = [p\,q_{i-1}^+ + o\,O_d + s\,(1 - c) + \tau\,r]_0^1, \quad
        m_i^d = [\iota\,d_i + \kappa\,v_i]_0^1, \quad u_i = m_i^d - m_i^v

    where the oscillator O and the turn :math:`\tau` act on the head alone and the ventral side is the mirror image: it
    reads :math:`(-q)^+`, the other half of the oscillator and the opposite turn. The weights p, o, :math:`\iota`
    and :math:`\tau` excite, :math:`\kappa` and s inhibit: a weight of the wrong sign counts as 0.

    Parameters
    ----------
    joints : int
        Number of joints.
    shared : bool
        Whether all joints and both sides have the same weights: 4 in all, 6 with speed and turn; else each has its own,
        of five joints 30 or 42.
    steered : bool
        Whether the speed c in [0, 1] and the turn in [-1, 1] are inputs.
    period : int
        Steps of a period of the oscillator; in its first half the dorsal side is driven.

    Raises
    ------
    InputError
        For a number out of range, or an odd period.

    References
    ----------
    Bhattasali et al., "Neural circuit architectural priors for embodied control", NeurIPS 2022, and its program
    github.com/nikhilxb/ncap.

    Examples
    --------
    >>> from neurosim.models import SwimmerCircuit
    >>> circuit = SwimmerCircuit(5)
    >>> sum(p.numel() for p in circuit.parameters())
    4
    >>> angles, torques = circuit.swim(300)
    >>> angles.shape, bool(angles[100:].abs().amax(0).min() > 0.1)
    (torch.Size([300, 1, 5]), True)
    """

    def __init__(self, joints: int, *, shared: bool = True, steered: bool = False, period: int = 60) -> None:
        super().__init__()
        self.joints, self.period = (
            count("SwimmerCircuit", "joints", joints),
            count("SwimmerCircuit", "period", period, 2),
        )
        if self.period % 2:
            raise InputError(f"SwimmerCircuit: period must be even, for two halves; got {period!r}.")
        self.shared, self.steered = shared, steered
        shapes = {"prop": joints - 1, "osc": 1, "ipsi": joints, "contra": joints}
        if steered:
            shapes |= {"speed": joints, "turn": 1}
        self.weights = nn.ParameterDict({
            name: torch.full((1, 1) if shared else (2, number), -1.0 if name in INHIBITS else 1.0)
            for name, number in shapes.items()
            if number
        })  # fmt: skip

    def forward(self, angles: Tensor, step: int, speed: Tensor | float = 1.0, turn: Tensor | float = 0.0) -> Tensor:
        """Return the torques [B, joints] in [-1, 1] at a step.

        Parameters
        ----------
        angles : Tensor [B, joints]
            As shares of the limits, in [-1, 1], the head first.
        step : int
            Step of the oscillator.
        speed, turn : Tensor [B] or float
            Without effect unless `steered`.
        """
        if angles.dim() != 2 or angles.shape[1] != self.joints:
            raise ShapeError(f"SwimmerCircuit: angles must be [B, {self.joints}]; got {list(angles.shape)}.")
        sides = torch.stack((angles, -angles), 1)  # dorsal, ventral: [B, 2, joints]
        drive = torch.zeros_like(sides)
        if self.joints > 1:
            drive[:, :, 1:] = self._weight("prop") * sides[:, :, :-1].relu()
        on = step % self.period < self.period // 2
        drive[:, :, 0] += self._weight("osc")[:, 0] * drive.new_tensor([on, not on])
        if self.steered:
            slow = 1.0 - torch.as_tensor(speed, dtype=angles.dtype, device=angles.device).expand(len(angles))
            side = torch.as_tensor(turn, dtype=angles.dtype, device=angles.device).expand(len(angles))
            drive = drive + self._weight("speed") * slow[:, None, None]
            head = self._weight("turn")[:, 0] * torch.stack((side, -side), 1).clamp(0.0, 1.0)
            drive = torch.cat((drive[:, :, :1] + head[:, :, None], drive[:, :, 1:]), 2)
        inner = drive.clamp(0.0, 1.0)
        muscles = (self._weight("ipsi") * inner + self._weight("contra") * inner.flip(1)).clamp(0.0, 1.0)
        return muscles[:, 0] - muscles[:, 1]

    def _weight(self, name: str) -> Tensor:
        weight: Tensor = self.weights[name]
        return weight.clamp(max=0.0) if name in INHIBITS else weight.clamp(min=0.0)

    def swim(
        self,
        steps: int,
        *,
        batch: int = 1,
        inertia: float = 12.0,
        start: Tensor | None = None,
        first: int = 0,
        speed: Tensor | float = 1.0,
        turn: Tensor | float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Return angles and torques [T, B, joints] of an overdamped body, ``q <- q + (u - q) / inertia``.

        Parameters
        ----------
        steps, batch : int
        inertia : float
            Time constant of the body, in steps.
        start : Tensor [B, joints], optional
            Angles at first; 0 by default.
        first : int
            First step of the oscillator.
        speed, turn : Tensor [B] or float
            As in a step.
        """
        like = next(iter(self.weights.values()))
        angles = like.new_zeros(batch, self.joints) if start is None else start
        found = []
        for step in range(first, first + steps):
            torque = self(angles, step, speed, turn)
            angles = angles + (torque - angles) / inertia
            found.append((angles, torque))
        return torch.stack([a for a, _ in found]), torch.stack([u for _, u in found])
