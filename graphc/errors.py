"""The errors users meet. Each says four things: the rule, what was got, where it was traced, what to try.

The place is filled in by whoever knows it (`at`), usually the constructor of a node, so a type rule
need not know about source files.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from enum import Enum
from typing import Any, Self, TypeVar

from .brief import brief
from .dataclass import dataclass

E = TypeVar("E", bound=Enum)


@dataclass(frozen=True)
class Location:
    """A line of the user's program. `source`: its text, where the file itself is not at hand."""

    file: str
    line: int
    function: str = ""
    source: str = ""

    def __str__(self) -> str:
        return f"{self.file.rpartition('/')[2]}:{self.line}"

    @property
    def text(self) -> str:
        """The source text of the line, or nothing where it can't be read."""
        return self.source or linecache.getline(self.file, self.line).strip()

    @property
    def detached(self) -> Location:
        """The line as it is told on another machine: the file's bare name, and the text."""
        return Location(self.file.rpartition("/")[2], self.line, self.function, self.text)


class GraphcError(Exception):
    """Base of all errors that graphc raises on purpose."""

    longest = 600  # characters of `got` that are shown: a message prints no data

    def __init__(
        self, rule: str, *, got: str | None = None, where: Location | None = None,
        hint: str | Callable[[], str | None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(rule)
        self.rule = rule
        self.got = got
        self.where = where
        self._hint = hint

    @property
    def hint(self) -> str | None:
        """What to try. One that takes long to find is looked for when it is asked for: most errors are never read."""
        if callable(self._hint):
            self._hint = self._hint()
        return self._hint

    def __reduce__(self) -> Any:
        self._hint = self.hint
        return super().__reduce__()

    def at(self, where: Location | None) -> Self:
        """Fill in the user's line unless a more exact one is known already."""
        if self.where is None:
            self.where = where
        return self

    def __str__(self) -> str:
        lines = [self.rule]
        if self.got is not None:
            shown = self.got if len(self.got) <= self.longest else f"{self.got[: self.longest]}…"
            lines.append(f"  got: {shown}")
        if self.where is not None:
            text = self.where.text
            lines.append(f'  at:  {self.where.file}, line {self.where.line}' + (f":  {text}" if text else ""))
        if self.hint is not None:
            lines.append(f"  try: {self.hint}")
        return "\n".join(lines)


class ShapeError(GraphcError, ValueError):
    """Shapes that do not fit together."""


class AxisError(ShapeError, IndexError):
    """An axis that there is not, or more indices than axes. An IndexError too, as NumPy's AxisError is."""


class DTypeError(GraphcError, TypeError):
    """A dtype that an op, a layer or an input spec refuses."""


class TraceError(GraphcError, RuntimeError):
    """Python asked something of a symbolic tensor that only a concrete one can answer."""


class UnsupportedError(GraphcError, NotImplementedError):
    """A backend can't do this: the text says what, which backend, and why."""


class GraphcIndexError(GraphcError, IndexError):
    """An index outside its axis: of a gather or scatter at run time, or a number known while tracing."""


class ArgumentError(GraphcError, TypeError):
    """A call that does not fit: arguments that are missing, unknown, or of a wrong kind."""


class UnknownNameError(GraphcError, AttributeError):
    """A name that graphc does not have; the hint leads on to what it has instead."""


class UnknownImportError(GraphcError, ImportError):
    """The same, met in `from graphc.nn import Name`."""


class NotFiniteError(GraphcError, FloatingPointError):
    """A NaN or an infinity was made, which GRAPHC_CHECK_NAN=1 asks to be told."""


class OptionError(GraphcError, ValueError):
    """A name that is none of the legal ones, which the message lists."""


class PackageError(GraphcError, ValueError):
    """A file that is no package of graphc's, or a damaged one."""


class PathError(GraphcError, OSError):
    """A path that holds something else than a file."""


class CompileError(GraphcError, RuntimeError):
    """graphc's own fault: a pass or a backend broke an invariant."""

    longest = 100_000  # it shows a window of the graph


class CommandError(GraphcError):
    """What is wrong with a command's words or files, in one line and in those words."""


class ParseError(GraphcError, ValueError):
    """Text that is no graph. `line` and `column` count from 1; the message shows the place."""

    def __init__(self, rule: str, *, text: str, line: int, column: int) -> None:
        source = (text.splitlines() or [""])[min(line, max(len(text.splitlines()), 1)) - 1]
        super().__init__(f"line {line}, column {column}: {rule}\n    {source}\n    {' ' * (column - 1)}^")
        self.line = line
        self.column = column


def option(kind: type[E], name: object, what: str) -> E:
    """The member of an enum with this value. `what`: how the option is called, for the message of the OptionError."""
    found = next((member for member in kind if member.value == name), None)
    if found is None:
        legal = ", ".join(repr(member.value) for member in kind)
        raise OptionError(f"there is no such {what}", got=brief(name), hint=f"use one of {legal}")
    return found
