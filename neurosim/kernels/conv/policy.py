"""When a convolution of spikes is event-driven."""

from __future__ import annotations

from neurosim.kernels.common import policy
from neurosim.kernels.common.bits import MOST
from neurosim.kernels.conv.layout import Layout


def is_event_driven(layout: Layout, rows: int, events: int, channels: int) -> bool:
    """Return whether a product by `events` takes less time than torch's over all of `rows` samples.

    Parameters
    ----------
    layout : Layout
    rows : int
        Number of samples.
    events : int
        Number of spikes, or of inputs in the mask.
    channels : int
        Channels that torch's product has beside each other in memory.

    Notes
    -----
    The unit is the time in which a vector of weights is loaded, added to a vector in the first-level cache and stored.
    To clear and to write a vector of outputs takes three, to find the place of a spike six. Torch does 2.8
    multiplications of a vector in it, and fewer with few channels: half as many with 12; fresh memory for a vector of
    outputs takes it three. Measured on one x86-64 processor with vectors of 32 bytes; both gain in the same way from
    wider ones.
    """
    clear = layout.rows.extent * layout.columns.extent * layout.channels / layout.lanes
    by_events = 3 * rows * clear + events * (6 + layout.block / layout.lanes)
    written = layout.rows.places * layout.columns.places * layout.c_out / layout.lanes
    dense = rows * (layout.products / layout.lanes * (1 + 12 / channels) / 2.8 + 3 * written)
    return policy.choose(by_events < dense) and events < MOST
