"""Every synapse, once. A synapse listed here has to pass all of `tests.synapse_battery` but what it leaves out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import torch
from torch import nn

import neurosim as ns
from neurosim.circuit import Bernoulli, Normal, Uniform
from neurosim.synapses import (
    AdaptiveAvgPool2d,
    AvgPool1d,
    BatchNorm,
    Conv3d,
    ConvTranspose2d,
    DelayedLinear,
    DelayedSparse,
    Dropout,
    GroupNorm,
    Identity,
    LayerNorm,
    MaxPool1d,
    RoundedDelays,
    Scale,
    Shift,
    Standardised,
    SumPool1d,
    Synapse,
    Unflatten,
    Upsample,
)

DT = 1e-3
Edge = Callable[[Synapse], tuple[Synapse, ...]]


def _alone(synapse: Synapse) -> tuple[Synapse, ...]:
    return (synapse,)


@dataclasses.dataclass(frozen=True)
class SynapseCase:
    """A synapse and how to use it.

    Attributes
    ----------
    kind : type of Synapse
    make : callable
        Makes one in float32 and evaluation mode, with random parameters, and with a bias if it can have one and the
        argument is True.
    shape : tuple of int
        Of one step's spikes.
    wrong : tuple of int, optional
        A shape that does not fit; None where every shape does.
    edge : callable
        Returns the synapses of an edge in which it is used, for readers that need weights beside it.
    trained : bool
        Whether its gradients are those of training mode: in evaluation some parameters are rounded.
    refused : mapping of str to str
        Readers of `tests.synapse_battery` that cannot hold it, each with what the error says.
    leaves_out : mapping of str to str
        Checks of `tests.synapse_battery` that it does not pass, by name, with the reason.
    """

    kind: type[Synapse]
    make: Callable[[bool], Synapse]
    shape: tuple[int, ...]
    wrong: tuple[int, ...] | None = None
    edge: Edge = _alone
    trained: bool = False
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)
    leaves_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return self.kind.__name__


def _norm(bias: bool) -> BatchNorm:
    norm = BatchNorm(4)
    for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        assert isinstance(value, torch.Tensor)
        nn.init.uniform_(value, 0.5, 1.5)
    return norm.eval()


def _learned_delays(bias: bool) -> DelayedLinear:
    synapse = DelayedLinear(7, 5, 4e-3, dt=DT, bias=bias)
    nn.init.uniform_(synapse.delay, 0.2, 3.8)
    return synapse.eval()


def _rounded_delays(bias: bool) -> RoundedDelays:
    return RoundedDelays(torch.randn(5, 7), torch.randint(0, 4, (5, 7)), torch.randn(5) if bias else None, dt=DT)


def _drawn(bias: bool) -> ns.Drawn:
    rule = ns.Drawn(Bernoulli(0.5), Normal(0.0, 1.0), Uniform(0.0, 3e-3), learn=True)
    return rule.bind(7, 5, "x->a", 0, DT, False)


def _delayed_sparse(bias: bool) -> DelayedSparse:
    pairs = torch.tensor([[0, 0, 1, 2, 3, 4, 4, 1], [0, 1, 2, 3, 4, 5, 6, 0]])
    return DelayedSparse(7, 5, pairs, torch.tensor([3, 0, 1, 2, 1, 0, 3, 2]), torch.randn(8), dt=DT)


def _flat_linear(n_in: int) -> Edge:
    return lambda synapse: (synapse, ns.Flatten(), ns.Linear(n_in, 5))


NOT_WHOLE = "its delays are not"
FOLDED = "counted once it is part of the weights"
OWN_STATE = "it carries spikes from step to step in a state of its own"
DATA = "its delays are verified to be finite, which a compiled graph cannot do"
NO_NIR = "NIR has no primitive for it"
NOT_LINEAR = "it is not linear in one step"


def _before_weights(name: str) -> dict[str, str]:
    """Return the refusals of a synapse without weights that no chip has, but Lava holds as a matrix."""
    return {
        **dict.fromkeys(("loihi", "netx", "quantisation"), f"holds {name}"),
        "nir": f"holds {name}, a matrix onto a population of shape",
    }


def _not_a_row(name: str) -> dict[str, str]:
    """Return the refusals of a matrix onto a population of several axes."""
    return {
        "nir": f"holds {name}, a matrix onto a population of shape",
        "netx": "netx has no matrix onto a population of shape",
        "quantisation": f"{name} connects to a population of shape",
    }


def _everywhere(name: str, reason: str) -> dict[str, str]:
    """Return the refusals of a synapse that is not linear."""
    return {
        **dict.fromkeys(("loihi", "netx", "quantisation", "nir", "lava"), f"holds {name}, which {reason}"),
        **dict.fromkeys(("counting", "placement"), f"{name} cannot be counted: it {reason}"),
    }


SYNAPSES = (
    SynapseCase(ns.Linear, lambda bias: ns.Linear(7, 5, bias=bias), (7,), wrong=(8,)),
    SynapseCase(
        ns.Sparse,
        lambda bias: ns.Sparse.random(7, 5, 0.5, generator=torch.Generator().manual_seed(0)),
        (7,),
        wrong=(8,),
    ),
    SynapseCase(ns.BlockLinear, lambda bias: ns.BlockLinear(8, 6, 2, bias=bias), (8,), wrong=(9,)),
    SynapseCase(
        ns.Conv1d,
        lambda bias: ns.Conv1d(2, 4, 3, padding=1, bias=bias),
        (2, 9),
        wrong=(3, 9),
        refused={"netx": "netx has no convolution over one axis"},
    ),
    SynapseCase(ns.Conv2d, lambda bias: ns.Conv2d(2, 4, 3, padding=1, bias=bias), (2, 6, 5), wrong=(3, 6, 5)),
    SynapseCase(
        ns.SumPool2d,
        lambda bias: ns.SumPool2d(2),
        (3, 6, 4),
        wrong=(6, 4),
        edge=_flat_linear(18),
        refused={"netx": "netx has no pooling"},
    ),
    SynapseCase(
        ns.AvgPool2d,
        lambda bias: ns.AvgPool2d(2),
        (3, 6, 4),
        wrong=(6, 4),
        edge=_flat_linear(18),
        refused={"loihi": "holds AvgPool2d", "netx": "holds AvgPool2d"},
    ),
    SynapseCase(
        ns.MaxPool2d,
        lambda bias: ns.MaxPool2d(2),
        (3, 6, 4),
        wrong=(6, 4),
        edge=_flat_linear(18),
        refused={
            **dict.fromkeys(("loihi", "netx", "quantisation"), "holds MaxPool2d"),
            "nir": f"holds MaxPool2d; {NO_NIR}",
            "lava": "Lava adds spikes up and has no maximum",
        },
    ),
    SynapseCase(
        ns.MaxPool2d,
        lambda bias: ns.MaxPool2d(3, stride=2, padding=1),
        (3, 6, 4),
        wrong=(6, 4),
        edge=_flat_linear(18),
        refused={
            **dict.fromkeys(("loihi", "netx", "quantisation"), "holds MaxPool2d, which takes maxima"),
            "nir": "holds MaxPool2d, which takes maxima",
            "lava": "holds MaxPool2d, which takes maxima",
            **dict.fromkeys(("counting", "placement"), "MaxPool2d cannot be counted: it takes maxima"),
        },
        leaves_out={"description": "no reader holds windows beyond the border"},
    ),
    SynapseCase(
        Conv3d,
        lambda bias: Conv3d(2, 3, 2, padding=(0, 1, 0), bias=bias),
        (2, 3, 4, 2),
        wrong=(3, 3, 4, 2),
        refused=_not_a_row("Conv3d"),
    ),
    SynapseCase(
        ConvTranspose2d,
        lambda bias: ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=(1, 0), bias=bias),
        (3, 4, 3),
        wrong=(2, 4, 3),
        refused=_not_a_row("ConvTranspose2d"),
    ),
    SynapseCase(
        Upsample,
        lambda bias: Upsample((2, 3)),
        (2, 3, 2),
        wrong=(3, 2),
        edge=_flat_linear(72),
        refused=_before_weights("Upsample"),
    ),
    SynapseCase(
        SumPool1d,
        lambda bias: SumPool1d(3, stride=2),
        (2, 8),
        wrong=(8,),
        edge=_flat_linear(6),
        refused=_before_weights("SumPool1d"),
    ),
    SynapseCase(
        AvgPool1d,
        lambda bias: AvgPool1d(2),
        (2, 8),
        wrong=(8,),
        edge=_flat_linear(8),
        refused=_before_weights("AvgPool1d"),
    ),
    SynapseCase(
        AdaptiveAvgPool2d,
        lambda bias: AdaptiveAvgPool2d((2, 3)),
        (2, 5, 4),
        wrong=(5, 4),
        edge=_flat_linear(12),
        refused=_before_weights("AdaptiveAvgPool2d"),
    ),
    SynapseCase(
        MaxPool1d,
        lambda bias: MaxPool1d(2),
        (2, 8),
        wrong=(8,),
        edge=_flat_linear(8),
        refused=_everywhere("MaxPool1d", "takes maxima"),
        leaves_out={"description": "no reader holds maxima over one axis"},
    ),
    SynapseCase(
        GroupNorm,
        lambda bias: GroupNorm(2, 4),
        (4, 3),
        wrong=(5, 3),
        edge=_flat_linear(12),
        refused=_everywhere("GroupNorm", "divides by the deviation of each step"),
        leaves_out={"description": NOT_LINEAR},
    ),
    SynapseCase(
        LayerNorm,
        lambda bias: LayerNorm((4, 3)),
        (4, 3),
        wrong=(3, 4),
        edge=_flat_linear(12),
        refused=_everywhere("LayerNorm", "divides by the deviation of each step"),
        leaves_out={"description": NOT_LINEAR},
    ),
    SynapseCase(
        Unflatten,
        lambda bias: Unflatten((2, 3, 4)),
        (24,),
        wrong=(23,),
        edge=lambda s: (s, ns.Conv2d(2, 4, 2)),
        refused={"nir": f"holds Unflatten; {NO_NIR}", "netx": "leave Unflatten out"},
    ),
    SynapseCase(ns.Flatten, lambda bias: ns.Flatten(), (3, 4), edge=lambda s: (s, ns.Linear(12, 5))),
    SynapseCase(Scale, lambda bias: Scale(torch.rand(6) + 0.5, torch.randn(6) if bias else None), (6,), wrong=(5,)),
    SynapseCase(Identity, lambda bias: Identity(), (6,)),
    SynapseCase(
        Shift,
        lambda bias: Shift(2),
        (7,),
        edge=lambda s: (ns.Linear(7, 7), s),
        refused={
            "nir": f"holds Shift; {NO_NIR}",
            "lava": "holds Shift, which rounds sums",
            "quantisation": "ends with Shift; the chip holds weights",
        },
    ),
    SynapseCase(
        BatchNorm,
        _norm,
        (4,),
        wrong=(5,),
        edge=lambda s: (ns.Linear(4, 4), s),
        refused={**dict.fromkeys(("loihi", "netx"), "holds Linear, BatchNorm"), "counting": FOLDED},
    ),
    SynapseCase(
        Standardised,
        lambda bias: Standardised(ns.Linear(7, 5, bias=bias), scale=2.0),
        (7,),
        wrong=(8,),
        refused={**dict.fromkeys(("loihi", "netx"), "weights must be integers"), "counting": FOLDED},
    ),
    SynapseCase(
        Dropout,
        lambda bias: Dropout(0.4),
        (7,),
        edge=lambda s: (s, ns.Linear(7, 5)),
        refused=dict.fromkeys(("loihi", "netx", "quantisation"), "holds Dropout"),
    ),
    SynapseCase(
        RoundedDelays,
        _rounded_delays,
        (7,),
        wrong=(8,),
        refused={"netx": "its delays differ from synapse to synapse"},
        leaves_out={"each_step_is_its_own": OWN_STATE, "packed_bits": OWN_STATE},
    ),
    SynapseCase(
        DelayedSparse,
        _delayed_sparse,
        (7,),
        wrong=(8,),
        refused={"netx": "its delays differ from synapse to synapse"},
        leaves_out={"each_step_is_its_own": OWN_STATE, "packed_bits": OWN_STATE},
    ),
    SynapseCase(
        ns.Drawn,
        _drawn,
        (7,),
        wrong=(8,),
        refused={"netx": "its delays differ from synapse to synapse"},
        leaves_out={"each_step_is_its_own": OWN_STATE, "packed_bits": OWN_STATE},
    ),
    SynapseCase(
        DelayedLinear,
        _learned_delays,
        (7,),
        wrong=(8,),
        trained=True,
        refused=dict.fromkeys(("nir", "lava", "loihi", "netx", "quantisation"), NOT_WHOLE),
        leaves_out={"each_step_is_its_own": OWN_STATE, "packed_bits": OWN_STATE, "compile": DATA},
    ),
)
