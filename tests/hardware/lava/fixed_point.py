"""The fixed-point process models of lava-nc, in a process of their own: stepped one by one, or under Lava's runtime.

Without the runtime every connection sends what it computed in the step before, then each population takes the sum of
what arrives and spikes, then every connection receives. What is sent passes through memory of the port's type, as
between processes.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.hardware.loihi.cases import Case, Link, Neurons


class _Port:
    """What stands in for a port: it gives what was put in, and keeps what is sent."""

    def __init__(self) -> None:
        self.value: Any = None

    def recv(self) -> Any:
        return self.value

    def send(self, value: Any) -> None:
        self.value = np.array(value)


def forget_start_method() -> None:
    """Let Lava set how processes start: a process that was started in another way than by a fork has it set already."""
    multiprocessing.set_start_method(None, force=True)


def step_models(case: Case) -> dict[str, dict[str, np.ndarray]]:
    """Return spikes, current and voltage of each population, [T, *shape], by Lava's own classes."""
    from neurosim.hardware.lava import shim

    shim.install()
    shim.mend_conv()
    neurons = {name: _neurons(n) for name, n in case.neurons.items()}
    links = [(link, _link(link, case)) for link in case.links]
    found = {name: {part: [] for part in ("s", "u", "v")} for name in neurons}
    for t in range(case.steps):
        sent = {name: values[t] for name, values in case.inputs.items()}
        for name, model in neurons.items():
            total = np.zeros(case.neurons[name].shape, np.int16)
            for link, connection in links:
                if link.target == name:
                    total = total + _from_lava(_buffer(connection), case.neurons[name].shape)
            model.a_in.value = total
            model.run_spk()
            sent[name] = model.s_out.value
            for part, value in (("s", sent[name]), ("u", model.u), ("v", model.v)):
                found[name][part].append(np.array(value))
        for link, connection in links:
            signal = sent[link.source]
            connection.s_in.value = _to_lava(signal) if link.kind == "conv" else signal.reshape(-1)
            connection.run_spk()
    return {name: {part: np.stack(values) for part, values in parts.items()} for name, parts in found.items()}


def run_lava(case: Case, timeout: float = 120.0) -> dict[str, dict[str, np.ndarray]]:
    """Return the same by Lava's runtime, in a process group that is ended whatever happens."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "case", Path(folder) / "found"
        given.write_bytes(pickle.dumps(case))
        child = subprocess.Popen([sys.executable, "-m", __name__, given, found], start_new_session=True)
        try:
            child.wait(timeout)
        finally:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        result: dict[str, dict[str, np.ndarray]] = pickle.loads(found.read_bytes())
        return result


def _under_runtime(case: Case) -> dict[str, dict[str, np.ndarray]]:
    from neurosim.hardware.lava import shim

    shim.install()
    shim.mend_conv()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Ring
    from lava.proc.lif.process import LIF
    from lava.proc.monitor.process import Monitor

    sources: Any = {name: Ring(data=np.moveaxis(_turned(x), 0, -1)) for name, x in case.inputs.items()}
    neurons: Any = {
        name: LIF(
            shape=n.shape[::-1],
            du=n.du,
            dv=n.dv,
            vth=n.v_th,
            bias_mant=n.bias_mant.T,
            bias_exp=n.bias_exp.T,
            name=name,
        )
        for name, n in case.neurons.items()
    }
    outputs = {name: process.s_out for name, process in (*sources.items(), *neurons.items())}
    for link in case.links:
        process = _process(link, outputs[link.source].shape)
        port = outputs[link.source]
        flat = link.kind != "conv" and len(port.shape) == 3
        (port.transpose([2, 1, 0]).flatten() if flat else port).connect(process.s_in)
        process.a_out.connect(neurons[link.target].a_in)
    sinks = {name: Sink(shape=process.s_out.shape, buffer=case.steps) for name, process in neurons.items()}
    monitors = {(name, part): Monitor() for name in neurons for part in "uv"}
    for name, sink in sinks.items():
        outputs[name].connect(sink.a_in)
    for (name, part), monitor in monitors.items():
        monitor.probe(getattr(neurons[name], part), case.steps)
    first = next(iter(neurons.values()))
    first.run(condition=RunSteps(num_steps=case.steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    found = {}
    for name in neurons:
        spikes = np.moveaxis(sinks[name].data.get(), -1, 0)
        traces = {part: next(iter(monitors[name, part].get_data()[name].values())) for part in "uv"}
        found[name] = {"s": _turned(spikes), **{part: _turned(np.asarray(values)) for part, values in traces.items()}}
    first.stop()
    return found


def _turned(values: np.ndarray) -> np.ndarray:
    """Turn [T, C, H, W] into Lava's [T, W, H, C] and back."""
    return values.transpose(0, 3, 2, 1) if values.ndim == 4 else values


def _process(link: Link, shape: tuple[int, ...]) -> Any:
    from lava.proc.conv.process import Conv
    from lava.proc.dense.process import DelayDense, Dense
    from lava.proc.sparse.process import Sparse
    from scipy.sparse import csr_matrix

    whole = link.weight.astype(np.int32)
    if link.kind == "conv":
        turned = {name: value[::-1] for name, value in link.conv.items() if name != "groups"}
        return Conv(weight=_kernel(whole), input_shape=shape, groups=link.conv["groups"], **turned)
    kinds = {"dense": Dense, "sparse": Sparse, "delayed": DelayDense}
    extra = {"delays": link.delay} if link.kind == "delayed" else {}
    weights = csr_matrix(whole) if link.kind == "sparse" else whole
    return kinds[link.kind](weights=weights, weight_exp=link.exponent, num_weight_bits=link.bits, **extra)


def _kernel(weight: np.ndarray) -> np.ndarray:
    """Return [C_out, C_in, H, W] as Lava convolves: turned round, [C_out, W, H, C_in]."""
    return weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)


def _buffer(connection: Any) -> np.ndarray:
    """Return what a connection is about to send, in 32 bits."""
    held = connection.a_buf if hasattr(connection, "a_buf") else connection.a_buff
    if hasattr(connection, "delays"):
        held = held[:, 0]
    return np.asarray(held).astype(np.int32)


def _to_lava(image: np.ndarray) -> np.ndarray:
    return image.transpose(2, 1, 0)


def _from_lava(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return values.transpose(2, 1, 0) if values.ndim == 3 else values.reshape(shape)


def _neurons(n: Neurons) -> Any:
    from lava.proc.lif.models import PyLifModelBitAcc

    model: Any = PyLifModelBitAcc({})
    model.a_in, model.s_out = _Port(), _Port()
    model.u, model.v = np.zeros(n.shape, np.int32), np.zeros(n.shape, np.int32)
    model.du, model.dv, model.vth = n.du, n.dv, n.v_th
    model.bias_mant, model.bias_exp = n.bias_mant.astype(np.int16), n.bias_exp.astype(np.int16)
    return model


def _link(link: Link, case: Case) -> Any:
    from lava.proc.conv.models import PyConvModelFixed
    from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc
    from lava.proc.sparse.models import PySparseModelBitAcc
    from scipy.sparse import csr_matrix

    kinds: Any = {
        "dense": PyDenseModelBitAcc,
        "sparse": PySparseModelBitAcc,
        "delayed": PyDelayDenseModelBitAcc,
        "conv": PyConvModelFixed,
    }
    model = kinds[link.kind]({"weight_exp": link.exponent, "num_weight_bits": link.bits})
    model.s_in, model.a_out, model.num_message_bits = _Port(), _Port(), np.zeros(1, int)
    whole = link.weight.astype(np.int32)
    if link.kind == "conv":
        model.weight = _kernel(whole)
        model.kernel_size = np.array(model.weight.shape[1:3])
        model.groups = np.array([link.conv["groups"]])
        for name in ("stride", "padding", "dilation"):
            setattr(model, name, np.array(link.conv[name][::-1]))
        model.a_buf = np.zeros(case.neurons[link.target].shape[::-1], np.int32)
        return model
    n_out = len(whole)
    model.weights = csr_matrix(whole) if link.kind == "sparse" else whole
    model.a_buff = np.zeros(n_out, np.int32)
    if link.kind == "delayed":
        model.delays = link.delay.astype(np.int32)
        model.a_buff = np.zeros((n_out, int(link.delay.max()) + 1), np.int32)
    return model


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(pickle.dumps(_under_runtime(pickle.loads(Path(sys.argv[1]).read_bytes()))))
