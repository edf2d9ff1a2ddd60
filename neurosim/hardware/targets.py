"""Targets: TOML files with limits, precision and energy per operation of one chip, every number with its source."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from neurosim.errors import FileError, InputError
from neurosim.files.bundled import data_file, data_files
from neurosim.files.tables import read_toml

# Units in one SI unit: dividing 13.2 by 1e12 rounds once, multiplying by 1e-12 twice.
_ENERGY = {"J": 1.0, "mJ": 1e3, "uJ": 1e6, "nJ": 1e9, "pJ": 1e12, "fJ": 1e15}
_ENERGY_PER_BIT = {f"{unit}/bit": parts for unit, parts in _ENERGY.items()}
_TIME = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_COUNT = {"1": 1.0, "bit": 1.0, "byte": 1.0}

_KINDS = ("chip", "arithmetic", "processor", "fpga")
_FPGA = ("family", "device", "package")
_FPGA_LIMITS = frozenset({"logic_cells", "block_memory", "large_memory", "multipliers"})
_SPIKES = ("binary", "graded")
_TOP = {
    "name",
    "title",
    "kind",
    "model",
    "summary",
    "spikes",
    "excluded",
    "energy_not_public",
    "fpga",
    "limits",
    "storage",
    "mesh",
    "precision",
    "parameters",
    "energy",
    "time",
    "time_not_public",
}
_PRECISION = frozenset(
    {"weight_bits", "weight_exponent", "decay", "threshold_mantissa", "bias_mantissa", "state_bits", "spike_bits"}
)
_STEP_TIME = frozenset({"step"})
_CORE_TIME = frozenset({"synaptic_operation", "neuron_update", "barrier"})
_MORE_TIME = frozenset(
    {
        "neuron_update_inactive",
        "spike",
        "message_out",
        "message_in",
        "hop_within_tile",
        "hop_east_west",
        "hop_north_south",
    }
)


@dataclass(frozen=True)
class Quantity:
    """One number of a target file, in SI units, with its source.

    Attributes
    ----------
    value : float or tuple of float
        J for energies, J per bit for memory slopes, s for times, otherwise a count (bits, bytes, pieces).
    unit : str
        The unit of `value`: ``"J"``, ``"J/bit"``, ``"s"``, ``"bit"``, ``"byte"`` or ``"1"``.
    source : str
        Publication or file that states the number.
    note : str
        Remark on its use; may be empty.
    estimate : bool
        Whether no public table states the number.
    """

    value: float | tuple[float, ...]
    unit: str
    source: str
    note: str = ""
    estimate: bool = False

    @property
    def number(self) -> float:
        """The value where it is one number.

        Raises
        ------
        InputError
            When the value is a list.
        """
        if isinstance(self.value, tuple):
            raise InputError(f"this quantity holds the list {list(self.value)}, not one number. Use `.value`.")
        return self.value


@dataclass(frozen=True)
class Target:
    """A chip, processor or arithmetic model for which a network can be placed or priced.

    Attributes
    ----------
    name, title, summary : str
        Short name, readable name and one or two sentences.
    kind : str
        ``"chip"``, ``"arithmetic"``, ``"processor"`` or ``"fpga"``.
    model : str or None
        The energy model of the numbers, a name of `neurosim.energy.models.MODELS`, such as ``"per_operation"``; None
        where no energy is public.
    spikes : str
        ``"binary"`` or ``"graded"``: the values that an event can have.
    excluded : tuple of str
        Contributions that the energies leave out.
    energy_not_public : str
        Reason why there is no energy; empty where there is.
    time_not_public : str
        Reason why there is no time of a step; may be empty.
    limits, storage, mesh, precision, parameters, energy, time : mapping of str to Quantity
        Limits of a core or chip, storage of its synapses, positions of its cores, its number formats, parameters of
        its energy model, joules and seconds, each with its source.
    fpga : mapping of str to str
        Family, device and package of an FPGA, as its tools call them; empty for others.
    path : pathlib.Path
        The file.
    """

    name: str
    title: str
    summary: str
    kind: str
    model: str | None
    spikes: str
    excluded: tuple[str, ...]
    energy_not_public: str
    time_not_public: str
    limits: Mapping[str, Quantity]
    storage: Mapping[str, Quantity]
    mesh: Mapping[str, Quantity]
    precision: Mapping[str, Quantity]
    parameters: Mapping[str, Quantity]
    energy: Mapping[str, Quantity]
    time: Mapping[str, Quantity]
    fpga: Mapping[str, str]
    path: Path


def target_names() -> tuple[str, ...]:
    """Return the names of the targets that are part of neurosim.

    Returns
    -------
    tuple of str
        Sorted names that `load_target` accepts.

    Examples
    --------
    >>> "loihi1" in target_names()
    True
    """
    return tuple(sorted(path.stem for path in data_files("hardware_targets")))


def load_target(name_or_path: str | os.PathLike[str]) -> Target:
    """Read a target.

    Parameters
    ----------
    name_or_path : str or path-like
        A name of `target_names`, or a TOML file of your own (a path, or a string ending in ``.toml``).

    Returns
    -------
    Target
        With every number in SI units.

    Raises
    ------
    FileError
        No such target or file; text that is not TOML; an unknown or missing key; a number without source; a wrong unit;
        a negative or non-finite energy. The message names the file and the key. The keys that an energy model needs are
        checked by `neurosim.energy`.

    Examples
    --------
    >>> chip = load_target("loihi1")
    >>> round(chip.energy["synaptic_operation"].number * 1e12, 6)
    23.6
    >>> load_target("loihi2").model is None
    True
    """
    path = _path_of(name_or_path)
    return _target(path, read_toml(path))


def _path_of(name_or_path: str | os.PathLike[str]) -> Path:
    if not isinstance(name_or_path, str):
        return Path(name_or_path)
    if name_or_path.endswith(".toml") or os.sep in name_or_path:
        return Path(name_or_path)
    return data_file("hardware_targets", name_or_path)


def _target(path: Path, table: dict[str, Any]) -> Target:
    unknown = sorted(set(table) - _TOP)
    if unknown:
        raise FileError(f"{path}: unknown key {unknown[0]!r}. Allowed: {', '.join(sorted(_TOP))}.")
    name, title, summary = (_text(path, table, key) for key in ("name", "title", "summary"))
    kind = _choice(path, table, "kind", _KINDS)
    spikes = _choice(path, table, "spikes", _SPIKES)
    reason = _text(path, table, "energy_not_public") if "energy_not_public" in table else ""
    if bool(reason) == ("energy" in table):
        raise FileError(
            f"{path}: give either the table 'energy' or the reason 'energy_not_public', "
            f"{'not both' if reason else 'one of them is missing'}."
        )
    model = None if reason else _text(path, table, "model")
    if reason and "model" in table:
        raise FileError(f"{path}: key 'model' names an energy model, but 'energy_not_public' says there is no energy.")
    energy = _quantities(path, table, "energy", {**_ENERGY, **_ENERGY_PER_BIT})
    parameters = _quantities(path, table, "parameters", _COUNT)
    for key, quantity in energy.items():
        _check_energy(path, key, quantity)
    for key, quantity in parameters.items():
        if isinstance(quantity.value, tuple) or quantity.value <= 0:
            raise FileError(f"{path}: parameters.{key}.value must be one positive number, found {quantity.value}.")
    # Imported here: the placement reads targets, and this module only its keys.
    from neurosim.hardware.placement.keys import GROUP_LIMITS, LIMITS, MESH, STORAGE, SYSTEM_LIMITS

    limits = _FPGA_LIMITS if kind == "fpga" else frozenset(LIMITS) | frozenset(GROUP_LIMITS) | SYSTEM_LIMITS
    sections = {"limits": limits, "storage": STORAGE, "mesh": MESH, "precision": _PRECISION}
    read = {section: _quantities(path, table, section, _COUNT) for section in sections}
    for section, allowed in sections.items():
        check_keys(path, section, read[section], optional=allowed)
    for section in ("limits", "storage", "mesh"):
        for key, quantity in read[section].items():
            _check_count(path, f"{section}.{key}", quantity)
    time = _quantities(path, table, "time", _TIME)
    _check_times(path, time, read["mesh"])
    no_times = _text(path, table, "time_not_public") if "time_not_public" in table else ""
    if no_times and time:
        raise FileError(f"{path}: give either the table 'time' or the reason 'time_not_public', not both.")
    return Target(
        name=name,
        title=title,
        summary=summary,
        kind=kind,
        model=model,
        spikes=spikes,
        excluded=_excluded(path, table, needed=not reason),
        energy_not_public=" ".join(reason.split()),
        time_not_public=" ".join(no_times.split()),
        **read,
        parameters=parameters,
        energy=energy,
        time=time,
        fpga=_fpga(path, table, kind),
        path=path,
    )


def _text(path: Path, table: dict[str, Any], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise FileError(f"{path}: key {key!r} must be a text that is not empty, found {value!r}.")
    return value.strip()


def _choice(path: Path, table: dict[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    value = table.get(key)
    if value not in allowed:
        raise FileError(f"{path}: key {key!r} is {value!r}. Allowed: {', '.join(allowed)}.")
    return str(value)


def _fpga(path: Path, table: dict[str, Any], kind: str) -> Mapping[str, str]:
    entries = table.get("fpga", {})
    expected = set(_FPGA) if kind == "fpga" else set()
    if not isinstance(entries, dict) or set(entries) != expected:
        raise FileError(
            f"{path}: the table 'fpga' must have the keys {', '.join(_FPGA)} where kind is 'fpga', and be left out "
            f"elsewhere; found {entries!r}."
        )
    return MappingProxyType({key: _text(path, entries, key) for key in _FPGA if key in entries})


def _excluded(path: Path, table: dict[str, Any], *, needed: bool) -> tuple[str, ...]:
    value = table.get("excluded", [])
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise FileError(f"{path}: key 'excluded' must be a list of texts, found {value!r}.")
    if needed and not value:
        raise FileError(
            f"{path}: key 'excluded' is missing: list what the energies leave out (static power, I/O, ...)."
        )
    return tuple(value)


def _quantities(path: Path, table: dict[str, Any], section: str, units: Mapping[str, float]) -> Mapping[str, Quantity]:
    entries = table.get(section, {})
    if not isinstance(entries, dict):
        raise FileError(f"{path}: key {section!r} must be a table, found {entries!r}.")
    return MappingProxyType({key: _quantity(path, f"{section}.{key}", entry, units) for key, entry in entries.items()})


def _quantity(path: Path, key: str, entry: Any, units: Mapping[str, float]) -> Quantity:
    if not isinstance(entry, dict):
        raise FileError(
            f"{path}: {key} is the bare value {entry!r}. Write a table with value, unit and source: "
            "a number without a source is not used."
        )
    unknown = sorted(set(entry) - {"value", "unit", "source", "note", "estimate"})
    if unknown:
        raise FileError(
            f"{path}: {key} has the unknown key {unknown[0]!r}. Allowed: value, unit, source, note, estimate."
        )
    source = entry.get("source")
    if not isinstance(source, str) or not source.strip():
        raise FileError(f"{path}: {key} has no source. Name the publication or file that states the number.")
    unit = entry.get("unit")
    if not isinstance(unit, str) or unit not in units:
        raise FileError(f"{path}: {key} has the unit {unit!r}. Allowed here: {', '.join(units)}.")
    note, estimate = entry.get("note", ""), entry.get("estimate", False)
    if not isinstance(note, str):
        raise FileError(f"{path}: {key}.note must be a text, found {note!r}.")
    if not isinstance(estimate, bool):
        raise FileError(f"{path}: {key}.estimate must be true or false, found {estimate!r}.")
    raw = entry.get("value")
    scaled = tuple(
        _finite(path, key, value) / units[unit] for value in (raw if isinstance(raw, list) and raw else [raw])
    )
    si = "J/bit" if unit in _ENERGY_PER_BIT else "J" if unit in _ENERGY else "s" if unit in _TIME else unit
    return Quantity(scaled if isinstance(raw, list) else scaled[0], si, source.strip(), note.strip(), estimate)


def _finite(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise FileError(f"{path}: {key}.value must be a finite number or a list of them, found {value!r}.")
    return value


def check_keys(
    path: Path,
    section: str,
    quantities: Mapping[str, Quantity],
    *,
    needed: frozenset[str] = frozenset(),
    optional: frozenset[str] = frozenset(),
) -> None:
    """Check that a section of a target's file has the keys of its reader.

    Raises
    ------
    FileError
        For a missing or an unknown key.
    """
    for key in sorted(needed - set(quantities)):
        raise FileError(f"{path}: {section}.{key} is missing; this model needs {', '.join(sorted(needed))}.")
    for key in sorted(set(quantities) - needed - optional):
        allowed = ", ".join(sorted(needed | optional)) or "none"
        raise FileError(f"{path}: unknown key {section}.{key}. Allowed: {allowed}.")


def _check_count(path: Path, key: str, quantity: Quantity) -> None:
    """Check that a limit is an integer from 1, or the list of integers that its key calls for."""
    values = quantity.value if isinstance(quantity.value, tuple) else (quantity.value,)
    pair, tiles = key == "storage.index_bits", key == "mesh.barrier_tiles"
    integer = all(v == int(v) and (0 if pair else 1) <= v <= 2**53 for v in values)
    length = len(values) if tiles else 2 if pair else 1
    ascending = list(values) == sorted(values if pair else set(values))
    if not integer or len(values) != length or not ascending or (tiles and values[0] != 1):
        expected = "one integer from 1 to 2**53"
        if pair or tiles:
            expected = (
                "the fewest and the most bits, such as [6, 12]"
                if pair
                else "ascending integers from 1, such as [1, 32]"
            )
        raise FileError(f"{path}: {key}.value must be {expected}, found {quantity.value}.")


def _check_energy(path: Path, key: str, quantity: Quantity) -> None:
    if isinstance(quantity.value, tuple):
        raise FileError(f"{path}: energy.{key}.value must be one number, found a list.")
    if quantity.value < 0:
        raise FileError(f"{path}: energy.{key}.value is {quantity.value} J; an energy cannot be negative.")
    per_bit = key.endswith("_per_bit")
    if per_bit != (quantity.unit == "J/bit"):
        expected = ", ".join(_ENERGY_PER_BIT if per_bit else _ENERGY)
        raise FileError(f"{path}: energy.{key} has a wrong unit. Allowed here: {expected}.")


def _check_times(path: Path, time: Mapping[str, Quantity], mesh: Mapping[str, Quantity]) -> None:
    """Check that the times are those of one model: a step of fixed length, or operations of cores and a barrier."""
    if "step" in time:
        check_keys(path, "time", time, needed=_STEP_TIME)
    elif time:
        check_keys(path, "time", time, needed=_CORE_TIME, optional=_MORE_TIME)
    for key, quantity in time.items():
        values = quantity.value if isinstance(quantity.value, tuple) else (quantity.value,)
        if min(values) < 0:
            raise FileError(f"{path}: time.{key}.value is {min(values)} s; a time cannot be negative.")
        if key != "barrier" and isinstance(quantity.value, tuple):
            raise FileError(f"{path}: time.{key}.value must be one number, found a list.")
        tiles = mesh["barrier_tiles"].value if "barrier_tiles" in mesh else (1.0,)
        held = tiles if isinstance(tiles, tuple) else (tiles,)
        if key == "barrier" and (len(values) != len(held) or list(values) != sorted(values)):
            raise FileError(
                f"{path}: time.barrier.value must be ascending, with one number for each of mesh.barrier_tiles "
                f"({len(held)}); found {len(values)}."
            )
