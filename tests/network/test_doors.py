"""Inputs of a wrong type or without samples, and choices of a wrong form, at the doors of networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError, ShapeError

DT = 1e-3


def chain():
    return ns.Sequential(ns.Linear(8, 4), ns.LIF(dt=DT), ns.Linear(4, 3), ns.LI(dt=DT), names=["a", "b"])


def convolutional():
    parts = (ns.Conv1d(1, 2, 3), ns.LIF(dt=DT), ns.Flatten(), ns.Linear(12, 3), ns.LI(dt=DT))
    return ns.Sequential(ns.Input((1, 8)), *parts)


def loop():
    return ns.Sequential(ns.Linear(8, 4), ns.Recurrent(ns.LIF(dt=DT), ns.Linear(4, 4)))


NETWORKS = [(chain, (8,)), (convolutional, (1, 8)), (loop, (8,))]


@pytest.mark.parametrize(("make", "shape"), NETWORKS, ids=["chain", "convolutional", "loop"])
@pytest.mark.parametrize("wrong", [torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.int64])
def test_another_type_than_that_of_the_weights_is_named(make, shape, wrong):
    net, x = make(), torch.ones(5, 2, *shape)
    with pytest.raises(InputError, match=rf"x for 'input' .*{wrong}"):
        net(x.to(wrong))
    assert ns.simulate(net, x.numpy().astype(np.float64)).T == 5


@pytest.mark.parametrize(("make", "shape"), NETWORKS, ids=["chain", "convolutional", "loop"])
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_a_batch_without_samples_runs(make, shape, recompute):
    net = make()
    z, state = net(torch.zeros(20, 0, *shape), recompute=recompute)
    assert z.shape[:2] == (20, 0) and all(v.shape[0] == 0 for node in state.nodes.values() for v in node)
    z.sum().backward()
    for rule in (ns.BPTT(), ns.BPTT(recompute=True), ns.SLTT(), ns.OTTT()):
        with pytest.raises(ShapeError, match="at least one sample"):
            rule.gradients(net, torch.zeros(20, 0, *shape), torch.zeros(0).long(), ns.CrossEntropy())


def test_record_and_network_are_checked():
    net, x = chain(), torch.ones(5, 2, 8)
    with pytest.raises(InputError, match=r"Write record=\['a'\]"):
        net.run(x, record="a")
    for wrong in (ns.Sequential, torch.nn.Linear(8, 3), None):
        with pytest.raises(InputError, match=r"simulate needs a network, such as ns\.Sequential"):
            ns.simulate(wrong, x)
    for device in ("gpu", 1.5):
        with pytest.raises(InputError, match="a device such as"):
            ns.simulate(net, x, device=device)


def test_a_step_may_be_a_number_of_numpy():
    for dt in (np.float32(1e-3), np.float64(1e-3)):
        assert ns.LIF(dt=dt).dt == 1e-3
