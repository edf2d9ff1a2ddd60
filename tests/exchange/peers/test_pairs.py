"""Each row of the tables of docs/from_snntorch.md: their line and our line give equal numbers."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.learning import Loss
from neurosim.synapses import Identity, Synapse
from tests.test_documentation import blocks, read, run_block

PAGE = "docs/from_snntorch.md"
ROW = re.compile(r"^\| `(.+?)` \| `(.+?)` \|$", re.MULTILINE)
NEEDED = ("snntorch", "norse", "spikingjelly", "sinabs")
STEPS, BATCH, N = 200, 3, 8


def rows() -> list[tuple[str, str]]:
    """Return the rows of which both cells are one expression; those of the table of habits are not."""
    return [
        (theirs, ours) for theirs, ours in ROW.findall(read(PAGE)) if "(" in ours and "=" not in theirs.split("(")[0]
    ]


@functools.cache
def names() -> dict[str, Any]:
    """Return the names that the first block of the page defines."""
    for package in NEEDED:
        pytest.importorskip(package)
    defined: dict[str, Any] = {"__name__": "page"}
    above, source = blocks(read(PAGE))[0]
    run_block(source, above, defined, PAGE)
    return defined


def neurons(theirs: Any, x: Tensor) -> Tensor:
    """Return what neurons of another library send for ``x`` [T, B, N]."""
    library = type(theirs).__module__.split(".")[0]
    sent, state = [], None
    with torch.no_grad():
        if library == "sinabs":
            return theirs(x.transpose(0, 1)).transpose(0, 1)
        if library == "snntorch":
            held = {"Synaptic": 2, "RLeaky": 2}.get(type(theirs).__name__, 1)
            states: Any = [torch.zeros_like(x[0])] * held
            for i in x:
                z, *after = theirs(i, *states)
                states = [z.to(x), *after] if type(theirs).__name__ == "RLeaky" else after
                sent.append(z.to(x))
            return torch.stack(sent)
        for i in x:
            if library == "norse":
                z, state = theirs(i, state)
            else:
                z = theirs(i)
            sent.append(z.to(x))
    return torch.stack(sent)


def share(theirs: nn.Module, ours: nn.Module) -> None:
    """Give both the same random weights."""
    pairs = [(a, b) for a, b in zip(theirs.parameters(), ours.parameters(), strict=False) if a.dim()]
    with torch.no_grad():
        for a, b in pairs:
            assert a.shape == b.shape
            a.copy_(torch.randint(-4, 5, a.shape) / 16)
            b.copy_(a)


def same_neurons(theirs: Any, ours: Any) -> None:
    theirs = theirs.double()
    net = ns.Sequential(ns.Input(N), Identity(), ours).double()
    if isinstance(ours, ns.Recurrent):
        share(theirs.recurrent, ours.synapse)
    scale = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)[:, None]
    x = torch.randn(STEPS, BATCH, N, dtype=torch.float64) * scale + 0.2 * scale
    with torch.no_grad():
        z, _ = net(x)
    expected = neurons(theirs, x)
    if net.neurons()[net.output].is_spiking:
        assert torch.equal(z, expected.to(z)) and 100 < z.sum() < 0.9 * z.numel()
    else:
        torch.testing.assert_close(z, expected.to(z), rtol=1e-5, atol=1e-5)


def same_layers(theirs: nn.Module, ours: Synapse) -> None:
    theirs, ours = theirs.double().eval(), ours.double().eval()
    share(theirs, ours)
    kernel = next((p.dim() for p in theirs.parameters()), 0)
    image = kernel == 4 or "Pool2d" in type(theirs).__name__
    shape = (2, 6, 6) if image else (2, 9) if kernel == 3 else (N,)
    x = torch.randn(1, BATCH, *shape, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[0], theirs(x[0]), rtol=1e-12, atol=1e-12)


def same_surrogates(theirs: Any, ours: ns.Surrogate) -> None:
    values = torch.linspace(-2.0, 2.0, 401, dtype=torch.float64)
    gradients = []
    for function in (theirs, ours):
        x = values.clone().requires_grad_()
        z = function(x)
        z.sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-6, atol=1e-9)


def same_losses(theirs: Any, ours: Loss) -> None:
    output, target = (torch.rand(STEPS, BATCH, 5) < 0.3).float(), torch.tensor([0, 4, 2])
    torch.testing.assert_close(ours(output, target), theirs(output, target).squeeze(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("theirs", "ours"), rows(), ids=lambda text: text)
def test_their_line_and_ours_are_equal(theirs: str, ours: str) -> None:
    defined = names()
    left, right = eval(theirs, dict(defined)), eval(ours, dict(defined))
    if isinstance(right, ns.Surrogate):
        same_surrogates(left, right)
    elif isinstance(right, Loss):
        same_losses(left, right)
    elif isinstance(right, Synapse):
        same_layers(left, right)
    else:
        same_neurons(left, right)


def test_the_page_has_rows_of_all_libraries() -> None:
    found = [theirs.split("(")[0].split(".")[0] for theirs, _ in rows()]
    counts = {name: found.count(name) for name in ("nn", "snn", "norse", "neuron", "sl", "surrogate", "SF")}
    assert min(counts.values()) >= 3 and len(found) >= 45


def test_a_wrong_row_is_found() -> None:
    defined = names()
    left = eval("snn.Leaky(beta=0.9)", dict(defined))
    with pytest.raises(AssertionError):
        same_neurons(left, ns.LIF(dt=1e-3, tau_mem=10e-3))
    with pytest.raises(AssertionError):
        same_surrogates(eval("surrogate.atan(alpha=2.0)", dict(defined)), ns.atan(3.0))
