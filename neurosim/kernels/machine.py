"""From LLVM IR to a function that can be called: compiled in memory for this processor."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

_TYPES = {"ptr": ctypes.c_void_p, "i64": ctypes.c_int64, "float": ctypes.c_float, "double": ctypes.c_double}


class Machine:
    """Machine code of the function ``kernel`` in a module of LLVM IR.

    Parameters
    ----------
    source : str
        The module.
    arguments : sequence of str
        Types of the function's arguments: ``"ptr"``, ``"i64"``, ``"float"`` or ``"double"``.

    Attributes
    ----------
    call : callable
        Takes addresses and numbers; gives up Python's lock while it runs.
    """

    made = 0  # in this process

    def __init__(self, source: str, arguments: Sequence[str]) -> None:
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
        address = self._engine.get_function_address("kernel")
        self.call: Callable[..., None] = ctypes.CFUNCTYPE(None, *(_TYPES[t] for t in arguments))(address)
        Machine.made += 1


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
