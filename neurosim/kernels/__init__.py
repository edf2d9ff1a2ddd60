"""From a core to running code: expressions, adjoint, reference, fused kernels, LaTeX and counts."""

from neurosim.kernels.availability import kernels
from neurosim.kernels.counts import OperationCount, operations
from neurosim.kernels.latex import latex

__all__ = ["OperationCount", "kernels", "latex", "operations"]
