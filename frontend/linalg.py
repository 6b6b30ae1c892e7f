"""Products of arrays, with the names and signatures of the Python array API standard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc import ops
from graphc.errors import ShapeError
from graphc.ops.contraction import can_give
from graphc.types import DType, DTypeLike, as_dtype, int64

from .binary import multiply, subtract
from .emit import (
    ArrayLike,
    as_tensor,
    broadcast_shape,
    cast,
    emit,
    normal_axis,
    operands,
    stretch,
    whole,
    wholes,
)
from .recorded import recorded
from .reductions import accumulator, sum
from .shapes import (
    as_count,
    broadcast_to,
    expand_dims,
    matrix_transpose,
    moveaxis,
    permute_dims,
    roll,
    squeeze,
)
from .tensor import Tensor


@recorded
def matmul(x1: ArrayLike, x2: ArrayLike, /, *, dtype: DTypeLike | None = None) -> Tensor:
    """The matrix product of the last two axes, for each element of the others, which broadcast.

    A vector is a row on the left and a column on the right, and the result lacks that axis. `dtype` is what products
    are summed in, and the result's: float32 of 16-bit floats and int32 of 8-bit integers take the narrow numbers as
    they are, which is fastest where machines have instructions for it; inputs of other dtypes are converted to it.
    """
    return _matmul(*_factors(x1, x2, dtype))


def _matmul(a: Tensor, b: Tensor, result: DType) -> Tensor:
    if not a.shape or not b.shape:
        raise _mismatch("matmul needs at least one axis", a, b)
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise _mismatch("matmul needs as many columns on the left as rows on the right", a, b)
    if a.ndim > 1 and b.ndim > 2:
        leading = broadcast_shape(a.shape[:-2], b.shape[:-2])
        a, b = stretch(a, leading + a.shape[-2:]), stretch(b, leading + b.shape[-2:])
        n = len(leading)
        return _dot(a, b, ((n + 1,), (n,)), (tuple(range(n)), tuple(range(n))), result)
    if b.ndim > 2:
        return squeeze(_matmul(expand_dims(a, 0), b, result), -2)
    # The left one's leading axes are all rows of one product: no batch axes are needed.
    return _dot(a, b, ((a.ndim - 1,), (0,)), ((), ()), result)


def _factors(x1: ArrayLike, x2: ArrayLike, dtype: DTypeLike | None) -> tuple[Tensor, Tensor, DType]:
    """The inputs of a product, and the dtype of its result."""
    if dtype is None:
        a, b = operands(x1, x2)
        return a, b, a.dtype
    result = as_dtype(dtype)
    a, b = as_tensor(x1), as_tensor(x2)
    if not can_give(a.dtype, b.dtype, result):
        a, b = operands(a, b, dtype=result)
    return a, b, result


def _dot(
    a: Tensor,
    b: Tensor,
    contract: tuple[tuple[int, ...], tuple[int, ...]],
    batch: tuple[tuple[int, ...], tuple[int, ...]],
    result: DType,
) -> Tensor:
    if result is a.dtype:
        return emit(ops.dot_general, a, b, contract=contract, batch=batch)
    return emit(ops.dot_general, a, b, contract=contract, batch=batch, result=result)


@recorded
def tensordot(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    *,
    axes: int | tuple[Sequence[int], Sequence[int]] = 2,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Products summed over pairs of axes: the last n of x1 with the first n of x2, or as named.

    `dtype` as in matmul.
    """
    a, b, result = _factors(x1, x2, dtype)
    if not isinstance(axes, list | tuple):
        n = whole(axes, "tensordot takes a number of axes, or two sequences of them")
        if not 0 <= n <= min(a.ndim, b.ndim):
            raise _mismatch(f"tensordot over {n} axes needs as many on both sides", a, b)
        left, right = list(range(a.ndim - n, a.ndim)), list(range(n))
    else:
        left, right = (
            [normal_axis(i, x.ndim) for i in wholes(named, "an axis is a whole number")]
            for x, named in zip((a, b), axes, strict=True)
        )
    if [a.shape[i] for i in left] != [b.shape[i] for i in right]:
        raise _mismatch("tensordot needs axes of equal sizes", a, b)
    return _dot(a, b, (tuple(left), tuple(right)), ((), ()), result)


@recorded
def vecdot(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1) -> Tensor:
    """Products summed over one axis of both, the other axes broadcast; integers are multiplied in 64 bits."""
    a, b = operands(x1, x2)
    left, right = normal_axis(axis, a.ndim), normal_axis(axis, b.ndim)
    if a.shape[left] != b.shape[right]:
        raise _mismatch("vecdot needs axes of equal sizes", a, b)
    own = accumulator(a)
    a, b = (moveaxis(cast(x, own.computes_as), axis, -1) for x, axis in ((a, left), (b, right)))
    return cast(sum(multiply(a, b), axis=-1), own)


@recorded
def outer(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """All products of an element of one vector and one of the other."""
    a, b = operands(x1, x2)
    if a.ndim != 1 or b.ndim != 1:
        raise _mismatch("outer takes two vectors", a, b, hint="gx.reshape(x, -1) makes one")
    return multiply(expand_dims(a, 1), b)


@recorded
def cross(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1) -> Tensor:
    """The cross products of vectors of three elements along an axis; the other axes broadcast."""
    a, b = operands(x1, x2)
    left, right = normal_axis(axis, a.ndim), normal_axis(axis, b.ndim)
    if a.shape[left] != 3 or b.shape[right] != 3:
        raise _mismatch("cross products are of vectors of three elements", a, b, hint="axis= says where they are")
    a, b = moveaxis(a, left, -1), moveaxis(b, right, -1)
    # The first factors are those one place on, the second those two places on.
    found = subtract(multiply(_moved(a, -1), _moved(b, 1)), multiply(_moved(a, 1), _moved(b, -1)))
    return moveaxis(found, -1, axis)


def _moved(x: Tensor, by: int) -> Tensor:
    return roll(x, by, axis=-1)


@recorded
def matrix_power(x: ArrayLike, n: int, /) -> Tensor:
    """n equal square matrices multiplied, for n ≥ 0; none give the identity."""
    from .creation import eye

    x = as_tensor(x)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError("matrix_power takes square matrices", got=str(x.type))
    count = as_count(n, "matrix_power takes a whole number ≥ 0: this version has no inverse of a matrix")
    if not count:
        return broadcast_to(eye(x.shape[-1], dtype=x.dtype), x.shape)
    if count == 1:
        return x
    half = matrix_power(x, count // 2)
    even = matmul(half, half)
    return matmul(even, x) if count % 2 else even


@recorded
def trace(x: ArrayLike, /, *, offset: int = 0, dtype: DTypeLike | None = None) -> Tensor:
    """The sum of the diagonal of the last two axes; bools and integers are summed in 64 bits."""
    return sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


@recorded
def diagonal(x: ArrayLike, /, *, offset: int = 0) -> Tensor:
    """The diagonal of the last two axes, or one `offset` places above it."""
    from .creation import iota

    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError("a diagonal needs at least two axes", got=str(x.type))
    offset = whole(offset, "a diagonal's offset is a whole number")
    rows, columns = x.shape[-2:]
    first, right = max(-offset, 0), max(offset, 0)
    count = max(0, min(rows - first, columns - right))
    places = iota(count, int64)
    found = emit(ops.gather, x, places + first, places + right, axes=(x.ndim - 2, x.ndim - 1))
    return moveaxis(found, 0, -1)


@recorded
def einsum(subscripts: str, /, *arrays: ArrayLike, dtype: DTypeLike | None = None) -> Tensor:
    """Einstein's sum of one or two arrays: letters name axes, and those missing on the right are summed over.

    The right side must be given ("ij,jk->ik"); a letter may stand once in each array. `dtype` as in matmul.
    """
    inputs, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    *xs, own = _factors(*arrays, dtype) if len(arrays) == 2 else _alone(arrays, dtype)
    if (
        not arrow
        or len(terms) != len(xs)
        or len(xs) > 2
        or any(len(set(t)) < len(t) or len(t) != x.ndim for t, x in zip(terms, xs, strict=True))
        or len(set(result)) < len(result)
        or not set(result) <= set(inputs)
    ):
        raise ShapeError(
            "einsum takes one or two arrays, a letter for each axis, and the result's letters",
            got=f"{subscripts!r} for {', '.join(str(x.type) for x in xs)}",
        )
    if len(xs) == 1:
        return _arranged(_summed(xs[0], terms[0], set(result)), result)
    if any(c not in result and inputs.count(c) == 1 for c in inputs):  # sums before the product are not its result
        xs = [cast(x, own.computes_as) for x in xs]
    (a, s), (b, t) = (
        _summed(x, term, set(result) | set(other))
        for x, term, other in zip(xs, terms, terms[::-1], strict=True)
    )
    batch = [c for c in s if c in t and c in result]
    contract = [c for c in s if c in t and c not in result]
    if any(a.shape[s.index(c)] != b.shape[t.index(c)] for c in batch + contract):
        raise _mismatch(f"einsum {subscripts!r} needs equal sizes for equal letters", a, b)
    product = _dot(
        a,
        b,
        (tuple(s.index(c) for c in contract), tuple(t.index(c) for c in contract)),
        (tuple(s.index(c) for c in batch), tuple(t.index(c) for c in batch)),
        a.dtype if a.dtype is own.computes_as else own,
    )
    letters = "".join([*batch, *(c for c in s if c not in t), *(c for c in t if c not in s)])
    return _arranged((cast(product, own), letters), result)


def _alone(arrays: Sequence[ArrayLike], dtype: DTypeLike | None) -> tuple[Any, ...]:
    """Arrays that are no two factors, and their dtype."""
    xs = operands(*arrays, dtype=None if dtype is None else as_dtype(dtype))
    return *xs, xs[0].dtype


def _summed(x: Tensor, letters: str, kept: set[str]) -> tuple[Tensor, str]:
    """Without the axes that no other place needs; integers wrap in their own dtype, as in products."""
    gone = [i for i, c in enumerate(letters) if c not in kept]
    return (sum(x, axis=gone, dtype=x.dtype) if gone else x), "".join(c for c in letters if c in kept)


def _arranged(named: tuple[Tensor, str], result: str) -> Tensor:
    x, letters = named
    return permute_dims(x, [letters.index(c) for c in result])


def _mismatch(
    rule: str, a: Tensor, b: Tensor, hint: str = "gx.matrix_transpose exchanges the last two axes"
) -> ShapeError:
    return ShapeError(rule, got=f"{a.type} and {b.type}", hint=hint)


__all__ = [
    "cross", "diagonal", "einsum", "matmul", "matrix_power", "matrix_transpose", "outer", "tensordot", "trace",
    "vecdot",
]  # fmt: skip
