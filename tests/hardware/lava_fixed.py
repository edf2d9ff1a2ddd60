"""The fixed-point process models of lava-nc, stepped one by one without its runtime: run it in a process of its own.

Every connection sends what it worked out in the step before, then each population takes the sum of what arrives and
spikes, then every connection receives. What is sent passes through memory of the port's type, as between processes.
"""

from __future__ import annotations

import multiprocessing
from typing import Any

import numpy as np

from tests.hardware.loihi_cases import Case, Link, Neurons


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
        model.weight = whole[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
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
