"""`Variable`: state that outlives a call. Parameters, batch-norm statistics, optimizer moments, random state."""

from __future__ import annotations

import weakref
from typing import Any, NoReturn

import numpy as np

from graphc.brief import brief
from graphc.devices import CPU
from graphc.errors import DTypeError, ShapeError, TraceError, UnknownNameError
from graphc.hook import call_lock
from graphc.storage import Storage
from graphc.types import DType, DTypeLike, TensorType, as_dtype, type_of

from .context import current_frame
from .device_tensor import DeviceTensor, on_device
from .exchange import native_array
from .guards import Flag, note_change
from .interrupts import interrupts, run_outside
from .location import with_user_line
from .operators import Operators
from .promotion import in_range
from .tensor import Tensor, concrete, symbolic


class Variable(Operators):
    """A mutable array of fixed dtype and shape; it may stand wherever a Tensor may.

    value      what it starts with; Python numbers give float32 and int64, arrays keep their dtype.
    trainable  whether optimizers change it and gradients are asked for it by default.

    Inside a trace, reads after `assign` give the new value, and all assignments take effect together when the
    call ends. What a Variable gives is a leaf to gradients, after `assign` too: none flows into the computation of the
    value, so that several steps in one trace do what they do in calls of their own. (For a gradient through it, use the
    tensor that is assigned.) Raises TraceError when created inside a trace.
    """

    __slots__ = ("__weakref__", "_snapshot", "_trainable", "name", "storage")

    _called = "Variable"

    @with_user_line
    def __init__(
        self, value: Any, trainable: bool = True, *, dtype: DTypeLike | None = None, name: str = "variable"
    ) -> None:
        if current_frame() is not None:
            raise TraceError(
                "a Variable can't be created while a function is traced: it would be a new one at each call",
                hint="create it outside, in a module's __init__ or before the function, and assign to it inside",
            )
        array = _elements(value, None if dtype is None else as_dtype(dtype))
        self.storage = Storage(array, type_of(array), name)
        self._trainable = trainable
        self.name = name
        self._snapshot: tuple[int, weakref.ref[Tensor]] | None = None

    @property
    def trainable(self) -> bool:
        """Whether optimizers change it and gradients are asked for it by default. A trace that asks depends on it."""
        frame = current_frame()
        if frame is not None:
            frame.root.guards.setdefault((id(self), "trainable"), Flag(self, self._trainable))
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        note_change()

    @property
    def type(self) -> TensorType:
        """dtype and shape."""
        return self.storage.type

    @property
    def dtype(self) -> DType:
        return self.storage.type.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.storage.type.shape

    @property
    def device(self) -> str:
        """Where its value is: on the device that a compiled function has made it on, until the host makes another."""
        found = self.storage.device
        return CPU if found is None else found.name

    @property
    def value(self) -> Tensor:
        """The current value: a snapshot that later assignments do not change, or a symbolic tensor in a trace."""
        frame = current_frame()
        if frame is not None:
            if interrupts(frame):
                return run_outside(lambda: self.value)
            return symbolic(frame.read(self), frame)
        with call_lock:
            version = self.storage.version
            known = None if self._snapshot is None or self._snapshot[0] != version else self._snapshot[1]()
            if known is None:
                away = self.storage.is_away
                known = on_device(self.storage.snapshot()) if away else concrete(self.storage.array.copy())
                self._snapshot = version, weakref.ref(known)
            return known

    @value.setter
    @with_user_line
    def value(self, new: Any) -> NoReturn:
        raise UnknownNameError("a Variable has no value to set", got=brief(new), hint="v.assign(x)")

    @with_user_line
    def assign(self, new: Any) -> None:
        """Give it a new value of the same dtype and shape; Python numbers and lists of them are converted.

        Raises ShapeError or DTypeError for anything else.
        """
        from .emit import as_tensor

        if _is_weak(new):
            _check_weak(new, self.dtype)
        frame = current_frame()
        if frame is not None and interrupts(frame):
            return run_outside(self.assign, new)
        if frame is None:
            if isinstance(new, DeviceTensor):
                self._check(new.type)
                with call_lock:
                    self.storage.take(new._storage)
                return
            array = _elements(new, self.dtype if _is_weak(new) else None)
            self._check(type_of(array))
            with call_lock:
                self.storage.write(array)
        else:
            tensor = as_tensor(new, self.dtype if _is_weak(new) else None)
            self._check(tensor.type)
            frame.assign(self, frame.node(tensor))

    def _check(self, got: TensorType) -> None:
        if got.dtype is not self.dtype:
            raise DTypeError(
                f"a Variable keeps its dtype: {self.name} is {self.type}",
                got=str(got),
                hint=f"convert with gx.astype(x, gx.{self.dtype})",
            )
        if got.shape != self.shape:
            raise ShapeError(
                f"a Variable keeps its shape: {self.name} is {self.type}",
                got=str(got),
                hint="broadcast or reshape the new value",
            )

    # Conversions read a snapshot (or raise what a symbolic tensor raises).

    def numpy(self) -> np.ndarray:
        """A read-only view of a snapshot."""
        return self.value.numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.value.__array__(dtype, copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self.value.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.value.__dlpack_device__()

    def item(self) -> bool | int | float:
        """The only element, as a Python number."""
        return self.value.item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self.value.tolist()

    def __bool__(self) -> bool:
        return bool(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __complex__(self) -> complex:
        return complex(self.value)

    def __index__(self) -> int:
        return self.value.__index__()

    def __repr__(self) -> str:
        if current_frame() is not None:
            return f"Variable({self.name}: {self.type})"
        return f"Variable({self.name}: {self.value!r})"

    def __copy__(self) -> Variable:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Variable:
        copy = Variable(self.numpy(), self.trainable, name=self.name)
        memo[id(self)] = copy
        return copy

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _restore, (self.numpy(), self.trainable, self.name)


def _restore(value: np.ndarray, trainable: bool, name: str) -> Variable:
    return Variable(value, trainable, name=name)


def _elements(value: Any, dtype: DType | None) -> np.ndarray:
    """The concrete value of anything array-like, as an array that is only read."""
    if isinstance(value, Variable):
        value = value.value
    if isinstance(value, Tensor):
        array = value._value("giving a Variable its value", "assign inside the traced function")
        return array if dtype is None else native_array(array, dtype)
    return native_array(value, dtype)


def _is_weak(value: object) -> bool:
    """Whether it is made of Python numbers, which have no dtype of their own."""
    return isinstance(value, bool | int | float | list | tuple) and not isinstance(value, np.generic)


def _check_weak(new: Any, dtype: DType) -> None:
    """Raise DTypeError unless the Python numbers fit the dtype by themselves: floats do not become integers."""
    if not isinstance(new, list | tuple):
        in_range(new, dtype)
    elif not dtype.is_float and not _holds_symbols(new):
        array = native_array(new)
        if array.size and type_of(array).dtype.is_float:
            in_range(float(array.flat[0]), dtype)


def _holds_symbols(x: Any) -> bool:
    """Whether nested lists hold tensors of a trace, whose elements can't be looked at."""
    return any(map(_holds_symbols, x)) if isinstance(x, list | tuple) else isinstance(x, Tensor | Variable)
