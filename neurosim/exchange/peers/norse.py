"""Conversion from and to Norse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurosim import cores
from neurosim.errors import InputError, TargetRunError
from neurosim.exchange.peers.assembly import Late, Part, Signal
from neurosim.exchange.peers.errors import ConversionError
from neurosim.exchange.peers.reader import Mode, Reader, leaves, of_kind, precision
from neurosim.exchange.peers.steps import Choices, Number, Step, check_learned, check_threshold, doubled, tidy
from neurosim.exchange.peers.to_torch import RowStage, gain_of, scaled, stages, torch_layers
from neurosim.language import Surrogate
from neurosim.network import Network, Recurrent
from neurosim.synapses import Linear
from neurosim.synapses.torch_modules import check_unchanged, nearest
from neurosim.units import check_dt, resistance

_ONE_STEP = (
    "IAFCell",
    "LIBoxCell",
    "LICell",
    "LIFBoxCell",
    "LIFCell",
    "LIFRecurrentCell",
    "LILinearCell",
    "LSNNCell",
    "LSNNRecurrentCell",
)
_OVER_TIME = ("IAF", "LI", "LIF", "LIFRecurrent", "LSNN", "LSNNRecurrent")


def from_norse(
    module: Any,
    *,
    dt: float | None = None,
    input_shape: int | Sequence[int] | None = None,
    spike: Surrogate | None = None,
    learn: Iterable[str] = (),
    dtype: torch.dtype | None = None,
) -> Network:
    """Convert layers of Norse, with their weights, exactly up to the order of the sums in a step.

    Norse computes ``v + dt/tau (v_leak - v + i)``, neurosim ``a v + (1 - a) i``: equal up to rounding. A membrane that
    leaks to `v_leak` and starts there is measured from it.

    Parameters
    ----------
    module : SequentialState, nn.Sequential or list of nn.Module
        In the order in which they are called: IAFCell, LIFBoxCell, LIFCell, LIFRecurrentCell, LSNNCell,
        LSNNRecurrentCell, LIBoxCell, LICell, LILinearCell of Norse, or their versions over time (LIF, LSNN, LI, IAF
        ...) and Lift, and layers of torch.
    dt : float, optional
        Length of a step of the network, s; that of the neurons if left out. It affects only how time constants are
        expressed: the numbers of a step are those of the neurons.
    input_shape, spike, learn, dtype
        As in `from_snntorch`.

    Returns
    -------
    Network

    Raises
    ------
    ConversionError
        For layers without an exact equivalent, with what to change.
    """
    every = list(leaves(module, package="norse"))
    steps = {where: float(layer.dt) for where, layer in _cells(every)}  # type: ignore[arg-type]
    if len(set(steps.values())) != 1:
        raise ConversionError(f"all neurons must share one dt, and there must be some; got {steps}.")
    step = next(iter(steps.values())) if dt is None else dt
    choices = Choices(check_dt("from_norse", step), precision(module, dtype), spike, check_learned(learn))
    return NorseReader(choices).network(module, input_shape)


def _cells(every: Iterable[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """Return the neurons among layers, those inside of Lift too."""
    inner = [(where, getattr(layer, "lifted_module", layer)) for where, layer in every]
    return [(where, layer) for where, layer in inner if hasattr(layer, "dt") and hasattr(layer, "p")]


class NorseReader(Reader):
    """Converts modules of Norse."""

    library = "Norse"
    package = "norse"

    def mode(self, module: Any) -> Mode:
        """Return whether the layers are called once a step or once for all steps."""
        import norse.torch

        modules = list(leaves(module, package=self.package))

        step = [getattr(norse.torch, name) for name in _ONE_STEP]
        time = [norse.torch.Lift, *(getattr(norse.torch, name) for name in _OVER_TIME)]
        once = [where for where, layer in modules if nearest(layer, step)]
        over = [where for where, layer in modules if nearest(layer, time)]
        if once and over:
            raise ConversionError(
                f"{once[0]} runs one step and {over[0]} all steps: in one sequence one of them takes time for samples. "
                "Put cells into Lift, or use cells everywhere."
            )
        return Mode(2 if over else 1)

    def container(self, where: str, module: nn.Module, mode: Mode) -> Mode | None:
        """Return how the layers in a SequentialState or a Lift are called."""
        import norse.torch

        kind = nearest(module, (norse.torch.SequentialState, norse.torch.Lift))
        if kind is None:
            return None
        try:
            check_unchanged(module, kind)
        except InputError as error:
            raise ConversionError(f"{where}: {error}") from error
        if kind is norse.torch.Lift:
            return Mode(1)
        if module.return_hidden:
            raise ConversionError(f"{where}: return_hidden=True returns all values; set it to False.")
        return mode

    def input_shape(self, module: nn.Module) -> tuple[int, ...] | None:
        """Return the size of the input of cells with weights of their own."""
        weights = getattr(module, "input_weights", None)
        return (weights.shape[1],) if isinstance(weights, Tensor) and self.owns(module) else None

    def returns_state(self, module: nn.Module) -> bool:
        """Whether a call returns the state too, as all of Norse's do but a Lift of a layer of torch."""
        if isinstance(module, nn.Sequential) and not self.owns(module):
            return False
        inner = getattr(module, "lifted_module", module)
        return self.owns(inner)

    def rounding(self, module: nn.Module) -> str:
        """Return what rounds in a neuron."""
        return "" if type(module).__name__ in ("IAF", "IAFCell") else "Norse adds the change of a step to the membrane"

    def parts(self, where: str, module: nn.Module, signal: Signal, mode: Mode) -> list[Part]:
        """Return the neurons of a layer, behind its weights if it has some."""
        import norse.torch

        names = _ONE_STEP if mode.axes_before == 1 else _OVER_TIME
        name = of_kind(module, {name: getattr(norse.torch, name) for name in names}, self.library)
        name = name if name.endswith("Cell") else f"{name}Cell"
        _check_as_made(module, name, norse.torch)
        layer: Any = module
        method = getattr(layer.p, "method", "super")
        if method == "adjoint":
            raise InputError("method='adjoint' is another gradient; use one of the surrogates.")
        threshold = norse.torch.functional.threshold.threshold
        check_threshold(where, lambda x: threshold(x, method, 1.0), at_threshold=False)
        kind = self.choices.dtype
        if name.startswith("LSNN"):
            loop = _matrix(layer.recurrent_weights, kind) if "Recurrent" in name else None
            outer = [_matrix(layer.input_weights, kind)] if loop is not None else []
            return [*outer, _adaptive(where, layer, loop, self.choices)]
        neurons = _step(where, layer, name).neuron(where, self.choices)
        if name == "LILinearCell":
            return [_matrix(layer.input_weights, kind), neurons]
        if name != "LIFRecurrentCell":
            return [neurons]
        return [_matrix(layer.input_weights, kind), Recurrent(neurons, _matrix(layer.recurrent_weights, kind))]


def _check_as_made(layer: Any, name: str, norse: Any) -> None:
    """Check that the functions that run a layer are those of its class."""
    if name == "LILinearCell":
        return  # its forward method names them
    kind = nearest(layer, {getattr(norse, known) for known in (*_ONE_STEP, *_OVER_TIME)})
    sizes = (1, 1) if "Recurrent" in name else ()
    example = kind(*sizes, p=layer.p)  # type: ignore[misc]
    for field in ("activation", "state_fallback"):
        runs, expected = (
            getattr(value, "__func__", value) for value in (getattr(layer, field), getattr(example, field))
        )
        if runs is not expected:
            shown = getattr(runs, "__name__", runs)
            raise InputError(f"{field} is {shown}, not that of {type(example).__name__}, and cannot be read.")


def _step(where: str, layer: Any, name: str) -> Step:
    from norse.torch.functional.reset import reset_subtract, reset_value

    p, dt = layer.p, float(layer.dt)
    rest: Number = tidy(p.v_leak) if hasattr(p, "v_leak") else tidy(p.v_reset)  # initial membrane
    if name == "IAFCell":
        return Step(1.0, v_th=tidy(p.v_th) - rest)
    # In the order and precision of Norse.
    share = tidy(doubled(dt * p.tau_mem_inv))
    decay: Number = 1.0 - share
    current = None
    if name in ("LIFCell", "LIFRecurrentCell", "LICell", "LILinearCell"):
        current = 1.0 - tidy(doubled(dt * p.tau_syn_inv))
    if name in ("LIBoxCell", "LICell", "LILinearCell"):
        if bool(doubled(rest).ne(0).any()):
            raise ConversionError(f"{where}: v_leak={rest}; the output would be shifted by it. Use v_leak=0.")
        return Step(decay, share, current=current)
    threshold = tidy(p.v_th)
    method = getattr(p, "reset_method", reset_value)
    if method is reset_subtract:
        return Step(decay, share, threshold - rest, "subtract", amount=threshold, current=current)
    if method is not reset_value:
        shown = getattr(method, "__name__", method)
        raise ConversionError(f"{where}: reset_method={shown}; only reset_value and reset_subtract are converted.")
    return Step(decay, share, threshold - rest, v_reset=tidy(p.v_reset) - rest, current=current)


def _adaptive(where: str, layer: Any, loop: Linear | None, choices: Choices) -> Late:
    """Return the neurons of an LSNN: its membrane reads the current of the step before.

    Norse decays the threshold before it is compared, neurosim after: `beta` is what is left of a spike's rise then.
    """
    p, dt = layer.p, float(layer.dt)
    decays = [1.0 - tidy(doubled(dt * rate)) for rate in (p.tau_syn_inv, p.tau_mem_inv, p.tau_adapt_inv)]
    current, membrane, adaptation = decays
    rest = tidy(p.v_leak)
    values = dict(
        tau_mem=choices.tau(where, membrane),
        tau_adapt=choices.tau(where, adaptation, cores.alif.parameters["tau_adapt"].high),
        beta=tidy(doubled(p.beta) * doubled(adaptation)),
        v_th=tidy(p.v_th) - rest,
        v_reset=tidy(p.v_reset) - rest,
        r=resistance(membrane, 1.0 - membrane, choices.dtype),
    )
    return Late(Step(current).neuron(where, choices), choices.neuron(where, cores.alif, **values), loop)


def _matrix(weight: Tensor, dtype: torch.dtype) -> Linear:
    linear = Linear(weight.shape[1], weight.shape[0]).to(dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
    return linear


_CELLS = {
    cores.integrate_and_fire: "IAFCell",
    cores.lif: "LIFBoxCell",
    cores.cubalif: "LIFCell",
    cores.leaky_integrator: "LIBoxCell",
    cores.cuba_integrator: "LICell",
}


def to_norse(net: Network) -> nn.Module:
    """Return a network as a `norse.torch.SequentialState` with the same spikes up to rounding.

    Norse computes a step in another order (see `from_norse`), so a spike may differ where a membrane is within rounding
    of its threshold.

    Parameters
    ----------
    net : Network
        A sequence of populations: IF, LIF and CubaLIF with a reset to a value (IF: to 0), LIF also with a reset by
        subtraction of `v_th`; LI and its current-based kind; on a CubaLIF behind a matrix without bias a loop of a
        matrix without bias.

    Returns
    -------
    SequentialState
        To be called once per step with its state. The rest of the gain of a current is in the weights.

    Raises
    ------
    ConversionError
        For parts without an equivalent in Norse: node, value, what to change.
    TargetRunError
        If Norse is not installed.
    """
    row = stages(net, "Norse")
    try:
        import norse.torch
    except ImportError as error:
        raise TargetRunError(
            "norse is not installed. Install it with: pip install 'neurosim-toolkit[peers]'"
        ) from error
    layers: list[nn.Module] = []
    for stage in row:
        layers += _layers(stage, norse.torch, net.dt)
    sequence: nn.Module = norse.torch.SequentialState(*layers).eval()
    return sequence


def _layers(stage: RowStage, norse: Any, dt: float) -> list[nn.Module]:
    neuron, where, core = stage.neuron, stage.where, stage.neuron.core
    if core not in _CELLS:
        raise ConversionError(f"{where}: its core is {core.name!r}, which Norse has no equivalent of.")
    name = _CELLS[core]
    # Norse's membranes include the gain dt/tau = 1 - a; its IAF has a gain of 1.
    gain = gain_of(neuron) if name == "IAFCell" else tidy(neuron.value("r"))

    def tensor(value: Number) -> Tensor:
        return torch.as_tensor(value, dtype=torch.float64).to(stage.dtype)

    given: dict[str, Any] = {}
    if name != "IAFCell":
        given["tau_mem_inv"] = tensor(tidy((1.0 - doubled(neuron.decay("tau_mem"))) / dt))
    if name in ("LIFCell", "LICell"):
        given["tau_syn_inv"] = tensor(tidy((1.0 - doubled(neuron.decay("tau_syn"))) / dt))
    if name in ("IAFCell", "LIFBoxCell", "LIFCell"):
        given["v_th"] = tensor(tidy(neuron.value("v_th")))
        given |= _reset(stage, name, norse, tensor)
    parameters = getattr(norse, name.removesuffix("Cell") + "Parameters")(**given)
    if stage.loop is None:
        return [*torch_layers(stage, gain), getattr(norse, name)(parameters, dt=dt)]
    matrices = [scaled(s, gain, where).matrix for s in (*stage.synapses, stage.loop) if s.matrix is not None]
    plain = len(stage.synapses) == 1 and len(matrices) == 2 and all(m is not None and m.bias is None for m in matrices)
    if name != "LIFCell" or not plain:
        raise ConversionError(
            f"{where}: a loop; Norse has one only on a current-based neuron, of a Linear without bias, behind a Linear "
            "without bias."
        )
    outer, loop = (matrix.weight for matrix in matrices if matrix is not None)
    return [
        norse.LIFRecurrentCell(
            outer.shape[1],
            loop.shape[0],
            p=parameters,
            input_weights=outer,
            recurrent_weights=loop,
            autapses=True,
            dt=dt,
        )
    ]


def _reset(stage: RowStage, name: str, norse: Any, tensor: Any) -> dict[str, Any]:
    neuron, where = stage.neuron, stage.where
    if neuron.reset == "value":
        v_reset = tidy(neuron.value("v_reset"))
        if name == "IAFCell" and bool(doubled(v_reset).ne(0).any()):
            raise ConversionError(f"{where}: v_reset={v_reset}; Norse's IAF starts at v_reset. Use v_reset=0.")
        return {"v_reset": tensor(v_reset)}
    if neuron.reset == "subtract" and name == "LIFBoxCell" and not neuron.takes_own_amount:
        from norse.torch.functional.reset import reset_subtract

        return {"reset_method": reset_subtract}
    raise ConversionError(
        f"{where}: reset={neuron.reset!r}{' of an amount of its own' if neuron.takes_own_amount else ''}; Norse's "
        f'{name} does not have that. Use reset="value".'
    )
