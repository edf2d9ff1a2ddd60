"""The length of a step of what runs on a time grid: its own, or that of its network."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, cast

from torch import nn

from neurosim.errors import InputError
from neurosim.units import check_dt


class _NotSet:
    """The step of a module that has none yet; to read it is an error.

    The value in the module's own dictionary takes its place, so that reading a step that is set costs nothing more.
    """

    def __get__(self, module: OnGrid | None, kind: type) -> Any:
        if module is None:
            return None
        raise module.no_dt()


class OnGrid(nn.Module):
    """A module whose step `dt` is given when it is made, or by the network that it becomes part of.

    Attributes
    ----------
    dt : float
        Length of a step, s. To read it before it is set is an `InputError`.
    """

    dt: float = cast(float, _NotSet())

    @property
    def label(self) -> str:
        """Name of the module in messages."""
        return self._get_name()

    @property
    def has_dt(self) -> bool:
        """Whether the step is set."""
        return "dt" in vars(self)

    def no_dt(self) -> InputError:
        """Return the error for a module whose step is not set."""
        return InputError(
            f"{self.label}: dt is not set. Pass dt=, the length of a step in s, or make it part of a network with dt, "
            "ns.Network(nodes, edges, dt=1e-3)."
        )

    def set_dt(self, dt: float) -> None:
        """Set the step of a module without one, and of such modules in it.

        Parameters
        ----------
        dt : float
            Length of a step, s, in (0, 0.1).

        Raises
        ------
        InputError
            When the module has another step.
        InputError, UnitError
            When a time of the module is not on the grid of `dt`; the module is then left without a step.
        """
        dt = check_dt(self.label, dt)
        if self.has_dt:
            if self.dt != dt:
                raise InputError(f"{self.label}: dt is {self.dt:g} s and cannot become {dt:g} s; make a new one.")
            return
        with restored_on_error(self):
            vars(self)["dt"] = dt
            self._use_dt()
            for child in self.children():
                if isinstance(child, OnGrid):
                    child.set_dt(dt)

    def _use_dt(self) -> None:
        """Compute what depends on the step, which has just been set."""

    def _dt_text(self) -> str:
        """Return the step as `extra_repr` shows it."""
        return f"dt={self.dt:g}" if self.has_dt else "dt=None"


@contextlib.contextmanager
def restored_on_error(*modules: nn.Module) -> Iterator[None]:
    """Give modules back their attributes, parameters and buffers if the block raises."""
    before = [
        (part, {name: copy.copy(value) if isinstance(value, dict) else value for name, value in vars(part).items()})
        for module in modules
        for part in module.modules()
    ]
    try:
        yield
    except BaseException:
        for part, attributes in before:
            vars(part).clear()
            vars(part).update(attributes)
        raise
