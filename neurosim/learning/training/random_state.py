"""The states of all random generators that a run uses, as plain tensors and numbers."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from neurosim.errors import InputError


def seed_all(seed: int) -> None:
    """Seed torch (all devices), numpy and Python's `random`."""
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise InputError(f"seed={seed!r}: an integer from 0 to 2**32 - 1, or None to leave the generators unseeded.")
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def capture(own: Sequence[torch.Generator] = ()) -> dict[str, Any]:
    """Return the states of the global generators and of those in `own`, in types that load without code."""
    numpy: Any = np.random.get_state(legacy=True)
    kind, keys, position, has_gauss, gauss = numpy
    version, numbers, pending = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": [str(kind), torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "python": [version, list(numbers), pending],
        "own": [generator.get_state() for generator in own],
    }


def restore(states: dict[str, Any], own: Sequence[torch.Generator] = ()) -> None:
    """Restore the result of `capture`."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, numbers, pending = states["python"]
    random.setstate((version, tuple(numbers), pending))
    for generator, state in zip(own, states["own"], strict=True):
        generator.set_state(state)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Context that restores the states of the global generators."""
    states = capture()
    try:
        yield
    finally:
        restore(states)


def generators_of(data: Any) -> list[torch.Generator]:
    """Return the generators of a `DataLoader`: its own, that of its sampler and that of its batch sampler."""
    sampler, batches = getattr(data, "sampler", None), getattr(data, "batch_sampler", None)
    generators: list[torch.Generator] = []
    for owner in (data, sampler, batches, getattr(batches, "sampler", None)):
        generator = getattr(owner, "generator", None)
        if isinstance(generator, torch.Generator) and all(generator is not other for other in generators):
            generators.append(generator)
    return generators
