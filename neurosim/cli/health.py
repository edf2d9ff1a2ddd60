"""``neurosim doctor``: what is installed, which kernels run, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator

import torch

from neurosim.kernels.common.availability import NO_KERNEL, kernel_status

# Distribution, module, purpose, how to install it.
_PARTS = (
    ("torch", "torch", "tensors and training", "pip install torch"),
    ("llvmlite", "llvmlite", "fused CPU kernels", "pip install llvmlite"),
    ("triton", "triton", "fused CUDA kernels (Linux)", "pip install 'neurosim[cuda]'"),
    ("numpy", "numpy", "arrays", "pip install numpy"),
    ("h5py", "h5py", "recordings on disk", "pip install h5py"),
    ("matplotlib", "matplotlib", "pictures", "pip install matplotlib"),
    ("scikit-learn", "sklearn", "the handwritten digits dataset", "pip install scikit-learn"),
    (
        "lava-nc",
        "lava",
        "export to Lava",
        "pip install 'neurosim[lava]' && pip install --no-deps --ignore-requires-python lava-nc==0.10.0",
    ),
    ("snntorch", "snntorch", "comparison with peers", "pip install 'neurosim[peers]'"),
    ("norse", "norse", "comparison with peers", "pip install --no-deps norse==1.1.0"),
    ("tonic", "tonic", "readers of event files (GPL, optional)", "pip install 'neurosim[tonic]'"),
)
_NEEDED = {"torch", "llvmlite", "numpy", "h5py", "matplotlib", "scikit-learn"}


def findings() -> Iterator[tuple[bool, str, str]]:
    """Yield (good, finding, remedy) for each part; the remedy is empty where none is needed."""
    yield True, f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}", ""
    yield True, f"{os.cpu_count()} processors, torch uses {torch.get_num_threads()} threads", ""
    for distribution, module, purpose, remedy in _PARTS:
        if importlib.util.find_spec(module) is None:
            yield distribution not in _NEEDED, f"{distribution} is not installed: {purpose}", remedy
            continue
        try:
            version = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            version = "of unknown version"
        yield True, f"{distribution} {version}: {purpose}", ""
    yield True, _devices(), ""
    for (operator, device), status in kernel_status().items():
        if status == "fused":
            yield True, f"{operator} on {device}: fused kernel", ""
        elif status.startswith(NO_KERNEL):
            yield True, f"{operator} on {device}: {status}", ""
        else:
            reason, _, remedy = status.partition("; ")
            yield device != "cpu", f"{operator} on {device}: the reference runs, {reason}", remedy


def _devices() -> str:
    if not torch.cuda.is_available():
        return "no CUDA device"
    names = ", ".join(torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count()))
    return f"CUDA devices: {names}"
