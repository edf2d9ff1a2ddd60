"""Some values of a variable: of some neurons, at some times."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import neurosim as ns
from neurosim.circuit import FixedInDegree, OneToOne, Poisson
from neurosim.errors import FileError, InputError, UnitError

DT = 1e-4


def network(size=150):
    return ns.Network(
        {"x": Poisson(9000.0, size), "E": ns.LIF(dt=DT, size=size, r=200.0)},
        [
            ns.Edge("x", "E", ns.Drawn(OneToOne(), weight=0.2)),
            ns.Edge("E", "E", ns.Drawn(FixedInDegree(10), weight=0.1, delay=5 * DT)),
        ],
    )


@pytest.mark.parametrize("engine", ["circuit", "layered"])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"neurons": 3},
        {"neurons": [140, 2, 70, 3], "every": 7 * DT},
        {"neurons": [149], "every": 10 * DT, "start": 33 * DT, "stop": 181 * DT},
        {"start": 5 * DT, "stop": 5 * DT},
        {"start": 150 * DT, "every": 3 * DT},
    ],
)
def test_a_trace_holds_the_values_that_it_names(tmp_path, arguments, engine):
    net = network()
    whole = ns.simulate(net, steps=300, seed=2, record=["E.v"], engine=engine).traces["E.v"]
    trace = ns.Trace("E.v", **arguments)
    chosen = arguments.get("neurons", 150)
    neurons = np.arange(chosen) if isinstance(chosen, int) else chosen
    to_steps = {name: round(arguments[name] / DT) for name in ("every", "start", "stop") if name in arguments}
    steps = np.arange(to_steps.get("start", 0), to_steps.get("stop", 300), to_steps.get("every", 1))
    wanted = whole[steps][..., neurons]
    run = ns.simulate(net, steps=300, seed=2, record=[trace, "E"], engine=engine, chunk=41)
    for path in (None, tmp_path / "one.h5", tmp_path / "many.h5"):
        if path is not None:
            every = 60.0 if path.name == "one.h5" else 0.0
            run = ns.simulate(
                net, steps=300, seed=2, record=[trace, "E"], engine=engine, chunk=41, path=path, checkpoint=every
            )
        with run:
            assert np.array_equal(np.asarray(run.traces["E.v"][:]), wanted)
            assert np.allclose(run.times("E.v"), steps * DT)
            assert list(run.samplings["E.v"].neurons) == list(neurons)
            assert len(run.spikes["E"]) > 100
    run = ns.simulate(net, steps=300, seed=2, record=[trace], engine=engine)
    run.save(tmp_path / "saved.h5")
    with ns.Recording.load(tmp_path / "saved.h5") as stored:
        assert np.array_equal(stored.traces["E.v"][:], wanted)
        assert np.array_equal(stored.times("E.v"), run.times("E.v"))


def test_r18_what_a_trace_takes_does_not_grow_with_the_population():
    sizes = []
    for size in (100, 400):
        run = ns.simulate(network(size), steps=100, record=[ns.Trace("E.v", neurons=10)], engine="circuit")
        sizes.append(run.traces["E.v"].nbytes)
    assert sizes[0] == sizes[1] == 100 * 10 * 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(variable="E.v", neurons=[150]), InputError, "'E' has neurons 0 ... 149; got 150"),
        (dict(variable="E.v", neurons=[-1]), InputError, "neurons must be 0 or more; got -1"),
        (dict(variable="E.v", neurons=0), InputError, "neurons must be integers, at least one; got 0"),
        (dict(variable="E.v", every=0.5 * DT), UnitError, "every must be an integer number of steps"),
        (dict(variable="E.v", every=0.0), InputError, "every must be a step of 0.0001 s or more"),
        (dict(variable="E"), InputError, 'variable must be "node.variable"'),
        (dict(variable="x.v"), InputError, 'variable must be "node.variable"'),
    ],
)
def test_what_cannot_be_traced_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        ns.simulate(network(), steps=10, record=[ns.Trace(**arguments)])


def test_one_trace_is_no_list_and_a_variable_is_named_once():
    with pytest.raises(InputError, match=r"record must be a sequence of names; got Trace"):
        ns.simulate(network(), steps=10, record=ns.Trace("E.v"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'E\.v' is recorded twice"):
        ns.simulate(network(), steps=10, record=[ns.Trace("E.v", 1), ns.Trace("E.v", 2)])
    run = ns.simulate(network(), steps=10, record=["E"])
    with pytest.raises(InputError, match=r"no trace 'E.v'; this recording has \[\]"):
        run.times("E.v")


@pytest.mark.parametrize(
    ("name", "value"), [("steps", [0, 5]), ("steps", [0, 5, 0]), ("neurons", [1.5]), ("neurons", [1, 2])]
)
def test_a_damaged_trace_is_refused(tmp_path, name, value):
    path = tmp_path / "run.h5"
    ns.simulate(network(), steps=20, record=[ns.Trace("E.v", [3], every=4 * DT)], path=path).close()
    with h5py.File(path, "r+") as file:
        file["traces/E.v"].attrs[name] = value
    with pytest.raises(FileError, match="is not a complete recording"):
        ns.Recording.load(path)
