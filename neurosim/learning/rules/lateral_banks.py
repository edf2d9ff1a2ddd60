"""Banks of lateral neurons beside the synapses of a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import Conv1d, Conv2d, Linear
from neurosim.synapses.lateral import LateralBank, RoundedResponses


class Place(NamedTuple):
    """One synapse with weights: its name, itself, and the decay of the membranes behind it where they share one."""

    name: str
    synapse: Linear | Conv1d | Conv2d
    decay: float | None


def places_of(net: Network) -> list[Place]:
    """List the synapses with weights, or raise `InputError` for one that cannot have a bank."""
    places: list[Place] = []
    for edge in net.edges:
        for number, synapse in enumerate(edge.synapses):
            if not any(True for _ in synapse.parameters()):
                continue
            name = f"{edge.name}/{number}" if number else edge.name
            if not isinstance(synapse, (Linear, Conv1d, Conv2d)):
                raise InputError(
                    f"edge {edge.name!r}: {type(synapse).__name__} has no bank of lateral neurons; "
                    "use Linear, Conv1d or Conv2d."
                )
            if isinstance(synapse, (Conv1d, Conv2d)) and synapse.groups > 1:
                raise InputError(
                    f"edge {edge.name!r}: a convolution with groups={synapse.groups} sees several kinds of patches; "
                    "a bank of lateral neurons needs groups=1."
                )
            if any(place.synapse is synapse for place in places):
                raise InputError(f"edge {edge.name!r}: its synapses are also on another edge; give each edge its own.")
            target = net.nodes[edge.target]
            timed = isinstance(target, Neuron) and "tau_mem" in target.core.parameters
            decay = target.decay("tau_mem") if timed and isinstance(target, Neuron) else None
            places.append(Place(name, synapse, decay if isinstance(decay, float) else None))
    return places


class LateralBanks(nn.Module):
    """A bank of lateral neurons for each synapse with weights of a network.

    The inputs of the bank of a `Linear` are the spikes before it; those of a `Conv1d` or `Conv2d` are the patches under
    its kernel.

    Parameters
    ----------
    net : Network
        The network that is trained. Its synapses with weights must be `Linear`, `Conv1d` or `Conv2d` without groups.
    rate : float or mapping of str to float
        Learning rate of the lateral neurons: one for all banks, or one for each by name.
    momentum, iterations, limit
        As in `LateralBank`.
    spiking : RoundedResponses, optional
        Makes the lateral neurons spiking.

    Attributes
    ----------
    banks : dict-like of str to LateralBank
        By the name of the edge; ``"edge/1"`` and so on for synapses that are not the first of their edge.

    Raises
    ------
    InputError
        For synapses that cannot have a bank, or that are on two edges; for names that are not those of the banks.

    Notes
    -----
    The banks are not part of the network, so its checkpoint does not hold them; that of a run with `HLOP` does. The
    number of rows is read from `state_dict()`.
    """

    def __init__(
        self,
        net: Network,
        *,
        rate: float | Mapping[str, float] = 0.01,
        momentum: float = 0.9,
        iterations: int = 5,
        limit: float = 10.0,
        spiking: RoundedResponses | None = None,
    ) -> None:
        super().__init__()
        self.spiking = spiking
        self._net = (net,)  # in a tuple, so that the network does not become a submodule
        self._places = places_of(net)
        if isinstance(rate, Mapping):
            self._check_names("rate", rate)
        self.banks = nn.ModuleDict()
        for place in self._places:
            weight: Tensor = place.synapse.weight
            self.banks[place.name] = LateralBank(
                weight[0].numel(),
                rate=rate[place.name] if isinstance(rate, Mapping) else rate,
                momentum=momentum,
                iterations=iterations,
                limit=limit,
                spiking=spiking,
            ).to(weight)

    @property
    def protects(self) -> bool:
        """Whether there are frozen rows, those of earlier tasks."""
        return any(bank.frozen for _, bank in self.each())

    def each(self) -> Iterator[tuple[Place, LateralBank]]:
        """Yield each synapse with its bank, in the order of the network's edges."""
        for place in self._places:
            bank = self.banks[place.name]
            assert isinstance(bank, LateralBank)
            yield place, bank

    def begin_task(self, rows: int | Sequence[int] | Mapping[str, int]) -> None:
        """Freeze the rows learned so far and add lateral neurons for the next task.

        Parameters
        ----------
        rows : int, sequence of int or mapping of str to int
            Number of new rows: for every bank, for each in the order of `banks`, or for each by name.
        """
        if isinstance(rows, Mapping):
            self._check_names("rows", rows)
            counts = [rows[name] for name in self.banks]
        else:
            counts = [rows] * len(self.banks) if isinstance(rows, int) else list(rows)
        if len(counts) != len(self.banks):
            raise InputError(f"rows must give a number for each of the banks {list(self.banks)}; got {rows!r}.")
        for (_, bank), count in zip(self.each(), counts, strict=True):
            bank.freeze()
            bank.grow(count)

    def unprotected(self) -> list[nn.Parameter]:
        """Return the parameters of the network without a bank: biases and parameters of neurons."""
        protected = {id(place.synapse.weight) for place in self._places}
        return [parameter for parameter in self._net[0].parameters() if id(parameter) not in protected]

    def _check_names(self, what: str, given: Mapping[str, Any]) -> None:
        names = [place.name for place in self._places]
        if set(given) != set(names):
            raise InputError(f"{what} must name the banks {names}; got {list(given)}.")
