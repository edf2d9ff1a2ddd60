"""Columns of a table of edges: from CSV, Parquet or memory, with errors that name file, row and column."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import FileError, InputError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Columns:
    """Columns of equal length.

    Attributes
    ----------
    source : str
        For messages.
    values : dict of str to ndarray
    delimiter : str
        Of a CSV file, whose rows are numbered as its lines; else they are from 0 on.
    """

    source: str
    values: dict[str, np.ndarray]
    delimiter: str = ""

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a column."""
        return self.values[name]

    def place(self, index: int, name: str) -> str:
        """Return where a value stands, for messages."""
        row = index
        if self.delimiter:
            with open(self.source, newline="", encoding="utf-8-sig") as lines:
                reader = csv.reader(lines, delimiter=self.delimiter)
                next(reader)
                filled = (reader.line_num for cells in reader if cells)
                row = next(itertools.islice(filled, index, None))
        return f"{self.source}, row {row}, column {name!r}"

    def numbers(self, name: str) -> np.ndarray:
        """Return a column of finite numbers, float64."""
        values = self.values[name]
        if not np.issubdtype(values.dtype, np.number):
            raise FileError(f"{self.source}: column {name!r} must hold numbers; it holds {values.dtype}.")
        found = values.astype(np.float64)
        wrong = np.flatnonzero(~np.isfinite(found))
        if wrong.size:
            raise FileError(f"{self.place(int(wrong[0]), name)}: {found[wrong[0]]} is not finite.")
        return found


def read_columns(table: str | Path | Mapping[str, Any], neurons: Mapping[str, Any], numbers: Sequence[str]) -> Columns:
    """Return columns of a table.

    Parameters
    ----------
    table : path, or mapping of str to array
    neurons : mapping of str to labels or None
        Columns of neurons: indices, or labels of that type.
    numbers : sequence of str
        Columns of numbers.
    """
    wanted = [*neurons, *numbers]
    if isinstance(table, Mapping):
        return _from_memory(table, wanted)
    path = Path(table)
    if not path.is_file():
        raise FileError(f"{path}: no such file.")
    if path.suffix.lower() == ".parquet":
        return _from_parquet(path, wanted)
    if path.suffix.lower() not in _DELIMITERS:
        raise InputError(f"{path}: a table of edges must be *.csv, *.tsv or *.parquet.")
    kinds = {name: _kind(labels) for name, labels in neurons.items()} | dict.fromkeys(numbers, np.dtype(np.float64))
    return _from_csv(path, _DELIMITERS[path.suffix.lower()], kinds)


def _kind(labels: Any) -> np.dtype[Any]:
    """Return the type of a column of neurons."""
    return np.dtype(np.int64) if labels is None else np.asarray(labels).dtype


def _from_memory(table: Mapping[str, Any], wanted: Sequence[str]) -> Columns:
    _check_names("the table", table, wanted)
    values = {name: np.asarray(table[name]) for name in wanted}
    lengths = {name: each.shape for name, each in values.items()}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
        raise InputError(f"FromTable: columns must be arrays of one length; got {lengths}.")
    return Columns("the table", values)


def _from_parquet(path: Path, wanted: Sequence[str]) -> Columns:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError(f"{path}: Parquet needs pyarrow, which is not installed; run: pip install pyarrow") from None
    try:
        _check_names(str(path), parquet.read_schema(path).names, wanted)
        table = parquet.read_table(path, columns=list(dict.fromkeys(wanted)))
    except pyarrow.ArrowException as error:
        raise FileError(f"{path}: not a Parquet file that can be read ({error}).") from None
    for name in wanted:
        if table[name].null_count:
            row = next(n for n, value in enumerate(table[name]) if not value.is_valid)
            raise FileError(f"{path}, row {row}, column {name!r}: the value is missing.")
    return Columns(str(path), {name: table[name].to_numpy() for name in wanted})


def _from_csv(path: Path, delimiter: str, kinds: Mapping[str, np.dtype[Any]]) -> Columns:
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            header = next(csv.reader(lines, delimiter=delimiter), [])
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: not a text in UTF-8 ({error}).") from None
    header = [name.strip() for name in header]
    _check_names(str(path), header, kinds)
    places = [header.index(name) for name in kinds]
    layout = [(f"f{n}", kind if kind.kind in "iuf" else object) for n, kind in enumerate(kinds.values())]
    try:
        rows = np.loadtxt(
            path,
            dtype=layout,
            delimiter=delimiter,
            skiprows=1,
            usecols=places,
            quotechar='"',
            comments=None,
            ndmin=1,
            encoding="utf-8-sig",
        )
    except (ValueError, OverflowError, UnicodeDecodeError) as error:
        raise _first_problem(path, delimiter, header, kinds, error) from None
    values = {name: np.ascontiguousarray(rows[f"f{n}"]) for n, name in enumerate(kinds)}
    for name, kind in kinds.items():
        if kind.kind not in "iuf":
            values[name] = values[name].astype(str)
    return Columns(str(path), values, delimiter)


def _first_problem(
    path: Path, delimiter: str, header: Sequence[str], kinds: Mapping[str, np.dtype[Any]], error: Exception
) -> FileError:
    """Return the error for the first value that is none."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        reader = csv.reader(lines, delimiter=delimiter)
        next(reader)
        for row in reader:
            for name, kind in kinds.items():
                place = header.index(name)
                where = f"{path}, row {reader.line_num}, column {name!r}"
                if len(row) <= place:
                    if row:
                        return FileError(f"{where}: the row has {len(row)} columns only.")
                    continue
                try:
                    kind.type(row[place])
                except (ValueError, OverflowError):
                    wanted = "an integer" if kind.kind in "iu" else "a number"
                    return FileError(f"{where}: {row[place]!r} is not {wanted}.")
    return FileError(f"{path}: cannot be read as a table of edges ({error}).")


def _check_names(source: str, names: Iterable[str], wanted: Iterable[str]) -> None:
    known = list(names)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise FileError(f"{source}: no columns {missing}; it has {known}.")
