"""The spiking network of points: numbers of parameters, grouping, coding, residual layers, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from neurosim.errors import InputError, ShapeError
from neurosim.models import SpikePoint, grouped_points, point_spikes
from neurosim.models.spike_point import Groups, Residual, farthest_points


def cloud(seed: int = 0, points: int = 60, batch: int = 2) -> torch.Tensor:
    """Return points in [0, 1]."""
    return torch.rand(batch, points, 3, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize(
    ("classes", "size", "parameters", "published"),
    [
        (12, "small", 164_412, 0.16),
        (11, "large", 585_576, 0.58),
        (51, "large", 791_176, 0.79),
        (101, "large", 1_048_176, 1.05),
    ],
)
def test_numbers_of_parameters_round_to_the_published_ones(
    classes: int, size: Any, parameters: int, published: float
) -> None:
    """In millions: Daily DVS, DVS128 Gesture, HMDB51-DVS, UCF101-DVS."""
    found = sum(p.numel() for p in SpikePoint(classes, size).parameters())
    assert found == parameters and abs(found / 1e6 - published) < 0.006


def test_distances_do_not_depend_on_place_and_scale() -> None:
    """The other channels move and grow with the cloud."""
    x = cloud()
    moved, larger = x + torch.tensor([0.3, -0.1, 2.0]).double(), 2.5 * x
    own, at, big = (grouped_points(each, 10, 8) for each in (x, moved, larger))
    for other in (at, big):
        assert torch.allclose(own.local[..., :3], other.local[..., :3], atol=1e-12)
    shift = torch.tensor([0.3, -0.1, 2.0]).double()
    assert torch.allclose(own.local[..., 3:] + shift, at.local[..., 3:]) and torch.allclose(
        own.centre + shift, at.centre
    )
    assert torch.allclose(2.5 * own.local[..., 3:], big.local[..., 3:]) and torch.allclose(2.5 * own.centre, big.centre)


def test_groups_and_scores_do_not_depend_on_the_order_of_points() -> None:
    """The same centres in the same order, the same neighbours, and from the same spikes the same scores."""
    x = cloud()
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(3))
    own, other = grouped_points(x, 10, 8), grouped_points(x[:, order], 10, 8)
    assert torch.equal(own.centre, other.centre) and torch.allclose(own.local, other.local)
    net = SpikePoint(4).double().eval()
    scores = []
    for groups in (own, other):
        spikes = [
            (values > torch.tensor([0.2, 0.5, 0.8]).double().view(3, *[1] * values.dim())).double() for values in groups
        ]
        scores.append(net(*spikes))
    assert torch.equal(*scores)


def test_neighbours_are_those_of_all_distances_and_centres_cover_the_cloud() -> None:
    """Against a sort of all distances; more centres never leave a point farther away."""
    x = cloud(points=40, batch=1)
    groups = grouped_points(x, 12, 7)
    for centre, local in zip(groups.centre[0], groups.local[0], strict=True):
        nearest = x[0][(x[0] - centre).norm(dim=1).sort().indices[:7]]
        spread = nearest.std(0, correction=0)
        expected = ((nearest - centre).abs() / spread).clamp(max=1.0)
        assert torch.allclose(local[:, :3].sort(0).values, expected.sort(0).values)
        assert torch.equal(local[0, 3:], nearest.min(0).values)
    radius = []
    for number in range(1, 40):
        chosen = x[0][farthest_points(x, number)[0]]
        radius.append(float(torch.cdist(x[0], chosen).min(1).values.max()))
    assert all(a >= b for a, b in itertools.pairwise(radius)) and radius[-1] > 0
    assert len(set(farthest_points(x, 40)[0].tolist())) == 40


def test_rates_are_decoded_with_a_small_error() -> None:
    """Binomial moments of 16 steps: a distance of 0.039 is silent in half of the cases, one of 0.75 never."""
    generator = torch.Generator().manual_seed(0)
    for value, error in ((0.039, 1.06), (0.75, 0.113)):
        groups = Groups(torch.full((1, 400, 100, 6), value), torch.full((1, 400, 3), value))
        local, centre = point_spikes(groups, 16, generator=generator)
        assert local.shape == (16, 1, 400, 100, 6) and centre.shape == (16, 1, 400, 3)
        spikes = local.sum(0).flatten()
        assert float(spikes.mean()) == pytest.approx(16 * value, rel=0.01)
        assert float((spikes == 0).double().mean()) == pytest.approx((1 - value) ** 16, abs=0.004)
        assert float((spikes / 16 - value).abs().mean()) / value == pytest.approx(error, rel=0.03)
    with pytest.raises(InputError, match=r"local has values from 0\.75 to 1\.5, and a rate is in \[0, 1\]"):
        point_spikes(Groups(groups.local * torch.tensor([1.0, 2.0, 1, 1, 1, 1]), groups.centre), 4)


def test_distances_are_clipped_at_one_deviation() -> None:
    """A group that is the whole cloud, whose centre lies at its border, so that most distances are 1."""
    normal = torch.randn(1, 40_000, 3, generator=torch.Generator().manual_seed(0)).double()
    spread = normal.std(1, correction=0)
    local = grouped_points(normal, 1, 40_000)
    found = local.local[0, 0, :, :3]
    expected = ((normal[0] - local.centre[0, 0]).abs() / spread).clamp(max=1.0)
    assert torch.allclose(found.sort(0).values, expected.sort(0).values)
    assert found.max() == 1.0 and (found == 1.0).double().mean() > 0.3


def test_equal_distances_do_not_make_groups_depend_on_the_order() -> None:
    """Points of a grid, in many orders: the same bits."""
    axis = torch.linspace(0, 1, 4).double()
    grid = torch.cartesian_prod(axis, axis, axis[:2])[None]
    own = grouped_points(grid, 9, 6)
    for seed in range(20):
        order = torch.randperm(grid.shape[1], generator=torch.Generator().manual_seed(seed))
        other = grouped_points(grid[:, order], 9, 6)
        assert torch.equal(own.local, other.local) and torch.equal(own.centre, other.centre)


def test_a_learned_decay_leaves_the_gain_of_the_input() -> None:
    """``beta v + x`` at any beta, in a plain loop."""
    neurons = SpikePoint(2).local[0].neurons.double()
    with torch.no_grad():
        neurons.get_parameter("beta").fill_(0.8)
    x = torch.rand(20, 1, 5).double()
    v, expected = torch.zeros(1, 5).double(), []
    for now in x:
        u = 0.8 * v + now
        z = (u > 1.0).double()
        v = u - z
        expected.append(z)
    assert torch.equal(neurons(x)[0], torch.stack(expected)) and torch.stack(expected).mean() > 0.1


@pytest.mark.parametrize("bottleneck", [False, True])
def test_a_residual_block_adds_at_most_one(bottleneck: bool) -> None:
    """Values stay integers."""
    torch.manual_seed(0)
    s = torch.bernoulli(torch.full((8, 3, 6, 5, 4), 0.4))
    block = Residual(6, bottleneck=bottleneck)
    out, twice = block(s), block(block(s))
    assert torch.equal(out, out.round()) and out.max() == 2.0 and out.min() >= 0.0
    assert twice.max() == 3.0 and ((out - s) <= 1.0).all() and ((out - s) >= 0.0).all()


def test_all_parameters_get_gradients() -> None:
    """In training."""
    torch.manual_seed(0)
    net = SpikePoint(3)
    groups = grouped_points(cloud().float(), 10, 8)
    net(*point_spikes(groups, 4)).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: grouped_points(cloud(), 61, 8), InputError, "number must be from 1 to 60"),
        (lambda: grouped_points(cloud(), 8, 61), InputError, "neighbours must be from 1 to 60"),
        (lambda: grouped_points(cloud()[0], 8, 8), ShapeError, r"cloud must be \[B, N, 3\]"),
        (lambda: SpikePoint(3, "huge"), InputError, "size must be 'small' or 'large'"),  # type: ignore[arg-type]
        (lambda: SpikePoint(3)(torch.rand(2, 2, 5, 4, 6), torch.rand(2, 2, 4, 3)), ShapeError, "local must be"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, error: type[Exception], message: str) -> None:
    """By name and value."""
    with pytest.raises(error, match=message):
        make()
