"""What pytest leaves out of the search for doctests where an optional package is missing."""

from __future__ import annotations

import importlib.util

# By the package that they are written in or for; Triton ships for Linux alone.
_NEED = {
    "triton": ["neurosim/kernels/cuda_events.py", "neurosim/kernels/cuda_layer.py"],
    "nir": [f"neurosim/hardware/nir/{module}.py" for module in ("exporting", "importing", "verify")],
    "snntorch": ["neurosim/interop/from_snntorch.py"],
}
collect_ignore = [path for package, paths in _NEED.items() if not importlib.util.find_spec(package) for path in paths]
