"""A sparse product of spikes as an operation: ``neurosim::event_sparse``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.kernels.common.bits import words
from neurosim.kernels.common.operator import Needs, Operator
from neurosim.kernels.sparse import cpu
from neurosim.kernels.sparse.arguments import Call, Outputs, Saved
from neurosim.kernels.sparse.rows import Rows


def event_sparse(
    x: Tensor, weight: Tensor, rows: Rows, *, packed_bits: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Return the currents that spikes cause through sparse synapses; see `reference.multiply`.

    The cost of all three products grows with the number of spikes where these are few; where they are many it is that
    of a pass over the synapses for several samples at once. The backward pass keeps the bits of ``x``, and ``x`` itself
    only if it has values other than 0 and 1.

    Parameters
    ----------
    x, weight, packed_bits, mask
        As in `arguments.Call`.
    rows : Rows
        The synapses. Several of one pair of neurons each count.

    Returns
    -------
    Tensor [R, n_out]
    """
    return run_sparse(Call(x, weight, *rows, packed_bits, mask)).out


def _save(call: Call, outputs: Outputs) -> Saved:
    bits = outputs.input_bits if call.packed_bits is None else call.packed_bits
    return Saved(bits, outputs.values, call.weight, call.starts, call.post, call.n_out, call.mask)


def _unshared(call: Call, outputs: Outputs) -> Outputs:
    bits = outputs.input_bits if call.packed_bits is None else call.packed_bits.new_empty(0)
    values = call.x.new_empty(0) if outputs.values is None else outputs.values.flatten().clone()
    return Outputs(outputs.out.contiguous(), bits, values)


def _fake(call: Call) -> Outputs:
    x = call.x
    size = (x.shape[0], words(x.shape[1])) if call.packed_bits is None else (0,)
    values = x.new_empty(torch.library.get_ctx().new_dynamic_size())
    return Outputs(x.new_empty((x.shape[0], call.n_out)), x.new_empty(size, dtype=torch.int64), values)


def _fake_gradients(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> list[Tensor]:
    shapes = ((grads[0].shape[0], saved.starts.shape[0] - 1), saved.weight.shape)
    return [grads[0].new_empty(shape) for shape in shapes]


run_sparse = Operator(
    "event_sparse",
    Call,
    Outputs,
    Saved,
    forward=cpu.forward,
    save=_save,
    backward=cpu.backward,
    inputs=("x", "weight"),
    results=("out",),
    private=("input_bits", "values"),
    fake=_fake,
    fake_gradients=_fake_gradients,
    unshared=_unshared,
    devices=("cpu",),
)
