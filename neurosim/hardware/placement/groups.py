"""Placement on a chip that is one group of hidden neurons and one of output neurons, such as a Xylo."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim.errors import InputError
from neurosim.files.atomic import json_text
from neurosim.files.notebook import text_html
from neurosim.hardware.placement.keys import GROUP_LIMITS
from neurosim.hardware.placement.placement import Misfit, aligned, lines_of
from neurosim.hardware.placement.workload import Workload
from neurosim.hardware.targets import Target, load_target
from neurosim.network.network import Network

_REMEDIES = {
    "inputs": "join or leave out inputs, such as neighbouring channels, down to {allowed}",
    "hidden_neurons": "train with {allowed} hidden neurons or fewer",
    "output_neurons": "train with {allowed} output neurons or fewer, or code classes by several of them",
    "neurons_with_input": "let inputs reach {allowed} of the hidden neurons, in a population before the others",
    "neurons_to_outputs": "let {allowed} of the hidden neurons reach the outputs, in a population behind the others",
    "synaptic_currents": "feed one port of the neurons: one time constant for all of their synapses",
}


@dataclass(frozen=True, eq=False)
class GroupPlacement:
    """A network on a chip of two groups. Made by `place_groups`.

    Attributes
    ----------
    target : Target
    use : mapping of str to int
        What the network needs, for each limit that the chip has.
    misfits : tuple of Misfit
        Empty where everything fits.
    """

    target: Target
    use: Mapping[str, int]
    misfits: tuple[Misfit, ...]

    @property
    def fits(self) -> bool:
        """Whether everything fits."""
        return not self.misfits

    def heading(self) -> str:
        """Return the result in one sentence."""
        used = (
            f"{self.use['hidden_neurons']} of {self._allowed('hidden_neurons')} hidden neurons of {self.target.title}"
        )
        return f"It fits: {used}." if self.fits else f"It does not fit: it takes {used}."

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each limit."""
        return [
            {
                "limit": GROUP_LIMITS[key],
                "needed": needed,
                "allowed": self._allowed(key),
                "share": f"{needed / self._allowed(key):.0%}",
            }
            for key, needed in self.use.items()
        ]

    def findings(self) -> list[str]:
        """Return what does not fit and what would make it fit, one line each."""
        return lines_of(self.misfits)

    def table(self) -> str:
        """Return aligned text: a row for each limit, and what does not fit."""
        return "\n".join((self.heading(), *aligned(self.rows(), ("limit",)), *self.findings()))

    __str__ = table

    def _repr_html_(self) -> str:
        return text_html(self.table())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "target": self.target.name,
            "title": self.target.title,
            "fits": self.fits,
            "needed": dict(self.use),
            "allowed": {key: self._allowed(key) for key in self.use},
            "misfits": [misfit.to_dict() for misfit in self.misfits],
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return `to_dict` as JSON text, and write it to `path` if given."""
        return json_text(self.to_dict(), path)

    def _allowed(self, key: str) -> int:
        return int(self.target.limits[key].number)


def is_of_groups(target: Target) -> bool:
    """Return whether a chip is one group of hidden neurons and one of output neurons."""
    return "hidden_neurons" in target.limits


def place_groups(net: Network, target: str | os.PathLike[str] | Target) -> GroupPlacement:
    """Place a network on a chip of two groups and report what does not fit.

    The output of the network are the output neurons, all other populations are hidden neurons.

    Parameters
    ----------
    net : Network
        Before or after quantisation. Weights of exactly 0 are no synapses.
    target : name, path or Target
        A chip that states `limits.hidden_neurons`, such as ``"xylo_audio3"``.

    Returns
    -------
    GroupPlacement
        ``print(placement)`` gives the table.

    Raises
    ------
    InputError
        When the target is no such chip, or a synapse is not linear.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.hardware.placement import place_groups
    >>> net = ns.Sequential(
    ...     ns.Linear(16, 200), ns.CubaLIF(dt=1e-3), ns.Linear(200, 10), ns.CubaLIF(dt=1e-3), names=("hidden", "out")
    ... )
    >>> print(place_groups(net, "xylo_audio3"))
    It does not fit: it takes 200 of 992 hidden neurons of SynSense XyloAudio 3 (SYNS65302).
    limit                          needed  allowed  share
    -----------------------------------------------------
    inputs                             16       16   100%
    hidden neurons                    200      992    20%
    output neurons                     10       16    62%
    hidden neurons with input         200      128   156%
    hidden neurons to outputs         200      128   156%
    synaptic currents of a neuron       1        2    50%
    network: needs 200 hidden neurons with input; SynSense XyloAudio 3 (SYNS65302) has 128
      would fit: let inputs reach 128 of the hidden neurons, in a population before the others
    network: needs 200 hidden neurons to outputs; SynSense XyloAudio 3 (SYNS65302) has 128
      would fit: let 128 of the hidden neurons reach the outputs, in a population behind the others
    """
    target = target if isinstance(target, Target) else load_target(target)
    if not is_of_groups(target):
        raise InputError(
            f"{target.name} states no hidden neurons ({target.path.name}); place the network with place()."
        )
    needs = _needs(net, Workload.of(net))
    use = {key: needs[key] for key in GROUP_LIMITS if key in target.limits}
    misfits = []
    for key, needed in use.items():
        allowed = int(target.limits[key].number)
        if needed > allowed:
            what = f"needs {needed} {GROUP_LIMITS[key]}; {target.title} has {allowed}"
            misfits.append(Misfit("network", key, needed, allowed, what, (_REMEDIES[key].format(allowed=allowed),)))
    return GroupPlacement(target, use, tuple(misfits))


def _needs(net: Network, workload: Workload) -> dict[str, int]:
    sizes = {group.name: group.neurons for group in workload.groups}
    hidden = [name for name in sizes if name != net.output]
    with_input = {name: np.zeros(sizes[name], bool) for name in hidden}
    to_outputs = {name: np.zeros(sizes[name], bool) for name in hidden}
    for link in workload.links:
        if link.source in workload.inputs and link.target in with_input:
            with_input[link.target] |= np.array([link.reach.fan_in(k) > 0 for k in range(sizes[link.target])])
        if link.target == net.output and link.source in to_outputs:
            to_outputs[link.source] |= link.reach.onto(np.arange(sizes[net.output])) > 0
    ports = {name: {edge.port for edge in net.edges if edge.target == name} - {"alias"} for name in hidden}
    return {
        "inputs": sum(workload.inputs.values()),
        "hidden_neurons": sum(sizes[name] for name in hidden),
        "output_neurons": sizes[net.output],
        "neurons_with_input": sum(int(each.sum()) for each in with_input.values()),
        "neurons_to_outputs": sum(int(each.sum()) for each in to_outputs.values()),
        "synaptic_currents": max((len(each) for each in ports.values()), default=0),
    }
