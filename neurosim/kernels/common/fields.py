"""The tensors of a NamedTuple as one flat list, as torch's operators and autograd functions take them, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, get_type_hints

from torch import Tensor

Values = TypeVar("Values", bound=tuple[Any, ...])

_ONE = (Tensor, Tensor | None)
_SEVERAL = Sequence[Tensor]
_SCHEMA: dict[Any, str] = {
    Tensor: "Tensor",
    Tensor | None: "Tensor?",
    _SEVERAL: "Tensor[]",
    Sequence[float]: "float[]",
    Sequence[int]: "SymInt[]",
    str: "str",
    int: "SymInt",
    float: "float",
    bool: "bool",
}


class Fields(Generic[Values]):
    """The fields of a NamedTuple class, those of tensors in groups.

    A field of type ``Tensor`` or ``Tensor | None`` holds one tensor, a field of type ``Sequence[Tensor]`` several. The
    flat list has the groups one after the other; in a group first the fields of one tensor, then those of several.
    Fields of other types are not part of it.

    The methods return functions with the fields written out: a loop over the fields takes as long as a small kernel.

    Parameters
    ----------
    kind : type of NamedTuple
    *groups : sequence of str
        Names of the fields of each group; the remaining fields of tensors form the last group.
    """

    def __init__(self, kind: type[Values], *groups: Sequence[str]) -> None:
        named_tuple: Any = kind
        self._kind, self.names = named_tuple, named_tuple._fields
        self._types = get_type_hints(kind)
        self.tensors = [name for name in self.names if self._types[name] in (*_ONE, _SEVERAL)]
        grouped = [name for group in groups for name in group]
        wrong = [name for name in grouped if name not in self.tensors]
        if wrong:
            kinds = "Tensor, Tensor | None or Sequence[Tensor]"
            raise TypeError(f"{kind.__name__}: fields with gradients must be of type {kinds}; {wrong} are not.")
        remaining = [name for name in self.tensors if name not in grouped]
        self._groups = [self._positions(group) for group in (*groups, remaining)]

    def _positions(self, group: Sequence[str]) -> tuple[list[int], list[int]]:
        singles = [self.names.index(name) for name in group if self._types[name] in _ONE]
        return singles, [self.names.index(name) for name in group if self._types[name] == _SEVERAL]

    @property
    def schema(self) -> str:
        """All fields as arguments in the language of torch's operator schemas."""
        return ", ".join(f"{_SCHEMA[self._types[name]]} {name}" for name in self.names)

    @property
    def defaults(self) -> list[Any]:
        """Default of each field, None where it has none."""
        return [self._kind._field_defaults.get(name) for name in self.names]

    def single_places(self, groups: int | None = None) -> list[int]:
        """Return the positions of the fields of one tensor in the first `groups` groups, in all if left out."""
        return [place for singles, _ in self._groups[:groups] for place in singles]

    def several_places(self, groups: int | None = None) -> list[int]:
        """Return the positions of the fields of several tensors in the first `groups` groups, in all if left out."""
        return [place for _, several in self._groups[:groups] for place in several]

    def flat(self, groups: int | None = None) -> Callable[[Values], list[Any]]:
        """Return the function from values to the tensors of the first `groups` groups, of all if left out."""
        parts = []
        for singles, several in self._groups[:groups]:
            parts += [*(f"v[{place}]" for place in singles), *(f"*v[{place}]" for place in several)]
        written: Callable[[Values], list[Any]] = eval(f"lambda v: [{', '.join(parts)}]")
        return written

    def count(self, groups: int | None = None) -> Callable[[Values], int]:
        """Return the function from values to the number of tensors in the first `groups` groups, in all if left out."""
        parts = [str(len(self.single_places(groups))), *(f"len(v[{place}])" for place in self.several_places(groups))]
        written: Callable[[Values], int] = eval(f"lambda v: {' + '.join(parts)}")
        return written

    def without_tensors(self) -> Callable[[Values], tuple[list[Any], list[int]]]:
        """Return the function from values to a list of them with None in place of tensors, and to the lengths.

        The lengths are the numbers of tensors in the fields of several.
        """
        several = self.several_places()
        places = {*self.single_places(), *several}
        rest = ", ".join("None" if place in places else f"v[{place}]" for place in range(len(self.names)))
        lengths = ", ".join(f"len(v[{place}])" for place in several)
        written: Callable[[Values], tuple[list[Any], list[int]]] = eval(f"lambda v: ([{rest}], [{lengths}])")
        return written

    def rebuilt(self, groups: int | None = None) -> Callable[[Sequence[Any], Sequence[Any], Sequence[int]], Values]:
        """Return the function from a flat list, the list without tensors and the lengths to the values.

        Fields of groups after the first `groups` are taken from the list without tensors.
        """
        parts = [f"rest[{place}]" for place in range(len(self.names))]
        lines, start, count = [], "0", 0
        for singles, several in self._groups[:groups]:
            for n, place in enumerate(singles):
                parts[place] = f"flat[{start} + {n}]"
            start = f"{start} + {len(singles)}"
            for place in several:
                lines.append(f"end{count} = {start} + lengths[{count}]")
                parts[place] = f"flat[{start}:end{count}]"
                start, count = f"end{count}", count + 1
        body = "\n    ".join([*lines, f"return kind({', '.join(parts)})"])
        names: dict[str, Any] = {"kind": self._kind}
        exec(f"def rebuilt(flat, rest, lengths):\n    {body}\n", names)
        written: Callable[[Sequence[Any], Sequence[Any], Sequence[int]], Values] = names["rebuilt"]
        return written
