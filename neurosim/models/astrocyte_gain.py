"""Astrocytes that scale the synapses of their domain by a slow trace of presynaptic spikes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import Tensor

from neurosim.cores.calcium_gain import calcium_gain
from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population, State
from neurosim.synapses.synapse import count


class GainAstrocyteState(NamedTuple):
    """State of `GainAstrocyte`.

    Attributes
    ----------
    a : Tensor [B, domains]
        Slow trace of each astrocyte.
    """

    a: Tensor


class GainAstrocyte(Population):
    r"""A population whose output is its input spikes times the gain of their astrocyte.

    The population is divided into equal domains of consecutive neurons, each with one astrocyte:

    .. math:: a \leftarrow \rho a + (1 - \rho)\,\overline{s}, \quad \rho = e^{-dt/\tau_{Ca}}, \qquad
              g = 1 + \gamma \frac{a}{1 + a}, \qquad \text{out} = g\, s

    with the mean :math:`\overline{s}` over the domain. The current of the synapses behind it is ``W (g s)``, which is
    ``g (W s)`` with a presynaptic gain. In a network it is a separate population, behind a `Flatten`:

    ``hidden -> Flatten -> GainAstrocyte -> Linear -> next``

    The unit is this project's: gating of a synapse by its astrocyte as an idea is Araque et al., "Tripartite synapses:
    glia, the unacknowledged partner", Trends in Neurosciences 22, 1999, doi:10.1016/S0166-2236(98)01349-6. It is not
    the astrocyte-modulated unit of another work.

    For training and simulation. Neither NIR nor Lava has a product of two signals: exporters refuse it by name;
    `SlowInwardCurrent` is the astrocyte that can be exported.

    Parameters
    ----------
    domains : int
        Number of astrocytes; it must divide the number of neurons.
    dt : float
        Length of a step, s, in (0, 0.1).
    tau_ca : float or Tensor [domains]
        Time constant of the trace, s, in (0, 1000).
    gamma : float or Tensor [domains]
        Largest gain minus 1; with 0 the gain is 1.
    learn : iterable of str
        Which of ``"tau_ca"`` and ``"gamma"`` are trained, one value for each astrocyte.

    Raises
    ------
    InputError, UnitError
        For a value that cannot be used.
    ShapeError
        When the number of neurons is not a multiple of `domains`.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.models import GainAstrocyte
    >>> astro = GainAstrocyte(2, dt=1e-3, tau_ca=0.1, gamma=2.0)
    >>> s = torch.zeros(300, 1, 4)
    >>> s[:, :, :2] = 1.0  # one domain fires, the other is silent
    >>> out, state = astro(s)
    >>> out[-1].round(decimals=2), state.a.round(decimals=2)
    (tensor([[1.9700, 1.9700, 0.0000, 0.0000]]), tensor([[0.9500, 0.0000]]))
    """

    def __init__(
        self,
        domains: int,
        *,
        dt: float | None = None,
        tau_ca: float | Tensor = 0.5,
        gamma: float | Tensor = 1.0,
        learn: Iterable[str] = (),
    ) -> None:
        super().__init__("gain_astrocyte", dt)
        self.domains = count("GainAstrocyte", "domains", domains)
        self.calcium = Neuron(calcium_gain, dt=dt, size=domains, learn=learn, tau_ca=tau_ca, gamma=gamma)

    @property
    def is_spiking(self) -> bool:
        """False: the output is spikes times their gain."""
        return False

    def initial_state(self, i: Tensor) -> GainAstrocyteState:
        """Return the state before the first step: zeros."""
        return GainAstrocyteState(i.new_zeros((i.shape[1], self.domains)))

    def run(
        self, i: Tensor, state: State | None = None, record: Sequence[str] = (), *, through_time: bool = True
    ) -> LayerOutput:
        """Run as `forward` does, and record the values named in `record` at every step.

        Parameters
        ----------
        i, state, through_time
            As in `forward`; `i` are the spikes.
        record : sequence of str
            ``"a"``, the trace, and ``"g"``, the gain, [T, B, domains].
        """
        self._check_current(i)
        wrong = [name for name in record if name not in ("a", "g")]
        if wrong:
            raise InputError(f"GainAstrocyte: cannot record {wrong}; this population has ['a', 'g'].")
        neurons = i[0, 0].numel() if i.numel() else 0
        if neurons % self.domains:
            raise ShapeError(
                f"GainAstrocyte: {neurons} neurons cannot be divided into {self.domains} equal domains; domains must "
                f"divide {neurons}."
            )
        rows = i.flatten(2).unflatten(2, (self.domains, -1))
        gain, after, recorded, *_ = self.calcium.run(
            rows.mean(-1), state, [name for name in record if name == "a"], through_time=through_time
        )
        if "g" in record:
            recorded = {**recorded, "g": gain.detach()}
        return LayerOutput((rows * gain[..., None]).reshape(i.shape), GainAstrocyteState(*after), recorded)

    def extra_repr(self) -> str:
        """Return the number of astrocytes and the step."""
        return f"{self.domains}, {self._dt_text()}"
