"""The Verilog files of a network, written to a folder."""

from __future__ import annotations

import os
from pathlib import Path

from neurosim.files.atomic import replaced
from neurosim.files.paths import output_folder
from neurosim.hardware.integers import integer_network, simulated, spikes_of
from neurosim.hardware.integers.traces import Data
from neurosim.hardware.targets import Target
from neurosim.hardware.verilog.design import Design, design_of
from neurosim.hardware.verilog.routing import fpga_of, is_loaded
from neurosim.network.network import Network


def write_verilog(
    net: Network,
    folder: str | os.PathLike[str],
    x: Data,
    *,
    name: str = "network",
    board: str | os.PathLike[str] | Target = "ice40up5k",
    input_range: tuple[int, int] = (0, 1),
) -> Design:
    """Write a network of integers as Verilog: a synthesisable core, memory images and a self-checking bench.

    Parameters
    ----------
    net : Network
        Of cores of integers, with integer weights: what `quantise` returns.
    folder : path-like
        Gets ``NAME.v``, ``NAME_*.mem``, ``NAME_bench.v`` and the bytes that the bench sends and expects.
    x : Tensor [T, B, ...], or mapping of input name to such
        Samples for the bench.
    name : str
        Of the top module and of the files.
    board : str, path-like or Target
        FPGA that the design is written for: it decides whether the configuration holds the weights, or a port loads
        them.
    input_range : (int, int)
        Least and largest value of an input; 0 and 1 are spikes.

    Returns
    -------
    Design

    Raises
    ------
    ExportError
        With all that cannot be written as integers; nothing is then written.
    FileError
        When the folder cannot be written.
    """
    chip, family = fpga_of(board)
    integers = integer_network(net, target="Verilog", input_range=input_range)
    design = design_of(integers, name)
    design = design_of(integers, name, loaded=is_loaded(design, chip, family))
    inputs = spikes_of(integers, x)
    outputs = simulated(net, integers, x).outputs[integers.output]
    files = {f"{design.name}.v": design.source, **design.images(), **design.bench(inputs, outputs)}
    place = Path(output_folder(folder))
    for file, text in files.items():
        with replaced(place / file) as part:
            part.write_text(text, encoding="utf-8")
    return design
