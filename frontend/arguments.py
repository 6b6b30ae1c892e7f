"""The arguments of a call: which are inputs of the graph and which are static, and the key that says when two calls
can share a trace.

Arrays, Tensors and NumPy scalars are inputs, by type. Python numbers, strings, flags and all other objects are
static, by type and exact value; Variables and modules by identity.
"""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from graphc.brief import brief
from graphc.cached import cached_property
from graphc.dataclass import dataclass, replace
from graphc.devices import CPU_CODE
from graphc.errors import DTypeError, ShapeError, TraceError
from graphc.storage import Storage
from graphc.types import TensorType, type_of

from . import pytree
from .exchange import device_code, is_foreign_array, native_array
from .signatures import own_signature
from .spec import Spec
from .tensor import Tensor
from .tracer import leaked
from .variable import Variable

_PLAIN = (np.ndarray, np.generic, Tensor, Variable, Spec, bool, int, float, str)


@dataclass(frozen=True)
class Arguments:
    """A call's arguments, flattened.

    leaves     one for each: its `TensorType` where it is an input, the value itself where it is static.
    arrays     the inputs' values, in order, as arrays or where a device has them; none for arguments that are described
               by specs.
    structure  how the leaves make up (args, kwargs); `flat` where they are just the positional arguments.
    """

    function: Callable[..., Any]
    leaves: tuple[Any, ...]
    arrays: tuple[np.ndarray | Storage, ...]
    structure: Any
    example: tuple[tuple[Any, ...], dict[str, Any]]

    @staticmethod
    def of(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Arguments:
        """Sort the arguments out. Raises TypeError where they don't fit the function's signature."""
        args, kwargs = bound_arguments(function, tuple(args), kwargs)
        flat = not kwargs and all(isinstance(a, _PLAIN) for a in args)
        found, structure = (list(args), len(args)) if flat else pytree.flatten((args, kwargs))
        leaves, arrays = [], []
        for leaf in found:
            described, array = _describe(leaf)
            leaves.append(described)
            if array is not None:
                arrays.append(array)
        return Arguments(function, tuple(leaves), tuple(arrays), structure, (args, kwargs))

    @property
    def is_flat(self) -> bool:
        return isinstance(self.structure, int)

    @property
    def key(self) -> tuple[Hashable, ...]:
        """Equal for calls that can share a trace."""
        return (
            self.structure,
            *(leaf if isinstance(leaf, TensorType) else static_key(leaf) for leaf in self.leaves),
        )

    def rebuild(self, leaves: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """args and kwargs, with other leaves."""
        if self.is_flat:
            return tuple(leaves), {}
        args, kwargs = pytree.unflatten(self.example, leaves)
        return args, kwargs

    def without_arrays(self) -> Arguments:
        """The same, with types in place of all arrays: what is worth keeping."""
        return replace(self, arrays=(), example=self.rebuild(self.leaves))

    def name(self, number: int) -> str:
        """What the user calls a leaf: the parameter's name, and the way into it: batch['image'][0]."""
        return self.names[number]

    @cached_property
    def names(self) -> list[str]:
        """The names of all leaves."""
        positional = parameter_names(self.function, len(self.example[0]))
        if self.is_flat:
            return positional
        result = []
        for place, first, *rest in pytree.paths(self.example):
            root = positional[first] if place == 0 else first
            result.append(root + "".join(f"[{step!r}]" for step in rest))
        return result


def _describe(leaf: Any) -> tuple[Any, np.ndarray | Storage | None]:
    """What a leaf is to the trace, and its elements where it is an array."""
    if isinstance(leaf, Spec):
        return leaf.resolve(None, {}), None
    found = held(leaf)
    if found is None:
        return leaf, None
    return found.type if isinstance(found, Storage) else type_of(found), found


def held(leaf: Any) -> np.ndarray | Storage | None:
    """The elements of an array, in the host's memory or in that of the device where it is; without a copy if they lie
    one after the other. None for what is no array; Variables are none."""
    if isinstance(leaf, Tensor):
        if leaf.is_symbolic:
            assert leaf._node is not None
            raise leaked(leaf._node)
        return leaf._held()
    if isinstance(leaf, Variable) or not is_foreign_array(leaf):
        return None
    try:
        return native_array(leaf)
    except DTypeError:
        if device_code(leaf) == CPU_CODE:  # asked only now: to hand memory over takes others no longer than to answer
            raise
    from .dlpack import from_device

    return from_device(leaf)


def static_key(value: Any) -> Hashable:
    """Equal for static values that are the same: 1, True, 1.0 differ, and so do 0.0 and −0.0.

    Raises TraceError for a value that can't be compared, such as a set.
    """
    match value:
        case float():
            return float, struct.pack("<d", value)
        case complex():
            return complex, struct.pack("<dd", value.real, value.imag)
        case tuple() | frozenset():
            return type(value), type(value)(map(static_key, value))
        case Variable() | Tensor():
            return type(value), id(value)
    try:
        hash(value)
    except TypeError:
        raise TraceError(
            "an argument is an array, a container of arrays (dict, list, tuple), or a hashable Python value",
            got=f"{brief(value)} of type {type(value).__qualname__}",
            hint="pass its arrays by themselves, or in a dict or a NamedTuple",
        ) from None
    return type(value), value


def is_same_static(a: Any, b: Any) -> bool:
    """Whether two static values are the same, as `static_key` has it."""
    return a is b or (type(a) is type(b) and static_key(a) == static_key(b))


_signatures: WeakKeyDictionary[Callable[..., Any], inspect.Signature | None] = WeakKeyDictionary()


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of a function that Python knows. It is found once for each, and keeps none alive."""
    try:
        return _signatures[function]
    except (KeyError, TypeError):  # TypeError: no weak references, or no hash
        pass
    found = own_signature(function)
    if found is not None and all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in found.parameters.values()):
        found = inspect.signature(function)  # of what it passes its arguments on to, if it says
    with suppress(TypeError):
        _signatures[function] = found
    return found


def bound_arguments(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments in one form, however they were passed: f(1, y=2) is f(1, 2)."""
    signature = _signature(function) if kwargs else None
    if signature is None:
        return args, kwargs
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:  # the call itself will tell; or a wrapper adds what is missing
        return args, kwargs
    return bound.args, bound.kwargs


def parameter_names(function: Callable[..., Any], count: int) -> list[str]:
    """The names of the parameters that so many positional arguments go to."""
    signature = _signature(function) if callable(function) else None
    names: list[str] = []
    for parameter in signature.parameters.values() if signature else ():
        if len(names) == count:
            break
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}{i}" for i in range(count - len(names))]
        else:
            names.append(parameter.name)
    return names + [f"argument{i}" for i in range(len(names), count)]


def parameter_count(function: Callable[..., Any]) -> int | None:
    """How many parameters the function has; None where Python does not know."""
    signature = _signature(function)
    return None if signature is None else len(signature.parameters)


def declaration(function: Callable[..., Any], specs: Sequence[Any]) -> str:
    """The declared inputs with their names: `x: float32[batch, 3], y: anything`."""
    return ", ".join(
        f"{name}: {'anything' if s is None else brief(s) if not isinstance(s, Spec) else s}"
        for name, s in zip(parameter_names(function, len(specs)), specs, strict=True)
    )


def as_declared(args: tuple[Any, ...], specs: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments of a call, with arrays in place of the Python numbers, and lists of them, that stand where an array
    is declared. Raises DTypeError for lists that are no array."""
    return tuple(
        _as_declared(arg, specs[i]) if i < len(specs) and isinstance(specs[i], Spec) else arg
        for i, arg in enumerate(args)
    )


def _as_declared(value: Any, declared: Spec) -> Any:
    if not _is_of_numbers(value):
        return value
    array = native_array(value)
    if type_of(array).dtype.is_float and not declared.dtype.is_float:
        return array  # which the spec will refuse, rather than have it rounded
    return native_array(value, declared.dtype)


def _is_of_numbers(value: Any) -> bool:
    """Whether it is a Python number, or nested lists of nothing else."""
    if isinstance(value, list | tuple):
        return all(map(_is_of_numbers, value))
    return isinstance(value, bool | int | float) and not isinstance(value, np.generic)


def check_specs(function: Callable[..., Any], args: Sequence[Any], specs: Sequence[Any]) -> None:
    """Compare the positional arguments of a call with their specs, each a Spec, a pytree of them, or None for anything.

    Raises DTypeError or ShapeError that names the argument.
    """
    if len(args) < len(specs):
        raise ShapeError(
            "there is a spec for each argument",
            got=f"{len(args)} argument{'s'[: len(args) != 1]} for {declaration(function, specs)}",
        )
    sizes: dict[str | None, int] = {}
    for name, arg, wanted in zip(parameter_names(function, len(specs)), args, specs, strict=False):
        if wanted is None:
            continue
        for leaf, one in _pairs(arg, wanted, name):
            found = leaf.type if isinstance(leaf, Tensor | Variable) else _describe(leaf)[0]
            if not isinstance(found, TensorType):
                raise TraceError(f"argument {name} is declared as an array, {one}", got=brief(leaf))
            one.check(found, name, sizes)


def _pairs(arg: Any, wanted: Any, name: str) -> list[tuple[Any, Spec]]:
    """Each leaf of an argument with its spec. Raises ShapeError where the structures differ."""
    if isinstance(wanted, Spec):
        return [(arg, wanted)]
    given, described = pytree.flatten(arg), pytree.flatten(wanted)
    if given[1] != described[1]:
        raise ShapeError(f"argument {name} has the structure of its spec", got=f"{given[1]} for {described[1]}")
    return list(zip(given[0], described[0], strict=True))
