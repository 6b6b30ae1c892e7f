"""The operators of Tensor and Variable: each is an array function.

Array functions make tensors, so they are above this module, which does not know them: `frontend/__init__.py` puts them
into `functions`, once.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from graphc.brief import brief
from graphc.errors import OptionError, ShapeError
from graphc.types import TensorType

from .devices import API_VERSIONS, CPU
from .location import with_user_line
from .words import Owner, leading_on, unknown

if TYPE_CHECKING:
    import numpy as np

    from .tensor import Tensor


class Functions:
    """The modules of array functions that operators call."""

    __slots__ = ("binary", "creation", "devices", "emit", "indexing", "interop", "linalg", "shapes", "unary")

    binary: ModuleType
    creation: ModuleType
    devices: ModuleType
    emit: ModuleType
    indexing: ModuleType
    interop: ModuleType
    linalg: ModuleType
    shapes: ModuleType
    unary: ModuleType


functions: Final = Functions()


class Operators:
    """What Tensor and Variable have in common: a type, operators, indexing, and a few methods for convenience."""

    __slots__ = ()

    _called: ClassVar[str] = "Tensor"  # in messages, whatever kind of tensor it is

    # Compared element by element, hashed by identity, as in PyTorch.
    __hash__ = object.__hash__

    @property
    @abstractmethod
    def type(self) -> TensorType:
        """dtype and shape."""

    if not TYPE_CHECKING:

        @leading_on
        def __getattr__(self, name: str) -> Any:
            unknown(Owner.TENSOR, name, f"a {self._called}", partial(dir, type(self)))

    @property
    def ndim(self) -> int:
        return self.type.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.type.size

    @property
    def nbytes(self) -> int:
        return self.type.nbytes

    @property
    @with_user_line
    def T(self) -> Tensor:
        """The transpose of a matrix. Raises ShapeError for other ranks."""
        if self.ndim != 2:
            raise ShapeError(
                ".T is for matrices", got=str(self.type), hint="gx.matrix_transpose or gx.permute_dims"
            )
        return functions.shapes.matrix_transpose(self)

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        return functions.shapes.matrix_transpose(self)

    @property
    def device(self) -> str:
        """Where a concrete tensor is, "cpu" or the name of a GPU; a graph does not say where it will run."""
        return CPU

    @with_user_line
    def to_device(self, device: str, /, *, stream: Any = None) -> Tensor:
        """The tensor on a device, "cpu" or "cuda:0": itself where it is there. Compiled functions on the device take it
        without a copy. Raises OptionError for other devices, UnsupportedError where there is no GPU."""
        if stream is not None:
            raise OptionError("there are no streams to choose from", got=brief(stream), hint="leave `stream` out")
        return functions.devices.placed(functions.emit.as_tensor(self), device)

    @with_user_line
    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """The module whose functions follow the Python array API standard. Raises OptionError for a version of it
        that does not exist."""
        if api_version is not None and api_version not in API_VERSIONS:
            raise OptionError(
                "there is no such version of the array API standard",
                got=brief(api_version),
                hint=f"use one of {', '.join(API_VERSIONS)}",
            )
        return sys.modules[__name__.partition(".")[0]]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return functions.interop.call_ufunc(ufunc, method, inputs, options)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        return functions.interop.call_function(function, args, options)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a tensor of rank 0 has no length")
        return self.type.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        """The slices along the first axis."""
        return iter([self[i] for i in range(len(self))])

    def __contains__(self, item: object) -> bool:
        raise TypeError("`in` is not defined for tensors: use gx.any(x == value)")

    def __getitem__(self, key: Any) -> Tensor:
        return functions.indexing.index(self, key)

    @with_user_line
    def __setitem__(self, key: Any, value: Any) -> None:
        functions.indexing.reject_assignment(self, key, value)

    def __pos__(self) -> Tensor:
        return functions.unary.positive(self)

    def __neg__(self) -> Tensor:
        return functions.unary.negative(self)

    def __abs__(self) -> Tensor:
        return functions.unary.abs(self)

    def __invert__(self) -> Tensor:
        return functions.binary.bitwise_invert(self)

    def __add__(self, other: Any) -> Tensor:
        return functions.binary.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return functions.binary.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return functions.binary.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return functions.binary.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return functions.binary.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return functions.binary.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return functions.binary.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return functions.binary.divide(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return functions.binary.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return functions.binary.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return functions.binary.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return functions.binary.remainder(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return functions.binary.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return functions.binary.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return functions.linalg.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return functions.linalg.matmul(other, self)

    def __and__(self, other: Any) -> Tensor:
        return functions.binary.bitwise_and(self, other)

    def __rand__(self, other: Any) -> Tensor:
        return functions.binary.bitwise_and(other, self)

    def __or__(self, other: Any) -> Tensor:
        return functions.binary.bitwise_or(self, other)

    def __ror__(self, other: Any) -> Tensor:
        return functions.binary.bitwise_or(other, self)

    def __xor__(self, other: Any) -> Tensor:
        return functions.binary.bitwise_xor(self, other)

    def __rxor__(self, other: Any) -> Tensor:
        return functions.binary.bitwise_xor(other, self)

    def __lshift__(self, other: Any) -> Tensor:
        return functions.binary.bitwise_left_shift(self, other)

    def __rlshift__(self, other: Any) -> Tensor:
        return functions.binary.bitwise_left_shift(other, self)

    def __rshift__(self, other: Any) -> Tensor:
        return functions.binary.bitwise_right_shift(self, other)

    def __rrshift__(self, other: Any) -> Tensor:
        return functions.binary.bitwise_right_shift(other, self)

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return functions.binary.equal(self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return functions.binary.not_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return functions.binary.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return functions.binary.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return functions.binary.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return functions.binary.greater_equal(self, other)

