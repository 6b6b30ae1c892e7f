"""Classes that are records of fields: what graphc uses of the standard library's `dataclasses`, made faster.

That one compiles six functions for each class, which takes 0.4 ms: for all of graphc's classes a third of `import
graphc` and an eighth of a small program's first compile. Here only `__init__` is made at once, and compiled only for
the first class of its kind. Names and meanings are those of the standard library; what graphc does not use is not
there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from reprlib import recursive_repr
from types import CodeType, FunctionType, MemberDescriptorType
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
        methods = {"__init__": _init(cls, fields, frozen), "__repr__": _repr, "__match_args__": tuple(fields)}
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


def _init(cls: type, fields: dict[str, Any], frozen: bool) -> FunctionType:
    """`__init__`. Its text has numbers for the fields' names, so that classes with as many fields of the same kinds
    share a code, which is compiled once; the names are put in then."""
    lines: list[str] = []
    values: dict[str, Any] = {"_set": object.__setattr__, "_NONE": _NONE}  # what the text refers to
    defaults: list[object] = []
    for number, (name, default) in enumerate(fields.items()):
        field = value = f"_{number}"
        if isinstance(default, _Factory):
            value = f"{field} if {field} is not _NONE else _make{number}()"
            values[f"_make{number}"] = default.make
            defaults.append(_NONE)
        elif default is not _NONE:
            defaults.append(default)
        elif defaults:
            raise TypeError(f"{cls.__name__}.{name} has no default, but follows one that has")
        if not frozen:
            lines.append(f"self.{field} = {value}")
        elif isinstance(slot := getattr(cls, name, None), MemberDescriptorType):
            values[f"_fill{number}"] = slot.__set__  # at less than what `object.__setattr__` takes
            lines.append(f"_fill{number}(self, {value})")
        else:
            lines.append(f"_set(self, {field!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    named = {f"_{number}": name for number, name in enumerate(fields)}
    parameters = ", ".join(("self", *named))
    code = _named(_code(f"def __init__({parameters}):\n " + "\n ".join(lines or ["pass"])), named)
    return _method(cls, "__init__", code, values, tuple(defaults))


@cache
def _code(text: str) -> CodeType:
    """The code of a text that defines one function."""
    (found,) = (part for part in compile(text, "<string>", "exec").co_consts if isinstance(part, CodeType))
    return found


def _named(code: CodeType, names: dict[str, str]) -> CodeType:
    """The same code with other names, wherever they stand: for variables, for attributes, and as texts."""
    return code.replace(
        co_varnames=tuple(names.get(x, x) for x in code.co_varnames),
        co_names=tuple(names.get(x, x) for x in code.co_names),
        co_consts=tuple(names.get(x, x) if isinstance(x, str) else x for x in code.co_consts),
    )


def _method(
    cls: type, name: str, code: CodeType, values: dict[str, Any], defaults: tuple[object, ...] = ()
) -> FunctionType:
    """A method of the class. Its frames belong to the class's module: that tells graphc's own from the user's."""
    made = FunctionType(code, values | {"__name__": cls.__module__}, name, defaults)
    made.__qualname__ = f"{cls.__qualname__}.{name}"
    return made


def _eq_text(fields: dict[str, Any]) -> str:
    mine, other = ("".join(f"{record}.{name}, " for name in fields) for record in ("self", "other"))
    test = f"({mine}) == ({other}) if other.__class__ is self.__class__ else NotImplemented"
    return f"def __eq__(self, other): return {test}"


def _hash_text(fields: dict[str, Any]) -> str:
    return f"def __hash__(self): return hash(({''.join(f'self.{name}, ' for name in fields)}))"


def _compiled_later(cls: type, name: str, text: Callable[[], str]) -> Any:
    """The method of this text, compiled when it is first called: many never are."""

    def method(*operands: object) -> Any:
        made = _method(cls, name, _code(text()), {})
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
