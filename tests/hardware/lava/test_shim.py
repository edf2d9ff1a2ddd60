"""The shim mends lava-nc and nothing else. Importing Lava changes an interpreter, so each check has one of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lava.magma")

LOAD = """
import dataclasses, importlib.util, sys
original, before = dataclasses.dataclass, vars(dataclasses).copy()
spec = importlib.util.spec_from_file_location("shim", {path!r})
shim = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shim)
"""

INSTALLED = """
@dataclasses.dataclass
class Bystander:
    a: int = 0
shim.install()
assert dataclasses.dataclass is original
assert vars(dataclasses) == before
assert Bystander.__hash__ is None
with shim._hashable_dataclasses(of="another.module"):  # somebody else's dataclass made while the one module is imported
    @dataclasses.dataclass
    class Passing:
        a: int = 0
assert Passing.__hash__ is None
import lava.magma.compiler.compiler, lava.proc.conv.process, lava.proc.dense.process, lava.proc.lif.process
wrapped = [name for name, m in list(sys.modules.items()) if getattr(m, "dataclass", original) is not original]
assert wrapped == [], wrapped
others, own = [], []
for module in list(sys.modules.values()):
    for value in list(vars(module).values()):
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__hash__ is object.__hash__:
            params = value.__dataclass_params__
            if params.eq and not params.frozen and "__hash__" in vars(value):
                (own if value.__module__ == shim.VAR_MODEL else others).append(value.__qualname__)
assert others == [], others
assert "CoreEncoder" in own or sys.version_info < (3, 11)
shim.install()
assert dataclasses.dataclass is original
print("ok")
"""

IMPORT_RAISES = """
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == shim.VAR_MODEL:
            assert dataclasses.dataclass is not original, "the test looks at the wrong moment"
            raise ImportError("broken on purpose")
sys.meta_path.insert(0, Broken())
try:
    shim.install()
except ImportError as error:
    assert str(error) == "broken on purpose"
else:
    assert sys.version_info < (3, 11), "nothing was raised"  # 3.10 imports the module without help, when it is needed
assert dataclasses.dataclass is original
assert vars(dataclasses) == before
print("ok")
"""

MENDED = """
import numpy as np
shim.install()
from lava.magma.core.process.ports.ports import ReshapePort
port = ReshapePort(new_shape=(6,), old_shape=(2, 3))
assert port.get_transform_func_fwd()(np.zeros((2, 3))).shape == (6,)
assert port.get_transform_func_bwd()(np.zeros(6)).shape == (2, 3)
shim.mend_conv()
from lava.proc.conv.models import PyConvModelFloat
for name in ("kernel_size", "stride", "padding", "dilation", "groups"):
    assert getattr(PyConvModelFloat, name).d_type is np.int64, name
print("ok")
"""


def run(script: str, root: Path, python: str = sys.executable) -> None:
    path = str(root / "neurosim" / "hardware" / "lava" / "shim.py")
    done = subprocess.run(
        [python, "-I", "-c", LOAD.format(path=path) + script], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.strip().endswith("ok"), done.stderr


@pytest.mark.parametrize("script", [INSTALLED, IMPORT_RAISES, MENDED], ids=["installed", "import raises", "mended"])
def test_the_shim_changes_what_it_must_only(script: str, root: Path) -> None:
    run(script, root)


def test_looking_for_lava_does_not_import_it() -> None:
    # What pytest.importorskip above does in this process must not force the start method on it.
    assert "lava.magma.runtime.message_infrastructure.multiprocessing" not in sys.modules
