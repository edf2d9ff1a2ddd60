"""From LLVM IR to a function that can be called: compiled in memory for this processor."""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Hashable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from torch import Tensor

from neurosim.compiler.llvm import openmp
from neurosim.compiler.llvm.crowding import Region, crowding, region_of
from neurosim.compiler.llvm.threads import at_once, in_several, shares

_TYPES = {"ptr": ctypes.c_void_p, "i64": ctypes.c_int64, "float": ctypes.c_float, "double": ctypes.c_double}
_SLOTS = {"ptr": "Q", "i64": "q", "float": "f4x", "double": "d"}  # eight bytes each


class CompiledKernel:
    """Machine code of the function ``kernel`` in a module of LLVM IR.

    Parameters
    ----------
    source : str
        The module.
    arguments : sequence of str
        Types of the function's arguments: ``"ptr"``, ``"i64"``, ``"float"`` or ``"double"``.
    team : bool
        Whether there is a function ``team`` as well, which does a share of the work (see `shared`).
    now : int, optional
        Of a module with a function ``task``, which does one step of a circuit: place of the step among the arguments.
    scratch : int
        Number of arguments that point to memory of one thread.

    Attributes
    ----------
    call : callable
        Takes addresses and numbers; gives up Python's lock while it runs.
    address : int
        Address of the function ``kernel``.
    team, part : int or None
        Addresses of the functions ``team`` and ``part``.
    task : int or None
        Address of the function ``task``.
    """

    number_compiled = 0  # in this process

    def __init__(
        self, source: str, arguments: Sequence[str], team: bool = False, now: int | None = None, scratch: int = 0
    ) -> None:
        import llvmlite.binding as binding

        machine = _this_processor()
        module = binding.parse_assembly(source)
        module.verify()
        options = binding.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = True
        builder = binding.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        self._engine = binding.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        self.address: int = self._engine.get_function_address("kernel")
        self.call: Callable[..., None] = ctypes.CFUNCTYPE(None, *(_TYPES[t] for t in arguments))(self.address)
        # The code is freed with the engine. Two threads may compile one kernel at once; a cache keeps the second alone.
        self.call.engine = self._engine  # type: ignore[attr-defined]
        self.team: int | None = self._engine.get_function_address("team") if team else None
        self.part: int | None = self._engine.get_function_address("part") if team else None
        self.task: int | None = self._engine.get_function_address("task") if now is not None else None
        self._now, self._block = now, struct.Struct("=" + "".join(_SLOTS[kind] for kind in arguments))
        self._slots = struct.Struct("=QQqq" + "".join(_SLOTS[t] for t in arguments) + "q" * scratch)
        self._regions: dict[Hashable, Region] = {}
        CompiledKernel.number_compiled += 1

    def block(self, *values: Any) -> Any:
        """Return the arguments of `task` but for the step: numbers, or addresses of arrays, in eight bytes each."""
        given = [address_of(value) for value in values]
        assert self._now is not None
        packed = self._block.pack(*given[: self._now], 0, *given[self._now :])
        return ctypes.create_string_buffer(packed, len(packed))

    def work(
        self, functions: Sequence[int], total: int, share: int, places: Sequence[int], numbers: Sequence[float]
    ) -> bytes:
        """Return the argument of ``team`` and ``part``, in eight bytes for each number.

        Parameters
        ----------
        functions : sequence of int
            Addresses of OpenMP's functions for the number of a thread and for that of threads.
        total, share : int
            Pieces of work, and those that a thread does at a time.
        places : sequence of int
            Addresses of the arrays.
        numbers : sequence of float
            The arguments after the first two numbers, then the bytes of each scratch argument.
        """
        return self._slots.pack(*functions, total, share, *places, 0, 0, *numbers)

    def run_parallel(
        self, total: int, arrays: Sequence[Tensor], *numbers: float, grain: int = 1, multiple: int = 1
    ) -> None:
        """Call with `total` pieces of work shared out over torch's number of threads.

        Parameters
        ----------
        total : int
            Number of pieces; the function's first two numbers say which of them a call does.
        arrays : sequence of Tensor
            Whose addresses are its first arguments.
        *numbers : float
            Its arguments after the first two numbers.
        grain, multiple : int
            As in `threads.spread`.
        """
        addresses = [a.data_ptr() for a in arrays]
        workers, share = shares(total, grain, multiple)
        if workers <= 1:
            if total:
                self.call(*addresses, 0, total, *numbers)
            return
        start = perf_counter()
        region = region_of(self._regions, (total, *numbers[:2]))
        several = in_several(region, start)
        if several:
            self._share(total, share, workers, arrays, addresses, numbers)
        else:
            self.call(*addresses, 0, total, *numbers)
        crowding.took(region, several, workers, start)

    def _share(
        self,
        total: int,
        share: int,
        workers: int,
        arrays: Sequence[Tensor],
        addresses: Sequence[int],
        numbers: Sequence[float],
    ) -> None:
        """Call in several threads."""
        team = openmp.team()
        if team is not None and self.team is not None:
            work = self._slots.pack(*team.addresses, total, share, *addresses, 0, 0, *numbers)
            team.share(self.team, work, workers, 0)
            return

        def part(first: int, last: int, held: Sequence[Tensor] = arrays) -> None:
            # Holding the arrays: if the caller is interrupted while it waits, they must outlive the threads' work.
            self.call(*addresses, first, last, *numbers)

        at_once([functools.partial(part, a, min(a + share, total)) for a in range(0, total, share)])


def address_of(value: Any) -> Any:
    """Return the address of a tensor or an array, and a number as it is."""
    if isinstance(value, Tensor):
        return value.data_ptr()
    return value.ctypes.data if isinstance(value, np.ndarray) else value


@functools.cache
def has_wide_vectors() -> bool:
    """Whether this processor has vectors of 64 bytes, and with them masks and a choice of lanes as instructions."""
    import llvmlite.binding as binding

    return bool(binding.get_host_cpu_features().get("avx512f"))


def _this_processor() -> Any:
    """Return a description of this processor; each engine takes one into its possession."""
    import llvmlite.binding as binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        codemodel="jitdefault",
        jit=True,
    )
