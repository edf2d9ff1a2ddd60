"""Sources: nodes of a network that make their own output, without data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.kernels.common.philox import WORD, stream_of
from neurosim.network.population import Uncalled
from neurosim.network.start_values import start_stream

MAX_SEED = 2**63 - 1


class SourceState(NamedTuple):
    """State of a source: the place of its next output.

    Attributes
    ----------
    seed : Tensor [B] of int64
    trial : Tensor [B] of int64
        Number of the trial that a sample is; the same trial draws the same numbers in any batch.
    step : Tensor [B] of int64
        Steps run so far.
    """

    seed: Tensor
    trial: Tensor
    step: Tensor


class Source(Uncalled, ABC):
    """A node that makes its own output, spikes or currents, as a function of its state.

    The concrete sources are in `neurosim.circuit`.

    Parameters
    ----------
    kind : str
        Name of the source, in messages.
    shape : int or sequence of int
        Shape of one step of one sample, without T and B.
    """

    def __init__(self, kind: str, shape: int | Sequence[int]) -> None:
        super().__init__()
        self.kind = kind
        self.shape: tuple[int, ...] = (shape,) if isinstance(shape, int) else tuple(shape)
        if not self.shape or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in self.shape):
            raise InputError(f"{kind}: shape must hold integers from 1; got {shape!r}.")

    @property
    @abstractmethod
    def is_spiking(self) -> bool:
        """Whether the output is numbers of spikes (else it is a current)."""

    @abstractmethod
    def check(self, dt: float) -> None:
        """Raise an `InputError` if the source cannot run at steps of `dt` seconds."""

    @abstractmethod
    def values(self, state: SourceState, steps: int, *, stream: int, dt: float, dtype: torch.dtype) -> Tensor:
        """Return the output of the next steps.

        Parameters
        ----------
        state : SourceState
            It gives seed, trial and first step of each sample, and the device.
        steps : int
            T.
        stream : int
            Stream of random numbers of this node.
        dt : float
            Length of a step, s.
        dtype : torch.dtype
            Floating-point type of the output.

        Returns
        -------
        Tensor [T, B, *shape]
            A function of the arguments alone: T steps at once are what they are one by one.
        """


def checked_seed(seed: Any) -> int:
    """Return a seed if it is an integer in ``0 ... 2^63 - 1``."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed must be an integer in 0 ... 2^63 - 1; got {seed!r}.")
    return seed


def random_seed() -> Tensor:
    """Return a seed [1] from torch's generator on the CPU; a tensor, which a compiled graph can hold."""
    return torch.randint(MAX_SEED, (1,))


def run_seeds(seed: int | Mapping[str, int] | None) -> tuple[int | Tensor, int | Tensor]:
    """Return the seeds of start values and of noise for the seed of a run; see `Network.initial_state`."""
    if isinstance(seed, Mapping):
        if set(seed) != {"start", "noise"}:
            raise InputError(f"seed must be an integer, or dict(start=..., noise=...); got {dict(seed)!r}.")
        return checked_seed(seed["start"]), checked_seed(seed["noise"])
    one: int | Tensor = random_seed() if seed is None else checked_seed(seed)
    return one, one


def first_state(
    batch: int, seed: int | Tensor | None, trials: Sequence[int] | None, device: torch.device
) -> SourceState:
    """Return the state of a source before the first step; see `Network.initial_state`."""
    given = random_seed() if seed is None else seed
    first = given.to(device) if isinstance(given, Tensor) else torch.tensor([checked_seed(given)], device=device)
    numbers = list(range(batch)) if trials is None else list(trials)
    if len(numbers) != batch:
        raise InputError(f"trials must give one number for each of the {batch} samples; got {len(numbers)}.")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < WORD:
            raise InputError(f"trials must be integers in 0 ... 2^32 - 1; got {number!r}.")
    trial = torch.tensor(numbers, dtype=torch.int64, device=device)
    return SourceState(first.repeat(batch), trial, torch.zeros_like(trial))


def drawn(
    sources: Mapping[str, Source],
    streams: Mapping[str, int],
    states: Mapping[str, Any],
    steps: int,
    dt: float,
    dtype: torch.dtype,
) -> tuple[dict[str, Tensor], dict[str, SourceState]]:
    """Return the outputs of sources over the next steps, and their states after these."""
    values, after = {}, {}
    for name, source in sources.items():
        at = SourceState(*states[name])
        values[name] = source.values(at, steps, stream=streams[name], dt=dt, dtype=dtype)
        after[name] = at._replace(step=at.step + steps)
    return values, after


def samples_of(state: Any) -> int:
    """Return B of the state of a source; 0 for what is none, which `check_state` refuses."""
    return len(state[0]) if getattr(state, "_fields", ()) == SourceState._fields else 0


def check_state(name: str, state: Any, batch: int) -> None:
    """Check that `state` is that of a source with `batch` samples.

    Raises
    ------
    ShapeError
        Naming the node.
    """
    if getattr(state, "_fields", ()) != SourceState._fields:
        raise ShapeError(f"state.nodes[{name!r}] must be a SourceState; got {state!r}. Was it made by another network?")
    if any(values.dtype != torch.int64 or values.shape != (batch,) for values in state):
        found = [[*values.shape, values.dtype] for values in state]
        raise ShapeError(f"state.nodes[{name!r}] must hold int64 values [{batch}]; got {found}.")


def checked_streams(sources: Mapping[str, Source], starts: Mapping[str, Sequence[str]], dt: float) -> dict[str, int]:
    """Check that the sources of a network can run at its dt, and return their streams.

    Streams must differ from each other and from those of the start values `starts`, variables by node.

    Raises
    ------
    NetworkError
        Naming the node.
    """
    streams: dict[str, int] = {}
    taken = {start_stream(node, variable): node for node, variables in starts.items() for variable in variables}
    if len(taken) < sum(map(len, starts.values())):
        raise NetworkError(f"two start values of the nodes {list(starts)} would be drawn alike; rename one of them.")
    for name, source in sources.items():
        try:
            source.check(dt)
        except InputError as error:
            raise NetworkError(f"node {name!r}: {error}") from None
        stream = stream_of(f"source {name}")
        if other := taken.get(stream):
            raise NetworkError(f"nodes {other!r} and {name!r} would draw the same numbers; rename one of them.")
        streams[name] = stream
        taken[stream] = name
    return streams
