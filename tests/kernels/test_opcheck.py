"""Every operator that is registered is one that a test checks with torch's opcheck."""

from __future__ import annotations

import torch

from neurosim.kernels.common.normal_code import normal_numbers
from neurosim.kernels.conv.dense import run_dense
from neurosim.kernels.conv.operator import run_conv
from neurosim.kernels.delayed.operator import run_delayed
from neurosim.kernels.linear.operator import run_layer
from neurosim.kernels.neurons.operator import run_core
from neurosim.kernels.recurrent.operator import run_recurrent
from neurosim.kernels.sparse.operator import run_sparse

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
    run_dense.forward_operator: "conv/test_dense",
    run_dense.backward_operator: "conv/test_dense",
    run_sparse.forward_operator: "sparse/test_cpu",
    run_sparse.backward_operator: "sparse/test_cpu",
    run_delayed.forward_operator: "delayed/test_cpu",
    run_delayed.backward_operator: "delayed/test_cpu",
    normal_numbers: "network/test_noise",
}


def test_each_operator_is_checked():
    names = torch._C._dispatch_get_all_op_names()  # those of tests too
    registered = {name for name in names if name.startswith("neurosim::") and not name.startswith("neurosim::test_")}
    assert registered == {each._qualname for each in CHECKED}
