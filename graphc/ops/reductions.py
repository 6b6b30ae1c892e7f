"""Reductions over the attr `axes` (sorted). The result lacks those axes; sums and products keep their dtype."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..ir import Node
from ..op import Monoid
from ..scalar import Builder, Number, Scalar
from ..types import DType, int32, int64
from . import functions
from .declare import reduction
from .rules import ANY, BOOL, NUMBERS
from .values import masked, permuted, reshaped, scalar_constant, unreduced

State = tuple[Scalar, ...]
Axes = tuple[int, ...]


def _monoid(init: Callable[[DType], Number], combine: Callable[[Builder, Scalar, Scalar], Scalar]) -> Monoid:
    """A reduction whose state is one element."""
    return Monoid(
        init=lambda dtype: (init(dtype),),
        lift=lambda s, x, index: (x,),
        combine=lambda s, a, b: (combine(s, a[0], b[0]),),
        finish=lambda s, state: state[0],
    )


def _accumulator(x: np.ndarray) -> Any:
    """Where the reference adds and multiplies: float64 for floats, which wraps nothing and rounds once."""
    return np.float64 if x.dtype.kind == "f" else x.dtype


@reduction(
    NUMBERS,
    _monoid(lambda dtype: 0, lambda s, a, b: a + b),
    vjp=lambda g, y, x, axes: (unreduced(g, x.shape, axes),),
)
def sum(x: np.ndarray, axes: Axes) -> np.ndarray:
    return np.add.reduce(x, axes, _accumulator(x)).astype(x.dtype, copy=False)


def _prod_vjp(g: Node, y: Node, x: Node, axes: Axes) -> tuple[Node]:
    """The product of all other elements, right also where some are 0, and where the rule is differentiated again.

    The elements are multiplied as a balanced tree, halves with halves, and the gradient walks back down: either
    half gets the gradient of their product times the other half.
    """
    kept = tuple(a for a in range(len(x.shape)) if a not in axes)
    order = (*axes, *kept)
    rest = tuple(x.shape[a] for a in kept)
    count = math.prod(x.shape[a] for a in axes)
    level = reshaped(permuted(x, order), (count, *rest))
    halves: list[tuple[Node, Node, int]] = []
    while count > 1:
        half = (count + 1) // 2
        low, high = _rows(level, 0, half), _rows(level, half, count)
        if count % 2:
            one = scalar_constant(1, level.dtype)
            high = ops.pad(high, one, low=(0,) * len(level.shape), high=(1, *(0,) * len(rest)))
        halves.append((low, high, count))
        level, count = ops.multiply(low, high), half
    down = unreduced(g, level.shape, (0,))
    for low, high, count in reversed(halves):
        both = ops.concat(ops.multiply(down, high), ops.multiply(down, low), axis=0)
        down = _rows(both, 0, count)
    split = reshaped(down, tuple(x.shape[a] for a in order))
    return (permuted(split, tuple(order.index(a) for a in range(len(order)))),)


def _rows(x: Node, start: int, stop: int) -> Node:
    if (start, stop) == (0, x.shape[0]):
        return x
    rest = x.shape[1:]
    return ops.slice(x, start=(start, *(0,) * len(rest)), stop=(stop, *rest), step=(1,) * len(x.shape))


@reduction(NUMBERS, _monoid(lambda dtype: 1, lambda s, a, b: a * b), vjp=_prod_vjp)
def prod(x: np.ndarray, axes: Axes) -> np.ndarray:
    return np.multiply.reduce(x, axes, _accumulator(x)).astype(x.dtype, copy=False)


def _extreme_vjp(g: Node, y: Node, x: Node, axes: Axes) -> tuple[Node]:
    """Elements that are equally extreme share the gradient, as in JAX and PyTorch; none where the result is NaN."""
    mask = ops.equal(x, unreduced(y, x.shape, axes))
    count = sum(ops.cast(mask, dtype=x.dtype), axes=axes)
    return (masked(mask, unreduced(ops.divide(g, count), x.shape, axes)),)


# NaN if any element is NaN.
@reduction(ANY, _monoid(lambda dtype: dtype.min, functions.maximum), vjp=_extreme_vjp, of_nothing=False)
def max(x: np.ndarray, axes: Axes) -> np.ndarray:
    return np.maximum.reduce(x, axes)


@reduction(ANY, _monoid(lambda dtype: dtype.max, functions.minimum), vjp=_extreme_vjp, of_nothing=False)
def min(x: np.ndarray, axes: Axes) -> np.ndarray:
    return np.minimum.reduce(x, axes)


# Where the extreme is: the row-major position among the reduced elements, the first of equals; NaN is extreme


def _position(find: Callable[..., Any], x: np.ndarray, axes: Axes) -> np.ndarray:
    kept = [a for a in range(x.ndim) if a not in axes]
    count = math.prod(x.shape[a] for a in axes)
    rows = x.transpose([*kept, *axes]).reshape([*(x.shape[a] for a in kept), count])
    return np.asarray(find(rows, axis=-1), np.int64)


def _lift_position(s: Builder, x: Scalar, index: Scalar) -> State:
    return (s.cast(x, int32) if x.dtype.is_bool else x), index


def _first(wins: Callable[[Scalar, Scalar], Scalar]) -> Callable[[Builder, State, State], State]:
    """Of two (value, position) states the one that wins; of equals, or of two NaNs, the one that comes first."""

    def combine(s: Builder, a: State, b: State) -> State:
        (x, i), (y, j) = a, b
        better, same = wins(x, y), s.eq(x, y)
        if x.dtype.is_float:
            x_nan, y_nan = s.is_nan(x), s.is_nan(y)
            better, same = better | (x_nan & ~y_nan), same | (x_nan & y_nan)
        left = better | (same & (i < j))
        return s.select(left, x, y), s.select(left, i, j)

    return combine


@reduction(
    ANY,
    Monoid(
        init=lambda dtype: (dtype.min, int64.max),
        lift=_lift_position,
        combine=_first(lambda x, y: x > y),
        finish=lambda s, state: state[1],
    ),
    result=int64,
    of_nothing=False,
)
def argmax(x: np.ndarray, axes: Axes) -> np.ndarray:
    return _position(np.argmax, x, axes)


@reduction(
    ANY,
    Monoid(
        init=lambda dtype: (dtype.max, int64.max),
        lift=_lift_position,
        combine=_first(lambda x, y: x < y),
        finish=lambda s, state: state[1],
    ),
    result=int64,
    of_nothing=False,
)
def argmin(x: np.ndarray, axes: Axes) -> np.ndarray:
    return _position(np.argmin, x, axes)


@reduction(BOOL, _monoid(lambda dtype: False, lambda s, a, b: a | b))
def any(x: np.ndarray, axes: Axes) -> np.ndarray:
    return np.logical_or.reduce(x, axes)


@reduction(BOOL, _monoid(lambda dtype: True, lambda s, a, b: a & b))
def all(x: np.ndarray, axes: Axes) -> np.ndarray:
    return np.logical_and.reduce(x, axes)
