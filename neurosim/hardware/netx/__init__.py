"""lava-dl's network files (``.net``, HDF5), read into and written from networks in Loihi's integers."""

from neurosim.hardware.netx.reading import read_netx
from neurosim.hardware.netx.timing import connection_steps
from neurosim.hardware.netx.writing import write_netx

__all__ = ["connection_steps", "read_netx", "write_netx"]
