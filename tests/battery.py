"""The contract of a core: every core passes it by being listed in `tests.core_list`."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.errors import ExportError, InputError
from tests.core_list import Model

DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
SHAPE = (3, 5)  # of the population


def current(
    model: Model, steps: int = 40, batch: int = 4, dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = SHAPE
) -> Tensor:
    """Draw currents that make the model fire now and then; integers for a core of integers."""
    i = (torch.randn(steps, batch, *shape, dtype=dtype) + 0.5) * model.current
    return i.round() if model.integer else i


def learned(model: Model, **choices: Any) -> ns.Neuron:
    """Make a layer that learns every parameter that can be learned, each neuron its own."""
    layer = model.make(size=SHAPE, learn=model.learnable, **choices)
    with torch.no_grad():
        for value in layer.parameters():
            value.mul_(1 + 0.05 * torch.randn_like(value))
    return layer


def gradients(
    run: Callable[..., tuple[Any, ...]], layer: ns.Neuron, i: Tensor, state: Any, through_time: bool = True
) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
    """Run forwards and backwards; return output, final state, and all gradients by name.

    The loss weighs every output and every final state differently, so that no two gradients agree by chance.
    """
    i = i.detach().clone().requires_grad_()
    start = [s.detach().clone().requires_grad_() for s in (layer.initial_state(i) if state is None else state)]
    z, after, *_ = run(i, tuple(start), through_time=through_time)
    weights = torch.linspace(0.5, 1.5, z.numel(), dtype=z.dtype, device=z.device).reshape(z.shape)
    loss = (z * weights).sum()
    for number, s in enumerate(after):
        loss = loss + (s * weights[0].flip(-1) * (0.3 + number)).sum() if z.shape[0] else loss + s.sum()
    held = dict(layer.named_parameters())
    wanted = [i, *start, *held.values()]
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    names = ["i", *(f"state.{name}" for name in layer.core.state), *held]
    filled = (torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True))
    return z.detach(), [s.detach() for s in after], dict(zip(names, filled, strict=True))


def check_shapes(model: Model) -> None:
    layer = model.make()
    for shape in ((7, 2), (7, 2, 3), (7, 2, 3, 4, 5), (0, 2, 3), (7, 0, 3)):
        i = torch.randn(shape) * model.current
        i = i.round() if model.integer else i
        z, state = layer(i)
        assert z.shape == i.shape and z.dtype is i.dtype
        assert type(state) is model.core.state_type and state._fields == tuple(model.core.state)
        assert all(s.shape == shape[1:] for s in state)
        if model.spiking:
            assert set(z.unique().tolist()) <= set(model.sends)
    if model.spiking:
        z = layer(current(model, steps=300))[0]
        assert set(z.unique().tolist()) == set(model.sends)
        assert 0.01 < z.abs().mean() < 0.7, "drive the model so that it fires now and then"


def check_state_goes_in_and_comes_out(model: Model) -> None:
    layer, i = model.make(), current(model, steps=1)
    start = layer.initial_state(i)
    for s, value in zip(start, model.core.state.values(), strict=True):
        assert s.shape == i.shape[1:] and torch.equal(s, torch.full_like(s, value))
    before = [s.clone() for s in start]
    z, after = layer(i, start)
    assert all(torch.equal(a, b) for a, b in zip(start, before, strict=True)), "the state handed in was written to"
    z_default, after_default = layer(i)
    assert torch.equal(z, z_default) and all(map(torch.equal, after, after_default))
    elsewhere = type(start)(*(s + (1024.0 if model.integer else 0.25) for s in start))
    assert not start or any(not torch.equal(a, b) for a, b in zip(layer(i, elsewhere)[1], after, strict=True))
    round_trip = pickle.loads(pickle.dumps(after))
    assert type(round_trip) is type(after) and all(map(torch.equal, round_trip, after))


def check_split_run(model: Model) -> None:
    i = current(model)
    for reset in model.resets:
        layer = model.make(reset=reset)
        z, state = layer(i)
        for cut in (1, 17, 39):
            first, between = layer(i[:cut])
            second, after = layer(i[cut:], between)
            assert torch.equal(torch.cat((first, second)), z)
            assert all(map(torch.equal, after, state))


def check_batch_independence(model: Model) -> None:
    layer, i, order = learned(model), current(model), torch.tensor([2, 0, 3, 1])
    z, state, found = gradients(layer, layer, i, None)
    z_permuted, state_permuted = layer(i[:, order])
    assert torch.equal(z_permuted, z[:, order])
    assert all(torch.equal(p, s[order]) for p, s in zip(state_permuted, state, strict=True))
    alone = i[:, 2:3].clone().requires_grad_()
    z_alone, _ = layer(alone)
    assert torch.equal(z_alone, z[:, 2:3])
    whole = i.clone().requires_grad_()
    one, many = (_gradient_of_squares(layer, x) for x in (alone, whole))
    assert torch.equal(one, many[:, 2:3])
    assert found["i"].abs().sum() > 0


def _gradient_of_squares(layer: ns.Neuron, i: Tensor) -> Tensor:
    z, state = layer(i)
    (found,) = torch.autograd.grad((z**2).sum() + sum(s.sum() for s in state), i)
    return found


def _driven(model: Model, dt: float, duration: float) -> Tensor:
    """Return the output under the model's constant input at a step dt (s), in float64."""
    size, more = model.at(dt)
    layer = model.make(dt=dt, **more)
    return layer(torch.full((round(duration / dt), 1, 1), float(size), dtype=torch.float64))[0].flatten()


def _interval(model: Model, dt: float) -> float:
    fired = _driven(model, dt, 1.0).nonzero().flatten()
    return float(fired[-1] - fired[2]) * dt / (len(fired) - 3)


def check_dt_invariance(model: Model) -> None:
    if not model.spiking:
        ends = [float(_driven(model, dt, 0.03)[-1]) for dt in (1e-3, 5e-4, 1e-4)]
        assert max(ends) - min(ends) < model.last_digits * max(ends) and ends[0] > 0.1
        return
    fine = _interval(model, 1e-4)
    for dt in (1e-3, 5e-4):
        assert abs(_interval(model, dt) - fine) <= model.steps_late * dt, (dt, _interval(model, dt), fine)
    assert fine > 3e-3


def check_gradients_to_every_parameter(model: Model) -> None:
    layer = learned(model, spike=ns.atan(1.0), detach_reset=False)
    i = current(model, steps=60)
    _, _, found = gradients(layer, layer, i, None)
    assert set(found) == {"i", *(f"state.{n}" for n in model.core.state), *(n for n, _ in layer.named_parameters())}
    for name, gradient in found.items():
        assert torch.isfinite(gradient).all(), name
        if name in model.without_gradient:
            assert not gradient.any(), f"a gradient reaches {name}: take it out of without_gradient"
        else:
            assert gradient.abs().max() > 0, f"no gradient reaches {name}"
    for name in model.learnable:
        value = layer.value(name)
        assert isinstance(value, Tensor) and value.shape == SHAPE and value.requires_grad


def check_moves_between_devices_and_dtypes(model: Model) -> None:
    layer = learned(model)
    layer.register_buffer("_witness", torch.zeros(1))
    for tensor in (*layer.to("meta").parameters(), *layer.buffers()):
        assert tensor.device.type == "meta"
    i = current(model, dtype=torch.float64)
    for device in DEVICES:
        for dtype in (torch.float32, torch.float64):
            moved = learned(model).to(device, dtype)
            assert all(p.dtype is dtype for p in moved.parameters())
            z, state = moved(i.to(device, dtype))
            assert z.dtype is dtype and all(s.dtype is dtype for s in state) and z.device.type == device
    for dtype in (torch.float16, torch.bfloat16):
        layer = model.make()
        half = current(model).to(dtype)
        if model.integer:
            with pytest.raises(InputError, match=f"{model.name}: {dtype} cannot hold its"):
                layer(half)
            continue
        z, state = layer(half)
        assert z.dtype is dtype and all(s.dtype is torch.float32 for s in state)
        assert torch.equal(z, layer(half.float())[0].to(dtype))


def check_pickling_and_copying(model: Model) -> None:
    layer, i = learned(model, reset=model.resets[-1], spike=ns.triangle(0.7)), current(model)
    size = len(pickle.dumps(layer))
    z, state, found = gradients(layer, layer, i, None)
    assert len(pickle.dumps(layer)) == size, "what is derived from the core is pickled with the layer"
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert twin is not layer and twin.core is layer.core and repr(twin) == repr(layer)
        z_twin, state_twin, found_twin = gradients(twin, twin, i, None)
        assert torch.equal(z, z_twin) and all(map(torch.equal, state, state_twin))
        assert all(torch.equal(found[name], found_twin[name]) for name in found)
        with torch.no_grad():
            for value in twin.parameters():
                value.add_(1.0)
        assert torch.equal(layer(i)[0], z), "the copy shares memory with the original"
    other = model.make(size=SHAPE, learn=model.learnable, reset=model.resets[-1])
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(i)[0], z)


def check_compile(model: Model) -> None:
    torch._dynamo.reset()
    layer, i = learned(model), current(model)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    z, state, found = gradients(layer, layer, i, None)
    z_compiled, state_compiled, found_compiled = gradients(compiled, layer, i, None)
    assert torch.equal(z, z_compiled) and all(map(torch.equal, state, state_compiled))
    assert all(torch.equal(found[name], found_compiled[name]) for name in found)
    with torch.no_grad():
        assert torch.equal(compiled(i)[0], z)


def check_kernel_equals_reference(model: Model) -> None:
    for device in DEVICES:
        for reset in model.resets:
            layer = model.make(reset=reset, detach_reset=reset != "value").to(device)
            i = current(model).to(device)
            for through_time in (True, False):
                fused = gradients(layer, layer, i, None, through_time)
                reference = gradients(layer.run_reference, layer, i, None, through_time)
                assert _equal(fused[0], reference[0], model.rounding)
                assert all(_equal(*pair, model.rounding) for pair in zip(fused[1], reference[1], strict=True))
                for name, gradient in fused[2].items():
                    assert _equal(gradient, reference[2][name], model.rounding), (device, reset, through_time, name)


def check_nir_round_trip(model: Model) -> None:
    """What NIR holds comes back with equal numbers; what it does not hold is refused by the name of the core."""
    pytest.importorskip("nir")
    from neurosim.exchange.nir import UnreachableThreshold, from_nir, to_nir

    for reset in ("value", None):
        each = {name: torch.linspace(0.8, 1.2, 5) * value for name, value in _defaults(model).items() if value > 0}
        neuron = ns.Neuron(model.core, **{"dt": 1e-3, **model.parameters, "reset": reset, **each})
        edge = ns.Edge("input", "n", ns.Linear(6, 5), port=next(iter(neuron.ports)))
        net = ns.Network({"input": ns.Input(6), "n": neuron}, [edge])
        if not model.nir:
            reason = "is {}, which NIR has no primitive" if len(neuron.ports) == 1 else "{} has the input ports"
            with pytest.raises(ExportError, match=f"node 'n': its core {reason.format(repr(model.name))}"):
                to_nir(net)
            return
        x = (torch.rand(60, 3, 6) < 0.4).float() * model.current * 5.0
        z = net(x)[0]
        assert z.any() and not (model.spiking and z.all())
        for discretisation in ("euler", "exponential"):
            graph = to_nir(net, gain="network", discretisation=discretisation)
            with warnings.catch_warnings():
                # These inputs are larger than a spike, for which the reader estimates the membrane.
                warnings.simplefilter("ignore", UnreachableThreshold)
                again = from_nir(graph, dt=net.dt, discretisation=discretisation)
            assert torch.equal(again(x)[0], z), (reset, discretisation)


def _defaults(model: Model) -> dict[str, Any]:
    return {name: model.parameters.get(name, p.default) for name, p in model.core.parameters.items() if p.is_learnable}


def _equal(a: Tensor, b: Tensor, rounding: float) -> bool:
    return torch.equal(a, b) if not rounding else bool((a - b).abs().max() <= rounding * b.abs().max())


CHECKS = {name.removeprefix("check_"): check for name, check in sorted(globals().items()) if name.startswith("check_")}
