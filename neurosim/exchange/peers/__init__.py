"""Exact conversion from and to other libraries of spiking networks; each is imported only when it is used."""

from neurosim.exchange.peers.errors import ConversionError
from neurosim.exchange.peers.norse import from_norse, to_norse
from neurosim.exchange.peers.rockpool import from_rockpool
from neurosim.exchange.peers.sinabs import from_sinabs
from neurosim.exchange.peers.slayer import from_slayer
from neurosim.exchange.peers.snntorch import from_snntorch, to_snntorch
from neurosim.exchange.peers.spikingjelly import from_spikingjelly
from neurosim.exchange.peers.verdicts import Conversion, Verdict, examine

__all__ = [
    "Conversion",
    "ConversionError",
    "Verdict",
    "examine",
    "from_norse",
    "from_rockpool",
    "from_sinabs",
    "from_slayer",
    "from_snntorch",
    "from_spikingjelly",
    "to_norse",
    "to_snntorch",
]
