"""Triton kernels of a circuit on CUDA: neurons over a window of steps, deliveries of spikes, the clock.

One launch covers a window: as many steps as no spike needs to arrive. First the spikes that arrive in the window are
added to accumulators of integers, one row for each step; then a program advances a block of neurons through the window
with their state in registers. All trials are in one launch.

Nothing that differs between launches is an argument: the step is read from `clock`, so that the launches of several
windows can be captured in a CUDA graph. ``clock[0]`` is the next step, ``clock[1]`` the step before which the run
pauses, ``clock[2]`` the first step of the call, ``clock[3]`` the number of recorded spikes.

Spikes under way lie in a ring for each population: those of step s and sample b are the first ``counts[s % ring, b]``
of ``ids[s % ring, b]``, in no fixed order. Sums of integers do not depend on it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import triton
import triton.language as tl

from neurosim.compiler.plan import find
from neurosim.compiler.printer import Kernel, forward_kernel
from neurosim.compiler.triton import module_cache
from neurosim.compiler.triton.source import Statements
from neurosim.kernels.circuit.tasks import MAGNITUDE
from neurosim.kernels.common.philox import INCREMENTS, MULTIPLIERS, ROUNDS

_MAGNITUDE = tl.constexpr(MAGNITUDE)
_MAGNITUDE_BITS, _SLOT_BITS = tl.constexpr((1 << MAGNITUDE) - 1), tl.constexpr((1 << (32 - MAGNITUDE)) - 1)
_M0, _M1 = map(tl.constexpr, MULTIPLIERS)
_K0, _K1 = map(tl.constexpr, INCREMENTS)
_ROUNDS = tl.constexpr(ROUNDS)

_SIZES = ("samples", "ring", "width", "window", "slots", "first_slot", "factor", "shares")


@triton.jit(do_not_specialize=(*_SIZES, "groups"))
def deliver(
    clock: tl.tensor,
    ids: tl.tensor,
    counts: tl.tensor,
    delays: tl.tensor,
    starts: tl.tensor,
    post: tl.tensor,
    weight: tl.tensor,
    total: tl.tensor,
    samples: tl.tensor,
    ring: tl.tensor,
    width: tl.tensor,
    window: tl.tensor,
    groups: tl.tensor,
    slots: tl.tensor,
    first_slot: tl.tensor,
    factor: tl.tensor,
    shares: tl.tensor,
    KIND: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Add the weights of rows of synapses; a program takes a share of the spikes of one delay, step and sample.

    `post` and `weight` are those of a `RowTable`, slots of 16 bits as int16; `weight` is read for wide rows alone.
    """
    place = tl.program_id(0)
    share = place % shares
    place = place // shares
    group = tl.cast(place % groups, tl.int64)
    place = place // groups
    ahead = tl.cast(place % window, tl.int64)
    sample = tl.cast(place // window, tl.int64)
    step = tl.load(clock) + ahead
    if step < tl.load(clock + 1):
        row = ((step - tl.load(delays + group) + ring) % ring) * samples + sample
        slot = total + (ahead * samples + sample) * slots + first_slot
        for k in range(share, tl.load(counts + row), shares):
            source = tl.cast(tl.load(ids + row * width + k), tl.int64) * groups + group
            begin = tl.load(starts + source)
            number = tl.load(starts + source + 1) - begin
            for first in range(0, number, BLOCK):
                own = first + tl.arange(0, BLOCK)
                inside = own < number
                synapse = begin + own
                word = tl.load(post + synapse, mask=inside, other=0).to(tl.int32)
                if KIND == "packed":
                    value = (word & _MAGNITUDE_BITS) * factor
                    word = (word >> _MAGNITUDE) & _SLOT_BITS
                elif KIND == "wide":
                    value = tl.load(weight + synapse, mask=inside, other=0)
                else:
                    value = tl.zeros((BLOCK,), tl.int32) + factor
                if KIND == "narrow":
                    word = word & 0xFFFF
                tl.atomic_add(slot + word.to(tl.int64), value, mask=inside, sem="relaxed")


@triton.jit(do_not_specialize=(*_SIZES, "words", "blocks"))
def deliver_bits(
    clock: tl.tensor,
    ids: tl.tensor,
    counts: tl.tensor,
    delays: tl.tensor,
    post: tl.tensor,
    total: tl.tensor,
    samples: tl.tensor,
    ring: tl.tensor,
    width: tl.tensor,
    window: tl.tensor,
    slots: tl.tensor,
    first_slot: tl.tensor,
    factor: tl.tensor,
    shares: tl.tensor,
    words: tl.tensor,
    blocks: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Count the spikes of rows of bits, in words of 32; a program takes a block of slots and a share of the spikes."""
    place = tl.program_id(0)
    block = tl.cast(place % blocks, tl.int64)
    place = place // blocks
    share = place % shares
    place = place // shares
    ahead = tl.cast(place % window, tl.int64)
    sample = tl.cast(place // window, tl.int64)
    step = tl.load(clock) + ahead
    if step < tl.load(clock + 1):
        row = ((step - tl.load(delays) + ring) % ring) * samples + sample
        slot = block * BLOCK + tl.arange(0, BLOCK)
        inside = slot < tl.cast(words, tl.int64) * 32
        found = tl.zeros((BLOCK,), tl.int32)
        for k in range(share, tl.load(counts + row), shares):
            source = tl.cast(tl.load(ids + row * width + k), tl.int64)
            word = tl.load(post + source * words + slot // 32, mask=inside, other=0)
            found += (word >> (slot % 32).to(tl.int32)) & 1
        own = total + (ahead * samples + sample) * slots + first_slot
        tl.atomic_add(own + slot, found * factor, mask=inside & (found != 0), sem="relaxed")


@triton.jit(do_not_specialize=("populations", "samples", "window", "most", "room"))
def tick(
    clock: tl.tensor,
    counts: tl.tensor,
    rings: tl.tensor,
    populations: tl.tensor,
    samples: tl.tensor,
    window: tl.tensor,
    most: tl.tensor,
    room: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Advance the clock by a window, and clear the rows of the spikes of the next one.

    If the next window could send more spikes (`most`) than there is room to record, the run pauses. `rings` holds for
    each population where its `counts` begin, and its ring. One program of one warp: no thread may read the clock after
    it was advanced.
    """
    now = tl.load(clock)
    end = tl.load(clock + 1)
    spikes = tl.load(clock + 3)
    last = tl.minimum(now + window, end)
    if now < end:
        size = tl.cast(window, tl.int64) * samples
        for p in range(populations):
            begin = tl.load(rings + 2 * p)
            ring = tl.load(rings + 2 * p + 1)
            for first in range(0, size, BLOCK):
                place = first + tl.arange(0, BLOCK)
                row = (last + place // samples) % ring
                at = counts + begin + row * samples + place % samples
                tl.store(at, tl.zeros((BLOCK,), tl.int32), mask=place < size)
        tl.store(clock, last)
        tl.store(clock + 1, tl.where(spikes + most > room, last, end))


@triton.jit
def random_words(
    block: tl.tensor, step: tl.tensor, drive: tl.tensor, sample: tl.tensor, BLOCK: tl.constexpr
) -> tl.tensor:
    """Return a word for each neuron of a block: those of `kernels.common.philox`.

    `drive` points to seed, trial, first step, stream, weight and width of the table of limits of each sample.
    """
    own = drive + sample * 6
    seed = tl.load(own)
    k0 = seed.to(tl.uint32)
    k1 = (seed >> 32).to(tl.uint32)
    a = (block * (BLOCK // 4) + tl.arange(0, BLOCK // 4)).to(tl.uint32)
    zero = a ^ a
    b = zero + (tl.load(own + 2) + step).to(tl.uint32)
    c = zero + tl.load(own + 1).to(tl.uint32)
    d = zero + tl.load(own + 3).to(tl.uint32)
    for _ in tl.static_range(_ROUNDS):
        left_high, left_low = tl.umulhi(a, _M0), a * _M0
        right_high, right_low = tl.umulhi(c, _M1), c * _M1
        a, b, c, d = right_high ^ b ^ k0, right_low, left_high ^ d ^ k1, left_low
        k0 = k0 + _K0
        k1 = k1 + _K1
    return tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (BLOCK,))


@triton.jit
def poisson(
    block: tl.tensor,
    step: tl.tensor,
    origin: tl.tensor,
    drive: tl.tensor,
    limits: tl.tensor,
    numbers: tl.tensor,
    rates: tl.tensor,
    samples: tl.tensor,
    sample: tl.tensor,
    BLOCK: tl.constexpr,
) -> tl.tensor:
    """Return the number of spikes of each neuron of a block in a step: of the limits that its word reaches.

    `rates` holds the row of `limits` for each step of the call and sample, `numbers` how many limits a row has.
    """
    words = random_words(block, step, drive, sample, BLOCK)
    count = tl.zeros((BLOCK,), tl.int32)
    rate = tl.load(rates + (step - origin) * samples + sample)
    own = limits + rate * tl.load(drive + sample * 6 + 5)
    for n in range(tl.load(numbers + rate)):
        count += (words >= tl.load(own + n).to(tl.uint32, bitcast=True)).to(tl.int32)
    return count


class Term(NamedTuple):
    """A term of the input of a port, as far as it is compiled.

    Attributes
    ----------
    kind : {"integer", "drive", "dense"}
        An accumulator of integers in a unit; Poisson trains times a number; values over time.
    drives : int
        Poisson trains that add to the integers; 1 for a "drive".
    """

    kind: str
    drives: int = 0


class Shape(NamedTuple):
    """What the kernel of a population is compiled for.

    Attributes
    ----------
    terms : tuple of tuple of Term
        For each port that is fed.
    recorded : bool
        Whether spikes are recorded.
    traced : tuple of str
        State variables of which values are kept.
    """

    terms: tuple[tuple[Term, ...], ...]
    recorded: bool
    traced: tuple[str, ...]


@functools.cache
def update(plan_key: str, real: str, shape: Shape, interpreted: bool) -> Any:
    """Return the Triton function of the neurons of a population over a window; see `source`."""
    kernel = forward_kernel(find(plan_key))
    return module_cache.module(f"{plan_key}_circuit_{real}", source(kernel, real, shape, interpreted)).kernel


def arguments(kernel: Kernel, shape: Shape) -> tuple[str, ...]:
    """Return the names of the arguments of `source`, in order, without the constants.

    Of each port p and term n: of an integer ``total`` [window, samples, slots] and the offset of its first slot, of
    dense values these [steps, samples, neurons]; of each Poisson train m its ``drive`` (see `random_words`), limits,
    their numbers, and rates (see `poisson`). Of a trace the column of each neuron (int32, -1 if it is not kept), the
    values [rows, samples, columns], and its ``plan``: first step of the call, the end, steps from a value to the next,
    columns. ``numbers`` holds those of the plan, then the unit or the factor of each term. ``base`` is the place of the
    population among the `everything` recorded neurons of a step and sample.
    """
    names = ["clock"]
    for p, port in enumerate(shape.terms):
        for n, term in enumerate(port):
            names += {"integer": [f"total{p}_{n}"], "dense": [f"values{p}_{n}"], "drive": []}[term.kind]
            for m in range(term.drives):
                names += [f"{part}{p}_{n}_{m}" for part in ("drive", "limits", "numbers", "rates")]
    names += [f"ptr_{name}" for name in (*kernel.carried, *kernel.coefficients)]
    names += ["numbers", "ids", "counts", *(["events"] if shape.recorded else [])]
    for name in shape.traced:
        names += [f"which_{name}", f"trace_{name}", f"plan_{name}"]
    offsets = [
        f"offset{p}_{n}" for p, port in enumerate(shape.terms) for n, term in enumerate(port) if term.kind == "integer"
    ]
    sizes = ("count", "samples", "slots", "ring", "window", "blocks", "base", "everything")
    return (*names, *offsets, *sizes)


def source(kernel: Kernel, real: str, shape: Shape, interpreted: bool) -> str:
    """Return a Python file whose function ``kernel`` advances the neurons of a population through a window.

    A program owns BLOCK neurons of one sample. In each step it reads and clears the accumulators, draws Poisson trains,
    computes the step of the core, appends the neurons that fire to the ring and to the recording, and keeps values of
    traces.

    Parameters
    ----------
    kernel : Kernel
        Forward kernel of the plan.
    real : {"float32", "float64"}
    shape : Shape
    interpreted : bool
        Whether Triton's interpreter will run it.
    """
    body = Statements(real, interpreted)
    zero = body.literal(0.0)
    number = len(kernel.uniforms)
    for p, (node, port) in enumerate(zip(kernel.reads.values(), shape.terms, strict=True)):
        total = ""
        for n, term in enumerate(port):
            value = body.fresh(_term(body, f"{p}_{n}", term, f"f{number}", zero))
            number += term.kind != "dense"
            total = body.fresh(f"{total} + {value}") if total else value
        body.bind(node, total)
    body.bind_what_stays(kernel)
    body.emit(kernel.order())
    fired = body.fresh(f"{body.truth(kernel.writes['out'])} & inside")
    body.carry(kernel, "(BLOCK,)")
    return _file(kernel, body, shape, fired, range(len(kernel.uniforms), number))


def _term(body: Statements, name: str, term: Term, factor: str, zero: str) -> str:
    """Return the value of a term; lines before it read and clear accumulators."""
    trains = [
        ", ".join(f"{part}{name}_{m}" for part in ("drive", "limits", "numbers", "rates")) for m in range(term.drives)
    ]
    spikes = [f"poisson(block, step, origin, {each}, samples, sample, BLOCK)" for each in trains]
    if term.kind == "dense":
        at = f"values{name} + ((step - origin) * samples + sample) * count + j"
        return f"tl.load({at}, mask=inside, other=0.0)"
    if term.kind == "drive":
        return f"{zero} + {spikes[0]}.to(tl.{body.real}) * {factor}"
    at = body.fresh(f"total{name} + (ahead * samples + sample) * slots + offset{name} + j")
    held = body.fresh(f"tl.load({at}, mask=inside, other=0)")
    body.lines.append(f"{body.indent}tl.store({at}, tl.zeros((BLOCK,), tl.int32), mask=inside)")
    for m, count in enumerate(spikes):
        weight = f"tl.load(drive{name}_{m} + sample * 6 + 4).to(tl.int32)"
        held = body.fresh(f"{held} + {count} * {weight}")
    return f"{held}.to(tl.{body.real}) * {factor}"


def _file(kernel: Kernel, body: Statements, shape: Shape, fired: str, factors: range) -> str:
    names = arguments(kernel, shape)
    sizes = [name for name in names if name.startswith("offset")] + list(names[-8:])
    before = [
        *body.numbers(kernel),
        *(f"f{n} = tl.load(numbers + {n})" for n in factors),
        *(f"coefficient_{name} = tl.load(ptr_{name} + own, mask=inside)" for name in kernel.coefficients),
        *(f"now_{name} = tl.load(ptr_{name} + own, mask=inside)" for name in kernel.carried),
        *(
            f"which{n} = tl.load(which_{name} + j, mask=inside, other=-1).to(tl.int64)"
            for n, name in enumerate(shape.traced)
        ),
    ]
    after = [*body.lines, *(f"{body.indent}{line}" for line in _kept(kernel, shape, fired))]
    ends = [f"tl.store(ptr_{name} + own, now_{name}, mask=inside)" for name in kernel.carried]
    return f'''"""{kernel.plan.program.name}, a window of a circuit, {body.real}: written by neurosim."""

import triton
import triton.language as tl
from triton.language.extra import libdevice

from neurosim.kernels.circuit.cuda_code import poisson


@triton.jit(do_not_specialize={[*sizes, "numbers"]!r})
def kernel({", ".join(names)}, BLOCK: tl.constexpr):
    now = tl.load(clock)
    origin = tl.load(clock + 2)
    steps = tl.minimum(tl.load(clock + 1) - now, window).to(tl.int32)
    block = tl.program_id(0) % blocks
    sample = tl.cast(tl.program_id(0) // blocks, tl.int64)
    j = tl.cast(block, tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = j < count
    own = sample * count + j
    first_row = (now % ring).to(tl.int32)
    {(chr(10) + "    ").join(before)}
    for ahead in range(0, steps):
        step = now + ahead
{chr(10).join(after)}
    {(chr(10) + "    ").join(ends) or "return"}
'''


def _kept(kernel: Kernel, shape: Shape, fired: str) -> Sequence[str]:
    """Return the lines that append spikes, keep values of traces and carry the state on."""
    lines = [
        "turn = first_row + ahead",  # at most one turn of the ring; a division of 64 bits takes long
        "row = tl.where(turn < ring, turn, turn - ring).to(tl.int64) * samples + sample",
        f"place = tl.atomic_add(counts + row + tl.zeros((BLOCK,), tl.int64), 1, mask={fired}, sem='relaxed')",
        f"tl.store(ids + row * count + place.to(tl.int64), j.to(tl.int32), mask={fired})",
    ]
    if shape.recorded:
        lines += [
            "one = tl.full((BLOCK,), 1, tl.int64)",
            f"spot = tl.atomic_add(clock + 3 + tl.zeros((BLOCK,), tl.int64), one, mask={fired}, sem='relaxed')",
            f"tl.store(events + spot, ((step - origin) * samples + sample) * everything + base + j, mask={fired})",
        ]
    for n, name in enumerate(shape.traced):
        lines += [
            f"since = step - origin - tl.load(plan_{name})",
            f"every = tl.load(plan_{name} + 2)",
            f"if (since >= 0) & (step - origin < tl.load(plan_{name} + 1)) & (since % every == 0):",
            f"    line = (since // every * samples + sample) * tl.load(plan_{name} + 3)",
            f"    tl.store(trace_{name} + line + which{n}, next_{name}, mask=inside & (which{n} >= 0))",
        ]
    return [*lines, *(f"now_{name} = next_{name}" for name in kernel.carried)]
