"""Names of a user's core: whatever they are, they work in every kernel, or the decorator refuses them by name."""

from __future__ import annotations

import copy
import itertools
import keyword

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError

# Of kernels on both devices, of layers and of modules; and some that a user would take.
_TEXT = """
    i v u z g g_v g_i share_v first last steps width batch neurons bits starts index events weight before current
    entry start head1 body1 exit1 latch1 more1 x x0 x1 u0 i1 room0 p0 out_ kernel team work row column value
    at j k b head inside matrix numbers sent driven here ahead fed_ next tl triton libdevice BLOCK AHEAD EACH ROWS WIDTH
    now_v next_v after_v ptr_v coefficient_x c0 array count dims T τ é
    training decay to double float half type cuda cpu train eval apply forward backward run state initial_state
    parameters buffers children modules add_module register_buffer operations declared learned ports is_spiking name
    log_x tau lambda_ cls args kwargs step plan trace spikes mask chunk threads stored previous drive
"""
NAMES = _TEXT.split()
REFUSED = {
    "port": ["out", "kept0", "trial12", "fed"],
    "state": ["out", "kept0", "trial12", "fed", "_v", "__init__"],
    "parameter": [
        *("out", "kept0", "trial12", "dt", "reset", "reset_amount", "alpha_v", "cos_f", "sin_f"),
        *("self", "core", "size", "learn", "detach_reset", "g_v"),
    ],
}


def source(role: str, names: list[str]) -> str:
    """Return a step in which each of `names` has a role, for one input or for each port an input."""
    ports, states, parameters = (names if role == each else [own] for each, own in zip(ROLES, OWN, strict=True))
    drive = " + ".join(f"{n:d}.0 * {name}" for n, name in enumerate(ports, start=1))
    total = f"{parameters[0]} * {states[0]} + 0.01 * ({drive})"
    total += "".join(f" + 0.01 * ({name} - 0.3)" for name in parameters[1:])
    total += "".join(f" + 0.01 * {name}" for name in states[1:])
    after = ["total_ * (1.0 - spikes_)", *(f"0.5 * {name} + {ports[0]}" for name in states[1:])]
    return (
        f"def step({', '.join((*ports, *states))}, *, {', '.join(parameters)}, spike):\n"
        f"    total_ = {total}\n    spikes_ = spike(total_ - 0.005)\n    return spikes_, {', '.join(after)}\n"
    )


ROLES, OWN = ("port", "state", "parameter"), ("port_", "state_", "parameter_")


def core_of(role: str, names: list[str]) -> ns.Core:
    scope: dict[str, object] = {}
    exec(source(role, names), scope)
    ports, states, parameters = (names if role == each else [own] for each, own in zip(ROLES, OWN, strict=True))
    made: ns.Core = ns.core(inputs=ports, state=states, parameters=dict.fromkeys(parameters, 0.3))(scope["step"])
    return made


def usable(role: str) -> list[str]:
    """Return the names that a core may have in this role, together."""
    names = [n for n in dict.fromkeys(NAMES) if not keyword.iskeyword(n) and n not in REFUSED[role]]
    taken = {f"{prefix}_{n}" for prefix in ("g", "share") for n in names}
    return [n for n in names if n not in taken]


CASES = [*itertools.product(ROLES, (0, 1), (False,)), ("parameter", 0, True), ("parameter", 1, True)]


@pytest.mark.parametrize(("role", "half", "learned"), CASES)
def test_every_name_works_in_the_kernels_of_every_operation(role, half, learned):
    torch.manual_seed(0)
    names = usable(role)[half::2]
    assert len(names) > 30
    core = core_of(role, names)
    layer = ns.layer(core)(dt=1e-3, size=4, learn=names if learned else ())
    currents = {port: torch.randn(5, 2, 4, requires_grad=True) for port in core.inputs}
    results = []
    for run in (layer.run, layer.run_reference):
        out, state, *_ = run(currents if len(currents) > 1 else next(iter(currents.values())))
        wanted = [*currents.values(), *layer.parameters()]
        found = torch.autograd.grad(out.sum() + sum(s.sum() for s in state), wanted)
        results.append([out, *state, *found])
    assert results[0][0].any() and not results[0][0].all()
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
    if role == "port":
        edges = [ns.Edge("input", "n", ns.Linear(3, 4), port=port) for port in names]
        net = ns.Network(nodes={"input": ns.Input(3), "n": layer}, edges=edges)
    else:
        net = ns.Network(
            nodes={"input": ns.Input(3), "other": copy.deepcopy(layer), "n": layer},
            edges=[
                ns.Edge("input", "other", ns.Linear(3, 4)),
                ns.Edge("other", "n", ns.Linear(4, 4)),
                ns.Edge("n", "n", ns.Linear(4, 4)),
            ],
        )
    out, _ = net(torch.rand(5, 2, 3))
    out.sum().backward()
    for name in core.parameters:
        assert torch.as_tensor(layer.value(name)).mean().item() == pytest.approx(0.3)
    net.double().train().to("cpu")
    assert net.state_dict().keys() == copy.deepcopy(net).state_dict().keys()


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in REFUSED.items() for name in names])
def test_the_decorator_refuses_other_names_by_name(role, name):
    with pytest.raises(InputError, match=rf"\['?.*\b{name}\b"):
        if name == "g_v":  # the gradient of a state variable v
            ns.core(parameters={name: 0.3})(lambda i, v, *, g_v: (i, g_v * v))
        else:
            core_of(role, [name])
