"""Guards: what a trace has read that may be another at a later call. A trace holds as long as its guards do.

Whoever sets a watched attribute moves a token, so that a call finds out with one comparison that none has changed since
the last one. What can change without that — items of lists and dicts, values in cells and globals — is compared at each
call, by identity. How a trace notes what it reads is told in `watch.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Protocol

from graphc.brief import brief
from graphc.dataclass import dataclass

MISSING: Final = object()  # what is read of an attribute that is not there
MOST_ITEMS = 1000  # of a list or dict that are compared at each call; of larger ones the number of items is

Unchanged = Callable[[], bool]


class _Changes:
    """When an attribute that traces may have read was last set: a token that is new each time."""

    last: object = None


changes = _Changes()


def note_change() -> None:
    changes.last = object()


class Guard(Protocol):
    """Something that a trace has read."""

    def holds(self) -> bool:
        """Whether it is the same still."""

    def told(self) -> str:
        """What it was and what it is, where it does not hold."""


class Volatile(Guard, Protocol):
    """Something that changes without a word."""

    def unchanged(self) -> Unchanged:
        """A quick test of whether it is, by identity, as it is now."""


class Guards:
    """All guards of a trace."""

    def __init__(self, guards: Iterable[Guard]) -> None:
        self.all = tuple(guards)
        self._seen: object = self  # the token of the last time that all were compared
        self._unchanged: list[Unchanged] = []

    def hold(self) -> bool:
        """Whether everything that the trace has read is the same still."""
        if self._seen is changes.last:
            for unchanged in self._unchanged:
                if not unchanged():
                    break
            else:
                return True
        return self._all_hold()

    def _all_hold(self) -> bool:
        seen = changes.last
        unchanged = [g.unchanged() for g in self.all if hasattr(g, "unchanged")]  # before they are compared
        if not all(g.holds() for g in self.all):
            return False
        self._unchanged = unchanged  # first: another thread may look between the two
        self._seen = seen
        return True

    @property
    def owners(self) -> list[Any]:
        """The objects whose attributes were read, in that order."""
        return list({id(g.owner): g.owner for g in self.all if isinstance(g, Attribute)}.values())

    def broken(self) -> Guard | None:
        """One that does not hold, if there is one."""
        return next((g for g in self.all if not g.holds()), None)


def attributes(owner: Any) -> dict[str, Any]:
    """The instance's own: `vars`, past `Watched.__getattribute__`."""
    found: dict[str, Any] = object.__getattribute__(owner, "__dict__")
    return found


def is_same(a: object, b: object) -> bool:
    """Whether a value that was read is as good as another one: identical, or equal as static values are."""
    if a is b:
        return True
    from .arguments import is_same_static

    try:
        return type(a) is type(b) and is_same_static(a, b)
    except Exception:  # no static value, or one with an equality of its own
        return False


@dataclass(frozen=True, eq=False, slots=True)
class Attribute:
    """An attribute of an instance, or that there was none."""

    owner: Any
    name: str
    value: object

    def holds(self) -> bool:
        now = attributes(self.owner).get(self.name, MISSING)
        return now is self.value or is_same(now, self.value)

    def told(self) -> str:
        now = attributes(self.owner).get(self.name, MISSING)
        return _told(f"{type(self.owner).__name__}.{self.name}", self.value, now)


@dataclass(frozen=True, eq=False, slots=True)
class Names:
    """Which attributes an instance has that its class has not."""

    owner: Any
    names: tuple[str, ...]

    @staticmethod
    def of(owner: Any) -> tuple[str, ...]:
        return tuple(name for name in attributes(owner) if not hasattr(type(owner), name))

    def holds(self) -> bool:
        return self.of(self.owner) == self.names

    def told(self) -> str:
        changed = set(self.names) ^ set(self.of(self.owner))
        return f"{type(self.owner).__name__} has other attributes: {', '.join(sorted(changed)) or 'in another order'}"


@dataclass(frozen=True, eq=False, slots=True)
class Flag:
    """Whether a Variable is trainable."""

    variable: Any
    value: bool

    def holds(self) -> bool:
        return self.variable._trainable is self.value

    def told(self) -> str:
        return _told(f"{self.variable.name}.trainable", self.value, self.variable._trainable)


@dataclass(frozen=True, eq=False, slots=True)
class ClassValue:
    """A plain value that instances have from their class."""

    owner: type
    name: str
    value: object

    def holds(self) -> bool:
        return is_same(getattr(self.owner, self.name, MISSING), self.value)

    def told(self) -> str:
        return _told(f"{self.owner.__name__}.{self.name}", self.value, getattr(self.owner, self.name, MISSING))

    def unchanged(self) -> Unchanged:
        owner, name, now = self.owner, self.name, getattr(self.owner, self.name, MISSING)
        return lambda: getattr(owner, name, MISSING) is now


@dataclass(frozen=True, eq=False, slots=True)
class Slot:
    """The value of an instance's slot."""

    owner: Any
    name: str
    value: object

    def holds(self) -> bool:
        return is_same(getattr(self.owner, self.name, MISSING), self.value)

    def told(self) -> str:
        return _told(f"{type(self.owner).__name__}.{self.name}", self.value, getattr(self.owner, self.name, MISSING))

    def unchanged(self) -> Unchanged:
        owner, name, now = self.owner, self.name, getattr(self.owner, self.name, MISSING)
        return lambda: getattr(owner, name, MISSING) is now


@dataclass(frozen=True, eq=False, slots=True)
class Contents:
    """The items of a list, a dict or a set. `kept`: of dicts, the keys and then the values."""

    text: str
    container: Any
    kept: tuple[object, ...]

    def holds(self) -> bool:
        now = items_of(self.container)
        return len(now) == len(self.kept) and all(map(is_same, now, self.kept))

    def told(self) -> str:
        now, was = items_of(self.container), self.kept
        if len(now) != len(was) or isinstance(self.container, dict | set):
            return f"{self.text} has changed"
        number = next(i for i, pair in enumerate(zip(was, now, strict=True)) if not is_same(*pair))
        return _told(f"{self.text}[{number}]", was[number], now[number])

    def unchanged(self) -> Unchanged:
        container = self.container
        if type(container) in (list, dict) and all(map(_compares_by_identity, items_of(container))):
            return partial(operator.eq, container, container.copy())  # the quickest, by half
        kept, items = items_of(container), items_of
        is_list, count, same = type(container) is list, len(items_of(container)), operator.is_

        def unchanged() -> bool:
            now = container if is_list else items(container)
            return len(now) == count and all(map(same, now, kept))

        return unchanged


@dataclass(frozen=True, eq=False, slots=True)
class Count:
    """How many items a container has that is too large to be compared."""

    text: str
    container: Any
    count: int

    def holds(self) -> bool:
        return len(self.container) == self.count

    def told(self) -> str:
        return f"{self.text} had {self.count} items, has {len(self.container)}"

    def unchanged(self) -> Unchanged:
        return self.holds


@dataclass(frozen=True, eq=False, slots=True)
class Globals:
    """Values among a module's globals, or an object's attributes. `names`: its dict; `prefix`: "config."."""

    names: dict[str, Any]
    values: dict[str, object]
    prefix: str = ""

    def holds(self) -> bool:
        return all(is_same(self.names.get(name, MISSING), value) for name, value in self.values.items())

    def told(self) -> str:
        pairs = ((self.prefix + n, value, self.names.get(n, MISSING)) for n, value in self.values.items())
        return next(_told(*three) for three in pairs if not is_same(*three[1:]))

    def unchanged(self) -> Unchanged:
        get, pairs = self.names.get, [(name, self.names.get(name, MISSING)) for name in self.values]

        def unchanged() -> bool:
            for name, value in pairs:  # noqa: SIM110 - quicker
                if get(name) is not value:
                    return False
            return True

        return unchanged


@dataclass(frozen=True, eq=False, slots=True)
class Cells:
    """Values that functions have from the functions around them: cells with their names and contents."""

    cells: list[tuple[Any, str, object]]

    def holds(self) -> bool:
        return all(is_same(contents_of(cell), value) for cell, _, value in self.cells)

    def told(self) -> str:
        found = ((name, value, contents_of(cell)) for cell, name, value in self.cells)
        return next(_told(*three) for three in found if not is_same(*three[1:]))

    def unchanged(self) -> Unchanged:
        pairs = [(cell, contents_of(cell)) for cell, _, _ in self.cells]

        def unchanged() -> bool:
            try:
                for cell, value in pairs:
                    if cell.cell_contents is not value:
                        return False
            except ValueError:  # one is empty
                return False
            return True

        return unchanged


def contents_of(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return MISSING


def _told(what: str, was: object, now: object) -> str:
    texts = ["not there" if x is MISSING else brief(x) for x in (was, now)]
    if texts[0] == texts[1]:
        texts[1] = "another one"
    return f"{what} was {texts[0]}, is {texts[1]}"


def items_of(container: Any) -> tuple[object, ...]:
    return (*container, *container.values()) if isinstance(container, dict) else tuple(container)


def _compares_by_identity(item: object) -> bool:
    return type(item).__eq__ is object.__eq__ or type(item) is str
