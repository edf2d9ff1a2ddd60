"""Synapses that are given one by one as a rule: from a SciPy matrix, or from a table of edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import FileError, InputError, ShapeError
from neurosim.kernels.drawing.arguments import Pairs
from neurosim.synapses.connectivity import ConnectionRule, listed_pairs
from neurosim.synapses.edge_table import Columns, read_columns


class ListedRule(ConnectionRule):
    """Synapses that are given, in order of the presynaptic and then of the postsynaptic neuron.

    Parameters
    ----------
    pre, post : ndarray [n] of an integer type
    weight : ndarray [n], optional
        Those of the synapse, a `Drawn`, if left out.
    delay : ndarray [n], optional
        In s; that of the synapse if left out.
    """

    def __init__(
        self, pre: np.ndarray, post: np.ndarray, weight: np.ndarray | None = None, delay: np.ndarray | None = None
    ) -> None:
        order = np.lexsort((post, pre))
        self.pre, self.post = pre[order], post[order]
        self.weight = None if weight is None else np.asarray(weight, np.float64)[order]
        self.delay = None if delay is None else np.asarray(delay, np.float64)[order]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.pre)} synapses)"

    def pairs(self, n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
        """Return what decides the pairs; see `ConnectionRule.pairs`."""
        return listed_pairs(self.pre, self.post, n_in, n_out)


class FromSciPy(ListedRule):
    """The synapses of a sparse matrix, with its values as weights.

    Parameters
    ----------
    matrix : scipy.sparse array or matrix [n_out, n_in]
        Row: the postsynaptic neuron, column: the presynaptic neuron, as the weights of `Linear`. Entries of a COO
        matrix that are listed several times are several synapses; entries of value 0 that are listed are synapses.

    Examples
    --------
    >>> import scipy.sparse, neurosim as ns
    >>> from neurosim.circuit import FromSciPy
    >>> matrix = scipy.sparse.csr_array([[0.0, 0.5, 0.0], [0.25, 0.0, 0.0]])
    >>> synapse = ns.Drawn(FromSciPy(matrix), delay=1e-3).bind(3, 2, "a->b", 0, 1e-3, False)
    >>> synapse.materialised().to_scipy().toarray().tolist()
    [[0.0, 0.5, 0.0], [0.25, 0.0, 0.0]]
    """

    def __init__(self, matrix: Any) -> None:
        import scipy.sparse

        if not scipy.sparse.issparse(matrix) or matrix.ndim != 2:
            raise InputError(
                f"FromSciPy: matrix must be a sparse matrix [n_out, n_in] of scipy.sparse; got {type(matrix).__name__}."
            )
        if not (np.issubdtype(matrix.dtype, np.number) or matrix.dtype == bool) or np.iscomplexobj(matrix.data):
            raise InputError(f"FromSciPy: the values must be real numbers; got {matrix.dtype}.")
        listed = matrix.tocoo()
        if not np.isfinite(listed.data).all():
            raise InputError("FromSciPy: the values must be finite.")
        self.shape = matrix.shape
        super().__init__(np.asarray(listed.col, np.int64), np.asarray(listed.row, np.int64), listed.data)

    def pairs(self, n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
        """Return what decides the pairs; see `ConnectionRule.pairs`."""
        if self.shape != (n_out, n_in):
            raise ShapeError(f"FromSciPy: the matrix must be [n_out, n_in] = [{n_out}, {n_in}]; got {[*self.shape]}.")
        return super().pairs(n_in, n_out, has_same_ends)


class FromTable(ListedRule):
    """The synapses of a table with a row for each: CSV, Parquet, or columns in memory.

    Parameters
    ----------
    table : path, or mapping of str to array
        A file ``*.csv`` (with a line of names), ``*.tsv`` or ``*.parquet`` (needs pyarrow), or the columns by name.
    pre, post : str
        Names of the columns with the presynaptic and the postsynaptic neuron: indices from 0, or labels if `pre_labels`
        and `post_labels` are given.
    weight, delay : str, optional
        Names of the columns with weights, and with delays in s after `delay_scale`; None: those of the `Drawn`.
    weight_scale, delay_scale : float
        Factors of what the table holds, such as ``delay_scale=1e-3`` for delays in ms. Delays must be integer numbers
        of steps.
    pre_labels, post_labels : sequence of int or of str, optional
        Label of each neuron, in order of the indices; `post_labels` are `pre_labels` if left out.

    Raises
    ------
    InputError, FileError
        With file, row and column, for what is no index, label or finite number.

    Examples
    --------
    >>> import numpy as np, neurosim as ns
    >>> from neurosim.circuit import FromTable
    >>> columns = {"pre": np.array([0, 2]), "post": np.array([1, 0]), "n": np.array([3, 5])}
    >>> rule = FromTable(columns, weight="n", weight_scale=0.25)
    >>> ns.Drawn(rule).bind(3, 2, "a->b", 0, 1e-3, False).materialised().dense().tolist()
    [[0.0, 0.0, 1.25], [0.75, 0.0, 0.0]]
    """

    def __init__(
        self,
        table: str | Path | Mapping[str, Any],
        *,
        pre: str = "pre",
        post: str = "post",
        weight: str | None = None,
        delay: str | None = None,
        weight_scale: float = 1.0,
        delay_scale: float = 1.0,
        pre_labels: Sequence[Any] | np.ndarray | None = None,
        post_labels: Sequence[Any] | np.ndarray | None = None,
    ) -> None:
        post_labels = pre_labels if post_labels is None else post_labels
        columns = read_columns(table, {pre: pre_labels, post: post_labels}, [each for each in (weight, delay) if each])
        self.source = columns.source
        ends = [_indices(columns, name, labels) for name, labels in ((pre, pre_labels), (post, post_labels))]
        numbers = [
            None if name is None else columns.numbers(name) * scale
            for name, scale in ((weight, weight_scale), (delay, delay_scale))
        ]
        super().__init__(*ends, *numbers)

    def pairs(self, n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
        """Return what decides the pairs; see `ConnectionRule.pairs`."""
        try:
            return super().pairs(n_in, n_out, has_same_ends)
        except InputError as error:
            raise InputError(f"{self.source}: {error}") from None


def _indices(columns: Columns, name: str, labels: Sequence[Any] | np.ndarray | None) -> np.ndarray:
    """Return the indices of neurons in a column."""
    values = columns[name]
    if labels is None:
        if not np.issubdtype(values.dtype, np.integer):
            raise FileError(f"{columns.source}: column {name!r} must hold integers, or give pre_labels=.")
        wrong = np.flatnonzero(values < 0)
        if wrong.size:
            raise FileError(f"{columns.place(int(wrong[0]), name)}: {values[wrong[0]]} is below 0.")
        return values.astype(np.int64)
    known = np.asarray(labels)
    order = np.argsort(known, kind="stable")
    names = known[order]
    if (names[1:] == names[:-1]).any():
        twice = names[1:][names[1:] == names[:-1]][0]
        raise InputError(f"FromTable: labels must differ; {twice!r} is listed twice.")
    try:
        place = np.minimum(np.searchsorted(names, values), len(names) - 1)
        wrong = np.flatnonzero(names[place] != values)
    except TypeError:
        raise FileError(
            f"{columns.source}: column {name!r} holds {values.dtype}, the labels are {known.dtype}."
        ) from None
    if wrong.size:
        raise FileError(f"{columns.place(int(wrong[0]), name)}: {values[wrong[0]]!s} is no label of a neuron.")
    return order[place]
