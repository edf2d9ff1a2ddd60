"""Functions that build layers of one core, such as `LIF`."""

from __future__ import annotations

import inspect
from typing import Any, Protocol, cast

from neurosim import cores, language
from neurosim.errors import InputError
from neurosim.language import Core
from neurosim.network.neuron import Neuron


class LayerMaker(Protocol):
    """A function that builds layers of one core; made by `layer`."""

    core: Core

    def __call__(self, *, dt: float | None = None, **choices: Any) -> Neuron:
        """Return a layer; `choices` are those of `Neuron`."""


def layer(core: Core) -> LayerMaker:
    """Return the function that builds a layer of `core`, as `LIF` builds one of the core ``lif``.

    Parameters
    ----------
    core : Core
        A core of the library or a custom one.

    Returns
    -------
    callable
        ``make(*, dt=None, size=None, spike=atan(), reset="value", reset_amount=None, detach_reset=True, learn=(),
        init=None, **parameters) -> Neuron``. A value without a name is refused with `InputError`.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> @ns.core(state=("v",))
    ... def counter(i, v):
    ...     return v + i, v + i
    >>> ns.layer(counter)(dt=1e-3)(torch.ones(3, 1, 1))[0].flatten()
    tensor([1., 2., 3.])
    """

    def make(*values: Any, dt: float | None = None, **choices: Any) -> Neuron:
        if values:
            raise InputError(
                f"{core.name}: arguments of a layer have names; got {', '.join(map(repr, values))} without one. "
                f"Write size=... for a number of neurons, which the synapse before the layer gives in most networks."
            )
        return Neuron(core, dt=dt, **choices)

    make.__doc__ = _docstring(core)
    keyword = inspect.Parameter.KEYWORD_ONLY
    general = [p for p in inspect.signature(Neuron.__init__).parameters.values() if p.kind is keyword]
    own = [
        inspect.Parameter(n, keyword, default=p.default, annotation="float | Tensor")
        for n, p in core.parameters.items()
    ]
    make.__signature__ = inspect.Signature([*general[:1], *own, *general[1:]], return_annotation=Neuron)  # type: ignore[attr-defined]
    make.__qualname__ = make.__name__ = core.name
    maker = cast(LayerMaker, make)
    maker.core = core
    return maker


def _docstring(core: Core) -> str:
    lines = [
        (core.__doc__ or core.name).strip(),
        "",
        "Parameters",
        "----------",
        "dt : float, optional",
        "    Length of a step, s; that of its network if left out.",
    ]
    for name, parameter in core.parameters.items():
        lines += [f"{name} : float or Tensor, default {parameter.default:g}", f"    {_describe(parameter)}"]
    lines += [
        "size, spike, reset, reset_amount, detach_reset, learn, init",
        "    As in `Neuron`.",
        "",
        "Returns",
        "-------",
        "Neuron",
    ]
    return "\n    ".join([*lines, f"    State: {', '.join(core.state)}.", ""])


def _describe(parameter: language.Parameter) -> str:
    if parameter.integer:
        return f"An integer from {parameter.low:.0f} to {parameter.high:.0f}."
    if parameter.unit == "1":
        return "A number in units of the membrane."
    return f"In {parameter.unit}, in ({parameter.low:g}, {parameter.high:g})."


IF = layer(cores.integrate_and_fire)
LI = layer(cores.leaky_integrator)
LIF = layer(cores.lif)
CubaLIF = layer(cores.cubalif)
ALIF = layer(cores.alif)
