"""What a synapse holds of a weight, and what a network says about itself."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.errors import ExportError, InputError
from neurosim.hardware.loihi import (
    SignMode,
    chip_weight,
    describe,
    effective_bias,
    loihi_neurons,
    sign_mode,
    split_bias,
    storage,
    weight_range,
)
from neurosim.synapses import RoundedDelays
from neurosim.synapses.lowering import Convolution, Pooling
from neurosim.synapses.shift import Shift

DT = 1e-3


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize(("low", "high"), [(-300, 300), (0, 300), (-300, 0)])
def test_held_weights_are_the_nearest_below_in_size(bits: int, low: int, high: int) -> None:
    raw = torch.arange(low, high + 1).double()
    mode = sign_mode(raw)
    held = chip_weight(raw, bits)
    lowest, highest = weight_range(bits, mode)
    grid = torch.arange(lowest, highest + 1, 2 ** (8 - bits + (mode is SignMode.MIXED))).double()
    for value, found in zip(raw.tolist(), held.tolist(), strict=True):
        below = grid[grid <= value] if mode is not SignMode.INHIBITORY else grid[grid >= value]
        inside = min(max(value, lowest), highest)
        wanted = (below.max() if mode is not SignMode.INHIBITORY else below.min()) if below.numel() else inside
        assert found == float(wanted)
    assert torch.equal(chip_weight(held, bits, mode), held)


def test_values_of_lava() -> None:
    """Seen in lava-nc 0.10.0: mixed weights are even, parts are dropped."""
    assert chip_weight(torch.tensor([1.0, -1.0])).tolist() == [0.0, -2.0]
    assert chip_weight(torch.tensor([300.0, -300.0])).tolist() == [254.0, -256.0]
    assert chip_weight(torch.tensor([1.9])).tolist() == [1.0]


def test_storage_of_weights() -> None:
    assert storage(torch.tensor([0.0, 255.0])) == (SignMode.EXCITATORY, 8)
    assert storage(torch.tensor([0.0, 128.0])) == (SignMode.EXCITATORY, 1)
    assert storage(torch.tensor([-32.0, 224.0])) == (SignMode.MIXED, 4)
    assert storage(torch.tensor([-256.0, -2.0])) == (SignMode.MIXED, 8)
    assert storage(torch.tensor([-1.0, 2.0]))[1] == 0
    assert storage(torch.tensor([0.5]))[1] == 0


def test_biases_go_apart_and_together() -> None:
    mantissa, exponent = split_bias(torch.tensor([0.0, 4095, 4096, -4096, 4095 << 7, 6]))
    assert exponent.tolist() == [0, 0, 1, 0, 7, 0]
    assert torch.equal(
        effective_bias(mantissa, exponent), torch.tensor([0.0, 4095, 4096, -4096, 4095 << 7, 6]).double()
    )
    assert effective_bias(-5, -1) == -3.0 and effective_bias(5, -3) == 0.0
    with pytest.raises(InputError, match="a bias of 4097 is no mantissa"):
        split_bias(4097.0)


def integer(*parts) -> ns.Network:
    net = ns.Sequential(*parts)
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.arange(weight.numel()).reshape(weight.shape) * 2 - 8)
    return net


def test_a_description_says_all() -> None:
    pool = loihi_neurons(dt=DT, du=1024, dv=128, v_th=80, bias_mant=3, bias_exp=2)
    parts = (ns.Input((2, 4, 4)), ns.SumPool2d(2), ns.Conv2d(2, 3, 2), Shift(2), pool)
    net = integer(*parts, ns.Flatten(), ns.Linear(3, 2), loihi_neurons(dt=DT, v_th=None))
    found = describe(net, "loihi1")
    first, last = found.populations.values()
    assert (first.shape, int(first.du), int(first.dv), int(first.v_th)) == ((3, 1, 1), 1024, 128, 80)
    assert (int(first.bias_mant), int(first.bias_exp), int(first.refractory), first.neurons) == (12, 0, 1, 3)
    assert last.v_th is None
    conv, dense = found.edges.values()
    assert conv.exponent == 2 and dense.exponent == 0 and conv.sign_mode is SignMode.MIXED
    assert conv.before == (Pooling("sum", (2, 2), (2, 2)),) and isinstance(conv.connectivity, Convolution)
    rows = conv.connectivity.weight.detach().flatten(1).abs().sum(1)
    assert conv.largest == rows.max() * 4 * 4 == found.largest("loihi1") and found.fits_single


def test_a_description_lists_all_that_is_wrong() -> None:
    delayed = RoundedDelays(torch.tensor([[2.0, 4.0]]), torch.tensor([[70, 0]]), dt=DT)
    net = ns.Network(
        {"in": ns.Input(2), "a": ns.LIF(dt=DT), "b": loihi_neurons(dt=DT), "c": loihi_neurons(dt=DT, v_th=5)},
        [
            ns.Edge("in", "a", ns.Linear(2, 2)),
            ns.Edge("in", "b", [delayed, Shift(-1)]),
            ns.Edge("b", "c", [ns.Linear(1, 1, bias=True)]),
            ns.Edge("a", "c", [ns.Linear(2, 2), ns.Linear(2, 1)]),
        ],
    )
    with pytest.raises(ExportError) as caught:
        describe(net)
    for part in ("node 'a'", "'lif'", "a delay of 70 steps", "Shift(-1) after delays", "has a bias",
                 "weights must be integers", "holds Linear, Linear"):  # fmt: skip
        assert part in str(caught.value), part


def test_a_chip_has_ranges_of_its_own() -> None:
    net = integer(ns.Linear(2, 2), loihi_neurons(dt=DT, bias_mant=-4096))
    assert describe(net).populations
    with pytest.raises(ExportError, match=r"bias_mant=-4096; Intel Loihi .2018. holds -4095 to 4095"):
        describe(net, "loihi1")
