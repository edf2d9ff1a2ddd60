"""The nodes and synapses of a network as module containers that check what is put in the place of a part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from neurosim.errors import NetworkError, ShapeError
from neurosim.network.graph import Connection
from neurosim.network.population import Population
from neurosim.synapses import Synapse
from neurosim.synapses.delayed import Delayed
from neurosim.synapses.time_step import restored_on_error

_REBUILD = "build another ns.Network"


class SynapseList(nn.ModuleList):
    """The synapses of one edge; one of them may be replaced by another of the same shapes.

    Parameters
    ----------
    edge : Connection
    shape : tuple of int
        Of one step of the spikes into the first of them.
    dt : float
        Length of a step of the network, s.
    """

    def __init__(self, edge: Connection, shape: tuple[int, ...], dt: float) -> None:
        super().__init__(edge.synapses)
        self._edge, self._shape, self._dt = edge, shape, dt

    def __setattr__(self, name: str, value: Any) -> None:
        """Replace a synapse, which then runs in its place."""
        if not name.isdigit():
            super().__setattr__(name, value)
            return
        edge, number = self._edge, int(name)
        place = f"synapses[{edge.name!r}][{number}]"
        if number >= len(self):
            raise NetworkError(f"{place}: the edge has {len(self)} synapses, whose number is fixed; {_REBUILD}.")
        if not isinstance(value, Synapse):
            raise NetworkError(f"{place} must be a synapse such as ns.Linear(...); got {type(value).__name__}.")
        changed = (*edge.synapses[:number], value, *edge.synapses[number + 1 :])
        with restored_on_error(value):
            self._check_dt(place, value)
            self._check_fit(place, edge.synapses, changed, number)
        super().__setattr__(name, value)
        object.__setattr__(edge, "synapses", changed)

    def _check_fit(self, place: str, synapses: tuple[Synapse, ...], changed: tuple[Synapse, ...], number: int) -> None:
        """Raise unless changed synapses give currents of the same shape after the same delays."""
        before, after = (_end(self._shape, each) for each in (synapses, changed))
        if before != after:
            raise ShapeError(f"{place}: the current would be {list(after)}, it is {list(before)}; {_REBUILD}.")
        old, value = synapses[number], changed[number]
        if (old.memory, old.min_delay) != (value.memory, value.min_delay):
            raise NetworkError(
                f"{place}: delays of {value.min_delay} to {value.memory} steps would replace those of "
                f"{old.min_delay} to {old.memory}; {_REBUILD}."
            )

    def _check_dt(self, place: str, new: Synapse) -> None:
        """Give a synapse with delays the step of the network, or raise if it has another."""
        if not isinstance(new, Delayed):
            return
        if not new.has_dt:
            new.set_dt(self._dt)
        if new.dt != self._dt:
            raise NetworkError(f"{place}: dt is {self._dt:g} s in this network, not {new.dt:g} s; {_REBUILD}.")

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Raise: the number of synapses of an edge is fixed."""
        if "_edge" in vars(self):
            raise NetworkError(
                f"edge {self._edge.name!r} has a fixed number of synapses; {_REBUILD}, or replace one of them: "
                f"net.synapses[{self._edge.name!r}][0] = ..."
            )
        super().add_module(name, module)

    def __delitem__(self, idx: int | slice) -> None:
        """Raise: the number of synapses of an edge is fixed."""
        raise NetworkError(f"edge {self._edge.name!r} has a fixed number of synapses; {_REBUILD}.")


class Parts(nn.ModuleDict):
    """The nodes of a network, or the synapses of its edges, by name.

    A population may be replaced by another with the same dt, shape and ports; anything else is refused.

    Parameters
    ----------
    modules : mapping of str to Module
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__(modules)
        self.shapes: Mapping[str, tuple[int, ...]] = {}
        self.is_fixed = True

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Replace a population, or raise."""
        if "is_fixed" in vars(self):
            self._check(name, module)
        super().add_module(name, module)

    def __setattr__(self, name: str, value: Any) -> None:
        """Replace a population, or raise."""
        if isinstance(value, nn.Module):
            self._check(name, value)
        super().__setattr__(name, value)

    def __delitem__(self, key: str) -> None:
        """Raise: the parts of a network are fixed."""
        raise NetworkError(f"{key!r} is a part of a network, which cannot be taken out; {_REBUILD} without it.")

    def _check(self, name: str, new: nn.Module | None) -> None:
        old = self._modules.get(name)
        if not isinstance(old, Population):
            instead = f"replace single synapses, as in net.synapses[{name!r}][0] = ..., or {_REBUILD}"
            raise NetworkError(f"{name!r} cannot be set in a network; {instead}.")
        if not isinstance(new, Population):
            raise NetworkError(f"node {name!r} must be a population such as ns.LIF(dt=...); got {type(new).__name__}.")
        shape = self.shapes[name]
        for what, before, after in (
            ("dt", old.dt, new.dt if new.has_dt else old.dt),
            ("shape", shape, new.size or shape),
            ("ports", [*old.ports], [*new.ports]),
        ):
            if before != after:
                raise NetworkError(f"node {name!r}: {what} is {before} in this network, not {after}; {_REBUILD}.")
        new.set_dt(old.dt)


def _end(shape: tuple[int, ...], synapses: tuple[Synapse, ...]) -> tuple[int, ...]:
    for synapse in synapses:
        shape = synapse.output_shape(shape)
    return shape
