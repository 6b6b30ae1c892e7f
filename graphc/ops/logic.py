"""Elementwise questions and answers: comparisons, classes of floats, logic on bools, and `select`.

Comparisons with NaN are false, except not_equal. False < True.
"""

from __future__ import annotations

import numpy as np

from ..ir import Node
from ..op import Kind, Op, same_types
from ..scalar import Builder, Scalar
from ..types import TensorType, bool_
from . import functions, rules
from .rules import ANY, BOOL, NUMBERS, no_gradient
from .values import masked, zeros_like


def _equal(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return ~(a ^ b) if a.dtype.is_bool else s.eq(a, b)


def _not_equal(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a ^ b if a.dtype.is_bool else s.ne(a, b)


def _less(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return ~a & b if a.dtype.is_bool else a < b


def _less_equal(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return ~a | b if a.dtype.is_bool else a <= b


equal: Op = Op(
    "equal",
    Kind.ELEMENTWISE,
    infer=rules.binary("equal", ANY, bool_),
    reference=np.equal,
    vjp=no_gradient,
    scalar=_equal,
    commutes=True,
)

not_equal: Op = Op(
    "not_equal",
    Kind.ELEMENTWISE,
    infer=rules.binary("not_equal", ANY, bool_),
    reference=np.not_equal,
    vjp=no_gradient,
    scalar=_not_equal,
    commutes=True,
)

less: Op = Op(
    "less",
    Kind.ELEMENTWISE,
    infer=rules.binary("less", ANY, bool_),
    reference=np.less,
    vjp=no_gradient,
    scalar=_less,
)

less_equal: Op = Op(
    "less_equal",
    Kind.ELEMENTWISE,
    infer=rules.binary("less_equal", ANY, bool_),
    reference=np.less_equal,
    vjp=no_gradient,
    scalar=_less_equal,
)

greater: Op = Op(
    "greater",
    Kind.ELEMENTWISE,
    infer=rules.binary("greater", ANY, bool_),
    reference=np.greater,
    vjp=no_gradient,
    scalar=lambda s, a, b: _less(s, b, a),
)

greater_equal: Op = Op(
    "greater_equal",
    Kind.ELEMENTWISE,
    infer=rules.binary("greater_equal", ANY, bool_),
    reference=np.greater_equal,
    vjp=no_gradient,
    scalar=lambda s, a, b: _less_equal(s, b, a),
)


# Classes of floats; integers are finite numbers


isnan: Op = Op(
    "isnan",
    Kind.ELEMENTWISE,
    infer=rules.unary("isnan", NUMBERS, bool_),
    reference=np.isnan,
    vjp=no_gradient,
    scalar=functions.isnan,
)

isinf: Op = Op(
    "isinf",
    Kind.ELEMENTWISE,
    infer=rules.unary("isinf", NUMBERS, bool_),
    reference=np.isinf,
    vjp=no_gradient,
    scalar=functions.isinf,
)

isfinite: Op = Op(
    "isfinite",
    Kind.ELEMENTWISE,
    infer=rules.unary("isfinite", NUMBERS, bool_),
    reference=np.isfinite,
    vjp=no_gradient,
    scalar=functions.isfinite,
)

signbit: Op = Op(
    "signbit",
    Kind.ELEMENTWISE,
    infer=rules.unary("signbit", NUMBERS, bool_),
    reference=lambda x: x < 0 if x.dtype.kind in "iu" else np.signbit(x),
    vjp=no_gradient,
    scalar=functions.signbit,
)


# Logic


logical_and: Op = Op(
    "logical_and",
    Kind.ELEMENTWISE,
    infer=rules.binary("logical_and", BOOL),
    reference=np.logical_and,
    vjp=no_gradient,
    scalar=lambda s, a, b: a & b,
    commutes=True,
)

logical_or: Op = Op(
    "logical_or",
    Kind.ELEMENTWISE,
    infer=rules.binary("logical_or", BOOL),
    reference=np.logical_or,
    vjp=no_gradient,
    scalar=lambda s, a, b: a | b,
    commutes=True,
)

logical_xor: Op = Op(
    "logical_xor",
    Kind.ELEMENTWISE,
    infer=rules.binary("logical_xor", BOOL),
    reference=np.logical_xor,
    vjp=no_gradient,
    scalar=lambda s, a, b: a ^ b,
    commutes=True,
)

logical_not: Op = Op(
    "logical_not",
    Kind.ELEMENTWISE,
    infer=rules.unary("logical_not", BOOL),
    reference=np.logical_not,
    vjp=no_gradient,
    scalar=lambda s, x: ~x,
)


def _select_type(mask: TensorType, a: TensorType, b: TensorType) -> TensorType:
    rules.require("select's mask", BOOL, mask)
    same_types("select", (mask, a.with_dtype(bool_)))
    return same_types("select", (a, b))


def _select(mask: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Large arrays bit by bit: np.where takes branches, which cost eight times as much where a mask is random."""
    if mask.size < 1 << 12 or a.dtype.itemsize not in (4, 8):
        return np.where(mask, a, b)
    word = np.dtype(f"i{a.dtype.itemsize}")
    a_bits, b_bits, ones = a.view(word), b.view(word), mask.astype(word)
    np.negative(ones, ones)  # all bits where the mask holds
    changes = a_bits ^ b_bits
    fits = ones.shape == np.broadcast_shapes(ones.shape, changes.shape)
    result = np.bitwise_and(ones, changes, ones if fits else None)
    return np.bitwise_xor(result, b_bits, result).view(a.dtype)


def _select_vjp(g: Node, y: Node, mask: Node, a: Node, b: Node) -> tuple[None, Node, Node]:
    return None, masked(mask, g), select(mask, zeros_like(g), g)


# a where the mask holds, b elsewhere; the other one's value does not matter, NaN included.
select: Op = Op(
    "select",
    Kind.ELEMENTWISE,
    infer=_select_type,
    reference=_select,
    vjp=_select_vjp,
    scalar=lambda s, mask, a, b: s.select(mask, a, b),
)
