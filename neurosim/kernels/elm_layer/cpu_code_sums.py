"""Machine code of the gradients of weights of a layer of ELM neurons: sums over steps and samples."""

from __future__ import annotations

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.kernels.elm_layer.sample_lanes import SampleLoop, Sizes

_TILE = 4


def outer_code(real: str, lanes: int, left: int, right: int) -> IRBuilder:
    """Return the kernel of ``sum over t, p of x[t, n, i, p] y[t, n, k, p]`` [N, left, right].

    Arguments: x [T, N, left, P], y [T, N, right, P], result; units (neurons), steps, neurons, width P.
    """
    loop = SampleLoop(
        Sizes(real, lanes, right, 1, left, 1, False), ("x", "y", "result"), ("steps", "neurons", "width"), ()
    )
    code, neurons = loop.code, loop.numbers["neurons"]
    with code.loop(loop.first, loop.last) as n:
        target = code.address(loop.arrays["result"], loop.times(n, str(left * right)))
        for rows in _tiles(left):
            for columns in _tiles(right):
                with code.loop(*rows[:3]) as i, code.loop(*columns[:3]) as k:
                    totals = {(a, b): code.variable() for a in range(rows[3]) for b in range(columns[3])}
                    for total in totals.values():
                        code.store_variable(total, code.literal(0.0))
                    with code.loop("0", loop.numbers["steps"]) as t, code.loop("0", loop.width, str(lanes)) as lane:
                        loop.lane = lane
                        x = loop.row("x", ("0", t), (neurons, n), (str(left), i))
                        y = loop.row("y", ("0", t), (neurons, n), (str(right), k))
                        values = [loop.vector(y, str(b)) for b in range(columns[3])]
                        for a in range(rows[3]):
                            value = loop.vector(x, str(a))
                            for b, other in enumerate(values):
                                loop.add_product(totals[a, b], value, other)
                    for (a, b), total in totals.items():
                        place = loop.plus(loop.times(loop.plus(i, str(a)), str(right)), loop.plus(k, str(b)))
                        code.store_scalar(real, code.lane_sum(code.load_variable(total)), target, place)
    return code


def _tiles(count: int) -> list[tuple[str, str, str, int]]:
    """Return start, stop, step and size of tiles, full ones and the rest."""
    whole = count // _TILE * _TILE
    found = [("0", str(whole), str(_TILE), _TILE)] if whole else []
    return found + ([(str(whole), str(count), str(count - whole), count - whole)] if whole < count else [])


def synapse_code(sizes: Sizes) -> IRBuilder:
    """Return the kernel of ``sum over t, p of g[t, n, j, p] z[t, route[n, j, s], p]`` [N, J, S].

    Arguments: g [T, N, J, P], z [T + 1, R, P], routes, result; units (neurons), steps, neurons, sources R, width P.
    """
    arrays, numbers = ("g", "sources", "routes", "result"), ("steps", "neurons", "all_sources", "width")
    loop = SampleLoop(sizes, arrays, numbers, ())
    code, j, s = loop.code, str(sizes.branches), str(sizes.synapses)
    with code.loop(loop.first, loop.last) as n, code.loop("0", j) as branch:
        first = loop.times(loop.plus(loop.times(n, j), branch), s)

        def terms(numbers: list[str], totals: list[str]) -> None:
            routes = [code.load_index(loop.arrays["routes"], loop.plus(first, number)) for number in numbers]
            with code.loop("0", loop.numbers["steps"]) as t, code.loop("0", loop.width, str(sizes.lanes)) as lane:
                loop.lane = lane
                g = code.load(loop.row("g", ("0", t), (loop.numbers["neurons"], n), (j, branch)), "0")
                z = loop.row("sources", ("0", t), (loop.numbers["all_sources"], "0"))
                for route, total in zip(routes, totals, strict=True):
                    loop.add_product(total, g, loop.vector(z, route))

        def done(number: str, total: str) -> None:
            code.store_scalar(sizes.real, code.lane_sum(total), loop.arrays["result"], loop.plus(first, number))

        loop.sums(sizes.synapses, lambda _: code.literal(0.0), [(1, lambda _, *block: terms(*block))], done)
    return code
