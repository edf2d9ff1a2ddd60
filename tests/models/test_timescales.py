"""Networks that learn time constants: the recursion, measured time constants, heads, labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurosim.errors import InputError, ShapeError
from neurosim.models import TimescaleNetwork, autocorrelation_times, parity_of_last


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_the_recursion_of_program_and_paper(variant: str) -> None:
    torch.manual_seed(0)
    net = TimescaleNetwork(2, 5, variant=variant).double()
    net.tau.data[0] = 0.3  # counts as 1
    x, start = torch.randn(12, 3, 2).double(), torch.randn(3, 5).double()
    found = net.activity(x, start)
    tau = np.maximum(net.tau.detach().numpy(), 1.0)
    w, w_in, b = (p.detach().numpy() for p in (net.recurrent.weight, net.input.weight, net.input.bias))
    w = w - np.diag(np.diag(w))
    h = start.numpy()
    for t in range(12):
        drive = h @ w.T + x[t].numpy() @ w_in.T + b
        leaky = lambda v: np.where(v > 0, v, 0.01 * v)  # noqa: E731
        h = leaky((1 - 1 / tau) * h + drive / tau) if variant == "code" else (1 - 1 / tau) * h + leaky(drive) / tau
        assert np.abs(found[t].detach().numpy() - h).max() < 1e-12


def test_time_constants_of_units_without_connections_are_their_own() -> None:
    torch.manual_seed(0)
    net = TimescaleNetwork(1, 4, variant="paper").double()
    net.recurrent.weight.data.zero_()
    net.tau.data = torch.tensor([2.0, 4.0, 8.0, 1.0]).double()
    net.input.weight.data.fill_(1.0)
    net.input.bias.data.fill_(10.0)  # far from the kink
    found = net.network_times(torch.randn(4000, 32, 1).double(), skip=100)
    expected = -1.0 / np.log(1.0 - 1.0 / np.array([2.0, 4.0, 8.0]))
    assert found[:3].numpy() == pytest.approx(expected, rel=0.08)
    assert torch.equal(net.unit_times(), net.tau.data)
    assert autocorrelation_times(torch.ones(50, 1, 1), 10).isnan().all()


def test_heads_come_and_go_and_all_learn() -> None:
    net = TimescaleNetwork(1, 30)
    for depth in (2, 3):
        net.add_head(depth)
    x = torch.randint(0, 2, (8, 16, 1)).float()
    sum(out.square().sum() for out in net(x).values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    net.remove_head(2)
    assert list(net(x)) == [3]


def test_labels_are_parities_of_the_last_bits() -> None:
    x = torch.tensor([[1, 0], [1, 1], [0, 1], [1, 1]]).float()[..., None]
    assert [parity_of_last(x, n).tolist() for n in (1, 2, 3, 4)] == [[1, 1], [1, 0], [0, 1], [1, 1]]


def test_bad_arguments_are_refused_by_name() -> None:
    net = TimescaleNetwork(1, 4)
    net.add_head(2)
    for call, message in (
        (lambda: TimescaleNetwork(1, 1), "units must be an integer from 2; got 1"),
        (lambda: TimescaleNetwork(1, 4, variant="both"), "variant='both'"),
        (lambda: net.add_head(2), "there is a read-out of depth 2"),
        (lambda: parity_of_last(torch.zeros(2, 1, 1), 3), "2 bits are fewer than 3"),
        (lambda: autocorrelation_times(torch.zeros(5, 1, 1), 5), "lags must be from 2 to 4; got 5"),
    ):
        with pytest.raises(InputError, match=message):
            call()
    with pytest.raises(ShapeError, match=r"x must be \[T, B, 1\]"):
        net(torch.zeros(3, 2, 2))
