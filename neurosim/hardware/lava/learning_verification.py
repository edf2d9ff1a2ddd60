"""Comparison of plastic edges on Lava with the simulator, step by step."""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from neurosim.errors import NothingCompared
from neurosim.hardware.lava.export import to_lava
from neurosim.hardware.lava.inputs import Data, as_arrays
from neurosim.hardware.lava.learning import PlasticityRule
from neurosim.network.graph import NetworkState
from neurosim.network.network import Network
from neurosim.plasticity.engine import Plasticity
from neurosim.synapses import Linear


@dataclass(frozen=True)
class EdgeVerification:
    """The weights of one plastic edge, on Lava and in the simulator, after each step.

    Attributes
    ----------
    compared : int
        Steps times samples times weights.
    largest : float
        Largest difference between the two.
    moved : float
        Largest distance of a weight from its start.
    """

    name: str
    compared: int
    largest: float
    moved: float


@dataclass(frozen=True)
class LearningVerification:
    """Result of `verify_learning`.

    Attributes
    ----------
    steps, samples : int
        Size of the run.
    edges : tuple of EdgeVerification
        The plastic edges.
    spikes : int
        Spikes of the output node in the simulator.
    spikes_differing : int
        Bins of the output node with a spike in only one of the two.
    seconds_lava : float
        Wall time of Lava's run.
    """

    steps: int
    samples: int
    edges: tuple[EdgeVerification, ...]
    spikes: int
    spikes_differing: int
    seconds_lava: float

    @property
    def agrees(self) -> bool:
        """Whether no spike differs, and no weight by more than 1e-9 of the largest distance from the start."""
        return self.spikes_differing == 0 and all(e.largest <= 1e-9 * max(e.moved, 1e-3) for e in self.edges)

    def summary(self) -> str:
        """Return the result in a few lines."""
        head = (
            f"Lava and simulator: {self.spikes_differing} spikes of the output differ, {self.spikes} in the simulator "
            f"({self.samples} samples of {self.steps} steps, Lava took {self.seconds_lava:.1f} s)"
        )
        still = [e.name for e in self.edges if not e.moved]
        head += f"; {weights_at_rest(still)}" if still else ""
        rows = [
            f"  {e.name}: weights moved by up to {e.moved:.3g}, differ by up to {e.largest:.2g}" for e in self.edges
        ]
        return "\n".join([head, *rows])


def verify_learning(
    net: Network,
    rules: Mapping[str, PlasticityRule],
    x: Data,
    rewards: Sequence[float] | None = None,
    *,
    timeout: float = 300.0,
    python: str | os.PathLike[str] | None = None,
) -> LearningVerification:
    """Run plastic edges on Lava and in the simulator, each sample from the same weights, and compare step by step.

    Parameters
    ----------
    net : Network
        As for `to_lava`; it is not changed.
    rules : mapping of str to PairSTDP or RewardModulated
        As for `Plasticity`, with a `dendritic_delay` of one step.
    x : Tensor or array [T, B, ...]
        Input of the one input node.
    rewards : sequence of float, optional
        The reward after each of the T steps; NaN for none.
    timeout, python
        As in `verify`.

    Returns
    -------
    LearningVerification

    Raises
    ------
    ExportError, ShapeError, InputError, TargetRunError
        As in `verify` and `Plasticity`.

    Warns
    -----
    NothingCompared
        When no weight of an edge changed.
    """
    export = to_lava(net, rules)
    data = as_arrays(export.network, x)
    (name,) = export.network.inputs
    run = export.run(data, record=[net.output], rewards=rewards, timeout=timeout, python=python)
    spikes, differing = 0, 0
    largest, moved = dict.fromkeys(rules, 0.0), dict.fromkeys(rules, 0.0)
    for sample in range(data[name].shape[1]):
        z, weights = _simulated(export.network, rules, torch.from_numpy(data[name][:, sample : sample + 1]), rewards)
        spikes += int(z.sum())
        differing += int((z != run.outputs[net.output][:, sample : sample + 1]).sum())
        for edge, values in weights.items():
            apart = np.abs(values[1:] - run.weights[edge][:, sample])
            largest[edge] = max(largest[edge], float(apart.max()))
            moved[edge] = max(moved[edge], float(np.abs(values - values[0]).max()))
    edges = tuple(EdgeVerification(e, int(run.weights[e].size), largest[e], moved[e]) for e in rules)
    steps, samples = data[name].shape[:2]
    still = [edge.name for edge in edges if not edge.moved]
    if still:
        warnings.warn(weights_at_rest(still), NothingCompared, stacklevel=2)
    return LearningVerification(steps, samples, edges, spikes, differing, run.seconds)


def weights_at_rest(edges: Sequence[str]) -> str:
    """Return what to say of edges on which nothing was learned."""
    return (
        f"no weight of {', '.join(edges)} changed: that shows nothing of the rule. Give an input at which both sides "
        "spike, and a reward where the rule needs one"
    )


def _simulated(
    net: Network, rules: Mapping[str, PlasticityRule], x: torch.Tensor, rewards: Sequence[float] | None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the output [T, 1, ...] and the weights [1 + T, out, in] of each plastic edge, the start first."""
    net = copy.deepcopy(net)
    plasticity, state = Plasticity(net, rules), None
    plastic = {edge.name: edge.synapses[0] for edge in net.edges if edge.name in rules}
    weights: dict[str, list[np.ndarray]] = {edge: [] for edge in plastic}
    out: list[torch.Tensor] = []
    for step in range(-1, len(x)):
        if step >= 0:
            after: tuple[torch.Tensor, NetworkState] = plasticity.run(x[step : step + 1], state)
            z, state = after
            out.append(z)
            if rewards is not None and not math.isnan(rewards[step]):
                plasticity.reward(float(rewards[step]))
        for edge, synapse in plastic.items():
            assert isinstance(synapse, Linear)
            weights[edge].append(synapse.weight.detach().numpy().copy())
    return torch.cat(out).numpy(), {edge: np.stack(values) for edge, values in weights.items()}
