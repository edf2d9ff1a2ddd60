"""Associative memories: Hopfield's network, dense ones, the modern one, and several patterns recalled at once."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.synapses.synapse import count

Energy = Literal["polynomial", "exponential"]


class Recall(NamedTuple):
    """What a network settles in.

    Attributes
    ----------
    state : Tensor [B, N]
        Of -1 and 1.
    sweeps : int
        Updates of each neuron until none changed.
    settled : bool
        Whether none changed in the last sweep.
    """

    state: Tensor
    sweeps: int
    settled: bool


class HopfieldMemory:
    r"""Hopfield's network of patterns of -1 and 1, and of 0 where a pattern says nothing.

    .. math:: J = \frac{1}{N} \sum_\mu \xi^\mu {\xi^\mu}^T, \quad J_{ii} = 0, \quad
              s_i \leftarrow \mathrm{sign} \sum_j J_{ij} s_j

    one neuron after the other, in a random order in each sweep; a sum of 0 leaves a neuron as it is. J is never formed.
    With blank entries, P(0) = d, neurons that a pattern leaves free align with others: at a low load the overlaps are
    :math:`m_k = d^{k-1} (1 - d)`, which is stable where :math:`1 - 2d + d^P > 0` (multitasking).

    Parameters
    ----------
    patterns : Tensor [P, N]
        Of -1, 0 and 1.

    Raises
    ------
    ShapeError, InputError
        For another shape or other values.

    References
    ----------
    Hopfield 1982, doi:10.1073/pnas.79.8.2554; Agliari et al. 2012, doi:10.1103/PhysRevLett.109.268101 (multitasking).

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import HopfieldMemory
    >>> patterns = torch.randint(0, 2, (5, 200)) * 2 - 1
    >>> memory = HopfieldMemory(patterns)
    >>> cue = patterns[:1].clone()
    >>> cue[:, :20] *= -1
    >>> bool((memory.recall(cue, seed=0).state == patterns[:1]).all())
    True
    """

    def __init__(self, patterns: Tensor) -> None:
        self.patterns = _checked("HopfieldMemory", patterns, (-1, 0, 1))
        self._own = self.patterns.square().sum(0)  # N J_ii before it is 0

    def fields(self, state: Tensor) -> Tensor:
        """Return the sums of all neurons at once [B, N], ``J s``."""
        s = state.double()
        return (s @ self.patterns.T @ self.patterns - s * self._own) / self.patterns.shape[1]

    def recall(self, cue: Tensor, *, most: int = 50, seed: int = 0) -> Recall:
        """Settle from cues [B, N] of -1 and 1, at most so many sweeps."""
        s = _checked_cue("HopfieldMemory", cue, self.patterns).clone()
        n, generator = s.shape[1], torch.Generator().manual_seed(seed)
        overlaps = s @ self.patterns.T  # of each pattern, kept up to date
        for sweep in range(count("HopfieldMemory", "most", most)):
            changed = False
            for i in torch.randperm(n, generator=generator).tolist():
                column = self.patterns[:, i]
                field = overlaps @ column - s[:, i] * self._own[i]
                new = torch.where(field == 0.0, s[:, i], field.sign())
                if not torch.equal(new, s[:, i]):
                    overlaps += (new - s[:, i])[:, None] * column
                    s[:, i] = new
                    changed = True
            if not changed:
                return Recall(s, sweep + 1, True)
        return Recall(s, most, False)

    def overlap(self, state: Tensor) -> Tensor:
        """Return the overlap ``s . xi / N`` with each pattern [B, P]."""
        return state.double() @ self.patterns.T / self.patterns.shape[1]


class DenseMemory:
    r"""Dense associative memory: patterns attract by a steep function of their overlap.

    .. math:: s_i \leftarrow \mathrm{sign} \sum_\mu \left[F\Big(\xi_i^\mu + \sum_{j \neq i} \xi_j^\mu s_j\Big)
              - F\Big(-\xi_i^\mu + \sum_{j \neq i} \xi_j^\mu s_j\Big)\right]

    with :math:`F(x) = x^n`, or :math:`e^x`, one neuron after the other. With n = 2 it is Hopfield's network.

    Parameters
    ----------
    patterns : Tensor [P, N]
        Of -1 and 1.
    energy : {"polynomial", "exponential"}
    power : int
        n of a polynomial, from 2.

    References
    ----------
    Krotov & Hopfield 2016, arXiv:1606.01164; Demircigil et al. 2017, arXiv:1702.01929 (exponential).

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import DenseMemory
    >>> patterns = torch.randint(0, 2, (100, 60)) * 2 - 1
    >>> memory = DenseMemory(patterns, power=4)
    >>> bool((memory.recall(patterns[:3]).state == patterns[:3]).all())
    True
    """

    def __init__(self, patterns: Tensor, *, energy: Energy = "polynomial", power: int = 3) -> None:
        if energy not in ("polynomial", "exponential"):
            raise InputError(f'DenseMemory: energy={energy!r}: "polynomial" or "exponential".')
        self.patterns = _checked("DenseMemory", patterns, (-1, 1))
        self.energy, self.power = energy, count("DenseMemory", "power", power, 2)

    def recall(self, cue: Tensor, *, most: int = 50, seed: int = 0) -> Recall:
        """Settle from cues [B, N] of -1 and 1, at most so many sweeps."""
        s = _checked_cue("DenseMemory", cue, self.patterns).clone()
        generator = torch.Generator().manual_seed(seed)
        overlaps = s @ self.patterns.T
        for sweep in range(count("DenseMemory", "most", most)):
            changed = False
            for i in torch.randperm(s.shape[1], generator=generator).tolist():
                column = self.patterns[:, i]
                rest = overlaps - s[:, i : i + 1] * column
                gain = self._gain(rest, column)
                new = torch.where(gain == 0.0, s[:, i], gain.sign())
                if not torch.equal(new, s[:, i]):
                    overlaps = rest + new[:, None] * column
                    s[:, i] = new
                    changed = True
            if not changed:
                return Recall(s, sweep + 1, True)
        return Recall(s, most, False)

    def _gain(self, rest: Tensor, own: Tensor) -> Tensor:
        """Return the sum over patterns [B] of F with a neuron up minus F with it down."""
        if self.energy == "polynomial":
            # Shares of N: a large power of the overlaps themselves overflows.
            n = self.patterns.shape[1]
            return (((rest + own) / n) ** self.power - ((rest - own) / n) ** self.power).sum(1)
        # exp(rest + own) - exp(rest - own) = 2 own sinh(1) exp(rest), up to a factor of all patterns.
        return (own * torch.exp(rest - rest.amax(1, keepdim=True))).sum(1)


class ModernMemory:
    r"""Modern Hopfield network of real patterns: a step of retrieval is attention.

    .. math:: \xi \leftarrow X\,\mathrm{softmax}(\beta X^T \xi)

    Parameters
    ----------
    patterns : Tensor [P, d]
    beta : float
        Inverse temperature; with ``1 / sqrt(d)`` a step is `torch.nn.functional.scaled_dot_product_attention`.

    References
    ----------
    Ramsauer et al. 2020, arXiv:2008.02217.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import ModernMemory
    >>> memory = ModernMemory(torch.eye(4), beta=20.0)
    >>> memory.retrieve(torch.tensor([[0.9, 0.1, 0.0, 0.2]])).round().tolist()
    [[1.0, 0.0, 0.0, 0.0]]
    """

    def __init__(self, patterns: Tensor, beta: float) -> None:
        if not isinstance(patterns, Tensor) or patterns.dim() != 2 or not patterns.is_floating_point():
            raise ShapeError("ModernMemory: patterns must be a tensor of real numbers [P, d].")
        if not (isinstance(beta, (int, float)) and math.isfinite(beta) and beta > 0):
            raise InputError(f"ModernMemory: beta must be a positive number; got {beta!r}.")
        self.patterns, self.beta = patterns, float(beta)

    def retrieve(self, state: Tensor, steps: int = 1) -> Tensor:
        """Return states [B, d] after so many steps."""
        state = self._checked_state(state)
        for _ in range(count("ModernMemory", "steps", steps)):
            state = torch.softmax(self.beta * state @ self.patterns.T, 1) @ self.patterns
        return state

    def energy(self, state: Tensor) -> Tensor:
        """Return the energy [B], between 0 and twice the square of the longest pattern for states no longer than it."""
        state = self._checked_state(state)
        longest = self.patterns.norm(dim=1).max()
        soft = torch.logsumexp(self.beta * state @ self.patterns.T, 1) / self.beta
        constant = math.log(len(self.patterns)) / self.beta + 0.5 * longest**2
        return 0.5 * state.square().sum(1) - soft + constant

    def _checked_state(self, state: Tensor) -> Tensor:
        size = self.patterns.shape[1]
        if not isinstance(state, Tensor) or state.dim() != 2 or state.shape[1] != size:
            raise ShapeError(f"ModernMemory: state must be [B, {size}].")
        return state.to(self.patterns)


def _checked(owner: str, patterns: Tensor, allowed: tuple[int, ...]) -> Tensor:
    if not isinstance(patterns, Tensor) or patterns.dim() != 2 or not patterns.numel():
        raise ShapeError(f"{owner}: patterns must be a tensor [P, N].")
    values = patterns.double()
    if not torch.isin(values, torch.tensor(allowed, dtype=torch.float64)).all():
        raise InputError(f"{owner}: patterns must hold {', '.join(map(str, allowed))} alone.")
    return values


def _checked_cue(owner: str, cue: Tensor, patterns: Tensor) -> Tensor:
    if not isinstance(cue, Tensor) or cue.dim() != 2 or cue.shape[1] != patterns.shape[1]:
        raise ShapeError(f"{owner}: cue must be [B, {patterns.shape[1]}].")
    if not (cue.abs() == 1).all():
        raise InputError(f"{owner}: cue must hold -1 and 1 alone.")
    return cue.double()
