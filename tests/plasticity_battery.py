"""The contract of a plastic rule: every rule passes it by being listed in `tests.plasticity_list`."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.errors import InputError
from tests.plasticity_list import N_IN, N_OUT, PlasticCase, data, dense, exists, network, sparse, weights

CHANGED = 1e-3  # a change that a check can see


def learned(rule: Any, net: ns.Network) -> dict[str, Tensor]:
    """Return copies of everything that a rule may change."""
    module = rule if isinstance(rule, nn.Module) else getattr(rule, "net", net)
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def moved(a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, float]:
    """Return by how much each tensor differs."""
    return {name: float((a[name].double() - b[name].double()).abs().max()) for name in a if a[name].numel()}


def matrix(net: ns.Network) -> Tensor:
    """Return the weights of the plastic edge as a matrix."""
    synapse = net.synapses["plastic"][0]
    if isinstance(synapse, ns.Linear):
        return synapse.weight.detach().clone()
    post, pre = synapse.connections
    full = torch.zeros(N_OUT, N_IN, dtype=synapse.weight.dtype)
    return full.index_put((post, pre), synapse.weight.detach(), accumulate=True)


def check_changes_what_it_names(case: PlasticCase) -> None:
    """Something changes beyond rounding, only one group of values does, and no gradient history is kept."""
    net = network()
    run, rule = case.make(net)
    before = learned(rule, net)
    run(data())
    found = moved(before, learned(rule, net))
    assert max(found.values()) > CHANGED
    assert found.get("synapses.out->out.0.weight", 0.0) == 0.0
    assert not any(p.grad is not None or p.grad_fn is not None for p in net.parameters())


def check_repeats(case: PlasticCase) -> None:
    """The same data give the same bits."""
    results = []
    for _ in range(2):
        net = network()
        run, rule = case.make(net)
        run(data())
        results.append(learned(rule, net))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def check_parts(case: PlasticCase) -> None:
    """A run in two parts changes what one run does."""
    if not case.parts:
        pytest.skip("it changes values once in each call")
    results = []
    for cuts in ((60,), (23, 37)):
        net = network()
        run, rule = case.make(net)
        for part in data().split(cuts):
            run(part)
        results.append(learned(rule, net))
    assert max(moved(*results).values()) < 1e-12


def check_samples_do_not_mix(case: PlasticCase) -> None:
    """The order of the samples of a batch does not matter: changes are means over them."""
    results = []
    for order in ([0, 1, 2], [2, 0, 1]):
        net = network()
        run, rule = case.make(net)
        if type(rule).__name__ == "Plasticity" and rule.expected:
            order = [0, 1, 2]  # rewards belong to samples
        run(data()[:, order])
        results.append(learned(rule, net))
    assert max(moved(*results).values()) < 1e-11


def check_state(case: PlasticCase) -> None:
    """A rule that is saved and loaded goes on as if it had not been."""
    net = network()
    run, rule = case.make(net)
    if not hasattr(rule, "state_dict"):
        pytest.skip("it has no state of its own but `rates`")
    run(data())
    saved = pickle.loads(pickle.dumps((rule.state_dict(), learned(rule, net))))
    other_net = network()
    other_run, other = case.make(other_net)
    other.load_state_dict(saved[0])
    if not isinstance(other, nn.Module):
        getattr(other, "net", other_net).load_state_dict(saved[1])
    if hasattr(rule, "forget"):
        # The state of the network is not part of the rule's: both start the second run from the initial one.
        z, _ = rule.run(data())
        other_z, _ = other.run(data())
        assert torch.equal(z, other_z)
    else:
        run(data())
        other_run(data())
    assert max(moved(learned(rule, net), learned(other, other_net)).values()) == 0.0


def check_bounds(case: PlasticCase) -> None:
    """Weights stay within the bounds, also after many steps."""
    net = network()
    run, _ = case.make(net)
    run(data().repeat(8, 1, 1))
    found = matrix(net)
    assert case.bounds[0] <= found.min() and found.max() <= case.bounds[1]


def check_single_precision(case: PlasticCase) -> None:
    """In single precision the changes are the same up to rounding."""
    if not case.sparse:
        pytest.skip("its own module or threshold is tested in its own precision")
    results = []
    for dtype in (torch.float64, torch.float32):
        net = network(dtype=dtype)
        run, _ = case.make(net)
        run(data(20, dtype))
        results.append(matrix(net).double())
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


def check_sparse_equals_dense(case: PlasticCase) -> None:
    """Where all synapses exist, Sparse and Linear learn the same."""
    if not case.sparse:
        pytest.skip("it has no edge of listed synapses")
    results = []
    for synapse in (dense(), sparse()):
        net = network(synapse)
        run, _ = case.make(net)
        run(data())
        results.append(matrix(net))
    assert float((results[0] - weights()).abs().max()) > CHANGED
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-12)


def check_absent_synapses_stay_absent(case: PlasticCase) -> None:
    """The weights of the synapses that exist are those of a Linear whose others are set to 0 after each step."""
    if not case.sparse:
        pytest.skip("it has no edge of listed synapses")
    listed, full = network(sparse(exists())), network(dense(exists()))
    run, _ = case.make(listed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_full, rule = case.make(full)
    mask = exists().to(torch.float64)
    steps = [data()] if not case.parts else data().split(1)
    for step in steps:
        run(step)
        run_full(step)
        with torch.no_grad():
            full.synapses["plastic"][0].weight.mul_(mask)
    assert float((matrix(listed) - weights() * mask).abs().max()) > CHANGED
    assert not matrix(listed)[~exists()].any()
    torch.testing.assert_close(matrix(listed), matrix(full), rtol=0, atol=1e-12)
    del rule


def check_each_synapse_of_a_pair_learns(case: PlasticCase) -> None:
    """Several synapses of one pair change alike, each by its own weight."""
    if not case.sparse:
        pytest.skip("it has no edge of listed synapses")
    net = network(sparse(exists(), twice=True))
    run, _ = case.make(net)
    run(data())
    synapse = net.synapses["plastic"][0]
    post, pre = synapse.connections
    order = torch.argsort(post * N_IN + pre, stable=True)
    pairs = synapse.weight.detach()[order].view(-1, 2)
    assert torch.equal(pairs[:, 0], pairs[:, 1])
    assert float((pairs[:, 0] - weights()[exists()] / 2).abs().max()) > CHANGED


def check_zeros_of_a_linear_are_named(case: PlasticCase) -> None:
    """A Linear with some weights of exactly 0 is warned of if the rule changes them, and keeps them if it does not."""
    if case.kind.__name__ in ("ThresholdHomeostasis", "SoftHebb", "SoftHebbConv"):
        pytest.skip("it changes no weights of an edge")
    net = network(dense(exists()))
    absent = int((~exists()).sum())
    if case.grows:
        with pytest.warns(
            UserWarning, match=rf"edge 'plastic': {absent} of {N_OUT * N_IN} weights are exactly 0.*Sparse"
        ):
            case.make(net)
        return
    run, _ = case.make(net)
    run(data())
    assert not matrix(net)[~exists()].any() and matrix(net)[exists()].all()


def check_computed_weights_are_refused(case: PlasticCase) -> None:
    """Weights that a hook computes would lose the change."""
    if not case.sparse:
        pytest.skip("it changes no weights of an edge")
    net = network()
    nn.utils.parametrize.register_parametrization(net.synapses["plastic"][0], "weight", nn.Softplus())
    with pytest.raises(InputError, match="a change of them would be lost"):
        case.make(net)


def check_copies(case: PlasticCase) -> None:
    """A copy of the rule learns on its own."""
    net = network()
    run, rule = case.make(net)
    run(data(10))
    copied = copy.deepcopy(rule)
    before = learned(copied, net)
    run(data())
    assert all(torch.equal(before[name], value) for name, value in learned(copied, net).items())


CHECKS = {name.removeprefix("check_"): check for name, check in globals().items() if name.startswith("check_")}
