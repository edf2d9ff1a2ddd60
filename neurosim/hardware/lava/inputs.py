"""Input data of a run on Lava, as float64 arrays in the shapes of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from neurosim.errors import InputError, ShapeError
from neurosim.network.network import Network

Data = Any  # a tensor or array [T, B, ...], or a mapping of input name to such


def as_arrays(net: Network, x: Data) -> dict[str, np.ndarray]:
    """Return the data of each input of `net` as float64 [T, B, *shape].

    Raises
    ------
    ShapeError
        When a shape does not fit, or T or B is 0.
    InputError
        When an input is missing, unknown, or not finite.
    """
    given = dict(x) if isinstance(x, Mapping) else {net.inputs[0]: x}
    if set(given) != set(net.inputs):
        raise InputError(f"x must give data for the inputs {list(net.inputs)}; got {list(given)}.")
    arrays: dict[str, np.ndarray] = {}
    for name, values in given.items():
        array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
        expected = net.shape(name)
        if array.ndim != 2 + len(expected) or array.shape[2:] != expected or 0 in array.shape:
            shape = ", ".join(map(str, expected))
            raise ShapeError(f"x for {name!r} must be [T, B, {shape}] with T and B from 1; got {list(array.shape)}.")
        arrays[name] = array.astype(np.float64)
        if not np.isfinite(arrays[name]).all():
            raise InputError(
                f"x for {name!r} holds NaN or infinity; remove them from the data, for instance with torch.nan_to_num."
            )
    leads = {array.shape[:2] for array in arrays.values()}
    if len(leads) > 1:
        raise ShapeError(f"all inputs must share T and B; got {sorted(leads)}.")
    return arrays
