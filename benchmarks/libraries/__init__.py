"""The contenders: the same layers in neurosim, in other libraries and in plain PyTorch.

Each module has a function `network(layers)` that returns a `chain.Chain` or an object with its interface. A library is
imported only when it is needed.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Any

from benchmarks.nets import Layer


class UnavailableError(Exception):
    """A contender cannot run on this machine; the message states why."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """A contender: its module, and its differences from the definition in `benchmarks.nets.Layer`.

    `compact`: its surrogate has compact support, so it may omit input gradients where that is zero.
    """

    module: str
    differs: str = ""
    compact: bool = False
    ours: bool = False
    choices: tuple[tuple[str, Any], ...] = ()


CONTENDERS: dict[str, Contender] = {
    "neurosim": Contender("ours", ours=True),
    "neurosim, triangle": Contender(
        "ours", "triangle surrogate of width 1", compact=True, ours=True, choices=(("compact", True),)
    ),
    "SpikingJelly": Contender("spikingjelly", "multi-step torch backend; spikes at >= the next float above 1"),
    "snnTorch": Contender("snntorch", "input gain in the weights; in `RLeaky` the gradient flows through the reset"),
    "Norse": Contender(
        "norse", "SuperSpike surrogate instead of arctan; in its IF the gradient flows through the reset"
    ),
    "sinabs": Contender("sinabs", "batch first, with the input prepared; spikes at >= the next float above 1"),
    "plain loop": Contender("plain", "input gain in the weights"),
    "torch.compile": Contender(
        "plain", "the plain loop with its neurons' step compiled", choices=(("compiled", True),)
    ),
}


def build(name: str, layers: Sequence[Layer]) -> Any:
    """Return the network of a contender.

    Raises
    ------
    UnavailableError
        When its library is not installed, or it cannot run here.
    """
    contender = CONTENDERS[name]
    try:
        module = importlib.import_module(f"benchmarks.libraries.{contender.module}")
    except ImportError as error:
        raise UnavailableError(f"not installed: {error}") from None
    return module.network(layers, **dict(contender.choices))
