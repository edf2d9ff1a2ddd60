"""Compilation and runs of C programs, on this machine or on an emulated Cortex-M4."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from neurosim.errors import InputError, TargetRunError
from neurosim.hardware.c.source import CProgram
from neurosim.hardware.c.texts import CLOCK, HARNESS, LINKER_SCRIPT, VECTOR_TABLE
from neurosim.hardware.packages import check_timeout

STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wconversion")


@dataclass(frozen=True)
class Machine:
    """Where a program is compiled for and run.

    Attributes
    ----------
    name : str
    compiler : str
    options : tuple of str
        Of the compiler, for every file.
    linked : tuple of str
        Of the compiler, for a program.
    size : str
        Program that prints the sizes of an object file.
    emulator : tuple of str
        What runs the program; nothing for this machine.
    byte_order : str
        Of numpy.
    packages : str
        System packages that hold the programs.
    """

    name: str
    compiler: str
    options: tuple[str, ...]
    linked: tuple[str, ...]
    size: str
    emulator: tuple[str, ...]
    byte_order: Literal["=", "<"]
    packages: str

    @property
    def missing(self) -> tuple[str, ...]:
        """Programs that are not installed."""
        return self.missing_compilers + _absent(self.emulator[:1])

    @property
    def missing_compilers(self) -> tuple[str, ...]:
        """Programs that are not installed, of those that compile and measure."""
        return _absent((self.compiler, self.size))


def _absent(programs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for each in programs if shutil.which(each) is None)


_ARM = ("-mcpu=cortex-m4", "-mthumb")
_QEMU = ("qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none")
MACHINES = {
    "gcc": Machine("gcc", "gcc", ("-O2",), (), "size", (), "=", "gcc"),
    "clang": Machine("clang", "clang", ("-O2",), (), "size", (), "=", "clang binutils"),
    "cortex-m4": Machine(
        "cortex-m4",
        "arm-none-eabi-gcc",
        (*_ARM, "-Os"),
        ("--specs=rdimon.specs", "-T", "machine.ld", "vectors.c"),
        "arm-none-eabi-size",
        (*_QEMU, "-semihosting-config", "enable=on,target=native", "-kernel"),
        "<",
        "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm",
    ),
}


@dataclass(frozen=True)
class Size:
    """Bytes of the compiled network, without a main program.

    Attributes
    ----------
    machine : str
    flash : int
        Code and constants.
    ram : int
        Variables; the stack adds to them.
    """

    machine: str
    flash: int
    ram: int


def machine_of(name: str, *, emulated: bool = True) -> Machine:
    """Return a machine whose programs are installed, the emulator too if the program is run.

    Raises
    ------
    InputError
        For an unknown name.
    TargetRunError
        With the programs that are missing, and the packages that hold them.
    """
    if name not in MACHINES:
        raise InputError(f"machine must be one of {', '.join(MACHINES)}; got {name!r}.")
    machine = MACHINES[name]
    missing = machine.missing if emulated else machine.missing_compilers
    if missing:
        raise TargetRunError(
            f"{', '.join(missing)} not found, which {name} needs. On Debian: apt-get install {machine.packages}"
        )
    return machine


def size_of(program: CProgram, machine: str) -> Size:
    """Return the bytes that a compiled network takes."""
    with _folder(program) as folder:
        chosen = machine_of(machine, emulated=False)
        _run([chosen.compiler, *STRICT, *chosen.options, "-c", f"{program.name}.c", "-o", "part.o"], folder, 300)
        text, data, bss, *_ = map(int, re.findall(r"\d+", _run([chosen.size, "part.o"], folder, 60).split("\n")[1]))
        return Size(machine, text + data, data + bss)


def traced(program: CProgram, inputs: np.ndarray, machine: str, timeout: float) -> np.ndarray:
    """Run the network on samples; return all values of its trace.

    Parameters
    ----------
    program : CProgram
    inputs : numpy.ndarray [B, T, n]
    machine : str
        A name of `MACHINES`.
    timeout : float
        Seconds for the run.

    Returns
    -------
    numpy.ndarray [B, T, values] of int64
    """
    samples, steps = inputs.shape[:2]
    chosen = machine_of(machine)
    with _folder(program) as folder:
        _main(folder, HARNESS, program, samples, steps)
        _inputs(folder, inputs, program, chosen.byte_order)
        (folder / "vectors.c").write_text(VECTOR_TABLE.format())
        (folder / "machine.ld").write_text(LINKER_SCRIPT.format())
        defined = f"-D{program.name.upper()}_TRACE"
        files = ["main.c", f"{program.name}.c"]
        _run([chosen.compiler, *STRICT, *chosen.options, defined, *files, *chosen.linked, "-o", "program"], folder, 300)
        _run([*chosen.emulator, str(folder / "program")], folder, timeout)
        values = np.fromfile(folder / "trace.bin", dtype=f"{chosen.byte_order}i8")
    return values.reshape(samples, steps, -1).astype(np.int64)


def nanoseconds(program: CProgram, inputs: np.ndarray, machine: str = "gcc", timeout: float = 300.0) -> float:
    """Return the time of one step on one core of this machine, ns; inputs [B, T, n]."""
    chosen = machine_of(machine)
    if chosen.emulator:
        raise InputError(f"machine must run here to be timed; {machine} is emulated.")
    with _folder(program) as folder:
        _main(folder, CLOCK, program, *inputs.shape[:2])
        _inputs(folder, inputs, program, chosen.byte_order)
        _run([chosen.compiler, *STRICT, *chosen.options, "main.c", f"{program.name}.c", "-o", "program"], folder, 300)
        return float(_run([str(folder / "program")], folder, timeout))


@contextmanager
def _folder(program: CProgram) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="neurosim-c-") as name:
        folder = Path(name)
        (folder / f"{program.name}.h").write_text(program.header)
        (folder / f"{program.name}.c").write_text(program.source)
        yield folder


def _main(folder: Path, text: str, program: CProgram, samples: int, steps: int) -> None:
    filled = text.format(name=program.name, upper=program.name.upper(), samples=samples, steps=steps)
    (folder / "main.c").write_text(filled)


def _inputs(folder: Path, inputs: np.ndarray, program: CProgram, byte_order: Literal["=", "<"]) -> None:
    kind = program.input_type.removesuffix("_t")
    inputs.astype(np.dtype(kind).newbyteorder(byte_order)).tofile(folder / "input.bin")


def _run(command: list[str], folder: Path, timeout: float) -> str:
    check_timeout(timeout)
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise TargetRunError(
            f"{command[0]} did not end within {timeout:g} s; give fewer samples or a longer timeout."
        ) from None
    if done.returncode:
        raise TargetRunError(f"{command[0]} failed with status {done.returncode}:\n{done.stderr.strip()[-2000:]}")
    return done.stdout
