from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.learning.precision import Precision


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


def test_without_it_nothing_stands_between_rule_and_network() -> None:
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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="half precision is for CUDA")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_products_run_in_half_precision_and_losses_in_single(dtype: torch.dtype) -> None:
    net = Product().cuda()
    output, _ = Precision(dtype, torch.device("cuda")).forward(net)(torch.ones(2, 1, 4, device="cuda"))
    assert net.seen == [dtype] and output.dtype == torch.float32
