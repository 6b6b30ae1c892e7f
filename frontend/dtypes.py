"""Functions about dtypes, with the names and signatures of the Python array API standard."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.brief import brief
from graphc.dataclass import dataclass
from graphc.errors import DTypeError, OptionError
from graphc.types import DType, DTypeLike, as_dtype, bfloat16, type_of

from .emit import is_number
from .exchange import native_array
from .location import with_user_line
from .promotion import common_dtype, promote
from .tensor import Tensor
from .variable import Variable

_KINDS = {
    "bool": lambda d: d.is_bool,
    "signed integer": lambda d: d.is_signed,
    "unsigned integer": lambda d: d.is_unsigned,
    "integral": lambda d: d.is_integer,
    "real floating": lambda d: d.is_float,
    "complex floating": lambda d: False,
    "numeric": lambda d: not d.is_bool,
}


@with_user_line
def result_type(*arrays_and_dtypes: object) -> DType:
    """The dtype that an operation on these arrays, dtypes and Python numbers computes in."""
    weak = [x for x in arrays_and_dtypes if is_number(x)]
    strong = [_dtype_of(x) for x in arrays_and_dtypes if not is_number(x)]
    return common_dtype(strong, weak)  # type: ignore[arg-type]


def _dtype_of(x: object) -> DType:
    if isinstance(x, Tensor | Variable):
        return x.dtype
    if isinstance(x, DType | str | type | np.dtype):
        return as_dtype(x)
    return type_of(native_array(x)).dtype


@with_user_line
def can_cast(from_: object, to: DTypeLike, /) -> bool:
    """Whether promotion of the two gives `to`, so that no value is lost but by rounding."""
    source, target = _dtype_of(from_), as_dtype(to)
    try:
        return promote(source, target) is target
    except DTypeError:  # uint64 and a signed integer
        return False


def isdtype(dtype: DTypeLike, kind: DTypeLike | tuple[DTypeLike, ...]) -> bool:
    """Whether the dtype is of a kind: another dtype, "bool", "signed integer", "unsigned integer", "integral",
    "real floating", "complex floating" or "numeric", or any of a tuple of them. Raises ValueError for other words."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str):
        if kind not in _KINDS:
            kinds = f"use one of {', '.join(_KINDS)}"
            raise OptionError("there is no such kind of dtypes", got=brief(kind), hint=kinds)
        return bool(_KINDS[kind](as_dtype(dtype)))
    return as_dtype(dtype) is as_dtype(kind)


@dataclass(frozen=True)
class FloatInfo:
    """Limits of a float dtype, as NumPy's finfo gives them."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


@dataclass(frozen=True)
class IntegerInfo:
    """Limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


@with_user_line
def finfo(type: DTypeLike | Tensor | Variable, /) -> FloatInfo:
    """Limits of a float dtype. Raises ValueError for other dtypes."""
    dtype = _dtype_of(type)
    if not dtype.is_float:
        raise ValueError(f"finfo is for floats, not {dtype}")
    found: Any
    if dtype == bfloat16:
        import ml_dtypes

        found = ml_dtypes.finfo(dtype.numpy)
    else:  # NumPy's own, which knows them without that import of 10 ms
        found = np.finfo(dtype.numpy)
    return FloatInfo(
        dtype.bits, float(found.eps), float(found.max), float(found.min), float(found.smallest_normal), dtype
    )


@with_user_line
def iinfo(type: DTypeLike | Tensor | Variable, /) -> IntegerInfo:
    """Limits of an integer dtype. Raises ValueError for other dtypes."""
    dtype = _dtype_of(type)
    if not dtype.is_integer:
        raise ValueError(f"iinfo is for integers, not {dtype}")
    return IntegerInfo(dtype.bits, int(dtype.max), int(dtype.min), dtype)
