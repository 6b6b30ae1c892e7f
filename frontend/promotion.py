"""Which dtype an operation computes in, given its operands.

Arrays of one kind promote to the smallest dtype of that kind that holds both; arrays of different kinds as in
PyTorch: the higher of bool < integer < float wins with its own width. Python numbers are weak: they take the
arrays' dtype, and only where their kind is higher do they bring graphc's default, int64 or float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache, reduce

from graphc.brief import brief
from graphc.errors import DTypeError
from graphc.types import DTYPES, DType, bool_, float32, int64

Number = bool | int | float


@cache
def promote(a: DType, b: DType) -> DType:
    """The dtype for arrays of dtypes `a` and `b`. Raises DTypeError for uint64 with a signed integer."""
    if a is b:
        return a
    if _rank(a) != _rank(b):
        return a if _rank(a) > _rank(b) else b
    if a.is_float:
        return float32 if a.bits == b.bits else max(a, b, key=lambda d: d.bits)
    if a.kind is b.kind:
        return max(a, b, key=lambda d: d.bits)
    signed, unsigned = (a, b) if a.is_signed else (b, a)
    if signed.bits > unsigned.bits:
        return signed
    wider = DTYPES.get(f"int{2 * unsigned.bits}")
    if wider is None:
        raise DTypeError(
            "no integer dtype holds all values of both", got=f"{a} and {b}", hint="convert one with gx.astype"
        )
    return wider


def _rank(dtype: DType) -> int:
    return 2 if dtype.is_float else 1 if dtype.is_integer else 0


def weak_dtype(value: Number) -> DType:
    """The dtype that a Python number has where nothing else decides."""
    return bool_ if isinstance(value, bool) else int64 if isinstance(value, int) else float32


def common_dtype(strong: Iterable[DType], weak: Iterable[Number] = ()) -> DType:
    """The dtype for these arrays and Python numbers together."""
    dtypes = list(strong)
    defaults = [weak_dtype(w) for w in weak]
    if not dtypes:
        return reduce(promote, defaults)
    result = dtypes[0]
    for dtype in dtypes:
        if dtype is not result:
            result = promote(result, dtype)
    for default in defaults:
        if _rank(default) > _rank(result):
            result = default
    return result


def in_range(value: Number, dtype: DType) -> Number:
    """The Python number itself if `dtype` holds it. Raises DTypeError where it would wrap around or overflow."""
    if dtype.is_float:
        try:
            number = float(value)
        except OverflowError:
            raise _out_of_range(value, dtype) from None
        if math.isfinite(number) and abs(number) >= _overflow(dtype):
            raise _out_of_range(value, dtype)
        return number
    if isinstance(value, float):
        raise DTypeError(
            f"a Python float does not become {dtype} by itself",
            got=brief(value),
            hint="convert it with int(), or give a float dtype",
        )
    if not dtype.min <= value <= dtype.max:
        raise _out_of_range(value, dtype)
    return bool(value) if dtype.is_bool else int(value)


def _out_of_range(value: Number, dtype: DType) -> DTypeError:
    return DTypeError(
        f"a Python number must fit the array's dtype, {dtype}",
        got=brief(value),
        hint="convert the array to a wider dtype with gx.astype first",
    )


@cache
def _overflow(dtype: DType) -> float:
    """The smallest magnitude that rounds to infinity: half a unit in the last place beyond the largest number."""
    match dtype.name:
        case "float16":
            return 65520.0
        case "bfloat16":
            return (2.0 - 2.0**-8) * 2.0**127
        case "float32":
            return (2.0 - 2.0**-24) * 2.0**127
    return math.inf
