"""A circuit on a CUDA device: its memory, and the launches of a window, captured in a CUDA graph.

The kernels are in `cuda_code`. Nothing waits for the device within a call but a reading of the clock, once where all
recorded spikes have room. In Triton's interpreter the same launches run on tensors of the CPU.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.kernels.circuit import cuda_code
from neurosim.kernels.circuit.cuda_code import Shape, Term
from neurosim.kernels.neurons.cuda import OPTIONS, REAL, interpreted

BLOCK, WIDE_BLOCK, WIDE = 128, 512, 1 << 17  # neurons of a program, and from so many neurons of all samples on
BITS_BLOCK = 1024  # slots of a program that counts bits
PROGRAMS = 2048  # that keep a large device busy: a table shares out its spikes as long as it has fewer
SPIKES_A_SHARE = 64  # presynaptic neurons for which a share of their spikes is worth a program
RING_BYTES = 32 << 20  # of accumulators of all steps of a window, which the second-level cache shall hold
WINDOWS = 32  # of a graph
BRANCHES = 8  # of a graph: launches of a stage that may run at the same time
ROOM = 1 << 20  # spikes recorded before the host reads them, at least
_MOST_PROGRAMS = (1 << 31) - 1

Launch = Callable[[], object]


class Rows(NamedTuple):
    """A table of rows of synapses on the device, as in `RowTable`.

    Attributes
    ----------
    kind : {"bits", "narrow", "constant", "packed", "wide"}
        "narrow" are slots of 16 bits of constant rows.
    delays : Tensor [G] of int64
    starts : Tensor [n_in G + 1] of int64
        Not read for bits.
    post : Tensor
        Bits as int32 [n_in, words], narrow slots as int16, else int32.
    weight : Tensor of int32
        Of wide rows; of others it is not read.
    factor : int
        Weight of all synapses, or factor of the magnitudes.
    first_slot : int
    """

    kind: Literal["bits", "narrow", "constant", "packed", "wide"]
    delays: Tensor
    starts: Tensor
    post: Tensor
    weight: Tensor
    factor: int
    first_slot: int

    @classmethod
    def of(
        cls,
        kind: Literal["bits", "narrow", "constant", "packed", "wide"],
        delays: Tensor,
        starts: Tensor | None,
        post: Tensor,
        weight: int | Tensor,
        first_slot: int,
        device: torch.device,
    ) -> Rows:
        """Copy a table to a device."""
        if kind == "bits":
            post = post.contiguous().view(torch.int32)
        elif post.dtype == torch.uint16:
            kind, post = "narrow", post.view(torch.int16)
        begins = delays if starts is None else starts
        factor = 0 if isinstance(weight, Tensor) else weight
        values = weight if isinstance(weight, Tensor) else torch.zeros(1, dtype=torch.int32)
        delays, begins, post, values = (each.to(device) for each in (delays, begins, post, values))
        return cls(kind, delays, begins, post, values, factor, first_slot)

    @property
    def sources(self) -> int:
        """Number of presynaptic neurons."""
        return len(self.post) if self.kind == "bits" else (len(self.starts) - 1) // len(self.delays)


class Ring:
    """Spikes under way of one node, of the last steps.

    Parameters
    ----------
    history : int
        Steps before the next one whose spikes may still arrive.
    span : int
        Steps that are written before they are delivered.
    samples, width : int
        B, and the most spikes of a step and sample.
    device : torch.device

    Attributes
    ----------
    ids : Tensor [ring, B, width] of int32
        Those of step s and sample b are the first ``counts[s % ring, b]`` of ``ids[s % ring, b]``.
    counts : Tensor [ring, B] of int32
    """

    def __init__(self, history: int, span: int, samples: int, width: int, device: torch.device) -> None:
        self.history, self.ring = history, history + span
        self.ids = torch.zeros((self.ring, samples, max(width, 1)), dtype=torch.int32, device=device)
        self.counts = torch.zeros((self.ring, samples), dtype=torch.int32, device=device)

    @staticmethod
    def most(grid: Tensor) -> int:
        """Return the most spikes of a step and sample of numbers [steps, B, neurons]."""
        return int(grid.sum(2).max()) if grid.numel() else 0

    def put(self, grid: Tensor, first: int) -> None:
        """Write the spikes of the steps from `first` on, given as numbers [steps, B, neurons]."""
        steps, samples, _ = grid.shape
        numbers = grid.long()
        sums = numbers.sum(2)
        rows = (first + torch.arange(steps, device=grid.device)) % self.ring
        step, sample, neuron = numbers.nonzero(as_tuple=True)
        times = numbers[step, sample, neuron]
        line = (step * samples + sample).repeat_interleave(times)
        ends = sums.flatten().cumsum(0)
        place = torch.arange(len(line), device=grid.device) - (ends - sums.flatten())[line]
        self.ids[rows[line // samples], line % samples, place] = neuron.repeat_interleave(times).to(torch.int32)
        self.counts[rows] = sums.to(torch.int32)

    def under_way(self, now: int, neurons: int) -> Tensor:
        """Return the spikes of the steps before `now` that may still arrive, as numbers [history, B, neurons]."""
        device = self.ids.device
        rows = (now - self.history + torch.arange(self.history, device=device)) % self.ring
        ids, counts = self.ids[rows], self.counts[rows]
        line = torch.zeros((*counts.shape, neurons), dtype=torch.int64, device=device)
        is_spike = (torch.arange(ids.shape[2], device=device) < counts[..., None]).to(torch.int64)
        return line.scatter_add_(2, torch.where(is_spike > 0, ids, 0).to(torch.int64), is_spike)


class Laws(NamedTuple):
    """What the random words of Poisson trains are compared with, over the steps of a call.

    Attributes
    ----------
    limits : Tensor [rates, width] of int32
        The bits of the limits of each rate; see `PoissonInput`.
    numbers : Tensor [rates] of int64
        How many limits each rate has.
    rates : Tensor [steps, B] of int64
        Row of `limits`.
    """

    limits: Tensor
    numbers: Tensor
    rates: Tensor

    @classmethod
    def of(cls, trials: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Laws:
        """Return the laws of all trials, given limits [K, n], their numbers and the rows [steps] of each."""
        different = list({id(each): each for each in trials}.values())
        width = max((limits.shape[1] for limits, _, _ in different), default=0)
        tables = [
            torch.nn.functional.pad(limits.view(torch.int32), (0, width - limits.shape[1]))
            for limits, _, _ in different
        ]
        first = dict(zip(map(id, different), np.cumsum([0, *map(len, tables)]).tolist(), strict=False))
        rates = torch.stack([each[2] + first[id(each)] for each in trials], 1)
        return cls(torch.cat(tables), torch.cat([numbers for _, numbers, _ in different]), rates)


class Trains(NamedTuple):
    """Poisson trains, one for each neuron.

    Attributes
    ----------
    laws : Laws
        On the device.
    table : Tensor [B, 6] of int64
        Seed, trial, step of the source at step 0 of the circuit, stream, weight, width of the limits.
    """

    laws: Laws
    table: Tensor

    @classmethod
    def of(cls, laws: Laws, place: Sequence[Tensor], stream: int, weight: int) -> Trains:
        """Return trains that begin at `place`: seed, trial and step of each sample."""
        seed, trial, first = place
        rest = (torch.full_like(seed, value) for value in (stream, weight, laws.limits.shape[1]))
        return cls(laws, torch.stack([seed, trial, first, *rest], 1).to(laws.limits.device).contiguous())


class Input(NamedTuple):
    """A term of the input of a port.

    Attributes
    ----------
    kind : {"integer", "drive", "dense"}
    factor : float
        Unit of integers, weight of a drive.
    offset : int
        First slot of integers.
    trains : sequence of Trains
        Which add to integers, or which are the drive.
    values : Tensor [steps, B, neurons], optional
        Of a dense term.
    """

    kind: Literal["integer", "drive", "dense"]
    factor: float = 1.0
    offset: int = 0
    trains: Sequence[Trains] = ()
    values: Tensor | None = None


class Kept(NamedTuple):
    """Values of a state variable that are kept.

    Attributes
    ----------
    which : Tensor [neurons] of int32
        Column of each neuron, -1 if it is not kept.
    out : Tensor [rows, B, columns]
    plan : Tensor [4] of int64
        First step of the call, the end, steps from value to value, columns.
    """

    which: Tensor
    out: Tensor
    plan: Tensor


class Neurons(NamedTuple):
    """The neurons of a population.

    Attributes
    ----------
    plan_key : str
    inputs : sequence of sequence of Input
        For each port that is fed.
    state, coefficients : sequence of Tensor [B, neurons]
        As the plan orders them.
    numbers : sequence of float
    ring : Ring
    base : int, optional
        Place among the recorded neurons of a step and sample; None: spikes are not recorded.
    kept : mapping of str to Kept
        By state variable.
    """

    plan_key: str
    inputs: Sequence[Sequence[Input]]
    state: Sequence[Tensor]
    coefficients: Sequence[Tensor]
    numbers: Sequence[float]
    ring: Ring
    base: int | None
    kept: Mapping[str, Kept]


def window_of(delay: int, samples: int, slots: int) -> int:
    """Return the steps of a window: at most the least delay, and those whose accumulators the cache holds."""
    return max(1, min(delay, RING_BYTES // max(4 * samples * slots, 1)))


class Circuit:
    """Memory of a circuit, and its launches.

    Parameters
    ----------
    device : torch.device
    samples, slots : int
        B, and the slots of accumulators of a sample.
    window : int
        Steps of a window: at most the least delay of the spikes of a population.
    recorded : int
        Neurons of a step and sample whose spikes are recorded.

    Attributes
    ----------
    now : int
        Steps that were run.
    """

    def __init__(self, device: torch.device, samples: int, slots: int, window: int, recorded: int) -> None:
        self.device, self.samples, self.window, self.recorded, self.now = device, samples, window, recorded, 0
        self.slots = slots
        self.clock = torch.zeros(4, dtype=torch.int64, device=device)
        self.total = torch.zeros(max(window * samples * slots, 1), dtype=torch.int32, device=device)
        self._most = window * samples * recorded
        self._room = max(ROOM, 2 * self._most) if recorded else 0
        self.events = torch.zeros(self._room, dtype=torch.int64, device=device)
        self._stages: list[list[Launch]] = [[]]
        self._rings: list[Ring] = []
        self._keep: list[Tensor] = []  # which launches read
        self._graph: Callable[[], None] | None = None

    @property
    def launches(self) -> int:
        """Number of launches of a window."""
        return sum(map(len, self._stages))

    def begin(self, rings: Sequence[Ring]) -> None:
        """Drop all launches, and have the kernel of the clock clear rows of the `rings` of populations."""
        self._stages, self._keep, self._graph = [[]], [], None
        if rings != self._rings:
            counts = torch.cat([ring.counts.flatten() for ring in rings])
            begins = np.cumsum([0, *(ring.counts.numel() for ring in rings)]).tolist()
            for ring, first, last in zip(rings, begins, begins[1:], strict=False):
                ring.counts = counts[first:last].view_as(ring.counts)
            table = [[first, ring.ring] for ring, first in zip(rings, begins, strict=False)]
            self._counts, self._table = counts, torch.tensor(table, dtype=torch.int64, device=self.device)
            self._rings = list(rings)

    def stage(self) -> None:
        """Have the launches from here on wait for those before; those of one stage may run at the same time."""
        self._stages.append([])

    def deliver(self, ring: Ring, rows: Rows) -> None:
        """Launch the delivery of spikes to rows."""
        if not rows.post.numel():
            return
        spikes = [self.clock, ring.ids, ring.counts, rows.delays]
        sizes = [self.samples, ring.ring, ring.ids.shape[2], self.window]
        factors = [self.slots, rows.first_slot, rows.factor]
        if rows.kind == "bits":
            words = rows.post.shape[1]
            blocks = -(-32 * words // BITS_BLOCK)
            grid, shares = self._grid(blocks, rows)
            arguments = [*spikes, rows.post, self.total, *sizes, *factors, shares, words, blocks]
            self._launch(cuda_code.deliver_bits, grid, arguments, BLOCK=BITS_BLOCK)
            return
        groups = len(rows.delays)
        grid, shares = self._grid(groups, rows)
        mean = rows.post.numel() / max(len(rows.starts) - 1, 1)
        block = min(max(1 << math.ceil(math.log2(max(mean, 1.0))), 32), 1024)
        arguments = [*spikes, rows.starts, rows.post, rows.weight, self.total, *sizes, groups, *factors, shares]
        warps = min(max(block // 64, 1), 4)
        self._launch(cuda_code.deliver, grid, arguments, KIND=rows.kind, BLOCK=block, num_warps=warps)

    def _grid(self, blocks: int, rows: Rows) -> tuple[tuple[int], int]:
        """Return the programs of a delivery in `blocks`, and how many share out the spikes."""
        programs = blocks * self.window * self.samples
        shares = max(1, min(PROGRAMS // programs, rows.sources // SPIKES_A_SHARE))
        if programs * shares > _MOST_PROGRAMS:
            raise InputError(
                f"{self.samples} trials at once need {programs * shares} programs for one table of synapses, and a GPU "
                f"starts {_MOST_PROGRAMS}; run fewer."
            )
        return (programs * shares,), shares

    def advance(self, neurons: Neurons) -> None:
        """Launch the neurons of a population."""
        real = neurons.state[0].dtype
        terms = tuple(tuple(Term(each.kind, len(each.trains)) for each in port) for port in neurons.inputs)
        shape = Shape(terms, neurons.base is not None, tuple(neurons.kept))
        kernel = cuda_code.update(neurons.plan_key, REAL[real], shape, interpreted())
        arrays: list[Any] = [self.clock]
        inputs = [each for port in neurons.inputs for each in port]
        for each in inputs:
            arrays += [self.total] if each.kind == "integer" else [each.values] if each.kind == "dense" else []
            arrays += [tensor for trains in each.trains for tensor in (trains.table, *trains.laws)]
        factors = [each.factor for each in inputs if each.kind != "dense"]
        numbers = torch.tensor([*neurons.numbers, *factors], dtype=real, device=self.device)
        arrays += [*neurons.state, *neurons.coefficients, numbers, neurons.ring.ids, neurons.ring.counts]
        arrays += [] if neurons.base is None else [self.events]
        arrays += [tensor for kept in neurons.kept.values() for tensor in (kept.which, kept.out, kept.plan)]
        count = neurons.state[0].shape[1]
        block = WIDE_BLOCK if count * self.samples >= WIDE else BLOCK
        blocks = -(-count // block)
        offsets = [each.offset for each in inputs if each.kind == "integer"]
        sizes = (count, self.samples, self.slots, neurons.ring.ring, self.window, blocks, neurons.base or 0)
        self._launch(kernel, (blocks * self.samples,), [*arrays, *offsets, *sizes, self.recorded], BLOCK=block)

    def _launch(self, kernel: Any, grid: tuple[int, ...], arguments: list[Any], **choices: Any) -> None:
        self._keep += [each for each in arguments if isinstance(each, Tensor)]
        self._stages[-1].append(functools.partial(kernel[grid], *arguments, **{**OPTIONS, **choices}))

    def end(self) -> None:
        """Launch the clock, after all others."""
        self.stage()
        arrays = [self.clock, self._counts, self._table]
        numbers = (len(self._rings), self.samples, self.window, self._most, self._room)
        self._launch(cuda_code.tick, (1,), [*arrays, *numbers], BLOCK=128, num_warps=1)

    def run(self, steps: int, origin: int | None = None) -> np.ndarray:
        """Run `steps` steps, and return the recorded spikes.

        Parameters
        ----------
        steps : int
        origin : int, optional
            Step to which row 0 of dense values and steps of traces belong; the next one if left out.

        Returns
        -------
        array of int64
            For each spike ``(step B + sample) recorded + neuron``, with the step of the call, ascending.
        """
        origin, last, found = self.now if origin is None else origin, self.now + steps, []
        with torch.cuda.device_of(self.clock):
            while self.now < last:
                self.clock.copy_(torch.tensor([self.now, last, origin, 0]))
                self._windows(-(-(last - self.now) // self.window))
                self.now, _, _, spikes = self.clock.tolist()
                found.append(self.events[:spikes].sort().values.cpu().numpy())
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def _windows(self, number: int) -> None:
        if self.device.type != "cuda":
            for _ in range(number):
                self._once()
            return
        if self._graph is None:
            self._once()  # which compiles the kernels
            number -= 1
            if not number:
                return
            self._graph = _captured(self._stages, self.device)
        for _ in range(-(-number // WINDOWS)):  # windows after the end do nothing
            self._graph()

    def _once(self) -> None:
        _run(self._stages)


def _run(stages: Sequence[Sequence[Launch]]) -> None:
    """Run all launches, one after the other."""
    for stage in stages:
        for launch in stage:
            launch()


def _captured(stages: Sequence[Sequence[Launch]], device: torch.device) -> Callable[[], None]:
    """Return what runs `WINDOWS` windows by one launch of a CUDA graph; one by one where the capture fails."""
    graph = torch.cuda.CUDAGraph()
    # Streams of this device: that of `torch.cuda.graph` is one for all.
    main, *branches = (torch.cuda.Stream(device) for _ in range(1 + BRANCHES))
    try:
        with torch.cuda.graph(graph, stream=main, capture_error_mode="thread_local"):
            for _ in range(WINDOWS):
                for stage in stages:
                    _fork(stage, main, branches)
    except RuntimeError as error:
        warnings.warn(f"a circuit runs without a CUDA graph, slowly: {error}", RuntimeWarning, stacklevel=2)

        def plain() -> None:
            for _ in range(WINDOWS):
                _run(stages)

        return plain
    return graph.replay


def _fork(stage: Sequence[Launch], main: torch.cuda.Stream, branches: Sequence[torch.cuda.Stream]) -> None:
    """Capture the launches of a stage in branches, which begin after what `main` has and end before what follows."""
    if len(stage) == 1:
        stage[0]()
        return
    used = branches[: len(stage)]
    for branch in used:
        branch.wait_stream(main)
    for number, launch in enumerate(stage):
        with torch.cuda.stream(used[number % len(used)]):
            launch()
    for branch in used:
        main.wait_stream(branch)
