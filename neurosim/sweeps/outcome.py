"""What a trial returned, as plain numbers, texts and arrays, and as text in a log."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from neurosim.errors import InputError
from neurosim.sweeps.trials import RESERVED, Value, is_name, is_text

_SINGLE = "result"  # name of a result without one


class Outcome(NamedTuple):
    """The end of a trial.

    Attributes
    ----------
    number : int
        Of the trial.
    values : dict of str to bool, int, float, str or array
        Its results; empty if it failed.
    error : str
        Why it failed; empty if it did not.
    seconds : float
        Wall time.
    parameters : dict of str to bool, int, float or str, optional
        Of the trial, if they were not known before the sweep.
    """

    number: int
    values: dict[str, Any]
    error: str
    seconds: float
    parameters: dict[str, Value] | None = None

    def line(self) -> str:
        """Return it as one line of a log."""
        values = {name: _stored(value) for name, value in self.values.items()}
        content = {"trial": self.number, "seconds": self.seconds, "error": self.error, "values": values}
        if self.parameters is not None:
            content["parameters"] = self.parameters
        return json.dumps(content, separators=(",", ":")) + "\n"

    @classmethod
    def of_line(cls, line: str) -> Outcome:
        """Return what `line` wrote.

        Raises
        ------
        ValueError
            For anything else.
        """
        try:
            content = json.loads(line)
            values = {name: _read(value) for name, value in content["values"].items()}
            parameters = content.get("parameters")
            own = None if parameters is None else {str(name): value for name, value in parameters.items()}
            return cls(int(content["trial"]), values, str(content["error"]), float(content["seconds"]), own)
        except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise ValueError(f"no outcome of a trial: {error}") from error


def values_of(result: Any, parameters: Collection[str]) -> dict[str, Any]:
    """Return the result of a trial by name, mappings in it flattened: ``{"E": {"rate": 5.0}}`` is ``"E.rate"``.

    Parameters
    ----------
    result : number, text, array or mapping
    parameters : collection of str
        Names of the parameters of the trial.

    Raises
    ------
    InputError
        For a result that is not made of numbers, texts and arrays of numbers, two results of one name, or a name that
        the data set needs.
    """
    found: dict[str, Any] = {}
    _flatten("", result if isinstance(result, Mapping) else {_SINGLE: result}, found)
    for name in found:
        if not is_name(name):
            raise InputError(f"a result must not be called {name!r}, nor {', '.join(RESERVED)} or with a /.")
        if name in parameters:
            raise InputError(f"a result must not have the name of a parameter; {name!r} has.")
    return found


def _flatten(prefix: str, result: Mapping[Any, Any], found: dict[str, Any]) -> None:
    for key, value in result.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            _flatten(f"{name}.", value, found)
        elif name in found:
            raise InputError(f"a trial returned two results that are called {name!r}.")
        else:
            found[name] = _plain(name, value)


def _plain(name: str, value: Any) -> Any:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, (list, tuple)):
        value = np.array(value)
    if isinstance(value, (np.ndarray, np.generic)):
        if value.ndim == 0:
            value = value.item()
        elif value.dtype.kind in "biuf":
            return np.ascontiguousarray(value)
    if isinstance(value, str) and not is_text(value):
        raise InputError(f"{name!r} is a text with NUL or half of a surrogate pair: {value!r}.")
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise InputError(f"{name!r} is an integer above {sys.float_info.max:.1e}, the largest number of 64 bits.")
    if isinstance(value, (bool, int, float, str)):
        return value
    raise InputError(
        f"a trial must return numbers, texts, arrays of numbers, or mappings of a name to such; {name!r} is "
        f"{type(value).__name__}."
    )


def _stored(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    data = value.astype(value.dtype.newbyteorder("<"), copy=False)
    return {"dtype": data.dtype.str, "shape": list(data.shape), "base64": base64.b64encode(data.tobytes()).decode()}


def _read(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str)):
        return value
    dtype = np.dtype(str(value["dtype"]))
    if dtype.kind not in "biuf":
        raise ValueError(f"an array of {dtype}")
    data = np.frombuffer(base64.b64decode(value["base64"], validate=True), dtype)
    return data.reshape(value["shape"]).astype(dtype.newbyteorder("="))
