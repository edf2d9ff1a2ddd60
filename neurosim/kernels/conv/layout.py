"""Where a spike reaches in a convolution, and the weights in the order in which it reads them.

A spike at place y of an axis reaches the outputs ``y'`` with ``y + padding = stride y' + dilation k`` for a k in the
kernel. Which k these are depends on the phase ``(y + padding) % stride`` alone, and the outputs lie at equal steps. So
the weights are laid out by phase, and a spike adds one block of them to a window of the outputs, at fixed distances.
The window may hang over the edge of the outputs: these have a margin, which is never read.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis of a convolution.

    Parameters
    ----------
    size : int
        Places before.
    kernel, stride, padding, dilation : int
        As in ``torch.nn.functional.conv2d``.
    """

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def places(self) -> int:
        """Places after."""
        return (self.size + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

    @property
    def taps(self) -> int:
        """Outputs in the window of a spike."""
        return -(-self.kernel // self._between)

    @property
    def step(self) -> int:
        """Places from one output of the window to the next."""
        return self.dilation // math.gcd(self.stride, self.dilation)

    @property
    def _between(self) -> int:
        return self.stride // math.gcd(self.stride, self.dilation)

    @functools.cached_property
    def _first(self) -> list[int | None]:
        """Smallest place in the kernel of each phase; None where a phase reaches no output."""
        reached = {k * self.dilation % self.stride: k for k in reversed(range(self._between))}
        return [reached.get(phase) for phase in range(self.stride)]

    @functools.cached_property
    def kernel_places(self) -> list[list[int]]:
        """Place in the kernel of each tap of each phase, -1 where there is none."""
        found = []
        for first in self._first:
            ks = [-1 if first is None else first + tap * self._between for tap in reversed(range(self.taps))]
            found.append([k if k < self.kernel else -1 for k in ks])
        return found

    @functools.cached_property
    def _windows(self) -> list[int]:
        """Output at which the window of each place begins; it may be negative."""
        found = []
        for y in range(self.size):
            whole, phase = divmod(y + self.padding, self.stride)
            later = ((self._first[phase] or 0) * self.dilation - phase) // self.stride
            found.append(whole - max(later, 0) - (self.taps - 1) * self.step)
        return found

    @property
    def origin(self) -> int:
        """Where the first output stands behind the margin."""
        return -min(0, *self._windows)

    @property
    def extent(self) -> int:
        """Outputs with their margins."""
        return max(self.places - 1, max(self._windows) + (self.taps - 1) * self.step) + self.origin + 1

    @property
    def begins(self) -> list[int]:
        """Where the window of each place begins, margins counted."""
        return [window + self.origin for window in self._windows]

    @property
    def phases(self) -> list[int]:
        """Phase of each place."""
        return [(y + self.padding) % self.stride for y in range(self.size)]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A convolution over two axes, its outputs and weights in vectors of output channels.

    Parameters
    ----------
    c_in, c_out, groups : int
        Channels before and after, and groups of them that do not mix.
    rows, columns : Axis
        The two axes.
    lanes : int
        Channels in a vector.
    """

    c_in: int
    c_out: int
    groups: int
    rows: Axis
    columns: Axis
    lanes: int

    @property
    def pixels(self) -> int:
        """Places before, of one channel."""
        return self.rows.size * self.columns.size

    @property
    def own(self) -> int:
        """Output channels of a group."""
        return self.c_out // self.groups

    @property
    def own_in(self) -> int:
        """Input channels of a group."""
        return self.c_in // self.groups

    @property
    def products(self) -> int:
        """Multiplications of a dense convolution of one sample."""
        window = self.rows.kernel * self.columns.kernel
        return self.rows.places * self.columns.places * self.c_out * self.own_in * window

    @property
    def padded(self) -> int:
        """Output channels of a group in whole vectors."""
        return -(-self.own // self.lanes) * self.lanes

    @property
    def channels(self) -> int:
        """Numbers that stand at one place after."""
        return self.groups * self.padded

    @property
    def block(self) -> int:
        """Weights that a spike reads."""
        return self.rows.taps * self.columns.taps * self.padded

    @property
    def weights(self) -> int:
        """Weights of all channels and phases."""
        return self.c_in * self.rows.stride * self.columns.stride * self.block

    @property
    def outputs(self) -> int:
        """Numbers after, with margins and what a vector may read beyond them."""
        return (self.rows.extent * self.columns.extent + self.lanes) * self.channels

    @functools.cached_property
    def window(self) -> Tensor:
        """Where the window of each place begins: [H W] of int32."""
        row = torch.tensor(self.rows.begins)[:, None] * self.columns.extent
        return ((row + torch.tensor(self.columns.begins)) * self.channels).flatten().int()

    @functools.cached_property
    def phase(self) -> Tensor:
        """Where the weights for each place begin among those of a channel: [H W] of int32."""
        row = torch.tensor(self.rows.phases)[:, None] * self.columns.stride
        return ((row + torch.tensor(self.columns.phases)) * self.block).flatten().int()

    @functools.cached_property
    def _order(self) -> Tensor:
        """Weight that stands at each place of the layout, counted in [c_out, c_in / groups, kh, kw]; one more: none."""
        kh, kw, own_in = self.rows.kernel, self.columns.kernel, self.own_in
        ky = torch.tensor(self.rows.kernel_places)[:, None, :, None, None]
        kx = torch.tensor(self.columns.kernel_places)[None, :, None, :, None]
        channel = torch.arange(self.padded)
        source = torch.arange(self.c_in)[:, None, None, None, None, None]
        target = source // own_in * self.own + channel
        at = ((target * own_in + source % own_in) * kh + ky) * kw + kx
        none = self.c_out * own_in * kh * kw
        return torch.where((ky < 0) | (kx < 0) | (channel >= self.own), none, at).flatten()

    @functools.cached_property
    def _back(self) -> Tensor:
        """Place in the layout of each weight."""
        found = torch.empty(int(self._order.max()) + 1, dtype=torch.int64)
        found[self._order] = torch.arange(self._order.numel())
        return found[: self.c_out * self.own_in * self.rows.kernel * self.columns.kernel]

    def arranged(self, weight: Tensor) -> Tensor:
        """Return ``weight`` [c_out, c_in / groups, kh, kw] as a spike reads it; zeros where there is none."""
        return torch.cat((weight.flatten(), weight.new_zeros(1))).index_select(0, self._order)

    def restored(self, arranged: Tensor) -> Tensor:
        """Return the weights [c_out, c_in / groups, kh, kw] that stand in `arranged`."""
        shape = (self.c_out, self.own_in, self.rows.kernel, self.columns.kernel)
        return arranged.index_select(0, self._back).view(shape)

    def arranged_bias(self, bias: Tensor | None, like: Tensor) -> Tensor:
        """Return ``bias`` [c_out], or zeros, as it stands at a place after."""
        found = like.new_zeros(self.groups, self.padded)
        if bias is not None:
            found[:, : self.own] = bias.view(self.groups, self.own)
        return found

    def restored_bias(self, arranged: Tensor) -> Tensor:
        """Return the bias [c_out] that stands in `arranged`."""
        return arranged.view(self.groups, self.padded)[:, : self.own].flatten()
