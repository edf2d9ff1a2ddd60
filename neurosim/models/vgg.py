"""Spiking VGG-11 and VGG-16 with threshold-dependent batch normalisation.

The convolutions of 3 x 3, their numbers of channels and the three linear layers are those of Simonyan & Zisserman,
"Very deep convolutional networks for large-scale image recognition", ICLR 2015, arXiv:1409.1556, configurations A and
D, with biases and batch normalisation as in torchvision. Neurons stand in the place of the rectifiers. The
normalisation and the default neurons are those of Zheng et al., AAAI 2021, arXiv:2011.05280: statistics over time too,
and a factor that starts at the threshold. Spikes are pooled, before the next convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from neurosim.errors import InputError
from neurosim.models.image_network import ImageNetwork, Neurons, iterative_lif
from neurosim.network.network import Network
from neurosim.synapses import AvgPool2d, BatchNorm, Conv2d, Dropout, Flatten, Linear, MaxPool2d
from neurosim.synapses.synapse import Synapse

_VGG11 = ((64,), (128,), (256, 256), (512, 512), (512, 512))
_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg11(
    shape: Sequence[int] = (3, 224, 224),
    classes: int = 1000,
    *,
    dt: float = 1e-3,
    width: float = 1.0,
    neuron: Neurons | None = None,
    over: Literal["step", "time"] = "time",
    pool: Literal["max", "average"] = "max",
    dropout: float = 0.5,
) -> Network:
    """Build a spiking VGG-11.

    Parameters
    ----------
    shape : sequence of int
        Channels, height and width of an image, each of the last two from 32. The two hidden linear layers have 4096
        neurons, and 512 for images of up to 64 rows and columns.
    classes : int
        Number of classes, from 2.
    dt : float
        Length of a step, s.
    width : float
        Factor of all numbers of channels and of hidden neurons.
    neuron : callable, optional
        Returns a new population of neurons with a threshold ``v_th`` and this `dt`; by default LIF with a decay of 0.25
        per step and a threshold of 0.5.
    over : {"step", "time"}
        Statistics of normalisation in training; see `resnet18`.
    pool : {"max", "average"}
        Pooling of spikes over 2 x 2 positions. NIR and chips have no maximum.
    dropout : float
        Probability that a spike of a hidden linear layer is dropped in training, in [0, 1); 0 leaves the synapse out.

    Returns
    -------
    Network
        Input ``"input"``; its output ``"out"``, a `relay`, is the current of the last linear synapses in each step,
        whose mean over time gives the class (`MeanMembrane`).

    Raises
    ------
    InputError
        For a value out of range.
    ShapeError
        For an image that is too small.

    Notes
    -----
    With 1000 classes and images of 3 x 224 x 224 the numbers of parameters are those of torchvision's VGG-11 with batch
    normalisation.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import vgg11
    >>> net = vgg11((3, 32, 32), classes=10, width=1 / 16)
    >>> currents, _ = net(torch.rand(4, 2, 3, 32, 32))
    >>> currents.shape
    torch.Size([4, 2, 10])
    """
    return _vgg("vgg11", _VGG11, shape, classes, dt, width, neuron, over, pool, dropout)


def vgg16(
    shape: Sequence[int] = (3, 224, 224),
    classes: int = 1000,
    *,
    dt: float = 1e-3,
    width: float = 1.0,
    neuron: Neurons | None = None,
    over: Literal["step", "time"] = "time",
    pool: Literal["max", "average"] = "max",
    dropout: float = 0.5,
) -> Network:
    """Build a spiking VGG-16; parameters, result and errors are those of `vgg11`.

    Examples
    --------
    >>> from neurosim.models import vgg16
    >>> net = vgg16((1, 32, 32), classes=10, width=1 / 16)
    >>> sum(p.numel() for p in net.parameters())
    60726
    """
    return _vgg("vgg16", _VGG16, shape, classes, dt, width, neuron, over, pool, dropout)


def _vgg(
    name: str,
    groups: Sequence[Sequence[int]],
    shape: Sequence[int],
    classes: int,
    dt: float,
    width: float,
    neuron: Neurons | None,
    over: Literal["step", "time"],
    pool: Literal["max", "average"],
    dropout: float,
) -> Network:
    if pool not in ("max", "average"):
        raise InputError(f'{name}: pool must be "max" or "average"; got {pool!r}.')
    net = ImageNetwork(name, shape, classes, width, neuron or (lambda: iterative_lif(dt)), dt)
    start = net.threshold()
    x, c_in, leading = "input", int(shape[0]), list[Synapse]()
    for group, sizes in enumerate(groups, 1):
        for place, full in enumerate(sizes, 1):
            c_out = net.channels(full)
            weights = Conv2d(c_in, c_out, 3, padding=1, bias=True)
            x = net.join(f"conv{group}_{place}", {x: [*leading, weights, BatchNorm(c_out, over=over, start=start)]})
            c_in, leading = c_out, []
        leading = [MaxPool2d(2) if pool == "max" else AvgPool2d(2)]
    _, rows, columns = leading[0].output_shape(net.shapes[x])
    hidden, n_in = net.channels(512 if net.is_small else 4096), c_in * rows * columns
    leading = [*leading, Flatten()]
    for place in (1, 2):
        x = net.join(f"linear{place}", {x: [*leading, Linear(n_in, hidden, bias=True)]})
        n_in, leading = hidden, [Dropout(dropout)] if dropout else []
    return net.read_out(x, [*leading, Linear(hidden, classes, bias=True)])
