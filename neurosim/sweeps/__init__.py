"""Sweeps: a function or a network run for many values of its parameters, over processes, Dask or SLURM."""

from __future__ import annotations

from neurosim.sweeps.dataset import load_sweep
from neurosim.sweeps.searching import Search, search
from neurosim.sweeps.sweeping import sweep

__all__ = ["Search", "load_sweep", "search", "sweep"]
