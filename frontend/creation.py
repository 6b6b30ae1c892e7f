"""Array functions that make arrays, with the names and signatures of the Python array API standard."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import ops
from graphc.brief import brief
from graphc.devices import CPU, CPU_CODE
from graphc.errors import DTypeError, ShapeError
from graphc.storage import Storage, aligned_copy
from graphc.types import DType, DTypeLike, TensorType, as_dtype, bool_, float32, float64, int64, type_of

from .binary import add, less, less_equal, multiply
from .context import current_frame
from .device_tensor import on_device
from .devices import anywhere, placed
from .emit import ArrayLike, as_tensor, cast, emit, filled, is_number, operation, whole, wholes
from .exchange import device_code, is_foreign_array, native_array, usable
from .location import with_user_line
from .promotion import Number, in_range, weak_dtype
from .recorded import recorded
from .searching import where
from .shapes import as_count, expand_dims
from .tensor import Tensor, adopted, concrete
from .variable import Variable

Shape = int | Sequence[int]
_LARGEST = sys.float_info.max


def as_shape(shape: Shape) -> tuple[int, ...]:
    """Sizes as a tuple. Raises ShapeError for anything but whole numbers ≥ 0."""
    rule = "a shape is made of whole numbers ≥ 0, known while tracing"
    if isinstance(shape, Tensor | Variable) or any(isinstance(s, Tensor | Variable) for s in _items(shape)):
        raise ShapeError(rule, got=brief(shape))
    sizes = wholes(shape, rule)
    if any(size < 0 for size in sizes):
        raise ShapeError(rule, got=brief(shape))
    return sizes


def _items(shape: Shape) -> Sequence[int]:
    return shape if isinstance(shape, list | tuple) else ()


@with_user_line
def asarray(
    obj: Any, /, *, dtype: DTypeLike | None = None, device: str | None = None, copy: bool | None = None
) -> Tensor:
    """A Tensor from a Python number, nested lists, a NumPy array, or anything with DLPack.

    Arrays keep their dtype; Python floats give float32, ints int64. The elements are copied, since a Tensor is
    immutable and the array may not be; Tensors themselves are only copied to another dtype, whatever `copy` says.
    With `copy=False` an array's memory is used as it is, and the Tensor shows what is written to it later; raises
    ValueError where it can't be.
    """
    return placed(_asarray(obj, dtype, copy), device)


def _asarray(obj: Any, dtype: DTypeLike | None, copy: bool | None) -> Tensor:
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(obj, Tensor | Variable):
        if copy is False and wanted not in (None, obj.dtype):
            raise ValueError(f"gx.asarray copies to convert {obj.dtype} to {wanted}: leave out copy=False")
        return astype(obj, obj.dtype if wanted is None else wanted)
    if current_frame() is not None and not isinstance(obj, list | tuple):
        tensor = as_tensor(obj, wanted if is_number(obj) else None)
        return tensor if wanted is None else cast(tensor, wanted)
    if isinstance(obj, list | tuple) and any(isinstance(i, Tensor | Variable) for i in obj):
        from .shapes import stack

        return stack([asarray(i, dtype=wanted) for i in obj])
    if copy is False:
        found = usable(obj) if is_foreign_array(obj) else None
        if found is None or (wanted is not None and type_of(found).dtype is not wanted):
            raise ValueError("gx.asarray copies what is no aligned array of the dtype: leave out copy=False")
        return adopted(found)
    if current_frame() is not None:
        return as_tensor(native_array(obj, wanted))
    array = native_array(obj, wanted)
    made_here = isinstance(obj, list | tuple | np.generic) or is_number(obj)
    return concrete(array if made_here else aligned_copy(array))


@with_user_line
def from_dlpack(x: Any, /, *, device: str | None = None, copy: bool | None = None) -> Tensor:
    """A Tensor in the memory of anything that exports DLPack, such as a `torch.Tensor`, where that memory is.

    Nothing is copied unless it must be: the memory stays its owner's, who may go on writing to it, and the Tensor shows
    that. `copy=True` gives a Tensor that never changes; `copy=False` raises BufferError where a copy is needed: for
    another `device`, elements that are not aligned or have another byte order, and inside of a trace, which keeps what
    it sees. Compiled functions take such a Tensor, or the array itself, as it is.
    """
    if not hasattr(x, "__dlpack__"):
        raise DTypeError("gx.from_dlpack takes what exports DLPack", got=type(x).__qualname__, hint="gx.asarray")
    if isinstance(x, Tensor | Variable):
        return placed(asarray(x), device)
    here = device_code(x)
    if here != CPU_CODE:
        return _from_device(x, device, copy)
    found = None if copy or current_frame() is not None else usable(x)
    if copy is False and (found is None or device not in (None, CPU)):
        raise BufferError("gx.from_dlpack can't use this memory here and as it is: leave out copy=False")
    return placed(asarray(x) if found is None else adopted(found), device)


def _from_device(x: Any, device: str | None, copy: bool | None) -> Tensor:
    """A Tensor from an array on a GPU, there unless another device is asked for."""
    from .dlpack import from_device

    storage = from_device(x)
    found, own = on_device(storage), storage.device
    assert own is not None
    if device in (None, own.name) and not copy:
        return found
    if copy is False:
        raise BufferError(f"an array on {own.name} gets to another device by a copy: leave out copy=False")
    if device in (None, own.name):
        return on_device(Storage.of_replica(storage.on(own).copied(), storage.type))
    return placed(concrete(found._array), device)


@anywhere
@operation
def astype(
    x: ArrayLike, dtype: DTypeLike, /, *, copy: bool = True, device: str | None = None
) -> Tensor:
    """The values in another dtype. Floats become integers by truncation, saturating; NaN becomes 0."""
    return cast(as_tensor(x), as_dtype(dtype))


@anywhere
@operation
def full(
    shape: Shape, fill_value: ArrayLike, *, dtype: DTypeLike | None = None, device: str | None = None
) -> Tensor:
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


@with_user_line
def zeros(shape: Shape, *, dtype: DTypeLike | None = None, device: str | None = None) -> Tensor:
    """An array of zeros; float32 unless another dtype is given."""
    chosen = float32 if dtype is None else as_dtype(dtype)
    return full(shape, _of(0, chosen), dtype=chosen, device=device)


@with_user_line
def ones(shape: Shape, *, dtype: DTypeLike | None = None, device: str | None = None) -> Tensor:
    """An array of ones; float32 unless another dtype is given."""
    chosen = float32 if dtype is None else as_dtype(dtype)
    return full(shape, _of(1, chosen), dtype=chosen, device=device)


@with_user_line
def empty(shape: Shape, *, dtype: DTypeLike | None = None, device: str | None = None) -> Tensor:
    """An array whose values don't matter; it is zeros."""
    return zeros(shape, dtype=dtype, device=device)


@with_user_line
def full_like(
    x: ArrayLike, /, fill_value: ArrayLike, *, dtype: DTypeLike | None = None, device: str | None = None
) -> Tensor:
    """An array of x's shape and dtype, of one repeated value."""
    like = _like(x)
    return full(like.shape, fill_value, dtype=like.dtype if dtype is None else dtype, device=device)


@with_user_line
def zeros_like(x: ArrayLike, /, *, dtype: DTypeLike | None = None, device: str | None = None) -> Tensor:
    """Zeros of x's shape and dtype."""
    like = _like(x)
    return zeros(like.shape, dtype=like.dtype if dtype is None else dtype, device=device)


@with_user_line
def ones_like(x: ArrayLike, /, *, dtype: DTypeLike | None = None, device: str | None = None) -> Tensor:
    """Ones of x's shape and dtype."""
    like = _like(x)
    return ones(like.shape, dtype=like.dtype if dtype is None else dtype, device=device)


@with_user_line
def empty_like(x: ArrayLike, /, *, dtype: DTypeLike | None = None, device: str | None = None) -> Tensor:
    """An array of x's shape and dtype whose values don't matter; it is zeros."""
    return zeros_like(x, dtype=dtype, device=device)


@anywhere
@recorded
def arange(
    start: Number,
    /,
    stop: Number | None = None,
    step: Number = 1,
    *,
    dtype: DTypeLike | None = None,
    device: str | None = None,
) -> Tensor:
    """start, start + step, … below stop; with one argument, from 0 up to it.

    int64, or float32 where a number is a float. Steps that are not whole become integers towards 0.
    """
    if stop is None:
        start, stop = 0, start
    start, stop, step = (n.item() if isinstance(n, np.generic) else n for n in (start, stop, step))
    if not all(map(is_number, (start, stop, step))) or step == 0:
        raise ShapeError(
            "gx.arange takes Python numbers, and a step that is not 0", got=brief((start, stop, step))
        )
    count = _count_steps(start, stop, step)
    floats = any(isinstance(n, float) for n in (start, stop, step))
    chosen = (float32 if floats else int64) if dtype is None else as_dtype(dtype)
    return _steps(count, start, step, chosen)


@anywhere
@recorded
def linspace(
    start: Number,
    stop: Number,
    /,
    num: int,
    *,
    dtype: DTypeLike | None = None,
    device: str | None = None,
    endpoint: bool = True,
) -> Tensor:
    """`num` numbers from start to stop at equal distances; float32 unless another float dtype is asked for.

    The last one is exactly stop, unless `endpoint` is false.
    """
    num = as_count(num, "gx.linspace takes how many numbers to make, a whole number ≥ 0")
    chosen = float32 if dtype is None else as_dtype(dtype)
    if not chosen.is_float:
        raise DTypeError("gx.linspace gives floats", got=str(chosen))
    in_range(start, chosen)
    in_range(stop, chosen)
    distances = num - 1 if endpoint else num
    positions = iota(num, int64)
    found = _float_steps(positions, float(start), (stop - start) / distances if distances else 0.0)
    if endpoint and num > 1:  # the sum of rounded steps may miss it
        found = where(less(positions, num - 1), found, float(stop))
    return cast(found, chosen)


def iota(count: int, dtype: DType) -> Tensor:
    """0, 1, …, count − 1."""
    return emit(ops.iota, type=TensorType(dtype, (count,)), axis=0)


def _count_steps(start: Number, stop: Number, step: Number) -> int:
    """⌈(stop − start) / step⌉, at least 0. Exact for whole numbers, of which a division would keep 53 bits; others are
    divided as NumPy does."""
    got = brief((start, stop, step))
    if not all(-_LARGEST <= n <= _LARGEST for n in (start, stop, step)):
        raise ShapeError("gx.arange takes finite numbers", got=got)
    if all(n == int(n) for n in (start, stop, step)):
        return max(0, -((int(start) - int(stop)) // int(step)))
    steps = (stop - start) / step
    if math.isinf(steps):
        raise ShapeError("gx.arange can't count so many steps", got=got)
    return max(0, math.ceil(steps))


def _steps(count: int, start: Number, step: Number, dtype: DType) -> Tensor:
    """start + i · step, computed in 64 bits. Raises DTypeError unless the dtype holds the first and the last."""
    for end in (start, start + step * (count - 1)) if count else ():
        in_range(end if dtype.is_float else int(end), dtype)
    positions = iota(count, int64)
    if dtype.is_float or start != int(start) or step != int(step):
        return cast(_float_steps(positions, float(start), float(step)), dtype)
    found = multiply(positions, _wrapped(step)) if step != 1 else positions
    return cast(add(found, _wrapped(start)) if start else found, dtype)


def _float_steps(positions: Tensor, start: float, step: float) -> Tensor:
    """In float64, since 16 bits can't even count far, and rounded only once to the dtype that is wanted."""
    found = cast(positions, float64)
    found = multiply(found, step) if step != 1 else found
    return add(found, start) if start else found


def _wrapped(value: Number) -> int:
    """As an int64: uint64 numbers have the same bits, and sums modulo 2⁶⁴ come out right."""
    return (int(value) + 2**63) % 2**64 - 2**63


@anywhere
@recorded
def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: DTypeLike | None = None,
    device: str | None = None,
) -> Tensor:
    """Ones on the k-th diagonal above the main one, zeros elsewhere; float32 unless another dtype is given."""
    rule = "gx.eye takes numbers of rows and columns ≥ 0"
    height, width = as_count(n_rows, rule), as_count(n_rows if n_cols is None else n_cols, rule)
    rows = expand_dims(iota(height, int64), axis=1)
    columns = expand_dims(iota(width, int64), axis=0)
    from .binary import equal

    return cast(equal(columns, add(rows, _diagonal(k, height, width))), float32 if dtype is None else as_dtype(dtype))


@recorded
def tril(x: ArrayLike, /, *, k: int = 0) -> Tensor:
    """The last two axes' lower triangle, up to the k-th diagonal above the main one; zeros elsewhere."""
    return _triangle(as_tensor(x), k, lower=True)


@recorded
def triu(x: ArrayLike, /, *, k: int = 0) -> Tensor:
    """The last two axes' upper triangle, from the k-th diagonal above the main one; zeros elsewhere."""
    return _triangle(as_tensor(x), k, lower=False)


def _triangle(x: Tensor, k: int, lower: bool) -> Tensor:
    if len(x.shape) < 2:
        raise ShapeError("a triangle needs at least two axes", got=str(x.type))
    rows = expand_dims(iota(x.shape[-2], int64), axis=1)
    columns = expand_dims(iota(x.shape[-1], int64), axis=0)
    last = add(rows, _diagonal(k, *x.shape[-2:]))
    keep = less_equal(columns, last) if lower else less_equal(last, columns)
    return where(keep, x, _of(0, x.dtype))


def _diagonal(k: int, height: int, width: int) -> int:
    """The number of a diagonal; all that lie outside of the matrix on one side are the same."""
    return min(max(whole(k, "a diagonal's number is a whole number"), -height - 1), width + 1)


def _of(value: int, dtype: DType) -> Number:
    """0 or 1 as a Python number of the dtype's kind."""
    return bool(value) if dtype is bool_ else float(value) if dtype.is_float else value


def _like(x: ArrayLike) -> TensorType:
    return x.type if isinstance(x, Tensor | Variable) else as_tensor_type(x)


def as_tensor_type(x: ArrayLike) -> TensorType:
    """The type that `asarray(x)` would have."""
    from graphc.types import type_of

    return type_of(native_array(x))
