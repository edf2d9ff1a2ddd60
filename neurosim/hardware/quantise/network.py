"""Quantisation of a network, after training or for further training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from neurosim.errors import InputError
from neurosim.hardware.loihi.description import describe
from neurosim.hardware.loihi.neurons import EXPONENTS
from neurosim.hardware.loihi.weights import SignMode, weight_step
from neurosim.hardware.quantise import integer, real, search
from neurosim.hardware.quantise.grid import IntegerFormat
from neurosim.hardware.quantise.replay import recorded_on
from neurosim.network.folding import fold
from neurosim.network.network import Network


@dataclass(frozen=True)
class Quantised:
    """A network in integers, and the choices made for it.

    Attributes
    ----------
    net : Network
        An integer network, as in `neurosim.hardware.loihi.describe`; for training, one whose weights are rounded at
        each use.
    bits : int
        Of the weights.
    choices : mapping of str to Choice
        By population: scale, exponents, and the difference of its spikes from those in floating point.
    """

    net: Network
    bits: int
    choices: Mapping[str, search.Choice]

    def summary(self) -> str:
        """Return a line for each population."""
        lines = [f"{'population':16} {'scale':>9} {'exponents':16} {'mismatch':>9}"]
        for name, choice in self.choices.items():
            exponents = ",".join(map(str, choice.scale.exponents.values()))
            lines.append(f"{name:16} {choice.scale.scale:9.2f} {exponents:16} {choice.mismatch:9.2%}")
        return "\n".join(lines)


def quantise(
    net: Network,
    x: Tensor | Mapping[str, Tensor],
    *,
    bits: int = 8,
    weight_exponents: bool = True,
    bias_exponent: int | None = None,
    scales: Mapping[str, float] | None = None,
    trained: bool = False,
) -> Quantised:
    """Convert a network to Loihi's integers.

    Decays are rounded to 12 bits. One scale multiplies all weights, the bias and the threshold of a population; an
    edge whose weights then exceed their range gets a weight exponent. The scale is chosen on data: with the inputs
    that the population had in floating point, its spikes differ least from those it had.

    Parameters
    ----------
    net : Network
        Of IF, LIF, CubaLIF, and LI as a readout, all with the reset to 0; linear synapses and convolutions, behind
        Flatten, SumPool2d and AvgPool2d; loops and delays. Normalisation is folded into the weights, see
        `neurosim.network.fold`. The network is not changed.
    x : Tensor [T, B, ...], or mapping of input name to such
        Data to choose the scales on: spikes, or integers as in graded spikes. A few hundred samples are enough.
    bits : int
        Of the weights, 1 ... 8 with their sign.
    weight_exponents : bool
        Whether an edge whose weights exceed their range gets a weight exponent. Without it they are clipped; a ``.net``
        file has no exponents.
    bias_exponent : int, optional
        Exponent of all biases, 0 ... 7; if left out each has the smallest that holds it. A ``.net`` file has 6.
    scales : mapping of str to float, optional
        Scales of populations, which are then not searched.
    trained : bool
        Return a network for further training: weights and biases stay in floating point and are rounded to the chip's
        integers at each use, and gradients pass straight through the rounding. `fixed` ends that.

    Returns
    -------
    Quantised

    Raises
    ------
    ExportError
        With all that the chip cannot hold: node or edge, what it is, what to change.
    InputError
        When x is not integer, or a name or number is unknown or out of range.

    Warns
    -----
    NothingCompared
        When a population sends no spike on `x`, so that its scale cannot be chosen.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.hardware.quantise import quantise
    >>> _ = torch.manual_seed(0)
    >>> net = ns.Sequential(ns.Linear(20, 10), ns.LIF(dt=1e-3, r=100.0), names=["out"])
    >>> x = (torch.rand(50, 8, 20) < 0.2).float()
    >>> quantised = quantise(net, x, bits=8)
    >>> spikes, same = net(x)[0].detach(), quantised.net(x)[0]
    >>> int(spikes.sum()) > 200, float((spikes != same).sum() / spikes.sum()) < 0.1
    (True, True)
    """
    weight_step(bits, SignMode.MIXED)
    if bias_exponent is not None and bias_exponent not in EXPONENTS:
        raise InputError(f"bias_exponent must be an integer from 0 to {EXPONENTS[-1]}, or None; got {bias_exponent!r}.")
    held = IntegerFormat(bits, weight_exponents, bias_exponent)
    read = real.read(fold(net))
    given = dict(scales or {})
    unknown = [name for name in given if name not in read.populations]
    if unknown:
        raise InputError(f"scales: no population {unknown}; this network has {list(read.populations)}.")
    wrong = [name for name, scale in given.items() if not 0 < scale < float("inf")]
    if wrong:
        raise InputError(f"scales[{wrong[0]!r}] must be a finite number above 0; got {given[wrong[0]]!r}.")
    recorded = recorded_on(net, x, read.populations)
    choices = {name: search.search(read, name, recorded, held, given.get(name)) for name in read.populations}
    chosen = {name: choice.scale for name, choice in choices.items()}
    quantised = integer.network(read, chosen, held, trained)
    if not trained:
        quantised = quantised if describe(quantised).fits_single else quantised.double()
    return Quantised(quantised, bits, MappingProxyType(choices))
