"""Memory tokens over the segments of a long sequence; the backward pass replays one segment after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.models.astrocyte_potentiation import retention_factors
from neurosim.network.recompute import recomputed
from neurosim.synapses.synapse import count


class ReplayMemory(nn.Module):
    r"""Carry memory tokens from segment to segment, and keep nothing else for the backward pass.

    .. math:: m_{t+1} = f_t \cdot \mathrm{cell}(x_t, m_t), \quad t = 1 \dots T

    With ``replay=True`` the forward pass stores the memory tokens before each segment; the backward pass computes the
    segments again, the last one first, with the random numbers of the first pass. The gradient is that of
    backpropagation through all segments. The activations in memory are those of one segment; what grows with T is the
    buffer, M n values for each sample and segment; for a cell that draws random numbers also the state of torch's
    generator, 5 kB for each segment.

    The factors need the number of segments in advance. The first memory is learned; it is this project's choice, like
    reading an answer from the last memory.

    Parameters
    ----------
    cell : nn.Module
        From a segment [B, L, ...] and memory [B, M, n] to the memory [B, M, n], such as `AstrocyteCell`. What it
        computes may depend on nothing else that changes.
    memory : int
        Memory tokens, M.
    n : int
        Values of a token.
    segment : int
        Tokens of a segment, L.
    retention : callable, optional
        From the number of segments to their factors [T], such as `retention_factors`; None for factors of 1.
    replay : bool
        Whether to replay; without it all activations are kept.

    Raises
    ------
    InputError
        For a cell with batch normalisation, whose averages the second pass would change once more.

    References
    ----------
    Mia, Bal, Sengupta 2026, ICLR, arXiv:2601.00426 (astrocytic memory replay backpropagation); Wu et al. 2020,
    "Memformer: a memory-augmented transformer for sequence modeling", arXiv:2010.06891 (memory replay).

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import AstrocyteCell, ReplayMemory
    >>> memory = ReplayMemory(AstrocyteCell(16, 8, tokens=15), memory=4, n=16, segment=50)
    >>> memory(torch.randint(15, (2, 400))).shape
    torch.Size([2, 4, 16])
    """

    def __init__(
        self,
        cell: nn.Module,
        *,
        memory: int,
        n: int,
        segment: int,
        retention: Callable[[int], Tensor] | None = retention_factors,
        replay: bool = True,
    ) -> None:
        super().__init__()
        self.segment = count("ReplayMemory", "segment", segment)
        for name, module in cell.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
                raise InputError(
                    f"ReplayMemory: the cell's {name or 'module'} is {type(module).__name__}, whose averages would "
                    "count every segment twice. Use LayerNorm, or track_running_stats=False."
                )
        self.cell, self.retention, self.replay = cell, retention, bool(replay)
        self.start = nn.Parameter(torch.randn(count("ReplayMemory", "memory", memory), count("ReplayMemory", "n", n)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the memory [B, M, n] after all segments of x [B, T L, ...]."""
        if x.dim() < 2 or not x.shape[1] or x.shape[1] % self.segment:
            raise ShapeError(
                f"ReplayMemory: x must be [B, tokens, ...] with a multiple of segment = {self.segment} tokens; "
                f"got {list(x.shape)}. Pad the sequence."
            )
        segments = x.unflatten(1, (-1, self.segment)).transpose(0, 1)
        factors = self.factors(len(segments)).to(self.start)[:, None, None, None]
        memory = self.start.expand(x.shape[0], *self.start.shape)
        if not (self.replay and torch.is_grad_enabled()):
            return self._run([segments, factors], [memory])[1][0]
        learned = [p for p in self.cell.parameters() if p.requires_grad]
        return recomputed(self._run, [segments, factors], [memory], learned, [False, False], 1)[1][0]

    def factors(self, segments: int) -> Tensor:
        """Return the factors [T] of `segments` segments."""
        if self.retention is None:
            return torch.ones(segments)
        found = self.retention(segments)
        if found.shape != (segments,):
            raise ShapeError(f"ReplayMemory: retention must return {[segments]} factors; got {list(found.shape)}.")
        return found

    def _run(self, xs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Run the segments of xs[0] [t, B, L, ...] with factors xs[1]; the first output of `recomputed` is empty."""
        memory = state[0]
        for segment, factor in zip(*xs, strict=True):
            after = self.cell(segment, memory)
            if after.shape != memory.shape:
                raise ShapeError(f"ReplayMemory: the cell must return {list(memory.shape)}; got {list(after.shape)}.")
            memory = factor * after
        return memory.new_empty(len(xs[0]), 0), [memory]
