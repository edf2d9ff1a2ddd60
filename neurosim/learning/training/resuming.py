"""Checks of a saved run before any of it is loaded: its description, and the form of every part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from neurosim.errors import FileError, InputError

# Their state has one value for each of a parameter's, or one number.
_ELEMENTWISE = ("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")


def settings_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return the settings of each group of an optimizer, such as its learning rate, as plain data."""
    return [{k: plain(v) for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def plain(value: Any) -> Any:
    """Return a number for a tensor of one, lists for tuples, and text for what is no plain value."""
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    return value if value is None or isinstance(value, (bool, int, float, str)) else type(value).__name__


def same(a: Any, b: Any) -> bool:
    """Whether two plain values are equal; NaN equals NaN, and a bool equals no number."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, Tensor) or isinstance(b, Tensor):  # of an edited file
        return False
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b or (a != a and b != b))


def check_description(file: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise `InputError` for a run that was made with other arguments, naming the first that differs."""
    for part, value in now.items():
        if not same(saved.get(part), value):
            raise InputError(
                f"{file}: the run used {part} {_shown(saved.get(part))}, now it is {_shown(value)}. Resume with the "
                "same, or start a new run from its weights with load_checkpoint."
            )


def check_settings(file: Path, owner: str, now: Any, allowed: Iterable[Any]) -> None:
    """Raise `InputError` unless the settings `now` of optimizer or scheduler are one of those that the run had."""
    choices = [plain(each) for each in allowed]
    now = plain(now)
    if any(same(choice, now) for choice in choices):
        return
    name, before, after = _first_difference(choices[0], now)
    raise InputError(
        f"{file}: the run used {owner} with {name} {_shown(before)}, now it is {_shown(after)}. Resume with the same, "
        "or start a new run from its weights with load_checkpoint."
    )


def without(settings: Any, names: Iterable[str]) -> Any:
    """Return settings without some of them."""
    return {k: v for k, v in settings.items() if k not in names} if isinstance(settings, Mapping) else settings


def _first_difference(before: Any, after: Any, name: str = "settings") -> tuple[str, Any, Any]:
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        for key in before:
            if not same(before[key], after[key]):
                return _first_difference(before[key], after[key], str(key))
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for old, new in zip(before, after, strict=True):
            if not same(old, new):
                return _first_difference(old, new, name)
    return name, before, after


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def check_form(file: Path, place: str, saved: Any, now: Any) -> None:
    """Raise `FileError` unless a saved value has the form of the present one: types, keys, lengths, shapes.

    A value that is None on one of the two sides is not compared.
    """
    if saved is None or now is None:
        return
    if isinstance(now, Tensor):
        same = isinstance(saved, Tensor) and (saved.shape, saved.dtype) == (now.shape, now.dtype)
    elif isinstance(now, (bool, str)):
        same = type(saved) is type(now)
    elif isinstance(now, (int, float)):
        same = isinstance(saved, (int, float)) and not isinstance(saved, bool)
    elif isinstance(now, Mapping):
        same = isinstance(saved, Mapping) and saved.keys() == now.keys()
    elif isinstance(now, (list, tuple)):
        same = isinstance(saved, (list, tuple)) and len(saved) == len(now)
    else:
        same = type(saved) is type(now)
    if not same:
        raise damaged(file, place)
    if isinstance(now, Mapping):
        for key in now:
            check_form(file, f"{place}.{key}", saved[key], now[key])
    elif isinstance(now, (list, tuple)):
        for number, (old, new) in enumerate(zip(saved, now, strict=True)):
            check_form(file, f"{place}[{number}]", old, new)


def damaged(file: Path, place: str) -> FileError:
    """Return the error for a part of a saved run that is not of the form it must have."""
    return FileError(f"{file} is damaged: {place} is not what a run writes. Nothing was loaded; use another file.")


def check_progress(file: Path, training: Mapping[str, Any]) -> None:
    """Raise `FileError` unless the counts, the best value and the rows of a run are of their form."""
    for name in ("epoch", "waited"):
        value = training[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise damaged(file, name)
    if not isinstance(training["best"], (int, float)) or isinstance(training["best"], bool):
        raise damaged(file, "best")
    rows = training["rows"]
    if not isinstance(rows, list) or len(rows) != training["epoch"]:
        raise damaged(file, "rows")
    for number, row in enumerate(rows):
        numbers = isinstance(row, dict) and all(
            isinstance(k, str) and isinstance(v, (int, float)) and not isinstance(v, bool) for k, v in row.items()
        )
        if not numbers or row.keys() != rows[0].keys() or not {"epoch", "loss"} <= row.keys():
            raise damaged(file, f"rows[{number}]")


def check_optimizer(file: Path, saved: Any, optimizer: Optimizer) -> None:
    """Raise unless a saved state of an optimizer fits the present one.

    Raises
    ------
    InputError
        When its groups hold other parameters.
    FileError
        When it is not of the form that the optimizer writes.
    """
    now = optimizer.state_dict()
    if not isinstance(saved, Mapping) or saved.keys() != now.keys():
        raise damaged(file, "optimizer")
    groups, state = saved["param_groups"], saved["state"]
    if not isinstance(groups, list) or not all(isinstance(group, Mapping) for group in groups):
        raise damaged(file, "optimizer.param_groups")
    sizes = [len(group["params"]) if isinstance(group.get("params"), list) else -1 for group in groups]
    if sizes != [len(group["params"]) for group in now["param_groups"]]:
        raise InputError(f"{file}: the optimizer's groups differ from those of the run ({sizes} parameters).")
    for number, (old, new) in enumerate(zip(groups, now["param_groups"], strict=True)):
        place = f"optimizer.param_groups[{number}]"
        if not new.keys() <= old.keys() or not same(old["params"], new["params"]):
            raise damaged(file, place)
        for key, value in new.items():
            before = old[key]
            if (value is None) != (before is None) and not isinstance(before if value is None else value, bool):
                raise damaged(file, f"{place}.{key}")
            if isinstance(before, Tensor) and before.dim() == 0 and not isinstance(value, Tensor):
                before = plain(before)  # a learning rate may be a tensor
            check_form(file, f"{place}.{key}", before, value)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    indices = [index for group in groups for index in group["params"]]
    if not isinstance(state, Mapping) or not state.keys() <= set(indices):
        raise damaged(file, "optimizer.state")
    keys: set[str] | None = None
    for index, parameter in zip(indices, parameters, strict=True):
        if index not in state:
            continue
        if not isinstance(state[index], Mapping) or (keys is not None and set(state[index]) != keys):
            raise damaged(file, f"optimizer.state[{index}]")
        keys = set(state[index])
        if type(optimizer).__name__ not in _ELEMENTWISE:
            continue
        for name, value in state[index].items():
            fits = (
                value is None
                or isinstance(value, (int, float))
                or (isinstance(value, Tensor) and (value.dim() == 0 or value.shape == parameter.shape))
            )
            if not fits or isinstance(value, bool):
                raise damaged(file, f"optimizer.state[{index}].{name}")


def check_start(file: Path, saved: Any) -> None:
    """Raise `FileError` unless the state of the initial weights is of its form."""
    if not isinstance(saved, Mapping) or saved.keys() != {"drawn", "scales"}:
        raise damaged(file, "start")
    names = isinstance(saved["drawn"], list) and all(isinstance(name, str) for name in saved["drawn"])
    scales = isinstance(saved["scales"], Mapping) and all(
        isinstance(k, str) and isinstance(v, (int, float)) for k, v in saved["scales"].items()
    )
    if not (names and scales):
        raise damaged(file, "start")


def check_random(file: Path, saved: Any, now: Mapping[str, Any]) -> None:
    """Raise unless the states of the random generators are of their form; CUDA generators may be of other devices."""
    if not isinstance(saved, Mapping) or saved.keys() != now.keys() or not isinstance(saved["own"], list):
        raise damaged(file, "random")
    if len(saved["own"]) != len(now["own"]):
        raise InputError(
            f"{file}: the run used random generators {len(saved['own'])}, now it is {len(now['own'])}. Resume with the "
            "same data loader, or start a new run from its weights with load_checkpoint."
        )
    check_form(file, "random", {**saved, "cuda": None}, {**now, "cuda": None})
    states = saved["cuda"]
    if not isinstance(states, list) or not all(isinstance(s, Tensor) and s.dtype == torch.uint8 for s in states):
        raise damaged(file, "random.cuda")
