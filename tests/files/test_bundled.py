from __future__ import annotations

import pytest

from neurosim.errors import FileError
from neurosim.files import bundled as data_files


def a_package(parent, *, wheel=True, beside=True, setup_cfg=None):
    """Lay out an installed or checked-out neurosim, with a folder `datasets` beside it that may be anyone's."""
    package = parent / "neurosim"
    package.mkdir()
    if wheel:
        (package / "_data" / "datasets").mkdir(parents=True)
    if beside:
        (parent / "datasets").mkdir()
    if setup_cfg is not None:
        (parent / "setup.cfg").write_text(setup_cfg, encoding="utf-8")
    return package


@pytest.mark.parametrize(
    "setup_cfg",
    [
        None,
        "[metadata]\nname = datasets\n",
        "[metadata]\nname = neurosim\n",
        "[options]\npackages = find:\n",
        "no ini file",
        "[metadata]\nname = é%(x)s\n",
    ],
)
def test_a_stranger_s_folder_beside_an_installed_package_is_not_read(tmp_path, setup_cfg):
    package = a_package(tmp_path, setup_cfg=setup_cfg)
    assert data_files._folder("datasets", package) == package / "_data" / "datasets"


def test_a_checkout_reads_its_own_folder_even_if_a_build_left_a_copy(tmp_path):
    package = a_package(tmp_path, setup_cfg="[metadata]\nname = neurosim-toolkit\n")
    assert data_files._folder("datasets", package) == tmp_path / "datasets"


def test_missing_folders_are_named(tmp_path):
    package = a_package(tmp_path, wheel=False)
    with pytest.raises(
        FileError, match=r"bundled datasets are missing: neither .*_data.*Install neurosim-toolkit again"
    ):
        data_files._folder("datasets", package)


def test_files_are_found_by_name_and_sorted():
    files = data_files.data_files("datasets")
    assert [path.stem for path in files] == sorted(path.stem for path in files)
    assert data_files.data_file("datasets", "mnist") in files
    assert all(path.suffix == ".toml" for path in files)


@pytest.mark.parametrize("name", ["cifar", "../setup", "", "mnist.toml"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(FileError, match=r"no '.*' among the bundled datasets: there are asl_dvs, .*, mnist, "):
        data_files.data_file("datasets", name)


def test_the_folders_hold_data_not_code(root):
    for kind in ("datasets", "hardware_targets", "pretrained"):
        assert not list((root / kind).rglob("*.py"))
