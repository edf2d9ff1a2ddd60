"""The spike-driven transformer with re-parameterised convolutions and membrane shortcuts (Meta-SpikeFormer)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.language import sigmoid
from neurosim.network.layers import LIF
from neurosim.synapses.synapse import count

Attention = Literal["sdsa1", "sdsa2", "sdsa3", "sdsa4"]
SIZES: dict[str, tuple[int, int, int, int]] = {
    "15M": (64, 128, 256, 360),
    "31M": (96, 192, 384, 480),
    "55M": (128, 256, 512, 640),
    "124M": (192, 384, 768, 960),
}
_SCALE, _HEADS = 0.125, 8
_DT = 1e-3  # only the ratio to the time constant counts


class Spiking(nn.Module):
    """LIF neurons with ``v + (x - v) / 2``, hard reset to 0 and the surrogate of a sigmoid of slope 4.

    They fire above the threshold; those of the authors' program at it too.
    """

    def __init__(self, v_th: float = 1.0, *, learned: bool = False) -> None:
        super().__init__()
        self.neuron = LIF(
            tau_mem=_DT / math.log(2.0), v_th=v_th, dt=_DT, spike=sigmoid(4.0), learn=("v_th",) if learned else ()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes [T, B, ...] for a current of that shape; the neurons start at rest."""
        spikes: Tensor = self.neuron(x)[0]
        return spikes


class Steps(nn.Module):
    """Layers of torch, one after the other, at each step of [T, B, ...]."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the values [T, B, ...]."""
        return self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class PaddedNorm(nn.Module):
    """Batch normalisation, and a border of what it makes of zeros: the convolution behind sees a padded input of 0.

    The border follows from the running statistics, in training too, as in the authors' program.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, H + 2, W + 2]."""
        y = self.norm(x)
        _, shift = scale_and_shift(self.norm)
        border = shift.view(1, -1, 1, 1).expand(len(y), -1, y.shape[2] + 2, y.shape[3] + 2).clone()
        border[:, :, 1:-1, 1:-1] = y
        return border


class RepConv(nn.Sequential):
    """Four layers that are one 3 x 3 convolution: 1 x 1, norm with border, 3 x 3 of each channel, 1 x 1, norm."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(
            nn.Conv2d(n_in, n_in, 1, bias=False),
            PaddedNorm(n_in),
            nn.Conv2d(n_in, n_in, 3, groups=n_in, bias=False),
            nn.Conv2d(n_in, n_out, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )


class SepConv(nn.Module):
    """Spikes, 1 x 1 to twice the channels, spikes, 7 x 7 of each channel and 1 x 1 back."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        wide = 2 * dim
        self.spikes1, self.expand = Spiking(), Steps(nn.Conv2d(dim, wide, 1, bias=False), nn.BatchNorm2d(wide))
        self.spikes2 = Spiking()
        self.mix = Steps(
            nn.Conv2d(wide, wide, 7, padding=3, groups=wide, bias=False),
            nn.Conv2d(wide, dim, 1, bias=False),
            nn.BatchNorm2d(dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the branch [T, B, C, H, W]."""
        return self.mix(self.spikes2(self.expand(self.spikes1(x))))


class ConvBlock(nn.Module):
    """`SepConv` and two 3 x 3 convolutions, each added to the membrane; `x` is real and never a sum of spikes."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.tokens = SepConv(dim)
        self.spikes1 = Spiking()
        self.expand = Steps(nn.Conv2d(dim, 4 * dim, 3, padding=1, bias=False), nn.BatchNorm2d(4 * dim))
        self.spikes2 = Spiking()
        self.contract = Steps(nn.Conv2d(4 * dim, dim, 3, padding=1, bias=False), nn.BatchNorm2d(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return the membrane after the block."""
        x = x + self.tokens(x)
        return x + self.contract(self.spikes2(self.expand(self.spikes1(x))))


class SpikeAttention(nn.Module):
    """Attention among spikes without softmax, by additions and masks alone.

    With spikes q, k, v [tokens, features of a head] and spiking neurons SN:

    - ``"sdsa1"``: ``q * SN(sum over tokens of k * v)``
    - ``"sdsa2"``: ``v * SN(sum over tokens of q)``
    - ``"sdsa3"``: ``SN(q (k^T v) / 8)`` with a threshold of 0.5; products are integer counts times spikes
    - ``"sdsa4"``: as the third, with a learned threshold that starts at 0.5

    The authors' program has the third one alone; the others follow descriptions of it and of its predecessor, whose
    roles of q, k and v differ from text to text.
    """

    def __init__(self, dim: int, kind: Attention = "sdsa3", heads: int = _HEADS) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"SpikeAttention: dim = {dim} is not a multiple of heads = {heads}.")
        self.kind, self.heads = kind, heads
        used = "qv" if kind == "sdsa2" else "qkv"
        self.spikes = Spiking()
        self.maps = nn.ModuleDict({name: Steps(RepConv(dim, dim), nn.BatchNorm2d(dim)) for name in used})
        self.fire = nn.ModuleDict({name: Spiking() for name in used})
        self.out_spikes = Spiking(1.0 if kind in ("sdsa1", "sdsa2") else 0.5, learned=kind == "sdsa4")
        self.out = Steps(RepConv(dim, dim), nn.BatchNorm2d(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return the branch [T, B, C, H, W]."""
        s = self.spikes(x)
        found = {name: self.fire[name](each(s)) for name, each in self.maps.items()}
        return self.out(self.attend(**found).unflatten(-1, x.shape[-2:]))

    def attend(self, q: Tensor, v: Tensor, k: Tensor | None = None) -> Tensor:
        """Return the spikes [T, B, C, tokens] of q, k and v [T, B, C, H, W]."""
        T, B, C = q.shape[:3]
        shape = (T, B, self.heads, C // self.heads, -1)
        q, v = q.reshape(shape), v.reshape(shape)
        k = None if k is None else k.reshape(shape)
        if self.kind == "sdsa1":
            assert k is not None
            y = q * self.out_spikes((k * v).sum(-1, keepdim=True))
        elif self.kind == "sdsa2":
            y = v * self.out_spikes(q.sum(-1, keepdim=True))
        else:
            assert k is not None
            y = self.out_spikes(((v @ k.transpose(-1, -2)) @ q) * _SCALE)  # features first: (k^T v)^T q^T
        return y.reshape(T, B, C, -1)


class TransformerBlock(nn.Module):
    """`SpikeAttention` and two 1 x 1 convolutions, each added to the membrane."""

    def __init__(self, dim: int, kind: Attention) -> None:
        super().__init__()
        self.attention = SpikeAttention(dim, kind)
        self.spikes1 = Spiking()
        self.expand = Steps(nn.Conv2d(dim, 4 * dim, 1), nn.BatchNorm2d(4 * dim))
        self.spikes2 = Spiking()
        self.contract = Steps(nn.Conv2d(4 * dim, dim, 1), nn.BatchNorm2d(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return the membrane after the block."""
        x = x + self.attention(x)
        return x + self.contract(self.spikes2(self.expand(self.spikes1(x))))


class SpikeFormer(nn.Module):
    """Meta-SpikeFormer: convolution blocks, then blocks of spike-driven attention.

    The first convolution takes real images; every other product has spikes or integer counts on one side (see
    `spikeformer_products`; inside of `RepConv` and `SepConv` after `fold_spikeformer`).

    Parameters
    ----------
    widths : sequence of int
        Channels of the four stages; the first convolution has half of the first. See `SIZES`.
    classes : int
    n_in : int
        Channels of an image.
    blocks : sequence of int
        Blocks of the five stages; the last two stages are transformers.
    strides : sequence of int
        Of the convolution before each stage.
    attention : {"sdsa1", "sdsa2", "sdsa3", "sdsa4"}
        As in `SpikeAttention`.

    References
    ----------
    Yao et al. 2024, "Spike-driven Transformer V2: Meta Spiking Neural Network Architecture Inspiring the Design of
    Next-generation Neuromorphic Chips", arXiv:2404.03663. Layers, thresholds, biases and scale are those of the
    authors' program, whose `DropPath` is never applied and is left out; numbers of parameters are equal.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import SpikeFormer
    >>> net = SpikeFormer((8, 16, 16, 16), 10, n_in=1, blocks=(1, 1, 1, 1, 1), strides=(1, 2, 2, 1, 1))
    >>> tuple(net(torch.rand(2, 4, 1, 28, 28)).shape)
    (4, 10)
    """

    def __init__(
        self,
        widths: Sequence[int],
        classes: int = 1000,
        *,
        n_in: int = 3,
        blocks: Sequence[int] = (1, 1, 2, 6, 2),
        strides: Sequence[int] = (2, 2, 2, 2, 1),
        attention: Attention = "sdsa3",
    ) -> None:
        super().__init__()
        if len(widths) != 4 or len(blocks) != 5 or len(strides) != 5:
            raise InputError("SpikeFormer: 4 widths, 5 numbers of blocks and 5 strides are needed.")
        if attention not in ("sdsa1", "sdsa2", "sdsa3", "sdsa4"):
            raise InputError(f"SpikeFormer: attention must be sdsa1, sdsa2, sdsa3 or sdsa4; got {attention!r}.")
        self.n_in = count("SpikeFormer", "n_in", n_in)
        e0, e1, e2, e3 = widths
        dims = (e0 // 2, e0, e1, e2, e3)
        stages: list[nn.Module] = []
        before = self.n_in
        for number, (dim, depth, stride) in enumerate(zip(dims, blocks, strides, strict=True)):
            kernel = 7 if number == 0 else 3
            parts: list[nn.Module] = [] if number == 0 else [Spiking()]
            parts.append(Steps(nn.Conv2d(before, dim, kernel, stride, kernel // 2), nn.BatchNorm2d(dim)))
            for _ in range(depth):
                parts.append(ConvBlock(dim) if number < 3 else TransformerBlock(dim, attention))
            stages.append(nn.Sequential(*parts))
            before = dim
        self.stages = nn.Sequential(*stages)
        self.spikes, self.head = Spiking(), nn.Linear(before, count("SpikeFormer", "classes", classes))
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores [B, classes] for images [T, B, C, H, W], such as the same one at each step."""
        if x.dim() != 5 or x.shape[2] != self.n_in:
            raise ShapeError(f"SpikeFormer: x must be [T, B, {self.n_in}, H, W]; got {list(x.shape)}.")
        membrane = self.stages(x).flatten(3).mean(3)
        return self.head(self.spikes(membrane)).mean(0)


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return what a batch normalisation multiplies by and adds, by its running statistics."""
    if norm.running_mean is None or norm.running_var is None:
        raise InputError("folding needs batch normalisation with running statistics.")
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def fold_spikeformer(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode in which each `Steps` is one convolution, with the same results.

    Norms are folded into the convolution before them, `RepConv` becomes a 3 x 3 convolution, and the 7 x 7 of each
    channel with the 1 x 1 behind it a dense 7 x 7: then no product but those of the first convolution has two real
    sides. There are more parameters than before.
    """
    made = copy.deepcopy(model).eval()
    for part in made.modules():
        if isinstance(part, Steps):
            part.layers = nn.Sequential(_one_convolution(part.layers))
    return made


def _one_convolution(layers: nn.Sequential) -> nn.Conv2d:
    flat: list[nn.Module] = []
    for layer in layers:
        flat += list(layer) if isinstance(layer, RepConv) else [layer]
    kernel: Tensor | None = None
    first: nn.Conv2d | None = None
    with torch.no_grad():
        for layer in flat:
            if isinstance(layer, nn.Conv2d):
                own, shift = _dense(layer), layer.bias
                if kernel is None:
                    kernel, first = own, layer
                    bias = own.new_zeros(len(own)) if shift is None else shift.clone()
                    padding = int(layer.padding[0])
                    continue
                # Of two convolutions in a row one is 1 x 1, so that their kernels multiply place by place.
                bias = own.sum((2, 3)) @ bias + (0.0 if shift is None else shift)
                kernel = _joined(own, kernel)
            else:
                scale, shift = scale_and_shift(layer.norm if isinstance(layer, PaddedNorm) else layer)  # type: ignore[arg-type]
                assert kernel is not None
                kernel, bias = kernel * scale[:, None, None, None], bias * scale + shift
                padding += isinstance(layer, PaddedNorm)
        assert kernel is not None and first is not None
        size = kernel.shape[2]
        made = nn.Conv2d(kernel.shape[1], len(kernel), size, first.stride, padding).to(kernel)  # type: ignore[arg-type]
        made.weight.copy_(kernel)
        assert made.bias is not None
        made.bias.copy_(bias)
    return made


def _dense(layer: nn.Conv2d) -> Tensor:
    """Return the kernel [out, in, h, w] of a convolution without groups, or of one for each channel."""
    if layer.groups == 1:
        return layer.weight.clone()
    kernel = layer.weight.new_zeros(layer.out_channels, layer.in_channels, *layer.weight.shape[2:])
    places = torch.arange(layer.out_channels)
    kernel[places, places] = layer.weight[:, 0]
    return kernel


def _joined(second: Tensor, first: Tensor) -> Tensor:
    """Return the kernel of two convolutions in a row, one of which is 1 x 1."""
    if second.shape[2] == 1:
        return torch.einsum("om,mixy->oixy", second[:, :, 0, 0], first)
    return torch.einsum("omxy,mi->oixy", second, first[:, :, 0, 0])


def spikeformer_products(model: SpikeFormer, x: Tensor) -> dict[str, dict[str, Any]]:
    """Return for each convolution, linear layer and attention what its input is, and what it costs.

    Parameters
    ----------
    model : SpikeFormer
        As trained, or after `fold_spikeformer`.
    x : Tensor [T, B, C, H, W]

    Returns
    -------
    dict of str to dict
        By name of the layer: ``"input"`` (``"spikes"``, ``"counts"`` or ``"real"``); ``"dense"``, the products of all
        steps and samples; ``"rate"``, the share of inputs that are not 0; ``"effective"``, the products with such an
        input, exact at borders.
    """
    found: dict[str, dict[str, Any]] = {}
    handles = []

    def watch(name: str) -> Callable[..., None]:
        def hook(layer: Any, given: tuple[Tensor, ...], result: Tensor) -> None:
            value = given[0].detach()
            active = (value != 0).to(value.dtype)
            if isinstance(layer, nn.Linear):
                dense, effective = result.numel() * layer.in_features, active.sum() * layer.out_features
            else:
                fan_in = layer.weight[0].numel()
                dense = result.numel() * fan_in
                ones = torch.ones_like(layer.weight)
                effective = nn.functional.conv2d(
                    active.double(), ones.double(), None, layer.stride, layer.padding, 1, layer.groups
                ).sum()
            found[name] = {
                "input": _kind(value), "dense": dense, "rate": float(active.mean()), "effective": int(effective),
            }  # fmt: skip

        return hook

    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            handles.append(layer.register_forward_hook(watch(name)))
        if isinstance(layer, SpikeAttention):
            handles.append(layer.out_spikes.register_forward_pre_hook(_attention_hook(name, layer, found)))
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _attention_hook(name: str, layer: SpikeAttention, found: dict[str, dict[str, Any]]) -> Callable[..., None]:
    def hook(_: Any, given: tuple[Tensor, ...]) -> None:
        counts = given[0] / _SCALE if layer.kind in ("sdsa3", "sdsa4") else given[0]
        found[f"{name}.attend"] = {"input": _kind(counts), "rate": float((counts != 0).double().mean())}

    return hook


def _kind(value: Tensor) -> str:
    if bool(((value == 0) | (value == 1)).all()):
        return "spikes"
    return "counts" if bool((value == value.round()).all()) else "real"


def spikeformer_energy(
    products: dict[str, dict[str, Any]], *, add: float = 0.9e-12, multiply: float = 4.6e-12
) -> dict[str, float]:
    """Return the energy of products, J, by the transformer community's formula and by exact counts.

    Parameters
    ----------
    products : dict
        Of `spikeformer_products`.
    add, multiply : float
        Energy of an addition and of a multiplication with addition, J; those of 45 nm in single precision by default.

    Returns
    -------
    dict of str to float
        ``"formula"``: rate times dense products times `add`, and all products of layers with real input times
        `multiply`. ``"counted"``: effective in place of rate times dense, which differs at borders. Attention's own
        products are in neither, as in the formula's published use; layers whose input is counts are priced as real.
    """
    formula = counted = 0.0
    for each in products.values():
        if "dense" not in each:
            continue
        spikes = each["input"] == "spikes"
        formula += add * each["rate"] * each["dense"] if spikes else multiply * each["dense"]
        counted += add * each["effective"] if spikes else multiply * each["dense"]
    return {"formula": formula, "counted": counted}
