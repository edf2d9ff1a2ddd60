"""A sparse product of spikes with delays as an operation: ``neurosim::delayed_sparse``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from neurosim.kernels.common.event_product import ProductOutputs, fake_outputs, product_operator
from neurosim.kernels.common.operator import Needs
from neurosim.kernels.delayed import cpu
from neurosim.kernels.delayed.arguments import Call, Saved
from neurosim.kernels.delayed.rows import DelayedRows


def delayed_sparse(line: Tensor, weight: Tensor, rows: DelayedRows) -> Tensor:
    """Return the currents that spikes cause after the delay of each synapse; see `reference.multiply`.

    The cost of the currents of spikes 0/1 grows with their number. The backward pass keeps the bits of `line`, and
    `line` itself only if it has values other than 0 and 1.

    Parameters
    ----------
    line, weight
        As in `arguments.Call`.
    rows : DelayedRows
        The synapses.

    Returns
    -------
    Tensor [T, B, n_out]
    """
    return run_delayed(Call(line, weight, *rows)).out


def _save(call: Call, outputs: ProductOutputs) -> Saved:
    return Saved(outputs.input_bits, outputs.values, call.weight, *call.rows)


def _fake(call: Call) -> ProductOutputs:
    steps, batch, n_in = call.line.shape
    return fake_outputs(call, call.line, (steps - call.span, batch, call.n_out), steps * batch, n_in)


def _fake_gradients(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> list[Tensor]:
    steps, batch, _ = grads[0].shape
    shapes = ((steps + saved.span, batch, saved.starts.shape[0] - 1), saved.weight.shape)
    return [grads[0].new_empty(shape) for shape in shapes]


run_delayed = product_operator(
    "delayed_sparse",
    Call,
    Saved,
    forward=cpu.forward,
    save=_save,
    backward=cpu.backward,
    inputs=("line", "weight"),
    fake=_fake,
    fake_gradients=_fake_gradients,
)
