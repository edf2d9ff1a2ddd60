"""The resistive liquid: its equation, its cells, what read noise changes, and the shared readout."""

from __future__ import annotations

import pytest
import torch

from neurosim.errors import InputError, ShapeError
from neurosim.models import ResistiveCells, ResistiveLiquid, SharedReadout


def test_the_liquid_is_its_equation() -> None:
    """Spikes of the fused run against the plain loop, on weights of cells some of which are stuck or not formed."""
    cells = ResistiveCells(deviation=0.5, unformed=0.2, stuck=0.1)
    liquid = ResistiveLiquid(8, 20, cells, dt=1e-3, decay=0.9, v_th=1.0, scale=0.3)
    x = (torch.rand(30, 3, 8, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    into, loop = (0.3 * cells.weights(pair) for pair in (liquid.cells_in, liquid.cells_loop))
    u = s = torch.zeros(3, 20)
    expected = []
    for now in x:
        u = 0.9 * u * (1 - s) + now @ into.T + s @ loop.T
        s = (u > 1.0).float()
        expected.append(s)
    assert torch.equal(liquid.spikes(x), torch.stack(expected))
    assert 0.02 < torch.stack(expected).mean() < 0.5
    assert torch.equal(liquid(x), torch.stack(expected).sum(0))


def test_cells_have_the_spread_and_the_faults_of_the_device() -> None:
    """Conductances are never negative; shares of cells at 0 and at the top; differences have mean 0 and deviation 1."""
    cells = ResistiveCells(mean=2.0, deviation=0.4, unformed=0.25, stuck=0.1)
    pair = cells.drawn((300, 300), torch.Generator().manual_seed(1))
    assert pair.min() == 0.0
    assert (pair == 0).float().mean() == pytest.approx(0.25, abs=0.005)
    assert ((pair - 3.2).abs() < 1e-6).float().mean() == pytest.approx(0.1, abs=0.005)
    weights = (plain := ResistiveCells(2.0, 0.4)).weights(plain.drawn((300, 300), torch.Generator().manual_seed(1)))
    assert weights.mean().abs() < 0.01 and weights.std() == pytest.approx(1.0, abs=0.01)


def test_read_noise_is_that_of_a_read() -> None:
    """The same number gives the same bits, another one other spikes; a step read anew differs from one read."""
    x = (torch.rand(40, 2, 8) < 0.4).float()
    kinds = [
        ResistiveLiquid(8, 30, ResistiveCells(read_noise=noise), dt=1e-3, decay=0.9, v_th=1.0, scale=0.3, noise=when)
        for noise, when in ((0.0, "run"), (0.3, "run"), (0.3, "step"), (0.0, "step"))
    ]
    still, run, step, also_still = (kind.spikes(x) for kind in kinds)
    assert torch.equal(still, also_still) and torch.equal(still, kinds[0].spikes(x, read=7))
    assert torch.equal(run, kinds[1].spikes(x)) and not torch.equal(run, kinds[1].spikes(x, read=1))
    assert not torch.equal(run, still) and not torch.equal(run, step)
    assert torch.equal(kinds[0].cells_in, kinds[1].cells_in)


def test_nothing_of_the_liquid_is_trained() -> None:
    """A step of an optimiser on the readout leaves the cells; the liquid takes no gradient."""
    liquid, readout = ResistiveLiquid(6, 12, ResistiveCells(), dt=1e-3, scale=1.0), torch.nn.Linear(12, 3)
    before = {name: value.clone() for name, value in liquid.state_dict().items()}
    counts = liquid((torch.rand(20, 5, 6) < 0.5).float())
    assert not counts.requires_grad and not any(p.requires_grad for p in liquid.parameters())
    optimizer = torch.optim.SGD([p for m in (liquid, readout) for p in m.parameters() if p.requires_grad], lr=0.1)
    readout(counts).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in liquid.state_dict().items())


def test_order_in_time_becomes_counts() -> None:
    """A pattern and its reversal, which have equal counts at the input, are told apart by counts of the liquid."""
    generator = torch.Generator().manual_seed(0)
    pattern = torch.rand(60, 32, generator=generator) < 0.2

    def noisy(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.arange(number) % 2
        x = torch.stack([pattern.flip(0) if k else pattern for k in y.tolist()], 1)
        return (x & (torch.rand(x.shape, generator=generator) < 0.9)).float(), y

    def accuracy(features: torch.Tensor, y: torch.Tensor, test: torch.Tensor, target: torch.Tensor) -> float:
        padded = [torch.cat((f, torch.ones(len(f), 1)), 1).double() for f in (features, test)]
        gram = padded[0].T @ padded[0] + torch.eye(padded[0].shape[1]).double()
        weights = torch.linalg.solve(gram, padded[0].T @ (2.0 * y.double() - 1.0))
        return float(((padded[1] @ weights > 0) == target.bool()).double().mean())

    (x, y), (test, target) = noisy(200), noisy(200)
    liquid = ResistiveLiquid(32, 100, ResistiveCells(), dt=1e-3, decay=0.9, v_th=1.0, scale=0.3)
    assert accuracy(liquid(x), y, liquid(test), target) > 0.95
    assert accuracy(x.sum(0), y, test.sum(0), target) < 0.65


def test_the_shared_readout_is_the_symmetric_cross_entropy() -> None:
    """Against the sums written out; equal rows lower it, and pairs are needed."""
    readout = SharedReadout((5, 7), dim=4, temperature=0.5).double()
    a, b = torch.rand(3, 5).double(), torch.rand(3, 7).double()
    with torch.no_grad():
        p, q = readout(a, 0), readout(b, 1)
    assert torch.allclose(p.norm(dim=1), torch.ones(3).double())
    expected = 0.0
    for k in range(3):
        row = [torch.exp(p[k] @ q[j] / 0.5) for j in range(3)]
        column = [torch.exp(p[j] @ q[k] / 0.5) for j in range(3)]
        expected -= float(torch.log(row[k] / sum(row)) + torch.log(column[k] / sum(column))) / 6.0
    assert float(readout.loss(a, b).detach()) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ShapeError, match=r"pairs are needed; got 3 and 2 rows"):
        readout.loss(a, b[:2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResistiveCells(deviation=0.0), "deviation must be a number above 0"),
        (lambda: ResistiveCells(read_noise=float("nan")), "read_noise must be a number from 0"),
        (lambda: ResistiveCells(unformed=0.7, stuck=0.6), "their sum is 1.2"),
        (lambda: ResistiveLiquid(4, 5, ResistiveCells(), dt=1e-3, decay=1.0), r"decay must be in \(0, 1\)"),
        (lambda: ResistiveLiquid(4, 5, ResistiveCells(), dt=1e-3, noise="call"), "noise must be 'run' or 'step'"),  # type: ignore[arg-type]
        (
            lambda: ResistiveLiquid(4, 5, ResistiveCells(), dt=1e-3)(torch.rand(3, 2, 5)),
            r"x must be a tensor \[T, B, 4\]",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message: str) -> None:
    """By name, value and range."""
    with pytest.raises((InputError, ShapeError), match=message):
        make()
