"""Noting what a trace reads, as guards of its root frame: attributes of modules and optimizers (`Watched`) as they are
read, and, when the trace is done, what the functions that it ran find in cells and globals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from .context import current_context, current_frame
from .fields import Fields, is_fixed, is_of_library, watch_items
from .guards import (
    MISSING,
    Attribute,
    Cells,
    ClassValue,
    Names,
    attributes,
    contents_of,
    note_change,
)
from .interrupts import interrupts
from .reads import Chain, Reads, codes_of

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
        watch_items(root, f"{type(owner).__name__}.{name}", value)
        return
    found = [c.__dict__[name] for c in type(owner).__mro__ if name in c.__dict__]
    root.functions.update(dict.fromkeys(f for x in found for f in _functions_behind(x)))  # `super()` calls the others
    if found and not hasattr(type(found[0]), "__get__"):
        root.guards[id(type(owner)), name] = ClassValue(type(owner), name, found[0])
        watch_items(root, f"{type(owner).__name__}.{name}", found[0])


def watch_all_attributes(owner: Any) -> None:
    """Note that the trace has read all attributes of an instance, and which there are."""
    frame = current_frame()
    if frame is not None:
        for name in attributes(owner):
            watch_attribute(frame, owner, name)
        frame.root.guards.setdefault((id(owner), "__dict__"), Names(owner, Names.of(owner)))


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


def captured_values(root: Frame, function: Any, arguments: Sequence[Any] = ()) -> None:
    """Note the values that a traced function, those that it names, and methods that were called find in cells and
    globals: which objects they are, what attributes that are read of them are, and what lists and dicts hold (see
    `Fields`). Of plain objects whose methods those are, and of `arguments` that the function was called with, what is
    read of a variable is noted, too: which one holds them is not known, so that is at most too much.

    Python's modules, classes, and functions of libraries are taken as they are.
    """
    fields = Fields(root)
    cells: dict[int, tuple[Any, str, object]] = {}
    attributes_read: dict[str, set[Chain]] = {}
    pending, known = [function, *root.functions], dict[FunctionType, Reads | None]()
    methods = _methods_of(function, arguments)
    done: set[tuple[int, FunctionType]] = set()
    while pending or methods or fields.methods:
        for f, reads in _followed(pending, known):
            names = f.__globals__
            for chain in reads.globals:
                if chain[0] in names:
                    fields.note(names, chain[0], names[chain[0]])
                    fields.follow(names[chain[0]], chain)
            own = {name: (cell, name, contents_of(cell)) for cell, name in _cells(f)}
            cells |= {id(c[0]): c for c in own.values() if not is_fixed(c[2])}
            for chain in reads.cells:
                if chain[0] in own:
                    fields.follow(own[chain[0]][2], chain)
            for chain in reads.variables:
                attributes_read.setdefault(chain[0], set()).add(chain)
        methods += fields.methods
        fields.methods.clear()
        pending += [f for _, f in methods if f not in known]
        while methods and not pending:
            owner, f = methods.pop()
            if (id(owner), f) not in done and (read := known[f]) is not None:
                done.add((id(owner), f))
                for chain in read.variables:
                    fields.follow(owner, (type(owner).__name__, *chain))
    for guard in list(root.guards.values()):  # self.config.lr, where modules say only what `config` is
        if isinstance(guard, Attribute):
            for chain in attributes_read.get(guard.name, ()):
                if len(chain) > 1:
                    fields.follow(guard.value, chain)
    fields.finish()
    if cells:
        root.guards[0, "cells"] = Cells(list(cells.values()))


def _methods_of(function: Any, arguments: Sequence[Any]) -> list[tuple[Any, FunctionType]]:
    """The user's function behind the traced one, with each object that a variable of it may hold."""
    called = function if _functions_behind(function) else type(function).__call__
    owners = [getattr(function, "__self__", function), *arguments]
    return [(owner, f) for f in _functions_behind(called) for owner in owners]


def _followed(
    pending: list[Any], known: dict[FunctionType, Reads | None]
) -> Iterator[tuple[FunctionType, Reads]]:
    """The user's functions behind these callables, and behind those that they name, with what they read: those that
    are not known yet. None is known of functions of libraries."""
    while pending:
        for f in _functions_behind(pending.pop()):
            if f in known:
                continue
            known[f] = None
            if is_of_library(f):
                pending.append(f.__dict__.get("__wrapped__"))
                continue
            known[f] = reads = Reads(codes_of(f.__code__))
            yield f, reads
            names = f.__globals__
            named = (names[n] for n in reads.global_names if n in names)
            pending += [x for x in (*named, *(contents_of(cell) for cell, _ in _cells(f))) if callable(x)]


def _cells(function: FunctionType) -> Iterable[tuple[Any, str]]:
    return zip(function.__closure__ or (), function.__code__.co_freevars, strict=True)


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
