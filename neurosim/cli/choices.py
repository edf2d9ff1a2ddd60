"""Learning rules and losses by name: every class that `neurosim.learning` exports, and functions in a user's file."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import neurosim.learning
from neurosim.cli.names import command_name
from neurosim.errors import FileError, InputError
from neurosim.learning import Loss, Rule

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Choices(Generic[T]):
    """The values of one command-line option: classes of `neurosim.learning`, or functions in a user's file.

    Attributes
    ----------
    option : str
        Name of the option, without the hyphens.
    base : type
        Class that every value has.
    """

    option: str
    base: type[T]

    def names(self) -> dict[str, type[T]]:
        """Return the classes that `neurosim.learning` exports, by their name on the command line.

        Returns
        -------
        dict of str to type
            ``"event-prop"`` for `EventProp` and so on.
        """
        exported = (getattr(neurosim.learning, name) for name in neurosim.learning.__all__)
        found = [each for each in exported if inspect.isclass(each) and issubclass(each, self.base)]
        return {command_name(each.__name__): each for each in found if not inspect.isabstract(each)}

    def class_of(self, text: str) -> type[T]:
        """Return the class that `text` names; case, hyphens and underscores do not matter.

        Raises
        ------
        InputError
            For a name that is none of them.
        """
        return self.names()[self.name_of(text)]

    def name_of(self, text: str) -> str:
        """Return the name on the command line of the class that `text` names.

        Raises
        ------
        InputError
            For a name that is none of them.
        """
        known = self.names()
        for name in known:
            if _plain(name) == _plain(text):
                return name
        raise InputError(f"{self.option} must be one of {', '.join(known)}, or FILE.py:FUNCTION; got {text!r}.")

    def value(self, text: str, options: Mapping[str, Any], *arguments: Any) -> T:
        """Return the value that `text` and its options describe.

        Parameters
        ----------
        text : str
            A name of `names`, or ``FILE.py:FUNCTION``.
        options : mapping
            Keyword arguments of the class, or of the function.
        *arguments
            Positional arguments of a user's function.

        Raises
        ------
        InputError
            For an unknown name, options that the class does not have, or a class that needs more than text can give.
        FileError
            When the user's file does not exist.
        """
        if is_own(text):
            value = function_in(self.option, text)(*arguments, **options)
            if not isinstance(value, self.base):
                raise InputError(f"{text} must return a {self.base.__name__}; got {type(value).__name__}.")
            return value
        chosen, option = self.class_of(text), self.option
        parameters = inspect.signature(chosen).parameters
        for name in options:
            if name not in parameters:
                allowed = ", ".join(parameters) or "none"
                raise InputError(
                    f"{option} {text} has no option {name!r}; it has {allowed}. Correct --{option}-option."
                )
        missing = [n for n, p in parameters.items() if p.default is inspect.Parameter.empty and n not in options]
        if missing:
            raise InputError(
                f"{option} {text} needs {' and '.join(missing)}. Give numbers as --{option}-option {missing[0]}=VALUE; "
                f"for anything else give --{option} FILE.py:FUNCTION, a function that returns the {self.base.__name__}."
            )
        return chosen(**options)


RULES = Choices("rule", Rule)  # type: ignore[type-abstract]
LOSSES = Choices("loss", Loss)  # type: ignore[type-abstract]


def is_own(text: str) -> bool:
    """Return whether `text` names a function in a user's file: ``FILE.py:FUNCTION``."""
    return ".py:" in text


def options_of(option: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value`` pairs; a value is a Python literal such as a number, True or None, or else a text.

    Examples
    --------
    >>> options_of("rule", ["k=4", "recompute=True"])
    {'k': 4, 'recompute': True}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"--{option}-option must be NAME=VALUE, such as k=4; got {pair!r}.")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


def function_in(option: str, place: str) -> Callable[..., Any]:
    """Return the function ``FILE.py:FUNCTION``; the file is run.

    Raises
    ------
    FileError
        When there is no such file.
    InputError
        When there is no such function in it.
    """
    file, _, function = place.rpartition(":")
    if not file or not Path(file).is_file():
        raise FileError(f"{option} must be FILE.py:FUNCTION with a file that exists; got {place!r}.")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None:
        raise FileError(f"{option}: {file} is not a Python file; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, function, None)
    if not callable(found):
        raise InputError(f"{option}: {file} has no function {function!r}. Define it there.")
    return found


def _plain(name: str) -> str:
    return re.sub("[-_]", "", name).lower()
