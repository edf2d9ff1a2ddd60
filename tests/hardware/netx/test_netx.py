"""lava-dl's network files: read as netx runs them, written so that they come back, refused where they are wrong."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosim as ns
from neurosim.errors import ExportError, FileError
from neurosim.hardware.loihi import describe, loihi_neurons
from neurosim.hardware.netx import connection_steps, read_netx, write_netx
from neurosim.synapses import DelayedSparse, RoundedDelays, Synapse
from neurosim.synapses.shift import Shift


def dense_file(path: Path, change: Callable[[h5py.File], object] = lambda file: None) -> Path:
    """Write a file as lava-dl does: 4 inputs, a dense layer of 3, one of 2."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["layer/0/type"], file["layer/0/shape"] = np.array([b"input"], "S10"), np.array([4, 1, 1])
        for k, (n_in, n_out) in enumerate(((4, 3), (3, 2)), start=1):
            layer = file.create_group(f"layer/{k}")
            layer["type"], layer["shape"] = np.array([b"dense"], "S10"), np.array([n_out, 1, 1])
            layer["inFeatures"], layer["outFeatures"] = n_in, n_out
            layer["weight"] = (2 * rng.integers(-60, 100, (n_out, n_in))).astype(np.float32)
            layer["neuron/type"] = "LOIHI"
            for key, value in dict(iDecay=1024, vDecay=128, vThMant=250, refDelay=1, wgtExp=0).items():
                layer[f"neuron/{key}"] = value
        file["simulation/Ts"] = 1
        change(file)
    return path


def as_netx_runs_it(file: Path, x: np.ndarray, *, chip_timing: bool = False) -> list[np.ndarray]:
    """Run a file of dense layers in integers, as netx sets up Lava's fixed-point LIF and Dense.

    Returns the spikes [T, N] of each layer: with `chip_timing` on the steps of the chip, on which a spike reaches the
    next layer one step later; else on the layer's own steps, on which biases act when the data arrive.
    """

    def decay(value: np.ndarray, by: int) -> np.ndarray:
        return np.sign(value) * (abs(value) * (4096 - by) >> 12)

    spikes, found = x.astype(np.int64), []
    with h5py.File(file) as h5:
        for k in range(1, len(h5["layer"])):
            layer = h5[f"layer/{k}"]
            weight = layer["weight"][()].astype(int)
            size = len(weight)
            if chip_timing:
                spikes = np.concatenate((np.zeros_like(spikes[:1]), spikes[:-1]))
            loop = layer["weight_rec"][()].astype(int) if "weight_rec" in layer else np.zeros((size, size), int)
            delay = np.broadcast_to(layer["delay"][()].astype(int) if "delay" in layer else 0, size)
            bias = int(layer["bias"][()]) << 6 if "bias" in layer else 0
            i_decay, v_decay, threshold = (int(layer[f"neuron/{n}"][()]) for n in ("iDecay", "vDecay", "vThMant"))
            out = np.zeros((len(spikes), size), np.int64)
            u, v, before = (np.zeros(size, np.int64) for _ in range(3))
            for t in range(len(spikes)):
                current = [weight[n] @ spikes[t - delay[n]] if t >= delay[n] else 0 for n in range(size)]
                u = decay(u, i_decay) + ((current + loop @ before) << 6)
                v = decay(v, v_decay) + u + bias
                out[t] = before = (v > threshold << 6).astype(np.int64)
                v[before == 1] = 0
            found.append(out)
            spikes = out
    return found


def run(net: ns.Network, x: np.ndarray) -> list[np.ndarray]:
    names = list(net.neurons())
    data = torch.from_numpy(x).float()[:, None].reshape(len(x), 1, *net.shape("input"))
    values = net.run(data, None, names).recorded
    return [values[name][:, 0].flatten(1).numpy() for name in names]


def spikes(steps: int, neurons: int, rate: float = 0.4, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random((steps, neurons)) < rate).astype(np.int64)


def _delays(file: h5py.File) -> None:
    file["layer/1/delay"] = np.array([3.0, 0.0, 7.0], np.float32)
    file["layer/2/delay"] = np.float32(2)


def _loop(file: h5py.File) -> None:
    file["layer/1/type"][0] = b"dense_rec"
    file["layer/1/weight_rec"] = 2.0 * np.random.default_rng(3).integers(-40, 60, (3, 3))


def _odd(file: h5py.File) -> None:
    file["layer/1/weight"][...] = np.random.default_rng(4).integers(-128, 127, (3, 4)) | 1


@pytest.mark.parametrize("change", [lambda file: None, _delays, _loop, _odd])
def test_a_file_is_run_as_netx_runs_it(tmp_path: Path, change: Callable[[h5py.File], object]) -> None:
    file = dense_file(tmp_path / "a.net", change)
    x = spikes(120, 4)
    net = read_netx(file)
    assert list(net.nodes) == ["input", "layer1", "layer2"]
    ours, theirs = run(net, x), as_netx_runs_it(file, x)
    assert all(20 < z.sum() < z.size for z in theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a == b).all()


def _biases(file: h5py.File) -> None:
    _delays(file)
    file["layer/1/bias"] = np.int64(60)
    file["layer/2/bias"] = np.int64(90)


def test_biases_act_from_the_first_step_on_as_on_the_chip(tmp_path: Path) -> None:
    file = dense_file(tmp_path / "a.net", _biases)
    x = spikes(120, 4)
    on_chip = run(read_netx(file), x)
    for a, b in zip(on_chip, as_netx_runs_it(file, x, chip_timing=True), strict=True):
        assert (a == b).all() and 20 < b.sum() < b.size
    with_data = run(read_netx(file, chip_timing=False), x)
    for a, b in zip(with_data, as_netx_runs_it(file, x), strict=True):
        assert (a == b).all()
    # Without the bias one is the other, later; with it they differ.
    assert (with_data[1][:-2] != on_chip[1][2:]).sum() > 5


def test_without_biases_the_chip_is_only_later(tmp_path: Path) -> None:
    file = dense_file(tmp_path / "a.net")
    x = spikes(120, 4)
    now, late = run(read_netx(file), x), run(read_netx(file, chip_timing=True), x)
    assert all((a[: -k - 1] == b[k + 1 :]).all() for k, (a, b) in enumerate(zip(now, late, strict=True)))


def test_a_network_with_biases_is_written_with_the_timing_of_the_chip(tmp_path: Path) -> None:
    net, path = conv_net(2), tmp_path / "c.net"
    with pytest.raises(ExportError, match="node 'c': a bias of 128, which acts on the chip from the first step on"):
        write_netx(net, path)
    assert not path.exists()
    x = spikes(30, 2 * 9 * 7, 0.2)
    write_netx(net, path, early_bias=True)
    early = run(read_netx(path), x)
    write_netx(connection_steps(net), path)
    assert [edge.delay_steps for edge in read_netx(path).edges] == [1, 1]
    for a, b, c in zip(run(connection_steps(net), x), run(read_netx(path), x), early, strict=True):
        assert a.any() and (a == b).all() and (a == c).all()
    assert (run(net, x)[0][:-1] != early[0][1:]).any()


def test_delays_before_and_after_are_told_apart(tmp_path: Path) -> None:
    def delay(name: str, values: list[float]) -> torch.Tensor:
        file = dense_file(tmp_path / f"{name}.net", lambda f: f.create_dataset("layer/1/delay", data=values))
        synapse = read_netx(file).edges[0].synapses[0]
        assert isinstance(synapse, RoundedDelays)
        return synapse.delay

    assert delay("after", [1, 2, 3]).tolist() == [[1] * 4, [2] * 4, [3] * 4]
    assert delay("before", [1, 2, 3, 4]).tolist() == [[1, 2, 3, 4]] * 3


def test_odd_weights_are_kept_as_twice_as_much(tmp_path: Path) -> None:
    net = read_netx(dense_file(tmp_path / "a.net", _odd))
    linear, shift = net.edges[0].synapses
    assert isinstance(shift, Shift) and shift.exponent == -1
    assert (linear.weight % 4 == 2).all()
    assert describe(net).edges["input->layer1"].bits == 8


def test_a_layer_without_neurons_never_fires(tmp_path: Path) -> None:
    net = read_netx(dense_file(tmp_path / "a.net", lambda file: file.__delitem__("layer/2/neuron")))
    x = torch.ones(5, 1, 4)
    z, _ = net(x)
    assert not net.neurons()["layer2"].is_spiking and z.shape == (5, 1, 2)


def conv_net(bias: torch.Tensor | int = 0) -> ns.Network:
    torch.manual_seed(0)
    net = ns.Sequential(
        ns.Input((2, 9, 7)),
        ns.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2),
        loihi_neurons(dt=1e-3, du=1000, dv=200, v_th=30, bias_mant=bias, bias_exp=6),
        ns.Flatten(),
        ns.Linear(4 * 5 * 6, 5),
        loihi_neurons(dt=1e-3, du=4095, dv=100, v_th=50),
        names=["c", "d"],
    )
    with torch.no_grad():
        for edge in net.edges:
            weight = edge.synapses[-1].weight
            weight.copy_(2 * torch.randint(-50, 60, weight.shape))
    return net


@pytest.mark.parametrize(
    "bias", [0, torch.tensor([1, 0, -2, 3])[:, None, None], torch.arange(4 * 5 * 6).reshape(4, 5, 6) % 7 - 3]
)
def test_a_convolution_comes_back(tmp_path: Path, bias: torch.Tensor | int) -> None:
    net = conv_net(bias)
    net = connection_steps(net) if torch.as_tensor(bias).any() else net
    write_netx(net, tmp_path / "c.net")
    back = read_netx(tmp_path / "c.net")
    assert list(back.nodes) == ["input", "layer1", "layer3"]
    x = spikes(30, 2 * 9 * 7, 0.2)
    ours, theirs = run(net, x), run(back, x)
    assert ours[0].sum() > 50 and ours[1].sum() > 5
    assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))
    same_registers(net, back)


def same_registers(net: ns.Network, back: ns.Network) -> None:
    a, b = describe(net), describe(back)
    for p, q in zip(a.populations.values(), b.populations.values(), strict=True):
        assert p.shape == q.shape
        for key in ("du", "dv", "v_th", "bias_mant"):
            assert np.array_equal(np.broadcast_to(getattr(p, key), p.shape), np.broadcast_to(getattr(q, key), p.shape))
    for c, d in zip(a.edges.values(), b.edges.values(), strict=True):
        assert np.array_equal(c.weight * 2.0**c.exponent, d.weight.reshape(c.weight.shape) * 2.0**d.exponent)
        delays = [np.broadcast_to(e.delay + e.delay_steps, c.weight.shape) for e in (c, d)]
        assert np.array_equal(*delays)


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    loop=st.booleans(),
    delayed=st.sampled_from(["none", "edge", "after", "before"]),
    exponent=st.integers(-2, 1),
    bias=st.integers(-3, 3),
    seed=st.integers(0, 999),
)
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    loop: bool,
    delayed: str,
    exponent: int,
    bias: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    nodes: dict = {"in": ns.Input(sizes[0])}
    edges = []
    names = ["in", *(f"p{k}" for k in range(1, len(sizes)))]
    for k, (n, m) in enumerate(itertools.pairwise(sizes)):
        nodes[names[k + 1]] = loihi_neurons(
            dt=1e-3, du=torch.randint(0, 4000, (m,)), dv=3, v_th=17, bias_mant=bias, bias_exp=6, size=m
        )
        step = 2 * 2 ** max(-exponent, 0)
        weight = (step * torch.randint(-100 // step, 100 // step, (m, n))).float()
        weight[0, 0] = step
        after = [Shift(exponent)] if exponent else []
        if delayed in ("after", "before") and not loop:
            shape = (m, 1) if delayed == "after" or n == m else (1, n)
            synapse: Synapse = RoundedDelays(weight, torch.randint(0, 60, shape).expand(m, n).clone(), dt=1e-3)
            after, synapse.weight = [], weight
        else:
            synapse = ns.Linear(n, m)
            synapse.weight.data.copy_(weight)
        late = 5e-3 if delayed == "edge" and not loop else None
        edges.append(ns.Edge(names[k], names[k + 1], [synapse, *after], late))
        if loop:
            back = ns.Linear(m, m)
            back.weight.data.copy_(weight[:, :1].expand(m, m))
            edges.append(ns.Edge(names[k + 1], names[k + 1], [back, *after]))
    net = ns.Network(nodes, edges)
    net = connection_steps(net) if bias else net
    path = tmp_path_factory.mktemp("netx") / "a.net"
    write_netx(net, path)
    same_registers(net, read_netx(path))


@pytest.mark.parametrize("image", [(2, 4, 4), (2, 1, 1)])
@pytest.mark.parametrize("next_is_conv", [False, True])
def test_images_of_one_pixel_come_back(tmp_path: Path, image: tuple[int, ...], next_is_conv: bool) -> None:
    def kernel(c_in: int, c_out: int, size: int) -> ns.Conv2d:
        conv = ns.Conv2d(c_in, c_out, size)
        conv.weight.data.copy_(2 * torch.randint(-20, 40, conv.weight.shape))
        return conv

    torch.manual_seed(1)
    behind: list = [ns.Flatten(), ns.Linear(3, 2)]
    behind[1].weight.data.copy_(2 * torch.randint(-20, 40, (2, 3)))
    net = ns.Sequential(
        ns.Input(image),
        kernel(2, 3, image[-1]),
        loihi_neurons(dt=1e-3, v_th=30, bias_mant=torch.arange(3)[:, None, None], bias_exp=6),
        *([kernel(3, 2, 1)] if next_is_conv else behind),
        loihi_neurons(dt=1e-3, v_th=20),
        names=["a", "b"],
    )
    net = connection_steps(net)
    write_netx(net, tmp_path / "a.net")
    back = read_netx(tmp_path / "a.net")
    assert [back.shape(name) for name in back.nodes] == [net.shape(name) for name in net.nodes]
    x = spikes(40, 2 * image[-1] ** 2)
    for a, b in zip(run(net, x), run(back, x), strict=True):
        assert a.any() and (a == b).all()


def test_pixels_behind_a_dense_layer_need_no_flatten(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        file["layer/0/shape"][...] = [4, 1, 1]

    assert read_netx(dense_file(tmp_path / "a.net", change)).shape("input") == (4,)


def without_input(file: h5py.File) -> None:
    """Write the layers as a plain export of SLAYER has them: the first one has weights."""
    del file["layer/0"]
    for k in (1, 2):
        file.move(f"layer/{k}", f"layer/{k - 1}")


@pytest.mark.parametrize("change", [lambda file: None, _loop, _biases])
def test_a_file_without_an_input_layer_is_the_same_network(tmp_path: Path, change: Callable) -> None:
    net = read_netx(dense_file(tmp_path / "a.net", change))
    back = read_netx(dense_file(tmp_path / "b.net", lambda file: (change(file), without_input(file))))
    assert list(back.nodes) == ["input", "layer0", "layer1"] and back.shape("input") == (4,)
    x = spikes(100, 4)
    for a, b in zip(run(net, x), run(back, x), strict=True):
        assert a.any() and (a == b).all()


def test_the_shape_of_an_input_that_no_layer_gives(tmp_path: Path) -> None:
    net, path = conv_net(), tmp_path / "c.net"
    write_netx(net, path)
    with h5py.File(path, "a") as file:
        del file["layer/0"]
        for k in range(1, 4):
            file.move(f"layer/{k}", f"layer/{k - 1}")
    x = spikes(30, 2 * 9 * 7, 0.2)
    back = read_netx(path, input_shape=(2, 9, 7))
    assert all((a == b).all() for a, b in zip(run(net, x), run(back, x), strict=True))
    with pytest.raises(FileError, match="is no convolution of"):
        read_netx(path, input_shape=(3, 9, 7))
    with pytest.raises(FileError, match="has no input: Input: shape must hold integers"):
        read_netx(path, input_shape=(0, 9, 7))
    with pytest.raises(FileError, match="leave input_shape out"):
        read_netx(dense_file(tmp_path / "a.net"), input_shape=4)


def _input_neurons(file: h5py.File) -> None:
    file["layer/0/neuron/type"] = "CUBA"
    for key, value in dict(iDecay=4096, vDecay=400, vThMant=1, refDelay=1).items():
        file[f"layer/0/neuron/{key}"] = value
    file["layer/0/bias"] = np.int64(1)


def test_an_input_layer_with_neurons_is_a_population_behind_the_input(tmp_path: Path) -> None:
    path = dense_file(tmp_path / "a.net", _input_neurons)
    net, x = read_netx(path), spikes(100, 4)
    assert list(net.nodes) == ["input", "layer0", "layer1", "layer2"]
    # The input layer takes no step: its neurons receive the data themselves.
    assert [edge.delay_steps for edge in net.edges] == [0, 1, 1]
    v, fired = np.zeros(4, np.int64), np.zeros((100, 4))
    for t in range(100):
        v = np.sign(v) * (abs(v) * (4096 - 400) >> 12) + (x[t] << 6) + (1 << 6)
        fired[t], v = v > 1 << 6, np.where(v > 1 << 6, 0, v)
    ours = run(net, x)
    assert 20 < fired.sum() < fired.size and (ours[0] == fired).all()
    assert all((a == b).all() for a, b in zip(ours[1:], as_netx_runs_it(path, fired, chip_timing=True), strict=True))
    write_netx(net, tmp_path / "b.net")
    back = read_netx(tmp_path / "b.net")
    assert list(back.nodes) == list(net.nodes)
    same_registers(net, back)
    assert all((a == b).all() for a, b in zip(ours, run(back, x), strict=True))


def wrong(name: str, value: object, dtype: object = None) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = np.array(value, dtype) if dtype else value

    return change


def without(name: str) -> Callable[[h5py.File], None]:
    return lambda file: file.__delitem__(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layer"), "/layer is missing"),
        (without("layer/1"), "/layer must hold layers 0 to n - 1; it has '2'"),
        (without("layer/1/type"), "/layer/1/type is missing"),
        (without("layer/1/weight"), "/layer/1/weight is missing"),
        (without("layer/1/shape"), "/layer/1/shape is missing"),
        (without("layer/1/neuron/vThMant"), "/layer/1/neuron/vThMant is missing"),
        (
            wrong("layer/1/type", [b"average"], "S10"),
            "/layer/1/type is 'average', which netx does not run. Pass layers=1",
        ),
        (wrong("layer/1/type", [b"input"], "S10"), "/layer/1/type is 'input'; only the first layer can be an input"),
        (wrong("layer/0/type", [b"dense"], "S10"), "/layer/0/weight is missing"),
        (wrong("layer/0/type", [b"conv"], "S10"), "is 'conv', and no input layer is before it; pass input_shape="),
        (wrong("layer/0/type", [b"flatten"], "S10"), "is 'flatten', and no input layer is before it; pass"),
        (wrong("layer/1/type", [b"lstm"], "S10"), "/layer/1/type is 'lstm'; input, flatten, dense, dense_rec and conv"),
        (wrong("layer/1/type", 3), "/layer/1/type is of type int64, where text is expected"),
        (wrong("layer/0/shape", [4, 0, 1]), "/layer/0/shape is [4, 0, 1]; one to three numbers from 1"),
        (wrong("layer/0/shape", [2, 2, 1]), "/layer/1/type is dense, but its input is [2, 2, 1]"),
        (wrong("layer/1/weight", np.ones((3, 5))), "/layer/1/weight is of shape [3, 5], where [3, 4] is expected"),
        (wrong("layer/1/weight", np.ones((3, 4, 2))), "/layer/1/weight is of shape [3, 4, 2], where 2 axes"),
        (wrong("layer/1/weight", np.full((3, 4), 0.5)), "/layer/1/weight holds 0.5, where integers"),
        (wrong("layer/1/weight", np.full((3, 4), np.nan)), "/layer/1/weight holds NaN"),
        (wrong("layer/1/weight", np.full((3, 4), 256)), "/layer/1/weight holds weights from 256 to 256; at most 255"),
        (wrong("layer/1/weight", np.eye(3, 4) * 201 - 1), "/layer/1/weight holds weights from -1 to 200"),
        (wrong("layer/1/inFeatures", 5), "/layer/1/inFeatures is 5, where 4 is expected"),
        (wrong("layer/1/delay", [1.0, 2.0]), "/layer/1/delay is of shape [2]; one number, 3 or 4"),
        (wrong("layer/1/delay", 63.0), "/layer/1/delay holds 63 steps; 0 to 62"),
        (wrong("layer/1/delay", 1.5), "/layer/1/delay holds 1.5, where integers"),
        (wrong("layer/1/bias", [1, 2]), "/layer/1/bias is of shape [2]; 3 numbers are expected"),
        (wrong("layer/1/bias", 5000), "/layer/1/neuron is out of range: loihi_neurons: bias_mant must be"),
        (wrong("layer/1/neuron/type", "RF"), "/layer/1/neuron/type is 'RF'; CUBA and LOIHI are read"),
        (wrong("layer/1/neuron/iDecay", 9999), "/layer/1/neuron is out of range: loihi: du must be"),
        (wrong("layer/1/neuron/iDecay", [1, 2]), "/layer/1/neuron/iDecay is of shape [2]; one number, or one for each"),
        (wrong("layer/1/neuron/refDelay", 3), "/layer/1/neuron/refDelay is above 1"),
        (wrong("layer/1/neuron/messageBits", 8), "/layer/1/neuron/messageBits is above 0"),
        (wrong("layer/1/neuron/gradedSpike", True), "/layer/1/neuron/gradedSpike is true"),
        (wrong("layer/0/neuron/type", "SDNN"), "/layer/0/neuron/type is 'SDNN'; CUBA and LOIHI are read"),
        (wrong("layer/2/weight", h5py.SoftLink("/layer/1/weight")), "/layer/2/weight is a link"),
    ],
)
def test_a_wrong_file_is_refused_by_place_and_left_alone(
    tmp_path: Path, change: Callable[[h5py.File], object], message: str
) -> None:
    path = dense_file(tmp_path / "a.net", change)
    before = path.read_bytes()
    with pytest.raises(FileError) as caught:
        read_netx(path)
    assert message in str(caught.value) and str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_a_recurrent_layer_with_delays_is_refused(tmp_path: Path) -> None:
    path = dense_file(tmp_path / "a.net", lambda file: (_loop(file), _delays(file)))
    with pytest.raises(FileError, match="is in a recurrent layer, where netx drops"):
        read_netx(path)


def test_only_so_many_layers_are_read(tmp_path: Path) -> None:
    path = dense_file(tmp_path / "a.net", wrong("layer/3/type", [b"average"], "S10"))
    assert list(read_netx(path, layers=2).nodes) == ["input", "layer1"]
    for layers in (0, 5):
        with pytest.raises(FileError, match=f"layers must be 1 to 4, got {layers}"):
            read_netx(path, layers=layers)
    with pytest.raises(FileError, match="holds no layer of neurons"):
        read_netx(path, layers=1)


def small(**changes: object) -> ns.Network:
    net = ns.Sequential(ns.Linear(3, 2), loihi_neurons(dt=1e-3, **changes), names=["a"])
    net.edges[0].synapses[0].weight.data.copy_(torch.tensor([[2.0, -4, 6], [8, 2, 4]]))
    return net


def _loop_of_two_steps() -> ns.Network:
    net = small(v_th=9)
    loop = ns.Linear(2, 2)
    loop.weight.data.fill_(2)
    edges = [ns.Edge("input", "a", net.edges[0].synapses[0]), ns.Edge("a", "a", loop, delay=2e-3)]
    return ns.Network({"input": ns.Input(3), "a": net.populations()["a"]}, edges)


def _two_ways() -> ns.Network:
    net = small(v_th=9)
    edges = [ns.Edge("input", "a", net.edges[0].synapses[0], name=f"e{k}") for k in range(2)]
    return ns.Network({"input": ns.Input(3), "a": net.populations()["a"]}, edges)


def _pooled() -> ns.Network:
    net = ns.Sequential(ns.Input((1, 4, 4)), ns.SumPool2d(2), ns.Conv2d(1, 1, 2), loihi_neurons(dt=1e-3))
    net.edges[0].synapses[1].weight.data.fill_(2)
    return net


def _rounded() -> ns.Network:
    net = ns.Sequential(ns.Linear(3, 2), Shift(-2), loihi_neurons(dt=1e-3))
    net.edges[0].synapses[0].weight.data.fill_(2)
    return net


def _every_synapse() -> ns.Network:
    delays = RoundedDelays(torch.full((2, 2), 2.0), torch.tensor([[0, 1], [2, 3]]), dt=1e-3)
    return ns.Network({"input": ns.Input(2), "a": loihi_neurons(dt=1e-3)}, [ns.Edge("input", "a", delays)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: connection_steps(small(bias_mant=3)), "node 'a': a bias of 3; netx holds multiples of 64"),
        (lambda: small(bias_mant=64), "node 'a': a bias of 64, which acts on the chip from the first step on"),
        (lambda: small(v_th=None), "node 'a': never fires"),
        (lambda: small(refractory=3), "node 'a': a refractory delay, which netx drops"),
        (_loop_of_two_steps, "a loop of netx takes one step"),
        (_two_ways, "node 'a': its edges are e0, e1; a file has one"),
        (_pooled, "netx has no pooling"),
        (_rounded, "Shift(-2) rounds sums of weights that are no multiples of 4"),
        (_every_synapse, "its delays differ from synapse to synapse"),
        (lambda: ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=1e-3)), "Loihi cannot hold this network in integers"),
    ],
)
def test_what_netx_cannot_hold_is_refused(tmp_path: Path, make: Callable[[], ns.Network], message: str) -> None:
    with pytest.raises(ExportError) as caught:
        write_netx(make(), tmp_path / "a.net")
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def listed(delays: list[int]) -> ns.Network:
    connections = torch.tensor([[0, 0, 1, 1], [0, 2, 1, 1]])
    synapse = DelayedSparse(3, 2, connections, torch.tensor(delays), torch.tensor([2.0, 4.0, 6.0, -8.0]), dt=1e-3)
    return ns.Network({"input": ns.Input(3), "a": loihi_neurons(dt=1e-3, v_th=5)}, [ns.Edge("input", "a", synapse)])


def test_listed_synapses_with_a_delay_for_each_neuron_are_written(tmp_path: Path) -> None:
    net = listed([2, 2, 5, 5])
    write_netx(net, tmp_path / "a.net")
    read = read_netx(tmp_path / "a.net")
    x = (torch.rand(40, 2, 3, generator=torch.Generator().manual_seed(0)) < 0.5).float() * 100
    assert torch.equal(read(x)[0], net(x)[0]) and net(x)[0].any()
    with pytest.raises(ExportError, match="its delays differ from synapse to synapse"):
        write_netx(listed([2, 3, 4, 5]), tmp_path / "b.net")


@pytest.mark.skipif("NEUROSIM_DATA" not in os.environ, reason="set NEUROSIM_DATA to a folder with loihi/ntidigits.net")
def test_a_recorded_network_of_lava_dl_is_reproduced() -> None:
    folder = Path(os.environ["NEUROSIM_DATA"]) / "loihi"
    net = read_netx(folder / "ntidigits.net", layers=5)
    x = torch.from_numpy(np.load(folder / "input.npy")).float().T.reshape(3000, 1, 1, 1, 64)
    with torch.no_grad():
        z = net(x)[0][:, 0].numpy()
    recorded = np.load(folder / "output.npy").T
    # Each of three connections takes a step on the chip, and the recording begins one step early.
    late = np.concatenate((np.zeros((4, 242)), z[:-4]))
    assert recorded.size == 726_000 and recorded.sum() == 22_572
    assert int((late != recorded).sum()) == 0
