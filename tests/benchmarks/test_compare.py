"""A comparison stops when what it measures cannot be, or is not the same work."""

from __future__ import annotations

import pytest
import torch

from benchmarks import compare, libraries, timing
from benchmarks.__main__ import main
from benchmarks.libraries import CONTENDERS, UnavailableError, chain, ours, plain
from benchmarks.nets import ALPHA, Layer, Linear, dense, feedforward

SMALL = {"steps": 10, "batch": 4, "sizes": (70, 32, 32, 20), "rate": 0.1}
PEERS = [name for name, each in CONTENDERS.items() if not each.ours and name != "torch.compile"]


def only(monkeypatch, *names: str) -> None:
    """Leave the other contenders out."""
    monkeypatch.setattr(compare, "CONTENDERS", {name: CONTENDERS[name] for name in names})


def run(**more):
    return compare.compare("feedforward", SMALL, rounds=1, calls=1, quick=True, **more)


def test_a_time_below_the_floor_stops_the_benchmark(monkeypatch, capsys):
    real = compare.interleaved

    def impossible(contenders, *rest, **more):
        found = real(contenders, *rest, **more)
        return {name: timing.Times((1e-12,)) if name == "neurosim" else times for name, times in found.items()}

    monkeypatch.setattr(compare, "interleaved", impossible)
    only(monkeypatch, "neurosim", "plain loop")
    assert main(["train-step", "--quick"]) == 1
    assert "train-step is wrong: neurosim took 1.00e-12 s; its spikes need at least" in capsys.readouterr().err


def test_event_driven_products_may_beat_the_dense_ones(monkeypatch):
    real = compare.interleaved

    def fast(contenders, *rest, **more):
        found = real(contenders, *rest, **more)
        below = min(found[compare.PRODUCTS].seconds) / 2
        return {name: timing.Times((below,)) if name == "neurosim" else times for name, times in found.items()}

    monkeypatch.setattr(compare, "interleaved", fast)
    monkeypatch.setattr(compare.floors, "machine", lambda x: compare.floors.Machine(1e12, 1e12))
    only(monkeypatch, "neurosim", "plain loop")
    found = run()["contenders"]
    assert found["neurosim"]["median_s"] < found[compare.PRODUCTS]["median_s"]


@pytest.mark.parametrize(("name", "wrong", "said"), [("neurosim", 1, "0.99970"), ("plain loop", 20, "0.99405")])
def test_a_contender_with_other_spikes_stops_the_benchmark(name, wrong, said, monkeypatch):
    real = compare.build

    def build(name_, layers):
        net = real(name_, layers)
        spikes = net.spikes

        def others(x):
            found = spikes(x)
            # Only the check runs without gradients.
            if name_ == name and not torch.is_grad_enabled():
                first = found[0].view(-1)[:wrong]
                first.copy_(1 - first)
            return found

        net.spikes = others
        return net

    monkeypatch.setattr(compare, "build", build)
    only(monkeypatch, "neurosim", "plain loop")
    with pytest.raises(timing.ImplausibleError, match=f"{name} agrees with the reference at only {said} of the neuron"):
        run()


@pytest.mark.parametrize(("weight", "rate"), [(0.0, "0.0000"), (200.0, "1.0000")])
def test_a_layer_that_is_silent_or_fires_all_the_time_stops_the_benchmark(weight, rate, monkeypatch):
    def task(**options):
        made = feedforward(**options)
        layer = Layer((Linear(torch.full_like(made.layers[0].synapses[0].weight, weight)),))
        return compare.Task((layer, *made.layers[1:]), made.x, made.target, made.loss, made.work)

    monkeypatch.setattr(compare, "TASKS", {"feedforward": task})
    with pytest.raises(timing.ImplausibleError, match=f"layer 1 fires at {rate}"):
        run()


def test_what_takes_too_long_is_omitted(monkeypatch):
    only(monkeypatch, "neurosim", "plain loop", "SpikingJelly")
    monkeypatch.setattr(compare, "build", lambda name, layers: libraries.build("plain loop", layers))
    taken = {"neurosim": 0.1, "plain loop": 61.0, "SpikingJelly": 0.1}
    each = iter(taken.values())
    monkeypatch.setattr(compare, "seconds", lambda step: step() or next(each))
    found = run()
    assert found["omitted"]["plain loop"] == "one step took 61 s, more than 60 s"
    assert set(found["contenders"]) == {"neurosim", "SpikingJelly", compare.PRODUCTS}


def test_a_library_that_is_not_installed_is_omitted(monkeypatch):
    monkeypatch.setitem(CONTENDERS, "snnTorch", libraries.Contender("not_there"))
    only(monkeypatch, "neurosim", "plain loop", "snnTorch")
    found = run()
    assert found["omitted"]["snnTorch"].startswith("not installed: No module named 'benchmarks.libraries.not_there'")


def test_without_a_compiler_torch_compile_is_omitted(monkeypatch):
    monkeypatch.setattr(plain.shutil, "which", lambda name: None)
    with pytest.raises(UnavailableError, match=r"no C\+\+ compiler: torch.compile needs one on a CPU"):
        libraries.build("torch.compile", feedforward(**SMALL).layers)


@pytest.mark.parametrize("name", PEERS)
def test_a_layer_alone_does_what_the_definition_says(name):
    """Currents in, spikes out, also where the gain has no weights to go into."""
    try:
        net = libraries.build(name, [Layer(())])
    except UnavailableError as error:
        pytest.skip(str(error))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(50, 4, 16, generator=generator) * 4
    (wanted,) = ours.reference([Layer(())], x)
    assert wanted.sum() > 100
    assert (net(net.prepare(x)) == wanted).float().mean() > 0.999


@pytest.mark.parametrize("name", PEERS)
def test_a_membrane_at_the_threshold_does_not_spike(name):
    """Without leak, sums of quarters stand at 1 all the time."""
    try:
        net = libraries.build(name, [Layer((), alpha=1.0)])
    except UnavailableError as error:
        pytest.skip(str(error))
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-1, 3, (50, 4, 16), generator=generator) / 4
    (wanted,) = ours.reference([Layer((), alpha=1.0)], x)
    assert wanted.sum() > 100
    assert torch.equal(net(net.prepare(x)), wanted)


def test_the_gain_of_a_neuron_goes_into_the_weights():
    layer = dense(width=8, steps=2).layers[0]
    net = plain.network([layer])
    assert torch.equal(net.synapses[0][0].weight, layer.synapses[0].weight * (1 - ALPHA))
    assert chain.ABOVE_ONE > 1.0


def test_a_slow_contender_is_called_less_often_and_the_table_says_so(monkeypatch):
    only(monkeypatch, "neurosim", "plain loop")
    build, training_step, slow = compare.build, compare.step.training_step, []

    def noted(net, task):
        run = training_step(net, task)
        slow.extend([run] * (net is made["plain loop"]))
        return run

    made: dict[str, object] = {}
    monkeypatch.setattr(compare, "build", lambda name, layers: made.setdefault(name, build(name, layers)))
    monkeypatch.setattr(compare.step, "training_step", noted)
    monkeypatch.setattr(compare, "seconds", lambda run: (run(), 0.3 if run in slow else 0.001)[1])
    found = compare.compare("feedforward", SMALL, rounds=3, calls=1, quick=True, budget_s=0.7)
    calls = {name: each["calls"] for name, each in found["contenders"].items()}
    assert calls == {"neurosim": 3, "plain loop": 2, compare.PRODUCTS: 3}
    assert "plain loop is slow: 2 calls, 3 of the others" in compare.table({"cases": [found]})
