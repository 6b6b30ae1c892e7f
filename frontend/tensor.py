"""`Tensor`: the one array type. Concrete outside of traces, symbolic inside; immutable either way.

Its operators are the array functions (`operators.py`); here is what a tensor is and how it leaves for NumPy,
DLPack and Python.
"""

from __future__ import annotations

from typing import Any, Final, Self

import numpy as np

from graphc.devices import CPU_CODE
from graphc.errors import DTypeError, ShapeError, TraceError
from graphc.ir import Node
from graphc.storage import Storage, aligned_copy
from graphc.types import DType, DTypeLike, TensorType, dtype_of, type_of

from .context import current_frame
from .location import user_location, with_user_line
from .operators import Operators, functions
from .tracer import Frame, leaked


def _instead_of_numpy(dtype: DType) -> str:
    """What to do where NumPy would need the elements; what may be an index or a mask is probably used as one."""
    hint = "use the functions of graphc, or return the tensor and convert then"
    if dtype.is_integer:
        return f"gx.asarray(table)[i] takes elements of a NumPy array where a tensor says; else {hint}"
    if dtype.is_bool:
        return f"gx.where(mask, x, y) chooses by a tensor; else {hint}"
    return hint


class Tensor(Operators):
    """An immutable array. `gx.Tensor(value, dtype)` is `gx.asarray(value, dtype=dtype)`.

    Concrete: `_array` holds the elements, and nobody writes to it. It may be a view of another tensor's elements with
    any strides, until `_packed` is asked for.
    Symbolic: `_node` stands for it in the graph of `_frame`.
    """

    __slots__ = ("__weakref__", "_array", "_frame", "_node")

    _array: np.ndarray
    _node: Node | None
    _frame: Frame | None

    def __new__(cls, value: Any, dtype: DTypeLike | None = None) -> Tensor:
        made: Tensor = functions.creation.asarray(value, dtype=dtype)
        return made

    @property
    def type(self) -> TensorType:
        """dtype and shape."""
        return type_of(self._array) if self._node is None else self._node.tensor_type

    @property
    def dtype(self) -> DType:
        return dtype_of(self._array) if self._node is None else self._node.tensor_type.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape if self._node is None else self._node.tensor_type.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def is_symbolic(self) -> bool:
        """Whether it stands for a value of a graph that is being traced."""
        return self._node is not None

    def _value(self, wish: str, instead: str) -> np.ndarray:
        """The elements, or an error that says what to use instead."""
        if self._node is not None:
            self._check_at_home()
            raise TraceError(
                f"{wish} needs the value of a tensor, which is not known while a function is traced",
                got=f"a symbolic {self.type}",
                where=user_location(),
                hint=instead,
            )
        return self._packed()

    def _check_at_home(self) -> None:
        """Raise TraceError for a symbolic tensor that was kept beyond its trace."""
        frame = current_frame()
        while frame is not None and frame is not self._frame:
            frame = frame.parent
        if frame is None and self._node is not None:
            raise leaked(self._node)

    def _packed(self) -> np.ndarray:
        """The elements of a concrete tensor, C-contiguous from now on."""
        if not self._array.flags.c_contiguous:
            self._array = aligned_copy(self._array)
        return self._array

    def _held(self) -> np.ndarray | Storage:
        """What holds the elements of a concrete tensor, for programs to take."""
        return self._packed()

    def _constant(self) -> np.ndarray:
        """The elements of a concrete tensor as a graph may keep them."""
        return self.numpy()

    def numpy(self) -> np.ndarray:
        """A read-only view of the elements."""
        view = self._value("converting to NumPy", _instead_of_numpy(self.dtype)).view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"a {array.dtype} array becomes {dtype} only by a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A read-only view, for consumers that can be told so (DLPack 1.0 and later); a copy for older ones.

        With `copy=False` it is always the view: who does not know DLPack 1.0 refuses it. PyTorch is told, but does not
        heed it: pass it a copy to write to. A tensor on a GPU is given there, or copied where `dl_device` asks for the
        CPU. Raises BufferError for other devices.
        """
        array = self._value("exporting through DLPack", "return the tensor and export it then")
        if dl_device is not None and tuple(dl_device) != CPU_CODE:
            raise BufferError(f"this tensor is in the CPU's memory, {CPU_CODE}, not on device {tuple(dl_device)}")
        if stream is not None:
            raise BufferError(f"the CPU has no streams: pass stream=None, not {stream!r}")
        from .dlpack import exported

        is_told = copy is False or (max_version or (0, 0)) >= (1, 0)
        return exported(array.copy() if copy or not is_told else self.numpy(), is_told)

    def __dlpack_device__(self) -> tuple[int, int]:
        self._value("exporting through DLPack", "return the tensor and export it then")
        return CPU_CODE

    def item(self) -> bool | int | float:
        """The only element, as a Python number. Raises ValueError unless there is exactly one."""
        found: bool | int | float = self._value(
            ".item()", "keep it a tensor, and return it to see its value"
        ).item()
        return found

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._value(".tolist()", "return the tensor and convert then").tolist()

    @with_user_line
    def __bool__(self) -> bool:
        array = self._value("a truth value (`if`, `while`, `and`, `or`, `not`)",
                            "use gx.where to choose between values, gx.cond and gx.while_loop to choose what is run, "
                            "and & | ~ to combine conditions")  # fmt: skip
        if array.size != 1:
            hint = "gx.any(x) or gx.all(x); & | ~ combine conditions"
            raise ShapeError("a truth value is that of one element", got=str(self.type), hint=hint)
        return bool(array)

    def __round__(self, digits: int | None = None) -> int | float:
        """The only element, as a Python number that is rounded."""
        return round(self._value("round()", "use gx.round(x)").item(), digits)

    def __int__(self) -> int:
        return int(self._value("int()", "use gx.astype(x, gx.int64)"))

    def __float__(self) -> float:
        return float(self._value("float()", "use gx.astype(x, gx.float32)"))

    def __complex__(self) -> complex:
        return complex(self._value("complex()", "there are no complex numbers in graphs: keep both parts apart"))

    def __index__(self) -> int:
        array = self._value(
            "use as a Python index or size", "sizes are static: take them from x.shape; select with gx.take"
        )
        return array.__index__()

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        array = self._value(f"the format {spec!r}", 'gx.print("loss", loss) prints at each call; f"{x}" shows the type')
        if array.ndim:
            raise DTypeError(
                f"the format {spec!r} is for one number", got=str(self.type), where=user_location(),
                hint="np.array2string(x.numpy(), ...) formats arrays",
            )  # fmt: skip
        return format(array.item(), spec)

    def __repr__(self) -> str:
        if self._node is not None:
            return f"Tensor({self.type}, symbolic)"
        text = np.array2string(self._array, separator=", ", prefix="Tensor(")
        return f"Tensor({text}, dtype={self.dtype})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, tuple[np.ndarray]]:
        return concrete, (self._value("pickling", "return the tensor first"),)


_new: Final = object.__new__


def concrete(array: np.ndarray) -> Tensor:
    """A tensor over an array that nobody will write to."""
    tensor = _new(Tensor)
    tensor._array = array
    tensor._node = None
    return tensor


class Adopted(Tensor):
    """A concrete tensor over memory that someone else owns: it shows what is written there. Views of it are adopted,
    too; traces and Variables copy."""

    __slots__ = ()

    def _constant(self) -> np.ndarray:
        copy = self._array.copy()
        copy.flags.writeable = False
        return copy


def adopted(array: np.ndarray) -> Adopted:
    """A tensor over memory that lives as long as the array, and that graphc does not write to."""
    tensor = _new(Adopted)
    tensor._array = array
    tensor._node = None
    return tensor


class Borrowed(Tensor):
    """A concrete tensor over memory that its owner may write to: an operand, or a view of one. It exists only within an
    array function, whose result is a copy."""

    __slots__ = ()


def borrowed(array: np.ndarray) -> Borrowed:
    """A tensor over a view of the array, so that what shares its memory is known by having a base."""
    tensor = _new(Borrowed)
    tensor._array = array.view(np.ndarray)
    tensor._node = None
    return tensor


def symbolic(node: Node, frame: Frame) -> Tensor:
    """A tensor that stands for a node of the frame."""
    tensor = _new(Tensor)
    tensor._array = None  # type: ignore[assignment]  # whoever looks for elements finds that there are none
    tensor._node = node
    tensor._frame = frame
    return tensor
