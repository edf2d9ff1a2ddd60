"""Layers and networks of ELM neurons."""

from __future__ import annotations

import pytest
import torch

from neurosim.errors import InputError, ShapeError
from neurosim.models import ELMLayer, ELMNetwork

MS = 1e-3


def test_the_sizes_left_out_are_the_authors():
    layer = ELMLayer(64, 8, dt=MS)
    assert (layer.elm.d_m, layer.elm.d_mlp, layer.elm.branches) == (10, 20, 40)
    assert layer.elm.routes.shape == (8, 40, 40) and layer.elm.n_in == 72
    assert int(layer.elm.routes.max()) >= 64
    assert ELMLayer(64, 8, dt=MS, recurrent=False).elm.n_in == 64


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_split_run_equals_the_run_in_one(recurrent):
    layer = ELMLayer(6, 5, dt=MS, d_m=3, branches=4, recurrent=recurrent).double()
    x = torch.rand(17, 3, 6).double()
    whole, after = layer(x)
    state, parts = None, []
    for part in x.split([4, 1, 0, 12]):
        a, state = layer(part, state)
        parts.append(a)
    assert (whole >= 0).all() and whole.max() > 0
    assert torch.allclose(torch.cat(parts), whole, atol=1e-10)
    for a, b in zip(state, after, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_the_high_pass_removes_constant_input():
    layer = ELMLayer(6, 5, dt=MS, d_m=3, branches=4, recurrent=False)
    a, _ = layer(torch.ones(6000, 1, 6))
    assert a[:20].max() > 1e-3 and a[-1].max() < 1e-3


@pytest.mark.parametrize("recurrent", [False, True])
def test_every_parameter_learns(recurrent):
    torch.manual_seed(0)
    layer = ELMLayer(6, 5, dt=MS, d_m=3, branches=4, recurrent=recurrent)
    layer(torch.rand(15, 4, 6))[0].square().sum().backward()
    named = {name: p.grad for name, p in layer.named_parameters()}
    assert len(named) == 7
    assert [name for name, g in named.items() if g is None or not g.abs().sum() > 0] in ([], ["elm.readout_bias"])


@pytest.mark.parametrize("recurrent", [False, True])
def test_dropout_silences_the_same_lines_at_every_step(recurrent):
    torch.manual_seed(0)
    layer = ELMLayer(30, 5, dt=MS, d_m=3, branches=4, recurrent=recurrent, dropout=0.5).double()
    x = torch.rand(20, 2, 30).double()

    def run(x):
        torch.manual_seed(1)
        return layer(x)[0]

    torch.manual_seed(1)
    heard = torch.empty(2, layer.elm.n_in).double().bernoulli_(0.5)[:, :30].bool()
    assert torch.equal(run(torch.where(heard, x, torch.rand_like(x))), run(x))
    assert not torch.allclose(run(torch.where(heard, torch.rand_like(x), x)), run(x))
    if not recurrent:
        dropped = run(x)
        layer.eval()
        assert torch.allclose(layer(2.0 * heard * x)[0], dropped)
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_a_network():
    torch.manual_seed(0)
    network = ELMNetwork(6, [5, 4], 3, dt=MS, d_m=3, branches=4).double()
    x = torch.rand(9, 2, 6).double()
    y, after = network(x)
    first, state = network(x[:4])
    rest, last = network(x[4:], state)
    assert torch.allclose(torch.cat((first, rest)), y, atol=1e-10)
    assert torch.allclose(last[1].memory, after[1].memory, atol=1e-10)
    a, _ = network.layers[1](network.layers[0](x)[0])
    assert torch.allclose(network.readout(a), y)
    y.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_wrong_arguments_are_refused_by_name():
    with pytest.raises(InputError, match=r"dropout must be a probability in \[0, 1\); got 1"):
        ELMLayer(6, 5, dt=MS, dropout=1)
    with pytest.raises(ShapeError, match=r"x must be a tensor \[T, B, 6\]; got \[3, 2, 7\]"):
        ELMLayer(6, 5, dt=MS)(torch.rand(3, 2, 7))
    with pytest.raises(InputError, match="at least one layer"):
        ELMNetwork(6, [], 3, dt=MS)
    network = ELMNetwork(6, [2], 3, dt=MS, d_m=2)
    with pytest.raises(ShapeError, match="state must hold 1 layers' states; got 0"):
        network(torch.rand(3, 2, 6), [])


def test_input_and_state_that_do_not_fit_are_refused():
    layer = ELMLayer(4, 3, dt=1e-3, d_m=2, branches=2, synapses=2)
    x = torch.rand(5, 4, 4)
    _, state = layer(x)
    with pytest.raises(InputError, match=r"x must be in floating point; got torch\.int64"):
        layer(x.long())
    for wrong in (layer(x[:, :1])[1], state._replace(slow=state.slow[:1])):  # a batch of one is not spread
        with pytest.raises(ShapeError, match=r"state\.\w+ must be \[4, 3.*\]; got \[1, 3"):
            layer(x, wrong)
    with pytest.raises(ShapeError, match="state must hold"):
        layer(x, state[:2])
