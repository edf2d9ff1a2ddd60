"""Make lava-nc 0.10.0 importable on Python 3.11 to 3.13 and right on numpy 2.4 and later.

The last release of lava-nc declares Python 3.10 and numpy 1. Three things stand in the way of newer ones:

- ``lava/magma/compiler/var_model.py`` has dataclass fields whose default is another dataclass. Since Python 3.11 such a
  default must be hashable, and a dataclass with generated ``__eq__`` is not. While that one module is imported its own
  dataclasses are given the identity hash; everybody else's are left alone, and `dataclasses` is put back at once.
- ``ReshapePort`` calls ``numpy.reshape(newshape=...)``, a keyword that numpy 2.4 removed.
- The models of ``Conv`` keep kernel size, stride, padding, dilation and groups as int8. Since numpy 2 a sum of such a
  number and an image size stays int8: images wider than 127 overflow or fail. They get int64.

This file needs the standard library and numpy only, because the interpreter that runs Lava need not have neurosim.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

VAR_MODEL = "lava.magma.compiler.var_model"
_VAR_MODEL_IMPORTS = (
    "lava.magma.compiler.mappable_interface",
    "lava.magma.compiler.subcompilers.address",
    "lava.magma.core.process.ports.connection_config",
    "lava.magma.core.process.variable",
)
_one_at_a_time = threading.Lock()


def install() -> None:
    """Import what needs help, with help; afterwards all of lava-nc imports. `mend_conv` is apart, as it takes a second.

    Raises
    ------
    ImportError
        If lava-nc, or one of networkx, asteval and scipy, is not installed.
    """
    _import_var_model()
    _mend_reshape_port()


def mend_conv() -> None:
    """Make ``Conv`` right for images wider than 127; to be called before one is compiled. It imports scipy.signal."""
    model = importlib.import_module("lava.proc.conv.models").AbstractPyConvModel
    lava_type = importlib.import_module("lava.magma.core.model.py.type").LavaPyType
    for name in ("kernel_size", "stride", "padding", "dilation", "groups"):
        setattr(model, name, lava_type(np.ndarray, np.int64))


def _import_var_model() -> None:
    with _one_at_a_time:
        if VAR_MODEL in sys.modules or sys.version_info < (3, 11):
            return
        for name in _VAR_MODEL_IMPORTS:  # so that under the wrapped decorator that one module is imported and no other
            importlib.import_module(name)
        with _hashable_dataclasses(of=VAR_MODEL):
            var_model = importlib.import_module(VAR_MODEL)
        var_model.dataclass = dataclasses.dataclass  # type: ignore[attr-defined]


@contextmanager
def _hashable_dataclasses(of: str) -> Iterator[None]:
    original = dataclasses.dataclass

    def dataclass(cls: type | None = None, /, **options: Any) -> Any:
        decorate: Callable[[type], type] = original(**options)

        def wrap(plain: type) -> type:
            decorated = decorate(plain)
            if plain.__module__ == of and decorated.__hash__ is None:
                decorated.__hash__ = object.__hash__
            return decorated

        return wrap if cls is None else wrap(cls)

    dataclasses.dataclass = dataclass
    try:
        yield
    finally:
        dataclasses.dataclass = original


def _mend_reshape_port() -> None:
    port = importlib.import_module("lava.magma.core.process.ports.ports").ReshapePort
    port.get_transform_func_fwd = lambda self: functools.partial(_reshaped, shape=self.shape)
    port.get_transform_func_bwd = lambda self: functools.partial(_reshaped, shape=self.old_shape)


def _reshaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.reshape(array, shape)
