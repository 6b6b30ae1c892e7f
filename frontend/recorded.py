"""Array functions of several steps, at once: on few numbers what the steps need around them costs more than they do.

Called again with arrays of types and options that it has met, such a function is recorded: traced, as in a compiled
function, and from then on its ops' references run one after the other (`graphc/replay.py`). The values are those
that the function itself gives; what depends on the values of arrays, or on state, can't be recorded and is carried out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import numpy as np

from graphc.errors import GraphcError
from graphc.ir import Node
from graphc.types import DType, type_of

from .context import current_context, current_settings, within
from .emit import carried_out, operation
from .interrupts import traced
from .location import present
from .signatures import check_call
from .tensor import Tensor, concrete, symbolic
from .tracer import Frame
from .variable import Variable

if TYPE_CHECKING:
    from graphc.replay import Replay

P = ParamSpec("P")
R = TypeVar("R")

FEW: Final = 1 << 14  # elements of an argument; with more, a function's own way is as quick
MOST: Final = 1 << 11  # calls that are remembered

LONGEST: Final = 64  # a sequence of arguments

_OPTIONS: Final = frozenset({int, bool, str, type(None), DType, type})  # of these types equal ones are as good


class _Replayed:
    """How a call is repeated: the replay, and what becomes of its outputs."""

    __slots__ = ("_kind", "_replay")

    def __init__(self, replay: Replay, kind: type) -> None:
        self._replay = replay
        self._kind = kind  # Tensor, or that of a sequence of them

    def __call__(self, arrays: list[np.ndarray]) -> Any:
        found = self._replay(arrays)
        return concrete(found[0]) if self._kind is Tensor else self._kind(map(concrete, found))


class _Memory:
    """What is known of calls, by their description: how to repeat one, False where that can't be, None for one that was
    met once. What was not asked for while half of it was filled is forgotten."""

    def __init__(self) -> None:
        self.recent: dict[tuple[Any, ...], _Replayed | bool | None] = {}
        self._older: dict[tuple[Any, ...], _Replayed | bool | None] = {}

    def remember(self, key: tuple[Any, ...]) -> _Replayed | bool | None:
        """For a call that is not among the recent ones, but is from now on."""
        if len(self.recent) >= MOST // 2:
            self._older, self.recent = self.recent, {}
        self.recent[key] = self._older.get(key)
        return self._older.get(key, False)


_memory: Final = _Memory()


def recorded(function: Callable[P, R]) -> Callable[P, R]:
    """An `operation` of several steps, which depends on nothing but its arguments."""
    if current_settings().check_nan:  # which looks at each step
        return operation(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            frame = _context().frame
            if frame is None:
                key: list[Any] = [function]
                arrays: list[np.ndarray] = []
                if _describe(args, key, arrays) and (not kwargs or _describe_named(kwargs, key, arrays)):
                    known = _known(tuple(key), function, args, kwargs)
                    if known:
                        return known(arrays)
                return carried_out(function, args, kwargs)
            try:
                return traced(frame, call, function, *args, **kwargs)
            except TypeError:
                check_call(function, args, kwargs)
                raise
        except Exception as error:
            present(error)
            raise

    return call


_context: Final = current_context


def _describe(values: Iterable[Any], key: list[Any], arrays: list[np.ndarray]) -> bool:
    """Add what the result depends on, but for the elements of arrays, to the key. False for what has too many elements,
    or is nothing that can be compared."""
    for value in values:
        kind = type(value)
        if kind is Variable:
            value, kind = value.value, Tensor
        if kind is Tensor or kind is np.ndarray:
            array = value._array if kind is Tensor else value
            if array is None or array.size > FEW or not array.dtype.isnative:
                return False
            arrays.append(array if kind is Tensor else array.copy())  # of what someone may write to
            key += (array.dtype.num, array.shape)
        elif kind in _OPTIONS:
            key += (kind, value)
        elif kind is float:
            key += (kind, value or str(value))  # 0.0 equals -0.0
        elif (kind is tuple or kind is list) and len(value) <= LONGEST:
            key += (kind, len(value))
            if not _describe(value, key, arrays):
                return False
        else:
            return False
    return True


def _describe_named(values: Mapping[str, Any], key: list[Any], arrays: list[np.ndarray]) -> bool:
    key += values
    return _describe(values.values(), key, arrays)


def _known(
    key: tuple[Any, ...], function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """How the call is repeated, or something false."""
    recent = _memory.recent
    found = recent[key] if key in recent else _memory.remember(key)
    if found is None:
        found = recent[key] = _record(function, args, kwargs)
    return found


def _record(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Replayed | bool:
    from graphc.replay import Replay

    frame = Frame()
    frame.traced_by = _run.__code__
    try:
        kind, nodes = within(frame, _run, frame, function, args, kwargs)
        replay = Replay(frame.finish(nodes)[0])
    except (GraphcError, TypeError, ValueError):  # carried out, the function tells what it is
        return False
    return not any(replay.is_input) and _Replayed(replay, kind)


def _run(
    frame: Frame, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[type, list[Node]]:
    """Call the function on symbolic tensors: the kind of its result, and its nodes."""

    def symbols(value: Any) -> Any:
        if isinstance(value, Variable):
            return symbolic(frame.input(value.type, value.name), frame)
        if isinstance(value, Tensor | np.ndarray):
            type_ = value.type if isinstance(value, Tensor) else type_of(value)
            return symbolic(frame.input(type_, f"x{len(frame.inputs)}"), frame)
        return type(value)(map(symbols, value)) if isinstance(value, tuple | list) else value

    positional = [symbols(value) for value in args]  # first, as they are described
    result = function(*positional, **{name: symbols(value) for name, value in kwargs.items()})
    results = [result] if isinstance(result, Tensor) else result
    if type(result) not in (Tensor, tuple, list) or not all(isinstance(x, Tensor) for x in results):
        raise TypeError("what is repeated gives tensors")
    return type(result), [frame.node(x) for x in results]
