"""Clouds of points, such as events, in groups of neighbours, and a spiking network of points (SpikePoint)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from neurosim.cores.beta_lif import beta_lif
from neurosim.errors import InputError, ShapeError
from neurosim.language import atan
from neurosim.network.layers import layer
from neurosim.network.neuron import Neuron
from neurosim.synapses.synapse import count

_DT = 1e-3  # s; no constant of the neurons depends on it
_VOTES = 10  # neurons of a class


class Groups(NamedTuple):
    """A cloud of points as groups of neighbours.

    Attributes
    ----------
    local : Tensor [B, G, k, 6]
        Of each neighbour its distance from the centre along x, y and time, as a share of the group's standard
        deviation, at most 1; then the smallest x, y and time of the group.
    centre : Tensor [B, G, 3]
        x, y and time of the centre.
    """

    local: Tensor
    centre: Tensor


def farthest_points(cloud: Tensor, number: int) -> Tensor:
    """Return the numbers [B, number] of points of `cloud` [B, N, 3], each the farthest from those before it.

    The first is the farthest from the mean; of equally far points the first one of the cloud is taken.
    """
    if not 1 <= number <= cloud.shape[1]:
        raise InputError(f"farthest_points: number must be from 1 to {cloud.shape[1]}, the points; got {number!r}.")
    chosen = cloud.new_zeros(cloud.shape[0], number, dtype=torch.int64)
    distance = (cloud - cloud.mean(1, keepdim=True)).square().sum(2)
    rows = torch.arange(len(cloud), device=cloud.device)
    for k in range(number):
        chosen[:, k] = distance.argmax(1)
        own = (cloud - cloud[rows, chosen[:, k]][:, None]).square().sum(2)
        distance = own if k == 0 else torch.minimum(distance, own)
    return chosen


def grouped_points(cloud: Tensor, groups: int, neighbours: int) -> Groups:
    """Return the groups of a cloud [B, N, 3]: of each centre its nearest points, itself among them.

    The points are sorted by their coordinates first, so that groups do not depend on their order, equal distances
    included.
    A distance above one standard deviation, of which the paper does not say how it is coded, becomes 1.
    """
    if cloud.dim() != 3 or cloud.shape[2] != 3:
        raise ShapeError(f"grouped_points: cloud must be [B, N, 3]; got {list(cloud.shape)}.")
    if not 1 <= neighbours <= cloud.shape[1]:
        raise InputError(
            f"grouped_points: neighbours must be from 1 to {cloud.shape[1]}, the points; got {neighbours!r}."
        )
    rows = torch.arange(len(cloud), device=cloud.device)[:, None]
    for axis in (2, 1, 0):
        cloud = cloud[rows, cloud[..., axis].argsort(stable=True, dim=1)]
    centre = cloud[rows, farthest_points(cloud, groups)]
    between = (centre[:, :, None] - cloud[:, None]).square().sum(3)  # [B, G, N]
    nearest = between.topk(neighbours, dim=2, largest=False).indices
    members = cloud[rows[:, :, None], nearest]  # [B, G, k, 3]
    spread = members.std(2, keepdim=True, correction=0).clamp(min=1e-6)
    relative = ((members - centre[:, :, None]).abs() / spread).clamp(max=1.0)
    corner = members.amin(2, keepdim=True).expand_as(relative)
    return Groups(torch.cat((relative, corner), 3), centre)


def point_spikes(groups: Groups, steps: int, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Return the spikes of groups by rate: at each step one with the probability of its value, drawn anew.

    Parameters
    ----------
    groups : Groups
        Of a cloud in [0, 1].
    steps : int
        T.
    generator : torch.Generator, optional
        Of the draws.

    Returns
    -------
    Tensor [T, B, G, k, 6], Tensor [T, B, G, 3]

    Raises
    ------
    InputError
        When a value is outside of [0, 1].
    """
    number, found = count("point_spikes", "steps", steps), []
    for name, values in zip(groups._fields, groups, strict=True):
        if values.numel() and not bool(((values >= 0.0) & (values <= 1.0)).all()):
            raise InputError(
                f"point_spikes: {name} has values from {float(values.min()):g} to {float(values.max()):g}, and a rate "
                "is in [0, 1]; scale the cloud to it first."
            )
        found.append(torch.bernoulli(values.expand(number, *values.shape), generator=generator))
    return found[0], found[1]


class _Layer(nn.Module):
    """The same matrix for each point, batch normalisation, and spiking neurons, at each step of [T, B, C, ...]."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weights, self.norm = nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out)
        self.neurons = _neurons()

    def forward(self, s: Tensor) -> Tensor:
        """Return spikes."""
        current = self.norm(self.weights(s.flatten(0, 1))).unflatten(0, s.shape[:2])
        spikes: Tensor = self.neurons(current)[0]
        return spikes


def _neurons() -> Neuron:
    """Return neurons with ``beta v + x``, the decay learned for each layer from 0.5, and a reset by subtraction."""
    return layer(beta_lif)(beta=0.5, v_th=1.0, dt=_DT, reset="subtract", spike=atan(), learn=("beta",))


class Residual(nn.Module):
    """Layers whose spikes are added to the input after the neurons: integers, at most one more than the input."""

    def __init__(self, channels: int, *, bottleneck: bool = False) -> None:
        super().__init__()
        half = channels // 2
        self.layers = nn.Sequential(
            *([_Layer(channels, half), _Layer(half, channels)] if bottleneck else [_Layer(channels, channels)])
        )

    def forward(self, s: Tensor) -> Tensor:
        """Return the sum."""
        return self.layers(s) + s


class SpikePoint(nn.Module):
    """A spiking network of points with one stage of grouping.

    Coordinates are coded by rate (`point_spikes`). Local features of the neighbours, of which the largest counts, are
    added to features of the centres; then come global features and the largest over all groups. Ten neurons vote for
    each class. Neurons fire above their threshold.

    Parameters
    ----------
    classes : int
    size : {"small", "large"}
        Channels of the stages: 32, 64, 128, 256 or twice as many.

    References
    ----------
    Ren et al. 2024, "SpikePoint: An Efficient Point-based Spiking Neural Network for Event Cameras Action Recognition",
    ICLR, arXiv:2310.07189. No program of the authors was found: widths, blocks and neurons follow descriptions of the
    paper, and are probable, not certain. Its neuron with a synaptic current is not used; that of its implementation,
    with a learned decay, is.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import SpikePoint, grouped_points, point_spikes
    >>> local, centre = point_spikes(grouped_points(torch.rand(2, 64, 3), 16, 8), 4)
    >>> tuple(SpikePoint(5)(local, centre).shape)
    (2, 5)
    """

    def __init__(self, classes: int, size: Literal["small", "large"] = "small") -> None:
        super().__init__()
        if size not in ("small", "large"):
            raise InputError(f"SpikePoint: size must be 'small' or 'large'; got {size!r}.")
        self.classes = count("SpikePoint", "classes", classes)
        c = 32 if size == "small" else 64
        self.local = nn.Sequential(_Layer(6, c), Residual(c, bottleneck=True))
        self.centre = nn.Sequential(_Layer(3, c), Residual(c))
        self.all = nn.Sequential(
            _Layer(c, 2 * c), Residual(2 * c), _Layer(2 * c, 4 * c), Residual(4 * c), _Layer(4 * c, 8 * c)
        )
        self.head = nn.Sequential(_Layer(8 * c, 8 * c), _Layer(8 * c, _VOTES * self.classes))

    def forward(self, local: Tensor, centre: Tensor) -> Tensor:
        """Return the mean rate [B, classes] of the votes, in [0, 1].

        Parameters
        ----------
        local : Tensor [T, B, G, k, 6]
            Spikes of `Groups.local`.
        centre : Tensor [T, B, G, 3]
            Spikes of `Groups.centre`.
        """
        if local.dim() != 5 or local.shape[4] != 6 or centre.shape != (*local.shape[:3], 3):
            raise ShapeError(
                f"SpikePoint: local must be [T, B, G, k, 6] and centre [T, B, G, 3]; got {list(local.shape)} and "
                f"{list(centre.shape)}."
            )
        near = self.local(local.movedim(4, 2)).amax(4, keepdim=True)
        fused = near + self.centre(centre.movedim(3, 2)[..., None])
        votes = self.head(self.all(fused).amax(3, keepdim=True))
        return votes.flatten(2).mean(0).unflatten(1, (self.classes, _VOTES)).mean(2)
