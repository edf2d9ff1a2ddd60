"""Triton for CUDA: source of a kernel and the modules that hold it."""
