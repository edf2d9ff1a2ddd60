"""Comparison of an ONNX graph under onnxruntime with the simulator, step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.exchange.onnx.exporting import IN_FLIGHT, NEXT, to_onnx
from neurosim.network.network import Network


@dataclasses.dataclass(frozen=True)
class OnnxVerification:
    """Result of `verify_onnx`.

    Attributes
    ----------
    version : str
        Of onnxruntime.
    compared : int
        Outputs of all populations, steps and samples.
    differing : mapping of str to int
        By population: spikes that differ, or membranes beyond 1e-4 of the largest (1e-9 in double precision).
    largest : mapping of str to float
        Largest difference of an output.
    sent : int
        Outputs that are not 0.
    """

    version: str
    compared: int
    differing: Mapping[str, int]
    largest: Mapping[str, float]
    sent: int

    @property
    def agrees(self) -> bool:
        """Whether no output differs."""
        return not any(self.differing.values())


def verify_onnx(net: Network, x: Tensor | Mapping[str, Tensor]) -> OnnxVerification:
    """Run the graph of a network under onnxruntime, feeding its state back, and compare every output.

    Parameters
    ----------
    net : Network
    x : Tensor [T, B, ...], or mapping of input name to such

    Raises
    ------
    ExportError
        When the graph cannot hold the network.
    InputError
        When onnx or onnxruntime is not installed, or x is empty.
    """
    model = to_onnx(net)
    try:
        import onnxruntime
    except ImportError:
        raise InputError("verify_onnx needs onnxruntime: pip install 'neurosim-toolkit[onnx]'") from None
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    dtype = net.like().dtype
    given = x if isinstance(x, Mapping) else dict.fromkeys(net.inputs[:1], x)
    data = net.checked_inputs(
        {name: each.to(dtype) if isinstance(each, Tensor) else each for name, each in given.items()}
    )
    steps, samples = next(iter(data.values())).shape[:2]
    if not steps * samples:
        raise InputError(f"x must hold a step and a sample at least; got [T, B] = [{steps}, {samples}].")
    kind = np.float64 if dtype is torch.float64 else np.float32
    state = _start(net, samples, kind)
    neurons = net.neurons()
    with torch.no_grad():
        ours = net.run(data, None, list(neurons)).recorded
    names = [each.name for each in session.get_outputs()]
    theirs: dict[str, list[np.ndarray]] = {name: [] for name in neurons}
    for step in range(steps):
        found = dict(
            zip(names, session.run(names, {**{n: d[step].numpy() for n, d in data.items()}, **state}), strict=True)
        )
        state = {name.removesuffix(NEXT): value for name, value in found.items() if name.endswith(NEXT)}
        for name in neurons:
            theirs[name].append(np.broadcast_to(found[f"{name}.out"], (samples, *net.shape(name))))
    differing, largest = {}, {}
    for name, neuron in neurons.items():
        expected = ours[name].detach().numpy()
        gap = np.abs(np.stack(theirs[name]) - expected)
        allowed = (
            0.0 if neuron.is_spiking else (1e-9 if kind is np.float64 else 1e-4) * np.abs(expected).max(initial=0.0)
        )
        differing[name], largest[name] = int((gap > allowed).sum()), float(gap.max(initial=0.0))
    compared = sum(ours[name].numel() for name in neurons)
    sent = sum(int(torch.count_nonzero(ours[name])) for name in neurons)
    return OnnxVerification(onnxruntime.__version__, compared, differing, largest, sent)


def _start(net: Network, samples: int, kind: type) -> dict[str, np.ndarray]:
    """Return the state before the first step, as the graph takes it."""
    state: dict[str, np.ndarray] = {
        f"{name}.{variable}": np.full((samples, *net.shape(name)), value, kind)
        for name, neuron in net.neurons().items()
        for variable, value in neuron.core.state.items()
    }
    for name, steps in net.steps_in_flight().items():
        state[f"{name}{IN_FLIGHT}"] = np.zeros((steps, samples, *net.shape(name)), kind)
    return state
