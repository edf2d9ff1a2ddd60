"""What each operation keeps for the backward pass goes through torch's hooks, and is unpacked once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

import neurosim as ns
from neurosim.kernels.common.policy import forced
from neurosim.models import ELM, ELMState
from neurosim.synapses import DelayedSparse, Synapse

T, B, N = 12, 3, 8
SENSITIVE = {"dt": 1e-3, "tau_mem": 4e-3, "v_th": 0.02}
PAIRS = torch.tensor([[0, 0, 1, 4, 4, 7, 6], [0, 7, 3, 3, 3, 1, 2]])
DELAYS = torch.tensor([0, 2, 1, 3, 3, 0, 1])


def loop(n: int = N) -> ns.Network:
    return ns.Network(
        nodes={"input": ns.Input(n), "loop": ns.LIF(**SENSITIVE)},
        edges=[ns.Edge("input", "loop", ns.Linear(n, n)), ns.Edge("loop", "loop", ns.Linear(n, n))],
    )


def two(synapse: Callable[[], Synapse], shape: tuple[int, ...] = (N,)) -> nn.Module:
    return ns.Sequential(ns.Input(shape), synapse(), ns.LIF(**SENSITIVE), synapse(), ns.LIF(**SENSITIVE))


class InTurn(nn.Module):
    """Modules of which each takes the output of the one before."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)[0]
        return x


class Flat(ELM):
    """ELM neurons whose outputs are the inputs of the next."""

    def forward(self, x: Tensor) -> tuple[Tensor, ELMState]:  # type: ignore[override]
        out, state = super().forward(x)
        return out.flatten(2), state


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "neurons": lambda: InTurn(ns.LIF(**SENSITIVE, learn=("v_th",)), ns.ALIF(dt=1e-3, v_th=0.05)),
    "linear": lambda: two(lambda: ns.Linear(N, N)),
    "recurrent": lambda: InTurn(loop(), loop()),
    "conv": lambda: two(lambda: ns.Conv2d(2, 2, 3, padding=1), (2, 2, 2)),
    "sparse": lambda: two(lambda: ns.Sparse(N, N, PAIRS, torch.full((7,), 0.5))),
    "delayed": lambda: two(lambda: DelayedSparse(N, N, PAIRS, DELAYS, torch.full((7,), 0.5), dt=1e-3)),
    "elm": lambda: InTurn(Flat(N, 2, dt=1e-3, d_m=3, neurons=4), Flat(N, 2, dt=1e-3, d_m=3)),
}


def inputs(name: str, steps: int) -> Tensor:
    torch.manual_seed(1)
    x = (torch.rand(steps, B, N) < 0.4).float()
    return (x.view(steps, B, 2, 2, 2) if name == "conv" else x).requires_grad_()


def gradients(net: nn.Module, name: str, steps: int, run: Callable[[Tensor], Tensor]) -> list[Tensor]:
    x = inputs(name, steps)
    out = run(x)
    tensors = [x, *net.parameters()]
    ends = torch.arange(1, 1 + out.numel()).view(out.shape) % 7 / 8
    return [out, *torch.autograd.grad(out, tensors, ends, materialize_grads=True)]


@pytest.fixture(params=["directly", "through torch"])
def operators(request):
    with forced(operators=request.param == "through torch"):
        yield


@pytest.mark.parametrize("steps", [1, T])
@pytest.mark.parametrize("name", NETWORKS)
def test_checkpoint_of_torch(name, steps, operators):
    torch.manual_seed(0)
    net = NETWORKS[name]()

    def run(x: Tensor) -> Tensor:
        found = net(x)
        return found if isinstance(found, Tensor) else found[0]

    plain = gradients(net, name, steps, run)
    again = gradients(net, name, steps, lambda x: checkpoint(run, x, use_reentrant=False))
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert steps == 1 or plain[0].any()


@pytest.mark.parametrize("name", NETWORKS)
def test_checkpoint_of_a_function_of_the_state_alone(name, operators):
    torch.manual_seed(0)
    net = NETWORKS[name]()
    last = net.parts[-1] if isinstance(net, InTurn) else net
    state = []
    last.register_forward_hook(lambda _, __, result: state.append(result[-1]))

    def run(x: Tensor) -> Tensor:
        net(x)
        leaves = [t for t in tree_leaves(state.pop()) if isinstance(t, Tensor) and t.requires_grad]
        return torch.stack([t.sum() for t in leaves])

    plain = gradients(net, name, T, run)
    again = gradients(net, name, T, lambda x: checkpoint(run, x, use_reentrant=False))
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert any(g.any() for g in plain[1:])


CASES = [*((name, False) for name in NETWORKS), *((name, True) for name in ("linear", "conv", "sparse", "delayed"))]


@pytest.mark.parametrize(("name", "recompute"), CASES)
def test_saved_tensors_are_unpacked_once(name, recompute, operators):
    torch.manual_seed(0)
    net = NETWORKS[name]()
    packed: list[Tensor] = []
    unpacked: list[int] = []

    def pack(x: Tensor) -> int:
        packed.append(x.clone() if x.numel() else x)  # what is unpacked is another tensor
        return len(packed) - 1

    def unpack(number: int) -> Tensor:
        unpacked.append(number)
        return packed[number]

    def run(x: Tensor) -> Tensor:
        found = net(x, recompute=True) if recompute else net(x)
        return found if isinstance(found, Tensor) else found[0]

    plain = gradients(net, name, T, run)
    with saved_tensors_hooks(pack, unpack):
        hooked = gradients(net, name, T, run)
    assert all(torch.equal(a, b) for a, b in zip(plain, hooked, strict=True))
    assert len(unpacked) == len(set(unpacked)) > 1
