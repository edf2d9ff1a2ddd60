"""NIR as nir 1.0.4 understands it, which sinabs 3.1 and Rockpool 3.1 require."""

from __future__ import annotations

import copy
import os

import h5py

from neurosim import cores
from neurosim.exchange.nir.exporting import to_nir
from neurosim.exchange.nir.importing import Discretisation
from neurosim.files.atomic import replaced
from neurosim.files.problems import Problems
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron

VERSION = "1.0.4"
_NO_CUBA_LI = (cores.cuba_integrator, cores.cuba_integrator_resting)
_CUBA_LIF = (cores.cubalif, cores.cubalif_resting)


def write_nir_1_0_4(net: Network, path: str | os.PathLike[str], *, discretisation: Discretisation = "euler") -> None:
    """Write a network as a NIR file that nir 1.0.4 reads, atomically.

    In that version a neuron that fires is lowered by its threshold, where later ones set it to ``v_reset``, a field
    that it refuses; and it has no CubaLI. Read such a file with ``from_nir(path, dt=dt, reset="subtract")``.

    Parameters
    ----------
    net : Network
        As in `to_nir`, but with ``reset="subtract"``, or None for LIF and IF.
    path : path-like
    discretisation
        As in `to_nir`.

    Raises
    ------
    ExportError
        With all that nir 1.0.4 cannot express: node or edge, what it is, what to change.
    FileError
        When the file cannot be written; an earlier file is not changed.

    Examples
    --------
    >>> import tempfile, pathlib, torch, neurosim as ns
    >>> from neurosim.exchange.nir import from_nir, write_nir_1_0_4
    >>> net = ns.Sequential(ns.Linear(8, 5), ns.LIF(dt=1e-3, r=20.0, reset="subtract"), names=("out",))
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.nir"
    >>> write_nir_1_0_4(net, path)
    >>> again = from_nir(path, dt=1e-3, reset="subtract")
    >>> x = (torch.rand(50, 2, 8) < 0.5).float()
    >>> bool((net(x)[0] == again(x)[0]).float().mean() > 0.99)
    True
    """
    problems = Problems(f"nir {VERSION} cannot express this network")
    written = copy.deepcopy(net)
    for name, node in written.neurons().items():
        _check(name, node, problems)
        if node.is_spiking and node.reset == "subtract":
            node.reset = "value"  # the field is removed below; that version subtracts
    problems.raise_if_any()
    graph = to_nir(written, discretisation=discretisation)
    import nir

    with replaced(path) as part:
        nir.write(part, graph)
        with h5py.File(part, "r+") as file:
            _remove_resets(file["node"])
            del file["version"]
            file.create_dataset("version", data=VERSION)


def _check(name: str, node: Neuron, problems: Problems) -> None:
    where = f"node {name!r}"
    if node.core in _NO_CUBA_LI or (node.core in _CUBA_LIF and node.reset is None):
        problems.add(where, "is a CubaLI, which came later; use LI, or read the spikes of a CubaLIF")
    elif node.is_spiking and node.reset == "value":
        problems.add(
            where, 'reset="value"; that version subtracts the threshold: train with reset="subtract", or use write_nir'
        )
    elif node.takes_own_amount:
        problems.add(where, "has a reset_amount; that version subtracts the threshold: leave it out")


def _remove_resets(group: h5py.Group) -> None:
    for name, item in list(group.items()):
        if isinstance(item, h5py.Group):
            _remove_resets(item)
        elif name == "v_reset":
            del group[name]
