"""Small tensors of constants on a device, made once: plain numbers of kernels, states that are one number, zeros.

To make one costs a launch or a copy from the host, which waits for the device and cannot be captured in a CUDA graph.
They are read and never written.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.kernels.common.autograd import can_call_directly, under_transform

KEPT = 1024  # constants, with one tensor for each stream that reads them

_made: OrderedDict[Any, dict[int, Tensor]] = OrderedDict()
_in_graphs: dict[int, Tensor] = {}  # a graph reads them again whenever it is replayed
_lock = threading.Lock()
_sharing = threading.local()


def numbers(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers [len(values)] on `device`, to be read alone; the sign of a zero is kept."""
    key = (tuple(value.hex() for value in map(float, values)), dtype, device)
    return _kept(key, device, lambda: torch.tensor(values, dtype=dtype, device=device))


def filled(like: Tensor, shape: Sequence[int], value: float, dtype: torch.dtype) -> Tensor:
    """Return a tensor of one number, on the device of `like`; on an accelerator it is shared and to be read alone."""
    if not shares(like):
        return like.new_full(tuple(shape), value, dtype=dtype)
    key = (tuple(shape), float(value).hex(), dtype, like.device)
    return _kept(key, like.device, lambda: torch.full(tuple(shape), value, dtype=dtype, device=like.device))


def shares(like: Tensor) -> bool:
    """Return whether constants beside `like` are shared: plain tensors on an accelerator, outside of compilers."""
    return on_accelerator(like.device) and can_call_directly((like,)) and not under_transform()


def on_accelerator(device: torch.device) -> bool:
    """Return whether making a tensor on `device` is a launch."""
    return device.type == "cuda"


@contextlib.contextmanager
def start_values_shared() -> Iterator[None]:
    """Let `start_value` share constants inside the block: the caller does not hand the tensors out."""
    before, _sharing.on = getattr(_sharing, "on", False), True
    try:
        yield
    finally:
        _sharing.on = before


def start_value(like: Tensor, shape: Sequence[int], value: float, dtype: torch.dtype) -> Tensor:
    """Return a tensor of one number: as `filled` inside `start_values_shared`, else one of its own."""
    if getattr(_sharing, "on", False):
        return filled(like, shape, value, dtype)
    return like.new_full(tuple(shape), value, dtype=dtype)


def _kept(key: Any, device: torch.device, make: Callable[[], Tensor]) -> Tensor:
    """Return the tensor of `key` of the current stream, made if there is none.

    A stream reads tensors that were made on it: then their memory is not used again before the stream has read them,
    also if they are dropped. In a capture, before which torch waits for the device, that of any stream serves.
    """
    is_cuda = device.type == "cuda"
    is_captured = is_cuda and torch.cuda.is_current_stream_capturing()
    stream = torch.cuda.current_stream(device).cuda_stream if is_cuda else 0
    with _lock:
        of_streams = _made.setdefault(key, {})
        _made.move_to_end(key)
        found = of_streams.get(stream)
        if found is None and is_captured:
            found = next(iter(of_streams.values()), None)
        if found is None:
            with torch.inference_mode(False), torch.no_grad():  # the backward pass of a later run saves it
                found = make()
            if not is_captured:  # the memory of what is made in a capture belongs to the graph
                of_streams[stream] = found
        elif is_captured:
            _in_graphs[found.data_ptr()] = found
        while len(_made) > KEPT:
            _made.popitem(last=False)
    return found
