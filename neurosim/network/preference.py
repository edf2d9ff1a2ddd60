"""The strategies of a network, in order of preference."""

from __future__ import annotations

from neurosim.network.fused_row import FusedRow
from neurosim.network.strategies import (
    FusedLinear,
    FusedLoop,
    LayerByLayer,
    Recomputed,
    RecomputedLoop,
    Stepwise,
    Strategy,
)

STRATEGIES: tuple[Strategy, ...] = (
    FusedRow(),
    FusedLinear(),
    Recomputed(),
    RecomputedLoop(),
    FusedLoop(),
    LayerByLayer(),
    Stepwise(),
)
