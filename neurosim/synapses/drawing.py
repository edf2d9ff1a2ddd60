"""From a rule and distributions to what decides the synapses of a projection, and from there to rows."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.kernels.common.philox import stream_of
from neurosim.kernels.drawing.arguments import Drawing, Key, Levels, Pairs
from neurosim.kernels.drawing.draw import draw
from neurosim.kernels.drawing.levels import constant, grid_unit, on_grid
from neurosim.kernels.sparse.rows import Rows, index_type
from neurosim.synapses.connectivity import ConnectionRule, pairs_of
from neurosim.synapses.delayed import in_steps
from neurosim.synapses.distributions import Constant, Distribution, Uniform
from neurosim.synapses.listed import ListedRule
from neurosim.units import delay_obstacle, longest_delay

BITS = 15  # of a weight, with its sign
MOST_BITS = 20
WORST_ERROR = 0.01  # of a weight on the grid, relative to the mean weight

_NUMPY = {torch.uint16: np.uint16, torch.int32: np.int32}


class DrawnRows(NamedTuple):
    """Synapses as rows, in each row by postsynaptic neuron.

    Attributes
    ----------
    rows : Rows
    weight : Tensor [n]
        In torch's default type.
    delay : Tensor [n] of int32, optional
        Steps; None if all are equal.
    """

    rows: Rows
    weight: Tensor
    delay: Tensor | None


def key_of(seed: object, name: str) -> Key:
    """Return the key of the projection called `name`."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 1 << 64:
        raise InputError(f"seed must be an integer from 0 to 2^64 - 1; got {seed!r}.")
    return Key(int(seed), stream_of(name))


def drawing_of(
    rule: ConnectionRule,
    pairs: Pairs,
    weight: Distribution | None,
    delay: Distribution,
    bits: int,
    key: Key,
    dt: float,
) -> Drawing:
    """Return what decides the synapses of a projection.

    Parameters
    ----------
    rule : ConnectionRule
        May list weights and delays.
    pairs : Pairs
        Of the rule.
    weight : Distribution, optional
        That of a linear layer with the expected number of inputs if left out.
    delay : Distribution
        In s.
    bits : int
        Of a weight, with its sign.
    key : Key
    dt : float
        Length of a step, s.

    Raises
    ------
    InputError
        When the grid is too coarse for the weights, a delay is not on the grid of the step, or weights or delays are
        given twice.
    """
    listed = rule if isinstance(rule, ListedRule) else None
    for name, twice in (
        ("weight", listed is not None and listed.weight is not None and weight is not None),
        ("delay", listed is not None and listed.delay is not None and delay != Constant(0.0)),
    ):
        if twice:
            raise InputError(f"{rule!r} lists a {name} for each synapse; leave {name}= out.")
    own_weight: np.ndarray | None = None
    own_delay: np.ndarray | None = None
    if listed is not None and listed.weight is not None and len(listed.weight):
        levels, unit, own_weight = _listed_weights(listed.weight, bits)
    else:
        levels, unit = weight_levels(_linear_law(pairs) if weight is None else weight, bits)
    if listed is not None and listed.delay is not None and len(listed.delay):
        steps, own_delay = _listed_delays(listed.delay, dt)
    else:
        steps = delay_levels(delay, dt)
    return Drawing(pairs, levels, steps, unit, key, own_weight, own_delay)


def _linear_law(pairs: Pairs) -> Distribution:
    bound = 1.0 / math.sqrt(max(math.ceil(pairs.expected / pairs.n_out), 1))
    return Uniform(-bound, bound)


def _listed_weights(weight: np.ndarray, bits: int) -> tuple[Levels, float, np.ndarray | None]:
    """Return the span of weights on the grid, the unit, and the weights in units if they differ."""
    largest = float(np.abs(weight).max())
    unit = grid_unit(largest, check_bits(bits))
    error = listed_error(weight, unit)
    if error > WORST_ERROR:
        raise InputError(
            f"the listed weights on a grid of {bits} bits would be off by {error:.1%} of their mean size, because "
            f"they reach {largest:.3g}; the limit is {WORST_ERROR:.0%}. Give the projection bits= up to {MOST_BITS}, "
            "or clip the weights."
        )
    levels = np.rint(weight / unit).astype(np.int32)
    span = _span(levels)
    return span, unit, None if span.is_constant else levels


def _listed_delays(delay: np.ndarray, dt: float) -> tuple[Levels, np.ndarray | None]:
    """Return the span of delays in steps, and the delays if they differ."""
    if delay.min() < 0:
        raise InputError(f"the listed delays must be at least 0 s; got {delay.min():g} s.")
    steps = in_steps("the listed delays", torch.from_numpy(delay), dt).numpy().astype(np.int32)
    span = _span(steps)
    return span, None if span.is_constant else steps


def listed_error(weight: np.ndarray, unit: float) -> float:
    """Return the largest error of listed weights on the grid, relative to their mean size."""
    size = float(np.abs(weight).mean())
    return float(np.abs(np.rint(weight / unit) * unit - weight).max()) / size if size else 0.0


def _span(values: np.ndarray) -> Levels:
    """Return levels from the least to the largest of listed integers, which are not drawn."""
    low, high = int(values.min()), int(values.max())
    return Levels(low, np.zeros(high - low, np.uint32))


def check_bits(bits: int) -> int:
    """Return the bits of a weight.

    Raises
    ------
    InputError
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= MOST_BITS:
        raise InputError(f"bits must be an integer from 2 to {MOST_BITS}; got {bits!r}.")
    return bits


def weight_levels(weight: Distribution, bits: int) -> tuple[Levels, float]:
    """Return the distribution of weights on the grid, and the unit of the grid.

    Raises
    ------
    InputError
        When the grid is too coarse for the distribution.
    """
    if not isinstance(weight, Distribution):
        raise InputError(f"weight must be a Distribution such as Constant(1.0); got {weight!r}.")
    low, high = weight.support
    unit = grid_unit(max(abs(low), abs(high)), check_bits(bits))
    if low == high:
        return constant(math.floor(low / unit + 0.5)), unit
    levels = on_grid(weight.below, low, high, unit)
    error = weight_error(weight, levels, unit)
    if error > WORST_ERROR:
        raise InputError(
            f"weights of {weight!r} on a grid of {bits} bits would be off by {error:.1%} of their mean size, because "
            f"they reach {max(abs(low), abs(high)):.3g}; the limit is {WORST_ERROR:.0%}. Give the distribution bounds "
            f"(low=, high=, outside=), or the projection bits= up to {MOST_BITS}."
        )
    return levels, unit


def weight_error(weight: Distribution | None, levels: Levels, unit: float) -> float:
    """Return the largest error of a weight on the grid, relative to the mean size of weights."""
    if levels.is_constant and weight is not None:
        low, high = weight.support
        return max(abs(levels.first * unit - end) / abs(end) if end else 0.0 for end in (low, high))
    size = levels.mean_size * unit
    return 0.5 * unit / size if size else math.inf


def delay_levels(delay: Distribution, dt: float) -> Levels:
    """Return the distribution of delays in steps: what is drawn, in s, rounded to the nearest step.

    Raises
    ------
    InputError
        When delays below 0 may be drawn, one is too long (`neurosim.units.longest_delay`), or a constant is not an
        integer number of steps.
    """
    if not isinstance(delay, Distribution):
        raise InputError(f"delay must be a Distribution such as Constant(1.5e-3); got {delay!r}.")
    if delay.lowest < 0:
        raise InputError(
            f"delay must be at least 0 s; got {delay!r}. Give it low=0.0 and outside='clipped' or 'redrawn'."
        )
    if isinstance(delay, Constant):
        return constant(int(in_steps("Constant", torch.tensor([delay.value], dtype=torch.float64), dt)))
    low, high = delay.support
    if high >= longest_delay(dt):
        obstacle = delay_obstacle(round(high / dt) * dt, dt)
        raise InputError(f"{obstacle} It may be drawn from {delay!r}; give it high= and outside=.")
    return on_grid(delay.below, low, high, dt)


def same_ends(rule: ConnectionRule, n_in: int, n_out: int) -> bool:
    """Return whether synapses that know sizes alone join a population to itself: they do if the sizes are equal."""
    if n_in != n_out and getattr(rule, "autapses", "allowed") == "excluded":
        raise InputError(
            f"{type(rule).__name__}: autapses='excluded' needs a projection of a population to itself; got n_in={n_in} "
            f"and n_out={n_out}."
        )
    return n_in == n_out


def pairs_between(rule: ConnectionRule, n_in: int, n_out: int) -> Pairs:
    """Return what decides the pairs of synapses that know sizes alone."""
    return pairs_of(rule, n_in, n_out, same_ends(rule, n_in, n_out))


def exact_weight(rule: ConnectionRule, weight: Distribution | None) -> float | np.ndarray | None:
    """Return the weights of synapses that need no drawing: a constant, those that a rule lists, or None."""
    if isinstance(rule, ListedRule) and rule.weight is not None:
        return rule.weight
    return float(weight.value) if isinstance(weight, Constant) else None


def drawn_rows(drawing: Drawing, exact: float | np.ndarray | None = None) -> DrawnRows:
    """Draw synapses; `exact` takes the place of weights on the grid, for all or in the order of a list."""
    starts, post, levels, delay = draw(drawing)
    is_listed = drawing.pairs.kind == "listed"
    place = np.repeat(np.arange(drawing.pairs.n_in) * drawing.pairs.n_out, np.diff(starts)) + post
    order = None if (place[1:] >= place[:-1]).all() else np.argsort(place, kind="stable")
    del place
    dtype = torch.get_default_dtype()
    if isinstance(exact, np.ndarray):
        values = torch.tensor(exact if order is None else exact[order], dtype=dtype)
    elif isinstance(levels, np.ndarray):
        values = torch.from_numpy(levels if order is None else levels[order]).to(dtype).mul_(drawing.unit)
    else:
        value = levels * drawing.unit if exact is None else exact
        values = torch.full((len(post),), value, dtype=dtype)
    steps = None
    if isinstance(delay, np.ndarray):
        steps = torch.tensor(delay if order is None else delay[order])  # a copy: what a rule lists stays as it is
    narrow = (post if order is None else post[order]).astype(_NUMPY[index_type(drawing.pairs.n_out)], copy=is_listed)
    return DrawnRows(
        Rows(
            torch.tensor(starts) if is_listed else torch.from_numpy(starts),
            torch.from_numpy(narrow),
            drawing.pairs.n_out,
        ),
        values,
        steps,
    )
