"""What is installed from the wheel is whole and works away from the checkout."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

# One worker runs them all, so that the wheel is built once.
pytestmark = pytest.mark.xdist_group("wheel")

DATA = ("hardware_targets", "datasets", "pretrained")
# No tool on the way may ask the network: the wheel is built with what is installed.
BUILD = "from setuptools import build_meta; import sys; getattr(build_meta, sys.argv[1])(sys.argv[2])"


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command in a folder and without the caller's PYTHONPATH; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def only(folder: Path, pattern: str) -> Path:
    """Return the one file of that pattern."""
    (path,) = folder.glob(pattern)
    return path


@pytest.fixture(scope="module")
def source_distribution(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution from a copy of the checkout."""
    copy = tmp_path_factory.mktemp("checkout") / "neurosim"
    kept_out = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "_build", "_data", "build", "dist", "runs")
    shutil.copytree(root, copy, ignore=kept_out)
    out = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-c", BUILD, "build_sdist", out, cwd=copy)
    return only(out, "*.tar.gz")


@pytest.fixture(scope="module")
def wheel(source_distribution: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the source distribution, as an installer does that finds no wheel."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(source_distribution) as archive:
        # The filter is newer than the first releases of Python 3.10 and 3.11; where it exists, going without it warns.
        if hasattr(tarfile, "data_filter"):
            archive.extractall(unpacked, filter="data")
        else:
            archive.extractall(unpacked)
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-c", BUILD, "build_wheel", out, cwd=only(unpacked, "neurosim_toolkit-*"))
    return only(out, "*.whl")


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a new environment; return that environment's Python."""
    home = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", wheel, cwd=home)
    # The dependencies are those at hand. A folder named in a .pth file is searched, but its own .pth files, the
    # checkout's editable install among them, are not read.
    site_packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "dependencies.pth").write_text("\n".join(sorted(folders)) + "\n")
    return python


def contents(wheel: Path) -> list[str]:
    """List the files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_wheel_holds_one_top_level_package(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in contents(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"neurosim"}


def test_wheel_holds_every_file_of_the_package(wheel: Path, root: Path) -> None:
    inside = (path.relative_to(root) for path in (root / "neurosim").rglob("*") if path.is_file())
    files = {path.as_posix() for path in inside if not {"__pycache__", "_data"} & {*path.parts}}
    assert {"neurosim/__init__.py", "neurosim/py.typed"} <= files
    assert sorted(files - {*contents(wheel)}) == []


@pytest.mark.parametrize("folder", DATA)
def test_wheel_holds_the_data(wheel: Path, root: Path, folder: str) -> None:
    files = {
        f"neurosim/_data/{path.relative_to(root).as_posix()}" for path in (root / folder).rglob("*") if path.is_file()
    }
    assert files
    assert sorted(files - {*contents(wheel)}) == []


def test_wheel_names_its_licence_and_its_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {name.partition(".dist-info/")[2]: archive.read(name) for name in archive.namelist()}
    assert b"Apache License" in texts["licenses/LICENSE"]
    about = email.message_from_bytes(texts["METADATA"])
    assert about["Name"] == "neurosim-toolkit" and about["License-Expression"] == "Apache-2.0"
    assert about["Author"] and (about["Home-page"] or about.get_all("Project-URL"))
    (torch,) = (one for one in map(Requirement, about.get_all("Requires-Dist")) if one.name == "torch")
    assert {each.operator for each in torch.specifier} == {">=", "<"}
    assert b"neurosim = neurosim.cli:main" in texts["entry_points.txt"]


IMPORT_ALL = """
import importlib, pkgutil, neurosim
print(neurosim.__file__)
for module in pkgutil.walk_packages(neurosim.__path__, "neurosim."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name != "triton":  # optional, for Linux alone
                raise
    print(module.name)
"""


def test_every_module_imports_away_from_the_checkout(elsewhere: Path, root: Path, tmp_path: Path) -> None:
    where, *names = run(elsewhere, "-c", IMPORT_ALL, cwd=tmp_path).splitlines()
    assert Path(where).is_relative_to(elsewhere.parent.parent)
    files = (root / "neurosim").rglob("*.py")
    expected = {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for path in files}
    assert {"neurosim", *names} == expected


@pytest.mark.parametrize("folder", DATA)
def test_the_data_is_found_away_from_the_checkout(elsewhere: Path, root: Path, tmp_path: Path, folder: str) -> None:
    script = f"from neurosim.files.bundled import data_files\nfor path in data_files({folder!r}): print(path)"
    paths = [Path(line) for line in run(elsewhere, "-c", script, cwd=tmp_path).splitlines()]
    assert [path.name for path in paths] == sorted(path.name for path in (root / folder).glob("*.toml"))
    assert all(path.is_relative_to(elsewhere.parent.parent) for path in paths)
    assert all(path.read_bytes() == (root / folder / path.name).read_bytes() for path in paths)


def test_the_command_runs_away_from_the_checkout(elsewhere: Path, tmp_path: Path) -> None:
    help_text = run(elsewhere.parent / "neurosim", "--help", cwd=tmp_path)
    for command in ("demo", "train", "simulate", "report", "export", "doctor"):
        assert command in help_text
