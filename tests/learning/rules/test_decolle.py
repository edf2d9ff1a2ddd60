"""DECOLLE against the authors' equations written step by step, and the locality that makes it what it is."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

import neurosim as ns
from benchmarks.activations import activations
from neurosim.errors import InputError
from neurosim.learning import DECOLLE, DecolleLIF, LocalReadouts
from tests.learning.rules.small_networks import close

DT, SIZES, CLASSES, SLOPE = 1e-3, (8, 10, 9, 7), 3, 10.0


def network(variant="membrane", bias=False, seed=0):
    torch.manual_seed(seed)
    parts = []
    for n_in, n_out in itertools.pairwise(SIZES):
        parts += [ns.Linear(n_in, n_out, bias=bias), DecolleLIF(dt=DT, spike=ns.fast_sigmoid(SLOPE))]
        torch.nn.init.normal_(parts[-2].weight, 0.1, 1.0)
    net = ns.Sequential(*parts).double()
    return LocalReadouts(net, CLASSES, variant=variant, scale=3.0, generator=torch.Generator().manual_seed(1))


def batch(steps=30, samples=4):
    generator = torch.Generator().manual_seed(3)
    x = (torch.rand(steps, samples, SIZES[0], generator=generator) < 0.4).double()
    return x, torch.arange(samples) % CLASSES


def found(rule, net, x, y, loss=None):
    net.zero_grad()
    rule.gradients(net, x, y, loss or ns.CrossEntropy())
    return [p.grad.clone() for p in net.parameters()]


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).double()

    @staticmethod
    def backward(ctx, g):
        return g / (1 + SLOPE * ctx.saved_tensors[0].abs()) ** 2


def by_hand(net, x, y, burn_in=0, regularisation=0.0, update=None):
    """The equations of the program, with traces before the weights and one backward for each step."""
    weights = [p.detach().clone().requires_grad_() for p in net.parameters()]
    readouts = list(net.buffers())
    fast, slow, ref = (net.net.nodes["decolle1"].decay(f"tau_{name}") for name in ("syn", "mem", "ref"))
    q, p, r = ([x.new_zeros(x.shape[1], n) for n in sizes] for sizes in (SIZES[:-1], SIZES[:-1], SIZES[1:]))
    spikes = 0
    for t, step in enumerate(x):
        s, value = step, torch.zeros(())
        for k, w in enumerate(weights):
            p[k] = slow * p[k] + (1 - slow) * q[k]
            q[k] = fast * q[k] + (1 - fast) * s.detach()
            u = p[k] @ w.T + r[k]
            s = Spike.apply(u)
            r[k] = ref * r[k] - (1 - ref) * s.detach()
            out = (torch.sigmoid(u) if net.variant == "membrane" else s) @ readouts[k].T
            value = value + F.cross_entropy(out, y)
            value = value + regularisation * torch.relu(u + 0.01).mean()
            spikes += int(s.sum())
        if t >= burn_in:
            (value / (len(x) - burn_in)).backward()
            if update is not None:
                update(weights)
    assert spikes > 0.1 * len(x) * len(y)
    return [w if update else w.grad for w in weights]


@pytest.mark.parametrize("chunk", [1, 7, 100])
@pytest.mark.parametrize("variant", ["membrane", "spikes"])
def test_it_is_the_program_step_by_step(variant, chunk):
    net, (x, y) = network(variant), batch()
    assert close(found(DECOLLE(chunk=chunk), net, x, y), by_hand(net, x, y), 1e-12)
    assert close(found(DECOLLE(chunk=chunk, burn_in=11), net, x, y), by_hand(net, x, y, burn_in=11), 1e-12)


def test_weights_can_move_at_every_step():
    net, (x, y) = network(), batch()

    def descend(weights):
        with torch.no_grad():
            for w in weights:
                w -= 0.5 * w.grad
                w.grad = None

    expected = by_hand(net, x, y, update=lambda weights: descend(weights))
    optimizer = torch.optim.SGD(net.parameters(), 0.5)

    def update():
        optimizer.step()
        optimizer.zero_grad()

    before = [p.detach().clone() for p in net.parameters()]
    kept = net.state_dict()
    kept = {name: value.clone() for name, value in kept.items()}
    DECOLLE(chunk=1, update=update).gradients(net, x, y, ns.CrossEntropy())
    assert close([p.detach() for p in net.parameters()], [p.detach() for p in expected], 1e-12)
    # In longer chunks the filters after the weights hold what earlier weights made: the step is small, so is that.
    net.load_state_dict(kept)
    DECOLLE(chunk=2, update=update).gradients(net, x, y, ns.CrossEntropy())
    for a, b, start in zip(net.parameters(), expected, before, strict=True):
        moved, wanted = (a - start).detach().flatten(), (b - start).detach().flatten()
        assert F.cosine_similarity(moved, wanted, dim=0) > 0.9 and moved.norm() > 0


def test_a_bias_acts_filtered_whatever_the_chunk():
    net, (x, y) = network(bias=True), batch()
    torch.nn.init.normal_(net.net.synapses["input->decolle1"][0].bias, 0.0, 2.0)
    results = []
    for chunk in (1, 7, 100):
        net.zero_grad()
        results.append(DECOLLE(chunk=chunk).gradients(net, x, y, ns.CrossEntropy())[1])
        results += [p.grad.clone() for p in net.parameters()]
    size = len(results) // 3
    assert close(results[:size], results[size : 2 * size], 1e-12) and close(results[:size], results[2 * size :], 1e-12)
    torch.testing.assert_close(results[0], net(x)[0])
    # What acts of a bias is the answer of the two filters to a constant 1.
    bias = net.net.synapses["input->decolle1"][0].bias
    values = net.net.run(x, None, ("decolle1.u",)).recorded
    with torch.no_grad():
        bias += 1e-3
        other = net.net.run(x, None, ("decolle1.u",)).recorded
    fast, slow = (net.net.nodes["decolle1"].decay(name) for name in ("tau_syn", "tau_mem"))
    q = p = 0.0
    for t in range(3):
        p, q = slow * p + (1 - slow) * q, fast * q + (1 - fast)
        torch.testing.assert_close(
            other["decolle1.u"][t] - values["decolle1.u"][t], torch.full((4, 10), 1e-3 * p).double()
        )


def test_a_loss_reaches_the_weights_of_its_own_layer_alone():
    class Only(ns.Loss):
        """The loss of one layer, told apart by the order of calls."""

        per_step = True

        def __init__(self, layer):
            self.layer, self.calls = layer, 0

        def __call__(self, output, target):
            self.calls += 1
            share = float((self.calls - 1) % 3 == self.layer)
            return share * ns.CrossEntropy()(output, target)

        def prediction(self, output):
            return output.sum(0).argmax(1)

    net, (x, y) = network(), batch()
    for layer in range(3):
        parts = found(DECOLLE(), net, x, y, Only(layer))
        assert [bool(part.any()) for part in parts] == [k == layer for k in range(3)]


def test_labels_of_the_third_layer_do_not_change_the_first():
    class Labels(ns.Loss):
        per_step = True

        def __init__(self, third):
            self.third, self.calls = third, 0

        def __call__(self, output, target):
            self.calls += 1
            return ns.CrossEntropy()(output, self.third if self.calls % 3 == 0 else target)

        def prediction(self, output):
            return output.sum(0).argmax(1)

    net, (x, y) = network(), batch()
    plain, other = (found(DECOLLE(), net, x, y, Labels(labels)) for labels in (y, y.roll(1)))
    assert torch.equal(plain[0], other[0]) and torch.equal(plain[1], other[1]) and not torch.equal(plain[2], other[2])


def test_the_readouts_are_fixed_and_saved():
    net, (x, y) = network(), batch()
    kept = {name: b.clone() for name, b in net.named_buffers() if "readout" in name}
    optimizer = torch.optim.Adamax(net.parameters(), 1e-2)
    ns.fit(net, [(x, y)], rule=DECOLLE(), optimizer=optimizer, epochs=2, progress=False)
    assert len(kept) == 3 and all(torch.equal(net.get_buffer(name), b) for name, b in kept.items())
    assert {"readout_decolle1", "net.synapses.input->decolle1.0.weight"} <= set(net.state_dict())


@pytest.mark.parametrize("variant", ["membrane", "spikes"])
def test_the_output_is_the_last_readout(variant):
    net, (x, y) = network(variant), batch()
    _, output = DECOLLE(chunk=7, burn_in=3).gradients(net, x, y, ns.CrossEntropy())
    with torch.no_grad():
        z, _, values, *_ = net.net.run(x, None, ("decolle3.u",))
        seen = torch.sigmoid(values["decolle3.u"]) if variant == "membrane" else z
        assert torch.allclose(output, seen @ net.readout_decolle3.T)
        assert torch.allclose(net(x)[0], output)


def test_the_regularisation_has_the_gradient_of_its_terms():
    net, (x, y) = network(), batch()
    rule = DECOLLE(regularisation=0.5, chunk=100)
    assert close(found(rule, net, x, y), by_hand(net, x, y, regularisation=0.5), 1e-12)
    # The other term acts on layers that are silent: all membranes far below 0.
    torch.nn.init.constant_(net.net.synapses["decolle1->decolle2"][0].weight, -100.0)
    quiet = found(DECOLLE(regularisation=0.5), net, x, y)[1] - found(DECOLLE(), net, x, y)[1]
    assert quiet.any() and (quiet <= 0).all()


def test_a_bias_a_loop_and_convolutions_learn():
    net, (x, y) = network(bias=True), batch()
    assert all(g.any() for g in found(DECOLLE(), net, x, y))
    torch.manual_seed(0)
    conv = ns.Network(
        nodes={"input": ns.Input((1, 6, 6)), "a": DecolleLIF(dt=DT), "b": DecolleLIF(dt=DT)},
        edges=[
            ns.Edge("input", "a", ns.Conv2d(1, 4, 3)),
            ns.Edge("a", "b", (ns.AvgPool2d(2), ns.Flatten(), ns.Linear(16, 5)), delay=2 * DT),
            ns.Edge("b", "b", ns.Linear(5, 5)),
        ],
    ).double()
    local = LocalReadouts(conv, 2)
    data = (torch.rand(20, 3, 1, 6, 6) < 0.5).double()
    parts = [found(DECOLLE(chunk=chunk), local, data, torch.tensor([0, 1, 0])) for chunk in (1, 3, 20)]
    assert all(g.any() for g in parts[0]) and close(parts[0], parts[2]) and close(parts[1], parts[2])


def peak(steps):
    net, (x, y) = network(), batch(steps)
    with activations(x, *net.parameters(), *net.buffers()) as count:
        DECOLLE(chunk=8).gradients(net, x, y, ns.CrossEntropy())
    return count.peak


def test_its_memory_does_not_grow_with_time():
    assert peak(200) <= 1.05 * peak(50)


def test_it_trains_in_the_loop():
    torch.manual_seed(0)
    y = torch.arange(32) % 2
    x = (torch.rand(40, 32, 10) < torch.where(y[:, None] == 1, 0.6, 0.1)).float()
    net = ns.Sequential(ns.Linear(10, 20), DecolleLIF(dt=DT), ns.Linear(20, 16), DecolleLIF(dt=DT))
    local = LocalReadouts(net, 2, scale=2.0)
    optimizer = torch.optim.Adamax(local.parameters(), 0.1)
    history = ns.fit(local, [(x, y)], rule=DECOLLE(burn_in=10), optimizer=optimizer, epochs=25, progress=False)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert ns.evaluate(local, [(x, y)])["accuracy"] > 0.9


def test_unsupported_use_is_refused_by_name():
    net, (x, y) = network(), batch()
    with pytest.raises(InputError, match=r"DECOLLE\(chunk=0\)"):
        DECOLLE(chunk=0)
    with pytest.raises(InputError, match=r"DECOLLE\(burn_in=-1\): an integer number"):
        DECOLLE(burn_in=-1)
    with pytest.raises(InputError, match=r"DECOLLE\(regularisation=-1\): a finite number"):
        DECOLLE(regularisation=-1)
    with pytest.raises(InputError, match="needs LocalReadouts"):
        DECOLLE().gradients(net.net, x, y, ns.CrossEntropy())
    with pytest.raises(InputError, match="mean over steps"):
        DECOLLE().gradients(net, x, y, ns.MaxMembrane())
    with pytest.raises(InputError, match="leaves none of T = 30 steps"):
        DECOLLE(burn_in=30).gradients(net, x, y, ns.CrossEntropy())
    with pytest.raises(InputError, match='variant must be "membrane" or "spikes"'):
        LocalReadouts(net.net, 2, variant="both")
    with pytest.raises(InputError, match="'lif1' must be DecolleLIF; it is lif"):
        LocalReadouts(ns.Sequential(ns.Linear(2, 2), ns.LIF(dt=DT)), 2)
    with pytest.raises(InputError, match="Network with one input; got LocalReadouts"):
        LocalReadouts(net, 2)
    with pytest.raises(InputError, match=r"plain numbers for \['tau_mem'\]"):
        LocalReadouts(ns.Sequential(ns.Linear(2, 2), DecolleLIF(dt=DT, tau_mem=torch.full((2,), 0.01))), 2)
    with pytest.raises(InputError, match="has MaxPool2d, which is not linear"):
        pool = (ns.Input((1, 4, 4)), ns.MaxPool2d(2), ns.Flatten(), ns.Linear(4, 2), DecolleLIF(dt=DT))
        LocalReadouts(ns.Sequential(*pool), 2)
