"""Elementwise ops on bits, and conversions between dtypes."""

from __future__ import annotations

import numpy as np

from ..errors import DTypeError
from ..ir import Node
from ..scalar import Builder, Scalar
from ..types import DType, TensorType, float32
from .declare import binary, elementwise, unary
from .rules import BITS, INTEGERS


@binary(BITS, np.bitwise_and, commutes=True)
def bitwise_and(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a & b


@binary(BITS, np.bitwise_or, commutes=True)
def bitwise_or(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a | b


@binary(BITS, np.bitwise_xor, commutes=True)
def bitwise_xor(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a ^ b


@unary(BITS, np.invert)
def bitwise_invert(s: Builder, x: Scalar) -> Scalar:
    return ~x


# As NumPy's: amounts are taken as unsigned. From the width on, nothing remains but the sign of a signed number
# shifted right.
@binary(INTEGERS, np.left_shift)
def left_shift(s: Builder, x: Scalar, amount: Scalar) -> Scalar:
    return x << amount


@binary(INTEGERS, np.right_shift)
def right_shift(s: Builder, x: Scalar, amount: Scalar) -> Scalar:
    return x >> amount


# Conversions


def convert(x: np.ndarray, dtype: DType) -> np.ndarray:
    """What `cast` means. To bool: x ≠ 0. Float to integer: towards zero, saturating, NaN to 0. Integer to integer
    wraps. 16-bit floats are rounded to from float32, whatever the source is."""
    if dtype.is_bool:
        return x != 0
    if dtype.is_integer and x.dtype.kind == "f":
        whole = np.trunc(x)
        low, end = (
            float(dtype.min),
            float(int(dtype.max) + 1),
        )  # both are powers of two, or 0, in any float dtype
        inside = (whole >= low) & (whole < end)
        if inside.all():
            return whole.astype(dtype.numpy)
        result = np.where(inside, whole, 0).astype(dtype.numpy)
        result[whole >= end] = dtype.max
        result[whole < low] = dtype.min
        return result
    return x.astype(dtype.computes_as.numpy).astype(dtype.numpy, copy=False)


def _cast_vjp(g: Node, y: Node, x: Node, dtype: DType) -> tuple[Node | None]:
    return (cast(g, dtype=x.dtype) if dtype.is_float and x.dtype.is_float else None,)


@elementwise(lambda x, dtype: x.with_dtype(dtype), convert, _cast_vjp)
def cast(s: Builder, x: Scalar, dtype: DType) -> Scalar:
    if dtype.is_bool:
        return x if x.dtype.is_bool else s.ne(x, 0)
    return s.cast(s.cast(x, dtype.computes_as), dtype)


def _bitcast_type(x: TensorType, dtype: DType) -> TensorType:
    if x.dtype.bits != dtype.bits:
        raise DTypeError("bitcast needs dtypes of equal width", got=f"{x.dtype} to {dtype}")
    if x.dtype.computes_as is float32 is not x.dtype or dtype.computes_as is float32 is not dtype:
        raise DTypeError(
            "bitcast does not see the bits of 16-bit floats, which compute in float32",
            got=f"{x.dtype} to {dtype}",
            hint="cast to float32 and take its bits",
        )
    return x.with_dtype(dtype)


@elementwise(_bitcast_type, lambda x, dtype: np.ascontiguousarray(x).reshape(x.shape).view(dtype.numpy))
def bitcast(s: Builder, x: Scalar, dtype: DType) -> Scalar:
    return s.bitcast(x, dtype)
