"""Data types and the types of graph values: the nouns every other module speaks in.

A `TensorType` is a dtype and a static shape; a `TupleType` is what an op with several results has.
Nothing here knows about nodes, ops or NumPy computations.
"""

from __future__ import annotations

import math
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from .brief import brief
from .cached import cached_property
from .dataclass import dataclass
from .errors import DTypeError, ShapeError


class NumberKind(Enum):
    """The four families of numbers; promotion and the scalar semantics depend on it."""

    BOOL = 0
    UNSIGNED = 1
    SIGNED = 2
    FLOAT = 3


@dataclass(frozen=True)
class DType:
    """An element type. There is one instance per type; compare with `is` or `==`.

    It equals whatever names it where a dtype is asked for: "float32", np.float32, np.dtype("float32"). It hashes as
    its name does; NumPy's dtypes and scalar types hash differently from one another, so no hash could suit them all,
    and a dict is to be keyed by one kind of them.
    """

    name: str
    kind: NumberKind
    bits: int

    def __repr__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self.name == other.name
        if isinstance(other, str):
            return self.name == other
        if isinstance(other, type) and other in _PYTHON_TYPES:
            return self is _PYTHON_TYPES[other]
        if isinstance(other, np.dtype) or (isinstance(other, type) and issubclass(other, np.generic)):
            return bool(self.numpy == other)
        return NotImplemented

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return as_dtype, (self.name,)

    @property
    def dtype(self) -> np.dtype:
        """NumPy's dtype, where NumPy before 2.4 looks for it: `np.zeros(2, x.dtype)`."""
        return self.numpy

    @property
    def __numpy_dtype__(self) -> np.dtype:
        return self.numpy

    @cached_property
    def is_float(self) -> bool:
        return self.kind is NumberKind.FLOAT

    @cached_property
    def is_bool(self) -> bool:
        return self.kind is NumberKind.BOOL

    @cached_property
    def is_signed(self) -> bool:
        return self.kind is NumberKind.SIGNED

    @cached_property
    def is_unsigned(self) -> bool:
        return self.kind is NumberKind.UNSIGNED

    @cached_property
    def is_integer(self) -> bool:
        """Signed or unsigned; bool is no integer."""
        return self.is_signed or self.is_unsigned

    @cached_property
    def itemsize(self) -> int:
        """Bytes in memory. A bool takes one."""
        return max(self.bits, 8) // 8

    @cached_property
    def computes_as(self) -> DType:
        """The type that arithmetic happens in: 16-bit floats compute in float32, others as they are."""
        return float32 if self.is_float and self.bits == 16 else self

    @cached_property
    def numpy(self) -> np.dtype:
        if self.name == "bfloat16":
            import ml_dtypes

            return np.dtype(ml_dtypes.bfloat16)
        return np.dtype(self.name)

    @property
    def min(self) -> int | float | bool:
        """The smallest value; −inf for floats."""
        if self.is_float:
            return -math.inf
        return False if self.is_bool else -(1 << (self.bits - 1)) if self.is_signed else 0

    @property
    def max(self) -> int | float | bool:
        """The largest value; inf for floats."""
        if self.is_float:
            return math.inf
        return True if self.is_bool else (1 << (self.bits - self.is_signed)) - 1


bool_ = DType("bool", NumberKind.BOOL, 1)
int8 = DType("int8", NumberKind.SIGNED, 8)
int16 = DType("int16", NumberKind.SIGNED, 16)
int32 = DType("int32", NumberKind.SIGNED, 32)
int64 = DType("int64", NumberKind.SIGNED, 64)
uint8 = DType("uint8", NumberKind.UNSIGNED, 8)
uint16 = DType("uint16", NumberKind.UNSIGNED, 16)
uint32 = DType("uint32", NumberKind.UNSIGNED, 32)
uint64 = DType("uint64", NumberKind.UNSIGNED, 64)
float16 = DType("float16", NumberKind.FLOAT, 16)
bfloat16 = DType("bfloat16", NumberKind.FLOAT, 16)
float32 = DType("float32", NumberKind.FLOAT, 32)
float64 = DType("float64", NumberKind.FLOAT, 64)

DTYPES: dict[str, DType] = {
    d.name: d
    for d in (bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, bfloat16, float32, float64)
}

DTypeLike: TypeAlias = "DType | str | np.dtype | type"

_PYTHON_TYPES: dict[type, DType] = {bool: bool_, int: int64, float: float32}


def as_dtype(x: DTypeLike) -> DType:
    """The `DType` that `x` names: a DType, its name, a NumPy dtype or scalar type, or `bool`, `int`, `float`.

    `float` means float32 and `int` means int64, graphc's defaults. Raises `DTypeError` for anything else.
    """
    if isinstance(x, DType):
        return x
    if isinstance(x, type) and x in _PYTHON_TYPES:
        return _PYTHON_TYPES[x]
    try:
        name = x if isinstance(x, str) else "" if x is None else np.dtype(x).name
    except TypeError:
        name = str(x)
    found = DTYPES.get(name)
    if found is None:
        raise DTypeError("graphc has no such dtype", got=brief(x), hint=f"use one of {', '.join(DTYPES)}")
    return found


@dataclass(frozen=True)
class TensorType:
    """dtype and static shape of one tensor."""

    dtype: DType
    shape: tuple[int, ...]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorType):
            return NotImplemented
        return self.shape == other.shape and self.dtype is other.dtype

    def __hash__(self) -> int:
        return hash((self.dtype.name, self.shape))

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @cached_property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        return TensorType(self.dtype, shape)

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape)


# NumPy's arrays have no more axes (32 before NumPy 2), and no index or address overflows within so many bytes.
MAX_RANK = 64 if int(np.__version__.partition(".")[0]) >= 2 else 32
MAX_BYTES = 2**62


def require_size(type_: Type) -> None:
    """Raise ShapeError for more axes than arrays can have, or more bytes than can be counted."""
    for t in type_.items if isinstance(type_, TupleType) else (type_,):
        if len(t.shape) > MAX_RANK:
            raise ShapeError(f"a tensor has at most {MAX_RANK} axes", got=f"{len(t.shape)} axes")
        if math.prod(t.shape) * t.dtype.itemsize > MAX_BYTES or (0 in t.shape and _spread(t) > MAX_BYTES):
            raise ShapeError("a tensor has at most 2⁶² bytes", got=str(t))


def _spread(type_: TensorType) -> int:
    """The bytes that strides reach over, which count where an axis is empty, too."""
    return math.prod(n or 1 for n in type_.shape) * type_.dtype.itemsize


@dataclass(frozen=True)
class TupleType:
    """The type of an op with several results; only `item` nodes consume it."""

    items: tuple[TensorType, ...]

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.items))})"


Type: TypeAlias = TensorType | TupleType


def type_of(array: np.ndarray) -> TensorType:
    """The type of an array. Raises DTypeError for elements that graphc does not have."""
    return TensorType(_dtype_of(array.dtype), array.shape)


def dtype_of(array: np.ndarray) -> DType:
    """The dtype of an array. Raises DTypeError for elements that graphc does not have."""
    return _dtype_of(array.dtype)


@lru_cache(maxsize=256)
def _dtype_of(dtype: np.dtype) -> DType:
    return as_dtype(dtype)
