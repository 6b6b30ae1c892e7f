"""The error function, its complement, and the normal distribution. Floats only."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..ir import Node
from ..scalar import Builder, Scalar
from . import error_integral, functions
from .declare import unary
from .error_integral import in_pieces
from .rules import FLOATS
from .values import scaled


def _erf(x: np.ndarray) -> np.ndarray:
    return error_integral.erf(x.astype(np.float64), x.dtype).astype(x.dtype)


def _erfc(x: np.ndarray) -> np.ndarray:
    return error_integral.erfc(x.astype(np.float64), x.dtype).astype(x.dtype)


def _bell(x: Node) -> Node:
    """2/√π · exp(−x²), the derivative of erf."""
    return scaled(ops.exp(ops.negative(ops.square(x))), 2 / math.sqrt(math.pi))


@unary(FLOATS, in_pieces(_erf), slope=lambda y, x: _bell(x))
def erf(s: Builder, x: Scalar) -> Scalar:
    return s.erf(x)


erfc = unary(FLOATS, in_pieces(_erfc), slope=lambda y, x: ops.negative(_bell(x)))(functions.erfc)


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    """½ erfc(a/√2) for a = |x|, or 1 − that. h = a/√2 is rounded, which where it is large moves e^(−h²) by many ULP:
    they are put back."""
    a = np.minimum(np.abs(x.astype(np.float64)), 40)
    h = a * math.sqrt(0.5)
    (big, small), (big_h, small_h) = _square_parts(a), _square_parts(h)
    tail = 0.5 * error_integral.erfc(h, x.dtype) * np.exp((big_h - big / 2) + (small_h - small / 2))
    return np.where(x < 0, tail, 1 - tail).astype(x.dtype)


def _square_parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x² as the exact square of its upper half, and the rest."""
    upper = (x.view(np.int64) & -(1 << 27)).view(np.float64)
    return upper * upper, (x - upper) * (x + upper)


def _normal_density(x: Node) -> Node:
    return scaled(ops.exp(scaled(ops.square(x), -0.5)), 1 / math.sqrt(2 * math.pi))


# The share of a normal distribution that is below x.
normal_cdf = unary(
    FLOATS, in_pieces(_normal_cdf), slope=lambda y, x: _normal_density(x)
)(functions.normal_cdf)
