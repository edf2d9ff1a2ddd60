"""The verdict on a ``.net`` file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from neurosim.hardware.loihi import describe
from neurosim.hardware.netx import connection_steps, read_netx, write_netx
from neurosim.hardware.netx.reading import BIAS_EXPONENT
from neurosim.network.network import Network
from neurosim.verdicts.integers import BITS, in_integers, outputs
from neurosim.verdicts.verdict import TargetVerdict, bounded, exact

_JUDGE = "the file, read back"


def judge(net: Network, x: Any) -> TargetVerdict:
    """Quantise the network, write the file, read it back, and compare the outputs of the last population."""
    integer, share = in_integers(net, x, weight_exponents=False, bias_exponent=BIAS_EXPONENT)
    if any(registers.bias_mant.any() for registers in describe(integer).populations.values()):
        integer = connection_steps(integer)
    with tempfile.TemporaryDirectory() as folder:
        write_netx(integer, Path(folder) / "network.net")
        back = read_netx(Path(folder) / "network.net", dt=net.dt)
    if next((p.dtype for p in integer.parameters()), torch.float32) is torch.float64:
        back = back.double()
    ours = outputs(integer, x)[integer.output]
    theirs = outputs(back, x)[back.output]
    found = (ours.numel() if ours.any() or theirs.any() else 0, int((ours != theirs).sum()))
    if share is None:
        return exact(_JUDGE, *found)
    return bounded(_JUDGE, *found, share, f"weights of {BITS} bits without exponents, decays of 12 bits")
