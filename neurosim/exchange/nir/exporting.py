"""From a network to a NIR graph, or to the full list of what NIR cannot say."""

from __future__ import annotations

import dataclasses
import os
import warnings
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from neurosim import cores
from neurosim.errors import ExportError, InputError, TargetRunError
from neurosim.exchange.nir.files import write_graph
from neurosim.exchange.nir.importing import Discretisation
from neurosim.network.folding import fold
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.synapses import (
    AvgPool2d,
    BatchNorm,
    BlockLinear,
    Conv1d,
    Conv2d,
    DelayedLinear,
    Flatten,
    Identity,
    Linear,
    RoundedDelays,
    Scale,
    Sparse,
    Standardised,
    SumPool2d,
    Synapse,
)
from neurosim.units import euler_time_constant

Gain = Literal["weights", "tau/dt", "network"]

LARGEST_MATRIX = 2**27  # values of a matrix that a sparse one is written out to

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
# What is left of a firing neuron that is never reset: a membrane, and a threshold behind it.
_WITHOUT_RESET = {"IF": "I", "LIF": "LI", "CubaLIF": "CubaLI"}


class LossyExport(UserWarning):
    """Something of a network was left out of a NIR graph, as `allow_lossy` allowed."""


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
        IF, LIF, CubaLIF, LI and the other cores that NIR has, with ``reset="value"`` or None; every synapse but max
        pooling, lateral, plastic and unrounded delayed ones; delays and loops.
    discretisation : {"euler", "exponential"}
        By which step the reader will turn the equations into numbers: time constants are written so that it gets the
        network's own decays. With "euler", which almost all readers have, that is ``tau = dt / (1 - a)``; with
        "exponential" the time constants are those of the network.
    gain : {"weights", "tau/dt", "network"}
        Where the gain of a current goes. ``"weights"``: LIF and LI have ``r = 1``, IF and I ``r = 1/dt``, CubaLIF and
        CubaLI ``r = tau_mem/dt``, and weights are scaled: the form that most tools read alike. ``"tau/dt"``: LIF and LI
        have ``r = tau/dt`` too. ``"network"``: weights as they are, r as the network has it: read back by `from_nir`,
        every number is what it was.
    allow_lossy : bool
        Write what NIR can say and leave out the rest, with a `LossyExport` warning that names it. Without, it is an
        error.

    Returns
    -------
    nir.NIRGraph
        Its metadata hold dt, discretisation and what was left out, as a hint.

    Raises
    ------
    ExportError
        With all that NIR cannot say: node or edge, field, value, what to change.
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
    neurosim.errors.ExportError: NIR cannot say all of this network:
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
    try:
        import nir
    except ImportError as error:
        raise TargetRunError(
            "the nir package is not installed. Install it with: pip install 'neurosim[nir]'"
        ) from error
    return _Exporter(net, nir, discretisation, gain, allow_lossy).graph()


def write_nir(net: Network, path: str | os.PathLike[str], **choices: Any) -> None:
    """Write a network as a NIR file, whole or not at all.

    Parameters
    ----------
    net : Network
    path : path-like
        ``.nir`` by custom; HDF5.
    **choices
        Those of `to_nir`.

    Raises
    ------
    ExportError, TargetRunError
        As `to_nir` does.
    FileError
        When the file cannot be written; an earlier one is untouched.
    """
    write_graph(path, to_nir(net, **choices))


@dataclasses.dataclass
class _Population:
    """How a population is written.

    Attributes
    ----------
    kind : str
        NIR's name of it.
    fields : dict of str to numpy.ndarray
    weights : numpy.ndarray
        By how much everything that arrives must be scaled.
    threshold : numpy.ndarray or None
        Of a threshold node behind it.
    """

    kind: str
    fields: dict[str, np.ndarray]
    weights: np.ndarray
    threshold: np.ndarray | None = None


class _Exporter:
    def __init__(self, net: Network, nir: Any, discretisation: Discretisation, gain: Gain, allow_lossy: bool) -> None:
        normalised = any(isinstance(s, (BatchNorm, Standardised)) for edge in net.edges for s in edge.synapses)
        self.net = fold(net) if normalised else net
        self.nir, self.discretisation, self.gain, self.allow_lossy = nir, discretisation, gain, allow_lossy
        self.problems: list[str] = []
        self.lost: list[str] = []
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.leaving: dict[str, str] = {}  # the node that sends what a population sends

    def graph(self) -> Any:
        written = {name: self.population(name, node) for name, node in self.net.populations().items()}
        if not self.problems:
            self.put_nodes({name: p for name, p in written.items() if p is not None})
            for edge in self.net.edges:
                target = written[edge.target]
                assert target is not None  # else there would be a problem
                self.put_edge(edge, target.weights)
        if self.problems:
            listed = "\n".join(f"  - {problem}" for problem in self.problems)
            raise ExportError(f"NIR cannot say all of this network:\n{listed}")
        if self.lost:
            text = "; ".join(self.lost)
            warnings.warn(f"left out of the NIR graph: {text}", LossyExport, stacklevel=3)
        from neurosim import __version__

        hints: dict[str, Any] = {"neurosim": __version__, "dt": self.net.dt, "discretisation": self.discretisation}
        if self.lost:
            hints["lost"] = "; ".join(self.lost)
        made = self.nir.NIRGraph(self.nodes, self.edges, metadata=hints, type_check=False)
        _infer_types(made)
        return made

    def trouble(self, where: str, what: str, lossy: str = "") -> None:
        """Note what cannot be said; with `lossy`, what is written instead if that is allowed."""
        if lossy and self.allow_lossy:
            self.lost.append(f"{where}: {what}; written as {lossy}")
        else:
            self.problems.append(f"{where}: {what}" + (f"; allow_lossy=True writes {lossy}" if lossy else ""))

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
            self.trouble(where, f"its core is {core.name!r}, which NIR has no primitive for; it has {known}")
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
            own = f" of reset_amount={_shown(amount)}" if neuron.takes_own_amount else ""
            what = f"reset='subtract'{own}; NIR has only a reset to v_reset; train with reset=\"value\""
            self.trouble(where, what, "a reset to 0")
        if neuron.reset is None:
            return _Population(_WITHOUT_RESET[kind], fields, weights, threshold=threshold)
        v_reset = _full(neuron.value("v_reset"), shape) if neuron.reset == "value" else np.zeros(shape)
        return _Population(kind, {**fields, "v_threshold": threshold, "v_reset": v_reset}, weights)

    def membrane(self, neuron: Neuron, shape: tuple[int, ...]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return the fields of the membrane, and by how much the weights must be scaled."""
        gain, dt = _full(neuron.value("r"), shape), self.net.dt
        if neuron.core in _INTEGRATES:
            if self.gain == "network":
                return {"r": gain / dt}, np.ones(())
            return {"r": np.full(shape, 1.0 / dt)}, gain
        share = 1.0 - _full(neuron.decay("tau_mem"), shape)  # of the way that a membrane goes in a step
        current_based = neuron.core in _CURRENT_BASED
        tau = self.time(neuron, "tau_mem", shape)
        fields = {"tau_mem" if current_based else "tau": tau, "v_leak": np.zeros(shape)}
        if "v_leak" in neuron.core.parameters:
            fields["v_leak"] = _full(neuron.value("v_leak"), shape)
        if current_based:
            fields["tau_syn"] = self.time(neuron, "tau_syn", shape)
            whole = 1.0 - _full(neuron.decay("tau_syn"), shape)
            fields["w_in"] = fields["tau_syn"] / dt if self.discretisation == "euler" else 1.0 / whole
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
        """Make the nodes of inputs, populations and the output."""
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
        """Write an edge as a row of nodes; the last map with weights takes the gain of the population behind."""
        where = f"edge {edge.name!r}"
        maps = self.maps(edge, where)
        if maps is None:
            return
        for number, row in enumerate(maps):
            scaled = self.scaled(row.synapses, scale, self.net.shape(edge.target))
            last, shape = self.leaving[edge.source], self.net.shape(edge.source)
            base = edge.name.replace("->", "_to_").replace(" ", "_") + (f"_{number}" if len(maps) > 1 else "")
            # A loop of neurons on themselves is one step late for every reader; other delays are written out.
            late = 0 if row.steps == 1 and self.loops_by_itself(edge) else row.steps
            if late:
                last = self.put(f"{base}_delay", self.nir.Delay(np.full(shape, late * self.net.dt)), last)
            for k, (synapse, factor) in enumerate(scaled):
                node = self.map(synapse, factor, shape, where)
                if node is None:
                    return
                shape = synapse.output_shape(shape)
                last = self.put(base if len(scaled) == 1 else f"{base}_{k}", node, last)
            if (last, edge.target) in self.edges:
                last = self.put(f"{base}_same", self.nir.Scale(np.ones(shape)), last)
            self.edges.append((last, edge.target))

    def loops_by_itself(self, edge: Connection) -> bool:
        """Whether an edge leads from neurons with a state to themselves."""
        node = self.net.nodes[edge.target]
        return edge.source == edge.target and isinstance(node, Neuron) and bool(node.core.state)

    def constant(self, edge: Connection) -> Tensor | None:
        """Return the constant current that stands at the end of an edge to LIF or LI by itself, if there is one."""
        last, target = edge.synapses[-1], self.net.nodes[edge.target]
        leaks = isinstance(target, Neuron) and target.core in (cores.lif, cores.leaky_integrator)
        return last.bias if leaks and isinstance(last, Scale) else None

    def maps(self, edge: Connection, where: str) -> list[_Row] | None:
        """Return the rows of maps that an edge is: one for each delay where its synapses have delays of their own."""
        synapses = [s for s in edge.synapses if not isinstance(s, Identity)]
        if self.constant(edge) is not None:  # which is written as v_leak of the target
            factor = torch.as_tensor(synapses.pop().weight)
            if not torch.eq(factor, 1.0).all():
                synapses.append(Scale(factor))
        own = [k for k, s in enumerate(synapses) if isinstance(s, RoundedDelays)]
        if not own:
            return [_Row(synapses, edge.delay_steps)]
        if len(own) > 1 or any(getattr(s, "bias", None) is not None for s in synapses[own[0] + 1 :]):
            self.trouble(where, "holds RoundedDelays and more behind them that add a constant; give them an edge each")
            return None
        (k,) = own
        rounded = synapses[k]
        assert isinstance(rounded, RoundedDelays)
        return [
            _Row([*synapses[:k], linear, *synapses[k + 1 :]], edge.delay_steps + round(seconds / rounded.dt))
            for seconds, linear in rounded.by_delay()
        ]

    def scaled(
        self, synapses: list[Synapse], scale: np.ndarray, shape: tuple[int, ...]
    ) -> list[tuple[Synapse, np.ndarray]]:
        """Return the maps with the factor of each: the last one that has weights takes all of `scale`."""
        one = np.ones(())
        factors: list[tuple[Synapse, np.ndarray]] = [(synapse, one) for synapse in synapses]
        factor = scale.flat[0] * one if np.all(scale == scale.flat[0]) else scale
        if not factor.ndim and factor == 1.0:
            return factors
        if synapses:
            last = synapses[-1]
            if isinstance(last, (Linear, BlockLinear, Sparse, Scale)):
                factors[-1] = (last, factor)
                return factors
            if isinstance(last, (Conv1d, Conv2d)):
                channels = np.broadcast_to(factor, shape).reshape(shape[0], -1)
                if np.all(channels == channels[:, :1]):
                    factors[-1] = (last, channels[:, 0])
                    return factors
            for k in range(len(synapses) - 1, -1, -1):
                if not factor.ndim and isinstance(synapses[k], (Linear, BlockLinear, Sparse, Scale, Conv1d, Conv2d)):
                    factors[k] = (synapses[k], factor)
                    return factors
        return [*factors, (Scale(torch.as_tensor(np.broadcast_to(factor, shape).copy())), one)]

    def map(self, synapse: Synapse, factor: np.ndarray, shape: tuple[int, ...], where: str) -> Any:
        """Return the node of a synapse with its weights times `factor`, or None."""
        nir = self.nir
        if isinstance(synapse, (Linear, BlockLinear, Sparse)):
            weight = self.matrix(synapse, where)
            if weight is None:
                return None
            weight = _times(weight, factor.reshape(-1, 1) if factor.ndim else factor)
            bias = getattr(synapse, "bias", None)
            return nir.Linear(weight) if bias is None else nir.Affine(weight, _times(_array(bias), factor.reshape(-1)))
        if isinstance(synapse, (Conv1d, Conv2d)):
            weight = _array(synapse.weight)
            bias = np.zeros(synapse.c_out, weight.dtype) if synapse.bias is None else _array(synapse.bias)
            each = factor.reshape(-1, *[1] * (weight.ndim - 1)) if factor.ndim else factor
            one = isinstance(synapse, Conv1d)

            def whole(values: tuple[int, ...]) -> int | tuple[int, ...]:
                return values[0] if one else values

            return (nir.Conv1d if one else nir.Conv2d)(
                input_shape=whole(tuple(shape[1:])),
                weight=_times(weight, each),
                stride=whole(synapse.stride),
                padding=whole(synapse.padding),
                dilation=whole(synapse.dilation),
                groups=synapse.groups,
                bias=_times(bias, factor.reshape(-1)),
            )
        if isinstance(synapse, (SumPool2d, AvgPool2d)):
            kind = nir.SumPool2d if isinstance(synapse, SumPool2d) else nir.AvgPool2d
            return kind(np.array(synapse.kernel), np.array(synapse.stride), np.array((0, 0)))
        if isinstance(synapse, Flatten):
            return nir.Flatten(np.array(shape), start_dim=0, end_dim=-1)
        if isinstance(synapse, Scale) and synapse.bias is None:
            return nir.Scale(_times(np.broadcast_to(_array(synapse.weight), shape).copy(), factor))
        self.trouble(where, f"holds {type(synapse).__name__}; {_instead(synapse)}")
        return None

    def matrix(self, synapse: Linear | BlockLinear | Sparse, where: str) -> np.ndarray | None:
        if isinstance(synapse, Linear):
            return _array(synapse.weight)
        if synapse.n_in * synapse.n_out > LARGEST_MATRIX:
            size = f"{synapse.n_out} x {synapse.n_in}"
            self.trouble(where, f"holds {type(synapse).__name__} of {size}, which NIR could hold as a full matrix only")
            return None
        if isinstance(synapse, Sparse):
            return _array(synapse.dense())
        full = np.zeros((synapse.n_out, synapse.n_in), _array(synapse.weight).dtype)
        blocks = _array(synapse.weight)
        _, rows, columns = blocks.shape
        for k, block in enumerate(blocks):
            full[k * rows : (k + 1) * rows, k * columns : (k + 1) * columns] = block
        return full


@dataclasses.dataclass
class _Row:
    """Maps one after the other, and by how many steps what enters them is late."""

    synapses: list[Synapse]
    steps: int


def _instead(synapse: Synapse) -> str:
    if isinstance(synapse, DelayedLinear):
        return "its delays are not whole steps; round them with rounded()"
    if isinstance(synapse, Scale):
        return "a constant of its own has no place in NIR's Scale; give the target a bias from a Linear instead"
    return "NIR has no primitive for it; use Linear, Conv, AvgPool2d or SumPool2d"


def _infer_types(graph: Any) -> None:
    """Have `nir` work out shapes of pooling and the like, as its own writers do, where it can."""
    # It takes a kernel's height for its width, so a graph with an oblong kernel is refused: then they stay out.
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


def _times(values: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return `values` times `factor`, worked out in double precision and rounded once."""
    if not factor.size or np.all(factor == 1.0):
        return values
    return (values.astype(np.float64) * factor).astype(values.dtype)


def _full(value: float | Tensor, shape: tuple[int, ...]) -> np.ndarray:
    held = _array(value.double()) if isinstance(value, Tensor) else np.asarray(value, dtype=np.float64)
    return np.broadcast_to(held, shape).copy()


def _shown(value: float | Tensor) -> str:
    if not isinstance(value, Tensor):
        return f"{value:g}"
    return f"{value.min().item():g} to {value.max().item():g}"
