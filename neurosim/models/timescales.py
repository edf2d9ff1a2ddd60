"""Recurrent networks whose units learn time constants, with one read-out for each depth of memory."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import curve_fit
from torch import Tensor, nn
from torch.nn import functional

from neurosim.errors import InputError, ShapeError
from neurosim.synapses.synapse import count


class TimescaleNetwork(nn.Module):
    r"""Leaky recurrent network with a learned time constant for each unit and a linear read-out for each task.

    .. math:: h \leftarrow \mathrm{LeakyReLU}\left(\left(1 - \frac{1}{\tau}\right) h
              + \frac{1}{\tau} (W h + W_{in} x + b)\right)

    with :math:`\tau \geq 1` in steps, at first 1 + U(0, 1), and no connection of a unit to itself. The nonlinearity is
    around both terms, as in the authors' program; in the paper it is around the second.

    Parameters
    ----------
    n_in : int
        Inputs.
    units : int
    classes : int
        Of each read-out.
    variant : {"code", "paper"}
        Where the nonlinearity is.

    References
    ----------
    Khajehabdollahi et al., "Emergent mechanisms for long timescales depend on training curriculum and affect
    performance in memory tasks", ICLR 2024, arXiv:2309.12927, and its program
    github.com/LevinaLab/rnn_timescale_public.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import TimescaleNetwork
    >>> net = TimescaleNetwork(1, 50)
    >>> net.add_head(2), net.add_head(3)
    (2, 3)
    >>> {depth: logits.shape for depth, logits in net(torch.rand(10, 4, 1)).items()}
    {2: torch.Size([4, 2]), 3: torch.Size([4, 2])}
    """

    def __init__(self, n_in: int, units: int, *, classes: int = 2, variant: str = "code") -> None:
        super().__init__()
        if variant not in ("code", "paper"):
            raise InputError(f'TimescaleNetwork: variant={variant!r}: "code" or "paper".')
        self.n_in, self.units = count("TimescaleNetwork", "n_in", n_in), count("TimescaleNetwork", "units", units, 2)
        self.classes, self.variant = count("TimescaleNetwork", "classes", classes, 2), variant
        self.input = nn.Linear(n_in, units)
        self.recurrent = nn.Linear(units, units, bias=False)
        self.tau = nn.Parameter(1.0 + torch.rand(units))
        self.heads = nn.ModuleDict()
        self.register_buffer("others", 1.0 - torch.eye(units))

    def add_head(self, depth: int) -> int:
        """Add the read-out of a task of this depth, and return the depth."""
        if str(count("TimescaleNetwork", "depth", depth)) in self.heads:
            raise InputError(f"TimescaleNetwork: there is a read-out of depth {depth}.")
        self.heads[str(depth)] = nn.Linear(self.units, self.classes).to(self.tau)
        return depth

    def remove_head(self, depth: int) -> None:
        """Remove a read-out."""
        del self.heads[str(depth)]

    def forward(self, x: Tensor, start: Tensor | None = None) -> dict[int, Tensor]:
        """Return the logits [B, classes] of each read-out after the last step of x [T, B, n_in]."""
        last = self.activity(x, start)[-1]
        return {int(depth): head(last) for depth, head in self.heads.items()}

    def activity(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """Return the activity [T, B, units]; without `start` it begins at 0.1 U(0, 1)."""
        if x.dim() != 3 or x.shape[2] != self.n_in:
            raise ShapeError(f"TimescaleNetwork: x must be [T, B, {self.n_in}]; got {list(x.shape)}.")
        h = 0.1 * torch.rand(x.shape[1], self.units).to(x) if start is None else start
        share = 1.0 / self.tau.clamp(min=1.0)
        weight: Tensor = self.recurrent.weight * self.others  # type: ignore[operator]
        found = []
        for current in self.input(x):
            drive = functional.linear(h, weight) + current
            if self.variant == "code":
                h = functional.leaky_relu((1.0 - share) * h + share * drive)
            else:
                h = (1.0 - share) * h + share * functional.leaky_relu(drive)
            found.append(h)
        return torch.stack(found)

    @torch.no_grad()
    def unit_times(self) -> Tensor:
        """Return the time constant of each unit alone [units], in steps."""
        return self.tau.clamp(min=1.0).clone()

    @torch.no_grad()
    def network_times(self, x: Tensor, *, skip: int = 0, lags: int = 30) -> Tensor:
        """Return the time constant of each unit's activity in the network [units], in steps; nan where it is constant.

        Parameters
        ----------
        x : Tensor [T, B, n_in]
            Input, such as noise.
        skip : int
            Steps that are left out.
        lags : int
            Of the autocorrelation.
        """
        return autocorrelation_times(self.activity(x)[skip:], lags)


def autocorrelation_times(activity: Tensor, lags: int) -> Tensor:
    r"""Return the decay of the autocorrelation of each unit, in steps, by a fit of :math:`a e^{-k/\tau}` at lags 1 ...

    Parameters
    ----------
    activity : Tensor [T, B, units]
    lags : int
        Number of lags, below T.

    Returns
    -------
    Tensor [units] of float64
        nan for a unit that is constant, or whose autocorrelation does not decay.
    """
    if not 2 <= lags < len(activity):
        raise InputError(f"autocorrelation_times: lags must be from 2 to {len(activity) - 1}; got {lags!r}.")
    centred = activity.double() - activity.double().mean((0, 1))
    variance = centred.square().mean((0, 1))
    shares = torch.stack([(centred[k:] * centred[: len(centred) - k]).mean((0, 1)) / variance for k in range(lags + 1)])
    found = torch.full((activity.shape[2],), torch.nan, dtype=torch.float64)
    for unit, values in enumerate(shares.T.numpy()):
        if np.isfinite(values).all() and values[1] > 0.0:
            try:
                (_, tau), _ = curve_fit(
                    lambda k, a, tau: a * np.exp(-k / tau), np.arange(1, lags + 1), values[1:], p0=(1.0, 2.0),
                    bounds=([0.0, 1e-3], [2.0, 10.0 * lags]),
                )  # fmt: skip
            except RuntimeError:
                continue
            found[unit] = tau
    return found


def parity_of_last(bits: Tensor, depth: int) -> Tensor:
    """Return the parity of the last `depth` bits of each sequence [B] of int64, of bits [T, B, 1] of 0 and 1."""
    if len(bits) < depth:
        raise InputError(f"parity_of_last: {len(bits)} bits are fewer than {depth}.")
    return bits[-depth:].sum((0, 2)).long() % 2
