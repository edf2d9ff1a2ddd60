"""Options that several commands share, and what a shell offers to complete them."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Annotated, Literal

import typer

import neurosim
from neurosim.cli.names import command_name
from neurosim.cli.settings import Settings
from neurosim.files.bundled import data_files

DEFAULT = Settings()

RunFolder = Annotated[Path, typer.Argument(help="Folder of a run, written by train or demo.", show_default=False)]
Samples = Annotated[int, typer.Option(min=1, help="Number of test samples.")]
Bits = Annotated[int, typer.Option(min=1, max=8, help="Bits of a weight, including its sign.")]
TimeUnit = Annotated[
    float | None,
    typer.Option(help="Seconds that 1 in a .nir file stands for: dt if it is in steps, 1e-3 if in milliseconds."),
]
Timeout = Annotated[float, typer.Option(min=1, help="Time limit for Lava, s.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the result to this file; - prints it as JSON.")]
Kind = Literal["lava", "lava-script", "nir", "netx", "c", "verilog", "xylo"]
Judge = Literal["lava", "nir", "integer", "xylosim", "all"]
Weights = Literal["last", "best"]
Part = Literal["test", "train"]
Storage = Literal["auto", "dense", "sparse", "shared"]
EncoderName = Literal["rate", "latency", "direct"]
ScheduleName = Literal["cosine", "constant"]
OptimizerName = Literal[
    "adadelta", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop", "rprop", "sgd"
]


def complete_target(incomplete: str) -> list[str]:
    """Return the bundled chips and energy models."""
    return _beginning(incomplete, [path.stem for path in data_files("hardware_targets")])


def complete_dataset(incomplete: str) -> list[str]:
    """Return the bundled datasets."""
    return _beginning(incomplete, [path.stem for path in data_files("datasets")])


def complete_rule(incomplete: str) -> list[str]:
    """Return the learning rules."""
    return _beginning(incomplete, class_names("Rule"))


def complete_loss(incomplete: str) -> list[str]:
    """Return the losses."""
    return _beginning(incomplete, class_names("Loss"))


@functools.cache
def class_names(base: str) -> tuple[str, ...]:
    """Return the classes below `base` that `neurosim.learning` exports, by their names on the command line.

    The source files are read, not imported: a completion should not wait for torch.
    """
    room = Path(neurosim.__path__[0]) / "learning"
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(room.rglob("*.py"))]
    classes = {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    below = {base}
    while new := {name for name, node in classes.items() if name not in below and below & {*map(_name, node.bases)}}:
        below |= new
    exported = {
        node.value
        for node in ast.walk(ast.parse((room / "__init__.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return tuple(sorted(command_name(name) for name in below & exported - {base} if not _is_abstract(classes[name])))


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _is_abstract(node: ast.ClassDef) -> bool:
    methods = (each for each in node.body if isinstance(each, ast.FunctionDef))
    return any(_name(decorator) == "abstractmethod" for each in methods for decorator in each.decorator_list)


def _beginning(incomplete: str, names: list[str] | tuple[str, ...]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


Target = Annotated[str, typer.Option(help="Chip, by name or TOML file.", autocompletion=complete_target)]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target", help="Chip or energy model, by name or TOML file; may be repeated.", autocompletion=complete_target
    ),
]
