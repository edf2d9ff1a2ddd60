"""What the simulator computes for a network of integers: outputs and states of every step, as integers."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.hardware.integers.description import IntegerNetwork
from neurosim.network.network import Network

Data = Tensor | Mapping[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Traces:
    """Outputs and states of all populations.

    Attributes
    ----------
    outputs : dict of str to numpy.ndarray
        [T, B, neurons] of int64 by population: spikes, or the integer of a membrane that is read out.
    states : dict of str to dict of str to numpy.ndarray
        The same for each state after the step, by population and name.
    """

    outputs: dict[str, np.ndarray]
    states: dict[str, dict[str, np.ndarray]]

    @property
    def compared(self) -> int:
        """Neuron-steps of all samples."""
        return sum(values.size for values in self.outputs.values())

    @property
    def values(self) -> int:
        """Outputs and states of all neuron-steps."""
        return self.compared + sum(values.size for states in self.states.values() for values in states.values())

    @property
    def sent(self) -> int:
        """Outputs that are not 0."""
        return sum(int(np.count_nonzero(values)) for values in self.outputs.values())

    def differing(self, other: Traces) -> dict[str, dict[str, int]]:
        """Count by population the values that differ: of the output, and of each state."""
        return {
            name: {
                "output": int((values != other.outputs[name]).sum()),
                **{key: int((each != other.states[name][key]).sum()) for key, each in self.states[name].items()},
            }
            for name, values in self.outputs.items()
        }


def spikes_of(integers: IntegerNetwork, x: Data) -> np.ndarray:
    """Return the inputs of all steps as integers, [T, B, n], the inputs of the network one after the other.

    Raises
    ------
    InputError
        When an input is missing, or a value is outside the range of the inputs.
    """
    data = _data(integers, x)
    parts = []
    for name, shape in integers.inputs.items():
        values = data[name]
        if values.dim() != 2 + len(shape) or tuple(values.shape[2:]) != shape or not values.numel():
            raise InputError(
                f"x for {name!r} must be [T, B, {', '.join(map(str, shape))}] with T and B from 1; got "
                f"{list(values.shape)}."
            )
        low, high = integers.input_range
        wrong = values[~((values >= low) & (values <= high) & (values == values.trunc()))]
        if wrong.numel():
            raise InputError(
                f"x for {name!r} must hold integers from {low} to {high}; got {wrong[0].item()!r}. Encode it as "
                "spikes, or give input_range."
            )
        parts.append(values.flatten(2).numpy().astype(np.int64))
    if len({part.shape[:2] for part in parts}) > 1:
        raise InputError(f"x must have one T and one B; got {[part.shape[:2] for part in parts]}.")
    return np.concatenate(parts, axis=2)


def _data(integers: IntegerNetwork, x: Data) -> dict[str, Tensor]:
    """Return the data of each input in double precision."""
    given = dict(x) if isinstance(x, Mapping) else dict.fromkeys(list(integers.inputs)[:1], x)
    if given.keys() != integers.inputs.keys():
        raise InputError(f"x must hold the inputs {list(integers.inputs)}; got {list(given)}.")
    data = {}
    for name, each in given.items():
        try:
            data[name] = torch.as_tensor(each).detach().double().cpu()
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"x for {name!r} must be a tensor; got {type(each).__name__}.") from None
    return data


def simulated(net: Network, integers: IntegerNetwork, x: Data) -> Traces:
    """Run a network in double precision; return its integers.

    Parameters
    ----------
    net : Network
        The network that `integers` was read from; it is not changed.
    integers : IntegerNetwork
    x : Tensor [T, B, ...], or mapping of input name to such
    """
    spikes_of(integers, x)
    double = copy.deepcopy(net).double().cpu().eval()
    data = _data(integers, x)
    names = [
        each
        for name, population in integers.populations.items()
        for each in (name, *(f"{name}.{state}" for state in population.step.states))
    ]
    with torch.no_grad():
        found = double.run(data, None, names).recorded

    def integer(name: str, scale: float | np.ndarray = 1.0) -> np.ndarray:
        values = found[name]
        flat = values.double().numpy() / scale if np.ndim(scale) == 0 else values.double().numpy() / np.asarray(scale)
        return np.rint(flat).reshape(*values.shape[:2], -1).astype(np.int64)

    return Traces(
        {name: integer(name, population.step.scale) for name, population in integers.populations.items()},
        {
            name: {state: integer(f"{name}.{state}") for state in population.step.states}
            for name, population in integers.populations.items()
        },
    )


def traces_of(integers: IntegerNetwork, values: np.ndarray) -> Traces:
    """Return the outputs and states that a program wrote [B, T, n]: for each neuron in order its output, its states."""
    traces, first = Traces({}, {}), 0
    for name, population in integers.populations.items():
        states = list(population.step.states)
        last = first + population.neurons * (1 + len(states))
        part = values[:, :, first:last].reshape(*values.shape[:2], population.neurons, 1 + len(states))
        part, first = part.transpose(1, 0, 2, 3), last
        traces.outputs[name] = part[..., 0]
        traces.states[name] = {state: part[..., 1 + k] for k, state in enumerate(states)}
    return traces
