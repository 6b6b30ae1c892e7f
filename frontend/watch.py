"""Noting what a trace reads, as guards of its root frame: attributes of modules and optimizers (`Watched`) as they are
read, and, when the trace is done, what the functions that it ran find in cells and globals.
"""

from __future__ import annotations

import dis
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from .context import current_context, current_frame
from .guards import (
    MISSING,
    MOST_ITEMS,
    Attribute,
    Cells,
    ClassValue,
    Contents,
    Count,
    Globals,
    Names,
    attributes,
    contents_of,
    items_of,
    note_change,
)
from .interrupts import interrupts

if TYPE_CHECKING:
    from .tracer import Frame


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
            root.guards[key] = Contents(text, value, items_of(value)) if small else Count(text, value, len(value))
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
        if frame is not None and not interrupts(frame):
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
        own = [(cell, name, contents_of(cell)) for cell, name in _cells(f)]
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
            pending += [x for x in (*named, *(contents_of(cell) for cell, _ in _cells(f))) if callable(x)]


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
