r"""Spiking ResNet-18 and ResNet-34 as networks of populations and edges.

The widths, kernels and strides are those of He et al., "Deep residual learning for image recognition", CVPR 2016,
arXiv:1512.03385, with the stride on the first convolution of a block. A block has two variants:

- "tdbn" (Zheng, Wu, Deng, Hu & Li, "Going deeper with directly-trained larger spiking neural networks", AAAI 2021,
  arXiv:2011.05280): the currents of the second convolution and of the shortcut add up in the neurons,

  .. math:: o[t] = \mathrm{LIF}(N_2(W_2\, \mathrm{LIF}(N_1(W_1 x))) + S(x))[t],

  with normalisation :math:`N` over time, samples and positions. Its factor :math:`\gamma` starts at
  :math:`v_\mathrm{th}`, and at :math:`v_\mathrm{th} / \sqrt 2` in :math:`N_2` and in the shortcut, which are added.
- "sew" (Fang et al., "Deep residual learning in spiking neural networks", NeurIPS 2021, arXiv:2102.04159), with the
  connect function ADD: the neurons are before the sum,

  .. math:: o[t] = \mathrm{SN}(N_2(W_2\, \mathrm{SN}(N_1(W_1 x))))[t] + S(x)[t],

  so that an output is an integer from 0; :math:`\gamma` starts at 1. The sum is a `relay`.

The shortcut :math:`S` is the identity, or a convolution of 1 x 1 with a stride, normalisation and, in "sew", neurons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from neurosim.errors import InputError
from neurosim.language import atan
from neurosim.models.image_network import ImageNetwork, Neurons, iterative_lif
from neurosim.network.layers import IF
from neurosim.network.network import Network
from neurosim.network.population import Population
from neurosim.synapses import AvgPool2d, BatchNorm, Conv2d, Flatten, Linear, MaxPool2d
from neurosim.synapses.scale import Identity
from neurosim.synapses.synapse import Synapse

Variant = Literal["tdbn", "sew"]
VARIANTS = ("tdbn", "sew")
_STAGES = (64, 128, 256, 512)


def resnet18(
    shape: Sequence[int] = (3, 224, 224),
    classes: int = 1000,
    *,
    dt: float = 1e-3,
    variant: Variant = "tdbn",
    width: float = 1.0,
    neuron: Neurons | None = None,
    over: Literal["step", "time"] = "time",
) -> Network:
    """Build a spiking ResNet-18.

    Parameters
    ----------
    shape : sequence of int
        Channels, height and width of an image. Up to 64 rows and columns the first convolution has a kernel of 3 and a
        stride of 1; above, a kernel of 7 and a stride of 2, with a maximum over 3 x 3 spikes and a stride of 2 behind
        the neurons.
    classes : int
        Number of classes, from 2.
    dt : float
        Length of a step, s.
    variant : {"tdbn", "sew"}
        Block; see `neurosim.models.resnet`.
    width : float
        Factor of all numbers of channels.
    neuron : callable, optional
        Returns a new population of neurons with a threshold ``v_th`` and this `dt`. By default that of the authors: in
        "tdbn" LIF with a decay of 0.25 per step and a threshold of 0.5, in "sew" IF with a threshold of 1.
    over : {"step", "time"}
        Statistics of normalisation in training: those of the authors are over time, which only `BPTT` over full runs
        can train; with "step" rules that learn step by step can train too.

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
    With 1000 classes and images of 3 x 224 x 224 the numbers of parameters are those of torchvision's ResNet-18. The
    default neurons spike above the threshold, those of the authors' programs at the threshold too.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import resnet18
    >>> net = resnet18((3, 32, 32), classes=10, width=1 / 16)
    >>> currents, _ = net(torch.rand(4, 2, 3, 32, 32))
    >>> currents.shape
    torch.Size([4, 2, 10])
    """
    return _resnet("resnet18", (2, 2, 2, 2), shape, classes, dt, variant, width, neuron, over)


def resnet34(
    shape: Sequence[int] = (3, 224, 224),
    classes: int = 1000,
    *,
    dt: float = 1e-3,
    variant: Variant = "tdbn",
    width: float = 1.0,
    neuron: Neurons | None = None,
    over: Literal["step", "time"] = "time",
) -> Network:
    """Build a spiking ResNet-34; parameters, result and errors are those of `resnet18`.

    Examples
    --------
    >>> from neurosim.models import resnet34
    >>> net = resnet34((1, 28, 28), classes=10, variant="sew", width=1 / 16)
    >>> sum(p.numel() for p in net.parameters())
    84470
    """
    return _resnet("resnet34", (3, 4, 6, 3), shape, classes, dt, variant, width, neuron, over)


def _resnet(
    name: str,
    blocks: Sequence[int],
    shape: Sequence[int],
    classes: int,
    dt: float,
    variant: Variant,
    width: float,
    neuron: Neurons | None,
    over: Literal["step", "time"],
) -> Network:
    if variant not in VARIANTS:
        raise InputError(f"{name}: variant must be one of {VARIANTS}; got {variant!r}.")
    if neuron is None:

        def neuron() -> Population:
            return iterative_lif(dt) if variant == "tdbn" else IF(dt=dt, spike=atan(2.0))

    net = ImageNetwork(name, shape, classes, width, neuron, dt)
    start = net.threshold() if variant == "tdbn" else 1.0

    def convolution(c_in: int, c_out: int, kernel: int, stride: int = 1, share: float = 1.0) -> list[Synapse]:
        weights = Conv2d(c_in, c_out, kernel, stride=stride, padding=kernel // 2)
        return [weights, BatchNorm(c_out, over=over, start=share * start)]

    c_in = net.channels(_STAGES[0])
    stem = convolution(shape[0], c_in, *((3, 1) if net.is_small else (7, 2)))
    x = net.join("stem", {"input": stem})
    if not net.is_small:
        x = net.passed_on("pool", {x: [MaxPool2d(3, stride=2, padding=1)]})
    for stage, (full, count) in enumerate(zip(_STAGES, blocks, strict=True), 1):
        c_out = net.channels(full)
        for block in range(1, count + 1):
            node, stride = f"stage{stage}_{block}", 2 if stage > 1 and block == 1 else 1
            is_identity = stride == 1 and c_in == c_out
            first = net.join(f"{node}_first", {x: convolution(c_in, c_out, 3, stride)})
            if variant == "tdbn":
                share = 1 / math.sqrt(2)
                across = [Identity()] if is_identity else convolution(c_in, c_out, 1, stride, share)
                x = net.join(node, {first: convolution(c_out, c_out, 3, share=share), x: across})
            else:
                second = net.join(f"{node}_second", {first: convolution(c_out, c_out, 3)})
                if not is_identity:
                    x = net.join(f"{node}_shortcut", {x: convolution(c_in, c_out, 1, stride)})
                x = net.passed_on(node, {second: [Identity()], x: [Identity()]})
            c_in = c_out
    rows, columns = net.shapes[x][1:]
    return net.read_out(x, [AvgPool2d((rows, columns)), Flatten(), Linear(c_in, classes, bias=True)])
