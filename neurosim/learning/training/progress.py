"""What the callbacks of `fit` get: the numbers of the run so far, the network, and a way to stop."""

from __future__ import annotations

from typing import Any

from torch import nn


class Progress(dict[str, Any]):
    """The numbers of a batch or of an epoch, by the name of their column.

    After a batch: ``epoch`` and ``batch`` (both from 1) and ``loss``. After an epoch: its row of the `History`.

    Attributes
    ----------
    net : Network
        The network in training.
    stopped : bool
        Whether `stop` has been called.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> net = ns.Sequential(ns.Linear(4, 2), ns.LI(dt=1e-3))
    >>> data = [(torch.rand(5, 3, 4), torch.tensor([0, 1, 0]))]
    >>> history = ns.fit(net, data, epochs=9, progress=False, on_epoch=lambda row: row["epoch"] == 2 and row.stop())
    >>> len(history), history.stopped_early
    (2, True)
    """

    def __init__(self, net: nn.Module, numbers: dict[str, Any]) -> None:
        super().__init__(numbers)
        self.net = net
        self.stopped = False

    def stop(self) -> None:
        """End the run: after a batch without the rest of its epoch, after an epoch before the next."""
        self.stopped = True
