"""Ranks on this machine: forked processes with the variables that torchrun sets."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def forked(size: int, function: Callable[[int], Any]) -> list[Any]:
    """Return what each of `size` ranks returned: its result, the exception it raised, or None if it was killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / str(rank) for rank in range(size)]
        children = []
        for rank, place in enumerate(places):
            child = os.fork()
            if not child:
                _be_rank(rank, size, port, function, place)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        return [pickle.loads(place.read_bytes()) if place.exists() else None for place in places]


def _be_rank(rank: int, size: int, port: int, function: Callable[[int], Any], place: Path) -> None:
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(address, RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    result: Any = None
    try:
        result = function(rank)
    except Exception as error:
        result = error
    try:
        part = place.with_name(f"{place.name}.part")
        part.write_bytes(pickle.dumps(result))
        part.rename(place)
    finally:
        if torch.distributed.is_initialized() and not isinstance(result, Exception):
            torch.distributed.destroy_process_group()
        os._exit(0)


def run_module(name: str, folder: Path) -> Any:
    """Return what the function `main(folder)` of a module returns in a process of its own, which may fork."""
    out = folder / "result.pickle"
    code = (
        f"import pickle, pathlib, torch; torch.set_num_threads(1); import {name} as m; "
        f"r = m.main(pathlib.Path({str(folder)!r})); pathlib.Path({str(out)!r}).write_bytes(pickle.dumps(r))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return pickle.loads(out.read_bytes())
