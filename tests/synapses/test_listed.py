"""Synapses from SciPy and from tables of edges: each where it was listed, and errors that name row and column."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

import neurosim as ns
from neurosim.circuit import FixedOutDegree, FromSciPy, FromTable, Normal, Uniform
from neurosim.errors import FileError, InputError, NetworkError, NeurosimError
from neurosim.kernels.drawing.plan import Projection
from neurosim.kernels.drawing.tables import row_tables

DT = 1e-3
HEADER = "pre,post,weight,delay\n"


def bound(rule: object, n_in: int = 4, n_out: int = 3, **given: object) -> ns.Drawn:
    return ns.Drawn(rule, **given).bind(n_in, n_out, "a->b", 0, DT, False)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_a_matrix_of_scipy_comes_back_as_it_was(form):
    """R11: weights in and out as arrays."""
    chance = np.random.default_rng(0)
    dense = np.where(chance.random((30, 40)) < 0.2, np.rint(chance.normal(0, 50, (30, 40))), 0.0)
    synapse = bound(FromSciPy(scipy.sparse.csr_array(dense).asformat(form)), 40, 30, delay=2e-3)
    matrix = synapse.to_scipy()
    assert matrix.shape == (30, 40) and (matrix.toarray() == dense).all()
    made = synapse.materialised()
    assert made.in_degrees.tolist() == (dense != 0).sum(1).tolist() == synapse.in_degrees.tolist()
    assert made.out_degrees.tolist() == (dense != 0).sum(0).tolist() == synapse.out_degrees.tolist()
    again = ns.Sparse.drawn(300, 200, FixedOutDegree(7), seed=1)
    torch.testing.assert_close(torch.from_numpy(again.to_scipy().toarray()), again.dense().detach())


def test_listed_weights_of_a_sparse_synapse_are_exact():
    matrix = scipy.sparse.csr_array(np.array([[0.1, 0.0], [0.3, 0.7]], np.float32))
    assert (ns.Sparse.drawn(2, 2, FromSciPy(matrix), seed=0).to_scipy() != matrix).nnz == 0
    with pytest.raises(InputError, match="lists a weight for each synapse; leave weight= out"):
        ns.Sparse.drawn(2, 2, FromSciPy(matrix), weight=Normal(1.0, 0.1), seed=0)


@pytest.mark.parametrize("n_out", [3, 70_000])
def test_what_a_rule_lists_is_not_changed_by_its_synapses(n_out):
    table = {"pre": [0, 0, 1], "post": [2, 1, 0], "weight": [1.0, 2.0, 3.0], "delay": [2e-3, 5e-3, 3e-3]}
    rule = FromTable(table, weight="weight", delay="delay")
    torch.set_default_dtype(torch.float64)
    try:
        one, two = (bound(rule, 2, n_out).materialised() for _ in range(2))
        plain = ns.Sparse.drawn(2, n_out, FromTable(table, weight="weight"), seed=0)
        with torch.no_grad():
            plain.weight.zero_()
            one.weight.zero_()
    finally:
        torch.set_default_dtype(torch.float32)
    again = bound(rule, 2, n_out).materialised()
    assert two.delay.tolist() == again.delay.tolist() == [2, 5, 3]
    assert again.connections.tolist() == [[2, 1, 0], [0, 0, 1]] and again.weight.tolist() == [1.0, 2.0, 3.0]


def test_a_matrix_of_scipy_takes_a_network_further():
    """The table of the engine has the weights of the matrix; multapses stay several synapses."""
    listed = scipy.sparse.coo_array(([1.0, 2.0, 0.5], ([2, 2, 0], [1, 1, 3])), shape=(3, 4))
    synapse = bound(FromSciPy(listed))
    assert synapse.materialised().multapses == 1 and synapse.plan().synapses == 3
    (table,) = row_tables([Projection(synapse, 0, 1, synapse.unit)])
    assert table.kind == "packed" and table.post.numel() == 3 and table.delays == (1,)
    magnitudes = (table.post & 0x7FFF) * synapse.unit
    assert sorted(magnitudes.tolist()) == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", None])
def test_a_table_of_edges(tmp_path: Path, suffix):
    columns = {
        "pre": np.array([3, 0, 3, 1]),
        "post": np.array([0, 2, 2, 2]),
        "weight": np.array([1.5, -0.25, 3.0, 1.0]),
        "delay": np.array([1.0, 3.0, 1.0, 2.0]),
    }
    table: object = columns
    if suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        table = tmp_path / "edges.parquet"
        __import__("pyarrow.parquet").parquet.write_table(pyarrow.table(columns), table)
    elif suffix:
        table = tmp_path / f"edges{suffix}"
        lines = [columns.keys(), *zip(*(each.tolist() for each in columns.values()), strict=True)]
        mark = "," if suffix == ".csv" else "\t"
        table.write_text("\n".join(mark.join(map(str, line)) for line in lines) + "\n\n", encoding="utf-8")
    synapse = bound(FromTable(table, weight="weight", delay="delay", delay_scale=1e-3))
    made = synapse.materialised()
    assert (made.min_delay, made.memory) == (1, 3) and made.delay.tolist() == [3, 2, 1, 1]
    assert made.connections.tolist() == [[2, 2, 0, 2], [0, 1, 3, 3]] and made.weight.tolist() == [-0.25, 1.0, 1.5, 3.0]
    (row,) = row_tables([Projection(synapse, 10, 0, synapse.unit)])
    assert row.kind == "wide" and row.starts.diff().tolist() == [0, 0, 1, 0, 1, 0, 0, 0, 0, 2, 0, 0]
    given = bound(FromTable(table), weight=Normal(1.0, 0.1), delay=Uniform(1e-3, 2e-3))
    assert given.weight.numel() == 4 and given.min_delay == 1


def test_labels_name_the_neurons(tmp_path: Path):
    path = tmp_path / "edges.csv"
    path.write_text('from,to,n\n"AVAL",PVCR,3\nPVCR,AVAL,2\n', encoding="utf-8")
    rule = FromTable(path, pre="from", post="to", weight="n", pre_labels=["PVCR", "AVAL"])
    assert bound(rule, 2, 2).materialised().dense().tolist() == [[0.0, 3.0], [2.0, 0.0]]
    large = 720_575_940_000_000_000  # beyond what floating point tells apart
    ids = np.array([large, large + 1, large + 2])
    path.write_text(f"pre,post\n{large + 2},{large + 1}\n", encoding="utf-8")
    assert bound(FromTable(path, pre_labels=ids), 3, 3, weight=1.0).materialised().connections.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        (HEADER + "0,1,x,1\n", {}, "edges.csv, row 2, column 'weight': 'x' is not a number."),
        (HEADER + "0,1,2.5,1\n\n0,b,1,1\n", {}, "edges.csv, row 4, column 'post': 'b' is not an integer."),
        (HEADER + "0,1,2.5,1\n0,1\n", {}, "edges.csv, row 3, column 'weight': the row has 2 columns only."),
        (HEADER + "0,1,2.5,1\n\n-1,1,1,1\n", {}, "edges.csv, row 4, column 'pre': -1 is below 0."),
        (HEADER + "0,1,2.5,1\n0,1,nan,1\n", {}, "edges.csv, row 3, column 'weight': nan is not finite."),
        (HEADER + "0,1,1,1\n", dict(pre="source"), "edges.csv: no columns ['source']; it has ['pre', 'post', "),
        (HEADER + "0,7,1,1\n", dict(pre_labels=[0, 1]), "edges.csv, row 2, column 'post': 7 is no label of a neuron."),
        (HEADER + "0,1,1,1\n", dict(pre_labels=[1, 1]), "labels must differ; np.int64(1) is listed twice."),
        ("", {}, "no columns ['pre', 'post', 'weight']; it has []."),
    ],
)
def test_what_is_wrong_in_a_table_is_named(tmp_path: Path, text, given, said):
    path = tmp_path / "edges.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(NeurosimError) as caught:
        FromTable(path, weight="weight", **given)
    assert said.replace("np.int64(1)", repr(np.int64(1))) in str(caught.value)


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda p: FromTable(p / "none.csv"), FileError, "none.csv: no such file."),
        (lambda p: FromTable(made(p / "edges.txt")), InputError, "must be *.csv, *.tsv or *.parquet"),
        (lambda p: FromTable({"pre": [0, 1], "post": [0]}), InputError, "columns must be arrays of one length"),
        (lambda p: FromTable({"pre": [0.5], "post": [0]}), FileError, "column 'pre' must hold integers"),
        (lambda p: FromSciPy(np.eye(3)), InputError, "matrix must be a sparse matrix [n_out, n_in] of scipy.sparse"),
        (lambda p: FromSciPy(scipy.sparse.eye_array(3) * 1j), InputError, "the values must be real numbers"),
        (lambda p: FromSciPy(scipy.sparse.eye_array(3) * np.inf), InputError, "the values must be finite"),
        (
            lambda p: bound(FromSciPy(scipy.sparse.eye_array(3))),
            NeurosimError,
            "must be [n_out, n_in] = [3, 4]; got [3, 3]",
        ),
        (
            lambda p: bound(FromTable({"pre": [5], "post": [0]}), weight=1.0),
            InputError,
            "the table: pre must lie in 0 ... 3",
        ),
        (
            lambda p: bound(FromSciPy(scipy.sparse.eye_array(3)), 3, 3, weight=1.0),
            InputError,
            "lists a weight for each synapse",
        ),
        (
            lambda p: bound(listed(delay=[0.5e-3, 1e-3]), weight=1.0),
            InputError,
            "the listed delays: delay must be an integer number",
        ),
        (
            lambda p: bound(listed(delay=[-1e-3, 1e-3]), weight=1.0),
            InputError,
            "listed delays must be at least 0 s; got -0.001 s",
        ),
        (lambda p: bound(listed(weight=[1e-6, 1.0, 0.09]), bits=4), InputError, "listed weights on a grid of 4 bits"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, make, kind, said):
    with pytest.raises((NeurosimError, NetworkError)) as caught:
        make(tmp_path)
    assert isinstance(caught.value, kind) and said in str(caught.value)


def made(path: Path) -> Path:
    path.write_text("", encoding="utf-8")
    return path


def listed(**columns: list[float]) -> FromTable:
    count = len(next(iter(columns.values())))
    table = {"pre": np.zeros(count, int), "post": np.arange(count) % 3, **columns}
    return FromTable(table, **{name: name for name in columns})


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch):
    real = builtins.__import__

    def without(name: str, *arguments: object, **options: object) -> object:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"Parquet needs pyarrow, which is not installed; run: pip install pyarrow"):
        FromTable(made(tmp_path / "edges.parquet"))


def test_a_parquet_file_that_is_none(tmp_path: Path):
    pytest.importorskip("pyarrow")
    with pytest.raises(FileError, match="not a Parquet file that can be read"):
        FromTable(made(tmp_path / "edges.parquet"))


def test_the_worm():
    """The chemical and electrical synapses of *C. elegans* as the package cect ships them."""
    cect = pytest.importorskip("cect")
    path = Path(cect.__file__).parent / "data" / "herm_full_edgelist.csv"
    import csv

    with path.open(encoding="utf-8") as lines:
        rows = [{key.strip(): value.strip() for key, value in row.items()} for row in csv.DictReader(lines)]
    labels = sorted({row[end] for row in rows for end in ("Source", "Target")})
    table = {name: np.array([row[name] for row in rows]) for name in ("Source", "Target")}
    table["Weight"] = np.array([float(row["Weight"]) for row in rows])
    rule = FromTable(table, pre="Source", post="Target", weight="Weight", pre_labels=labels)
    synapse = bound(rule, len(labels), len(labels), delay=1e-3)
    assert synapse.weight.numel() == len(rows) > 3000 and len(labels) > 300
    assert float(synapse.weight.double().sum()) == table["Weight"].sum()
