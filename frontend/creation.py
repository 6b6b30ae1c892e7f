"""Array functions that make arrays, with the names and signatures of the Python array API standard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphc import ops
from graphc.errors import DTypeError, ShapeError
from graphc.storage import aligned_copy
from graphc.types import DType, DTypeLike, TensorType, as_dtype, bool_, float32, int64

from .binary import add, less_equal, multiply
from .context import current_frame
from .emit import ArrayLike, as_tensor, cast, emit, filled, is_number, operation
from .exchange import native_array
from .location import with_user_line
from .promotion import Number, in_range, weak_dtype
from .shapes import expand_dims
from .tensor import Tensor, concrete
from .variable import Variable

Shape = int | Sequence[int]


def as_shape(shape: Shape) -> tuple[int, ...]:
    """Sizes as a tuple. Raises ShapeError for anything but whole numbers ≥ 0."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    for size in sizes:
        if isinstance(size, Tensor | Variable) or not hasattr(size, "__index__") or size < 0:
            raise ShapeError("a shape is made of whole numbers ≥ 0, known while tracing", got=repr(shape))
    return tuple(int(s) for s in sizes)


@with_user_line
def asarray(obj: Any, /, *, dtype: DTypeLike | None = None, copy: bool | None = None) -> Tensor:
    """A Tensor from a Python number, nested lists, a NumPy array, or anything with DLPack.

    Arrays keep their dtype; Python floats give float32, ints int64. The elements are copied, since a Tensor is
    immutable and the array may not be. Raises ValueError for `copy=False` where that is needed.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(obj, Tensor | Variable):
        return astype(obj, obj.dtype if wanted is None else wanted)
    if current_frame() is not None and not isinstance(obj, list | tuple):
        tensor = as_tensor(obj, wanted if is_number(obj) else None)
        return tensor if wanted is None else cast(tensor, wanted)
    if isinstance(obj, list | tuple) and any(isinstance(i, Tensor | Variable) for i in obj):
        from .shapes import stack

        return stack([asarray(i, dtype=wanted) for i in obj])
    if copy is False:
        raise ValueError(
            "gx.asarray copies, since a Tensor is immutable: pass the array itself where one is expected"
        )
    if current_frame() is not None:
        return as_tensor(native_array(obj, wanted))
    array = native_array(obj, wanted)
    return concrete(aligned_copy(array) if array is obj or not array.flags.owndata else array)


def from_dlpack(x: Any, /) -> Tensor:
    """A Tensor from anything that exports DLPack, such as a `torch.Tensor`; its elements are copied."""
    return asarray(x)


@operation
def astype(x: ArrayLike, dtype: DTypeLike, /, *, copy: bool = True) -> Tensor:
    """The values in another dtype. Floats become integers by truncation, saturating; NaN becomes 0."""
    return cast(as_tensor(x), as_dtype(dtype))


@operation
def full(shape: Shape, fill_value: ArrayLike, *, dtype: DTypeLike | None = None) -> Tensor:
    """An array of one repeated value, a number or a tensor of rank 0."""
    if is_number(fill_value):
        chosen = weak_dtype(fill_value) if dtype is None else as_dtype(dtype)
        return filled(fill_value, TensorType(chosen, as_shape(shape)))
    value = as_tensor(fill_value)
    if value.shape:
        raise ShapeError("gx.full repeats one value", got=str(value.type))
    return emit(
        ops.broadcast,
        cast(value, value.dtype if dtype is None else as_dtype(dtype)),
        shape=as_shape(shape),
        dims=(),
    )


def zeros(shape: Shape, *, dtype: DTypeLike = float32) -> Tensor:
    """An array of zeros."""
    return full(shape, _of(0, dtype), dtype=dtype)


def ones(shape: Shape, *, dtype: DTypeLike = float32) -> Tensor:
    """An array of ones."""
    return full(shape, _of(1, dtype), dtype=dtype)


def empty(shape: Shape, *, dtype: DTypeLike = float32) -> Tensor:
    """An array whose values don't matter; it is zeros."""
    return zeros(shape, dtype=dtype)


def full_like(x: ArrayLike, /, fill_value: ArrayLike, *, dtype: DTypeLike | None = None) -> Tensor:
    """An array of x's shape and dtype, of one repeated value."""
    like = _like(x)
    return full(like.shape, fill_value, dtype=like.dtype if dtype is None else dtype)


def zeros_like(x: ArrayLike, /, *, dtype: DTypeLike | None = None) -> Tensor:
    """Zeros of x's shape and dtype."""
    like = _like(x)
    return zeros(like.shape, dtype=like.dtype if dtype is None else dtype)


def ones_like(x: ArrayLike, /, *, dtype: DTypeLike | None = None) -> Tensor:
    """Ones of x's shape and dtype."""
    like = _like(x)
    return ones(like.shape, dtype=like.dtype if dtype is None else dtype)


def empty_like(x: ArrayLike, /, *, dtype: DTypeLike | None = None) -> Tensor:
    """An array of x's shape and dtype whose values don't matter; it is zeros."""
    return zeros_like(x, dtype=dtype)


@operation
def arange(
    start: Number, /, stop: Number | None = None, step: Number = 1, *, dtype: DTypeLike | None = None
) -> Tensor:
    """start, start + step, … below stop; with one argument, from 0 up to it.

    int64, or float32 where a number is a float.
    """
    if stop is None:
        start, stop = 0, start
    if not all(map(is_number, (start, stop, step))) or step == 0:
        raise ShapeError(
            "gx.arange takes Python numbers, and a step that is not 0", got=repr((start, stop, step))
        )
    count = max(0, math.ceil((stop - start) / step))
    floats = any(isinstance(n, float) for n in (start, stop, step))
    chosen = (float32 if floats else int64) if dtype is None else as_dtype(dtype)
    return _steps(count, start, step, chosen)


@operation
def linspace(
    start: Number, stop: Number, /, num: int, *, dtype: DTypeLike | None = None, endpoint: bool = True
) -> Tensor:
    """`num` numbers from start to stop at equal distances; float32 unless another float dtype is asked for."""
    chosen = float32 if dtype is None else as_dtype(dtype)
    if not chosen.is_float:
        raise DTypeError("gx.linspace gives floats", got=str(chosen))
    distances = num - 1 if endpoint else num
    return _steps(num, float(start), (stop - start) / distances if distances else 0.0, chosen)


def iota(count: int, dtype: DType) -> Tensor:
    """0, 1, …, count − 1."""
    return emit(ops.iota, type=TensorType(dtype, (count,)), axis=0)


def _steps(count: int, start: Number, step: Number, dtype: DType) -> Tensor:
    in_range(start, dtype)
    positions = iota(count, dtype)
    return (
        add(multiply(positions, step) if step != 1 else positions, start) if start or step != 1 else positions
    )


@operation
def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: DTypeLike = float32) -> Tensor:
    """Ones on the k-th diagonal above the main one, zeros elsewhere."""
    rows = expand_dims(iota(n_rows, int64), axis=1)
    columns = expand_dims(iota(n_rows if n_cols is None else n_cols, int64), axis=0)
    from .binary import equal

    return cast(equal(columns, add(rows, k)), as_dtype(dtype))


@operation
def tril(x: ArrayLike, /, *, k: int = 0) -> Tensor:
    """The last two axes' lower triangle, up to the k-th diagonal above the main one; zeros elsewhere."""
    return _triangle(as_tensor(x), k, lower=True)


@operation
def triu(x: ArrayLike, /, *, k: int = 0) -> Tensor:
    """The last two axes' upper triangle, from the k-th diagonal above the main one; zeros elsewhere."""
    return _triangle(as_tensor(x), k, lower=False)


def _triangle(x: Tensor, k: int, lower: bool) -> Tensor:
    from .searching import where

    if len(x.shape) < 2:
        raise ShapeError("a triangle needs at least two axes", got=str(x.type))
    rows = expand_dims(iota(x.shape[-2], int64), axis=1)
    columns = expand_dims(iota(x.shape[-1], int64), axis=0)
    keep = less_equal(columns, add(rows, k)) if lower else less_equal(add(rows, k), columns)
    return where(keep, x, _of(0, x.dtype))


def _of(value: int, dtype: DTypeLike) -> Number:
    """0 or 1 as a Python number of the dtype's kind."""
    wanted = as_dtype(dtype)
    return bool(value) if wanted is bool_ else float(value) if wanted.is_float else value


def _like(x: ArrayLike) -> TensorType:
    return x.type if isinstance(x, Tensor | Variable) else as_tensor_type(x)


def as_tensor_type(x: ArrayLike) -> TensorType:
    """The type that `asarray(x)` would have."""
    from graphc.types import type_of

    return type_of(native_array(x))
