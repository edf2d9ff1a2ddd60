"""A network as a Lava process graph: build in process, run isolated, or save."""

from __future__ import annotations

import copy
import importlib.util
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import ExportError, FileError, InputError, TargetRunError
from neurosim.files.atomic import replaced
from neurosim.files.paths import output_folder
from neurosim.hardware.lava import description, script
from neurosim.hardware.lava.exchange import Request
from neurosim.hardware.lava.graph import Processes, prepare
from neurosim.hardware.lava.graph import build as build_processes
from neurosim.hardware.lava.inputs import Data, as_arrays
from neurosim.hardware.lava.integers import is_integer, map_integers
from neurosim.hardware.lava.layout import lava_layout
from neurosim.hardware.lava.learning import PlasticityRule, surprises
from neurosim.hardware.lava.mapping import map_network
from neurosim.hardware.lava.populations import PROCESSES, READ_OUT
from neurosim.hardware.lava.runner import INSTALL, GraphRun, run_graph
from neurosim.network.network import Network
from neurosim.plasticity.reward import RewardModulated


@dataclass(frozen=True)
class LavaRun:
    """Result of a run on Lava, on the network's steps and in its shapes.

    Attributes
    ----------
    outputs : dict of str to numpy.ndarray
        [T, B, *shape] by population: uint8 for spikes of 0 and 1, float64 for graded ones and for the membrane of a
        population that is only read out. Step t is that of the simulator: the steps of Lava's connections are removed.
    traces : dict of str to numpy.ndarray
        float64 [T, B, *shape] by ``"population.v"`` and ``"population.u"``: the membrane after reset and the current
        that acts on it; integers for fixed-point neurons.
    python : str
        Version of the Python that ran Lava.
    seconds : float
        Wall time, with the start of the processes.
    weights : dict of str to numpy.ndarray
        float64 [T, B, out, in] by edge that learns: weights after each step.
    """

    outputs: dict[str, np.ndarray]
    traces: dict[str, np.ndarray]
    python: str
    seconds: float
    weights: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class LavaExport:
    """A network as Lava processes, exactly. Made by `to_lava`.

    Attributes
    ----------
    network : Network
        Copy of the exported network, in double precision.
    graph : Graph
        The processes as plain data, in Lava's layout.
    scale : dict of str to numpy.ndarray
        Membrane over Lava's voltage for each population, in Lava's layout; 1 unless neurons that share a kernel have
        different gains.
    rules : dict of str to rule
        Of the edges that learn.
    """

    network: Network
    graph: description.LavaGraph
    scale: dict[str, np.ndarray]
    rules: dict[str, PlasticityRule] = field(default_factory=dict)

    def build(self, x: Data, sample: int = 0, record: Sequence[str] | None = None) -> Processes:
        """Return the connected lava-nc processes for one sample, in this interpreter.

        Parameters
        ----------
        x : Tensor or array [T, B, ...], or mapping of input name to such
            Input; 0 and 1 are sent as spikes, other values as graded spikes.
        sample : int
            Index of the sample that the sources send.
        record : sequence of str, optional
            Populations with a sink for their spikes; all if left out.

        Returns
        -------
        Processes
            Not yet run. Its `steps` are T plus the latency of the last population.

        Raises
        ------
        TargetRunError
            If lava-nc is not installed, or the start method is not ``fork``.

        Notes
        -----
        This imports Lava in this interpreter. Lava sets the start method of `multiprocessing` to ``fork``, which is
        unsafe with threads or CUDA; an exception in a process of Lava makes its `run` wait forever; a stopped graph
        cannot run again. `run` avoids all of this.
        """
        data = self._data(x)
        batch = next(iter(data.values())).shape[1]
        if not 0 <= sample < batch:
            raise InputError(f"sample must be one of 0 to {batch - 1}; got {sample!r}.")
        _import_lava(self.graph)
        names = self._populations(record)
        return build_processes(self.graph, {name: values[:, sample] for name, values in data.items()}, names)

    def run(
        self,
        x: Data,
        *,
        record: Sequence[str] | None = None,
        rewards: Sequence[float] | None = None,
        together: bool = False,
        timeout: float = 300.0,
        python: str | os.PathLike[str] | None = None,
    ) -> LavaRun:
        """Run on Lava in a separate process group, sample after sample.

        Parameters
        ----------
        x : Tensor or array [T, B, ...], or mapping of input name to such
            Input.
        record : sequence of str, optional
            Populations whose output is returned, and ``"population.v"`` and ``"population.u"`` for states; all outputs
            if left out.
        rewards : sequence of float, optional
            For edges that learn with a reward: the reward after each of the T steps, NaN for none. Each sample starts
            with the weights of the network.
        together : bool
            Whether all samples follow each other in one run, with populations that Lava puts to rest as each sample
            reaches them (``LIFReset``), instead of one run for each: several times as fast, and the same. For networks
            without delays, loops and rules, all of whose populations are Lava's ``LIF``.
        timeout : float
            Seconds for the whole run. When they are over the group is killed.
        python : path, optional
            Interpreter that has lava-nc; the running one if left out.

        Returns
        -------
        LavaRun

        Raises
        ------
        ShapeError, InputError
            When `x` does not fit or is not finite, or `record` names what is not there.
        TargetRunError
            When lava-nc is missing, Lava fails or the time is over. Nothing is left running.
        """
        names = [population.name for population in self.graph.populations] if record is None else list(record)
        states = [name.rpartition(".") for name in names if "." in name]
        wrong = [f"{node}.{variable}" for node, _, variable in states if variable not in ("u", "v")]
        if wrong:
            raise InputError(f"cannot record {wrong}; of a population the current u and the voltage v can be recorded.")
        self._populations([node for node, _, _ in states])
        sending = self._populations([name for name in names if "." not in name])
        cores_of = {name: neuron.core for name, neuron in self.network.neurons().items()}
        read_out = [name for name in sending if cores_of[name] in READ_OUT]
        record_of = tuple(name for name in sending if name not in read_out)
        monitor = tuple(dict.fromkeys([*((n, v) for n, _, v in states), *((n, "v") for n in read_out)]))
        data = self._data(x)
        steps = next(iter(data.values())).shape[0]
        monitor += tuple((item.name, "weights") for item in self.graph.learning)
        request = Request(data, record_of, monitor, self._rewards(rewards, data, steps))
        if together:
            done = self._run_together(request, steps, timeout, python)
        else:
            done = run_graph(self.graph, request, timeout=timeout, python=python)
        weights = {
            item.name: self._weights(item, done.traces[item.name, "weights"], steps) for item in self.graph.learning
        }
        seen = {}
        for name, variable in monitor[: len(monitor) - len(weights)]:
            first = self.graph.population(name).latency
            seen[name, variable] = self._back(name, done.traces[name, variable][first : first + steps])
        scale = {n: lava_layout(s, s.ndim) for n, s in self.scale.items()}
        outputs = {n: seen[n, "v"] * scale[n] if n in read_out else self._back(n, done.sent[n]) for n in sending}
        factor = {} if self.graph.model == "fixed_pt" else scale
        traces = {f"{n}.{v}": seen[n, v] * factor.get(n, 1.0) for n, _, v in states}
        return LavaRun(outputs, traces, done.python, done.seconds, weights)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the graph as one npz file, atomically; `neurosim.hardware.lava.description.read` reads it."""
        with replaced(path) as part, open(part, "wb") as stream:
            description.write(self.graph, stream)

    def save_script(self, folder: str | os.PathLike[str], x: Data | None = None) -> Path:
        """Write the graph as a plain Python script and a file of its numbers, for users of Lava without neurosim.

        Parameters
        ----------
        folder : path
            Created if it does not exist. ``network.py`` and ``network.npz`` in it are replaced.
        x : Tensor or array [T, B, ...], or mapping of input name to such, optional
            Input, written as ``input.npz``, the default input of the script.

        Returns
        -------
        Path
            The script. It needs Python 3.10 and lava-nc with its dependencies; its first lines describe its use. Its
            input and outputs have Lava's layout, images as width, height, channels.

        Raises
        ------
        ExportError
            When edges learn.
        FileError
            When the folder cannot be written.
        """
        if self.graph.learning:
            names = [item.name for item in self.graph.learning]
            raise ExportError(
                f"edges {names} learn; scripts exist only for networks that do not: export without rules."
            )
        read_out = [name for name, neuron in self.network.neurons().items() if neuron.core in READ_OUT]
        text, numbers = script.script(self.graph, read_out)
        files = {script.NUMBERS: numbers} | ({} if x is None else {script.INPUT: self._data(x)})
        before = Path(folder).is_dir()
        place = output_folder(folder)
        try:
            for name, arrays in files.items():
                contents: dict[str, Any] = dict(arrays)
                with replaced(place / name) as part, open(part, "wb") as stream:
                    np.savez(stream, **contents)
            with replaced(place / script.SCRIPT) as part:
                Path(part).write_text(text, encoding="utf-8")
        except FileError:
            if not before:  # a full disk leaves no folder behind that holds half of the files
                shutil.rmtree(place, ignore_errors=True)
            raise
        return place / script.SCRIPT

    def _run_together(
        self, request: Request, steps: int, timeout: float, python: str | os.PathLike[str] | None
    ) -> GraphRun:
        """Run all samples in one run, with the result of `run_graph`."""
        late = [edge.name for edge in self.network.edges if edge.delay_steps or edge.memory]
        others = [p.name for p in self.graph.populations if p.process not in ("LIF", "LIFReset")]
        if late or others or self.rules:
            raise InputError(
                "samples can run together only where no spike of one reaches the next and all populations reset: "
                f"edges with delays {late}, other populations {others}, edges that learn {list(self.rules)}. Leave out "
                "together=True."
            )
        samples = request.samples
        populations = []
        for population in self.graph.populations:
            reset = {"reset_interval": np.asarray(steps), "reset_offset": np.asarray(population.latency + 1)}
            arguments = {**population.arguments, **reset}
            populations.append(replace(population, process="LIFReset", arguments=arguments))
        inputs = {n: values.swapaxes(0, 1).reshape(-1, 1, *values.shape[2:]) for n, values in request.inputs.items()}
        graph = replace(self.graph, populations=tuple(populations))
        done = run_graph(graph, replace(request, inputs=inputs), timeout=timeout, python=python)

        def split(values: np.ndarray) -> np.ndarray:
            return values.reshape(samples, steps, *values.shape[2:]).swapaxes(0, 1)

        sent = {name: split(values) for name, values in done.sent.items()}
        traces = {}
        for (name, variable), values in done.traces.items():
            first = self.graph.population(name).latency
            lead = np.repeat(values[:first], samples, axis=1)
            traces[name, variable] = np.concatenate((lead, split(values[first : first + steps * samples])))
        return replace(done, sent=sent, traces=traces)

    def _first(self, item: description.LearningProcess) -> int:
        """Return the Lava step at which the spikes of the network's step 0 reach the synapses of an edge."""
        ahead = {population.name: population.latency for population in self.graph.populations}
        edge = next(edge for edge in self.network.edges if edge.name == item.name)
        return ahead.get(item.source, 0) - edge.delay_steps

    def _weights(self, item: description.LearningProcess, seen: np.ndarray, steps: int) -> np.ndarray:
        first, gain = self._first(item), self._gain(item)
        start = np.broadcast_to(item.weight, (max(-first, 0), *seen.shape[1:]))
        values: np.ndarray = np.concatenate((start, seen[max(first, 0) :]))[:steps] / gain
        return values

    def _gain(self, item: description.LearningProcess) -> float:
        """Return the factor of the weights of an edge on Lava."""
        neuron = self.network.neurons()[item.target]
        gain = PROCESSES[neuron.core].gain(neuron)
        return float(gain) if gain.ndim == 0 else 1.0

    def _rewards(
        self, rewards: Sequence[float] | None, data: Mapping[str, np.ndarray], steps: int
    ) -> dict[str, np.ndarray]:
        """Return the reward of each edge that learns with one, on Lava's steps."""
        learning = {item.name: item for item in self.graph.learning}
        for item in learning.values():
            if item.source in data and not np.isin(data[item.source], (0, 1)).all():
                raise InputError(f"edge {item.name!r} learns: x for {item.source!r} must hold spikes, 0 and 1 only.")
        given = {}
        for name, rule in self.rules.items():
            if not isinstance(rule, RewardModulated):
                continue
            if rewards is None or len(rewards) != steps:
                got = "none" if rewards is None else f"{len(rewards)} of them"
                raise InputError(
                    f"edge {name!r} learns with a reward: rewards must hold one for each of {steps} steps; got {got}."
                )
            first = self._first(learning[name])
            given[name] = np.zeros(steps + self.graph.latency)
            given[name][max(first, 0) : first + steps] = surprises(rule, rewards)[max(-first, 0) :]
        return given

    def _back(self, name: str, values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(lava_layout(values, len(self.network.shape(name))))

    def _populations(self, names: Sequence[str] | None) -> list[str]:
        known = [population.name for population in self.graph.populations]
        unknown = [name for name in names or () if name not in known]
        if unknown:
            raise InputError(f"cannot record {unknown}; this network has the populations {known}.")
        return known if names is None else list(names)

    def _data(self, x: Data) -> dict[str, np.ndarray]:
        """Return the input of each source [T, B, *Lava shape], checked."""
        data = as_arrays(self.network, x)
        if self.graph.model == "fixed_pt":
            broken = [name for name, values in data.items() if np.any(values % 1)]
            if broken:
                raise InputError(f"x for {broken} holds fractions; fixed-point models take integers.")
        return {source.name: lava_layout(data[source.name], len(source.shape)) for source in self.graph.sources}


def to_lava(net: Network, rules: Mapping[str, PlasticityRule] | None = None) -> LavaExport:
    """Export a network to the processes of lava-nc, exactly.

    An integer network, of Loihi's neurons only (`neurosim.hardware.loihi`), becomes a graph of fixed-point models, bit
    for bit; any other network becomes one of floating-point models.

    Parameters
    ----------
    net : Network
        Of the neurons and synapses in the tables of the page on Lava, with biases, loops and delays; a linear synapse
        of your own is exported as the matrix that it computes. The network is copied; the copy is in double precision.
    rules : mapping of str to PairSTDP or RewardModulated, optional
        For each edge that learns, by its name, as in `Plasticity`; floating-point models only.

    Returns
    -------
    LavaExport

    Raises
    ------
    ExportError
        With all that Lava cannot hold: node or edge, value, what to change.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.hardware.lava import to_lava
    >>> export = to_lava(ns.Sequential(ns.Linear(4, 3), ns.LIF(dt=1e-3), ns.Linear(3, 2), ns.LIF(dt=1e-3)))
    >>> [(population.name, population.latency) for population in export.graph.populations]
    [('lif1', 1), ('lif2', 2)]
    >>> to_lava(ns.Sequential(ns.Linear(4, 3), ns.LIF(dt=1e-3, reset="subtract")))
    Traceback (most recent call last):
        ...
    neurosim.errors.ExportError: Lava cannot hold this network:
      - node 'lif1': reset='subtract'; Lava has only the reset to a value; use reset="value"
    """
    if not isinstance(net, Network):
        raise InputError(
            f"to_lava takes a Network; got {type(net).__name__}. Build one with ns.Sequential or ns.Network."
        )
    double = copy.deepcopy(net).double().cpu()
    if is_integer(double) and rules:
        raise ExportError("Lava's fixed-point learning rounds randomly and is not exact: give no rules.")
    mapped = map_integers(double) if is_integer(double) else map_network(double, rules)
    return LavaExport(double, mapped.graph, mapped.scale, dict(rules or {}))


def _import_lava(graph: description.LavaGraph) -> None:
    if importlib.util.find_spec("lava") is None:
        raise TargetRunError(f"lava-nc is not installed. Install it with: {INSTALL}")
    try:
        prepare(graph)
    except ImportError as error:
        raise TargetRunError(f"lava-nc cannot be used: {error}. Install it with: {INSTALL}") from error
    except RuntimeError as error:
        raise TargetRunError(
            f"Lava cannot be imported here ({error}): it must set the start method of multiprocessing to 'fork', but "
            "another is set. Use run(), which has a separate process group."
        ) from error
