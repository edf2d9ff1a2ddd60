"""The C files of a network, written to a folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from neurosim.files.atomic import replaced
from neurosim.files.paths import output_folder
from neurosim.hardware.c.arrays import Arrays
from neurosim.hardware.c.source import CProgram, c_program
from neurosim.hardware.c.texts import MAIN, VECTORS
from neurosim.hardware.integers import integer_network, simulated, spikes_of
from neurosim.hardware.integers.traces import Data
from neurosim.network.network import Network


def write_c(
    net: Network,
    folder: str | os.PathLike[str],
    x: Data,
    *,
    name: str = "network",
    input_range: tuple[int, int] = (0, 1),
) -> CProgram:
    """Write a network of integers as C99: header, source, test vectors and a main program that checks them.

    The source needs no heap, no floating point and no library. Weights are constants, states are static. A spike costs
    its row of weights, a neuron its update.

    Parameters
    ----------
    net : Network
        Of cores of integers, such as `loihi_neurons`, with integer weights: what `quantise` returns.
    folder : path-like
        Gets ``NAME.h``, ``NAME.c``, ``NAME_vectors.h`` and ``main.c``.
    x : Tensor [T, B, ...], or mapping of input name to such
        Samples whose inputs and outputs become the test vectors.
    name : str
        Of the files, and prefix of all names that the header declares.
    input_range : (int, int)
        Least and largest value of an input; 0 and 1 are spikes.

    Returns
    -------
    CProgram

    Raises
    ------
    ExportError
        With all that cannot be written as integers; nothing is then written.
    FileError
        When the folder cannot be written.

    Examples
    --------
    >>> import tempfile, torch, neurosim as ns
    >>> from neurosim.hardware.c import write_c
    >>> from neurosim.hardware.loihi import loihi_neurons
    >>> net = ns.Sequential(ns.Linear(4, 2), loihi_neurons(dt=1e-3, dv=128, v_th=80), names=["out"])
    >>> with torch.no_grad():
    ...     _ = net.edges[0].synapses[0].weight.copy_(torch.tensor([[20.0, -4, 80, 0], [54, -56, 16, 2]]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     program = write_c(net, folder, torch.ones(20, 1, 4))
    >>> program.constant_bytes, program.state_bytes
    (8, 10)
    """
    integers = integer_network(net, target="C", input_range=input_range)
    program = c_program(integers, name)
    inputs = spikes_of(integers, x)
    outputs = simulated(net, integers, x).outputs[integers.output]
    files = {
        f"{program.name}.h": program.header,
        f"{program.name}.c": program.source,
        f"{program.name}_vectors.h": _vectors(program, inputs, outputs),
        "main.c": MAIN.format(name=program.name),
    }
    place = Path(output_folder(folder))
    for file, text in files.items():
        with replaced(place / file) as part:
            part.write_text(text, encoding="utf-8")
    return program


def _vectors(program: CProgram, inputs: np.ndarray, outputs: np.ndarray) -> str:
    """Return the text of the test vectors for inputs [T, B, n] and outputs [T, B, neurons]."""
    name = program.name
    steps, samples = inputs.shape[:2]
    by_sample = inputs.transpose(1, 0, 2).reshape(samples * steps, -1)
    at, place = np.nonzero(by_sample)
    arrays = Arrays()
    arrays.constant(f"{name}_count", np.bincount(at, minlength=len(by_sample)))
    place_type = arrays.constant(f"{name}_place", place)
    sent_type = arrays.constant(f"{name}_sent", outputs.transpose(1, 0, 2))
    is_spikes = bool((by_sample[at, place] == 1).all())
    if not is_spikes:
        arrays.constant(f"{name}_value", by_sample[at, place])
    return VECTORS.format(
        name=name,
        upper=name.upper(),
        samples=samples,
        steps=steps,
        arrays="\n".join(arrays.constants),
        place_type=place_type,
        sent_type=sent_type,
        values_too="" if is_spikes else " and values",
        first_value="" if is_spikes else "\n    uint32_t value = 0;",
        value="1" if is_spikes else f"({name}_input){name}_value[value + k]",
        next_value="" if is_spikes else f"\n            value += {name}_count[at];",
    )
