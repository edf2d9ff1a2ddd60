"""Conversion from Rockpool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from neurosim.errors import InputError
from neurosim.exchange.peers.assembly import Part, Signal
from neurosim.exchange.peers.errors import ConversionError
from neurosim.exchange.peers.reader import Mode, Reader, of_kind, precision
from neurosim.exchange.peers.steps import Choices, Step, check_learned, check_threshold, doubled, tidy
from neurosim.language import Surrogate
from neurosim.network import Network, Recurrent
from neurosim.synapses import Linear, Scale, Synapse
from neurosim.units import check_dt, just_below

_NEURONS = ("LIFTorch", "LIFNeuronTorch", "ExpSynTorch")


def from_rockpool(
    module: Any,
    *,
    dt: float | None = None,
    input_shape: int | Sequence[int] | None = None,
    spike: Surrogate | None = None,
    learn: Iterable[str] = (),
    dtype: torch.dtype | None = None,
) -> Network:
    """Convert modules of Rockpool's torch backend, with their weights, exactly up to the order of the sums in a step.

    Rockpool spikes at ``v >= threshold``: the threshold of the network is the next smaller number of `dtype`, in which
    it must be run. Rockpool takes ``[B, T, N]``, the network ``[T, B, N]``.

    Parameters
    ----------
    module : Sequential of Rockpool, or list of its modules
        In the order in which they are called: LinearTorch, LIFTorch and LIFNeuronTorch with ``max_spikes_per_dt=1`` and
        without noise, ExpSynTorch, and layers of torch.
    dt : float, optional
        Length of a step of the network, s; that of the modules if left out. It affects only how time constants are
        expressed: the numbers of a step are those of the modules.
    input_shape, spike, learn, dtype
        As in `from_snntorch`.

    Returns
    -------
    Network
        In eval mode. It starts from the initial state; Rockpool's modules keep theirs from run to run.

    Raises
    ------
    ConversionError
        For modules without an exact equivalent, with what to change.
    """
    steps = {name: float(layer.dt) for name, layer in _modules(module) if hasattr(layer, "dt")}
    if len(set(steps.values())) != 1:
        raise ConversionError(f"all neurons must share one dt, and there must be some; got {steps}.")
    step = next(iter(steps.values())) if dt is None else dt
    choices = Choices(check_dt("from_rockpool", step), precision(module, dtype), spike, check_learned(learn))
    return RockpoolReader(choices).network(module, input_shape)


def _modules(module: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(module, nn.Module):
        yield from nn.Module.named_modules(module)
    else:
        for number, entry in enumerate(module):
            yield from ((f"{number}.{name}".rstrip("."), layer) for name, layer in _modules(entry))


class RockpoolReader(Reader):
    """Converts modules of Rockpool."""

    library = "Rockpool"
    package = "rockpool"

    def keeps_state(self, module: nn.Module) -> bool:
        """Whether a module has a state."""
        return self.owns(module) and any(hasattr(module, name) for name in ("vmem", "isyn"))

    def mode(self, module: Any) -> Mode:
        """Return that batch and time are before the axes of a sample."""
        return Mode(2)

    def container(self, where: str, module: nn.Module, mode: Mode) -> Mode | None:
        """Return how the modules in a Sequential are called."""
        if not self.owns(module) or not module._modules:
            return None
        from rockpool.nn.combinators.sequential import TorchSequential

        try:
            of_kind(module, {"Sequential": TorchSequential}, "Rockpool's combinators")
        except InputError as error:
            raise ConversionError(f"{where}: {error}") from error
        return mode

    def input_shape(self, module: nn.Module) -> tuple[int, ...] | None:
        """Return the size of the input that a module states."""
        size = getattr(module, "size_in", None) if self.owns(module) else None
        return (int(size),) if isinstance(size, int) and size else None

    def returns_state(self, module: nn.Module) -> bool:
        """Whether a call returns a state and a record too, as all of Rockpool's do."""
        return self.owns(module)

    def rounding(self, module: nn.Module) -> str:
        """Return what rounds in a neuron."""
        return "Rockpool computes its decays in single precision"

    def parts(self, where: str, module: Any, signal: Signal, mode: Mode) -> list[Part]:
        """Return the neurons of a module, with their loops, or its weights."""
        import rockpool.nn.modules.torch as modules

        names = ("LinearTorch", *_NEURONS)
        name = of_kind(module, {name: getattr(modules, name) for name in names}, self.library)
        if name == "LinearTorch":
            return [_linear(module.weight.T, module.bias, self.choices.dtype)]
        if bool(doubled(module.noise_std).ne(0).any()):
            raise InputError(f"noise_std={float(module.noise_std)} adds noise in every step; set it to 0.")
        if name == "ExpSynTorch":
            decay = tidy(torch.exp(-module.dt / module.tau))
            return [Step(decay, decay).neuron(where, self.choices)]
        return self._neurons(where, module, name, signal)

    def _neurons(self, where: str, module: Any, name: str, signal: Signal) -> list[Part]:
        if int(module.max_spikes_per_dt) != 1:
            raise InputError(
                f"max_spikes_per_dt={float(module.max_spikes_per_dt):g} may send several spikes in a step; a neuron of "
                "neurosim sends 0 or 1. Set it to 1, or use a shorter step."
            )
        one = torch.ones(())
        fires = module.spike_generation_fn
        check_threshold(where, lambda x: fires(x + 1.0, one, 0.5 * one, one), at_threshold=True)
        threshold = tidy(module.threshold)
        if bool(doubled(threshold).le(0).any()):
            raise InputError("divides by its threshold, which must be above 0.")
        spike = dict(v_th=just_below(threshold, self.choices.dtype), reset="subtract", amount=threshold)
        bias = doubled(module.bias).expand(signal.shape)
        if name == "LIFNeuronTorch":
            decay = tidy(torch.exp(-module.dt / module.tau_mem))
            before: list[Part] = [Scale(torch.ones(()), bias).to(self.choices.dtype)] if bool(bias.any()) else []
            return [*before, Step(decay, 1.0, **spike).neuron(where, self.choices)]  # type: ignore[arg-type]
        if module.n_synapses != 1:
            raise InputError(f"has {module.n_synapses} synaptic currents for each neuron; one is converted.")
        if bool(bias.any()):
            raise InputError("has a bias behind its synaptic current, which no neuron of neurosim has; set it to 0.")
        beta = doubled(module.beta)
        current = tidy(beta.reshape(-1) if beta.dim() else beta)
        # Rockpool decays the input of the step too.
        step = Step(tidy(module.alpha), current, current=current, **spike)  # type: ignore[arg-type]
        neurons = step.neuron(where, self.choices)
        return [Recurrent(neurons, _linear(module.w_rec.T, None, self.choices.dtype))] if module._has_rec else [neurons]


def _linear(weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype) -> Synapse:
    linear = Linear(weight.shape[1], weight.shape[0], bias=bias is not None).to(dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
        if linear.bias is not None and bias is not None:
            linear.bias.copy_(bias.expand_as(linear.bias))
    return linear
