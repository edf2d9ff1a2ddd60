"""``neurosim doctor``: what is installed, which kernels run, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from neurosim.kernels.common.availability import kernel_status

DISTRIBUTION = "neurosim-toolkit"
_SUMMARY = "Train, simulate and deploy spiking neural networks from one description"
_LAVA = "pip install 'neurosim-toolkit[lava]' && pip install --no-deps --ignore-requires-python lava-nc==0.10.0"


@dataclass(frozen=True)
class Part:
    """A package that neurosim uses.

    Attributes
    ----------
    name : str
        Name of the distribution.
    purpose : str
        What it is used for.
    module : str
        Name it is imported by, where that is another.
    extra : str
        The extra that installs it; empty where neurosim needs it.
    remedy : str
        How to install it, where its extra does not.
    """

    name: str
    purpose: str
    module: str = ""
    extra: str = ""
    remedy: str = ""

    @property
    def import_name(self) -> str:
        """The name it is imported by."""
        return self.module or self.name.replace("-", "_")

    @property
    def hint(self) -> str:
        """How to install it."""
        return (
            self.remedy or f"pip install {f'{DISTRIBUTION}[{self.extra}]'!r}"
            if self.extra
            else f"pip install {self.name}"
        )


PARTS = (
    Part("torch", "tensors and training"),
    Part("numpy", "arrays"),
    Part("llvmlite", "fused CPU kernels"),
    Part("h5py", "recordings and network files"),
    Part("matplotlib", "pictures"),
    Part("networkx", "placement on chips"),
    Part("lazy_loader", "an import that does not wait for torch"),
    Part("pillow", "animations", "PIL"),
    Part("platformdirs", "the folder of compiled kernels"),
    Part("scipy", "spectra, correlations and rates by theory"),
    Part("tqdm", "progress bars"),
    Part("typer", "the command line"),
    Part("scikit-learn", "the handwritten digits of the demonstration", "sklearn", "data"),
    Part("triton", "fused CUDA kernels (Linux)", extra="cuda"),
    Part("lz4", "packed recordings of event cameras", extra="events"),
    Part("zstandard", "packed recordings of event cameras", extra="events"),
    Part("neuromorphic-drivers", "event cameras", extra="camera"),
    Part("seglearn", "recordings of a smartwatch", extra="series"),
    Part("aeon", "the data set JapaneseVowels", extra="series", remedy="pip install --no-deps aeon"),
    Part("nir", "exchange with other simulators", extra="nir"),
    Part("nirviz", "pictures of NIR graphs", extra="pictures"),
    Part("graphviz", "nirviz's requirement", extra="pictures", remedy="pip install graphviz"),
    Part("onnx", "one time step as an ONNX graph", extra="onnx"),
    Part("onnxruntime", "compares that graph", extra="onnx", remedy="pip install onnxruntime"),
    Part("lava-nc", "export to Lava", "lava", "lava", _LAVA),
    Part("asteval", "lava-nc's requirement", extra="lava"),
    Part("xylosim", "comparison of Xylo's integers with the maker's simulator (built by a C++ compiler)", extra="xylo"),
    Part("neo", "recorded spikes to Neo", extra="spikes"),
    Part("pandas", "recorded spikes to pandas", extra="spikes"),
    Part("pyarrow", "tables of edges in Parquet", extra="tables"),
    Part("pynwb", "recorded spikes to NWB", extra="spikes"),
    Part("xarray", "data sets of sweeps", extra="sweeps"),
    Part("h5netcdf", "data sets of sweeps on disk", extra="sweeps"),
    Part("cloudpickle", "sweeps over processes", extra="sweeps"),
    Part("distributed", "sweeps over a Dask cluster", extra="clusters"),
    Part("submitit", "sweeps over SLURM", extra="clusters"),
    Part("optuna", "searches", extra="search"),
    Part("ipywidgets", "progress bars in notebooks", extra="notebook"),
    Part("snntorch", "conversion from and to snnTorch", extra="peers"),
    Part("norse", "conversion from and to Norse", extra="peers"),
    Part("spikingjelly", "conversion from and to SpikingJelly", extra="peers"),
    Part("sinabs", "conversion from sinabs", extra="peers", remedy="pip install --no-deps sinabs==3.1.3 pbr"),
    Part("rockpool", "conversion from Rockpool", extra="peers", remedy="pip install rockpool"),
)


@dataclass(frozen=True)
class Program:
    """A program of the system that neurosim runs.

    Attributes
    ----------
    name : str
        Of the executable.
    purpose : str
    package : str
        Packages of Debian that hold it.
    """

    name: str
    purpose: str
    package: str


PROGRAMS = (
    Program("dot", "draws NIR graphs", "graphviz"),
    Program("gcc", "compiles C exports and compares them", "gcc"),
    Program("arm-none-eabi-gcc", "compiles C exports for a Cortex-M4", "gcc-arm-none-eabi libnewlib-arm-none-eabi"),
    Program("qemu-system-arm", "runs C exports on an emulated Cortex-M4", "qemu-system-arm"),
    Program("iverilog", "simulates Verilog exports and compares them", "iverilog"),
    Program("verilator", "the same, faster for long runs", "verilator"),
    Program("yosys", "synthesises Verilog exports", "yosys"),
    Program("nextpnr-ice40", "places and routes them on an iCE40", "nextpnr-ice40"),
    Program("icepack", "makes the bit stream of an iCE40", "fpga-icestorm"),
)


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    good : bool
        False where neurosim cannot work.
    text : str
        What was found.
    remedy : str
        What to do; empty where nothing is needed.
    """

    good: bool
    text: str
    remedy: str = ""

    def line(self) -> str:
        """Return the text for people."""
        mark = "BAD " if not self.good else "--  " if self.remedy else "ok  "
        return f"{mark} {self.text}" + (f"\n       do: {self.remedy}" if self.remedy else "")


def findings() -> Iterator[Finding]:
    """Yield what was found, part by part."""
    yield Finding(
        True, f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    )
    yield Finding(True, f"{os.cpu_count()} processors, torch uses {torch.get_num_threads()} threads")
    yield from _distribution()
    for part in PARTS:
        if importlib.util.find_spec(part.import_name) is None:
            yield Finding(bool(part.extra), f"{part.name} is not installed: {part.purpose}", part.hint)
        else:
            yield Finding(True, f"{part.name} {_version(part.name)}: {part.purpose}")
    for program in PROGRAMS:
        if shutil.which(program.name) is None:
            yield Finding(
                True, f"{program.name} is not installed: {program.purpose}", f"apt-get install {program.package}"
            )
        else:
            yield Finding(True, f"{program.name}: {program.purpose}")
    if torch.cuda.is_available():
        names = (torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
        yield Finding(True, f"CUDA devices: {', '.join(names)}")
    yield from _kernels()


def _distribution() -> Iterator[Finding]:
    """Say which distribution is installed, and whether the other project of the name neurosim is there too."""
    own = _version(DISTRIBUTION)
    if own:
        yield Finding(True, f"{DISTRIBUTION} {own}")
    try:
        about = importlib.metadata.metadata("neurosim")
    except importlib.metadata.PackageNotFoundError:
        if not own:
            yield Finding(True, f"{DISTRIBUTION} is not installed: it runs from {_place()}")
        return
    if about["Summary"] != _SUMMARY:
        yield Finding(
            False,
            f"another project called neurosim ({about['Version']}) is installed; it has the same import name",
            f"pip uninstall neurosim && pip install --force-reinstall --no-deps {DISTRIBUTION}",
        )
    elif not own:
        yield Finding(
            True, f"neurosim {about['Version']}, installed from {_place()} before it was called {DISTRIBUTION}"
        )


def _place() -> str:
    spec = importlib.util.find_spec("neurosim")
    return "an unknown place" if spec is None or spec.origin is None else os.path.dirname(spec.origin)


def _kernels() -> Iterator[Finding]:
    """Say which kernels run, operations with the same status together."""
    groups: dict[tuple[str, str], list[str]] = {}
    for (operator, device), status in kernel_status().items():
        groups.setdefault((device, status), []).append(operator)
    for (device, status), operators in groups.items():
        names = ", ".join(operators)
        if status == "fused":
            yield Finding(True, f"fused kernels on {device}: {names}")
        else:
            reason, _, remedy = status.partition("; ")
            yield Finding(device != "cpu", f"the reference runs on {device}, {reason}: {names}", remedy)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "" if name == DISTRIBUTION else "of unknown version"
