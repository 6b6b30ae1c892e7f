"""Elementwise exponentials, logarithms, trigonometric and hyperbolic functions. Floats only.

Gradients are limits at infinity and at the ends of a domain. Where the value is NaN the gradient means nothing.
"""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..ir import Node
from ..op import Kind, Op
from . import functions, rules
from .arithmetic import unit_vector
from .rules import FLOATS
from .values import ones_like, scaled, zeros_like

exp: Op = Op(
    "exp",
    Kind.ELEMENTWISE,
    infer=rules.unary("exp", FLOATS),
    reference=np.exp,
    vjp=lambda g, y, x: (ops.multiply(g, y),),
    scalar=lambda s, x: s.exp(x),
)

exp2: Op = Op(
    "exp2",
    Kind.ELEMENTWISE,
    infer=rules.unary("exp2", FLOATS),
    reference=np.exp2,
    vjp=lambda g, y, x: (ops.multiply(g, scaled(y, math.log(2))),),
    scalar=lambda s, x: s.exp2(x),
)

# The slope is not y + 1, which is 0 from −17 on.
expm1: Op = Op(
    "expm1",
    Kind.ELEMENTWISE,
    infer=rules.unary("expm1", FLOATS),
    reference=np.expm1,
    vjp=lambda g, y, x: (ops.multiply(g, exp(x)),),
    scalar=functions.expm1,
)

log: Op = Op(
    "log",
    Kind.ELEMENTWISE,
    infer=rules.unary("log", FLOATS),
    reference=np.log,
    vjp=lambda g, y, x: (ops.divide(g, x),),
    scalar=lambda s, x: s.log(x),
)

log2: Op = Op(
    "log2",
    Kind.ELEMENTWISE,
    infer=rules.unary("log2", FLOATS),
    reference=np.log2,
    vjp=lambda g, y, x: (ops.divide(scaled(g, 1 / math.log(2)), x),),
    scalar=lambda s, x: s.log2(x),
)

log10: Op = Op(
    "log10",
    Kind.ELEMENTWISE,
    infer=rules.unary("log10", FLOATS),
    reference=np.log10,
    vjp=lambda g, y, x: (ops.divide(scaled(g, 1 / math.log(10)), x),),
    scalar=functions.log10,
)

log1p: Op = Op(
    "log1p",
    Kind.ELEMENTWISE,
    infer=rules.unary("log1p", FLOATS),
    reference=np.log1p,
    vjp=lambda g, y, x: (ops.divide(g, ops.add(x, ones_like(x))),),
    scalar=functions.log1p,
)


def _logaddexp_vjp(g: Node, y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    """The softmax of (a, b); half each where both are the same infinity."""
    difference = ops.difference(a, b)
    return ops.multiply(g, sigmoid(difference)), ops.multiply(g, sigmoid(ops.negative(difference)))


logaddexp: Op = Op(
    "logaddexp",
    Kind.ELEMENTWISE,
    infer=rules.binary("logaddexp", FLOATS),
    reference=np.logaddexp,
    vjp=_logaddexp_vjp,
    scalar=functions.logaddexp,
)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, x.dtype.type(1)) / (1 + e)


# The slope is taken from y: where that has rounded to 1, it is 0.
sigmoid: Op = Op(
    "sigmoid",
    Kind.ELEMENTWISE,
    infer=rules.unary("sigmoid", FLOATS),
    reference=_sigmoid,
    vjp=lambda g, y, x: (ops.multiply(g, ops.multiply(y, ops.subtract(ones_like(y), y))),),
    scalar=functions.sigmoid,
)


# Trigonometric functions


def _one_minus_square(x: Node) -> Node:
    """(1 − x)(1 + x), which does not cancel near ±1."""
    return ops.multiply(ops.subtract(ones_like(x), x), ops.add(ones_like(x), x))


def _one_plus_square(x: Node) -> Node:
    return ops.add(ones_like(x), ops.square(x))


def _slant(x: Node) -> Node:
    """1 / √(1 + x²), also where x² overflows."""
    return ops.reciprocal(ops.hypot(ones_like(x), x))


sin: Op = Op(
    "sin",
    Kind.ELEMENTWISE,
    infer=rules.unary("sin", FLOATS),
    reference=np.sin,
    vjp=lambda g, y, x: (ops.multiply(g, cos(x)),),
    scalar=lambda s, x: s.sin(x),
)

cos: Op = Op(
    "cos",
    Kind.ELEMENTWISE,
    infer=rules.unary("cos", FLOATS),
    reference=np.cos,
    vjp=lambda g, y, x: (ops.negative(ops.multiply(g, sin(x))),),
    scalar=lambda s, x: s.cos(x),
)

tan: Op = Op(
    "tan",
    Kind.ELEMENTWISE,
    infer=rules.unary("tan", FLOATS),
    reference=np.tan,
    vjp=lambda g, y, x: (ops.multiply(g, _one_plus_square(y)),),
    scalar=functions.tan,
)

asin: Op = Op(
    "asin",
    Kind.ELEMENTWISE,
    infer=rules.unary("asin", FLOATS),
    reference=np.arcsin,
    vjp=lambda g, y, x: (ops.multiply(g, ops.rsqrt(_one_minus_square(x))),),
    scalar=functions.asin,
)

acos: Op = Op(
    "acos",
    Kind.ELEMENTWISE,
    infer=rules.unary("acos", FLOATS),
    reference=np.arccos,
    vjp=lambda g, y, x: (ops.negative(ops.multiply(g, ops.rsqrt(_one_minus_square(x)))),),
    scalar=functions.acos,
)

atan: Op = Op(
    "atan",
    Kind.ELEMENTWISE,
    infer=rules.unary("atan", FLOATS),
    reference=np.arctan,
    vjp=lambda g, y, x: (ops.multiply(g, ops.square(_slant(x))),),
    scalar=functions.atan,
)


def _atan2_vjp(g: Node, y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    """b/r² and −a/r²; 0 at the origin, as in PyTorch, where the angle is none."""
    length = ops.hypot(a, b)
    left, right = unit_vector(length, a, b)
    length = ops.select(ops.equal(length, zeros_like(length)), ones_like(length), length)
    return (
        ops.divide(ops.multiply(g, right), length),
        ops.negative(ops.divide(ops.multiply(g, left), length)),
    )


atan2: Op = Op(
    "atan2",
    Kind.ELEMENTWISE,
    infer=rules.binary("atan2", FLOATS),
    reference=np.arctan2,
    vjp=_atan2_vjp,
    scalar=functions.atan2,
)


# Hyperbolic functions


sinh: Op = Op(
    "sinh",
    Kind.ELEMENTWISE,
    infer=rules.unary("sinh", FLOATS),
    reference=np.sinh,
    vjp=lambda g, y, x: (ops.multiply(g, cosh(x)),),
    scalar=functions.sinh,
)

cosh: Op = Op(
    "cosh",
    Kind.ELEMENTWISE,
    infer=rules.unary("cosh", FLOATS),
    reference=np.cosh,
    vjp=lambda g, y, x: (ops.multiply(g, sinh(x)),),
    scalar=functions.cosh,
)

# The slope is taken from y: where that has rounded to ±1, it is 0.
tanh: Op = Op(
    "tanh",
    Kind.ELEMENTWISE,
    infer=rules.unary("tanh", FLOATS),
    reference=np.tanh,
    vjp=lambda g, y, x: (ops.multiply(g, ops.subtract(ones_like(y), ops.square(y))),),
    scalar=functions.tanh,
)

asinh: Op = Op(
    "asinh",
    Kind.ELEMENTWISE,
    infer=rules.unary("asinh", FLOATS),
    reference=np.arcsinh,
    vjp=lambda g, y, x: (ops.multiply(g, _slant(x)),),
    scalar=functions.asinh,
)


def _acosh_slope(x: Node) -> Node:
    """1 / √((x − 1)(x + 1)), also where x² overflows."""
    one = ones_like(x)
    return ops.multiply(ops.rsqrt(ops.subtract(x, one)), ops.rsqrt(ops.add(x, one)))


acosh: Op = Op(
    "acosh",
    Kind.ELEMENTWISE,
    infer=rules.unary("acosh", FLOATS),
    reference=np.arccosh,
    vjp=lambda g, y, x: (ops.multiply(g, _acosh_slope(x)),),
    scalar=functions.acosh,
)

atanh: Op = Op(
    "atanh",
    Kind.ELEMENTWISE,
    infer=rules.unary("atanh", FLOATS),
    reference=np.arctanh,
    vjp=lambda g, y, x: (ops.divide(g, _one_minus_square(x)),),
    scalar=functions.atanh,
)
