"""Training runs over ranks, in a process that may fork: `test_ranks` reads their results."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path
from typing import Any

import torch

import neurosim as ns
from neurosim.learning import OTTT, SLTT, EProp, fit
from neurosim.synapses import Dropout
from tests.ranks import forked

warnings.simplefilter("ignore")


def data(batch: int = 8, samples: int = 30, seed: int | None = 5) -> Any:
    """Return a loader that shuffles by a generator of its own, if it has a seed; its last batch is short."""
    draw = torch.Generator().manual_seed(1)
    x, y = (torch.rand(samples, 12, 6, generator=draw) < 0.5).float(), torch.randint(3, (samples,), generator=draw)
    pairs = torch.utils.data.TensorDataset(x, y)

    def collate(parts: Any) -> Any:
        return torch.stack([a for a, _ in parts], 1), torch.stack([b for _, b in parts])

    order = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.utils.data.DataLoader(pairs, batch, shuffle=order is not None, generator=order, collate_fn=collate)


def network(seed: int, *, random: bool) -> Any:
    """Return a network, with random numbers of its own in each batch if `random`."""
    torch.manual_seed(seed)
    dropout = [Dropout(0.3)] if random else []
    return ns.Sequential(
        ns.Linear(6, 16), ns.LIF(dt=1e-3, r=20.0), *dropout, ns.Linear(16, 3), ns.LI(dt=1e-3, tau_mem=5e-3)
    )


def trained(rank: int = 0, **choices: Any) -> Any:
    """Return history and weights of a run; ranks begin with weights of their own."""
    kill_at, spoil = choices.pop("kill_at", None), choices.pop("spoil", None)
    net = network(3 + rank, random=not isinstance(choices.get("rule"), EProp))
    batches: Any = data(seed=6 if spoil == "order" and rank else 5)
    if spoil == "short":
        batches = list(data(seed=None))[: 4 - rank]

    def after(progress: Any) -> None:
        if rank == 1 and (progress["epoch"], progress["batch"]) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    choices = {"epochs": 3, "shards": 4, "progress": False, "clip": 1.0, "average": 0.9, **choices}
    history = fit(
        net,
        batches,
        validate=data(batch=7, seed=None),
        metrics=[ns.accuracy],
        on_batch=None if kill_at is None else after,
        **choices,
    )
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in history.rows]
    return rows, {name: value.clone() for name, value in net.state_dict().items()}


def main(folder: Path) -> dict[str, Any]:
    """Run everything; results by name, one for each rank."""

    def ranks(number: int, **choices: Any) -> list[Any]:
        return forked(number, lambda rank: trained(rank, **choices))

    found: dict[str, Any] = {"one": [trained(checkpoint=folder / "one")]}
    found["two"] = ranks(2, checkpoint=folder / "two")
    found["four"] = ranks(4, checkpoint=folder / "four")
    for name, rule in {"OTTT": OTTT(), "SLTT": SLTT(k=3), "EProp": EProp()}.items():
        found[f"{name} one"] = [trained(rule=rule, epochs=1)]
        found[f"{name} two"] = ranks(2, rule=rule, epochs=1)
    found["killed"] = ranks(2, checkpoint=folder / "killed", kill_at=(2, 2))
    found["resumed"] = ranks(4, checkpoint=folder / "killed", resume=True)
    found["no data"] = ranks(2, spoil="short", checkpoint=folder / "short", epochs=1)
    found["other batches"] = ranks(2, spoil="order")
    found["no shards"] = ranks(2, shards=None)
    found["three shards"] = ranks(2, shards=3)
    found["other shards"] = forked(2, lambda rank: trained(rank, shards=4 + 4 * rank))
    found["no folder"] = ranks(2, checkpoint=Path("/dev/null/none"))
    return found
