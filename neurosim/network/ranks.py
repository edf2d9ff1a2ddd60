"""The ranks of a run under torch.distributed: how many there are, and what they exchange."""

from __future__ import annotations

import atexit
import contextlib
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from neurosim.errors import FileError, InputError, NeurosimError

_ADDRESS = ("RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets beside WORLD_SIZE


class Ranks:
    """The processes that run one program together; one process alone is rank 0 of 1.

    Parameters
    ----------
    rank, size : int
        Number of this process, and how many there are.
    device : torch.device
        Where tensors lie that are exchanged.
    """

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self.device = rank, size, device

    @classmethod
    def here(cls, device: torch.device) -> Ranks:
        """Return the ranks of this program: those of its process group, which is opened if torchrun started it.

        The backend is NCCL for tensors on CUDA and gloo for those on the CPU.

        Raises
        ------
        InputError
            When the variables of torchrun are incomplete.
        """
        if not dist.is_available():
            return cls(0, 1, device)
        if not dist.is_initialized():
            if number_of_ranks() == 1:
                return cls(0, 1, device)
            missing = [name for name in _ADDRESS if name not in os.environ]
            if missing:
                raise InputError(
                    f"WORLD_SIZE={os.environ['WORLD_SIZE']} is set but {', '.join(missing)} is not. Start the program "
                    "with torchrun, which sets all of them, or unset WORLD_SIZE."
                )
            if device.type == "cuda":
                torch.cuda.set_device(device)
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            atexit.register(_close)
        return cls(dist.get_rank(), dist.get_world_size(), device)

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes files and shows progress."""
        return self.rank == 0

    def objects(self, value: Any) -> list[Any]:
        """Return the value of each rank, in the order of the ranks."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def rows(self, values: Tensor) -> list[Tensor]:
        """Return the tensor of each rank, all of one shape and type, in the order of the ranks."""
        if self.size == 1:
            return [values]
        sent = values.contiguous()
        found = [torch.empty_like(sent) for _ in range(self.size)]
        dist.all_gather(found, sent)
        return found

    @contextlib.contextmanager
    def together(self, task: str) -> Iterator[None]:
        """Context in which an error of one rank is raised on all of them.

        Raises
        ------
        FileError
            On the ranks without an error of their own.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            error = raised
        shown = str(error) if isinstance(error, NeurosimError) else f"{type(error).__name__}: {error}"
        failures = self.objects(None if error is None else shown)
        if error is not None:
            raise error
        for rank, failure in enumerate(failures):
            if failure is not None:
                raise FileError(f"rank {rank} failed {task}: {failure}")

    def check_same(self, name: str, value: Any) -> None:
        """Raise `InputError` unless all ranks have an equal value."""
        values = self.objects(value)
        for rank, other in enumerate(values):
            if other != values[0]:
                if isinstance(value, dict):
                    key = next(key for key in values[0] if values[0][key] != other.get(key))
                    name, values[0], other = f"{key} of {name}", values[0][key], other.get(key)
                raise InputError(
                    f"{name} differs between the ranks: {_shown(values[0])} on rank 0, {_shown(other)} on rank {rank}. "
                    "All ranks must run one program with equal arguments."
                )

    def copy_from_first(self, tensors: Mapping[str, Tensor]) -> None:
        """Set tensors to those of rank 0, after a check that names, shapes and types are equal."""
        if self.size == 1:
            return
        self.check_same("the network", [(name, list(t.shape), str(t.dtype)) for name, t in tensors.items()])
        with torch.no_grad():
            for tensor in tensors.values():
                held = tensor.detach().contiguous()
                dist.broadcast(held, 0)
                tensor.copy_(held)


def number_of_ranks() -> int:
    """Return how many ranks run this program, as its process group or torchrun says; nothing is opened."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    given = os.environ.get("WORLD_SIZE", "1")
    if not given.isdigit() or int(given) < 1:
        raise InputError(f"WORLD_SIZE={given!r} in the environment: the number of ranks, an integer from 1.")
    return int(given)


def is_first_rank() -> bool:
    """Whether this process is rank 0, or the only one; nothing is opened."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    return os.environ.get("RANK", "0") == "0" or number_of_ranks() == 1


def device_of_rank(device: torch.device) -> torch.device:
    """Return the GPU of this rank on its machine, where several ranks share a name without number, such as "cuda"."""
    if device.type != "cuda" or device.index is not None or number_of_ranks() == 1:
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def fingerprint(*tensors: Tensor) -> int:
    """Return a checksum of the shapes, and of four rows of each tensor."""
    code = 0
    for tensor in tensors:
        code = zlib.crc32(repr((tuple(tensor.shape), str(tensor.dtype))).encode(), code)
        if tensor.numel():
            rows = tensor.detach()[:: max(len(tensor) // 4, 1)].cpu().contiguous()
            code = zlib.crc32(rows.numpy().tobytes(), code)
    return code


def tree_sum(values: Sequence[Tensor], levels: int | None = None) -> list[Tensor]:
    """Add neighbours pair by pair, level by level, and return the sums that are left.

    The order of the additions depends on the number of values alone. A rank that holds ``2^levels`` neighbours, the
    first a multiple of that, adds its own up to that level, and the sum of all has the same bits.

    Parameters
    ----------
    values : sequence of Tensor
    levels : int, optional
        All, up to one sum, if left out.

    Examples
    --------
    >>> import torch
    >>> tree_sum([torch.tensor(float(k)) for k in range(5)])
    [tensor(10.)]
    """
    found, level = list(values), 0
    while len(found) > 1 and (levels is None or level < levels):
        pairs = [found[k] + found[k + 1] for k in range(0, len(found) - 1, 2)]
        found = pairs + found[len(found) - len(found) % 2 :]
        level += 1
    return found


def _close() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
