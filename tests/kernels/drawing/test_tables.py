"""Tables of rows hold the synapses that their projections draw, in every format."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.compiler.llvm import threads
from neurosim.errors import InputError
from neurosim.kernels.drawing import cpu, cpu_tables, memory, reference, reference_tables
from neurosim.kernels.drawing.arguments import WEIGHTS, Levels, Pairs
from neurosim.kernels.drawing.plan import Projection, RowTable, plan_tables
from neurosim.kernels.drawing.tables import row_tables
from neurosim.kernels.drawing.words import row_words
from neurosim.synapses.connectivity import (
    AllToAll,
    Bernoulli,
    ConnectionRule,
    FixedInDegree,
    FixedOutDegree,
    FixedTotal,
    OneToOne,
)
from neurosim.synapses.distributions import Normal, Uniform
from neurosim.synapses.drawn import Drawn

N = 60
RULES = [
    FixedInDegree(9),
    FixedInDegree(9, "excluded", "excluded"),
    FixedInDegree(40, "excluded"),
    FixedOutDegree(9, autapses="excluded"),
    FixedOutDegree(50, "excluded"),
    FixedTotal(300),
    FixedTotal(300, "excluded", "excluded"),
    FixedTotal(3000, "excluded"),
    Bernoulli(0.1, "excluded"),
    Bernoulli(0.02),
    OneToOne(),
    AllToAll("excluded"),
]
WEIGHT = Normal(0.5, 0.1, low=0.0, outside="redrawn")
DELAY = Normal(1.5e-3, 0.75e-3, low=0.1e-3, outside="redrawn")


def bound(rule: ConnectionRule, name: str = "a->a", **given: object) -> Drawn:
    return Drawn(rule, **given).bind(N, N, name, 3, 1e-4, True)  # type: ignore[arg-type]


def listed(table: RowTable) -> Tensor:
    """Return pre, slot, delay and weight in units of the port of each synapse [n, 4], sorted."""
    first, end = table.slots
    if table.kind == "bits":
        bits = np.unpackbits(table.post.numpy().view(np.uint8), axis=1, bitorder="little")
        pre, slot = np.nonzero(bits)
        delay, weight = np.full(len(pre), table.delays[0]), np.full(len(pre), table.weight)
    else:
        assert table.starts is not None and table.starts.dtype is torch.int64
        groups = len(table.delays)
        place = np.repeat(np.arange(table.n_in * groups), np.diff(table.starts.numpy()))
        pre, group = np.divmod(place, groups)
        delay = np.asarray(table.delays)[group]
        post = table.post.numpy()
        if table.kind == "packed":
            word = post.view(np.uint32).astype(np.int64)
            slot, weight = word >> 15, (word & 0x7FFF) * table.weight
        else:
            slot = post.astype(np.int64)
            weight = np.full(len(pre), table.weight) if table.kind == "constant" else table.weight.numpy()
    assert (slot < end - first).all()
    rows = np.stack((pre, slot + first, delay, weight), 1)
    return torch.from_numpy(rows[np.lexsort(rows.T[::-1])])


def expected(*projections: Projection) -> Tensor:
    """Return the same of the synapses one by one."""
    rows = []
    for drawn, offset, steps, unit in projections:
        one = drawn.materialised()
        post, pre = one.connections
        delay = one.delay if hasattr(one, "delay") else torch.full_like(post, drawn.min_delay)
        weight = one.weight.detach().double() / unit
        rows.append(torch.stack((pre, post + offset, delay + steps, weight.long()), 1))
        assert torch.equal(weight, weight.long().double())
    every = torch.cat(rows).numpy()
    return torch.from_numpy(every[np.lexsort(every.T[::-1])])


KINDS = {
    "one weight": dict(weight=-0.3, delay=1.5e-3),
    "packed": dict(weight=WEIGHT, delay=DELAY),
    "wide": dict(weight=Normal(0.0, 1.0), delay=Uniform(0.0, 1e-3)),
    "one weight, delays": dict(weight=0.3, delay=DELAY),
}


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_table_holds_the_synapses_of_the_rule(rule, kind):
    drawn = bound(rule, **KINDS[kind])
    projection = Projection(drawn, 17, 2, drawn.unit / 4)
    (table,) = row_tables([projection])
    is_dense = not isinstance(rule, OneToOne) and rule not in (FixedInDegree(9), FixedOutDegree(9, autapses="excluded"))
    is_dense &= rule not in (FixedTotal(300), Bernoulli(0.02))
    kinds = {"one weight": "bits" if is_dense else "constant", "one weight, delays": "constant"}
    assert table.kind == kinds.get(kind, kind) and table.slots == (17, 17 + N)
    assert torch.equal(listed(table), expected(projection))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_code_draws_the_same_bits(rule, kind, workers, monkeypatch):
    """R3, R17: for any number of threads, and rows at a time."""
    monkeypatch.setattr(threads, "forced", workers)
    monkeypatch.setattr(cpu_tables, "CHUNK", 100)
    monkeypatch.setattr(cpu, "PIECE", 64)
    given = KINDS[kind]
    one, two = bound(rule, "a->a", **given), bound(rule, "a->b", **given)
    for array, same in zip(reference.draw(one.drawing), cpu.draw(one.drawing), strict=True):
        assert np.array_equal(array, same)
    for plan in plan_tables([Projection(one, 17, 2, one.unit / 4), Projection(two, 17 + N, 2, one.unit / 4)]):
        defined, compiled = reference_tables.draw_table(plan), cpu_tables.draw_table(plan)
        for a, b in zip(defined, compiled, strict=True):
            assert torch.equal(a, b) if isinstance(a, Tensor) else a == b


@pytest.mark.parametrize("offset", [0, N])
@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_shared_by_threads(kind, offset, monkeypatch):
    monkeypatch.setattr(threads, "forced", 3)
    drawn = Drawn(FixedInDegree(9, "excluded"), **KINDS[kind]).bind(N, 300, "a->b", 3, 1e-4, False)
    assert len(cpu.Structure(drawn.drawing.pairs, drawn.drawing.key)._columns()) == 3
    low = Drawn(FixedInDegree(9, "excluded"), **KINDS[kind]).bind(N, N, "a->a", 3, 1e-4, False)
    parts = [Projection(low, 0, 0, low.unit), Projection(drawn, N, 0, drawn.unit)]
    plan = plan_tables(parts[1 if offset == 0 else 0 :])[-1]
    defined, compiled = reference_tables.draw_table(plan), cpu_tables.draw_table(plan)
    assert torch.equal(defined.post, compiled.post)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_r17_every_format_holds_the_same_matrix(rule):
    """R17: what kind of table a projection gets depends on weights and delays, which leave its pairs as they are."""
    pairs = set()
    for given in KINDS.values():
        drawn = bound(rule, **given)
        (table,) = row_tables([Projection(drawn, 0, 0, drawn.unit)])
        pre, slot = listed(table)[:, :2].T.numpy()
        order = np.lexsort((slot, pre))
        pairs.add(hashlib.sha256(np.stack((pre[order], slot[order])).tobytes()).hexdigest())
    assert len(pairs) == 1


def test_the_matrix_of_a_seed_stays_as_it_is():
    """Golden: of all rules together, for every machine."""
    found = hashlib.sha256()
    for rule in RULES:
        starts, post = cpu.draw_pairs(bound(rule).drawing.pairs, bound(rule).drawing.key)
        found.update(starts.astype("<i8").tobytes() + post.astype("<i4").tobytes())
    assert found.hexdigest()[:16] == "9f10269a734586ec"


def test_a_total_beyond_a_row_of_words(monkeypatch):
    monkeypatch.setattr(threads, "forced", 2)
    drawn = bound(FixedTotal((1 << 20) + 5000))
    for array, same in zip(reference.draw(drawn.drawing), cpu.draw(drawn.drawing), strict=True):
        assert np.array_equal(array, same)


def test_a_word_that_is_a_limit_lies_above_it():
    pairs = Pairs("out", 3, 50, 30, 10, is_distinct=False)
    drawing = bound(FixedOutDegree(10)).drawing._replace(pairs=pairs)
    words = np.sort(row_words(drawing.key, WEIGHTS, np.arange(3), np.full(3, 10)))
    drawing = drawing._replace(weight=Levels(0, words.astype(np.uint32)))
    defined = reference.draw(drawing).weight
    assert np.array_equal(np.sort(defined), np.arange(1, 31)) and np.array_equal(defined, cpu.draw(drawing).weight)


def test_rules_by_row_by_column_and_listed_share_a_table():
    rules = (FixedInDegree(9), FixedOutDegree(9), FixedTotal(300, "excluded"), FixedTotal(300), OneToOne())
    parts = [bound(rule, str(n), **KINDS["packed"]) for n, rule in enumerate(rules)]
    plans = plan_tables([Projection(part, 70 * n, n, part.unit) for n, part in enumerate(parts)])
    (plan,) = plans
    defined, compiled = reference_tables.draw_table(plan), cpu_tables.draw_table(plan)
    assert torch.equal(defined.starts, compiled.starts) and torch.equal(defined.post, compiled.post)


def test_a_large_table_lies_in_pages_of_its_own():
    (large, small) = (memory.zeros((count, 2), np.int32) for count in (3 << 20, 10))
    assert large.shape == (3 << 20, 2) and not large.any() and large.flags.writeable
    assert torch.from_numpy(large).fill_(3)[-1].tolist() == [3, 3] and not small.any()


def test_memory_that_is_free(tmp_path):
    free = memory.available()
    assert free is None or free > 1 << 20
    assert memory._left_of_group(tmp_path) is None
    (tmp_path / "memory.max").write_text("max")
    (tmp_path / "memory.current").write_text("30")
    assert memory._left_of_group(tmp_path) is None
    (tmp_path / "memory.max").write_text("100")
    assert memory._left_of_group(tmp_path) == 70


def test_projections_of_one_sign_share_a_table():
    strong = Normal(1.0, 0.1, low=0.0, outside="redrawn")
    parts = [bound(RULES[5], "a->a", weight=WEIGHT, delay=DELAY), bound(RULES[0], "a->b", weight=strong, delay=1e-3)]
    unit = min(part.unit for part in parts)
    projections = [Projection(parts[1], 100, 0, unit), Projection(parts[0], 10, 0, unit)]
    (table,) = row_tables(projections)
    assert table.kind == "packed" and table.slots == (10, 160) and table.weight == 1
    assert torch.equal(listed(table), expected(*projections))
    negative = bound(RULES[0], "a->c", weight=Normal(-1.0, 0.1, high=0.0, outside="redrawn"))
    tables = row_tables([*projections, Projection(negative, 200, 0, unit)])
    assert [(each.kind, each.slots) for each in tables] == [("packed", (10, 160)), ("packed", (200, 260))]
    assert tables[1].weight == -(negative.unit / unit)


def test_projections_of_one_weight_and_delay_share_a_table():
    rules = (Bernoulli(0.2), FixedInDegree(20, "excluded"), FixedInDegree(30))
    bits, more, multapses = (bound(rule, rule.__class__.__name__, weight=0.5, delay=1e-3) for rule in rules)
    projections = [Projection(bits, 0, 0, bits.unit), Projection(more, N, 0, more.unit)]
    (table,) = row_tables(projections)
    assert table.kind == "bits" and table.slots == (0, 2 * N)
    assert torch.equal(listed(table), expected(*projections))
    tables = row_tables(
        [*projections, Projection(multapses, 2 * N, 0, bits.unit), Projection(bits, 3 * N, 7, bits.unit)]
    )
    assert [each.kind for each in tables] == ["bits", "constant", "bits"]


def test_the_bytes_of_a_plan_are_those_of_the_table():
    for given in (dict(weight=0.3), dict(weight=0.3, delay=DELAY), dict(weight=WEIGHT), dict(weight=Normal(0.0, 1.0))):
        drawn = bound(FixedOutDegree(9, "excluded"), **given)
        (plan,) = plan_tables([Projection(drawn, 0, 0, drawn.unit)])
        (table,) = row_tables([Projection(drawn, 0, 0, drawn.unit)])
        assert (plan.kind, plan.nbytes) == (table.kind, table.nbytes)


def test_what_does_not_fit_a_table_is_refused():
    drawn = bound(FixedOutDegree(9), weight=WEIGHT)
    for unit in (drawn.unit * 2, drawn.unit * 0.3):
        with pytest.raises(InputError, match="unit of the port must be a power of two of at most"):
            row_tables([Projection(drawn, 0, 0, unit)])
    with pytest.raises(InputError, match=r"weights reach .* units of the port"):
        row_tables([Projection(drawn, 0, 0, drawn.unit * 2.0**-20)])
    with pytest.raises(InputError, match="slots must lie in"):
        row_tables([Projection(drawn, (1 << 31) - 5, 0, drawn.unit)])
    other = Drawn(FixedOutDegree(9), 0.5).bind(N + 1, N, "b->a", 3, 1e-4, False)
    with pytest.raises(InputError, match=r"must leave one population; got \[60, 61\] neurons"):
        row_tables([Projection(drawn, 0, 0, drawn.unit), Projection(other, 0, 0, other.unit)])


def test_a_drawn_is_bound_by_its_network():
    nodes = {"x": ns.Input(N), "a": ns.LIF(dt=1e-4, size=N)}
    net = ns.Network(nodes, [ns.Edge("x", "a", Drawn(FixedOutDegree(9), 0.5))])
    drawn = net["x->a"][0]
    (table,) = row_tables([Projection(drawn, 0, 0, drawn.unit)])
    assert table.post.numel() == 9 * N
