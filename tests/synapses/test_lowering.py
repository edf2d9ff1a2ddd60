"""The description of a synapse is what runs: of every kind, of subclasses, behind hooks; else the reason is given."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

import neurosim as ns
from neurosim.errors import InputError, ShapeError
from neurosim.synapses import BatchNorm, DelayedLinear, Identity, RoundedDelays, Scale, Standardised, Synapse
from neurosim.synapses.building import synapses_of
from neurosim.synapses.lowering import Convolution, Dense, Opaque, Pooling, Reshape, Scaling, Shifted, SparseRows
from neurosim.synapses.probing import probed
from neurosim.synapses.shift import Shift

DT = 1e-3


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def norm() -> BatchNorm:
    made = BatchNorm(3)
    for values in (made.weight, made.bias, made.running_mean, made.running_var):
        nn.init.uniform_(values, 0.5, 2.0)
    return made.eval()


KINDS = {
    "linear": (lambda: ns.Linear(7, 5, bias=True), (7,), Dense),
    "blocks": (lambda: ns.BlockLinear(6, 9, 3, bias=True), (6,), SparseRows),
    "sparse": (lambda: ns.Sparse.random(7, 5, 0.4), (7,), SparseRows),
    "conv1d": (lambda: ns.Conv1d(4, 6, 3, stride=2, padding=1, groups=2, bias=True), (4, 9), Convolution),
    "conv2d": (lambda: ns.Conv2d(2, 3, (3, 2), padding=(1, 0), dilation=(1, 2)), (2, 6, 5), Convolution),
    "mean": (lambda: ns.AvgPool2d(2), (2, 5, 4), Pooling),
    "sum": (lambda: ns.SumPool2d((3, 1), stride=2), (2, 5, 4), Pooling),
    "max": (lambda: ns.MaxPool2d(2, stride=1), (2, 5, 4), Pooling),
    "flatten": (lambda: ns.Flatten(), (2, 5, 4), Reshape),
    "scale": (lambda: Scale(torch.rand(2, 3), torch.rand(2, 3)), (2, 3), Scaling),
    "one scale": (lambda: Scale(0.5), (2, 3), Scaling),
    "identity": (lambda: Identity(), (2, 3), Scaling),
    "shift": (lambda: Shift(-2), (4,), Shifted),
    "norm": (norm, (3, 4), Scaling),
    "standardised": (lambda: Standardised(ns.Conv2d(2, 3, 2, bias=True), scale=2.0), (2, 4, 4), Convolution),
    "standardised rows": (lambda: Standardised(ns.Linear(6, 4)), (6,), Dense),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_description_computes_what_the_synapse_does(name: str) -> None:
    make, shape, kind = KINDS[name]
    synapse = make().double()
    value = synapse.lowered(shape)
    assert type(value) is kind
    x = torch.randn(11, *shape, dtype=torch.float64) * 5
    assert not any(t.requires_grad for t in vars(value).values() if isinstance(t, Tensor))
    torch.testing.assert_close(value.apply(x), synapse(x.unsqueeze(0))[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_the_matrix_found_by_running_is_that_of_the_description(name: str) -> None:
    make, shape, _ = KINDS[name]
    synapse = make()
    found = probed(synapse, shape)
    if name in ("max", "shift"):
        assert found == Opaque("is not linear in its input, or mixes steps or samples")
        return
    assert not isinstance(found, Opaque)
    x = torch.randn(5, *shape, dtype=torch.float64)
    wanted = synapse.double()(x.unsqueeze(0))[0]
    torch.testing.assert_close(found.apply(x), wanted, rtol=1e-9, atol=1e-9)


def test_a_matrix_found_by_running_has_the_weights_bit_for_bit() -> None:
    synapse = ns.Linear(300, 7)
    found = probed(synapse, (300,))
    assert isinstance(found, Dense) and torch.equal(found.weight, synapse.weight.detach().double())


def test_delays_are_described_in_steps() -> None:
    weight, delay = torch.randn(3, 4), torch.randint(0, 5, (3, 4))
    value = RoundedDelays(weight, delay, torch.rand(3), dt=DT).lowered((4,))
    assert isinstance(value, Dense) and value.delay is not None and torch.equal(value.delay, delay)
    value = DelayedLinear(4, 3, 5e-3, dt=DT).lowered((4,))
    assert isinstance(value, Dense) and value.delay is not None and value.delay.is_floating_point()


def test_a_shape_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"Linear: spikes must be \[T, B, 3\]"):
        ns.Linear(3, 2).lowered((4,))


# What runs is not what the class alone says.


class Doubled(ns.Linear):
    def apply_step(self, x: Tensor) -> Tensor:
        return 2 * super().apply_step(x)


class Mirrored(ns.Conv2d):
    def product(self, x: Tensor, weight: Tensor, bits: Any = None, active: Any = None) -> Tensor:
        return super().product(x, weight.flip(-1), bits, active)


class Halved(ns.SumPool2d):
    def forward(self, x: Tensor, bits: Any = None, active: Any = None) -> Tensor:
        return super().forward(x, bits, active) / 2


class Named(ns.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)

    def extra_repr(self) -> str:
        return "mine"


def hooked(hook: Any, before: bool = False) -> ns.Linear:
    layer = ns.Linear(4, 3)
    layer.register_forward_pre_hook(hook) if before else layer.register_forward_hook(hook)
    return layer


def replaced() -> ns.Linear:
    layer = ns.Linear(4, 3)
    layer.apply_step = types.MethodType(lambda self, x: 3 * (x @ self.weight.T), layer)  # type: ignore[method-assign]
    return layer


def pruned(old: bool) -> ns.Linear:
    layer = ns.Linear(4, 3)
    if old:
        prune.random_unstructured(layer, "weight", 0.5)
        return layer
    mask = torch.rand(3, 4) < 0.5

    class Masked(nn.Module):
        def forward(self, w: Tensor) -> Tensor:
            return w * mask

    parametrize.register_parametrization(layer, "weight", Masked())
    return layer


OTHERWISE = {
    "a subclass": (lambda: Doubled(4, 3, bias=True), (4,)),
    "a subclass of a convolution": (lambda: Mirrored(1, 2, 3, padding=1), (1, 4, 5)),
    "a subclass with another call": (lambda: Halved(2), (1, 4, 4)),
    "a hook": (lambda: hooked(lambda m, x, y: -y), (4,)),
    "a hook before": (lambda: hooked(lambda m, x: (x[0] * 0.5,), before=True), (4,)),
    "a replaced method": (replaced, (4,)),
    "pruned": (lambda: pruned(True), (4,)),
    "a pruned convolution": (
        lambda: prune.random_unstructured(ns.Conv2d(2, 3, 3, bias=True), "weight", 0.7),
        (2, 5, 4),
    ),
    "parametrised": (lambda: pruned(False), (4,)),
    "weight norm": (lambda: torch.nn.utils.weight_norm(ns.Linear(4, 3)), (4,)),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of the older weight_norm
@pytest.mark.parametrize("name", OTHERWISE)
def test_what_is_described_is_what_runs(name: str) -> None:
    make, shape = OTHERWISE[name]
    synapse = make()
    state = {key: value.clone() for key, value in synapse.state_dict().items()}
    value = synapse.lowered(shape)
    assert not isinstance(value, (Opaque, Pooling))
    assert isinstance(value, Convolution) == (name == "a pruned convolution")  # its hook only recomputes the weights
    x = torch.randn(6, *shape)
    torch.testing.assert_close(value.apply(x), synapse(x.unsqueeze(0))[0])
    # And the synapse is as it was, in its own precision.
    assert all(torch.equal(value, state[key]) for key, value in synapse.state_dict().items())
    assert all(t.dtype == torch.float32 for t in vars(synapse).values() if isinstance(t, Tensor))


def test_a_hook_that_only_looks_changes_nothing_and_a_plain_subclass_is_its_base() -> None:
    layer, other = hooked(lambda m, x, y: None), Named()
    for synapse in (layer, other):
        value = synapse.lowered((4,))
        assert isinstance(value, Dense) and torch.equal(value.weight.float(), synapse.weight.detach())
    assert other.lowered((4,)).weight.data_ptr() == other.weight.data_ptr()  # type: ignore[union-attr]


# A synapse that a user writes.


class LowRank(Synapse):
    """``A (B x)``, with its numbers in parameters of any name."""

    def __init__(self, n_in: int, n_out: int, rank: int, bias: bool = False) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(n_out, rank)), nn.Parameter(torch.randn(rank, n_in))
        self.offset = nn.Parameter(torch.randn(n_out)) if bias else None

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (len(self.a),)

    def apply_step(self, x: Tensor) -> Tensor:
        current = x @ self.b.T @ self.a.T
        return current if self.offset is None else current + self.offset


class Function(Synapse):
    """Any function of one step, of the same shape."""

    def __init__(self, function: Any, memory: int = 0) -> None:
        super().__init__()
        self.function, self.memory = function, memory

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def apply_step(self, x: Tensor) -> Tensor:
        current: Tensor = self.function(x)
        return current


def test_a_linear_synapse_of_one_s_own_is_its_matrix() -> None:
    synapse = LowRank(7, 5, 2, bias=True)
    value = synapse.lowered((7,))
    assert isinstance(value, Dense) and value.bias is not None and synapse.offset is not None
    torch.testing.assert_close(value.weight, synapse.a.detach().double() @ synapse.b.detach().double())
    torch.testing.assert_close(value.bias, synapse.offset.detach().double())
    rolled = Function(lambda x: x.roll(1, -1)).lowered((2, 50))
    assert isinstance(rolled, SparseRows) and rolled.out_shape == (2, 50) and len(rolled.weight) == 100
    fixed = torch.rand(3)  # no parameter: it stays in single precision
    alone = Function(lambda x: x * fixed).lowered((3,))
    assert isinstance(alone, Scaling) and torch.equal(alone.weight, fixed)


@pytest.mark.parametrize(
    "function",
    [
        torch.square,
        torch.relu,
        torch.round,
        torch.sin,
        lambda x: x.clamp(max=100.0),
        lambda x: x * (x.sum(1, keepdim=True) < 20),
        lambda x: x - x.mean(0, keepdim=True),
        lambda x: x + torch.rand(x.shape[-1], dtype=x.dtype),
        lambda x: nn.functional.dropout(x, 0.5),
        lambda x: x + 1e-6 * x.abs(),
    ],
)
def test_what_is_not_linear_is_found_out(function: Any) -> None:
    value = Function(function).lowered((40,))
    assert value == Opaque("is not linear in its input, or mixes steps or samples")


def test_what_mixes_steps_is_not_described() -> None:
    assert Function(lambda x: x, memory=2).lowered((3,)) == Opaque("combines spikes of several steps")

    class Filtered(Function):
        def forward(self, x: Tensor, bits: Any = None, active: Any = None) -> Tensor:
            return x.cumsum(0)

    assert isinstance(Filtered(None).lowered((3,)), Opaque)
    layer = BatchNorm(3)
    assert layer.lowered((3,)) == Opaque(
        "normalises by the statistics of each batch while it trains; call eval() on the network"
    )

    class Twice(RoundedDelays):
        def over(self, line: Tensor, *, through_time: bool = True) -> Tensor:
            return 2 * super().over(line, through_time=through_time)

    for delays in (torch.tensor([[2]]), torch.tensor([[0]])):
        assert isinstance(Twice(torch.ones(1, 1), delays, dt=DT).lowered((1,)), Opaque)


def test_numbers_that_are_not_finite_are_named() -> None:
    assert Function(lambda x: x / 0.0).lowered((3,)) == Opaque("returns NaN or infinity")


# Back to synapses, and what readers do with a value.


@pytest.mark.parametrize("name", KINDS)
def test_a_description_makes_the_synapse_again(name: str) -> None:
    make, shape, _ = KINDS[name]
    synapse = make()
    (again,) = synapses_of(synapse.lowered(shape), shape, dt=DT)
    x = (torch.rand(3, 4, *shape) < 0.4).float()
    torch.testing.assert_close(again(x), synapse(x), check_dtype=False)
    if name not in ("blocks", "norm", "standardised", "standardised rows"):
        assert type(again) is type(synapse)
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), synapse.parameters(), strict=True))
    assert not {p.data_ptr() for p in again.parameters()} & {p.data_ptr() for p in synapse.parameters()}


def test_a_matrix_of_an_image_is_behind_a_flatten() -> None:
    class Even(Function):
        def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
            return (4,)

    value = Even(lambda x: x.flatten(1)[:, ::2] * 3).lowered((2, 4))
    assert isinstance(value, SparseRows)
    flatten, synapse = synapses_of(value, (2, 4), dt=DT)
    x = torch.rand(3, 2, 2, 4, dtype=torch.float64)
    assert type(flatten) is ns.Flatten and type(synapse) is ns.Sparse
    torch.testing.assert_close(synapse(flatten(x)), x.flatten(2)[..., ::2] * 3)


def test_delays_make_the_synapse_again() -> None:
    synapse = RoundedDelays(torch.randn(3, 4), torch.randint(0, 5, (3, 4)), torch.rand(3), dt=DT)
    (again,) = synapses_of(synapse.lowered((4,)), (4,), dt=DT)
    x = (torch.rand(9, 2, 4) < 0.4).float()
    assert isinstance(again, RoundedDelays) and torch.equal(again(x)[0], synapse(x)[0])
    with pytest.raises(InputError, match=r"round them with DelayedLinear.rounded\(\)"):
        synapses_of(DelayedLinear(4, 3, 5e-3, dt=DT).lowered((4,)), (4,), dt=DT)
    with pytest.raises(InputError, match=r"onto a population of shape \[2, 50\]; make the population one row"):
        synapses_of(Function(lambda x: x.roll(1, -1)).lowered((2, 50)), (2, 50), dt=DT)
    (reshape,) = synapses_of(Reshape((2, 2)), (4,), dt=DT)
    assert torch.equal(reshape(x), x.view(9, 2, 2, 2))


@pytest.mark.parametrize("name", ["linear", "blocks", "sparse", "conv1d", "conv2d"])
def test_a_factor_of_each_neuron_multiplies_its_current(name: str) -> None:
    make, shape, kind = KINDS[name]
    value = make().lowered(shape)
    x = torch.randn(4, *shape)
    current = value.apply(x)
    out = tuple(current.shape[1:])
    factor = torch.rand(out[0], *[1] * (len(out) - 1)) + 0.5
    rows = value.row_factors(factor, out)
    torch.testing.assert_close(value.times(rows).apply(x), current * factor)
    plus = torch.rand(out[0])
    torch.testing.assert_close(
        value.times(rows, plus).apply(x), current * factor + plus.view(-1, *[1] * (len(out) - 1))
    )
    torch.testing.assert_close(value.times(torch.tensor(3.0)).apply(x), 3 * current)
    differing = value.row_factors(torch.rand(out), out)
    assert (differing is None) == (kind is Convolution)


def test_synapses_of_one_pair_add_up() -> None:
    places = torch.tensor([0, 0, 1]), torch.tensor([2, 2, 0])
    value = SparseRows(2, 3, *places, torch.tensor([1.0, 2.0, 5.0]))
    assert value.matrix().tolist() == [[0, 0, 3], [5, 0, 0]]
    assert value.apply(torch.tensor([[1.0, 1.0, 1.0]])).tolist() == [[3.0, 5.0]]


def test_a_scaling_is_a_list_of_connections() -> None:
    value = Scaling(torch.rand(2, 3), torch.tensor(0.5))
    x = torch.rand(4, 2, 3)
    torch.testing.assert_close(value.rows((2, 3)).apply(x), value.apply(x))
    assert Scaling(torch.ones(3)).is_identity and not value.is_identity
