"""A whole network in the hands of torch: compiled, differentiated as a function, in mixed precision, over processes."""

from __future__ import annotations

import pytest
import torch
import torch.multiprocessing
from torch.func import functional_call

import neurosim as ns
from neurosim.network.recompute import recomputed


def network(spike=None):
    torch.manual_seed(0)
    net = ns.Network(
        nodes={
            "input": ns.Input((2, 6, 6)),
            "picture": ns.LIF(dt=1e-3, spike=spike),
            "hidden": ns.ALIF(dt=1e-3, size=20, learn=("tau_mem",), spike=spike),
            "loop": ns.CubaLIF(dt=1e-3, spike=spike),
            "out": ns.LI(dt=1e-3),
        },
        edges=[
            ns.Edge("input", "picture", ns.Conv2d(2, 4, 3)),
            ns.Edge("picture", "hidden", (ns.SumPool2d(2), ns.Flatten(), ns.Linear(16, 20, bias=True))),
            ns.Edge("hidden", "loop", ns.Linear(20, 12)),
            ns.Edge("loop", "loop", ns.Linear(12, 12)),
            ns.Edge("loop", "out", ns.Linear(12, 5)),
        ],
    )
    with torch.no_grad():
        for name, weight in net.synapses.named_parameters():
            weight.mul_(40.0 if "picture->" not in name else 16.0)
    return net


def data(batch=3):
    return (torch.rand(15, batch, 2, 6, 6) < 0.3).float()


def loss_of(z):
    return (z * torch.linspace(-1.0, 1.0, z.shape[-1])).square().sum(0).mean()


def gradients(net, x, call=None):
    z, _ = (net if call is None else call)(x)
    assert z.detach().any()
    return z.detach(), torch.autograd.grad(loss_of(z), list(net.parameters()))


def same(a, b, rtol=1e-4):
    return all(torch.allclose(x, y, rtol=rtol, atol=1e-6) for x, y in zip(a, b, strict=True))


@pytest.mark.usefixtures("product")
@pytest.mark.parametrize("spike", [ns.atan(), ns.triangle()], ids=["atan", "triangle"])
def test_compiled_whole(spike):
    net, x = network(spike), data()
    z, expected = gradients(net, x)
    torch.compiler.reset()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    found_z, found = gradients(net, x, compiled)
    assert torch.allclose(found_z, z, atol=1e-5) and same(found, expected)


def test_compiled_once_for_all_batches():
    net = network()
    torch.compiler.reset()
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend=count)
    with torch.no_grad():
        for batch in (3, 4, 7):
            x = data(batch)
            assert torch.equal(compiled(x)[0], net(x)[0])
    assert len(graphs) == 1


@pytest.mark.usefixtures("product")
def test_gradients_of_each_sample():
    net, x = network(), data()
    weights = {name: weight.detach() for name, weight in net.named_parameters()}

    def loss(given, sample):
        return loss_of(functional_call(net, given, (sample.unsqueeze(1),))[0])

    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(weights, x)
    for number in range(x.shape[1]):
        _, expected = gradients(net, x[:, number : number + 1])
        assert same([found[name][number] for name in weights], expected)
    outputs = torch.func.vmap(lambda sample: net(sample.unsqueeze(1))[0], in_dims=1, out_dims=1)(x)
    assert torch.equal(outputs.squeeze(2), net(x)[0])


def test_gradient_of_a_function_of_the_weights():
    net, x = network(), data()
    weights = {name: weight.detach() for name, weight in net.named_parameters()}
    found = torch.func.grad(lambda given: loss_of(functional_call(net, given, (x,))[0]))(weights)
    _, expected = gradients(net, x)
    assert same([found[name] for name in weights], expected)


def test_autocast_changes_the_precision_of_products_at_most():
    net, x = network(), data()
    z, _ = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, state = net(x)
    assert half.shape == z.shape and state.nodes["hidden"].v.dtype is torch.float32
    # Spikes may part where a bfloat16 sum came out on the other side of threshold.
    assert (half.float() - z).abs().mean() < 0.2 * z.abs().mean()


def test_work_done_again_is_done_in_the_same_precision():
    weight, x = torch.randn(5, 7, requires_grad=True), torch.randn(10, 3, 7)

    def work(xs, state):
        return torch.nn.functional.linear(xs[0], weight), state

    found = []
    for call in (lambda: work([x], ())[0], lambda: recomputed(work, [x], (), [weight])[0]):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = call()
        assert out.dtype is torch.bfloat16
        found.append(torch.autograd.grad(out.float().square().sum(), weight)[0])
    assert (found[0] - found[1]).abs().max() < 0.05 * found[1].abs().max()


def _work_of_one(rank: int, file: str, results: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    net = torch.nn.parallel.DistributedDataParallel(network())
    x = data(4)
    z, _ = net(x[:, 2 * rank : 2 * rank + 2])
    loss_of(z).backward()
    if rank == 0:
        torch.save([p.grad for p in net.parameters()], results)
    torch.distributed.destroy_process_group()


def test_two_processes_share_a_batch(tmp_path):
    results = tmp_path / "gradients.pt"
    torch.multiprocessing.spawn(_work_of_one, (str(tmp_path / "meeting"), str(results)), nprocs=2)
    _, expected = gradients(network(), data(4))
    assert same(torch.load(results), expected)
