"""What pytest leaves out of the search for doctests where an optional package is missing."""

from __future__ import annotations

import importlib.util

# Triton ships for Linux alone; these modules are written in it.
collect_ignore = (
    [] if importlib.util.find_spec("triton") else ["neurosim/kernels/cuda_events.py", "neurosim/kernels/cuda_layer.py"]
)
