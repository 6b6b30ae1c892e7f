"""Cumulative ops along the attr `axis`: each element of the result is what the elements up to its place come to.

The gradients of all of them are linear recurrences from the end, so no rule divides, and each can be differentiated
again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import ops
from ..errors import ShapeError
from ..ir import Node
from ..op import Kind, Op, Running, same_types
from ..scalar import Builder, Number, Scalar
from ..types import DType, TensorType
from . import functions, rules
from .declare import Gradient, Reference, op
from .rules import ANY, FLOATS, NUMBERS, Family
from .values import masked, scalar_constant

State = tuple[Scalar, ...]


def _cumulative(family: Family, running: Running, vjp: Gradient) -> Callable[[Reference], Op]:
    """An op of one input, whose type is the result's; `axis` is one of its."""

    def declare(reference: Reference) -> Op:
        def infer(x: TensorType, axis: int) -> TensorType:
            return _checked(reference.__name__, family, (x,), axis)

        return Op(reference.__name__, Kind.CUMULATIVE, infer, reference, vjp, running=running)

    return declare


def _checked(op: str, family: Family, types: tuple[TensorType, ...], axis: int) -> TensorType:
    found = same_types(op, types)
    rules.require(op, family, found)
    if not 0 <= axis < found.ndim:
        raise ShapeError(f"{op} goes along an axis of its input", got=f"axis {axis} of {found}")
    return found


def _running(init: Callable[[DType], Number], combine: Callable[[Builder, Scalar, Scalar], Scalar]) -> Running:
    """One whose state is one element."""
    return Running(
        init=lambda dtype: (init(dtype),),
        lift=lambda s, x: (x,),
        combine=lambda s, a, b: (combine(s, a[0], b[0]),),
        finish=lambda s, state: state[0],
    )


def _accumulated(function: np.ufunc, x: np.ndarray, axis: int) -> np.ndarray:
    """Floats are accumulated in float64 and rounded once."""
    wide = x.astype(np.float64) if x.dtype.kind == "f" else x
    return np.asarray(function.accumulate(wide, axis, wide.dtype).astype(x.dtype, copy=False))


# Places along the axis


def _flipped(x: Node, axis: int) -> Node:
    return ops.flip(x, axes=(axis,))


def _part(x: Node, axis: int, start: int, stop: int) -> Node:
    """The places from `start` to `stop`."""
    low = tuple(start if a == axis else 0 for a in range(len(x.shape)))
    high = tuple(stop if a == axis else size for a, size in enumerate(x.shape))
    return ops.slice(x, start=low, stop=high, step=(1,) * len(x.shape))


def _behind(x: Node, axis: int, first: Number) -> Node:
    """x, which has one place less than the result, behind one place of `first`."""
    low = tuple(int(a == axis) for a in range(len(x.shape)))
    return ops.pad(x, scalar_constant(first, x.dtype), low=low, high=(0,) * len(x.shape))


def _previous(x: Node, axis: int, first: Number) -> Node:
    """At each place the element before it; at the first one `first`."""
    return _behind(_part(x, axis, 0, x.shape[axis] - 1), axis, first)


def _with_previous(
    found: Callable[[Node, Node], Node], x: Node, y: Node, axis: int, first: Number
) -> Node:
    """found(element of x, element of y before it) at each place but the first, where it is `first`."""
    count = x.shape[axis]
    return _behind(found(_part(x, axis, 1, count), _part(y, axis, 0, count - 1)), axis, first)


def _from_the_end(g: Node, a: Node, axis: int) -> Node:
    """s with s[k] = g[k] + a[k + 1] · s[k + 1]: what flows back through a recurrence with the factors a."""
    return _flipped(linear_recurrence(_previous(_flipped(a, axis), axis, 0), _flipped(g, axis), axis=axis), axis)


# Sums, products, extremes


def _sum_vjp(g: Node, y: Node, x: Node, axis: int) -> tuple[Node]:
    return (_flipped(cumulative_sum(_flipped(g, axis), axis=axis), axis),)


@_cumulative(NUMBERS, _running(lambda dtype: 0, lambda s, a, b: a + b), _sum_vjp)
def cumulative_sum(x: np.ndarray, axis: int) -> np.ndarray:
    return _accumulated(np.add, x, axis)


def _prod_vjp(g: Node, y: Node, x: Node, axis: int) -> tuple[Node]:
    """The product of the elements before, times what those behind make of the cotangents: right also with zeros.

    Σᵢ g[i] ∏{x[j]: k < j ≤ i} over i ≥ k is the recurrence s[k] = g[k] + x[k + 1] · s[k + 1].
    """
    if not x.shape[axis]:
        return (g,)
    return (ops.multiply(_previous(y, axis, 1), _from_the_end(g, x, axis)),)


@_cumulative(NUMBERS, _running(lambda dtype: 1, lambda s, a, b: a * b), _prod_vjp)
def cumulative_prod(x: np.ndarray, axis: int) -> np.ndarray:
    return _accumulated(np.multiply, x, axis)


def _extreme_vjp(reaches: Callable[[Node, Node], Node]) -> Callable[..., tuple[Node]]:
    """The gradient of each place goes to the element that is the extreme there, the last of equal ones as in PyTorch.

    An element gives the extreme up to the next one that `reaches` it:
    s[k] = g[k] + (0 if k + 1 does, else 1) · s[k + 1].
    """

    def taken(x: Node, before: Node) -> Node:
        if not x.dtype.is_float:
            return reaches(x, before)
        first_nan = ops.logical_and(ops.isnan(x), ops.logical_not(ops.isnan(before)))
        return ops.logical_or(reaches(x, before), first_nan)

    def vjp(g: Node, y: Node, x: Node, axis: int) -> tuple[Node]:
        if not x.shape[axis]:
            return (g,)
        takes = _with_previous(taken, x, y, axis, True)
        passes = ops.cast(ops.logical_not(takes), dtype=x.dtype)
        return (masked(takes, _from_the_end(g, passes, axis)),)

    return vjp


# NaN from the first NaN on.
@_cumulative(
    ANY,
    _running(lambda dtype: dtype.min, functions.maximum),
    _extreme_vjp(lambda x, before: ops.greater_equal(x, before)),
)
def cumulative_max(x: np.ndarray, axis: int) -> np.ndarray:
    return np.maximum.accumulate(x, axis)


@_cumulative(
    ANY,
    _running(lambda dtype: dtype.max, functions.minimum),
    _extreme_vjp(lambda x, before: ops.less_equal(x, before)),
)
def cumulative_min(x: np.ndarray, axis: int) -> np.ndarray:
    return np.minimum.accumulate(x, axis)


# Sums of exponentials: the state is the largest element m and the sum of exp(x − m)


def _join_exponentials(s: Builder, a: State, b: State) -> State:
    (m, p), (n, q) = a, b
    # exp(least − largest), which is 1 for equal infinities, whose difference is NaN.
    ratio = s.select(s.eq(m, n), s.const(1, m.dtype), s.exp(-s.abs(m - n)))
    return s.max(m, n), s.select(m < n, p * ratio + q, p + q * ratio)


def _logcumsumexp_vjp(g: Node, y: Node, x: Node, axis: int) -> tuple[Node]:
    """That of y[k] = logaddexp(y[k − 1], x[k]): of what reaches a place, the element gets sigmoid(x[k] − y[k − 1]), and
    what is before it the rest; halves where both are the same infinity."""
    if not x.shape[axis]:
        return (g,)
    share = _with_previous(lambda now, before: ops.sigmoid(ops.difference(now, before)), x, y, axis, 1)
    rest = _with_previous(lambda now, before: ops.sigmoid(ops.difference(before, now)), x, y, axis, 0)
    return (ops.multiply(share, _from_the_end(g, rest, axis)),)


@_cumulative(
    FLOATS,
    Running(
        init=lambda dtype: (dtype.min, 0),
        lift=lambda s, x: (x, s.const(1, x.dtype)),
        combine=_join_exponentials,
        finish=lambda s, state: state[0] + s.log(state[1]),
    ),
    _logcumsumexp_vjp,
)
def logcumsumexp(x: np.ndarray, axis: int) -> np.ndarray:
    return _accumulated(np.logaddexp, x, axis)


# y[k] = a[k] · y[k − 1] + b[k], from y[−1] = 0. The state is the function y → a · y + b of several places


def _recurrence_vjp(g: Node, y: Node, a: Node, b: Node, axis: int) -> tuple[Node, Node]:
    if not b.shape[axis]:
        return g, g
    down = _from_the_end(g, a, axis)
    return ops.multiply(down, _previous(y, axis, 0)), down


def _then(s: Builder, a: State, b: State) -> State:
    """Where nothing came before, nothing is multiplied: also a product of factors that is infinite leaves 0."""
    nothing = s.eq(a[1], s.const(0, a[1].dtype))
    return a[0] * b[0], s.select(nothing, b[1], b[0] * a[1] + b[1])


@op(
    Kind.CUMULATIVE,
    lambda a, b, axis: _checked(linear_recurrence.name, FLOATS, (a, b), axis),
    _recurrence_vjp,
    running=Running(
        init=lambda dtype: (1, 0),
        lift=lambda s, a, b: (a, b),
        combine=_then,
        finish=lambda s, state: state[1],
    ),
)
def linear_recurrence(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    factors, terms = (np.moveaxis(x.astype(np.float64), axis, 0) for x in (a, b))
    result = np.empty_like(terms)
    for k in range(len(terms)):
        before = result[k - 1] if k else np.zeros_like(terms[0])
        result[k] = np.where(before == 0, terms[k], factors[k] * before + terms[k])
    return np.moveaxis(result, 0, axis).astype(b.dtype)
