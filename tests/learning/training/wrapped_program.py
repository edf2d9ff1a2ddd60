"""A plain loop of PyTorch over two ranks, in a process of its own: the network alone, under DDP and under FSDP2."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import neurosim as ns
from tests.ranks import forked

STEPS, BATCH = 12, 8


def network() -> ns.Network:
    """Return a net with two fused layers, a loop and a learned time constant for each neuron."""
    torch.manual_seed(0)
    cell = ns.LIF(dt=1e-3, v_th=0.1, tau_mem=torch.full((32,), 20e-3), learn=("tau_mem",))
    return ns.Sequential(ns.Linear(20, 32), ns.Recurrent(cell, ns.Linear(32, 32)), ns.Linear(32, 5), ns.LI(dt=1e-3))


def losses(wrap: str, rank: int, size: int) -> list[float]:
    """Return the mean loss over the ranks of each of four batches."""
    torch.set_num_threads(1)
    if size > 1:
        dist.init_process_group("gloo")
    net: Any = network()
    if wrap == "ddp":
        net = DistributedDataParallel(net)
    elif wrap == "fsdp2":
        net = fully_shard(net, mesh=init_device_mesh("cpu", (size,)))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    torch.manual_seed(1)
    found, part = [], BATCH // size
    for _ in range(4):
        x, y = (torch.rand(STEPS, BATCH, 20) > 0.6).float(), torch.randint(0, 5, (BATCH,))
        own = slice(rank * part, (rank + 1) * part)
        loss = nn.functional.cross_entropy(net(x[:, own])[0].mean(0), y[own])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean = loss.detach().clone()
        if size > 1:
            dist.all_reduce(mean)
        found.append(mean.item() / size)
    return found


def main(folder: Path) -> dict[str, Any]:
    """Return the losses of one process, and those of each of two ranks under each wrapper."""
    wrapped = {name: forked(2, functools.partial(losses, name, size=2)) for name in ("ddp", "fsdp2")}
    return {"one": losses("", 0, 1), **wrapped}
