"""Forward methods with skips and branches: equal spikes, or refused by name; the verdict of each layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import neurosim as ns
from neurosim.exchange.peers import ConversionError, examine, from_norse, from_sinabs, from_snntorch, from_spikingjelly

snn = pytest.importorskip("snntorch")
norse = pytest.importorskip("norse.torch")
neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
sl = pytest.importorskip("sinabs.layers")
from sinabs.activation import SingleSpike  # noqa: E402
from spikingjelly.activation_based import functional as sj_functional  # noqa: E402

DT, STEPS, BATCH = 1e-3, 60, 2


class Block(nn.Module):
    """A residual block, its skip after the neurons."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.norm = nn.BatchNorm2d(channels)
        self.sn1, self.sn2 = neuron.IFNode(), neuron.LIFNode(v_reset=None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.sn1(self.norm(self.conv1(x)))
        return self.sn2(self.conv2(y)) + x


class Residual(nn.Module):
    """A residual network with a projection and a sum before the neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3), neuron.IFNode())
        self.blocks = nn.ModuleList([Block(4), Block(4)])
        self.down, self.project = nn.Conv2d(4, 6, 3, stride=2), nn.Conv2d(4, 6, 3, stride=2, bias=False)
        self.sn = neuron.IFNode()
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = self.sn(self.down(x) + self.project(x) * 0.5)
        x = functional.adaptive_avg_pool2d(functional.relu(x), 1)
        x = functional.dropout(x, 0.5, self.training)
        return self.head(torch.flatten(x, 1))


def spikes(*shape: int) -> Tensor:
    return (torch.rand(STEPS, BATCH, *shape) < 0.5).double()


def test_a_residual_network() -> None:
    net = Residual().double().eval()
    with torch.no_grad():
        for value in net.parameters():
            value.mul_(3.0)
        for block in net.blocks:
            block.conv1.bias.fill_(0.4), block.conv2.bias.fill_(0.9)
    x = spikes(1, 8, 8)
    sj_functional.reset_net(net)
    with torch.no_grad():
        theirs = torch.stack([net(i) for i in x])
        ours = from_spikingjelly(net, dt=DT, input_shape=(1, 8, 8))
        sent, _, values, *_ = ours.run(x, record=tuple(ours.neurons()))
    fires = [name for name, node in ours.neurons().items() if node.is_spiking]
    assert len(fires) == 6 and all(values[name].sum() > 50 for name in fires)
    torch.testing.assert_close(sent, theirs, rtol=1e-9, atol=1e-12)
    assert not net.training and isinstance(ours, ns.Network)


class WithState(nn.Module):
    """snnTorch as its tutorials write it, one step: the caller holds the membranes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.skip = nn.Linear(12, 9), nn.Linear(9, 4), nn.Linear(12, 4)
        self.lif1, self.lif2 = snn.Leaky(0.5, reset_mechanism="zero"), snn.Leaky(0.75, reset_mechanism="none")

    def forward(self, x: Tensor, mem1: Tensor, mem2: Tensor) -> Any:
        spk1, mem1 = self.lif1(self.fc1(x), mem1)
        spk2, mem2 = self.lif2(self.fc2(spk1) - self.skip(x), mem2)
        return spk2, mem1, mem2


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(12, 9), nn.Linear(9, 4)
        self.lif1 = snn.Leaky(0.5, reset_mechanism="zero", init_hidden=True)
        self.lif2 = snn.Leaky(0.75, reset_mechanism="zero", init_hidden=True, output=True)

    def forward(self, x: Tensor) -> Any:
        return self.lif2(self.fc2(self.lif1(self.fc1(x))))


def test_snntorch() -> None:
    net, x = WithState(), spikes(12).float()
    with torch.no_grad():
        net.fc1.weight.mul_(4), net.fc2.weight.mul_(4)
        state, theirs = (torch.zeros(BATCH, 9), torch.zeros(BATCH, 4)), []
        for i in x:
            sent, *state = net(i, *state)
            theirs.append(sent)
        ours, _ = from_snntorch(net, dt=DT, input_shape=12)(x)
    assert torch.equal(ours, torch.stack(theirs)) and ours.sum() > 50
    hidden = Hidden()
    with torch.no_grad():
        hidden.fc1.weight.mul_(4), hidden.fc2.weight.mul_(4)
        stacked = torch.stack([hidden(i)[0] for i in x])
        ours, _ = from_snntorch(hidden, dt=DT, input_shape=12)(x)
    assert torch.equal(ours, stacked) and ours.sum() > 50


class Branches(nn.Module):
    def __init__(self, fast: nn.Module, slow: nn.Module) -> None:
        super().__init__()
        self.mix, self.fast, self.slow, self.read = nn.Linear(12, 9), fast, slow, nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(x)
        return self.read(self.fast(x) + self.slow(x))


class NorseBranches(Branches):
    def forward(self, x: Tensor, states: Any = (None, None)) -> Any:
        x = self.mix(x)
        fast, first = self.fast(x, states[0])
        slow, second = self.slow(x, states[1])
        return self.read(fast + slow), (first, second)


def test_sinabs() -> None:
    x = spikes(12).float()
    net = Branches(sl.LIF(3.0, spike_fn=SingleSpike), sl.IAF(spike_fn=SingleSpike)).eval()
    with torch.no_grad():
        net.mix.weight.mul_(5)
        ours, _ = from_sinabs(net, dt=DT, input_shape=12)(x)
        theirs = net(x.transpose(0, 1)).transpose(0, 1)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert ours.std() > 0.05


class Reads(nn.Module):
    """Modules whose forward methods compute what no network does."""

    def __init__(self, run: Any) -> None:
        super().__init__()
        self.fc, self.sn, self.run = nn.Linear(4, 4), neuron.IFNode(), run
        self.register_buffer("v", torch.zeros(4))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def remember(self: Any, x: Tensor) -> Tensor:
    self.v = 0.9 * self.v + self.fc(x)
    return self.sn(self.v)


def count(self: Any, x: Tensor) -> Tensor:
    self.calls = getattr(self, "calls", 0) + 1
    return self.sn(self.fc(x))


def step(self: Any, x: Tensor) -> Tensor:
    self.v.add_(1.0)
    return self.sn(self.fc(x) if self.v[0] > 3 else x)


def record(self: Any, x: Tensor) -> Tensor:
    self.seen.append(x)
    return self.sn(self.fc(x))


def in_place(self: Any, x: Tensor) -> Tensor:
    y = self.fc(x)
    kept = y
    y += x
    return self.sn(y + kept)  # kept was changed too


def in_place_of_the_input(self: Any, x: Tensor) -> Tensor:
    x += 1.0 * self.fc(x)
    return self.sn(x)


def spikes_in_place(self: Any, x: Tensor) -> Tensor:
    z = self.sn(x)
    z += x
    return z


REFUSED = {
    "spikes in place": (spikes_in_place, "changes a value in place that may be read elsewhere"),
    "a sum in place": (in_place, "at 'iadd' its forward method changes a value in place that may be read elsewhere"),
    "the input in place": (in_place_of_the_input, "changes a value in place that may be read elsewhere"),
    "no such setting": (lambda self, x: functional.interpolate(x, antialias=True), "calls interpolate with"),
    "a buffer in place": (step, "changes the attribute 'v' of Reads"),
    "a list": (record, "changes the attribute 'seen' of Reads"),
    "a state of its own": (
        remember,
        "changes the attribute 'v' of Reads: a state that cannot be read|cannot assign .* as buffer 'v'",
    ),
    "an attribute": (count, "changes the attribute 'calls' of Reads"),
    "a buffer": (lambda self, x: self.sn(self.fc(x) + self.v), r"reads the tensor 'v', which has no equivalent"),
    "a decision": (lambda self, x: self.fc(x) if x.sum() > 0 else x, "cannot be read: .*symbolically traced"),
    "a loop over time": (lambda self, x: self.sn(self.fc(x[0])), "takes parts of a value: a loop over time"),
    "a product": (lambda self, x: self.sn(self.fc(x) * x), "at 'mul' its forward method calls mul"),
    "joined channels": (lambda self, x: torch.cat((x, x), 1), "calls cat, which has no equivalent"),
    "one neuron twice": (lambda self, x: self.sn(self.fc(self.sn(x))), "is the same object as layer"),
    "no layer": (lambda self, x: x.exp(), "at 'exp' its forward method calls exp"),
    "dropout in evaluation": (lambda self, x: functional.dropout(self.fc(x)), "drops inputs in evaluation too"),
    "two values": (lambda self, x: (self.fc(x), self.sn(x)), "must return one value, or one and the states"),
    "rectified currents": (lambda self, x: self.sn(torch.relu(self.fc(x))), "rectifies currents"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str) -> None:
    run, message = REFUSED[name]
    module = Reads(run)
    before = dict(vars(module)), module.v
    with pytest.raises(ConversionError, match=message):
        from_spikingjelly(module, dt=DT, input_shape=4)
    assert vars(module) == before[0] and module.v is before[1] and isinstance(module.v, Tensor)
    assert module.seen == [] and not module.v.any()


def test_a_sum_in_place_of_a_value_that_nothing_else_reads() -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        y = self.fc(x)
        y += x
        y *= 0.5
        return self.sn(y)

    module, x = Reads(run).double(), spikes(4) * 3
    with torch.no_grad():
        theirs = torch.stack([module(i) for i in x])
        ours, _ = from_spikingjelly(module, dt=DT, input_shape=4)(x)
    assert torch.equal(ours, theirs) and ours.sum() > 30


def test_choices_with_a_default_are_taken() -> None:
    class Chooses(Reads):
        def forward(self, x: Tensor, twice: bool = False, mode: str = "plain") -> Tensor:
            x = self.fc(x) if mode == "plain" else x
            return self.sn(x + x if twice else x)

    net = from_spikingjelly(Chooses(None), dt=DT, input_shape=4)
    assert [edge.name for edge in net.edges] == ["input->integrate_and_fire1"]


def test_states_of_snntorch_are_those_of_the_caller() -> None:
    class Membrane(WithState):
        def forward(self, x: Tensor, mem1: Tensor, mem2: Tensor) -> Any:
            _, mem1 = self.lif1(self.fc1(x), mem1)
            return self.fc2(mem1)

    class Fresh(WithState):
        def forward(self, x: Tensor, *mem: Tensor) -> Any:
            return self.lif1(self.fc1(x), torch.zeros(2, 9))[0]

    class Unrolled(WithState):
        def forward(self, x: Tensor, mem1: Tensor, *mem: Tensor) -> Any:
            spk, mem1 = self.lif1(self.fc1(x), mem1)
            spk, mem1 = self.lif1(self.fc1(x), mem1)
            return spk, mem1

    for net, message in (
        (Membrane(), "gives it something else than one value"),
        (Fresh(), "reads the tensor|more than one value and a state of the caller"),
        (Unrolled(), "more than one value and a state of the caller"),
    ):
        with pytest.raises(ConversionError, match=message):
            from_snntorch(net, dt=DT, input_shape=12)


def test_norse() -> None:
    net = NorseBranches(norse.LIFBoxCell(), norse.LIFCell()).double()
    x, states, theirs = spikes(12), (None, None), []
    with torch.no_grad():
        net.mix.weight.mul_(20)
        for i in x:
            sent, states = net(i, states)
            theirs.append(sent)

    class Taken(NorseBranches):
        def forward(self, x: Tensor, first: Any = None, second: Any = None) -> Any:
            x = self.mix(x)
            fast, first = self.fast(x, first)
            slow, second = self.slow(x, second)
            return self.read(fast + slow), first, second

    taken = Taken(net.fast, net.slow).double()
    taken.load_state_dict(net.state_dict())
    with torch.no_grad():
        ours, _ = from_norse(taken, input_shape=12)(x)
    torch.testing.assert_close(ours, torch.stack(theirs), rtol=1e-9, atol=1e-12)
    assert ours.std() > 0.01


def test_verdicts() -> None:
    row = nn.Sequential(
        nn.Linear(6, 5),
        snn.Leaky(0.5, reset_mechanism="zero"),
        nn.Dropout(),
        nn.Linear(5, 5),
        snn.Leaky(0.5),
        nn.Softmax(1),
        nn.Linear(5, 4),
        snn.Leaky(0.5, threshold=-1.0),
    )
    found = examine(from_snntorch, list(row), dt=DT)
    verdicts = [one.verdict for one in found.verdicts]
    assert verdicts == ["exact", "exact", "exact", "exact", "bounded", "refused", "exact", "refused"]
    assert found.network is None and [one.layer for one in found.refused] == [
        "layer '5' (Softmax)",
        "layer '7' (Leaky)",
    ]
    assert found.verdicts[2].note == "in training one mask for all steps" and found.verdicts[1].result == "lif1"
    assert not found.is_exact and "refused layer '7' (Leaky): a threshold below 0" in str(found)
    short = examine(from_snntorch, list(row[:2]), dt=DT)
    assert short.is_exact and torch.equal(
        short.network(torch.ones(3, 1, 6))[0], from_snntorch(row[:2], dt=DT)(torch.ones(3, 1, 6))[0]
    )
    learned = examine(from_snntorch, list(row[:2]), dt=DT, learn=("tau_mem",))
    assert learned.verdicts[1].note == "learned time constants are rounded"
    missing = examine(from_snntorch, [snn.Leaky(0.5)], dt=DT)
    assert [one.layer for one in missing.refused] == ["network"] and "pass input_shape" in missing.verdicts[0].note
    shared = nn.Linear(4, 4)
    twice = examine(from_snntorch, [shared, snn.Leaky(0.5), shared], dt=DT)
    assert twice.verdicts[2].note == "in training its weights are not those of layer '0' (Linear), the same object"
    graph = examine(from_spikingjelly, Residual().eval(), dt=DT, input_shape=(1, 8, 8))
    assert graph.network is not None and len(graph.verdicts) > 15
