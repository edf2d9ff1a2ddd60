"""Verilog for FPGAs: a network of integers as a core, proved equal in an RTL simulator, placed with open tools."""

from __future__ import annotations

from neurosim.hardware.verilog.core import VerilogCore
from neurosim.hardware.verilog.cycles import cycles_per_step
from neurosim.hardware.verilog.design import Design, design_of
from neurosim.hardware.verilog.routing import FpgaPlacement, place_fpga
from neurosim.hardware.verilog.verification import VerilogVerification, verify_verilog
from neurosim.hardware.verilog.writing import write_verilog

__all__ = [
    "Design",
    "FpgaPlacement",
    "VerilogCore",
    "VerilogVerification",
    "cycles_per_step",
    "design_of",
    "place_fpga",
    "verify_verilog",
    "write_verilog",
]
