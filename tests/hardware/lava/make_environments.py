"""Make an environment with lava-nc for every Python from 3.10 to 3.13 on this machine; `make lava-pythons` runs this.

The part of neurosim that runs inside Lava needs neither torch nor neurosim, so these environments are small. The tests
in ``test_lava_pythons.py`` use them. Standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENTS = ROOT / ".venv" / "lava"
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
NEEDED = ("numpy", "scipy", "networkx", "asteval")
LAVA = "lava-nc==0.10.0"


def environment(version: str) -> Path | None:
    """Return the interpreter of the finished environment for a version, if there is one."""
    place = ENVIRONMENTS / version
    return place / "bin" / "python" if (place / ".installed").exists() else None


def interpreter(version: str) -> Path | None:
    """Find a Python of that version: on the path, then where pyenv keeps its own."""
    found = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    kept = sorted(
        pyenv.glob(f"{version}.*/bin/python"),
        key=lambda path: [int(n) for n in path.parts[-3].split(".") if n.isdigit()],
    )
    candidates = [*([Path(found)] if found else []), *reversed(kept)]
    return next((path for path in candidates if _runs(path, version)), None)


def _runs(path: Path, version: str) -> bool:
    # A shim of pyenv stands on the path for versions that are not active, too, and then only complains.
    asked = [str(path), "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == version


def make(version: str, python: Path) -> None:
    """Make the environment for a version, from scratch."""
    place = ENVIRONMENTS / version
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([str(python), "-m", "venv", str(place)], check=True)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), *NEEDED], check=True)
    subprocess.run([*pip, "--no-deps", "--ignore-requires-python", LAVA], check=True)
    (place / ".installed").touch()


def main() -> int:
    """Make what is missing; say what there is."""
    failed = []
    for version in VERSIONS:
        if environment(version):
            print(f"Python {version}: {ENVIRONMENTS / version} is there")
            continue
        python = interpreter(version)
        if python is None:
            print(f"Python {version}: none found")
            continue
        print(f"Python {version}: installing lava-nc for {python}", flush=True)
        try:
            make(version, python)
        except subprocess.CalledProcessError as error:
            failed.append(version)
            print(f"Python {version}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
