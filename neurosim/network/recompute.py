"""Less memory for the backward pass: keep inputs and the states at a few steps, and recompute the steps between."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.kernels.common import bits as cpu_bits
from neurosim.kernels.common.availability import fused
from neurosim.synapses.dropout import Masks, shared_masks
from neurosim.synapses.norm import repeating

Segment = Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[Tensor, Sequence[Tensor]]]


def chunk_length(steps: int) -> int:
    """Return the number of steps of a chunk: about sqrt(T), which minimises peak memory.

    The values of one chunk and the states at the start of all chunks are in memory at the same time: with c steps a
    chunk, c + T / c values of each neuron.
    """
    return max(math.isqrt(max(steps, 1)), 1)


def recomputed(
    segment: Segment,
    xs: Sequence[Tensor],
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    spikes: Sequence[bool] | None = None,
    chunk: int | None = None,
    *,
    draws: bool = True,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run `segment` chunk by chunk in time, and again for each chunk in the backward pass.

    The second run of a chunk draws the random numbers of the first from torch's global generators, and uses the same
    masks of `Dropout`, of which one serves all chunks.

    Parameters
    ----------
    segment : callable
        From inputs [t, B, ...] and state [B, ...] to output [t, B, ...] and state, for any number of steps t.
    xs : sequence of Tensor [T, B, ...]
        Inputs.
    state : sequence of Tensor [B, ...]
        State before the first step.
    weights : sequence of Tensor
        Other tensors that `segment` reads and that need gradients.
    spikes : sequence of bool, optional
        Whether each input is known to be zeros and ones, of which one bit each is kept. On the CPU inputs that are not
        known to be are examined.
    chunk : int, optional
        Steps of a chunk; `chunk_length` if left out.
    draws : bool
        Whether `segment` may draw random numbers; without it their state is not kept.

    Returns
    -------
    out : Tensor [T, B, ...]
    state : tuple of Tensor [B, ...]
        After the last step.
    """
    is_binary = tuple(spikes or [False] * len(xs))
    length = chunk_length(xs[0].shape[0]) if chunk is None else chunk
    out, *after = _Recomputed.apply(segment, is_binary, length, draws, len(state), *xs, *state, *weights)
    return out, tuple(after)


class _Random:
    """State of torch's global generators and the masks of `Dropout`, before a chunk runs."""

    def __init__(self, device: torch.device, masks: Masks) -> None:
        self.devices = [device] if device.type == "cuda" else []
        self.cpu = torch.get_rng_state()
        self.cuda = [torch.cuda.get_rng_state(each) for each in self.devices]
        self.masks = dict(masks)

    def or_equal(self, earlier: _Random | None) -> _Random:
        """Return `earlier` if nothing was drawn since, so that its 5 kB serve both chunks."""
        if earlier is None or self.masks.keys() != earlier.masks.keys():
            return self
        pairs = zip((self.cpu, *self.cuda), (earlier.cpu, *earlier.cuda), strict=True)
        return earlier if all(torch.equal(a, b) for a, b in pairs) else self

    @contextlib.contextmanager
    def replayed(self) -> Iterator[None]:
        """Context that begins with this state; afterwards the generators are as before."""
        with torch.random.fork_rng(self.devices), shared_masks(dict(self.masks)):
            torch.set_rng_state(self.cpu)
            for device, state in zip(self.devices, self.cuda, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        segment: Segment,
        is_binary: tuple[bool, ...],
        chunk: int,
        draws: bool,
        n_states: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        n_inputs = len(is_binary)
        xs = tensors[:n_inputs]
        state: Sequence[Tensor] = tensors[n_inputs : n_inputs + n_states]
        outputs, checkpoints = [], []
        random: list[_Random] = []
        with shared_masks() as masks:
            for first in range(0, xs[0].shape[0], chunk):
                checkpoints.append(tuple(state))
                if draws:
                    random.append(_Random(xs[0].device, masks).or_equal(random[-1] if random else None))
                out, state = segment([x[first : first + chunk] for x in xs], state)
                outputs.append(out)
        packed = [_pack(x, known) for x, known in zip(xs, is_binary, strict=True)]
        ctx.save_for_backward(*packed, *tensors[n_inputs:], *(s for checkpoint in checkpoints for s in checkpoint))
        # `segment` must not hold what holds the outputs: their graph holds this context, and no collector sees that.
        ctx.segment, ctx.chunk, ctx.random = segment, chunk, random
        ctx.n_inputs, ctx.n_states, ctx.n_tensors = n_inputs, n_states, len(tensors)
        ctx.inputs = [(x.shape, x.dtype) for x in xs]
        device = xs[0].device.type
        ctx.autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        ctx.set_materialize_grads(False)
        return torch.cat(outputs), *state

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        packed, weights = saved[: ctx.n_inputs], saved[ctx.n_inputs + ctx.n_states : ctx.n_tensors]
        checkpoints = saved[ctx.n_tensors :]
        needs_gradient = ctx.needs_input_grad[5 : 5 + ctx.n_inputs]
        g_out, g_states = grads[0], list(grads[1:])
        g_xs: list[list[Tensor]] = [[] for _ in packed]
        g_weights: list[Tensor | None] = [None] * len(weights)
        for number, first in reversed(list(enumerate(range(0, ctx.inputs[0][0][0], ctx.chunk)))):
            span = slice(first, first + ctx.chunk)
            xs = [_unpack(each, shape, dtype, span) for each, (shape, dtype) in zip(packed, ctx.inputs, strict=True)]
            xs = [x.requires_grad_(needs) for x, needs in zip(xs, needs_gradient, strict=True)]
            state = [s.detach().requires_grad_() for s in checkpoints[number * ctx.n_states :][: ctx.n_states]]
            random = ctx.random[number].replayed() if ctx.random else contextlib.nullcontext()
            with random, torch.enable_grad(), torch.autocast(*ctx.autocast), repeating():
                out, after = ctx.segment(xs, state)
            outputs = [(out, None if g_out is None else g_out[span]), *zip(after, g_states, strict=True)]
            found = iter(_gradients(outputs, [*xs, *state, *weights]))
            for parts, x in zip(g_xs, xs, strict=True):
                g = next(found)
                if x.requires_grad:
                    parts.append(torch.zeros_like(x) if g is None else g)
            g_states = [next(found) for _ in state]
            for n, g in enumerate(found):
                total = g_weights[n]
                g_weights[n] = total if g is None else g if total is None else total + g
        joined = [torch.cat(parts[::-1]) if parts else None for parts in g_xs]
        return None, None, None, None, None, *joined, *g_states, *g_weights


def _gradients(outputs: Sequence[tuple[Tensor, Tensor | None]], inputs: Sequence[Tensor]) -> list[Tensor | None]:
    """Return the gradient of each input, given outputs with their gradients; None where there is none."""
    pairs = [(out, g) for out, g in outputs if g is not None and out.requires_grad]
    needed = [t for t in inputs if t.requires_grad]
    if not pairs or not needed:
        return [None] * len(inputs)
    ends, g_ends = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(ends, needed, g_ends, allow_unused=True))
    return [next(found) if t.requires_grad else None for t in inputs]


def _pack(x: Tensor, is_binary: bool) -> Tensor:
    """Return `x`, or its packed bits if every value is known to be 0 or 1."""
    if x.device.type == "cpu" and x.dtype in cpu_bits.REAL:
        packed = cpu_bits.pack(x.contiguous().flatten(0, 1).flatten(1))
        return packed.bits.view(*x.shape[:2], -1) if packed.is_binary else x
    if x.device.type == "cuda" and is_binary and fused(x.device):
        from neurosim.kernels.linear import cuda_events

        return cuda_events.pack(x.flatten(0, 1).flatten(1)).view(*x.shape[:2], -1)
    return x


def _unpack(packed: Tensor, shape: torch.Size, dtype: torch.dtype, span: slice) -> Tensor:
    """Return the steps of `span` of the tensor that `_pack` packed."""
    part = packed[span]
    if packed.dtype == dtype:
        return part.detach()
    functions: Any = cpu_bits
    if packed.device.type == "cuda":
        from neurosim.kernels.linear import cuda_events

        functions = cuda_events
    x: Tensor = functions.unpack(part.flatten(0, 1), math.prod(shape[2:]), dtype)
    return x.view(-1, *shape[1:])
