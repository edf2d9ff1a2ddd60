"""Weights and bias of a layer with its batch normalisation absorbed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurosim.errors import InputError, ShapeError
from neurosim.synapses import absorb_batch_norm


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("biased", [True, False])
def test_batch_normalisation_is_absorbed(affine: bool, biased: bool) -> None:
    conv, norm = nn.Conv2d(3, 5, 3, bias=biased).double(), nn.BatchNorm2d(5, affine=affine).double()
    x = 2.0 * torch.randn(8, 3, 6, 6, dtype=torch.float64) + 1.0
    norm(conv(x))
    if affine:
        nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    norm.eval()
    weight, bias = absorb_batch_norm(conv.weight, conv.bias, norm)
    torch.testing.assert_close(nn.functional.conv2d(x, weight, bias), norm(conv(x)), rtol=1e-10, atol=1e-12)


def test_what_cannot_be_absorbed_is_refused() -> None:
    with pytest.raises(ShapeError, match="does not fit 5 features"):
        absorb_batch_norm(torch.zeros(4, 2), None, nn.BatchNorm1d(5))
    with pytest.raises(InputError, match="running statistics"):
        absorb_batch_norm(torch.zeros(5, 2), None, nn.BatchNorm1d(5, track_running_stats=False))
