"""Dense convolutions: equal to torch's, and in the precision of matrix products on CUDA."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import neurosim as ns
from neurosim.kernels.common import float32
from neurosim.kernels.conv import dense
from neurosim.kernels.conv.dense import Call, run_dense
from neurosim.synapses import Conv3d, ConvTranspose2d

# Call without tensors, c_in, c_out and places, for each number of axes.
CASES = {
    "one axis": (((2,), (1,), (1,), False, (0,), 1), (3, 4, (9,))),
    "two axes, groups": (((1, 2), (0, 1), (2, 1), False, (0, 0), 2), (4, 6, (7, 8))),
    "three axes": (((1, 1, 1), (0, 0, 0), (1, 1, 1), False, (0, 0, 0), 1), (2, 3, (4, 5, 4))),
    "transposed": (((2, 2), (1, 1), (1, 1), True, (1, 0), 1), (3, 2, (4, 4))),
}


def call_of(name: str, dtype: torch.dtype = torch.float64, bias: bool = True) -> Call:
    settings, (c_in, c_out, places) = CASES[name]
    groups, transposed = settings[-1], settings[3]
    shape = (c_in, c_out // groups) if transposed else (c_out, c_in // groups)
    weight = torch.randn(*shape, *[3] * len(places), dtype=dtype, requires_grad=True)
    b = torch.randn(c_out, dtype=dtype, requires_grad=True) if bias else None
    return Call(torch.randn(2, c_in, *places, dtype=dtype, requires_grad=True), weight, b, *settings)


class Watched(TorchDispatchMode):
    """Notes whether cuDNN may use TensorFloat-32 at each convolution and backward convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, bool]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "convolution" in func.name():
            self.seen.append((func.name(), bool(torch.backends.cudnn.allow_tf32)))
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=[None, "high"])
def allowed(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Leave torch's precision of matrix products as it is, or allow TensorFloat-32."""
    before = torch.get_float32_matmul_precision()
    if request.param:
        torch.set_float32_matmul_precision(request.param)
    yield request.param is not None
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("name", CASES)
def test_equals_torch_with_all_gradients(name: str) -> None:
    call = call_of(name)
    leaves = [call.x, call.weight, call.bias]
    wanted, found = dense._by_torch(call), run_dense(call).out
    assert torch.equal(found, wanted)
    g = torch.randn_like(wanted)
    for a, b in zip(torch.autograd.grad(found, leaves, g), torch.autograd.grad(wanted, leaves, g), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_opcheck(name: str, bias: bool) -> None:
    torch.library.opcheck(run_dense.forward_operator, tuple(call_of(name, bias=bias)))


@pytest.mark.parametrize("name", CASES)
def test_both_passes_have_the_precision_of_matrix_products(name: str, allowed: bool) -> None:
    call = call_of(name, torch.float32)
    assert torch.backends.cudnn.allow_tf32  # torch's own default
    with Watched() as watched:
        run_dense(call).out.sum().backward()
    assert [is_tf32 for _, is_tf32 in watched.seen] == [allowed, allowed]
    assert "backward" in watched.seen[1][0]
    assert torch.backends.cudnn.allow_tf32


def test_other_blocks_do_not_end_one() -> None:
    with float32.same_for_convolutions():
        with float32.same_for_convolutions():
            pass
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="this torch has no setting for each operation")
@pytest.mark.parametrize("own", ["ieee", "tf32"])
def test_a_setting_for_convolutions_alone(own: str) -> None:
    conv, rnn = torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    try:
        conv.fp32_precision, rnn.fp32_precision = own, "ieee" if own == "tf32" else "tf32"
        with float32.same_for_convolutions():
            assert conv.fp32_precision == "ieee"
        assert conv.fp32_precision == own
    finally:
        conv.fp32_precision = rnn.fp32_precision = "tf32"
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("new", [True, False])
def test_what_the_user_tells_torch(monkeypatch: pytest.MonkeyPatch, new: bool) -> None:
    class Matmul:
        allow_tf32 = True

    matmul = Matmul()
    if new:
        matmul.fp32_precision = "none"  # type: ignore[attr-defined]
    monkeypatch.setattr(torch.backends.cuda, "matmul", matmul)
    assert float32.allows_tf32() == (not new)
    if new:
        matmul.fp32_precision = "tf32"  # type: ignore[attr-defined]
        assert float32.allows_tf32()


def on_cuda(run: Any) -> list[str]:
    """Return the operators that `run` calls on CUDA tensors without memory."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    names: list[str] = []

    class Noted(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            names.append(func.name())
            return func(*args, **(kwargs or {}))

    with FakeTensorMode(allow_non_fake_inputs=True), Noted():
        run()
    return names


def test_every_convolution_of_synapses_takes_this_way_on_cuda() -> None:
    def delays() -> None:
        from neurosim.synapses.delay_taps import by_step

        by_step(torch.empty(9, 2, 3, device="cuda"), torch.empty(4, 3, 5, device="cuda"))

    def synapse(layer: Any, *places: int) -> Any:
        def run() -> None:
            layer._parameters["weight"] = torch.empty(layer.weight.shape, device="cuda")
            layer.apply_step(torch.empty(2, 3, *places, device="cuda"))

        return run

    runs = [
        synapse(ns.Conv1d(3, 4, 3), 9),
        synapse(ns.Conv2d(3, 4, 3), 8, 8),
        synapse(Conv3d(3, 4, 3), 5, 5, 5),
        synapse(ConvTranspose2d(3, 4, 3), 5, 5),
        delays,
    ]
    for run in runs:
        names = on_cuda(run)
        assert "neurosim::dense_conv" in names, names
