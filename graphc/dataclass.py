"""Classes that are records of fields: what graphc uses of the standard library's `dataclasses`, made faster.

That one compiles six functions for each class, which takes 0.4 ms: for all of graphc's classes a third of `import
graphc` and an eighth of a small program's first compile. Here only `__init__` is compiled at once. Names and meanings
are those of the standard library; what graphc does not use is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from reprlib import recursive_repr
from types import MemberDescriptorType
from typing import Any, Final, TypeVar, dataclass_transform, overload

C = TypeVar("C", bound=type)
R = TypeVar("R")

_FIELDS: Final = "__record_fields__"  # of a class: its fields' names in order, each with its default
_NONE: Final = object()  # no default; in `__init__`: no argument


class _Factory:
    """A default that is made anew for each record."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def field(*, default_factory: Callable[[], Any]) -> Any:
    """A field whose default is made for each record."""
    return _Factory(default_factory)


@overload
def dataclass(cls: C, /) -> C: ...
@overload
def dataclass(
    *, eq: bool = True, frozen: bool = False, slots: bool = False, weakref_slot: bool = False
) -> Callable[[C], C]: ...
@dataclass_transform(field_specifiers=(field,))
def dataclass(
    cls: Any = None, /, *, eq: bool = True, frozen: bool = False, slots: bool = False, weakref_slot: bool = False
) -> Any:
    """Give a class an `__init__` of its annotated fields, a `__repr__`, and unless `eq` is false, equality by fields.

    frozen: fields can't be assigned to, and records of `eq` can be hashed. slots: records have no `__dict__`, and the
    class is another one than was decorated, so its methods can't use `super()` without arguments.
    A method that the class defines itself stays. `__post_init__` is called at the end of `__init__`.
    """

    def make(cls: Any) -> Any:
        own = {name: cls.__dict__.get(name, _NONE) for name in _own_fields(cls)}
        inherited = (base.__dict__.get(_FIELDS, {}) for base in reversed(cls.__mro__[1:]))
        fields = {name: default for group in (*inherited, own) for name, default in group.items()}
        if slots:
            cls = _with_slots(cls, own, weakref_slot)
        setters = _setters(cls, fields) if frozen else {}
        text = _init_text(cls, fields, frozen, setters)
        methods = {"__init__": _compiled(cls, "__init__", text, _defaults(fields) | setters)}
        methods |= {"__repr__": _repr, "__match_args__": tuple(fields)}
        if eq:
            methods["__eq__"] = _compiled_later(cls, "__eq__", lambda: _eq_text(fields))
            methods["__hash__"] = _compiled_later(cls, "__hash__", lambda: _hash_text(fields)) if frozen else None
        if frozen:
            methods |= {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
        if slots:
            methods |= {"__getstate__": _get_state, "__setstate__": _set_state}
        defined = {name for name in methods if name in cls.__dict__}
        if cls.__dict__.get("__hash__") is None:  # as Python makes it for a class with an `__eq__`
            defined.discard("__hash__")
        for name in methods.keys() - defined:
            setattr(cls, name, methods[name])
        for name, default in own.items():
            if isinstance(default, _Factory) and not slots:
                delattr(cls, name)
        setattr(cls, _FIELDS, fields)
        return cls

    return make if cls is None else make(cls)


def field_names(record: object) -> tuple[str, ...]:
    """The names of a dataclass's fields, in order; also of a record."""
    return tuple(getattr(record, _FIELDS))


def is_dataclass(record: object) -> bool:
    """Whether this is a dataclass or a record."""
    return hasattr(record, _FIELDS)


def replace(record: R, /, **changes: Any) -> R:
    """A record like this one, with other values for some fields."""
    for name in getattr(record, _FIELDS):
        if name not in changes:
            changes[name] = getattr(record, name)
    return type(record)(**changes)


def _own_fields(cls: type) -> Iterable[str]:
    """The names that the class itself annotates. (Annotations are texts here, as in all of graphc's modules.)"""
    return [name for name, text in cls.__annotations__.items() if not text.startswith("ClassVar")]


def _setters(cls: type, fields: dict[str, Any]) -> dict[str, Any]:
    """For each field that has a slot, what fills it, at less than what `object.__setattr__` takes."""
    found = {f"_set_{name}": getattr(cls, name, None) for name in fields}
    return {name: slot.__set__ for name, slot in found.items() if isinstance(slot, MemberDescriptorType)}


def _init_text(cls: type, fields: dict[str, Any], frozen: bool, setters: dict[str, Any]) -> str:
    parameters, lines = ["self"], []
    for name, default in fields.items():
        value, parameter = name, name
        if isinstance(default, _Factory):
            value, parameter = f"_{name}() if {name} is _NONE else {name}", f"{name}=_NONE"
        elif default is not _NONE:
            parameter = f"{name}=_{name}"
        parameters.append(parameter)
        setter = f"_set_{name}(self, " if f"_set_{name}" in setters else f"_set(self, {name!r}, "
        lines.append(f"{setter}{value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    return f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines or ["pass"])


def _defaults(fields: dict[str, Any]) -> dict[str, Any]:
    """What the text of `__init__` refers to."""
    made = {f"_{name}": d.make if isinstance(d, _Factory) else d for name, d in fields.items()}
    return made | {"_set": object.__setattr__, "_NONE": _NONE}


def _eq_text(fields: dict[str, Any]) -> str:
    mine, other = ("".join(f"{record}.{name}, " for name in fields) for record in ("self", "other"))
    test = f"({mine}) == ({other}) if other.__class__ is self.__class__ else NotImplemented"
    return f"def __eq__(self, other): return {test}"


def _hash_text(fields: dict[str, Any]) -> str:
    return f"def __hash__(self): return hash(({''.join(f'self.{name}, ' for name in fields)}))"


def _compiled(cls: type, name: str, text: str, names: dict[str, Any]) -> Any:
    """The method of this text. Its frames belong to the class's module: that tells graphc's own from the user's."""
    names["__name__"] = cls.__module__
    exec(text, names)
    names[name].__qualname__ = f"{cls.__qualname__}.{name}"
    return names[name]


def _compiled_later(cls: type, name: str, text: Callable[[], str]) -> Any:
    """The method of this text, compiled when it is first called: many never are."""

    def method(*operands: object) -> Any:
        made = _compiled(cls, name, text(), {})
        setattr(cls, name, made)
        return made(*operands)

    return method


@recursive_repr("...")
def _repr(self: object) -> str:
    values = ", ".join(f"{name}={getattr(self, name)!r}" for name in field_names(self))
    return f"{type(self).__qualname__}({values})"


def _refuse_to_set(self: object, name: str, value: object) -> None:
    raise AttributeError(f"cannot assign to field {name!r} of a {type(self).__qualname__}, which is frozen")


def _refuse_to_delete(self: object, name: str) -> None:
    raise AttributeError(f"cannot delete field {name!r} of a {type(self).__qualname__}, which is frozen")


def _get_state(self: object) -> list[Any]:
    return [getattr(self, name) for name in field_names(self)]


def _set_state(self: object, state: list[Any]) -> None:
    for name, value in zip(field_names(self), state, strict=True):
        object.__setattr__(self, name, value)


def _with_slots(cls: type, own: dict[str, Any], weakref_slot: bool) -> type:
    """The same class, made once more with slots for its own fields."""
    slots = (*own, *(("__weakref__",) if weakref_slot else ()))
    taken = {*own, "__dict__", "__weakref__"}
    body = {name: value for name, value in cls.__dict__.items() if name not in taken}
    made = type(cls)(cls.__name__, cls.__bases__, body | {"__slots__": slots})
    made.__qualname__ = cls.__qualname__
    return made
