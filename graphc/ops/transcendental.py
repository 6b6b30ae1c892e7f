"""Elementwise exponentials, logarithms, trigonometric and hyperbolic functions. Floats only.

Gradients are limits at infinity and at the ends of a domain. Where the value is NaN the gradient means nothing.
"""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..ir import Node
from ..scalar import Builder, Scalar
from . import functions
from .arithmetic import unit_vector
from .declare import binary, unary
from .rules import FLOATS
from .values import ones_like, scaled, zeros_like


@unary(FLOATS, np.exp, slope=lambda y, x: y)
def exp(s: Builder, x: Scalar) -> Scalar:
    return s.exp(x)


@unary(FLOATS, np.exp2, slope=lambda y, x: scaled(y, math.log(2)))
def exp2(s: Builder, x: Scalar) -> Scalar:
    return s.exp2(x)


# The slope is not y + 1, which is 0 from −17 on.
expm1 = unary(FLOATS, np.expm1, slope=lambda y, x: exp(x))(functions.expm1)


@unary(FLOATS, np.log, vjp=lambda g, y, x: (ops.divide(g, x),))
def log(s: Builder, x: Scalar) -> Scalar:
    return s.log(x)


@unary(FLOATS, np.log2, vjp=lambda g, y, x: (ops.divide(scaled(g, 1 / math.log(2)), x),))
def log2(s: Builder, x: Scalar) -> Scalar:
    return s.log2(x)


log10 = unary(
    FLOATS, np.log10, vjp=lambda g, y, x: (ops.divide(scaled(g, 1 / math.log(10)), x),)
)(functions.log10)

log1p = unary(
    FLOATS, np.log1p, vjp=lambda g, y, x: (ops.divide(g, ops.add(x, ones_like(x))),)
)(functions.log1p)


def _logaddexp_vjp(g: Node, y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    """The softmax of (a, b); half each where both are the same infinity."""
    difference = ops.difference(a, b)
    return ops.multiply(g, sigmoid(difference)), ops.multiply(g, sigmoid(ops.negative(difference)))


logaddexp = binary(FLOATS, np.logaddexp, vjp=_logaddexp_vjp)(functions.logaddexp)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, x.dtype.type(1)) / (1 + e)


# The slope is taken from y: where that has rounded to 1, it is 0.
sigmoid = unary(
    FLOATS, _sigmoid, slope=lambda y, x: ops.multiply(y, ops.subtract(ones_like(y), y))
)(functions.sigmoid)


# Trigonometric functions


def _one_minus_square(x: Node) -> Node:
    """(1 − x)(1 + x), which does not cancel near ±1."""
    return ops.multiply(ops.subtract(ones_like(x), x), ops.add(ones_like(x), x))


def _one_plus_square(x: Node) -> Node:
    return ops.add(ones_like(x), ops.square(x))


def _slant(x: Node) -> Node:
    """1 / √(1 + x²), also where x² overflows."""
    return ops.reciprocal(ops.hypot(ones_like(x), x))


@unary(FLOATS, np.sin, slope=lambda y, x: cos(x))
def sin(s: Builder, x: Scalar) -> Scalar:
    return s.sin(x)


@unary(FLOATS, np.cos, slope=lambda y, x: ops.negative(sin(x)))
def cos(s: Builder, x: Scalar) -> Scalar:
    return s.cos(x)


tan = unary(FLOATS, np.tan, slope=lambda y, x: _one_plus_square(y))(functions.tan)

asin = unary(FLOATS, np.arcsin, slope=lambda y, x: ops.rsqrt(_one_minus_square(x)))(functions.asin)

acos = unary(
    FLOATS, np.arccos, slope=lambda y, x: ops.negative(ops.rsqrt(_one_minus_square(x)))
)(functions.acos)

atan = unary(FLOATS, np.arctan, slope=lambda y, x: ops.square(_slant(x)))(functions.atan)


def _atan2_vjp(g: Node, y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    """b/r² and −a/r²; 0 at the origin, as in PyTorch, where the angle is none."""
    length = ops.hypot(a, b)
    left, right = unit_vector(length, a, b)
    length = ops.select(ops.equal(length, zeros_like(length)), ones_like(length), length)
    return (
        ops.divide(ops.multiply(g, right), length),
        ops.negative(ops.divide(ops.multiply(g, left), length)),
    )


atan2 = binary(FLOATS, np.arctan2, vjp=_atan2_vjp)(functions.atan2)


# Hyperbolic functions


sinh = unary(FLOATS, np.sinh, slope=lambda y, x: cosh(x))(functions.sinh)

cosh = unary(FLOATS, np.cosh, slope=lambda y, x: sinh(x))(functions.cosh)

# The slope is taken from y: where that has rounded to ±1, it is 0.
tanh = unary(FLOATS, np.tanh, slope=lambda y, x: ops.subtract(ones_like(y), ops.square(y)))(functions.tanh)

asinh = unary(FLOATS, np.arcsinh, slope=lambda y, x: _slant(x))(functions.asinh)


def _acosh_slope(x: Node) -> Node:
    """1 / √((x − 1)(x + 1)), also where x² overflows."""
    one = ones_like(x)
    return ops.multiply(ops.rsqrt(ops.subtract(x, one)), ops.rsqrt(ops.add(x, one)))


acosh = unary(FLOATS, np.arccosh, slope=lambda y, x: _acosh_slope(x))(functions.acosh)

atanh = unary(FLOATS, np.arctanh, vjp=lambda g, y, x: (ops.divide(g, _one_minus_square(x)),))(functions.atanh)
