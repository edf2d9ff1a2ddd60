"""Recurrent layers on CUDA against a loop over steps with autograd; without a GPU in Triton's interpreter."""

from __future__ import annotations

import dataclasses
import functools
import os
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.compiler.plan import Plan, known
from neurosim.compiler.program import record
from neurosim.cores import alif, cubalif, integrate_and_fire, leaky_integrator, lif
from neurosim.kernels.recurrent.arguments import Call, Outputs, Saved
from neurosim.kernels.recurrent.operator import run_recurrent
from neurosim.language import Core, Reset, core
from tests.margin import assert_parts_only_at_threshold
from tests.user_cores import coba

pytest.importorskip("triton")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when a kernel is made, so not too late here

from neurosim.kernels.neurons import cuda  # noqa: E402
from neurosim.kernels.recurrent import cuda as cuda_recurrent  # noqa: E402
from neurosim.kernels.recurrent import cuda_graphs  # noqa: E402

# What one rounding to the precision of the arrays may change; the interpreter cuts a bfloat16 off.
LAST_PLACE = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-7}


@dataclasses.dataclass
class Run:
    """Output, final states, distance to threshold, and gradients by name."""

    out: Tensor
    states: list[Tensor]
    distance: Tensor
    gradients: dict[str, Tensor]


class Case:
    """A recurrent layer with random data, run by the definition and by the kernels."""

    def __init__(
        self,
        neuron: Core,
        T: int = 5,
        B: int = 3,
        heads: int = 1,
        n: int = 16,
        *,
        dtype: torch.dtype = torch.float64,
        weight: torch.dtype | None = None,
        per_neuron: tuple[str, ...] = (),
        reset: Reset | None = None,
        through_time: bool = True,
        port: int = 0,
        scale: tuple[float, float, float] = (10.0, 3.0, 10.0),
    ) -> None:
        self.core, self.dtype, self.port = neuron, dtype, port
        spike, reset = ns.atan(2.0), reset or Reset()
        recorded = ("z",) if "spike" in neuron.wants else ()
        self.plan = Plan(record(neuron, spike, reset, per_neuron), True, through_time, recorded)
        self.choices = {k: v for k, v in {"spike": spike, "reset": reset}.items() if k in neuron.wants}
        value = {k: neuron.parameters[k].default if k in neuron.parameters else 0.9 for k in neuron.coefficients}
        value["dt"] = 1e-3
        self.numbers = {k: value[k] for k in neuron.coefficients if k not in per_neuron}
        real = cuda.arithmetic(dtype)

        def random(*size: int, dtype: torch.dtype = real) -> Tensor:
            return torch.randn(size, dtype=real, device=DEVICE).to(dtype)

        width = heads * n
        spread, mean, strength = scale

        def current() -> Tensor:
            return (random(T, B, width) * spread + mean).to(dtype)

        self.drive = current()
        self.weight = (random(heads, n, n) * strength * n**-0.5).to(weight or dtype)
        self.others = {name: current() for k, name in enumerate(neuron.inputs) if k != port}
        self.z0 = (random(B, width) > 0.5).to(dtype)
        self.state = [random(B, width) * 0.3 for _ in neuron.state]
        self.tensors = {k: value[k] * (1.0 + 0.05 * random(width).abs()) for k in per_neuron}
        self.g_out, self.g_last = random(T, B, width, dtype=dtype), random(B, width, dtype=dtype)
        self.g_states = [random(B, width) for _ in neuron.state]

    def _loop(self, leaves: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Run the definition; what is not float64 is widened first, so the inputs are the same."""
        heads, n, _ = self.weight.shape
        z, state = leaves["z0"], tuple(leaves[f"start {k}"] for k in self.core.state)
        tensors = {k: leaves[k].expand_as(z) for k in self.tensors}
        outputs, distances = [], []

        def watched(x: Tensor) -> Tensor:
            distances.append(x.detach())
            return self.choices["spike"](x)

        for t, driven in enumerate(leaves["drive"]):
            others = [leaves[name][t] for name in self.others]

            def inputs(i: Tensor, others: list[Tensor] = others) -> list[Tensor]:
                return [*others[: self.port], i, *others[self.port :]]

            if not self.plan.through_time:
                z, state = z.detach(), tuple(s.detach() for s in state)
            comes_back = torch.einsum("hij,bhj->bhi", leaves["weight"], z.view(-1, heads, n)).reshape(z.shape)
            given = {**self.numbers, **tensors, **self.choices}
            z, *new = self.core(*inputs(driven + comes_back), *state, **given)
            if "spike" in self.choices:
                self.core(*inputs((driven + comes_back).detach()), *state, **{**given, "spike": watched})
            state = tuple(new)
            outputs.append(z)
        return torch.stack(outputs), state, torch.stack(distances) if distances else torch.stack(outputs).detach()

    def reference(self, dtype: torch.dtype = torch.float64) -> Run:
        start = {f"start {k}": s for k, s in zip(self.core.state, self.state, strict=True)}
        given = {"drive": self.drive, "weight": self.weight, "z0": self.z0, **start, **self.tensors, **self.others}
        leaves = {k: v.detach().to(dtype).requires_grad_() for k, v in given.items()}
        out, state, distance = self._loop(leaves)
        ends = [out, out[-1], *state]
        cotangents = [g.to(dtype) for g in (self.g_out, self.g_last, *self.g_states)]
        found = torch.autograd.grad(ends, list(leaves.values()), cotangents, allow_unused=True, materialize_grads=True)
        return Run(out.detach(), [s.detach() for s in state], distance, dict(zip(leaves, found, strict=True)))

    def run(self) -> tuple[Outputs, Saved]:
        plan, coefficients = self.plan, list(self.tensors.values())
        numbers = [plan.host_values(u, self.numbers) for u in (plan.forward_uniforms, plan.backward_uniforms)]
        arguments = (known(plan), self.drive, self.weight, self.z0, self.state, coefficients, *numbers)
        call = Call(*arguments, others=list(self.others.values()), port=self.port)
        outputs = cuda_recurrent.forward(call)
        return outputs, run_recurrent.save(call, outputs)

    def fused(self) -> Run:
        plan, (outputs, saved) = self.plan, self.run()
        out, after, stored = outputs.out, outputs.state, outputs.stored
        assert torch.equal(outputs.last, out[-1] if len(out) else self.z0.expand(outputs.last.shape))
        g_drive, *found = cuda_recurrent.backward(saved, [self.g_out, self.g_last, *self.g_states])
        heads, n, _ = self.weight.shape
        before = torch.cat([self.z0[None], out])[: len(out)].double().unflatten(2, (heads, n))
        if self.plan.recorded:
            assert torch.equal(stored[plan.recording("z")], out)
        by_head = g_drive.double().unflatten(2, (heads, n))
        g_weight = torch.einsum("tbhi,tbhj->hij", by_head, before) * plan.through_time
        names = ["z0", *(f"start {k}" for k in self.core.state), *self.tensors, *self.others]
        gradients = {"drive": g_drive, "weight": g_weight, **dict(zip(names, found, strict=True))}
        return Run(out, after, out, gradients)

    def check(self, tolerance: float, gradient_tolerance: float | None = None) -> tuple[Run, Run]:
        """Compare with the definition in double precision; nothing here stands within the tolerance of threshold."""
        wanted, got = self.reference(), self.fused()
        if "spike" in self.choices:
            assert assert_parts_only_at_threshold(got.out.double(), wanted.out, wanted.distance, tolerance) == 0
            assert 0.05 < wanted.out.mean() < 0.95
        for name, a, b in zip(
            ("out", *self.core.state), (got.out, *got.states), (wanted.out, *wanted.states), strict=True
        ):
            _close(name, a, b, tolerance)
        for name, gradient in wanted.gradients.items():
            if name in self.tensors:  # the kernel gives each row's share
                assert got.gradients[name].shape == self.drive.shape[1:]
                got.gradients[name] = got.gradients[name].double().sum(0)
            if name == "weight" and not self.plan.through_time:
                continue
            _close(f"gradient of {name}", got.gradients[name], gradient, gradient_tolerance or tolerance)
        return wanted, got


def _close(name: str, a: Tensor, b: Tensor, tolerance: float) -> None:
    """Compare as sums are compared: relative to the largest of all."""
    assert a.shape == b.shape, name
    away = (a.double() - b).abs().max().item() / max(b.abs().max().item(), 1.0)
    assert away <= tolerance, f"{name}: {away:.2e} away, allowed {tolerance:.0e}"


@pytest.fixture(params=["one kernel", "step by step"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run as narrow layers do, and as wide ones do; see that it was so."""
    if request.param == "step by step":
        monkeypatch.setattr(cuda_graphs, "LARGEST", 2)
        for real in cuda_recurrent.WIDEST:
            monkeypatch.setitem(cuda_recurrent.WIDEST, real, 0)
    launches: list[str] = []
    launch = cuda_recurrent._launch

    def noted(*arguments: Any) -> None:
        launches.append("one kernel")
        launch(*arguments)

    monkeypatch.setattr(cuda_recurrent, "_launch", noted)
    yield request.param
    assert bool(launches) == (request.param == "one kernel")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("neuron", [lif, cubalif, alif, integrate_and_fire, leaky_integrator], ids=lambda c: c.name)
def test_equals_the_loop(neuron: Core) -> None:
    Case(neuron).check(1e-11)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("T", "B", "heads", "n"), [(1, 1, 1, 1), (5, 17, 1, 3), (4, 3, 2, 17), (3, 16, 3, 16), (6, 2, 1, 33)]
)
def test_sizes(T: int, B: int, heads: int, n: int) -> None:
    case = Case(lif, T, B, heads, n)
    wanted, got = case.reference(), case.fused()
    assert torch.equal(got.out, wanted.out)
    for name, gradient in wanted.gradients.items():
        _close(name, got.gradients[name], gradient, 1e-11)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("through_time", [True, False])
@pytest.mark.parametrize("port", [0, 1])
def test_a_loop_on_each_port(port: int, through_time: bool) -> None:
    case = Case(coba, port=port, heads=2, n=9, per_neuron=("e_inh",), through_time=through_time, scale=(0.3, 0.5, 1.0))
    _, got = case.check(1e-11)
    assert all(got.gradients[name].any() for name in ("drive", *case.others)) and set(case.others) < {"ge", "gi"}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("mode", ["value", "subtract", None])
@pytest.mark.parametrize("detached", [True, False])
def test_every_reset(mode: Any, detached: bool) -> None:
    Case(lif, reset=Reset(mode, detached)).check(1e-11)


@pytest.mark.usefixtures("way")
def test_a_coefficient_for_each_neuron() -> None:
    _, got = Case(alif, per_neuron=alif.coefficients, heads=2, n=9).check(1e-10)
    assert all(got.gradients[name].any() for name in alif.coefficients)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("neuron", [lif, alif], ids=lambda c: c.name)
def test_nothing_passes_from_step_to_step_without_time(neuron: Core) -> None:
    _, got = Case(neuron, through_time=False, per_neuron=("v_th",)).check(1e-11)
    assert not got.gradients["z0"].any() and got.gradients["drive"].any()
    assert not any(got.gradients[f"start {name}"].any() for name in neuron.state)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("neuron", [lif, leaky_integrator], ids=lambda c: c.name)
def test_single_precision(neuron: Core) -> None:
    Case(neuron, dtype=torch.float32, n=17).check(2e-5)


@pytest.mark.parametrize("dtype", list(LAST_PLACE), ids=str)
@pytest.mark.parametrize("neuron", [lif, cubalif], ids=lambda c: c.name)
def test_half_precision_in_one_kernel(neuron: Core, dtype: torch.dtype) -> None:
    # Forward all sums are in single precision; backward what goes round is rounded once a step.
    Case(neuron, dtype=dtype, n=17).check(2e-5, 5 * LAST_PLACE[dtype])


@pytest.mark.parametrize("dtype", list(LAST_PLACE), ids=str)
def test_half_precision_step_by_step(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    for real in cuda_recurrent.WIDEST:
        monkeypatch.setitem(cuda_recurrent.WIDEST, real, 0)
    case = Case(lif, dtype=dtype, n=17)
    wanted, got = case.reference(), case.fused()
    # Currents, up to about 16, are rounded to half on their way to the neuron.
    assert_parts_only_at_threshold(got.out.double(), wanted.out, wanted.distance, 16 * LAST_PLACE[dtype])
    assert got.out.dtype == got.gradients["drive"].dtype == dtype and got.states[0].dtype == torch.float32


def test_a_matrix_in_half_with_currents_in_single() -> None:
    case = Case(lif, dtype=torch.float32, weight=torch.bfloat16)
    case.check(2e-5, 5 * LAST_PLACE[torch.bfloat16])


@core(parameters=dict(k=0.0), state=("v",))
def without_a_number_at_rest(i: Any, v: Any, *, k: Any) -> Any:
    """Zero over zero where a neuron is not there."""
    u = i / k + 0.5 * v
    return u, u


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
def test_what_is_not_there_does_not_reach_the_others() -> None:
    case = Case(without_a_number_at_rest, n=5, per_neuron=("k",))
    case.tensors["k"] = torch.full((5,), 4.0, dtype=torch.float64, device=DEVICE)
    case.check(1e-11)


@pytest.mark.usefixtures("way")
def test_without_a_gradient_of_the_last_output() -> None:
    case = Case(lif)
    case.g_last.zero_()
    wanted = case.reference()
    g_drive, *_ = cuda_recurrent.backward(case.run()[1], [case.g_out, None, *case.g_states])
    _close("drive", g_drive, wanted.gradients["drive"], 1e-11)


@pytest.mark.usefixtures("way")
def test_no_steps() -> None:
    case = Case(alif, T=1)
    case.drive, case.g_out = case.drive[:0], case.g_out[:0]
    got = case.fused()
    assert got.out.shape == (0, 3, 16)
    assert all(torch.equal(a, b) for a, b in zip(got.states, case.state, strict=True))
    assert torch.equal(got.gradients["start v"], case.g_states[0])


@pytest.mark.usefixtures("way")
def test_arguments_stay_as_they_are_and_may_have_holes() -> None:
    case = Case(cubalif, heads=2, n=8, per_neuron=("v_th",))
    plain = case.fused()
    for name in ("drive", "weight", "z0", "g_out", "g_last"):
        value = getattr(case, name)
        setattr(case, name, torch.stack([value, value], dim=-1)[..., 0])
    case.state = [s.t().contiguous().t() for s in case.state]
    given = [case.drive, case.weight, case.z0, case.g_out, case.g_last, *case.state, *case.g_states]
    before = [x.clone() for x in given]
    holed = case.fused()
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))
    assert torch.equal(plain.out, holed.out)
    assert all(torch.equal(plain.gradients[name], holed.gradients[name]) for name in plain.gradients)


CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)


def test_which_layers_fit_registers() -> None:
    assert cuda_recurrent.fits(256, torch.bfloat16, CPU) and not cuda_recurrent.fits(257, torch.float16, CPU)
    assert cuda_recurrent.fits(128, torch.float32, CPU) and not cuda_recurrent.fits(129, torch.float32, CPU)
    assert cuda_recurrent.fits(64, torch.float64, CPU) and not cuda_recurrent.fits(65, torch.float64, CPU)


# Compute capability, its shared memory, and the widest layer in one kernel in float32, half and double precision.
CHIPS = {
    "T4": ((7, 5), 65536, (0, 0, 0)),
    "A100": ((8, 0), 166912, (128, 256, 64)),
    "RTX 3090, A10": ((8, 6), 101376, (64, 128, 64)),
    "RTX 4090, L4": ((8, 9), 101376, (64, 128, 64)),
    "H100": ((9, 0), 232448, (128, 256, 64)),
    "RTX 5090": ((12, 0), 101376, (64, 128, 64)),
}


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that lets torch name a chip that is not here."""

    def chosen(name: str) -> None:
        capability, optin, _ = CHIPS[name]
        properties = types.SimpleNamespace(major=capability[0], shared_memory_per_block_optin=optin)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        cuda_recurrent.shared_limit.cache_clear()

    yield chosen
    cuda_recurrent.shared_limit.cache_clear()


@pytest.mark.parametrize("name", CHIPS)
def test_a_layer_runs_in_one_kernel_only_where_the_chip_has_the_shared_memory(
    name: str, chip: Callable[[str], None]
) -> None:
    chip(name)
    for dtype, widest in zip((torch.float32, torch.bfloat16, torch.float64), CHIPS[name][2], strict=True):
        fitting = [n for n in range(1, 300) if cuda_recurrent.fits(n, dtype, CUDA)]
        assert fitting == list(range(1, widest + 1))


def test_amd_takes_the_other_way(monkeypatch: pytest.MonkeyPatch, chip: Callable[[str], None]) -> None:
    chip("H100")
    monkeypatch.setattr(torch.version, "hip", "6.4")
    cuda_recurrent.shared_limit.cache_clear()
    assert not cuda_recurrent.fits(1, torch.float32, CUDA) and not cuda_graphs.can_capture(CUDA)


@pytest.mark.parametrize(("version", "fits"), [("3.2.0", False), ("3.5.1", False), ("3.6.0", True), ("4.0", True)])
def test_double_precision_needs_a_triton_that_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, version: str, fits: bool
) -> None:
    monkeypatch.setattr(cuda_recurrent.importlib.metadata, "version", lambda name: version)
    cuda_recurrent._multiplies_doubles.cache_clear()
    assert cuda_recurrent.fits(64, torch.float64, CPU) is fits and cuda_recurrent.fits(64, torch.float32, CPU)
    cuda_recurrent._multiplies_doubles.cache_clear()


@pytest.mark.parametrize("backwards", [False, True])
def test_a_refused_launch_takes_the_other_way_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, backwards: bool
) -> None:
    launch, refused = cuda_recurrent._launch, []

    def refuse(plan: Plan, is_backward: bool, *rest: Any) -> None:
        if is_backward == backwards:
            refused.append(is_backward)
            raise cuda_recurrent.OutOfResources(147456, 101376, "shared memory")
        launch(plan, is_backward, *rest)

    monkeypatch.setattr(cuda_recurrent, "_launch", refuse)
    monkeypatch.setattr(cuda_recurrent, "_too_large", set())
    with pytest.warns(RuntimeWarning, match=r"16 neurons in torch.float64 run step by step .*Required: 147456") as seen:
        Case(lif).check(1e-11)
        Case(lif).check(1e-11)
    assert len(refused) == 1 and len(seen) == 1


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let a graph be the function it was made from, launched anew; return what happened."""
    happened: list[str] = []
    cuda_recurrent.graphs.clear()

    def capture(once: Callable[[], list[Tensor]]) -> tuple[list[Tensor], Callable[[], None]]:
        happened.append("captured")
        results = once()

        def replay() -> None:
            happened.append("replayed")
            for ours, anew in zip(results, once(), strict=True):
                ours.copy_(anew)

        return results, replay

    def run(body: functools.partial[list[Tensor]], arrays: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        found = cuda_recurrent.graphs.again(cuda_graphs.key_of(body, arrays), body, arrays, capture)
        cuda_graphs._copy(found, results)

    monkeypatch.setattr(cuda_recurrent.graphs, "run", run)
    for real in cuda_recurrent.WIDEST:
        monkeypatch.setitem(cuda_recurrent.WIDEST, real, 0)
    return happened


def test_the_second_run_is_captured_and_replayed_from_then_on(captured: list[str]) -> None:
    first, second, third = (Case(lif, T=4) for _ in range(3))
    first.check(1e-11)
    assert captured == []
    second.check(1e-11)
    assert captured == ["captured", "replayed"] * 2  # one for each direction
    kept = second.fused()
    before = kept.out.clone()
    third.check(1e-11)
    assert captured.count("captured") == 2 and captured.count("replayed") == 6
    assert torch.equal(kept.out, before)  # what a run returned is its own


def test_a_long_run_replays_one_graph(captured: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "LARGEST", 2)
    Case(lif, T=7).check(1e-11)  # of three parts of two steps the second captures; then one of one step
    assert captured == ["captured", "replayed", "replayed"] * 2
    captured.clear()
    Case(lif, T=9).check(1e-11)
    assert captured == [*["replayed"] * 4, "captured", "replayed", "captured", "replayed", *["replayed"] * 4]


def test_another_shape_is_another_graph_and_the_oldest_go(captured: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "GRAPHS", 6)
    for B in range(1, 6):
        Case(lif, 1, B, n=2).fused()
    assert captured == [] and len(cuda_recurrent.graphs._seen) == 6
    Case(lif, 1, 1, n=2).fused()  # forgotten meanwhile
    assert captured == []
    Case(lif, 1, 1, n=2).fused()
    assert captured.count("captured") == 2
