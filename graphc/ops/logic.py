"""Elementwise questions and answers: comparisons, classes of floats, logic on bools, and `select`.

Comparisons with NaN are false, except not_equal. False < True.
"""

from __future__ import annotations

import numpy as np

from ..ir import Node
from ..op import same_types
from ..scalar import Builder, Scalar
from ..types import TensorType, bool_
from . import functions, rules
from .declare import binary, elementwise, unary
from .rules import ANY, BOOL, NUMBERS
from .values import masked, zeros_like


def _equal(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return ~(a ^ b) if a.dtype.is_bool else s.eq(a, b)


def _not_equal(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a ^ b if a.dtype.is_bool else s.ne(a, b)


def _less(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return ~a & b if a.dtype.is_bool else a < b


def _less_equal(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return ~a | b if a.dtype.is_bool else a <= b


@binary(ANY, np.equal, result=bool_, commutes=True)
def equal(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return _equal(s, a, b)


@binary(ANY, np.not_equal, result=bool_, commutes=True)
def not_equal(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return _not_equal(s, a, b)


@binary(ANY, np.less, result=bool_)
def less(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return _less(s, a, b)


@binary(ANY, np.less_equal, result=bool_)
def less_equal(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return _less_equal(s, a, b)


@binary(ANY, np.greater, result=bool_)
def greater(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return _less(s, b, a)


@binary(ANY, np.greater_equal, result=bool_)
def greater_equal(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return _less_equal(s, b, a)


# Classes of floats; integers are finite numbers


isnan = unary(NUMBERS, np.isnan, result=bool_)(functions.isnan)

isinf = unary(NUMBERS, np.isinf, result=bool_)(functions.isinf)

isfinite = unary(NUMBERS, np.isfinite, result=bool_)(functions.isfinite)

signbit = unary(
    NUMBERS, lambda x: x < 0 if x.dtype.kind in "iu" else np.signbit(x), result=bool_
)(functions.signbit)


# Logic


@binary(BOOL, np.logical_and, commutes=True)
def logical_and(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a & b


@binary(BOOL, np.logical_or, commutes=True)
def logical_or(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a | b


@binary(BOOL, np.logical_xor, commutes=True)
def logical_xor(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a ^ b


@unary(BOOL, np.logical_not)
def logical_not(s: Builder, x: Scalar) -> Scalar:
    return ~x


def _select_type(mask: TensorType, a: TensorType, b: TensorType) -> TensorType:
    rules.require("select's mask", BOOL, mask)
    same_types(select.name, (mask, a.with_dtype(bool_)))
    return same_types(select.name, (a, b))


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
@elementwise(_select_type, _select, _select_vjp)
def select(s: Builder, mask: Scalar, a: Scalar, b: Scalar) -> Scalar:
    return s.select(mask, a, b)
