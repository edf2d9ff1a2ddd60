r"""From a trained artificial network to spike rates, with thresholds from data.

Each rectifier becomes integrate-and-fire neurons without leak, whose reset subtracts. Over T steps of a constant input
the number n of spikes of a neuron stands for its activation a:

.. math:: \frac{\theta n}{T} \approx \mathrm{clip}(a, 0, \theta)

The threshold :math:`\theta` is one number for each layer: the largest activation on given data (Diehl et al.,
"Fast-classifying, high-accuracy spiking deep networks through weight and threshold balancing", IJCNN 2015,
doi:10.1109/IJCNN.2015.7280696), or a percentile of those above 0 (Rueckauer et al., "Conversion of continuous-valued
deep networks to efficient event-driven networks for image classification", Front. Neurosci. 11 (2017) 682). A spike is
worth :math:`\theta`: the weights behind a layer are multiplied by it, which is their weight normalisation with the
currents in the units of the artificial network. Membranes start at a share s of the threshold, one half by default.

**What is proved.** Let the input be constant, so that the current of a first layer is a in each step. Between steps
the membrane stays in :math:`(0, \theta]` for a in :math:`[0, \theta]`, and the sum of the currents is the membrane's
change plus :math:`\theta n`. So

.. math:: \left|\frac{\theta n}{T} - \mathrm{clip}(a, 0, \theta)\right| \le \frac{\theta}{T} \max(s, 1 - s);

for a < 0 no neuron fires, and above :math:`\theta` it fires in every step: the error is then 0. **What is measured.**
Currents of deeper layers vary from step to step, and their mean has the error of the layers before. No bound is known
that is of use; `rate_errors` measures the error of each layer beside the bound of a first one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from neurosim.cores import relay
from neurosim.errors import InputError, ShapeError
from neurosim.network.folding import fold
from neurosim.network.graph import Edge, Input, NetworkState
from neurosim.network.layers import IF
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses.dropout import Dropout
from neurosim.synapses.lowering import Opaque, Pooling
from neurosim.synapses.scale import Identity, Scale
from neurosim.synapses.synapse import Synapse, count, lowered_chain
from neurosim.synapses.torch_layers import Place, torch_synapses

_CHUNK = 16  # steps that are recorded at once


def rate_coded(
    model: nn.Sequential, data: Tensor, *, percentile: float = 100.0, start: float = 0.5, dt: float = 1e-3
) -> Network:
    """Return a network of integrate-and-fire neurons whose spike rates stand for the activations of a trained network.

    Parameters
    ----------
    model : torch.nn.Sequential
        In evaluation mode: ReLU between layers that are linear or affine, such as Linear, Conv2d, BatchNorm2d,
        AvgPool2d, Flatten and Dropout; Sequential inside Sequential too. It is not changed.
    data : Tensor [B, ...]
        Inputs, such as the training data, on which activations are measured.
    percentile : float
        Of the activations above 0 of each layer, in (0, 100]. 100 is the largest activation. Below, thresholds are
        lower, so that rates are higher and converge earlier, and activations above are clipped.
    start : float
        Membrane before the first step in thresholds, in [0, 1).
    dt : float
        Length of a step, s.

    Returns
    -------
    Network
        For inputs ``x.expand(T, *x.shape)``. Its populations are ``"relu1"``, ``"relu2"``, ...; behind the last layers
        without a ReLU there is a relay ``"out"``, the mean of whose output over time stands for the outputs of the
        model. Batch normalisation is part of the weights.

    Raises
    ------
    InputError
        For a module without a conversion, such as MaxPool2d, a model in training, a layer without any activation on
        the data, or a number out of range.
    ExportError
        When batch normalisation is not right behind weights.

    Notes
    -----
    The membrane is measured from its start, so that the neurons have a threshold of ``(1 - start) theta`` and a
    `reset_amount` of ``theta``, and no initial state is needed. With ``start=0`` both are ``theta``.
    For the error see `neurosim.models.rate_conversion` and `rate_errors`.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from neurosim.models import rate_coded
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    >>> x = torch.rand(100, 4)
    >>> net = rate_coded(model, x)
    >>> out, _ = net(x.expand(64, *x.shape))
    >>> bool((out.mean(0) - model(x)).abs().max() < 0.05)
    True
    """
    if not isinstance(percentile, (int, float)) or not 0 < percentile <= 100:
        raise InputError(f"rate_coded: percentile must be in (0, 100]; got {percentile!r}. 100 is the maximum.")
    if not isinstance(start, (int, float)) or not 0 <= start < 1:
        raise InputError(f"rate_coded: start must be a share of the threshold in [0, 1); got {start!r}.")
    layers, rest, _ = _layers(model, data)
    nodes: dict[str, Input | Neuron] = {"input": Input(tuple(data.shape[1:]))}
    edges: list[Edge] = []
    thresholds: dict[str, float] = {}
    for layer in layers:
        theta = _threshold(layer, percentile)
        amount = {"reset_amount": theta} if start else {}
        name = f"relu{len(nodes)}"
        edges.append(Edge(list(nodes)[-1], name, layer.synapses or [Identity()]))
        nodes[name] = IF(dt=dt, v_th=(1 - start) * theta, reset="subtract", **amount)
        thresholds[name] = theta
    if rest:
        edges.append(Edge(list(nodes)[-1], "out", rest))
        nodes["out"] = Neuron(relay, dt=dt)
    if not thresholds:
        raise InputError("rate_coded: the model has no ReLU, so there are no activations to send as spikes.")
    plain = fold(Network(nodes, edges).eval())
    worth = [
        Edge(edge.source, edge.target, _times(edge.synapses, thresholds.get(edge.source, 1.0), data.dtype))
        for edge in plain.edges
    ]
    return Network({name: plain.nodes[name] for name in nodes}, worth).eval()  # type: ignore[misc]


@dataclass(frozen=True)
class RateError:
    """How far the spike rates of one population are from the activations that they stand for.

    Attributes
    ----------
    population : str
        A population of spikes, or ``"out"``, whose mean output is compared with the output of the model.
    threshold : float or None
        Value of a spike; None for ``"out"``.
    bound : float or None
        ``threshold max(start, 1 - start) / steps``, proved for the first population alone; None for ``"out"``.
    largest, mean : float
        Of the absolute error against activations clipped to the threshold, over samples and neurons.
    beyond : float
        Share of the errors above the bound; 0 without one.
    clipped : float
        Share of the activations above the threshold.
    """

    population: str
    threshold: float | None
    bound: float | None
    largest: float
    mean: float
    beyond: float
    clipped: float


def rate_errors(model: nn.Sequential, net: Network, x: Tensor, steps: int) -> list[RateError]:
    """Compare the spike rates of a converted network with the activations of its model.

    Parameters
    ----------
    model : torch.nn.Sequential
        The model that was converted.
    net : Network
        What `rate_coded` returned for it.
    x : Tensor [B, ...]
        Inputs, constant over time.
    steps : int
        T.

    Returns
    -------
    list of RateError
        One for each population, in order.

    Raises
    ------
    InputError
        When the network is not the conversion of this model.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from neurosim.models import rate_coded, rate_errors
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    >>> x = torch.rand(100, 4)
    >>> first, out = rate_errors(model, rate_coded(model, x), x, steps=32)
    >>> first.population, first.largest <= first.bound * 1.0001, first.beyond < 0.01
    ('relu1', True, True)
    """
    count("rate_errors", "steps", steps)
    layers, rest, output = _layers(model, x)
    activations = [layer.activation for layer in layers] + [output] * bool(rest)
    names = [f"relu{place + 1}" for place in range(len(layers))] + ["out"] * bool(rest)
    populations = net.populations()
    if [*populations] != names:
        raise InputError(
            f"rate_errors: the network has the populations {list(populations)}, a conversion of this model has "
            f"{names}. Give what rate_coded(model, data) returned."
        )
    total: dict[str, Tensor] = {}
    state: NetworkState | None = None
    with torch.no_grad():
        for begin in range(0, steps, _CHUNK):
            length = min(_CHUNK, steps - begin)
            _, state, recorded, *_ = net.run(x.expand(length, *x.shape), state, [*populations])
            for name, values in recorded.items():
                total[name] = total[name] + values.sum(0) if name in total else values.sum(0)
    return [
        _error(name, populations[name], total[name].double() / steps, values.double(), steps)
        for name, values in zip(populations, activations, strict=True)
    ]


def _error(name: str, population: nn.Module, mean: Tensor, activation: Tensor, steps: int) -> RateError:
    assert isinstance(population, Neuron)
    if not population.is_spiking or population.core is relay:
        error = (mean - activation).abs()
        return RateError(name, None, None, float(error.max()), float(error.mean()), 0.0, 0.0)
    trigger = float(population.value("v_th"))
    has_amount = "reset_amount" in population.declared
    theta = float(population.value("reset_amount")) if has_amount else trigger
    bound = max(theta - trigger, trigger) / steps
    error = (theta * mean - activation.clamp(0, theta)).abs()
    beyond = (error > bound * (1 + 1e-4)).double().mean()  # the threshold is rounded to the precision of the network
    clipped = (activation > theta * (1 + 1e-6)).double().mean()
    return RateError(name, theta, bound, float(error.max()), float(error.mean()), float(beyond), float(clipped))


@dataclass(frozen=True)
class _Layer:
    """A rectifier: its place in the model, the synapses in front of it, and its outputs [B, ...]."""

    place: str
    synapses: list[Synapse]
    activation: Tensor


def _layers(model: nn.Sequential, data: Tensor) -> tuple[list[_Layer], list[Synapse], Tensor]:
    """Return the rectifiers of a model, the synapses behind the last one, and the outputs of the model."""
    if type(model) is not nn.Sequential:
        raise InputError(
            f"the model must be a torch.nn.Sequential of layers and ReLU; got {type(model).__name__}. Put "
            "its layers into one, in the order in which its forward method calls them."
        )
    if any(module.training for module in model.modules()):
        raise InputError("the model is in training; call model.eval() so that its layers are fixed.")
    if not isinstance(data, Tensor) or not data.is_floating_point() or data.dim() < 2 or not len(data):
        got = f"{list(data.shape)} of {data.dtype}" if isinstance(data, Tensor) else type(data).__name__
        raise ShapeError(f"data must be a tensor [B, ...] in floating point with a sample; got {got}.")
    layers: list[_Layer] = []
    chain: list[Synapse] = []
    values = data
    with torch.no_grad():
        for place, module in _walk("", model):
            is_rectifier = isinstance(module, nn.ReLU)
            where = Place(tuple(values.shape[1:]), non_negative=is_rectifier, dtype=data.dtype)
            chain += _synapses(place, module, where)
            values = module(values.clone() if is_rectifier else values)  # a rectifier may write into its input
            if is_rectifier and (chain or not layers):  # a second rectifier in a row changes nothing
                layers.append(_Layer(place, chain, values))
                chain = []
    return layers, chain, values


def _walk(place: str, model: nn.Sequential) -> Iterator[tuple[str, nn.Module]]:
    if model._forward_hooks or model._forward_pre_hooks:
        raise InputError(f"rate_coded: the Sequential {place or 'model'} has hooks; remove them.")
    for name, module in model._modules.items():
        here = f"{place}.{name}" if place else name
        if type(module) is nn.Sequential:
            yield from _walk(here, module)
        elif module is not None:
            yield here, module


def _synapses(place: str, module: nn.Module, where: Place) -> list[Synapse]:
    described = f"rate_coded: module {place}, {type(module).__name__},"
    try:
        synapses = torch_synapses(module, where)
    except InputError as error:
        raise InputError(f"{described} {error}") from error
    if synapses is None:
        raise InputError(
            f"{described} has no conversion; the model may have ReLU and linear layers such as Linear, Conv2d, "
            "BatchNorm2d, AvgPool2d, Flatten and Dropout."
        )
    for value in lowered_chain(synapses, where.shape):
        if isinstance(value, Opaque) or (isinstance(value, Pooling) and value.kind == "max"):
            raise InputError(
                f"{described} is not affine, so its mean over spikes is not its value at their rates. Train with "
                "AvgPool2d in the place of a maximum, and BatchNorm2d in the place of other normalisation."
            )
    return [synapse for synapse in synapses if not isinstance(synapse, Dropout)]


def _threshold(layer: _Layer, percentile: float) -> float:
    if not bool(layer.activation.isfinite().all()):
        raise InputError(f"rate_coded: activations of module {layer.place} are not finite on this data.")
    positive = layer.activation[layer.activation > 0].double().cpu().numpy()
    if not len(positive):
        raise InputError(
            f"rate_coded: all activations of module {layer.place} are 0 on this data, so there is no threshold. Give "
            "data like those the model was trained on, or remove the layer."
        )
    return float(np.percentile(positive, percentile))


def _times(synapses: Sequence[Synapse], factor: float, dtype: torch.dtype) -> list[Synapse]:
    """Return synapses for spikes that are each worth `factor`."""
    if factor == 1.0:
        return list(synapses)
    for synapse in synapses:
        if isinstance(weight := getattr(synapse, "weight", None), nn.Parameter):
            with torch.no_grad():
                weight.mul_(factor)  # the synapses before it are pooling and reshaping
            return list(synapses)
    return [Scale(factor).to(dtype), *synapses]
