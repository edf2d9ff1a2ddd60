"""Synapses as a rule: nothing is stored until a simulation or training needs them."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.kernels.drawing.arguments import Drawing
from neurosim.kernels.drawing.plan import Projection, plan_tables
from neurosim.synapses.connectivity import ConnectionRule, pairs_of
from neurosim.synapses.delayed import Delayed
from neurosim.synapses.delayed_sparse import DelayedSparse
from neurosim.synapses.distributions import Constant, Distribution
from neurosim.synapses.drawing import BITS, drawing_of, key_of, listed_error, weight_error
from neurosim.synapses.forecast import ProjectionPlan, forecast
from neurosim.synapses.listed import ListedRule
from neurosim.synapses.lowering import Lowered, SparseRows
from neurosim.synapses.sparse import Sparse
from neurosim.synapses.synapse import Synapse, count


class Drawn(Delayed):
    """Synapses drawn by a rule, with weights and delays from distributions, between the ends of an edge.

    Sizes, step and seed come from the network, which holds a bound copy: one `Drawn` may be given to several edges,
    and each draws synapses of its own. The synapses depend on the rule, the sizes, the connectivity seed of the
    network and the name of the edge alone. A copy that is bound, such as that of another network, stays as it is.

    Parameters
    ----------
    rule : ConnectionRule
        One of `neurosim.synapses.connectivity`, such as ``FixedInDegree(100)``.
    weight : float or Distribution, optional
        That of a linear layer with the expected number of inputs if left out.
    delay : float or Distribution
        In s; added to the delay of the edge. What is drawn is rounded to the nearest step; a number must be an
        integer number of steps.
    bits : int
        Bits of a weight with its sign, 2 to 20. Weights are multiples of a power of two, the `unit`, of which the
        largest takes at most ``2^(bits - 1)``; a constant too, with a relative error of ``2^(1 - bits)`` at most. Sums
        of them are exact in single precision up to 2^24 units, so that their order does not matter.
    learn : bool
        Whether the weights are parameters, one for each synapse, also of a constant weight. They are then drawn as
        soon as a network connects the edge, so that ``net.parameters()`` holds them from the start. Otherwise the
        network has no parameter for these synapses, and its `state_dict` no tensor: the rule is the description.

    Attributes
    ----------
    rule : ConnectionRule
    weights, delays : Distribution
    n_in, n_out : int
        Once bound.
    drawing : Drawing
        What decides the synapses, once bound; see `neurosim.kernels.drawing`.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.circuit import FixedInDegree, Normal
    >>> weight = Normal(0.5, 0.1, low=0.0, outside="redrawn")
    >>> net = ns.Network(
    ...     nodes={"input": ns.Input(1000), "n": ns.LIF(dt=1e-4, size=500)},
    ...     edges=[
    ...         ns.Edge("input", "n", ns.Drawn(FixedInDegree(20), weight=weight)),
    ...         ns.Edge("n", "n", ns.Drawn(FixedInDegree(50, autapses="excluded"), weight=-0.25, delay=1.5e-3)),
    ...     ],
    ... )
    >>> loop = net["n->n"][0]
    >>> loop.min_delay, loop.materialised().weight.numel()
    (15, 25000)
    """

    bias = None
    _drawing: Drawing | None = None
    _bound: tuple[Any, ...] | None = None
    _checksum = 0

    def __init__(
        self,
        rule: ConnectionRule,
        weight: float | Distribution | None = None,
        delay: float | Distribution = 0.0,
        bits: int = BITS,
        *,
        learn: bool = False,
    ) -> None:
        Synapse.__init__(self)
        if not isinstance(rule, ConnectionRule):
            raise InputError(
                f"rule must be a ConnectionRule such as Bernoulli(0.1) or FixedInDegree(100); got {rule!r}."
            )
        self.rule, self.bits, self.learn = rule, bits, learn
        self.weights = None if weight is None else _distribution("weight", weight)
        self.delays = _distribution("delay", delay)
        self._made: list[Sparse | DelayedSparse] = []  # a list, so that torch does not count it as a part

    def bind(self, n_in: int, n_out: int, name: str, seed: int, dt: float, has_same_ends: bool) -> Drawn:
        """Return these synapses between populations of given sizes.

        Parameters
        ----------
        n_in, n_out : int
            Presynaptic and postsynaptic neurons.
        name : str
            Name of the edge, on which the random numbers depend.
        seed : int
            Connectivity seed of the network, from 0.
        dt : float
            Length of a step, s.
        has_same_ends : bool
            Whether the edge joins a population to itself.
        """
        bound = count("Drawn", "n_in", n_in), count("Drawn", "n_out", n_out), name, seed, dt, has_same_ends
        if self._bound == bound:
            return self
        if self._bound is not None and self.learn:
            raise InputError(
                f"Drawn: these synapses learn and are bound to the edge {self._bound[2]!r}; their weights would be "
                f"lost. Make a new Drawn for {name!r}."
            )
        made = Drawn(self.rule, self.weights, self.delays, self.bits, learn=self.learn)
        made.n_in, made.n_out = n_in, n_out
        made.set_dt(dt)
        pairs = pairs_of(self.rule, n_in, n_out, has_same_ends)
        key = key_of(seed, name)
        made._drawing = drawing_of(self.rule, pairs, self.weights, self.delays, self.bits, key, dt)
        made._bound = bound
        made.memory = made._drawing.delay.last
        if self.learn:
            made.learned = made.materialised()
        return made

    def _use_dt(self) -> None:
        """Do nothing: the rule is bound with its step."""

    @property
    def is_bound(self) -> bool:
        """Whether sizes, step and seed are known."""
        return self._drawing is not None

    @property
    def drawing(self) -> Drawing:
        """What decides the synapses."""
        if self._drawing is None:
            raise InputError(
                "Drawn: the sizes are not known before a network connects the edge; use the copy that the network "
                "holds, net['source->target'][0], or drawn.bind(...)."
            )
        return self._drawing

    @property
    def unit(self) -> float:
        """Unit of the weights, a power of two."""
        return self.drawing.unit

    def plan(self, name: str = "", delay_steps: int = 0) -> ProjectionPlan:
        """Return what these synapses will take in a simulation; nothing is drawn.

        Parameters
        ----------
        name : str
            Of the edge, for the table; that of the network the synapses are bound to if left out.
        delay_steps : int
            Delay of the edge.

        Examples
        --------
        >>> import neurosim as ns
        >>> from neurosim.circuit import FixedInDegree
        >>> rule = ns.Drawn(FixedInDegree(1000, multapses="excluded"), weight=0.1, delay=1.5e-3)
        >>> plan = rule.bind(10_000, 12_500, "e->all", 0, 1e-4, False).plan()
        >>> plan.synapses, plan.format, plan.nbytes
        (12500000, 'bits', 15680000)
        """
        (table,) = plan_tables([Projection(self, 0, delay_steps, self.unit)])
        assert self._bound is not None  # as `unit` has checked
        return forecast(name or self._bound[2], table, self.weight_error, self.dt)

    @property
    def weight_error(self) -> float:
        """Largest error of a weight on the grid, relative to the mean size of the weights."""
        if isinstance(self.rule, ListedRule) and self.rule.weight is not None:
            return listed_error(self.rule.weight, self.unit)
        return weight_error(self.weights, self.drawing.weight, self.unit)

    @property
    def min_delay(self) -> int:
        """Shortest delay that may be drawn, steps."""
        return self.drawing.delay.first

    def materialised(self) -> Sparse | DelayedSparse:
        """Return the synapses one by one, drawn at the first call.

        `Sparse` where all have one delay, which `min_delay` says; else `DelayedSparse`. The weights require gradients
        if the synapses learn.
        """
        if not self._made:
            drawing = self.drawing
            is_prompt = drawing.delay.is_constant and drawing.listed_delay is None
            made = Sparse.of_drawing(drawing) if is_prompt else DelayedSparse.of_drawing(drawing, self.dt)
            self._made.append(made.requires_grad_(self.learn))
            self._checksum = _checksum(made.weight)
        return self._made[0]

    @property
    def is_plain(self) -> bool:
        """Whether the weights are those drawn: they do not learn, and nothing has changed them."""
        return not self.learn and (not self._made or _checksum(self._made[0].weight) == self._checksum)

    @property
    def weight(self) -> nn.Parameter:
        """Weight of each synapse, in the order of `materialised`."""
        return self.materialised().weight

    @property
    def connections(self) -> Tensor:
        """Postsynaptic and presynaptic neuron of each synapse [2, n], int64, in the order of `materialised`."""
        return self.materialised().connections

    @property
    def in_degrees(self) -> Tensor:
        """Number of synapses of each postsynaptic neuron [n_out], int64."""
        return self.materialised().in_degrees

    @property
    def out_degrees(self) -> Tensor:
        """Number of synapses of each presynaptic neuron [n_in], int64."""
        return self.materialised().out_degrees

    def to_scipy(self) -> Any:
        """Return the weights as a matrix of SciPy; see `Sparse.to_scipy`."""
        return self.materialised().to_scipy()

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(n_out,)``."""
        self.drawing  # noqa: B018  # refuses what is not bound
        return super().output_shape(shape)

    def _line(self, x: Tensor, state: Tensor | None) -> Tensor:
        self.drawing  # noqa: B018
        return super()._line(x, state)

    def _currents(self, line: Tensor, through_time: bool) -> Tensor:
        synapses = self.materialised()
        if not self.learn and (synapses.weight.device, synapses.weight.dtype) != (line.device, line.dtype):
            synapses = synapses.to(line.device, line.dtype)
        if isinstance(synapses, DelayedSparse):
            early = synapses.min_delay - self.min_delay  # none of the shortest delays may have been drawn
            line = line[: line.shape[0] - early] if early else line
            return synapses.over(line, through_time=through_time)
        return synapses(line if through_time or not self.memory else line.detach())

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        value = self.materialised().lowered(shape)
        if not self.memory or not isinstance(value, SparseRows) or value.delay is not None:
            return value
        return dataclasses.replace(value, delay=torch.full_like(value.post, self.memory))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": self._made if self.learn else []}

    def extra_repr(self) -> str:
        """Return the rule and the distributions."""
        return f"{self.rule!r}, weight={self.weights!r}, delay={self.delays!r}"


def _checksum(weight: Tensor) -> int:
    """Return a checksum of weights, which every change of them changes, also one that autograd does not count."""
    return zlib.crc32(weight.detach().cpu().numpy().tobytes())


def _distribution(name: str, value: object) -> Distribution:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Constant(float(value))
    if not isinstance(value, Distribution):
        raise InputError(f"{name} must be a number or a Distribution such as Normal(0.5, 0.1); got {value!r}.")
    return value
