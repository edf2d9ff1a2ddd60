"""Every operator that is registered is one that a test checks with torch's opcheck."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.kernels.common.bits import pack
from neurosim.kernels.conv.operator import run_conv
from neurosim.kernels.delayed import operator as delayed_sparse
from neurosim.kernels.linear.operator import run_layer
from neurosim.kernels.neurons.operator import run_core
from neurosim.kernels.recurrent.operator import run_recurrent
from neurosim.kernels.sparse import operator as event_sparse

# Of each operator the file with its check: whoever adds one adds it here.
CHECKED = {
    run_core.forward_operator: "neurons/test_operator",
    run_core.backward_operator: "neurons/test_operator",
    run_layer.forward_operator: "linear/test_cpu",
    run_layer.backward_operator: "linear/test_cpu",
    run_recurrent.forward_operator: "recurrent/test_cpu",
    run_recurrent.backward_operator: "recurrent/test_cpu",
    run_conv.forward_operator: "conv/test_cpu",
    run_conv.backward_operator: "conv/test_cpu",
    event_sparse.multiply: "test_event_sparse",
    event_sparse.multiply_backward: "test_opcheck",
    delayed_sparse.multiply: "delayed/test_cpu",
    delayed_sparse.multiply_backward: "delayed/test_cpu",
}


def test_each_operator_is_checked():
    registered = {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("neurosim::")}
    assert registered == {each._qualname for each in CHECKED}


@pytest.mark.parametrize("needs", [(True, True), (False, True), (True, False)])
@pytest.mark.parametrize("graded", [False, True])
def test_backward_of_a_sparse_map(needs, graded):
    synapse = ns.Sparse.random(30, 20, 0.4)
    x = (torch.rand(9, 30) < 0.2).float() * (0.5 if graded else 1.0)
    bits = pack(x).bits
    values = x.flatten() if graded else x.new_empty(0)
    for active in (None, bits):
        call = (torch.randn(9, 20), bits, values, synapse.weight.detach(), *synapse.rows, active, list(needs))
        torch.library.opcheck(event_sparse.multiply_backward, call)
