"""From a network to a NIR graph, or to the full list of what NIR cannot express."""

from __future__ import annotations

import dataclasses
import os
import warnings
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from neurosim import cores
from neurosim.errors import InputError, TargetRunError
from neurosim.exchange.nir.files import write_graph
from neurosim.exchange.nir.importing import Discretisation
from neurosim.files.problems import Problems
from neurosim.network.folding import fold
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.network.portability import refuse_unportable
from neurosim.quantities import value_range
from neurosim.synapses.lowering import (
    Convolution,
    Dense,
    Lowered,
    Opaque,
    Pooling,
    Reshape,
    Scaling,
    SparseRows,
)
from neurosim.units import euler_time_constant

Gain = Literal["weights", "tau/dt", "network"]

LARGEST_MATRIX = 2**27  # values of a matrix that listed connections are expanded to

_INTEGRATES = (cores.integrator, cores.integrate_and_fire)
_CURRENT_BASED = (cores.cubalif, cores.cuba_integrator, cores.cubalif_resting, cores.cuba_integrator_resting)
_FIRES = {
    cores.integrate_and_fire: "IF",
    cores.lif: "LIF",
    cores.slow_lif: "LIF",
    cores.cubalif: "CubaLIF",
    cores.cubalif_resting: "CubaLIF",
}
_READS_OUT = {
    cores.integrator: "I",
    cores.leaky_integrator: "LI",
    cores.cuba_integrator: "CubaLI",
    cores.cuba_integrator_resting: "CubaLI",
}
# A firing neuron that is never reset is a membrane with a threshold behind it.
_WITHOUT_RESET = {"IF": "I", "LIF": "LI", "CubaLIF": "CubaLI"}


class LossyExport(UserWarning):
    """A part of a network was left out of a NIR graph, as `allow_lossy` allows."""


def to_nir(
    net: Network,
    *,
    discretisation: Discretisation = "euler",
    gain: Gain = "weights",
    allow_lossy: bool = False,
) -> Any:
    """Return a network as a `nir.NIRGraph`.

    Parameters
    ----------
    net : Network
        IF, LIF, CubaLIF, LI and the other cores that NIR has, with ``reset="value"`` or None; every linear synapse
        (a synapse of your own becomes `Linear` or `Affine`), with delays in whole steps; delays and loops.
    discretisation : {"euler", "exponential"}
        The integration step of the reader: time constants are written so that it computes the network's own decays.
        With "euler", which almost all readers use, that is ``tau = dt / (1 - a)``; with "exponential" the time
        constants are those of the network.
    gain : {"weights", "tau/dt", "network"}
        Where the gain of a current is written. ``"weights"``: LIF and LI have ``r = 1``, IF and I ``r = 1/dt``, CubaLIF
        and CubaLI ``r = tau_mem/dt``, and weights are scaled: most tools read this form alike. ``"tau/dt"``: LIF and LI
        have ``r = tau/dt`` too. ``"network"``: weights unchanged, r as in the network: `from_nir` reads back the same
        numbers.
    allow_lossy : bool
        Write what NIR can express and leave out the rest, with a `LossyExport` warning that names it. Otherwise that is
        an error.

    Returns
    -------
    nir.NIRGraph
        Its metadata hold dt, discretisation and what was left out, as hints.

    Raises
    ------
    ExportError
        With all that NIR cannot express: node or edge, field, value, what to change.
    TargetRunError
        If the `nir` package is not installed.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.exchange.nir import to_nir
    >>> graph = to_nir(ns.Sequential(ns.Linear(4, 3), ns.LIF(dt=1e-3)))
    >>> graph.nodes["lif1"].r
    array([1., 1., 1.])
    >>> to_nir(ns.Sequential(ns.Linear(4, 3), ns.LIF(dt=1e-3, reset="subtract")))
    Traceback (most recent call last):
        ...
    neurosim.errors.ExportError: NIR cannot express all of this network:
      - node 'lif1': reset='subtract'; NIR has only a reset to v_reset; ...
    """
    if not isinstance(net, Network):
        raise InputError(
            f"to_nir takes a Network; got {type(net).__name__}. Build one with ns.Sequential or ns.Network."
        )
    if discretisation not in ("euler", "exponential"):
        raise InputError(f'discretisation must be "euler" or "exponential"; got {discretisation!r}.')
    if gain not in ("weights", "tau/dt", "network"):
        raise InputError(f'gain must be "weights", "tau/dt" or "network"; got {gain!r}.')
    bad = [name for name, values in net.named_parameters() if not bool(values.isfinite().all())]
    if bad:
        raise InputError(f"NIR holds finite numbers; these parameters of the network do not: {bad}. Train it again.")
    try:
        import nir
    except ImportError as error:
        raise TargetRunError(
            "the nir package is not installed. Install it with: pip install 'neurosim-toolkit[nir]'"
        ) from error
    return _Exporter(net, nir, discretisation, gain, allow_lossy).graph()


def write_nir(net: Network, path: str | os.PathLike[str], **choices: Any) -> None:
    """Write a network as a NIR file, atomically.

    Parameters
    ----------
    net : Network
    path : path-like
        Conventionally ``.nir``; HDF5.
    **choices
        Options of `to_nir`.

    Raises
    ------
    ExportError, TargetRunError
        As `to_nir` does.
    FileError
        When the file cannot be written; an earlier file is not changed.
    """
    write_graph(path, to_nir(net, **choices))


@dataclasses.dataclass
class _Population:
    """A population as NIR nodes.

    Attributes
    ----------
    kind : str
        Name of its NIR primitive.
    fields : dict of str to numpy.ndarray
    weights : numpy.ndarray
        Factor of all currents into it.
    threshold : numpy.ndarray or None
        Of a threshold node behind it.
    """

    kind: str
    fields: dict[str, np.ndarray]
    weights: np.ndarray
    threshold: np.ndarray | None = None


class _Exporter:
    def __init__(self, net: Network, nir: Any, discretisation: Discretisation, gain: Gain, allow_lossy: bool) -> None:
        normalised = any(synapse.folds for edge in net.edges for synapse in edge.synapses)
        self.net = fold(net) if normalised else net
        self.dtype = next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.get_default_dtype())
        self.nir, self.discretisation, self.gain, self.allow_lossy = nir, discretisation, gain, allow_lossy
        self.problems = Problems("NIR cannot express all of this network")
        self.lost: list[str] = []
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.computed: dict[str, tuple[_Step, ...]] = {}  # for each edge
        self.leaving: dict[str, str] = {}  # the node that sends what a population sends

    def graph(self) -> Any:
        refuse_unportable(self.net, self.problems)
        written = {name: self.population(name, node) for name, node in self.net.populations().items()}
        if not self.problems:
            self.put_nodes({name: p for name, p in written.items() if p is not None})
            for edge in self.net.edges:
                target = written[edge.target]
                assert target is not None  # else there would be a problem
                self.put_edge(edge, target.weights)
        self.problems.raise_if_any()
        if self.lost:
            text = "; ".join(self.lost)
            warnings.warn(f"left out of the NIR graph: {text}", LossyExport, stacklevel=3)
        from neurosim import __version__

        hints: dict[str, Any] = {"neurosim": __version__, "dt": self.net.dt, "discretisation": self.discretisation}
        if self.lost:
            hints["lost"] = "; ".join(self.lost)
        graph = self.nir.NIRGraph(self.nodes, self.edges, metadata=hints, type_check=False)
        _infer_types(graph)
        return graph

    def trouble(self, where: str, what: str, lossy: str = "") -> None:
        """Add what NIR cannot express; `lossy` is written instead where that is allowed."""
        if lossy and self.allow_lossy:
            self.lost.append(f"{where}: {what}; written as {lossy}")
        else:
            self.problems.add(where, what + (f"; allow_lossy=True writes {lossy}" if lossy else ""))

    def population(self, name: str, neuron: Population) -> _Population | None:
        where = f"node {name!r}"
        if not isinstance(neuron, Neuron):
            kind = type(neuron).__name__
            self.trouble(where, f"is a {kind}, which NIR has no primitive for; use IF, LIF or CubaLIF and train again")
            return None
        if type(neuron) is not Neuron:
            kind = type(neuron).__name__
            self.trouble(where, f"is a {kind}, whose step may differ from its core's; use ns.LIF and the like")
            return None
        core, shape = neuron.core, self.net.shape(name)
        if core is cores.relay:
            return _Population("", {}, np.ones(()))
        if core is cores.threshold:
            return _Population("Threshold", {"threshold": _full(neuron.value("v_th"), shape)}, np.ones(()))
        if core not in _FIRES and core not in _READS_OUT:
            known = ", ".join(c.name for c in (*_FIRES, *_READS_OUT))
            what = f"its core is {core.name!r}, which NIR has no primitive for; it has {known}"
            integer = ". Write the network as it was before quantise(...)" if core.name.startswith("loihi") else ""
            self.trouble(where, what + integer)
            return None
        fields, weights = self.membrane(neuron, shape)
        for edge in (e for e in self.net.edges if e.target == name):
            current = self.constant(edge)
            if current is not None:
                fields["v_leak"] = fields["v_leak"] + _full(neuron.value("r"), shape) * _full(current, shape)
        kind = _FIRES.get(core) or _READS_OUT[core]
        if core in _READS_OUT:
            return _Population(kind, fields, weights)
        threshold = _full(neuron.value("v_th"), shape)
        if neuron.reset == "subtract":
            amount = neuron.value("reset_amount" if neuron.takes_own_amount else "v_th")
            own = f" of reset_amount={value_range(amount)}" if neuron.takes_own_amount else ""
            what = f"reset='subtract'{own}; NIR has only a reset to v_reset; train with reset=\"value\""
            self.trouble(where, what, "a reset to 0")
        if neuron.reset is None:
            return _Population(_WITHOUT_RESET[kind], fields, weights, threshold=threshold)
        v_reset = _full(neuron.value("v_reset"), shape) if neuron.reset == "value" else np.zeros(shape)
        return _Population(kind, {**fields, "v_threshold": threshold, "v_reset": v_reset}, weights)

    def membrane(self, neuron: Neuron, shape: tuple[int, ...]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return the fields of the membrane, and the factor of the weights."""
        gain, dt = _full(neuron.value("r"), shape), self.net.dt
        if neuron.core in _INTEGRATES:
            if self.gain == "network":
                return {"r": gain / dt}, np.ones(())
            return {"r": np.full(shape, 1.0 / dt)}, gain
        share = 1.0 - _full(
            neuron.decay("tau_mem"), shape
        )  # of the distance to its end value that a membrane covers in a step
        current_based = neuron.core in _CURRENT_BASED
        tau = self.time(neuron, "tau_mem", shape)
        fields = {"tau_mem" if current_based else "tau": tau, "v_leak": np.zeros(shape)}
        if "v_leak" in neuron.core.parameters:
            fields["v_leak"] = _full(neuron.value("v_leak"), shape)
        if current_based:
            fields["tau_syn"] = self.time(neuron, "tau_syn", shape)
            step = 1.0 - _full(neuron.decay("tau_syn"), shape)
            fields["w_in"] = fields["tau_syn"] / dt if self.discretisation == "euler" else 1.0 / step
        if self.gain == "network":
            return {**fields, "r": gain}, np.ones(())
        if self.gain == "tau/dt" or current_based:
            r = tau / dt if self.discretisation == "euler" else 1.0 / share
            return {**fields, "r": r}, gain * share
        return {**fields, "r": np.ones(shape)}, gain

    def time(self, neuron: Neuron, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if self.discretisation == "exponential":
            return _full(neuron.value(name), shape)
        decay = torch.as_tensor(_full(neuron.decay(name), shape))
        return euler_time_constant(decay, self.net.dt).numpy()

    def put_nodes(self, written: dict[str, _Population]) -> None:
        """Add the nodes of inputs, populations and the output."""
        for name in self.net.inputs:
            self.nodes[name] = self.nir.Input(np.array(self.net.shape(name)))
            self.leaving[name] = name
        for name, population in written.items():
            self.leaving[name] = name
            if not population.kind:
                self.nodes[name] = self.nir.Scale(np.ones(self.net.shape(name)))
                continue
            self.nodes[name] = getattr(self.nir, population.kind)(**population.fields)
            if population.threshold is not None:
                self.leaving[name] = self.put(f"{name}_threshold", self.nir.Threshold(population.threshold), name)
        self.put("output", self.nir.Output(np.array(self.net.shape(self.net.output))), self.leaving[self.net.output])

    def put(self, name: str, node: Any, before: str) -> str:
        """Add a node behind another and return its name."""
        while name in self.nodes:
            name += "_"
        self.nodes[name] = node
        self.edges.append((before, name))
        return name

    def put_edge(self, edge: Connection, scale: np.ndarray) -> None:
        """Write an edge as a chain of nodes; the last weights take the gain of the population behind."""
        where = f"edge {edge.name!r}"
        rows = self.rows(edge, where)
        if rows is None:
            return
        for number, row in enumerate(rows):
            scaled = self.scaled(row.steps, scale, self.net.shape(edge.target))
            last, shape = self.leaving[edge.source], self.net.shape(edge.source)
            base = edge.name.replace("->", "_to_").replace(" ", "_") + (f"_{number}" if len(rows) > 1 else "")
            # A loop of neurons on themselves is one step late for every reader; other delays are written.
            late = 0 if row.delay == 1 and self.loops_by_itself(edge) else row.delay
            if late:
                last = self.put(f"{base}_delay", self.nir.Delay(np.full(shape, late * self.net.dt)), last)
            nodes: list[Any] = []
            for step in scaled:
                written = self.nodes_of(step, shape, where)
                if written is None:
                    return
                nodes += written
                shape = step.shape
            for k, node in enumerate(nodes):
                last = self.put(base if len(nodes) == 1 else f"{base}_{k}", node, last)
            if (last, edge.target) in self.edges:
                last = self.put(f"{base}_same", self.nir.Scale(np.ones(shape)), last)
            self.edges.append((last, edge.target))

    def loops_by_itself(self, edge: Connection) -> bool:
        """Whether an edge connects neurons with a state to themselves."""
        node = self.net.nodes[edge.target]
        return edge.source == edge.target and isinstance(node, Neuron) and bool(node.core.state)

    def steps(self, edge: Connection) -> list[_Step]:
        """Return what each synapse of an edge computes, in its own precision."""
        if edge.name in self.computed:
            return list(self.computed[edge.name])
        shape, steps = self.net.shape(edge.source), []
        for synapse in edge.synapses:
            value = synapse.lowered(shape)
            shape = synapse.output_shape(shape)
            if not isinstance(value, Opaque):
                numbers = (t.dtype for t in (*synapse.parameters(), *synapse.buffers()) if t.is_floating_point())
                value = value.to(next(numbers, self.dtype))
            steps.append(_Step(type(synapse).__name__, value, shape))
        self.computed[edge.name] = tuple(steps)
        return steps

    def constant(self, edge: Connection) -> Tensor | None:
        """Return the constant current of a scaling at the end of an edge to LIF or LI, if there is one."""
        target = self.net.nodes[edge.target]
        leaks = isinstance(target, Neuron) and target.core in (cores.lif, cores.leaky_integrator)
        last = self.steps(edge)[-1].value if leaks else None
        return last.bias if isinstance(last, Scaling) else None

    def rows(self, edge: Connection, where: str) -> list[_Row] | None:
        """Return the chains that an edge is: one for each delay where its synapses have delays of their own."""
        steps = self.steps(edge)
        last = steps[-1].value
        if self.constant(edge) is not None and isinstance(last, Scaling):  # written as v_leak of the target
            steps[-1] = replace(steps[-1], value=Scaling(last.weight))
        steps = [step for step in steps if not (isinstance(step.value, Scaling) and step.value.is_identity)]
        delayed = [k for k, step in enumerate(steps) if _delay_of(step.value) is not None]
        if not delayed:
            return [_Row(steps, edge.delay_steps)]
        k = delayed[0]
        value, delay = steps[k].value, _delay_of(steps[k].value)
        assert isinstance(value, (Dense, SparseRows)) and delay is not None
        if delay.is_floating_point():
            kind = steps[k].kind
            self.trouble(where, f"holds {kind}; its delays are not whole steps; round them with rounded()")
            return None
        if len(delayed) > 1 or any(getattr(step.value, "bias", None) is not None for step in steps[k + 1 :]):
            self.trouble(where, f"holds {steps[k].kind} and synapses behind it that add a constant; give each an edge")
            return None
        rows = []
        for number, own in enumerate(delay.unique().tolist()):
            part = _with_delay(value, own, with_bias=not number)
            rows.append(_Row([*steps[:k], replace(steps[k], value=part), *steps[k + 1 :]], edge.delay_steps + own))
        return rows

    def scaled(self, steps: list[_Step], scale: np.ndarray, shape: tuple[int, ...]) -> list[_Step]:
        """Return the steps with `scale`, of the target's shape, in the last weights that can take it."""
        factor = torch.as_tensor(scale.flat[0] if np.all(scale == scale.flat[0]) else scale, dtype=torch.float64)
        if not factor.dim() and factor == 1.0:
            return steps
        for k in range(len(steps) - 1, -1, -1):
            value = steps[k].value
            if factor.dim() and k < len(steps) - 1:
                break
            if isinstance(value, (Dense, SparseRows, Convolution)):
                rows = value.row_factors(factor, shape)
                if rows is not None:
                    return [*steps[:k], replace(steps[k], value=value.times(rows)), *steps[k + 1 :]]
            if isinstance(value, Scaling):
                weight = (value.weight.double() * factor).to(value.weight.dtype)
                bias = None if value.bias is None else (value.bias.double() * factor).to(value.bias.dtype)
                return [*steps[:k], replace(steps[k], value=Scaling(weight, bias)), *steps[k + 1 :]]
        return [*steps, _Step("Scale", Scaling(factor), shape)]

    def nodes_of(self, step: _Step, shape: tuple[int, ...], where: str) -> list[Any] | None:
        """Return the nodes of one synapse for an input of `shape`, or None and a problem."""
        nir, value = self.nir, step.value
        if isinstance(value, Scaling):
            if value.bias is None:
                return [nir.Scale(_array(value.weight.expand(shape).clone()))]
            if len(shape) > 1:
                self.trouble(where, f"holds {step.kind}; NIR's Scale has no constant; give the target a bias instead")
                return None
            value = value.rows(shape)
        if isinstance(value, (Dense, SparseRows)):
            return self.matrix(step.kind, value, shape, where)
        if isinstance(value, Convolution):
            return [self.convolution(value, shape)]
        if isinstance(value, Pooling) and value.kind != "max":
            kind = nir.SumPool2d if value.kind == "sum" else nir.AvgPool2d
            return [kind(np.array(value.kernel), np.array(value.stride), np.array((0, 0)))]
        if isinstance(value, Reshape) and len(value.shape) == 1:
            return [nir.Flatten(np.array(shape), start_dim=0, end_dim=-1)]
        why = f", which {value.reason}" if isinstance(value, Opaque) else ""
        self.trouble(
            where,
            f"holds {step.kind}{why}; NIR has no primitive for it; use Linear, Conv, AvgPool2d, SumPool2d, or a linear "
            "synapse of your own",
        )
        return None

    def matrix(self, kind: str, value: Dense | SparseRows, shape: tuple[int, ...], where: str) -> list[Any] | None:
        """Return a matrix as Linear or Affine, behind Flatten for an image."""
        nir = self.nir
        if value.out_shape is not None:
            self.trouble(
                where,
                f"holds {kind}, a matrix onto a population of shape {list(value.out_shape)}; NIR has matrices onto one "
                "row of neurons only",
            )
            return None
        if isinstance(value, SparseRows) and value.n_in * value.n_out > LARGEST_MATRIX:
            size = f"{value.n_out} x {value.n_in}"
            self.trouble(where, f"holds {kind} of {size}, which NIR could hold only as a full matrix")
            return None
        weight = _array(value.weight if isinstance(value, Dense) else value.matrix())
        flatten = [nir.Flatten(np.array(shape), start_dim=0, end_dim=-1)] if len(shape) > 1 else []
        return [*flatten, nir.Linear(weight) if value.bias is None else nir.Affine(weight, _array(value.bias))]

    def convolution(self, value: Convolution, shape: tuple[int, ...]) -> Any:
        one = len(value.kernel) == 1

        def number(values: tuple[int, ...]) -> int | tuple[int, ...]:
            return values[0] if one else values

        return (self.nir.Conv1d if one else self.nir.Conv2d)(
            input_shape=number(tuple(shape[1:])),
            weight=_array(value.weight),
            stride=number(value.stride),
            padding=number(value.padding),
            dilation=number(value.dilation),
            groups=value.groups,
            bias=_array(value.weight.new_zeros(value.c_out) if value.bias is None else value.bias),
        )


@dataclasses.dataclass(frozen=True)
class _Step:
    """What one synapse computes: the name of its class, its description, and the shape of its current."""

    kind: str
    value: Lowered
    shape: tuple[int, ...]


@dataclasses.dataclass
class _Row:
    """Synapses one after the other, and the steps by which their input is late."""

    steps: list[_Step]
    delay: int


def _delay_of(value: Lowered) -> Tensor | None:
    return value.delay if isinstance(value, (Dense, SparseRows)) else None


def _with_delay(value: Dense | SparseRows, delay: int, *, with_bias: bool) -> Dense | SparseRows:
    """Return the synapses of one delay, without it."""
    assert value.delay is not None
    own, bias = value.delay == delay, value.bias if with_bias else None
    if isinstance(value, Dense):
        return replace(value, weight=value.weight * own, bias=bias, delay=None)
    return replace(value, post=value.post[own], pre=value.pre[own], weight=value.weight[own], bias=bias, delay=None)


def _infer_types(graph: Any) -> None:
    """Let `nir` infer shapes of pooling and the like, as its own writers do, where it can."""
    # It confuses the height and width of a kernel and refuses a graph with an oblong one: then the shapes stay out.
    if {source for source, _ in graph.edges} | {n for n in graph.nodes if _is_output(graph, n)} != set(graph.nodes):
        return
    try:
        graph.infer_types()
    except (ValueError, AssertionError, TypeError, IndexError):
        return


def _is_output(graph: Any, name: str) -> bool:
    return type(graph.nodes[name]).__name__ == "Output"


def _array(tensor: Tensor) -> np.ndarray:
    values: np.ndarray = tensor.detach().cpu().numpy()
    return values


def _full(value: float | Tensor, shape: tuple[int, ...]) -> np.ndarray:
    numbers = _array(value.double()) if isinstance(value, Tensor) else np.asarray(value, dtype=np.float64)
    return np.broadcast_to(numbers, shape).copy()
