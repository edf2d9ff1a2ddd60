"""Which fused kernels can run here, and what happens when one cannot."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import shutil
import warnings

import torch

from neurosim.errors import KernelError
from neurosim.kernels.common.under_compile import constant_in_graph

DTYPES = (torch.float32, torch.float64)
# Operations, and what runs on CUDA in place of a kernel where there is none.
_OPERATIONS = {
    "run_core": None,
    "run_layer": None,
    "run_recurrent": None,
    "event_conv": "torch's convolution runs",
    "event_sparse": "torch's operations run, some synapses at a time",
    "delayed_sparse": "torch's operations run, some synapses at a time",
    "run_elm": "the reference runs",
}
TRITON, CAPABILITY = (3, 2), (7, 0)  # the oldest that the kernels run with
NO_KERNEL = "no fused kernel on cuda"


@functools.cache
def obstacle(device: str) -> str | None:
    """Return why the fused kernels cannot run on this type of device, or None if they can."""
    if device == "cpu":
        if importlib.util.find_spec("llvmlite") is None:
            return "llvmlite is not installed; run: pip install llvmlite"
        return None
    if device == "cuda":
        return _cuda_obstacle()
    return f"no fused kernel exists for {device!r} devices; move the network to cpu or cuda"


def _cuda_obstacle() -> str | None:
    if not torch.cuda.is_available():
        return "torch sees no CUDA device; install a CUDA build of torch and a driver"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed; run: pip install triton"
    version = importlib.metadata.version("triton")
    if tuple(map(int, version.split(".")[:2])) < TRITON:
        return f"triton {version} is too old; run: pip install 'triton>={TRITON[0]}.{TRITON[1]}'"
    if not any(map(shutil.which, filter(None, (os.environ.get("CC"), "gcc", "clang")))):
        return "triton finds no C compiler; install gcc or clang, or name one in the environment variable CC"
    if torch.version.hip is None and torch.cuda.get_device_capability() < CAPABILITY:
        found, needed = torch.cuda.get_device_capability(), CAPABILITY
        return f"the GPU has compute capability {found[0]}.{found[1]}; triton needs {needed[0]}.{needed[1]}"
    return None


def kernel_status() -> dict[tuple[str, str], str]:
    """Say for each operation and device whether the fused kernel runs.

    Returns
    -------
    dict of (operation, device) to str
        ``"fused"``, on ROCm with a remark; or the reason why the reference runs instead; or ``"no fused kernel on
        cuda"`` and what runs there.

    Examples
    --------
    >>> import neurosim as ns
    >>> ns.kernel_status()["run_core", "cpu"]
    'fused'
    """
    table = {}
    for operation, instead in _OPERATIONS.items():
        for device in ("cpu", "cuda"):
            status = f"{NO_KERNEL}: {instead}" if instead and device == "cuda" else "fused"
            if device == "cuda" and torch.version.hip is not None and not instead:
                status = "fused; compiled for ROCm, but never run there"
            for direction in ("", "_backward"):
                table[operation + direction, device] = obstacle(device) or status
    return table


def required() -> bool:
    """Return whether a missing kernel is an error: the environment variable NEUROSIM_REQUIRE_KERNELS is 1."""
    return os.environ.get("NEUROSIM_REQUIRE_KERNELS", "0") not in ("", "0")


@functools.cache
def _warn(reason: str) -> None:
    warnings.warn(f"the plain reference runs, slowly: {reason}.", RuntimeWarning, stacklevel=4)


@constant_in_graph
def fused(device: torch.device) -> bool:
    """Return whether to run the fused kernel on `device`; warn once, or fail, where it is missing.

    Raises
    ------
    KernelError
        When it is missing and NEUROSIM_REQUIRE_KERNELS is 1.
    """
    reason = obstacle(device.type)
    if reason is None:
        return True
    if required():
        instead = "Unset NEUROSIM_REQUIRE_KERNELS to run the plain reference."
        raise KernelError(f"no fused kernel on {device}: {reason}. {instead}")
    _warn(reason)
    return False


@constant_in_graph
def warn_of_missing(operation: str, device: torch.device) -> None:
    """Warn once, or fail where kernels are required, that an operation has no kernel on `device`.

    Raises
    ------
    KernelError
        When NEUROSIM_REQUIRE_KERNELS is 1.
    """
    reason = f"{operation} have no kernel on {device.type!r} devices"
    if required():
        raise KernelError(f"{reason}. Unset NEUROSIM_REQUIRE_KERNELS to run torch's operations.")
    _warn(reason)
