"""Imports run one way, and importing neurosim is cheap and leaves no trace."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Each room may import those of the rows above its own, and nothing of its own row but itself.
LAYERS = (
    ("errors",),
    ("units", "quantities", "files"),
    ("language",),
    ("cores",),
    ("compiler",),
    ("kernels",),
    ("synapses",),
    ("network",),
    ("analysis",),
    ("parallel", "plasticity", "recording"),
    ("circuit",),
    ("simulation", "learning"),
    ("models",),
)
# Each may import all layers, and of its own kind those named.
ON_TOP = {
    "datasets": set(),
    "hardware": set(),
    "energy": {"hardware"},
    "exchange": set(),
    "report": {"energy", "hardware"},
    "sweeps": set(),
    "verdicts": {"hardware", "exchange"},
    "arena": {"datasets", "hardware", "energy", "report", ""},
    "cli": {"arena", "datasets", "hardware", "energy", "exchange", "report", "sweeps", "verdicts", ""},
    "__main__": {"cli"},
}
ROOMS = {*ON_TOP}.union(*LAYERS)
# The one exception, loaded when it is asked for: an explanation of a network says what the engine above would do.
UPWARD = {("neurosim.network.explanation", "neurosim.circuit.explanation")}
# What `import neurosim` must leave to the moment of use.
LAZY = (
    "matplotlib",
    "numba",
    "llvmlite",
    "scipy",
    "triton",
    "lava",
    "snntorch",
    "norse",
    "tonic",
    "sklearn",
    "nir",
    "nirtorch",
    "onnx",
    "onnxruntime",
    "sinabs",
    "spikingjelly",
    "xarray",
    "h5netcdf",
    "distributed",
    "submitit",
    "optuna",
)


def module_name(path: Path, package: Path) -> str:
    """Name the module in `path`, such as ``neurosim.cores.lif``."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of all that a file imports, in functions too."""
    name = module_name(path, package)
    inside = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{origin}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def room(name: str, package: Path) -> str:
    """Name the room of a module or of a name in it; "" for the package's own top."""
    parts = [*name.split("."), ""]
    return parts[1] if (package / parts[1]).is_dir() or (package / f"{parts[1]}.py").is_file() else ""


def allowed(importer: str) -> set[str]:
    """List the rooms that a room may import."""
    if importer in ON_TOP:
        return ROOMS - {*ON_TOP} | {importer} | ON_TOP[importer]
    row = next(row for row, rooms in enumerate(LAYERS) if importer in rooms)
    return {importer}.union(*LAYERS[:row])


def wrong_imports(package: Path) -> list[str]:
    """List each import that goes against the order."""
    wrong = []
    for path in sorted(package.rglob("*.py")):
        importer = room(module_name(path, package), package)
        if importer == "":
            continue
        for line, name in imported(path, package):
            if name.split(".")[0] != package.name or (module_name(path, package), name) in UPWARD:
                continue
            # What is written for people says which version wrote it.
            if importer in ON_TOP and name == "neurosim.__version__":
                continue
            if room(name, package) not in allowed(importer):
                wrong.append(f"{path.relative_to(package.parent).as_posix()}:{line} imports {name}")
    return wrong


def circles(package: Path) -> list[list[str]]:
    """List the circles among the files of each room: imports while a module loads, in functions and for types alike."""
    modules = {module_name(path, package): path for path in package.rglob("*.py") if path.name != "__init__.py"}
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for name, path in modules.items():
        for _, target in imported(path, package):
            for wanted in (target, target.rpartition(".")[0]):
                if wanted in modules and room(wanted, package) == room(name, package) != "":
                    graph[name].add(wanted)
    return [part for part in strong_components(graph) if len(part) > 1]


def strong_components(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected parts of a directed graph (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            part = stack[stack.index(node) :]
            del stack[-len(part) :]
            found.append(sorted(part))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def hidden_modules(package: Path) -> list[str]:
    """List the modules that a name bound in their package's ``__init__.py`` hides."""
    hidden = []
    for face in sorted(package.rglob("__init__.py")):
        for node in ast.parse(face.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                bound = {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                bound = {node.name: ""}
            elif isinstance(node, ast.Assign):
                bound = {target.id: "" for target in node.targets if isinstance(target, ast.Name)}
            else:
                continue
            here = module_name(face, package)
            for name in bound:
                file, folder = face.with_name(f"{name}.py"), face.parent / name / "__init__.py"
                is_module = isinstance(node, ast.ImportFrom) and node.module == here
                if (file.is_file() or folder.is_file()) and not is_module:
                    hidden.append(f"{here}.{name}")
    return hidden


def test_every_room_has_its_place(root: Path) -> None:
    package = root / "neurosim"
    found = {path.parent.name for path in package.glob("*/__init__.py")} | {path.stem for path in package.glob("*.py")}
    assert found - {"__init__"} == ROOMS


def test_imports_run_one_way(root: Path) -> None:
    assert wrong_imports(root / "neurosim") == []


def test_no_circle_among_the_files_of_a_room(root: Path) -> None:
    assert circles(root / "neurosim") == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("from neurosim.kernels.gpu import run", "from neurosim.kernels.cpu import run"),
        ("from . import gpu", "def f():\n    from neurosim.kernels import cpu"),
        ("import neurosim.kernels.gpu", "if TYPE_CHECKING:\n    from neurosim.kernels.cpu import Plan"),
    ],
)
def test_a_circle_is_found(tmp_path: Path, one: str, other: str) -> None:
    package = made_package(tmp_path)
    (package / "kernels" / "cpu.py").write_text(one + "\n")
    (package / "kernels" / "gpu.py").write_text("\n")
    assert circles(package) == []
    (package / "kernels" / "gpu.py").write_text(other + "\n")
    assert circles(package) == [["neurosim.kernels.cpu", "neurosim.kernels.gpu"]]


def test_no_module_is_hidden_by_a_name_of_its_package(root: Path) -> None:
    # In cores/ alone the object may be named like its file: `cores.lif` is the neuron.
    assert [name for name in hidden_modules(root / "neurosim") if not name.startswith("neurosim.cores.")] == []


@pytest.mark.parametrize(
    "line",
    [
        "from neurosim.kernels.cpu import run as cpu",
        "from .cpu import cpu",
        "cpu = 1",
        "def cpu(): ...",
        "class cpu: ...",
    ],
)
def test_a_hidden_module_is_found(tmp_path: Path, line: str) -> None:
    package = made_package(tmp_path)
    (package / "kernels" / "cpu.py").touch()
    assert hidden_modules(package) == []
    (package / "kernels" / "__init__.py").write_text("from neurosim.kernels import cpu\n")
    assert hidden_modules(package) == []
    (package / "kernels" / "__init__.py").write_text(line + "\n")
    assert hidden_modules(package) == ["neurosim.kernels.cpu"]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("cores/lif.py", "from neurosim.kernels import run"),
        ("cores/lif.py", "def f():\n    import neurosim.simulation"),
        ("cores/lif.py", "from ..kernels.cpu import run"),
        ("cores/__init__.py", "from .. import kernels"),
        ("cores/lif.py", "from neurosim import LIF"),
        ("cores/lif.py", "import neurosim"),
        ("cores/lif.py", "from neurosim import __version__"),
        ("kernels/cpu.py", "import importlib\nimportlib.import_module('neurosim.simulation')"),
        ("errors.py", "from neurosim.cores import lif"),
        ("datasets/cards.py", "from neurosim.report import raster"),
        ("hardware/targets.py", "from neurosim.report import raster"),
    ],
)
def test_an_import_against_the_order_is_found(tmp_path: Path, file: str, line: str) -> None:
    package = made_package(tmp_path)
    (package / file).write_text(line + "\n")
    assert len(wrong_imports(package)) == 1
    assert wrong_imports(package)[0].startswith(f"neurosim/{file}:")


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("kernels/cpu.py", "from neurosim.cores import lif"),
        ("kernels/cpu.py", "from neurosim import errors"),
        ("kernels/cpu.py", "from . import gpu"),
        ("simulation.py", "from .kernels import cpu\nimport torch"),
        ("report/raster.py", "from neurosim.hardware import targets"),
        ("report/raster.py", "from neurosim import __version__"),
        ("cli.py", "import neurosim as ns\nfrom neurosim.report import raster"),
    ],
)
def test_an_import_in_order_is_let_through(tmp_path: Path, file: str, line: str) -> None:
    package = made_package(tmp_path)
    (package / file).write_text(line + "\n")
    assert wrong_imports(package) == []


def made_package(folder: Path) -> Path:
    """Make a small package with rooms of neurosim's names."""
    package = folder / "neurosim"
    for name in ("cores", "kernels", "datasets", "hardware", "report"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").touch()
    for name in ("__init__.py", "errors.py", "simulation.py", "cli.py"):
        (package / name).touch()
    return package


# Python tells an audit hook of every file opened and every folder made, whoever does it.
WATCHED_IMPORT = """
import os, sys
written = []
def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if path != os.devnull and (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(str(path))
    elif event in {"os.mkdir", "os.rename", "os.link", "os.symlink"}:
        written.append(f"{event} {arguments[0]}")
sys.addaudithook(watch)
import neurosim
print("written", *written, sep="\\t")
print("loaded", *sorted({name.split(".")[0] for name in sys.modules}), sep="\\t")
"""


def watched(script: str, folder: Path, root: Path) -> dict[str, list[str]]:
    """Run a script in a fresh interpreter and an empty folder; return its printed lists."""
    environment = {name: value for name, value in os.environ.items() if name not in {"MPLBACKEND", "COV_CORE_SOURCE"}}
    environment |= {"PYTHONPATH": str(root), "HOME": str(folder), "NEUROSIM_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: values for name, *values in (line.split("\t") for line in done.stdout.splitlines())}


def test_import_loads_no_room_and_not_torch(tmp_path: Path, root: Path) -> None:
    script = WATCHED_IMPORT.replace('name.split(".")[0]', "name")
    seen = watched(script, tmp_path, root)
    assert [name for name in seen["loaded"] if name.startswith(("neurosim.", "torch"))] == []
    assert seen["written"] == []


def test_use_of_every_name_loads_no_optional_package_and_leaves_no_trace(tmp_path: Path, root: Path) -> None:
    everything = "import neurosim\nfor name in neurosim.__all__:\n    getattr(neurosim, name)\n"
    seen = watched(WATCHED_IMPORT.replace("import neurosim\n", everything), tmp_path, root)
    assert "torch" in seen["loaded"]
    assert sorted({*LAZY} & {*seen["loaded"]}) == []
    assert seen["written"] == []
    assert list(tmp_path.iterdir()) == []


def test_the_watch_sees_what_is_written(tmp_path: Path, root: Path) -> None:
    script = WATCHED_IMPORT.replace("import neurosim\n", "open('x', 'w').close()\nos.mkdir('y')\nimport llvmlite\n")
    seen = watched(script, tmp_path, root)
    assert seen["written"][:2] == ["x", "os.mkdir y"]
    assert "llvmlite" in seen["loaded"]
