"""Benchmarks of neurosim against its peers and the limits of the machine: ``python -m benchmarks``."""
