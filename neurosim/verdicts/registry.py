"""The judges: one entry for each target or format."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from neurosim.network.network import Network
from neurosim.verdicts import c, lava, loihi, netx, nir, onnx, verilog, xylo
from neurosim.verdicts.verdict import TargetVerdict


@dataclass(frozen=True)
class Judge:
    """What judges a target.

    Attributes
    ----------
    name : str
        Name of the target or format.
    title : str
        A line about it.
    judge : callable
        ``judge(net, x) -> TargetVerdict``, with x [T, B, ...] or a mapping of input name to such. An `ExportError` or
        `InputError` that it raises is a refusal, a `TargetRunError` a failure. It imports what it needs when it runs.
    install : str
        Command that installs what it needs.
    modules, programs : tuple of str
        Python modules and programs that it needs, beside neurosim's own requirements.
    """

    name: str
    title: str
    judge: Callable[[Network, Any], TargetVerdict]
    install: str = ""
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Return the modules and programs that are not installed."""
        modules = [name for name in self.modules if not _is_module(name)]
        return modules + [name for name in self.programs if shutil.which(name) is None]


JUDGES: tuple[Judge, ...] = (
    Judge(
        "lava",
        "Lava processes: the floating-point models, or the fixed-point ones for an integer network",
        lava.judge,
        lava.INSTALL,
        ("lava", "asteval"),
    ),
    Judge(
        "loihi",
        "Loihi's integers with 8-bit weights, on Lava's fixed-point models",
        loihi.judge,
        lava.INSTALL,
        ("lava", "asteval"),
    ),
    Judge("netx", "a .net file of lava-dl with 8-bit weights, read back", netx.judge),
    Judge("c", "C99 with 8-bit weights, compiled and run", c.judge, c.INSTALL, programs=("gcc", "size")),
    Judge("xylo", "Xylo's integers, on the maker's simulator", xylo.judge, xylo.INSTALL, xylo.MODULES[:1]),
    Judge(
        "verilog",
        "a Verilog design with 8-bit weights, simulated",
        verilog.judge,
        verilog.INSTALL,
        programs=("iverilog", "vvp"),
    ),
    Judge(
        "onnx",
        "one time step as an ONNX graph, its state fed back",
        onnx.judge,
        "pip install 'neurosim-toolkit[onnx]'",
        ("onnx", "onnxruntime"),
    ),
    Judge("nir", "a NIR file, read back", nir.judge, "pip install 'neurosim-toolkit[nir]'", ("nir",)),
)


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
