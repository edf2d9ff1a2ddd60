"""Requests to the worker and its results, as npz without pickle; needs the standard library and numpy only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Request:
    """Samples to run, and the variables to record.

    Attributes
    ----------
    inputs : dict of str to numpy.ndarray
        For each source, [T, B, *Lava shape].
    record : tuple of str
        Populations whose output is recorded.
    monitor : tuple of (str, str)
        Populations and variables (such as "u", "v"), or edges and "weights", to monitor at every Lava step.
    rewards : dict of str to numpy.ndarray
        [Lava steps], for edges that learn with a reward; the same for each sample.
    """

    inputs: dict[str, np.ndarray]
    record: tuple[str, ...]
    monitor: tuple[tuple[str, str], ...] = ()
    rewards: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """Number of samples B."""
        return int(next(iter(self.inputs.values())).shape[1])


def write_request(path: Path, request: Request) -> None:
    """Write a request as one npz."""
    lists = {"inputs": list(request.inputs), "rewards": list(request.rewards)}
    text = json.dumps({**lists, "record": request.record, "monitor": request.monitor})
    arrays: dict[str, Any] = {f"input.{k}": values for k, values in enumerate(request.inputs.values())}
    arrays |= {f"reward.{k}": values for k, values in enumerate(request.rewards.values())}
    with open(path, "wb") as stream:
        np.savez(stream, request=np.array(text), **arrays)


def read_request(path: Path) -> Request:
    """Read what `write_request` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        text = json.loads(str(arrays["request"]))
        inputs = {name: arrays[f"input.{k}"] for k, name in enumerate(text["inputs"])}
        rewards = {name: arrays[f"reward.{k}"] for k, name in enumerate(text["rewards"])}
    monitor = tuple((name, variable) for name, variable in text["monitor"])
    return Request(inputs, tuple(text["record"]), monitor, rewards)


def write_sample(
    path: Path, request: Request, sent: Mapping[str, np.ndarray], traces: Mapping[tuple[str, str], np.ndarray]
) -> None:
    """Write the result of one sample, in the order of the request."""
    arrays: dict[str, Any] = {f"sent.{k}": sent[name] for k, name in enumerate(request.record)}
    arrays.update({f"trace.{k}": traces[pair] for k, pair in enumerate(request.monitor)})
    with open(path, "wb") as stream:
        np.savez(stream, **arrays)


def read_sample(path: Path, request: Request) -> tuple[dict[str, np.ndarray], dict[tuple[str, str], np.ndarray]]:
    """Read the result of one sample: output by population, traces by population and variable."""
    with np.load(path, allow_pickle=False) as arrays:
        sent = {name: arrays[f"sent.{k}"] for k, name in enumerate(request.record)}
        traces = {pair: arrays[f"trace.{k}"] for k, pair in enumerate(request.monitor)}
    return sent, traces
