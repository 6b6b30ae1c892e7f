"""Elementwise ops on bits, and conversions between dtypes."""

from __future__ import annotations

import numpy as np

from ..errors import DTypeError
from ..ir import Node
from ..op import Kind, Op
from ..scalar import Builder, Scalar
from ..types import DType, TensorType, float32
from . import rules
from .rules import BITS, INTEGERS, no_gradient

bitwise_and: Op = Op(
    "bitwise_and",
    Kind.ELEMENTWISE,
    infer=rules.binary("bitwise_and", BITS),
    reference=np.bitwise_and,
    vjp=no_gradient,
    scalar=lambda s, a, b: a & b,
    commutes=True,
)

bitwise_or: Op = Op(
    "bitwise_or",
    Kind.ELEMENTWISE,
    infer=rules.binary("bitwise_or", BITS),
    reference=np.bitwise_or,
    vjp=no_gradient,
    scalar=lambda s, a, b: a | b,
    commutes=True,
)

bitwise_xor: Op = Op(
    "bitwise_xor",
    Kind.ELEMENTWISE,
    infer=rules.binary("bitwise_xor", BITS),
    reference=np.bitwise_xor,
    vjp=no_gradient,
    scalar=lambda s, a, b: a ^ b,
    commutes=True,
)

bitwise_invert: Op = Op(
    "bitwise_invert",
    Kind.ELEMENTWISE,
    infer=rules.unary("bitwise_invert", BITS),
    reference=np.invert,
    vjp=no_gradient,
    scalar=lambda s, x: ~x,
)


# As NumPy's: amounts are taken as unsigned. From the width on, nothing remains but the sign of a signed number
# shifted right.
left_shift: Op = Op(
    "left_shift",
    Kind.ELEMENTWISE,
    infer=rules.binary("left_shift", INTEGERS),
    reference=np.left_shift,
    vjp=no_gradient,
    scalar=lambda s, x, amount: x << amount,
)

right_shift: Op = Op(
    "right_shift",
    Kind.ELEMENTWISE,
    infer=rules.binary("right_shift", INTEGERS),
    reference=np.right_shift,
    vjp=no_gradient,
    scalar=lambda s, x, amount: x >> amount,
)


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


def _cast(s: Builder, x: Scalar, dtype: DType) -> Scalar:
    if dtype.is_bool:
        return x if x.dtype.is_bool else s.ne(x, 0)
    return s.cast(s.cast(x, dtype.computes_as), dtype)


def _cast_vjp(g: Node, y: Node, x: Node, dtype: DType) -> tuple[Node | None]:
    return (cast(g, dtype=x.dtype) if dtype.is_float and x.dtype.is_float else None,)


cast: Op = Op(
    "cast",
    Kind.ELEMENTWISE,
    infer=lambda x, dtype: x.with_dtype(dtype),
    reference=convert,
    vjp=_cast_vjp,
    scalar=_cast,
)


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


bitcast: Op = Op(
    "bitcast",
    Kind.ELEMENTWISE,
    infer=_bitcast_type,
    reference=lambda x, dtype: np.ascontiguousarray(x).reshape(x.shape).view(dtype.numpy),
    vjp=no_gradient,
    scalar=lambda s, x, dtype: s.bitcast(x, dtype),
)
