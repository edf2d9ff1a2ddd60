"""Put the data folders of the repository's top level into the wheel; everything else is in setup.cfg."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# They contain data, not code: as a package, `datasets` would shadow a well-known import name.
DATA_FOLDERS = ("hardware_targets", "datasets", "pretrained")


def data_files() -> list[Path]:
    """Files to ship, relative to the repository's root."""
    return sorted(
        path
        for folder in DATA_FOLDERS
        for path in Path(folder).rglob("*")
        if path.is_file() and not any(part.startswith((".", "__")) for part in path.parts)
    )


class BuildWithData(build_py):  # type: ignore[misc]  # setuptools ships no types
    """Copy ``hardware_targets/``, ``datasets/`` and ``pretrained/`` to ``neurosim/_data/`` of what is built.

    An editable install copies nothing: there the folders of the checkout are read.
    """

    def _targets(self) -> dict[Path, Path]:
        if self.editable_mode:
            return {}
        return {Path(self.build_lib, "neurosim", "_data", path): path for path in data_files()}

    def run(self) -> None:
        """Build the packages, then add the data."""
        super().run()
        for target, source in self._targets().items():
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Name what was built, the data included."""
        return [*super().get_outputs(include_bytecode), *map(str, self._targets())]

    def get_source_files(self) -> list[str]:
        """Name what goes into a source distribution, the data included."""
        return [*super().get_source_files(), *map(str, data_files())]


setup(cmdclass={"build_py": BuildWithData})
