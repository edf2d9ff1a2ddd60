"""The Verilog files of a network: core, board, memory images, and a bench with its commands and answers."""

from __future__ import annotations

import dataclasses

import numpy as np

from neurosim.errors import ExportError
from neurosim.hardware.integers import IntegerNetwork
from neurosim.hardware.verilog.core import VerilogCore, core_of
from neurosim.hardware.verilog.texts import BENCH, BOARD

MOST_NEURONS = 1 << 16
CLEAR, STEP, EVENT, LOAD = range(4)


@dataclasses.dataclass(frozen=True)
class Design:
    """A network as a Verilog design.

    Attributes
    ----------
    core : VerilogCore
    source : str
        Text of the core and of the top module around it.
    """

    core: VerilogCore
    source: str

    @property
    def name(self) -> str:
        """Name of the top module."""
        return self.core.name

    def images(self) -> dict[str, str]:
        """Return the memory images by file name, in hexadecimal."""
        return {
            f"{self.name}_{name}.mem": _hexadecimal(values, self.core.widths[name])
            for name, values in self.core.memories.items()
        }

    def bench(self, inputs: np.ndarray, outputs: np.ndarray) -> dict[str, str]:
        """Return the files of the bench by name.

        Parameters
        ----------
        inputs : numpy.ndarray [T, B, n]
        outputs : numpy.ndarray [T, B, neurons]
            Outputs that must come back.
        """
        steps, samples = inputs.shape[:2]
        loads = self._loads()
        commands, expected = [loads], []
        for sample in range(samples):
            commands.append(np.array([CLEAR], np.uint8))
            for step in range(steps):
                commands.append(_events(inputs[step, sample], self.core.input_width))
                commands.append(np.array([STEP], np.uint8))
                expected.append(_events(outputs[step, sample], self.core.output_width))
                expected.append(np.array([STEP], np.uint8))
        sent, back = np.concatenate(commands), np.concatenate(expected)
        text = BENCH.format(
            name=self.name,
            commands=len(sent),
            expected=len(back),
            loads=len(loads),
            steps=steps * samples,
            limit=1000 + 2 * len(loads) + 2 * self.core.longest_step,
        )
        return {
            f"{self.name}_bench.v": text,
            f"{self.name}_commands.mem": _hexadecimal(sent, 8),
            f"{self.name}_expected.mem": _hexadecimal(back, 8),
        }

    def _loads(self) -> np.ndarray:
        """Return the commands that load the weights; none where the configuration holds them."""
        if not self.core.loaded:
            return np.zeros(0, np.uint8)
        weights, size = self.core.memories["weights"], _bytes(self.core.weight_width)
        rows = [np.full(len(weights), LOAD)] + [(weights >> (8 * k)) & 255 for k in range(size)]
        return np.stack(rows, axis=1).reshape(-1).astype(np.uint8)


def design_of(integers: IntegerNetwork, name: str = "network", *, loaded: bool = False) -> Design:
    """Return the design of a network; see `core_of`.

    Raises
    ------
    ExportError
        When an event's index needs more than 16 bits.
    """
    core = core_of(integers, name, loaded=loaded)
    if max(core.inputs, core.outputs) > MOST_NEURONS:
        raise ExportError(
            f"Verilog: {max(core.inputs, core.outputs)} inputs or outputs; an event has an index of 16 bits: "
            f"use at most {MOST_NEURONS}."
        )
    return Design(core, core.source + "\n" + _board(core))


def _board(core: VerilogCore) -> str:
    event, weight = 2 + 4 * (core.input_width > 1), _bytes(core.weight_width)
    bits = 8 * max(event, weight, 2)
    index_at = bits - 8 * event
    wide = core.output_width > 1
    sign = f"{{{{{32 - core.output_width}{{out_value[{core.output_width - 1}]}}}}, out_value}}, " if wide else ""
    return BOARD.format(
        name=core.name,
        argument_top=bits - 1,
        event_bytes=event,
        weight_bytes=weight,
        weight_at=bits - 8 * weight,
        weight_width=core.weight_width,
        index_at=index_at,
        input_bits=max((core.inputs - 1).bit_length(), 1),
        output_bits=max((core.outputs - 1).bit_length(), 1),
        output_top=core.output_width - 1,
        in_value=f"argument[{index_at + 16} +: {core.input_width}]" if core.input_width > 1 else "1'b1",
        value_in=" and value (4 bytes)" if core.input_width > 1 else "",
        value_out=" and value (4 bytes)" if wide else "",
        answer_top=8 * (3 + 4 * wide) - 1,
        answer_value=sign,
        answer_bytes=3 + 4 * wide,
    )


def _bytes(bits: int) -> int:
    return -(-bits // 8)


def _events(values: np.ndarray, width: int) -> np.ndarray:
    """Return the bytes of the values that are not 0: code, index, and the value where it is not a spike."""
    (places,) = np.nonzero(values)
    columns = [np.full(len(places), EVENT), places & 255, places >> 8]
    if width > 1:
        columns += [(values[places] >> (8 * k)) & 255 for k in range(4)]
    return np.stack(columns, axis=1).reshape(-1).astype(np.uint8)


def _hexadecimal(values: np.ndarray, width: int) -> str:
    digits = -(-width // 4)
    return "".join(f"{int(value):0{digits}x}\n" for value in values.reshape(-1))
