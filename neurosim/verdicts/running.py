"""One verdict over all targets."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from neurosim.errors import ExportError, InputError, NothingCompared, ShapeError, TargetRunError
from neurosim.network.network import Network
from neurosim.verdicts.registry import JUDGES, Judge
from neurosim.verdicts.verdict import TargetVerdict, TargetVerdicts, refused


def verify_all(
    net: Network, x: Tensor | Mapping[str, Tensor], *, targets: Iterable[str] | None = None
) -> TargetVerdicts:
    """Judge a network on every target and in every format.

    Parameters
    ----------
    net : Network
        It is not changed.
    x : Tensor [T, B, ...], or mapping of input name to such
        Data that all judges run; for chips spikes, or integers. A few samples are enough.
    targets : iterable of str, optional
        Names of the judges to call; all of `JUDGES` if left out.

    Returns
    -------
    TargetVerdicts
        ``print(verdicts)`` gives the table.

    Raises
    ------
    InputError
        When a target is unknown, there is none, or `x` has no step or no sample.
    InputError, ShapeError
        When `x` is no data for the network.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.verdicts import verify_all
    >>> _ = torch.manual_seed(0)
    >>> net = ns.Sequential(ns.Linear(20, 10), ns.LIF(dt=1e-3, r=100.0), names=["out"])
    >>> x = (torch.rand(50, 2, 20) < 0.2).float()
    >>> verdicts = verify_all(net, x, targets=["netx"])
    >>> verdicts["netx"].outcome, verdicts["netx"].compared, verdicts["netx"].differing
    ('bounded', 1000, 0)
    """
    by_name = {judge.name: judge for judge in JUDGES}
    if isinstance(targets, str):
        raise InputError(f"targets = {targets!r}; give a list of names, such as [{targets!r}].")
    chosen = list(by_name) if targets is None else list(targets)
    if not chosen:
        raise InputError(f"targets is empty; give names, or leave it out; there are {', '.join(by_name)}.")
    unknown = [name for name in chosen if name not in by_name]
    if unknown:
        raise InputError(f"targets: no judge is called {unknown[0]!r}; there are {', '.join(by_name)}.")
    for name, data in net.checked_inputs(x).items():
        if data.numel() == 0:
            raise InputError(f"x for {name!r} has the shape {list(data.shape)}; give at least one step and one sample.")
    return TargetVerdicts({name: _judged(by_name[name], net, x) for name in chosen})


def _judged(judge: Judge, net: Network, x: Any) -> TargetVerdict:
    missing = judge.missing()
    if missing:
        return TargetVerdict("missing", why=f"{', '.join(missing)} not installed; {judge.install}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NothingCompared)  # the verdict says so
            return judge.judge(net, x)
    except (ExportError, InputError, ShapeError) as error:
        return refused(error)
    except TargetRunError as error:
        return TargetVerdict("failed", why=str(error))
