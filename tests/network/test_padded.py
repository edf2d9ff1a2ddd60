"""Samples of different lengths in one batch have the outputs, states and gradients of the samples alone."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.errors import NeurosimError
from neurosim.network import run_padded

DT = 1e-3


def network():
    torch.manual_seed(0)
    lif = dict(dt=DT, tau_mem=5e-3, r=8.0)
    net = ns.Network(
        {"input": ns.Input(6), "a": ns.LIF(**lif), "b": ns.CubaLIF(**lif), "out": ns.LI(dt=DT, r=3.0)},
        [
            ns.Edge("input", "a", ns.Linear(6, 8)),
            ns.Edge("a", "a", ns.Linear(8, 8)),
            ns.Edge("a", "b", ns.Linear(8, 5), delay=2 * DT),
            ns.Edge("b", "out", ns.Linear(5, 3)),
        ],
    )
    return net.double()


def test_each_sample_is_as_if_it_ran_alone():
    net, lengths = network(), [7, 12, 3, 12, 1, 7]
    x = (torch.rand(14, 6, 6, generator=torch.Generator().manual_seed(1)) < 0.6).double()
    for b, length in enumerate(lengths):
        x[length:, b] = float("nan")  # never read
    out, state = run_padded(net, x, torch.tensor(lengths))
    assert out.shape == (14, 6, 3)
    out.square().sum().backward()
    found = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    for b, length in enumerate(lengths):
        alone, expected = net(x[:length, b : b + 1])
        torch.testing.assert_close(out[:length, b : b + 1], alone)
        assert not out[length:, b].any()
        for name, node in expected.nodes.items():
            torch.testing.assert_close([v[b] for v in state.nodes[name]], [v[0] for v in node])
        for name, line in expected.in_flight.items():
            torch.testing.assert_close(state.in_flight[name][:, b], line[:, 0])
        alone.square().sum().backward()
    torch.testing.assert_close(found, [p.grad for p in net.parameters()])
    assert any(bool(g.any()) for g in found)


def test_a_run_goes_on_from_the_last_valid_steps():
    net, x = network(), (torch.rand(10, 3, 6) < 0.6).double()
    _, state = run_padded(net, x[:6], torch.tensor([6, 6, 6]))
    rest, _ = run_padded(net, x[6:], torch.tensor([4, 4, 4]), state)
    torch.testing.assert_close(rest, net(x)[0][6:])


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (torch.tensor([0, 2, 3]), "from 1 to T = 4"),
        (torch.tensor([5, 2, 3]), "from 1 to T = 4"),
        (torch.tensor([1, 2]), "one for each of the 3 samples"),
        (torch.tensor([1.0, 2.0, 3.0]), "an integer tensor"),
        ([1, 2, 3], "an integer tensor"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths, message):
    with pytest.raises(NeurosimError, match=message):
        run_padded(network(), torch.rand(4, 3, 6).double(), lengths)
