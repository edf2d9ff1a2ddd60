"""A network: named populations joined by named edges, with explicit state."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.kernels.common.constants import start_values_shared
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.network.building import (
    check_names,
    check_nodes,
    check_ports,
    check_streams,
    common_dt,
    connect,
    on_grid,
    order_of,
    set_steps,
    shapes_of,
    single,
)
from neurosim.network.component import components
from neurosim.network.context import RunContext
from neurosim.network.explanation import ComponentExplanation, Explanation, circuit_of, observe
from neurosim.network.graph import Edge, Input, NetworkState
from neurosim.network.layered import run_layered
from neurosim.network.neuron import Neuron
from neurosim.network.noise import with_noise
from neurosim.network.parts import Parts, SynapseList
from neurosim.network.plan import NetworkPlan, plan_of
from neurosim.network.population import Population
from neurosim.network.preference import STRATEGIES
from neurosim.network.source import (
    Source,
    check_state,
    checked_seed,
    checked_streams,
    drawn,
    first_state,
    run_seeds,
    samples_of,
)
from neurosim.network.start_values import StartDraw
from neurosim.network.strategies import Strategy, check_steps_at_once
from neurosim.network.streaming import run_step
from neurosim.synapses.norm import repeating
from neurosim.synapses.synapse import count
from neurosim.synapses.time_step import restored_on_error
from neurosim.synapses.traced import Traces


class Network(nn.Module):
    """Populations of neurons joined by synapses, simulated on one time grid.

    Parameters
    ----------
    nodes : mapping of str to Input, Source or Population
        Where data enter, sources that make their own input, and populations such as layers of neurons. A network may
        have neither Input nor Source: its populations then run from their start values.
    edges : iterable of Edge
        The synapses between them.
    output : str, optional
        Node whose output the call returns; the last one of `nodes` if left out.
    dt : float, optional
        Length of a step, s, in (0, 0.1). Populations and synapses with delays that were made without a step get this
        one; if it is left out, that of those which have one. Parts of another step are refused.
    seed : int
        Connectivity seed, in ``0 ... 2^63 - 1``: that of synapses that are drawn by a rule (`Drawn`).

    Raises
    ------
    NetworkError
        When nodes and edges do not fit: unknown names, no dt or two of them, a cycle without delay, a node without
        input.
    ShapeError
        When synapses and populations do not fit, naming the edge.

    Attributes
    ----------
    strategies : sequence of Strategy
        How components are run, in order of preference: a population, or the populations of a cycle, is run by the
        first that applies. Without cycles each population runs all steps in one call; populations on a cycle run
        together, in chunks as long as its shortest delay.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> net = ns.Network(
    ...     dt=1e-3,
    ...     nodes={"input": ns.Input(4), "pool": ns.LIF(), "out": ns.LI()},
    ...     edges=[
    ...         ns.Edge("input", "pool", ns.Linear(4, 8)),
    ...         ns.Edge("pool", "pool", ns.Linear(8, 8)),
    ...         ns.Edge("pool", "out", ns.Linear(8, 2), delay=3e-3),
    ...     ],
    ... )
    >>> v, state = net(torch.ones(20, 5, 4))
    >>> v.shape, state.in_flight["pool"].shape
    (torch.Size([20, 5, 2]), torch.Size([3, 5, 8]))
    """

    strategies: Sequence[Strategy] = STRATEGIES

    def __init__(
        self,
        nodes: Mapping[str, Input | Source | Population],
        edges: Iterable[Edge],
        *,
        output: str | None = None,
        dt: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        # Type and device of a network without parameters, such as one of drawn synapses; `to` and `double` change it.
        self.register_buffer("_empty", torch.empty(0), persistent=False)
        check_nodes(nodes)
        self.seed = checked_seed(seed)
        given = single(edges)
        output = output or "".join([*nodes][-1:])
        nodes, given = with_noise(nodes, given)
        parts = on_grid(nodes, given)
        self.dt = common_dt(parts, dt)
        with restored_on_error(*(part for part in parts.values() if not part.has_dt)):
            set_steps(parts, self.dt)
            self._connect(nodes, given, output)

    def _connect(self, nodes: Mapping[str, Input | Source | Population], given: Sequence[Edge], output: str) -> None:
        """Join the nodes by the edges."""
        self.edges = [connect(edge, nodes, self.dt, self.seed) for edge in given]
        check_names(self.edges)
        check_streams(self.edges)
        check_ports(nodes, self.edges)
        order, groups = order_of(list(nodes), self.edges)
        self.components = components(groups, self.edges)
        self.nodes = Parts({name: nodes[name] for name in order})
        self.inputs = tuple(name for name in order if isinstance(nodes[name], Input))
        self.sources = tuple(name for name in order if isinstance(nodes[name], Source))
        self._streams = checked_streams(self._sources(), self._drawn_starts(), self.dt)
        self.output = output
        if not isinstance(nodes.get(self.output), Population):
            raise NetworkError(
                f"output must name a population of neurons, one of {list(self.populations())}; got {self.output!r}."
            )
        self._shapes = self.nodes.shapes = shapes_of(self.nodes, self.edges)
        self.synapses = Parts({edge.name: SynapseList(edge, self._shapes[edge.source], self.dt) for edge in self.edges})

    def plan(self) -> NetworkPlan:
        """Return what the drawn synapses will take: numbers, memory, time, weight error, delays; nothing is drawn.

        Examples
        --------
        >>> import neurosim as ns
        >>> from neurosim.circuit import FixedInDegree, Normal
        >>> rule = ns.Drawn(FixedInDegree(100), weight=Normal(0.5, 0.1, low=0.0, outside="redrawn"), delay=1.5e-3)
        >>> nodes = {"input": ns.Input(1000), "e": ns.LIF(size=8000), "i": ns.LIF(size=2000)}
        >>> net = ns.Network(nodes, [ns.Edge("input", "e", rule), ns.Edge("e", "i", rule)], dt=1e-4)
        >>> plan = net.plan()
        >>> plan.synapses, plan.nbytes, [each.format for each in plan.projections]
        (1000000, 4072016, ['packed', 'packed'])
        """
        return plan_of(self.edges)

    def parts(self) -> list[nn.Module]:
        """Return synapses and populations in order of computation: before each population the synapses of its edges."""
        found: list[nn.Module] = []
        for name, node in self.populations().items():
            found += [synapse for edge in self.edges if edge.target == name for synapse in edge.synapses]
            found.append(node)
        return found

    def __len__(self) -> int:
        """Return the number of `parts`."""
        return len(self.parts())

    def __bool__(self) -> bool:
        """Return True."""
        return True

    def __iter__(self) -> Iterator[nn.Module]:
        """Iterate over `parts`."""
        return iter(self.parts())

    def __getitem__(self, key: int | slice | str) -> Any:
        """Return a part, a list of parts, the node of a name, or the synapses of the edge of a name."""
        if isinstance(key, (int, slice)):
            parts = self.parts()
            if isinstance(key, int) and not -len(parts) <= key < len(parts):
                raise IndexError(f"part {key} of {len(parts)}.")  # ends an iteration
            return parts[key]
        for named in (self.nodes, self.synapses):
            if key in named:
                return named[key]
        raise InputError(f"no node or edge {key!r}; this network has {[*self.nodes]} and {[*self.synapses]}.")

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the population `name`, without T and B."""
        if name not in self._shapes:
            raise InputError(f"no node {name!r}; this network has {list(self._shapes)}.")
        return self._shapes[name]

    def _sources(self) -> dict[str, Source]:
        return {name: node for name in self.sources if isinstance(node := self.nodes[name], Source)}

    @property
    def is_random(self) -> bool:
        """Whether a run draws numbers: those of sources, or start values."""
        return bool(self.sources or self._drawn_starts())

    def _drawn_starts(self) -> dict[str, tuple[str, ...]]:
        """Return the variables whose start values are drawn, by population."""
        nodes = {name: node.init for name, node in self.populations().items() if isinstance(node, Neuron)}
        return {name: init.drawn for name, init in nodes.items() if init is not None and init.drawn}

    def populations(self) -> dict[str, Population]:
        """Return the populations by name, in order of computation."""
        return {name: node for name, node in self.nodes.items() if isinstance(node, Population)}

    def neurons(self) -> dict[str, Neuron]:
        """Return the populations by name as layers of a core, in order of computation.

        Raises
        ------
        NetworkError
            When a population has no core, so that code that reads cores does not skip it; see `populations`.
        """
        found = {}
        for name, node in self.populations().items():
            if not isinstance(node, Neuron):
                raise NetworkError(
                    f"node {name!r} is of type {type(node).__name__}, which has no core; this needs populations of a "
                    "core, such as LIF."
                )
            found[name] = node
        return found

    def initial_state(
        self,
        x: Tensor | Mapping[str, Tensor] | None = None,
        *,
        batch: int | None = None,
        seed: int | Mapping[str, int] | None = None,
        trials: Sequence[int] | None = None,
    ) -> NetworkState:
        """Return the state before the first step.

        Parameters
        ----------
        x : Tensor [T, B, ...], or mapping of input name to such
            Data of each `Input` node, for the number of samples, the type and the device.
        batch : int, optional
            Samples of a network without `Input`; 1 if left out, or as many as `trials`.
        seed : int, or mapping of str to int, optional
            Seed of what is drawn, in ``0 ... 2^63 - 1``: the start values of populations, and the output of sources.
            A mapping ``dict(start=..., noise=...)`` gives each its own. Drawn from torch's generator on the CPU if
            left out.
        trials : sequence of int, optional
            Number of the trial that each sample is; ``0 ... B - 1`` if left out. A trial draws the same numbers in any
            batch.
        """
        like = next(iter(self.checked_inputs(x).values()), None)
        if like is None:
            if batch is None:
                batch = 1 if trials is None else len(trials)
            like = self.like().new_empty((1, count("initial_state", "batch", batch, 0)))
        elif batch not in (None, like.shape[1]):
            raise InputError(f"batch={batch} contradicts x, which has B = {like.shape[1]}; leave it out.")
        samples = like.shape[1]

        def empty(name: str) -> Tensor:
            return like.new_empty((1, samples, *self._shapes[name]))

        if not self.is_random and not (seed is None and trials is None):
            raise InputError(
                "seed and trials are for networks with sources, such as Poisson, or with start values that are drawn; "
                "this one has none."
            )
        starting = [n for n, node in self.populations().items() if isinstance(node, Neuron) and node.init is not None]
        start = noise = None
        if starting or self.sources:
            # A network that draws nothing takes no number from torch's generator.
            seeds = run_seeds(seed if self.is_random else 0)
            start, noise = (first_state(samples, each, trials, like.device) for each in seeds)
        nodes: dict[str, Any] = {}
        for name, node in self.populations().items():
            if start is not None and name in starting and isinstance(node, Neuron):
                nodes[name] = node.initial_state(empty(name), StartDraw(name, start.seed, start.trial))
            else:
                nodes[name] = node.initial_state(empty(name))
        nodes.update(dict.fromkeys(self.sources, noise))
        zeros = {name: like.new_zeros((n, samples, *self._shapes[name])) for name, n in self.steps_in_flight().items()}
        return NetworkState(nodes, zeros)

    def steps_in_flight(self) -> dict[str, int]:
        """Return the number of last outputs that a state keeps of each node from which spikes are in flight."""
        longest: dict[str, int] = {}
        for edge in self.edges:
            reach = edge.reach
            if reach > longest.get(edge.source, 0):
                longest[edge.source] = reach
        return longest

    def like(self) -> Tensor:
        """Return an empty tensor of the floating-point type and on the device of the network."""
        first = next((p for p in self.parameters() if p.is_floating_point()), None)
        return self.get_buffer("_empty") if first is None else first.new_empty(0)

    def forward(
        self,
        x: Tensor | Mapping[str, Tensor] | None = None,
        state: NetworkState | None = None,
        *,
        steps: int | None = None,
        batch: int | None = None,
        through_time: bool = True,
        recompute: bool = False,
        traces: Traces | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """Run the network over time.

        Parameters
        ----------
        x : Tensor [T, B, ...], or mapping of input name to such
            Data of each `Input` node; left out for a network without one.
        state : NetworkState, optional
            State to start from; None is the initial state. It carries the seed and the trials of sources.
        steps, batch : int, optional
            T and B of a network without `Input`: T is needed, B is that of `state`, or 1.
        through_time : bool
            Without it no gradient crosses from a step to another: not through membranes, loops or delays.
        recompute : bool
            Keep for the backward pass only spikes, one bit each, and the state at some steps, and compute the
            steps between again: far less memory for somewhat more time, and the same gradients. Populations on
            a cycle other than one loop of one step, those without a core and those being recorded keep all.
        traces : Traces, optional
            Let weights learn from traces of presynaptic spikes, which this object carries from call to call; for
            runs without `through_time` and without `recompute`.

        Returns
        -------
        z : Tensor [T, B, ...]
            Output of the output node.
        state : NetworkState
            State after the last step.
        """
        is_plain = steps is None and batch is None and traces is None
        if is_plain and not torch.compiler.is_compiling() and self.strategies is STRATEGIES:
            after_step = run_step(self.nodes, self.components, self.output, x, state)
            if after_step is not None:
                return after_step
        result = self.run(
            x, state, (), steps=steps, batch=batch, through_time=through_time, recompute=recompute, traces=traces
        )
        return result.out, result.state

    def run(
        self,
        x: Tensor | Mapping[str, Tensor] | None = None,
        state: NetworkState | None = None,
        record: Sequence[str] = (),
        *,
        steps: int | None = None,
        batch: int | None = None,
        through_time: bool = True,
        recompute: bool = False,
        traces: Traces | None = None,
        gradient: bool = False,
    ) -> LayerOutput:
        """Run as `forward` does, and record what `record` names.

        Parameters
        ----------
        x, state, steps, batch, through_time, recompute, traces
            As in `forward`.
        record : sequence of str
            ``"node"`` for the output of a node, ``"node.variable"`` for a state or local variable of its core.
        gradient : bool
            Whether recorded values have their gradient, for losses on hidden activity or several outputs. The outputs
            of nodes cost nothing more; populations whose state or local variables are recorded then run step by step,
            which is slow.

        Returns
        -------
        LayerOutput
            Output of the output node, `NetworkState` after the last step, and what was recorded by name.

        Examples
        --------
        >>> import torch, neurosim as ns
        >>> net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=1e-3), names=["out"])
        >>> result = net.run(torch.rand(100, 4, 3), record=["out.u"])
        >>> result.out.shape, result.recorded["out.u"].shape
        (torch.Size([100, 4, 2]), torch.Size([100, 4, 2]))
        """
        outputs, start, steps = self._from_outside(x, state, steps, batch)
        return self._run(
            self.strategies,
            outputs,
            start,
            steps,
            record,
            through_time=through_time,
            recompute=recompute,
            traces=traces,
            gradient=gradient,
        )

    def explain(
        self,
        x: Tensor | Mapping[str, Tensor] | None = None,
        state: NetworkState | None = None,
        record: Sequence[str] = (),
        *,
        steps: int | None = None,
        batch: int | None = None,
        through_time: bool = True,
        recompute: bool = False,
        traces: Traces | None = None,
        plasticity: Mapping[str, Any] | None = None,
    ) -> Explanation:
        """Run the network as `run` does, and return which strategy and which kernels ran each component, and why.

        Without data and `steps` nothing is run. In any case it is said whether and how the engine of circuits, by which
        `neurosim.simulate` runs sparse networks, runs this one; nothing is drawn for that.

        The parameters are those of `run`, and `plasticity` those of `neurosim.simulate`. The network, `traces`, the
        running statistics of normalisation and torch's random numbers on the CPU are not changed.

        Returns
        -------
        Explanation
            As text a table. Each of its `rows` has the populations, the strategy, the strategies that could not run
            them, the kernels with the reason for each, and the measured input rate of each edge. Its `circuit` has the
            format and size of the rows of synapses of each edge, the window of the shortest delay, threads and rules.

        Examples
        --------
        >>> import torch, neurosim as ns
        >>> net = ns.Sequential(ns.Linear(64, 32), ns.LIF(dt=1e-3), names=["out"])
        >>> x = torch.zeros(20, 5, 64)
        >>> x[:, :, 3] = 1.0
        >>> print(net.explain(x))
        populations  strategy      kernels                      input rate          why
        out          fused linear  linear: event-driven on cpu  input->out: 1.56 %  linear: rate 1.56 %, at most 30 %
        >>> print(net.explain())
        simulate runs it layer by layer (no sparse synapses among the populations); engine="circuit" runs it ...
        window of the shortest delay: 64 steps, 64 ms
        1 thread
        edge        rows              synapses  memory  delays  plastic
        input->out  outside the loop                    0 s
        """
        rows: list[ComponentExplanation] = []
        data = self.checked_inputs(x) if x is not None else {}
        samples = next((each.shape[1] for each in data.values()), batch or 1)
        circuit = circuit_of(self, record, samples, plasticity)
        if x is None and steps is None:
            return Explanation((), circuit)
        with torch.random.fork_rng(devices=[]), repeating():
            outputs, start, steps = self._from_outside(x, state, steps, batch)
            self._run(
                observe(self.strategies, rows),
                outputs,
                start,
                steps,
                record,
                through_time=through_time,
                recompute=recompute,
                traces=copy.deepcopy(traces),
            )
        return Explanation(tuple(rows), circuit)

    def _run(
        self,
        strategies: Sequence[Strategy],
        outputs: Mapping[str, Tensor],
        start: NetworkState,
        steps: int,
        record: Sequence[str],
        *,
        through_time: bool,
        recompute: bool,
        traces: Traces | None,
        gradient: bool = False,
    ) -> LayerOutput:
        if not through_time or recompute:
            check_steps_at_once(self.edges, "BPTT() over the whole run")
        variables = self._variables(record)
        context = RunContext(
            self.nodes,
            outputs,
            start,
            steps,
            self.samples_of(start),
            variables,
            through_time=through_time,
            recompute=recompute,
            traces=traces,
            gradient=gradient,
        )
        run_layered(context, self.components, strategies, {self.output, *record})
        recorded = {name: context.recorded(name) for name in record}
        after = NetworkState(context.states, context.in_flight_after)
        return LayerOutput(context.outputs[self.output].out, after, recorded)

    def _from_outside(
        self, x: Tensor | Mapping[str, Tensor] | None, state: NetworkState | None, steps: int | None, batch: int | None
    ) -> tuple[dict[str, Tensor], NetworkState, int]:
        """Return the outputs of inputs and sources, the state (sources after the last step), and the steps."""
        inputs = self.checked_inputs(x)
        like = next(iter(inputs.values()), None)
        if like is not None:
            if steps not in (None, like.shape[0]) or batch not in (None, like.shape[1]):
                raise InputError(
                    f"steps={steps} and batch={batch} contradict x, which has T = {like.shape[0]} and B = "
                    f"{like.shape[1]}; leave them out."
                )
            steps, batch = like.shape[:2]
        elif steps is None:
            raise InputError("this network has no Input; give steps=, the number of steps to run.")
        # A run of no steps returns the start values themselves.
        with start_values_shared() if steps else contextlib.nullcontext():
            state = self._begun(x, state, batch)
        length = count("forward", "steps", steps, 0)
        if not self.sources:
            return inputs, state, length
        dtype = self.like().dtype if like is None else like.dtype
        values, after = drawn(self._sources(), self._streams, state.nodes, length, self.dt, dtype)
        return {**inputs, **values}, NetworkState({**state.nodes, **after}, state.in_flight), length

    def start(
        self, x: Tensor | Mapping[str, Tensor] | None, state: NetworkState | None, batch: int | None
    ) -> tuple[dict[str, Tensor], NetworkState]:
        """Return the data of each input, and the state that a run begins with, both checked; see `run`."""
        return self.checked_inputs(x), self._begun(x, state, batch)

    def _begun(
        self, x: Tensor | Mapping[str, Tensor] | None, state: NetworkState | None, batch: int | None
    ) -> NetworkState:
        return self.initial_state(x, batch=batch) if state is None else self._checked_state(state, batch)

    def samples_of(self, state: NetworkState) -> int:
        """Return B of a state, as far as it is one of this network."""
        if self.sources:
            return samples_of(state.nodes.get(self.sources[0]))
        tensors = (v for s in state.nodes.values() if isinstance(s, tuple) for v in s if isinstance(v, Tensor))
        first = next((v for v in tensors if v.dim()), None)
        if first is not None:
            return len(first)
        return next((line.shape[1] for line in state.in_flight.values() if line.dim() > 1), 0)

    def _checked_state(self, state: NetworkState, batch: int | None) -> NetworkState:
        """Return `state` if it fits the network and its batch; each population checks its own part."""
        if not isinstance(state, NetworkState):
            raise InputError(
                f"state must be the NetworkState that a network returned, or None; got {type(state).__name__}."
            )
        if state.plastic:
            raise InputError(
                f"state holds weights that changed in a run, of the edges {list(state.plastic)}. Continue it with "
                "simulate(net, ..., state=state, plasticity=...), or copy the weights into the network and use "
                "state._replace(plastic={})."
            )
        expected_nodes = [*self.populations(), *self.sources]
        if batch is None:
            batch = self.samples_of(state)
        lines = {name: (steps, batch, *self._shapes[name]) for name, steps in self.steps_in_flight().items()}
        parts = (("nodes", state.nodes, expected_nodes), ("in_flight", state.in_flight, [*lines]))
        for kind, given, expected in parts:
            if given.keys() != set(expected):
                raise ShapeError(
                    f"state.{kind} must hold {sorted(expected)}; got {sorted(given)}. Was it made by another network?"
                )
        for name, shape in lines.items():
            got = state.in_flight[name].shape
            if got != shape:
                raise ShapeError(f"state.in_flight[{name!r}] must be {list(shape)}; got {list(got)}.")
        for name in self.sources:
            check_state(name, state.nodes[name], batch)
        return state

    def checked_inputs(self, x: Tensor | Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """Return the data of each input by name, after checks of names, shapes and types."""
        if x is None:
            given: dict[str, Tensor] = {}
        else:
            given = dict(x) if isinstance(x, Mapping) else dict.fromkeys(self.inputs[:1] or ("x",), x)
        if set(given) != set(self.inputs):
            raise InputError(f"x must give data for the inputs {list(self.inputs)}; got {list(given)}.")
        lead = None
        weight = self._first_weight()
        for name, data in given.items():
            wanted = self._shapes[name]
            if not isinstance(data, Tensor) or tuple(data.shape[2:]) != wanted or data.dim() < 2:
                got = list(data.shape) if isinstance(data, Tensor) else type(data).__name__
                hint = " Pass x.to_grid(), or use simulate." if hasattr(data, "to_grid") else ""
                wanted_shape = ", ".join(map(str, wanted))
                raise ShapeError(f"x for {name!r} must be a tensor [T, B, {wanted_shape}]; got {got}.{hint}")
            if not data.is_floating_point():
                raise InputError(f"x for {name!r} must be in floating point; got {data.dtype}. Use x.float().")
            if weight is not None and data.dtype != weight.dtype and not _is_autocast(data):
                raise InputError(
                    f"x for {name!r} is {data.dtype}, the weights of the network are {weight.dtype}; use "
                    f"x.to({weight.dtype}), or net.to({data.dtype})."
                )
            if weight is not None and data.device != weight.device:
                raise InputError(
                    f"x for {name!r} is on {data.device}, the weights of the network are on {weight.device}; use "
                    f"x.to({str(weight.device)!r}), or net.to({str(data.device)!r})."
                )
            if lead not in (None, data.shape[:2]):
                raise ShapeError(
                    f"all inputs must share T and B; {name!r} has {list(data.shape[:2])}, another {list(lead or ())}."
                )
            lead = data.shape[:2]
        return given

    def _first_weight(self) -> Tensor | None:
        """Return a parameter of the first synapse that has its own; `Module.parameters` is slow."""
        for edge in self.edges:
            for synapse in edge.synapses:
                for parameter in synapse._parameters.values():
                    if parameter is not None and parameter.is_floating_point():
                        return parameter
        return None

    def _variables(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the variables to record of each node."""
        if isinstance(names, str):
            raise InputError(f"record must be a sequence of names; got the text {names!r}. Write record=[{names!r}].")
        variables: dict[str, tuple[str, ...]] = {}
        for name in names:
            node, _, variable = name.partition(".")
            if node not in self._shapes:
                raise InputError(f"cannot record {name!r}: no node {node!r}; this network has {list(self._shapes)}.")
            if variable and not isinstance(self.nodes[node], Population):
                kind = "a source" if node in self.sources else "an input"
                raise InputError(f"cannot record {name!r}: {node!r} is {kind} and has no variables.")
            if name.endswith("."):
                raise InputError(
                    f"cannot record {name!r}: no variable after the dot; leave the dot out to record the output."
                )
            if variable:
                variables[node] = (*variables.get(node, ()), variable)
        return variables


def _is_autocast(x: Tensor) -> bool:
    """Whether products convert their inputs by themselves."""
    return torch.is_autocast_enabled(x.device.type)
