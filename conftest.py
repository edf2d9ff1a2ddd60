"""Files in which pytest does not look for doctests where an optional package is missing."""

from __future__ import annotations

import importlib.util

# By the package that they need; Triton is for Linux only.
_NEED = {
    "triton": ["neurosim/kernels/linear/cuda_events.py", "neurosim/kernels/linear/cuda.py"],
    "nir": [f"neurosim/exchange/nir/{module}.py" for module in ("exporting", "importing", "verify")],
    "optuna": ["neurosim/sweeps/searching.py"],
    "xarray": ["neurosim/sweeps/sweeping.py"],
    "snntorch": [f"neurosim/exchange/peers/{module}.py" for module in ("snntorch", "verdicts")],
}
collect_ignore = [path for package, paths in _NEED.items() if not importlib.util.find_spec(package) for path in paths]
