from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.errors import InputError
from neurosim.learning import BPTT, SLTT, Rule, fit
from neurosim.learning.training.precision import Precision


def test_half_precision_on_a_cpu_is_refused() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(
            InputError, match=rf"mixed_precision={dtype} needs a CUDA device, the network is on cpu\. Leave"
        ):
            Precision(dtype, torch.device("cpu"))


def test_other_types_are_refused() -> None:
    with pytest.raises(InputError, match=r"mixed_precision=torch\.float64: torch\.float16, torch\.bfloat16 or None"):
        Precision(torch.float64, torch.device("cuda"))


def test_an_optimizer_that_cannot_be_scaled_is_refused() -> None:
    optimizer = torch.optim.LBFGS([nn.Parameter(torch.zeros(1))])
    with pytest.raises(InputError, match=r"LBFGS cannot work with the scaled gradients of torch\.float16"):
        Precision(torch.float16, torch.device("cuda"), optimizer)


def test_without_precision_the_rule_gets_the_network_itself() -> None:
    net, precision = nn.Linear(2, 2), Precision(None, torch.device("cpu"))
    assert precision.forward(net) is net and not precision.scaler.is_enabled()
    value = torch.tensor(3.0, requires_grad=True)
    precision.backward(value * 2)
    assert value.grad == 2


class Product(nn.Module):
    """A network of one matrix product without state, which notes the type it was computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.seen: list[torch.dtype] = []

    def forward(self, x: Tensor, state: Any = None, *, through_time: bool = True) -> tuple[Tensor, Any]:
        z = self.linear(x)
        self.seen.append(z.dtype)
        return z, state


def test_products_run_in_half_precision_and_losses_in_single() -> None:
    # The check of the device aside, a CPU does the same in bfloat16.
    precision = Precision(None, torch.device("cpu"))
    precision.dtype = torch.bfloat16
    net = Product()
    output, _ = precision.forward(net)(torch.ones(2, 1, 4))
    assert net.seen == [torch.bfloat16] and output.dtype == torch.float32
    Precision(None, torch.device("cpu")).forward(net)(torch.ones(2, 1, 4))
    assert net.seen[1] == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("rule", [BPTT(), SLTT()], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_learns_in_half_precision(dtype: torch.dtype, rule: Rule) -> None:
    net = ns.Sequential(ns.Linear(8, 64), ns.LIF(tau_mem=5e-3, dt=1e-3), ns.Linear(64, 2), ns.LI(dt=1e-3))
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0.3, 1.0)
    y = torch.arange(16) % 2
    x = (torch.rand(20, 16, 8) < 0.1 + 0.7 * (torch.arange(8) % 2 == y[:, None])).float()
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    options: dict[str, Any] = {"optimizer": optimizer, "epochs": 20, "progress": False}
    history = fit(net, [(x, y)], rule=rule, mixed_precision=dtype, device="cuda", **options)
    assert history["accuracy"][-1] == 1.0 and history["loss"][-1] < history["loss"][0]
    assert all(parameter.dtype == torch.float32 for parameter in net.parameters())
