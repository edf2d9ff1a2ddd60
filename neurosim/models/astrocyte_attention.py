"""Linear attention read as a tripartite synapse: Hebbian weights of neurons and of an astrocyte, and its feedback."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.synapses.synapse import count


def positive(x: Tensor) -> Tensor:
    """Return ``elu(x) + 1``, computed so that it does not round to 0: ``exp(x)`` below 0, ``x + 1`` from 0."""
    return torch.where(x > 0, x + 1.0, x.clamp(max=0.0).exp())


def places(x: Tensor) -> Tensor:
    """Return sines and cosines [L, n] of the places of tokens x [..., L, n], with periods from 2 pi to 20,000 pi."""
    length, n = x.shape[-2:]
    periods = 1e4 ** (torch.arange(0, n, 2, device=x.device) / n)
    angles = torch.arange(length, device=x.device)[:, None] / periods
    return torch.cat((angles.sin(), angles.cos()), 1)[:, :n].to(x)


class AstrocyteAttention(nn.Module):
    r"""Attention whose cost is linear in the number of tokens, by the equations of the tripartite synapse.

    The *write* mode sums over the N tokens, the *read* mode takes each token's answer from the sums:

    .. math::
        K = X W_K, \quad Q = X W_Q, \quad V = X W_V, \quad \phi(x) = \mathrm{elu}(x) + 1

        H = \tfrac{1}{m} \phi(K)^\top V + \tfrac{1}{m} \phi(R)^\top V, \quad
        g = \Big(\sum_t \phi(k_t)\Big)^{\alpha}

        C = \phi(Q)\, g^\top, \quad L = \frac{\phi(Q) H}{C} + X

    Every token reads all tokens, earlier and later ones. With :math:`\alpha = 1` and without :math:`\phi(R)`, L - X is
    linear attention divided by m.

    The sources at hand state H, g and C so, with a feedback ``P = 1 / C`` and ``L = phi(Q) (H * P) + X``. C has one
    entry for each token and H none, so that P can only divide the product. The following is this project's choice:
    :math:`r_{ij} = e^{-s\,|i - c_j|}`, the positions :math:`c_j` of the m hidden neurons evenly spaced over the
    tokens, and :math:`s` in units of their spacing; no heads; biases nowhere; the default of alpha.

    Parameters
    ----------
    n : int
        Values of a token.
    hidden : int
        Number of hidden neurons, m.
    alpha : float
        Exponent of the calcium response g, in (0, 1].
    scale : float
        s, in units of the inverse of the distance between hidden neurons; above 0.
    astrocyte : bool
        Whether H has its second term, :math:`\phi(R)^\top V / m`.

    References
    ----------
    Mia, Bal, Sengupta 2026, "RMAAT: Astrocyte-inspired memory compression and replay for efficient long-context
    transformers", ICLR, arXiv:2601.00426, as summarised by others: the equations were not read in the paper.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import AstrocyteAttention
    >>> AstrocyteAttention(16, 8)(torch.rand(2, 100, 16)).shape
    torch.Size([2, 100, 16])
    """

    def __init__(self, n: int, hidden: int, *, alpha: float = 0.5, scale: float = 1.0, astrocyte: bool = True) -> None:
        super().__init__()
        self.n, self.hidden = (count("AstrocyteAttention", k, v) for k, v in (("n", n), ("hidden", hidden)))
        if not 0.0 < alpha <= 1.0:
            raise InputError(f"AstrocyteAttention: alpha must be in (0, 1]; got {alpha!r}.")
        if not 0.0 < scale < math.inf:
            raise InputError(f"AstrocyteAttention: scale must be a positive number; got {scale!r}.")
        self.alpha, self.scale, self.astrocyte = float(alpha), float(scale), bool(astrocyte)
        self.key, self.query = (nn.Linear(self.n, self.hidden, bias=False) for _ in range(2))
        self.value = nn.Linear(self.n, self.n, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return L [..., N, n] for the tokens x [..., N, n]."""
        if x.dim() < 2 or x.shape[-1] != self.n or not x.shape[-2]:
            raise ShapeError(f"AstrocyteAttention: x must be [..., N, {self.n}] with N from 1; got {list(x.shape)}.")
        key, query, value = positive(self.key(x)), positive(self.query(x)), self.value(x)
        written = key + positive(self.nearness(x)) if self.astrocyte else key
        weights = written.transpose(-1, -2) @ value / self.hidden
        calcium = key.sum(-2) ** self.alpha
        interaction = query @ calcium[..., None]
        return query @ weights / interaction + x

    def nearness(self, x: Tensor) -> Tensor:
        """Return R [N, hidden] for tokens x [..., N, n]: how near each token is to each hidden neuron, in (0, 1]."""
        last = x.shape[-2] - 1
        spacing = last / (self.hidden - 1) if last and self.hidden > 1 else 1.0
        place = torch.arange(last + 1, dtype=x.dtype, device=x.device)
        centre = torch.linspace(0.0, last, self.hidden, dtype=x.dtype, device=x.device)
        return torch.exp((place[:, None] - centre).abs() * (-self.scale / spacing))


class AstrocyteCell(nn.Module):
    """One segment of a sequence: layers of `AstrocyteAttention` over the tokens of memory and of the segment.

    A layer is ``y = norm(attention(x))``, then ``norm(y + w2 relu(w1 y))``. The memory tokens come first; their values
    after the last layer are returned.

    Parameters
    ----------
    n : int
        Values of a token.
    hidden : int
        Hidden neurons of the attention.
    tokens : int, optional
        Number of different tokens, for segments of their numbers; without it segments are values. The embedding of a
        token has the sines and cosines of its place in the segment added, which is this project's choice: keys and
        queries have no position otherwise.
    wide : int, optional
        Hidden units of the perceptron; 2 n if left out.
    depth : int
        Number of layers.
    alpha, scale : float
        Of `AstrocyteAttention`.
    astrocyte : bool
        Of `AstrocyteAttention`.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import AstrocyteCell
    >>> cell = AstrocyteCell(16, 8, tokens=15)
    >>> cell(torch.randint(15, (2, 100)), torch.zeros(2, 4, 16)).shape
    torch.Size([2, 4, 16])
    """

    def __init__(
        self,
        n: int,
        hidden: int,
        *,
        tokens: int | None = None,
        wide: int | None = None,
        depth: int = 1,
        alpha: float = 0.5,
        scale: float = 1.0,
        astrocyte: bool = True,
    ) -> None:
        super().__init__()
        wide = count("AstrocyteCell", "wide", 2 * n if wide is None else wide)
        self.embedding = None if tokens is None else nn.Embedding(count("AstrocyteCell", "tokens", tokens), n)
        self.attentions = nn.ModuleList(
            AstrocyteAttention(n, hidden, alpha=alpha, scale=scale, astrocyte=astrocyte)
            for _ in range(count("AstrocyteCell", "depth", depth))
        )
        self.perceptrons = nn.ModuleList(
            nn.Sequential(nn.Linear(n, wide), nn.ReLU(), nn.Linear(wide, n)) for _ in self.attentions
        )
        self.norms = nn.ModuleList(nn.LayerNorm(n) for _ in range(2 * depth))

    def forward(self, segment: Tensor, memory: Tensor) -> Tensor:
        """Return the memory [B, M, n] after a segment: [B, L] numbers of tokens, or values [B, L, n]."""
        values = segment
        if self.embedding is not None:
            values = self.embedding(segment)
            values = values + places(values)
        if values.dim() != 3 or values.shape[::2] != memory.shape[::2]:
            raise ShapeError(
                f"AstrocyteCell: a segment must have the batch and the width of the memory {list(memory.shape)}; "
                f"got {list(values.shape)}."
            )
        x = torch.cat((memory, values), 1)
        for number, (attention, perceptron) in enumerate(zip(self.attentions, self.perceptrons, strict=True)):
            x = self.norms[2 * number](attention(x))
            x = self.norms[2 * number + 1](x + perceptron(x))
        return x[:, : memory.shape[1]]
