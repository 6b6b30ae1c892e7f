"""Guards: what a trace has read that may be another at a later call. A trace holds as long as its guards do.

Attributes of modules and optimizers are noted as they are read (`Watched`); whoever sets one moves a token, so that a
call finds out with one comparison that none has changed since the last one. What can change without that — items of
lists and dicts, values in cells and globals — is compared at each call, by identity.
"""

from __future__ import annotations

import dis
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol

from graphc.brief import brief

from .context import current_context, current_frame

if TYPE_CHECKING:
    from .tracer import Frame

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
class Contents:
    """The items of a list, a dict or a set. `kept`: of dicts, the keys and then the values."""

    text: str
    container: Any
    kept: tuple[object, ...]

    def holds(self) -> bool:
        now = _items(self.container)
        return len(now) == len(self.kept) and all(map(is_same, now, self.kept))

    def told(self) -> str:
        now, was = _items(self.container), self.kept
        if len(now) != len(was) or isinstance(self.container, dict | set):
            return f"{self.text} has changed"
        number = next(i for i, pair in enumerate(zip(was, now, strict=True)) if not is_same(*pair))
        return _told(f"{self.text}[{number}]", was[number], now[number])

    def unchanged(self) -> Unchanged:
        container = self.container
        if type(container) in (list, dict) and all(map(_compares_by_identity, _items(container))):
            return partial(operator.eq, container, container.copy())  # the quickest, by half
        kept, items = _items(container), _items

        def unchanged() -> bool:
            now = container if type(container) is list else items(container)
            if len(now) != len(kept):
                return False
            for a, b in zip(now, kept):  # noqa: B905, SIM110 - lengths are equal; loops are quicker
                if a is not b:
                    return False
            return True

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
    """Values among a module's globals. `names`: the module's dict."""

    names: dict[str, Any]
    values: dict[str, object]

    def holds(self) -> bool:
        return all(is_same(self.names.get(name, MISSING), value) for name, value in self.values.items())

    def told(self) -> str:
        pairs = ((name, value, self.names.get(name, MISSING)) for name, value in self.values.items())
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
        return all(is_same(_contents(cell), value) for cell, _, value in self.cells)

    def told(self) -> str:
        found = ((name, value, _contents(cell)) for cell, name, value in self.cells)
        return next(_told(*three) for three in found if not is_same(*three[1:]))

    def unchanged(self) -> Unchanged:
        pairs = [(cell, _contents(cell)) for cell, _, _ in self.cells]

        def unchanged() -> bool:
            try:
                for cell, value in pairs:
                    if cell.cell_contents is not value:
                        return False
            except ValueError:  # one is empty
                return False
            return True

        return unchanged


def _contents(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return MISSING


def _told(what: str, was: object, now: object) -> str:
    texts = ["not there" if x is MISSING else brief(x) for x in (was, now)]
    if texts[0] == texts[1]:
        texts[1] = "another one"
    return f"{what} was {texts[0]}, is {texts[1]}"


def _items(container: Any) -> tuple[object, ...]:
    return (*container, *container.values()) if isinstance(container, dict) else tuple(container)


def _compares_by_identity(item: object) -> bool:
    return type(item).__eq__ is object.__eq__ or type(item) is str


# Noting what a trace reads


def watch_attribute(frame: Frame, owner: Any, name: str) -> None:
    """Note that the trace has read an attribute, unless the trace itself has set it before."""
    root = frame if frame.parent is None else frame.root
    key = id(owner), name
    if key in root.guards or key in root.set_here:
        return
    value = attributes(owner).get(name, MISSING)
    root.guards[key] = Attribute(owner, name, value)
    if value is not MISSING:
        _watch_items(root, f"{type(owner).__name__}.{name}", value)
        return
    found = [c.__dict__[name] for c in type(owner).__mro__ if name in c.__dict__]
    root.functions.update(dict.fromkeys(f for x in found for f in _functions_behind(x)))  # `super()` calls the others
    if found and not hasattr(type(found[0]), "__get__"):
        root.guards[id(type(owner)), name] = ClassValue(type(owner), name, found[0])
        _watch_items(root, f"{type(owner).__name__}.{name}", found[0])


def watch_all_attributes(owner: Any) -> None:
    """Note that the trace has read all attributes of an instance, and which there are."""
    frame = current_frame()
    if frame is not None:
        for name in attributes(owner):
            watch_attribute(frame, owner, name)
        frame.root.guards.setdefault((id(owner), "__dict__"), Names(owner, Names.of(owner)))


def _watch_items(root: Frame, text: str, value: Any) -> None:
    """Note what lists and dicts hold, and those inside of them."""
    pending = [(text, value)]
    while pending:
        text, value = pending.pop()
        if isinstance(value, list | dict | set) and (key := (id(value), "")) not in root.guards:
            small = len(value) <= MOST_ITEMS
            root.guards[key] = Contents(text, value, _items(value)) if small else Count(text, value, len(value))
        elif not isinstance(value, tuple):
            continue
        if len(value) <= MOST_ITEMS:
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            pending += [(f"{text}[{k!r}]", item) for k, item in pairs if isinstance(item, list | dict | tuple | set)]


_get, _context = object.__getattribute__, current_context  # modules are asked for attributes often


class Watched:
    """The base of objects whose attributes traces depend on: a trace notes what it reads, and a compiled function
    looks, at each call, whether that is the same still."""

    if not TYPE_CHECKING:

        def __getattribute__(self, name: str) -> Any:
            frame = _context().frame
            if frame is None:
                return _get(self, name)
            if name[:2] == "__":
                if name == "__dict__":
                    watch_all_attributes(self)
                return _get(self, name)
            try:
                return _get(self, name)
            finally:
                watch_attribute(frame, self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        mine = attributes(self)
        before = mine.get(name, MISSING)
        object.__setattr__(self, name, value)
        if mine.get(name, MISSING) is not before:
            self._changed(name)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._changed(name)

    def _changed(self, name: str) -> None:
        frame = current_frame()
        if frame is not None:
            frame.root.set_here.add((id(self), name))
        note_change()


# What functions have from around them


def captured_values(root: Frame, function: Any) -> None:
    """Note the values that a traced function, those that it names, and methods that were called find in cells and
    globals: which objects they are, and what lists and dicts of modules and Variables hold.

    Python's modules, classes, and functions of libraries are taken as they are.
    """
    shared: dict[int, Globals] = {}
    cells: dict[int, tuple[Any, str, object]] = {}
    for f in _followed([function, *root.functions]):
        names = f.__globals__
        found = {n: names[n] for c in _codes(f.__code__) for n in global_names(c) if n in names}
        found = {n: x for n, x in found.items() if not _is_fixed(x)}
        shared.setdefault(id(names), Globals(names, {})).values.update(found)
        own = [(cell, name, _contents(cell)) for cell, name in _cells(f)]
        cells |= {id(cell): (cell, name, x) for cell, name, x in own if not _is_fixed(x)}
        for name, x in (*found.items(), *((name, x) for _, name, x in own)):
            if isinstance(x, list | dict) and _holds_state(x):
                _watch_items(root, name, x)
    root.guards |= {(key, "globals"): guard for key, guard in shared.items() if guard.values}
    if cells:
        root.guards[0, "cells"] = Cells(list(cells.values()))


def _followed(callables: Iterable[Any]) -> Iterator[FunctionType]:
    """The user's functions behind these callables, and behind those that they name."""
    pending, seen = list(callables), set()
    while pending:
        for f in _functions_behind(pending.pop()):
            if f in seen:
                continue
            seen.add(f)
            if _is_ours(f):
                pending.append(f.__dict__.get("__wrapped__"))
                continue
            yield f
            names = f.__globals__
            named = (names[n] for c in _codes(f.__code__) for n in global_names(c) if n in names)
            pending += [x for x in (*named, *(_contents(cell) for cell, _ in _cells(f))) if callable(x)]


def _cells(function: FunctionType) -> Iterable[tuple[Any, str]]:
    return zip(function.__closure__ or (), function.__code__.co_freevars, strict=True)


def _is_fixed(value: object) -> bool:
    """Whether it is nothing that one would replace: a Python module, a class, a function of a library."""
    if isinstance(value, ModuleType | type | BuiltinFunctionType):
        return True
    return isinstance(value, FunctionType) and _is_ours(value)


def _is_ours(function: FunctionType) -> bool:
    return str(function.__globals__.get("__name__", "")).partition(".")[0] in ("graphc", "numpy")


def _holds_state(container: Any) -> bool:
    from .variable import Variable

    items = container.values() if isinstance(container, dict) else container
    return len(container) <= MOST_ITEMS and any(isinstance(x, Watched | Variable) for x in items)


def _functions_behind(value: Any) -> list[FunctionType]:
    """The function itself, or those that a callable or a descriptor stands for: a method's, a partial's, a property's,
    one that was wrapped or compiled."""
    if isinstance(value, FunctionType):
        return [value]
    if isinstance(value, property):
        found = [value.fget]
    else:
        inside = {} if isinstance(value, type | Watched) else getattr(value, "__dict__", {})
        found = [inside.get("__wrapped__")]
        if isinstance(value, MethodType | staticmethod | classmethod):
            found.append(value.__func__)
        elif isinstance(value, partial | cached_property):
            found.append(value.func)
    return [f for f in found if isinstance(f, FunctionType)]


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code, and that of the functions defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


_LOAD_GLOBAL, _EXTENDED = dis.opmap["LOAD_GLOBAL"], dis.EXTENDED_ARG


def global_names(code: CodeType) -> set[str]:
    """The globals that a code reads. As `dis` finds them, in a tenth of the time."""
    found, more, text = set(), 0, code.co_code
    for at in range(0, len(text), 2):
        argument = more | text[at + 1]
        more = argument << 8 if text[at] == _EXTENDED else 0
        if text[at] == _LOAD_GLOBAL:
            found.add(code.co_names[argument >> 1])
    return found
