"""`Module`: Variables and other modules under names, static fields, and the function they make up.

Knows nothing of particular layers. Attributes are found when asked for, so there is nothing to register and no
`super().__init__()` to call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from os import PathLike
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from graphc.brief import brief
from graphc.errors import ArgumentError, DTypeError, GraphcError, ShapeError, UnknownNameError

from ..context import current_frame
from ..emit import ArrayLike, as_tensor
from ..guards import attributes, note_change
from ..location import with_user_line
from ..parameters import load_parameters, save_parameters
from ..signatures import check_call
from ..tensor import Tensor
from ..variable import Variable
from ..watch import Watched, watch_all_attributes, watch_attribute
from ..words import Owner, leading_on, names_of, unknown

T = TypeVar("T")


class static(Generic[T]):
    """A field of a module that traces depend on: `training = static(True)` in the class gives it a default.

    A trace records its value when it reads it, and a compiled function checks it on each call. `check`: gives the value
    to keep for one that is set, or raises an error.
    """

    def __init__(self, default: T, check: Callable[[Any], T] | None = None) -> None:
        self.default = default
        self.check = check
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> static[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> static[T] | T:
        if instance is None:
            return self
        value: T = attributes(instance).setdefault(self.name, self.default)
        frame = current_frame()
        if frame is not None:
            watch_attribute(frame, instance, self.name)
        return value

    @with_user_line
    def __set__(self, instance: object, value: T) -> None:
        if self.check is not None:
            value = self.check(value)
        before = attributes(instance).get(self.name, self.default)
        attributes(instance)[self.name] = value
        if before is not value:
            note_change()


class StateError(GraphcError, KeyError):
    """A state does not have the names that a module has."""

    __str__ = GraphcError.__str__


def assign_state(
    owner: str, mine: Mapping[str, Variable], state: Mapping[str, ArrayLike], *, required: bool, exact: bool
) -> None:
    """Assign Variables by name: all, or none where an array does not fit.

    Raises StateError for missing names, if they are `required`, and for unknown ones, if it has to be `exact`;
    ShapeError and DTypeError for arrays of other types.
    """
    from ..creation import asarray

    missing = sorted(mine.keys() - state.keys()) if required else []
    unknown = sorted(state.keys() - mine.keys()) if exact else []
    if missing or unknown:
        raise StateError(
            f"a state has {'exactly' if exact else 'all of'} {owner}'s names",
            got=f"missing: {missing or 'none'}; unknown: {unknown or 'none'}",
            hint="strict=False loads the names that both have" if exact else None,
        )
    new = {name: asarray(state[name]) for name in mine if name in state}
    for name, value in new.items():
        if value.type != mine[name].type:
            raise (ShapeError if value.shape != mine[name].shape else DTypeError)(
                f"{name} is {mine[name].type}", got=str(value.type)
            )
    for name, value in new.items():
        mine[name].assign(value)


class Module(Watched):
    """The base of layers and models: set Variables and modules as attributes, define `forward`, call it.

    Lists, tuples and dicts of them are looked into. Names are paths: "layers.0.weight".

    A trace notes the attributes that it reads, and what lists and dicts among them hold; a compiled function is traced
    again when one of them has changed. Arrays are copied when they are traced, other objects taken as they are then.
    """

    training = static(True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    @with_user_line
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.forward(*args, **kwargs)
        except TypeError:
            check_call(self.forward, args, kwargs)
            raise

    if not TYPE_CHECKING:

        @leading_on
        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property of the user's, whose own error this is about
                return object.__getattribute__(self, name)
            unknown(Owner.MODULE, name, type(self).__name__, partial(names_of, [*attributes(self)], type(self)))

    @with_user_line
    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(value, Variable) and value is not None and isinstance(attributes(self).get(name), Variable):
            raise ArgumentError(
                f"{type(self).__name__}.{name} is a Variable, and stays one",
                got=brief(value),
                hint=f"model.{name}.assign(x) gives it a new value, of the same dtype and shape",
            )
        if name in ("trainable", "requires_grad") and isinstance(value, bool) and not hasattr(type(self), name):
            hint = "for p in model.parameters(): p.trainable = False"
            raise UnknownNameError(f"{type(self).__name__} has no {name}", got=brief(value), hint=hint)
        if isinstance(value, Variable) and value.name == "variable":
            value.name = value.storage.name = name  # for the text of graphs
        super().__setattr__(name, value)

    # What it holds

    def named_members(self, prefix: str = "") -> Iterator[tuple[str, Variable | Module]]:
        """All Variables and modules below this one, in the order they were set, each once, by path.

        A module that is met again, this one included, is not looked into again: modules may refer to each other.
        """
        seen: set[int] = {id(self)}
        pending = _below(prefix, self)
        while pending:
            path, value = pending.pop()
            if isinstance(value, Variable | Module):
                if id(value) in seen:
                    continue
                seen.add(id(value))
                yield path, value
            pending.extend(_below(path, value))

    def named_variables(self) -> Iterator[tuple[str, Variable]]:
        """All Variables, trainable or not; one that is met twice has the first path."""
        return ((name, v) for name, v in self.named_members() if isinstance(v, Variable))

    def named_parameters(self) -> Iterator[tuple[str, Variable]]:
        """The trainable Variables."""
        return ((name, v) for name, v in self.named_variables() if v.trainable)

    def parameters(self) -> list[Variable]:
        """The trainable Variables."""
        return [v for _, v in self.named_parameters()]

    def modules(self) -> list[Module]:
        """This module and all below."""
        return [self, *(m for _, m in self.named_members() if isinstance(m, Module))]

    def members(self) -> list[tuple[object, Any]]:
        """What is looked into for Variables and modules: the attributes, by name."""
        watch_all_attributes(self)
        return [
            (n, v) for n, v in attributes(self).items() if isinstance(v, Variable | Module | list | tuple | dict)
        ]

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and in all modules below; compiled functions that read it follow."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """`train(False)`."""
        return self.train(False)

    # State

    def state_dict(self) -> dict[str, Tensor]:
        """Snapshots of all Variables, by path."""
        return {name: v.value for name, v in self.named_variables()}

    @with_user_line
    def load_state_dict(self, state: Mapping[str, ArrayLike], strict: bool = True) -> None:
        """Assign all Variables from arrays of the same dtypes and shapes.

        Raises StateError for missing and, unless not `strict`, for unknown names, ShapeError and DTypeError for arrays
        that don't fit; then nothing has changed.
        """
        assign_state("the module", dict(self.named_variables()), state, required=strict, exact=strict)

    @with_user_line
    def save(self, path: str | PathLike[str]) -> None:
        """Write all Variables to a safetensors file."""
        save_parameters(self.state_dict(), path)

    @with_user_line
    def load(self, path: str | PathLike[str], strict: bool = True) -> None:
        """Read all Variables from a safetensors file; see `load_state_dict`."""
        self.load_state_dict(load_parameters(path), strict)

    # Text

    def describe(self) -> str:
        """What stands between the parentheses of the module's text."""
        return ""

    @recursive_repr()  # "..." for a module inside itself
    def __repr__(self) -> str:
        return _text(self, repr)

    @recursive_repr()
    def __str__(self) -> str:
        """The same, with the number of parameters behind each module that has some."""
        variables = [v for _, v in self.named_variables()]
        trained = sum(v.size for v in variables if v.trainable)
        fixed = sum(v.size for v in variables if not v.trainable)
        counts = f"{trained:,} parameter{'s'[: trained != 1]}" + (f", {fixed:,} not trainable" if fixed else "")
        return _text(self, str) + (f"  # {counts}" if variables else "")


def _text(module: Module, of: Callable[[Any], str]) -> str:
    lines = [f"({name}): {of(child)}".replace("\n", "\n  ") for name, child in _submodules(module)]
    inside = module.describe() if not lines else "\n  " + "\n  ".join(lines) + "\n"
    return f"{type(module).__name__}({inside})"


def _children(value: Any) -> list[tuple[object, Any]]:
    """What is looked into below a value."""
    if isinstance(value, Module):
        return value.members()
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    return []


def _below(path: str, value: Any) -> list[tuple[str, Any]]:
    """The same by path, the last first."""
    return [(f"{path}.{name}" if path else str(name), child) for name, child in reversed(_children(value))]


def _submodules(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The modules right below, for the text; functions in containers are shown too."""
    for name, child in _children(value):
        where = f"{path}.{name}" if path else str(name)
        if isinstance(child, Module):
            yield where, child
        elif isinstance(child, list | tuple | dict):
            yield from _submodules(child, where)
        elif callable(child):
            yield where, _Named(child)


class _Named:
    """A function, by its name."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


def input_for(module: Module, x: ArrayLike, parameter: Variable) -> Tensor:
    """The input as a tensor. Raises DTypeError for a float dtype other than the parameters': float64 data would
    silently double the work."""
    tensor = as_tensor(x)
    if tensor.dtype.is_float and tensor.dtype is not parameter.dtype:
        raise DTypeError(
            f"{type(module).__name__} has {parameter.dtype} parameters and takes no other floats",
            got=str(tensor.type),
            hint=f"convert the input: gx.astype(x, gx.{parameter.dtype})",
        )
    return tensor
