"""From and to other libraries of spiking networks: exactly, or not at all. None of them is imported before its use."""

from neurosim.interop.conversion import ConversionError
from neurosim.interop.from_norse import from_norse
from neurosim.interop.from_snntorch import from_snntorch
from neurosim.interop.from_spikingjelly import from_spikingjelly
from neurosim.interop.to_norse import to_norse
from neurosim.interop.to_snntorch import to_snntorch

__all__ = ["ConversionError", "from_norse", "from_snntorch", "from_spikingjelly", "to_norse", "to_snntorch"]
