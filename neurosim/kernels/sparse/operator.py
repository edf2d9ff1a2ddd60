"""A sparse product of spikes as an operation: ``neurosim::event_sparse``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from neurosim.kernels.common.event_product import ProductOutputs, fake_outputs, input_bits_of, product_operator
from neurosim.kernels.common.operator import Needs
from neurosim.kernels.sparse import cpu
from neurosim.kernels.sparse.arguments import Call, Saved
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


def _save(call: Call, outputs: ProductOutputs) -> Saved:
    return Saved(input_bits_of(call, outputs), outputs.values, call.weight, *call.rows, call.mask)


def _fake(call: Call) -> ProductOutputs:
    samples, n_in = call.x.shape
    return fake_outputs(call, call.x, (samples, call.n_out), samples, n_in)


def _fake_gradients(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> list[Tensor]:
    (g,) = grads
    return [g.new_empty((g.shape[0], saved.starts.shape[0] - 1)), g.new_empty(saved.weight.shape)]


run_sparse = product_operator(
    "event_sparse",
    Call,
    Saved,
    forward=cpu.forward,
    save=_save,
    backward=cpu.backward,
    inputs=("x", "weight"),
    fake=_fake,
    fake_gradients=_fake_gradients,
)
