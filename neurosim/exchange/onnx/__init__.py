"""One time step of a network as an ONNX graph, with the state as inputs and outputs."""

from __future__ import annotations

from neurosim.exchange.onnx.exporting import to_onnx, write_onnx
from neurosim.exchange.onnx.verify import OnnxVerification, verify_onnx

__all__ = ["OnnxVerification", "to_onnx", "verify_onnx", "write_onnx"]
