"""C99 for microcontrollers: a network of integers as one header and one source, proved equal to the simulator."""

from __future__ import annotations

from neurosim.hardware.c.compiling import MACHINES, Machine, Size, nanoseconds, size_of
from neurosim.hardware.c.report import CReport, report_c
from neurosim.hardware.c.source import CProgram, c_program
from neurosim.hardware.c.verification import CVerification, verify_c
from neurosim.hardware.c.writing import write_c

__all__ = [
    "MACHINES",
    "CProgram",
    "CReport",
    "CVerification",
    "Machine",
    "Size",
    "c_program",
    "nanoseconds",
    "report_c",
    "size_of",
    "verify_c",
    "write_c",
]
