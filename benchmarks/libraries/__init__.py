"""The contenders: the same layers in neurosim, in other libraries and in plain PyTorch.

Each module has a function `network(layers)` that returns a `chain.Chain` or what looks like one. A library is
imported when it is asked for and not before.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Any

from benchmarks.nets import Layer


class UnavailableError(Exception):
    """A contender cannot run on this machine; the text says why."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """Where a contender is built, and what differs from the definition in `benchmarks.nets.Layer`.

    `compact`: its surrogate is zero beyond some distance to the threshold, so it may leave out input gradients there.
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
        "norse", "SuperSpike surrogate, it has no arctan; in its IF the gradient flows through the reset"
    ),
    "sinabs": Contender("sinabs", "batch first, input so prepared; spikes at >= the next float above 1"),
    "plain loop": Contender("plain", "input gain in the weights"),
    "torch.compile": Contender("plain", "the neurons' step of the plain loop compiled", choices=(("compiled", True),)),
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
