"""The machine code of a recurrent layer of ELM neurons against its steps as torch operations, and what runs it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from neurosim.kernels.common.policy import forced
from neurosim.models import ELMLayer
from neurosim.models.elm_layer import ELMLayerState

CASES: dict[str, dict[str, Any]] = {
    "small": dict(n_in=7, neurons=6, d_m=2, branches=3, synapses=2),
    "blocks": dict(n_in=3, neurons=9, d_m=9, d_mlp=19, branches=8, synapses=11, learn_tau_m=True),
    "smooth": dict(n_in=5, neurons=4, d_m=4, branches=9, synapses=3, variant="v1", learn_tau_m=True),
    "dropout": dict(n_in=5, neurons=4, d_m=3, branches=4, synapses=3, dropout=0.4),
}
BATCHES = [1, 5, 17]  # less than a vector, and several with a part


def run(case: str, batch: int, dtype: torch.dtype, fused: bool, steps: int = 9) -> list[Tensor]:
    """Return activity, states and all gradients."""
    torch.manual_seed(0)
    layer = ELMLayer(dt=5e-3, **CASES[case]).to(dtype)
    layer.elm.activation = "silu" if case == "smooth" else "relu"
    with torch.no_grad():
        layer.elm.proto_w_s.uniform_(-0.5, 1.5)
    x = torch.randn(steps, batch, layer.n_in, dtype=dtype, requires_grad=True)
    state = ELMLayerState(*(torch.randn_like(s).requires_grad_() for s in layer.initial_state(x)))
    torch.manual_seed(1)
    if fused:
        a, after = layer(x, state)
    else:
        mask = torch.empty(batch, layer.elm.n_in, dtype=dtype).bernoulli_(0.6) / 0.6 if layer.dropout else None
        a, after = layer.stepped(x, state, mask)
    loss = (a + 0.3).sin().sum() + sum((part * (k + 1)).cos().sum() for k, part in enumerate(after))
    return [a, *after, *torch.autograd.grad(loss, [x, *state, *layer.parameters()])]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("case", CASES)
def test_fused_and_steps_agree(case: str, batch: int) -> None:
    """Activity, states, and the gradients of input, states and parameters."""
    for a, b in zip(run(case, batch, torch.float64, True), run(case, batch, torch.float64, False), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_in_single_precision_as_well(case: str) -> None:
    """The fused call is as near the exact values as the steps are."""
    exact = run(case, 5, torch.float64, False)
    for a, b, c in zip(run(case, 5, torch.float32, True), run(case, 5, torch.float32, False), exact, strict=True):
        assert a.dtype == torch.float32
        limit = 4.0 * (b - c).abs().max() + 1e-5 * c.abs().max()
        assert (a - c).abs().max() <= limit


def test_results_do_not_depend_on_threads_and_gradients() -> None:
    """Several vectors of samples are shared out; without gradients one step is stored."""
    layer = ELMLayer(6, 5, dt=5e-3, d_m=3, branches=4, synapses=3)
    x = torch.rand(7, 40, 6)
    found = []
    for threads in (1, 3):
        layer.zero_grad()
        with forced(threads=threads):
            a, after = layer(x)
            a.square().sum().backward()
        found.append([a, *after, *(p.grad for p in layer.parameters() if p.grad is not None)])
    assert len(found[0]) > 8
    assert all(torch.equal(p, q) for p, q in zip(*found, strict=True))
    with torch.no_grad():
        a, after = layer(x)
    assert all(torch.equal(p, q) for p, q in zip((a, *after), found[0][:5], strict=True))


def test_a_split_run_is_the_same_run() -> None:
    """The state holds all that the next step depends on."""
    layer = ELMLayer(6, 5, dt=5e-3, d_m=3, branches=4, synapses=3)
    x = torch.rand(9, 3, 6)
    a, after = layer(x)
    first, state = layer(x[:4])
    second, last = layer(x[4:], state)
    assert torch.equal(torch.cat((first, second)), a)
    assert all(torch.equal(p, q) for p, q in zip(last, after, strict=True))


def test_a_step_stores_nothing_for_each_pair_of_neurons() -> None:
    """Work and memory follow the synapses: what is kept for the backward pass does not grow with the square of N."""
    kept = []
    for neurons in (32, 64):
        layer, held = ELMLayer(4, neurons, dt=5e-3, d_m=2, branches=4, synapses=4), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, h=held: h.append(t.numel()) or t, lambda t: t):
            layer(torch.rand(50, 4, 4))
        kept.append(sum(held))
    assert kept[1] < 2.1 * kept[0]
