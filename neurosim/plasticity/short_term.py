"""Short-term plasticity: the amplitude of a synapse depends on the presynaptic spikes before."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neurosim.errors import InputError
from neurosim.language import seconds


@dataclass(frozen=True)
class TsodyksMarkram:
    r"""Depression and facilitation by resources that are used and recover.

    At the n-th spike, an interval :math:`\Delta` after the one before, first u, then x, then the amplitude are

    .. math:: u_n = U + u_{n-1} (1 - U)\, e^{-\Delta / \tau_{facil}}, \quad
              x_n = 1 + (x_{n-1} (1 - u_{n-1}) - 1)\, e^{-\Delta / \tau_{rec}}, \quad
              a_n = w\, u_n x_n

    with :math:`u_1 = U` and :math:`x_1 = 1`: the first spike has the amplitude :math:`w U`, whenever it comes. All
    synapses of a presynaptic neuron with the same delay share u and x. The weights w stay.

    Parameters
    ----------
    u : float
        Share of the resources that a spike uses at rest, U, in (0, 1].
    tau_rec : float
        Time constant of recovery, s, in (0, 100).
    tau_facil : float
        Time constant of facilitation, s, in [0, 100); with 0 u is always U.

    References
    ----------
    Tsodyks, Pawelzik, Markram, "Neural networks with dynamic synapses", Neural Computation 10, 1998,
    doi:10.1162/089976698300017502. Maass, Markram, "Synapses as dynamic memory buffers", Neural Networks 15, 2002,
    doi:10.1016/S0893-6080(01)00144-7; NEST's ``tsodyks2_synapse`` has the same equations.

    Examples
    --------
    >>> from neurosim.plasticity import TsodyksMarkram
    >>> amplitudes = TsodyksMarkram(u=0.5, tau_rec=0.8).amplitudes([0.0, 0.02, 0.04])
    >>> [round(a, 4) for a in amplitudes]
    [0.5, 0.2562, 0.1373]
    """

    u: float = 0.5
    tau_rec: float = 0.8
    tau_facil: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 < self.u <= 1:
            raise InputError(f"TsodyksMarkram: u must be in (0, 1]; got {self.u!r}.")
        seconds(0.8, high=100.0).check("TsodyksMarkram", "tau_rec", self.tau_rec)
        if self.tau_facil:
            seconds(0.8, high=100.0).check("TsodyksMarkram", "tau_facil", self.tau_facil)

    def amplitudes(self, times: list[float]) -> list[float]:
        """Return the amplitude of each spike of a synapse of weight 1, given their times in s, ascending."""
        found: list[float] = []
        u = x = before = 0.0
        for n, time in enumerate(times):
            age = time - before
            facilitation = math.exp(-age / self.tau_facil) if self.tau_facil else 0.0
            x = 1 + (x * (1 - u) - 1) * math.exp(-age / self.tau_rec) if n else 1.0
            u = self.u + u * (1 - self.u) * facilitation if n else self.u
            before = time
            found.append(u * x)
        return found
