"""Recorded spikes in the formats of other programs: Neo, pandas, SONATA, NWB."""

from __future__ import annotations

from neurosim.exchange.spikes.frame import to_pandas
from neurosim.exchange.spikes.neo import to_neo
from neurosim.exchange.spikes.nwb import write_nwb
from neurosim.exchange.spikes.sonata import read_sonata, write_sonata

__all__ = ["read_sonata", "to_neo", "to_pandas", "write_nwb", "write_sonata"]
