"""The contract of a synapse: every synapse passes it by being listed in `tests.synapse_list`.

The readers at the end are what a network is exported to or counted by: each holds a synapse or refuses it by name.
"""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.errors import NeurosimError, ShapeError
from neurosim.kernels.common.bits import pack
from neurosim.synapses import Identity, Synapse
from neurosim.synapses.delayed import Delayed
from neurosim.synapses.lowering import Dense, Opaque, Pooling, Shifted, SparseRows
from tests.synapse_list import DT, SynapseCase

STEPS, BATCH = 9, 3


def made(case: SynapseCase, bias: bool = True, dtype: torch.dtype = torch.float64) -> Synapse:
    torch.manual_seed(0)
    synapse = case.make(bias).to(dtype)
    assert not synapse.training or not [*synapse.parameters()] or type(synapse) is case.kind
    return synapse.eval()


def spikes(case: SynapseCase, steps: int = STEPS, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(steps, BATCH, *case.shape, generator=generator) < 0.4).to(dtype)


def run(synapse: Synapse, x: Tensor) -> Tensor:
    """Return the currents [T, B, *out] of a run without spikes under way."""
    out = synapse(x)
    current: Tensor = out[0] if isinstance(synapse, Delayed) else out
    return current


def network(case: SynapseCase, neuron: ns.Neuron | None = None, bias: bool = True) -> ns.Network:
    """Return a network of one edge that uses the synapse, in evaluation mode."""
    synapse = made(case, bias, torch.float32)
    neuron = ns.LIF(dt=DT, r=20.0) if neuron is None else neuron
    net = ns.Network({"in": ns.Input(case.shape), "n": neuron}, [ns.Edge("in", "n", list(case.edge(synapse)))])
    return net.eval()


def integer_network(case: SynapseCase) -> ns.Network:
    """Return the same of Loihi's neurons, with even integers for weights."""
    from neurosim.hardware.loihi import loihi_neurons

    net = network(case, loihi_neurons(dt=DT, dv=200, v_th=10), bias=False)
    with torch.no_grad():
        for value in (*net.parameters(), *net.buffers()):
            if value.is_floating_point():
                value.copy_((value * 20).round() * 2)
    return net


def check_shapes(case: SynapseCase, folder: Path) -> None:
    synapse = made(case)
    out = synapse.output_shape(case.shape)
    for steps, batch in ((STEPS, BATCH), (1, 1), (0, 2), (2, 0)):
        x = torch.ones(steps, batch, *case.shape, dtype=torch.float64)
        y = run(synapse, x)
        assert y.shape == (steps, batch, *out) and y.dtype is x.dtype
    for wrong in (torch.ones(4), torch.ones(4, 2)):
        with pytest.raises(ShapeError, match=type(synapse).__name__):
            synapse(wrong)


def check_wrong_shapes_are_refused(case: SynapseCase, folder: Path) -> None:
    synapse = made(case)
    for shape in (case.wrong,) if case.wrong else ((2, 3, 4), (9,)):
        x = torch.ones(STEPS, BATCH, *shape, dtype=torch.float64)
        if not case.wrong:
            assert synapse(x).shape[2:] == synapse.output_shape(shape)
            continue
        for call in (lambda: synapse.output_shape(shape), lambda: synapse(x)):  # noqa: B023
            with pytest.raises(ShapeError, match=r"\w+: spikes must be \[T, B, .*got \["):
                call()


def check_each_step_is_its_own(case: SynapseCase, folder: Path) -> None:
    """Without delays the current of a step is that of its spikes; `apply_step` is the definition."""
    synapse, x = made(case), spikes(case)
    assert synapse.memory == 0
    together = synapse(x)
    for t in range(STEPS):
        torch.testing.assert_close(together[t], synapse.apply_step(x[t]), rtol=1e-12, atol=1e-12)


def check_split_run(case: SynapseCase, folder: Path) -> None:
    """A run in two parts, the spikes under way carried over, is the run in one."""
    synapse, x = made(case), spikes(case)
    whole = run(synapse, x)
    for cut in (1, 4, STEPS - 1):
        if isinstance(synapse, Delayed):
            first, state = synapse(x[:cut])
            second, after = synapse(x[cut:], state)
            assert torch.equal(after, synapse(x)[1])
        else:
            first, second = synapse(x[:cut]), synapse(x[cut:])
        torch.testing.assert_close(torch.cat((first, second)), whole, rtol=1e-12, atol=1e-12)


def check_batch_independence(case: SynapseCase, folder: Path) -> None:
    synapse, x, order = made(case), spikes(case), torch.tensor([2, 0, 1])
    whole = run(synapse, x)
    torch.testing.assert_close(run(synapse, x[:, order]), whole[:, order], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(run(synapse, x[:, 1:2]), whole[:, 1:2], rtol=1e-12, atol=1e-12)


def check_packed_bits(case: SynapseCase, folder: Path) -> None:
    """Spikes handed over packed, and a mask of the gradients needed, change no number that is needed."""
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        synapse, x = made(case, dtype=dtype), spikes(case, dtype=dtype)
        flat = x.flatten(0, 1).flatten(1)
        needed = torch.rand(flat.shape, generator=torch.Generator().manual_seed(2)) < 0.5
        packed, mask = pack(flat.contiguous()).bits, pack(needed.to(dtype)).bits
        plain, told = (x.clone().requires_grad_() for _ in range(2))
        expected, result = synapse(plain), synapse(told, packed, mask)
        torch.testing.assert_close(result, expected, rtol=tolerance, atol=tolerance)
        weights = torch.linspace(0.5, 1.5, result.numel(), dtype=dtype).reshape(result.shape)
        parameters = list(synapse.parameters())
        wanted, found = (
            torch.autograd.grad((y * weights).sum(), [leaf, *parameters], allow_unused=True)
            for y, leaf in ((expected, plain), (result, told))
        )
        for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                keep = needed.view_as(b) if k == 0 else torch.ones_like(b, dtype=torch.bool)
                torch.testing.assert_close(a[keep], b[keep], rtol=tolerance, atol=tolerance)


def check_bits_of_the_result(case: SynapseCase, folder: Path) -> None:
    """What `passed_on` returns are the packed bits of the result."""
    synapse, x = made(case), spikes(case)
    flat = x.flatten(0, 1).flatten(1).contiguous()
    bits, _ = synapse.passed_on(case.shape, pack(flat).bits, None)
    assert synapse.passed_on(case.shape, None, None)[0] is None
    if bits is not None:
        result = synapse(x).flatten(0, 1).flatten(1).contiguous()
        assert set(result.unique().tolist()) <= {0.0, 1.0} and torch.equal(bits, pack(result).bits)


def check_gradients(case: SynapseCase, folder: Path) -> None:
    """Gradients of the input and of every parameter are those of finite differences, in float64."""
    synapse = made(case).train(case.trained)
    x = torch.randn(4, 2, *case.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    held = dict(synapse.named_parameters())

    def function(inputs: Tensor, *values: Tensor) -> Tensor:
        out = torch.func.functional_call(synapse, dict(zip(held, values, strict=True)), (inputs,))
        return out[0] if isinstance(synapse, Delayed) else out

    leaves = [x.requires_grad_(), *(p.detach().clone().requires_grad_() for p in held.values())]
    assert torch.autograd.gradcheck(function, leaves)
    out = function(*leaves)
    found = torch.autograd.grad(out.square().sum(), leaves, allow_unused=True)
    assert all(g is not None and bool(g.any()) for g in found), "no gradient reaches a parameter"


def check_description(case: SynapseCase, folder: Path) -> None:
    """`lowered` describes what runs; only for delays that are not whole steps there is no one-step value."""
    synapse = made(case)
    value = synapse.lowered(case.shape)
    assert not isinstance(value, Opaque), value.reason
    x = spikes(case, steps=synapse.memory + 1)
    if synapse.memory:
        assert isinstance(value, (Dense, SparseRows)) and value.delay is not None
        assert value.delay.max() <= synapse.memory
        x = x[:1].expand_as(x)  # constant spikes: every delay has passed
    assert value.apply(x[-1]).shape == (BATCH, *synapse.output_shape(case.shape))
    torch.testing.assert_close(value.apply(x[-1]), run(synapse, x)[-1], rtol=1e-12, atol=1e-12)
    if not isinstance(value, (Pooling, Shifted)):
        graded = torch.randn(2, *case.shape, dtype=torch.float64)
        line = graded.expand(synapse.memory + 1, *graded.shape)
        torch.testing.assert_close(value.apply(graded), run(synapse, line)[-1], rtol=1e-12, atol=1e-12)


def check_copies(case: SynapseCase, folder: Path) -> None:
    synapse, x = made(case), spikes(case)
    y = run(synapse, x)
    for twin in (copy.deepcopy(synapse), pickle.loads(pickle.dumps(synapse))):
        assert twin is not synapse and repr(twin) == repr(synapse) and torch.equal(run(twin, x), y)
        with torch.no_grad():
            for value in twin.parameters():
                value.add_(1.0)
        assert torch.equal(run(synapse, x), y), "the copy shares memory with the original"
    torch.manual_seed(7)
    other = case.make(True).to(torch.float64).eval()
    torch.save(synapse.state_dict(), folder / "synapse.pt")
    other.load_state_dict(torch.load(folder / "synapse.pt", weights_only=True))
    assert torch.equal(run(other, x), y)


def check_moves_between_dtypes(case: SynapseCase, folder: Path) -> None:
    y = run(made(case), spikes(case))
    single = made(case, dtype=torch.float32)
    assert run(single, spikes(case, dtype=torch.float32)).dtype is torch.float32
    torch.testing.assert_close(run(single, spikes(case, dtype=torch.float32)).double(), y, rtol=1e-5, atol=1e-5)
    assert all(t.device.type == "meta" for t in single.to("meta").parameters())


def check_compile(case: SynapseCase, folder: Path) -> None:
    torch._dynamo.reset()
    synapse, x = made(case), spikes(case)
    compiled: Callable[..., Any] = torch.compile(synapse, fullgraph=True, backend="aot_eager")
    out = compiled(x)
    torch.testing.assert_close(out[0] if isinstance(synapse, Delayed) else out, run(synapse, x), rtol=1e-12, atol=1e-12)


CHECKS = {name.removeprefix("check_"): check for name, check in sorted(globals().items()) if name.startswith("check_")}


def read_nir(case: SynapseCase, folder: Path) -> None:
    """The graph read back gives the same numbers."""
    pytest.importorskip("nir")
    from neurosim.exchange.nir import from_nir, to_nir

    net, x = network(case), spikes(case, steps=40, dtype=torch.float32)
    again = from_nir(to_nir(net, gain="network"), dt=DT)
    z = net(x)[0]
    assert z.any()
    assert torch.equal(again(x)[0], z)


def read_lava(case: SynapseCase, folder: Path) -> None:
    """The processes are built; that they compute the same is tests/hardware/lava."""
    from neurosim.hardware.lava import to_lava

    assert to_lava(network(case)).graph.populations


def read_loihi(case: SynapseCase, folder: Path) -> None:
    """Registers and weights are described."""
    from neurosim.hardware.loihi import describe

    assert "in->n" in describe(integer_network(case)).edges


def read_netx(case: SynapseCase, folder: Path) -> None:
    """The file read back gives the same numbers."""
    from neurosim.hardware.netx import read_netx as read
    from neurosim.hardware.netx import write_netx

    net, x = integer_network(case), spikes(case, steps=40, dtype=torch.float32)
    write_netx(net, folder / "net.net")
    z = net(x)[0]
    assert z.any()
    again = read(folder / "net.net", dt=DT)
    assert torch.equal(again(x.reshape(*x.shape[:2], *again.shape(again.inputs[0])))[0], z)


def read_placement(case: SynapseCase, folder: Path) -> None:
    """The network is placed on Loihi 2's cores."""
    from neurosim.hardware.placement import place

    assert place(network(case), "loihi2").cores >= 1


def read_counting(case: SynapseCase, folder: Path) -> None:
    """The operations are those of the weights that are not 0."""
    from neurosim.energy import count_operations

    net, x = network(case), spikes(case, dtype=torch.float32)
    counts = count_operations(net, x)
    assert counts.steps == STEPS and counts.samples == BATCH
    if len(net.edges[0].synapses) == 1 and case.kind is not Identity:  # which has no weights to count
        synapse = net.edges[0].synapses[0]
        columns = torch.eye(math.prod(case.shape)).reshape(-1, *case.shape)
        value = synapse.lowered(case.shape)
        assert not isinstance(value, Opaque)
        rest = value.apply(torch.zeros(1, *case.shape))
        fan = (value.apply(columns) - rest != 0).flatten(1).sum(1)
        events = (x.flatten(0, 1).flatten(1) != 0).sum(0)
        assert sum(s.effective for s in counts.synapses) == int((events * fan).sum())


def read_quantisation(case: SynapseCase, folder: Path) -> None:
    """The quantised network has integer weights and runs."""
    from neurosim.hardware.quantise import quantise

    net, x = network(case), spikes(case, steps=40, dtype=torch.float32)
    quantised = quantise(net, x).net
    assert quantised(x)[0].any()
    assert all(torch.equal(p, p.round()) for p in quantised.parameters())


READERS = {name.removeprefix("read_"): read for name, read in sorted(globals().items()) if name.startswith("read_")}


def check_reader(case: SynapseCase, reader: str, folder: Path) -> None:
    """A reader holds the synapse, or refuses it with an error that names the synapse and says why."""
    message = case.refused.get(reader)
    if message is None:
        READERS[reader](case, folder)
        return
    with pytest.raises(NeurosimError, match=message) as caught:
        READERS[reader](case, folder)
    assert case.kind.__name__ in str(caught.value) or "edge 'in->n'" in str(caught.value)
