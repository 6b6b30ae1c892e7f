"""Indexing: x[...] as in NumPy, but for masks that are not known while tracing, and for assignment."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import Any, NamedTuple

import numpy as np

from graphc import ops
from graphc.brief import brief
from graphc.errors import AxisError, DTypeError, GraphcIndexError, TraceError
from graphc.hook import call_lock
from graphc.types import bool_

from .context import current_frame
from .emit import as_tensor, broadcast, elements, emit, holding, operation
from .exchange import is_foreign_array, native_array
from .location import with_user_line
from .searching import as_indices, positions
from .shapes import expand_dims, moveaxis, reshape
from .tensor import Tensor, concrete
from .variable import Variable


class _Selection(NamedTuple):
    """What is done along one axis of x: a slice, an int, or an array of positions; None is a new axis, numbered −1."""

    item: Any
    axis: int

    @property
    def is_advanced(self) -> bool:
        """Whether it is an array of positions, or an int, which counts as one where there is any."""
        return isinstance(self.item, int | Tensor)


@operation
def index(x: Any, key: Any) -> Tensor:
    """x[key], for ints, slices, `...`, None, integer arrays or lists, and bool masks whose elements are known: in a
    trace those are NumPy arrays, lists and concrete tensors.

    Both ints outside the axis, while tracing, and positions in arrays, at run time, raise IndexError.
    """
    if current_frame() is None and (found := _at_once(x, key)) is not None:
        return found
    x, selections, is_apart = _selections(key, as_tensor(x))
    if any(isinstance(s.item, Tensor) for s in selections):
        return _gather(x, selections, is_apart)
    return _basic(x, selections)


_BASIC = frozenset({int, slice, type(None), EllipsisType})


def _at_once(x: Any, key: Any) -> Tensor | None:
    """x[key] by NumPy; None for a key that it refuses, or might see differently."""
    items = []
    for item in key if type(key) is tuple else (key,):
        if type(item) in _BASIC or isinstance(item, np.signedinteger):
            items.append(item)
        elif isinstance(item, Tensor) and (item.dtype.is_signed or (item.dtype.is_bool and item.ndim)):
            items.append(elements(item))
        elif (array := _plain_positions(item)) is not None:
            items.append(array)
        else:
            return None
    try:
        if isinstance(x, Variable):
            with call_lock:
                return concrete(np.array(x.storage.array[tuple(items)]))
        found = elements(x)[tuple(items)]
    except IndexError:
        return None
    if found.nbytes <= SMALL:  # which shall not keep a large array in memory
        return concrete(np.array(found))
    return holding(found, (x,))


SMALL = 1024  # bytes


def _plain_positions(item: Any) -> np.ndarray | None:
    """NumPy's positions or mask, or a list of ints or of bools, as an array that NumPy sees as `index` does."""
    if type(item) is list and item:
        kind = type(item[0])
        if kind not in (int, bool) or any(type(i) is not kind for i in item):
            return None
        item = np.asarray(item)
    plain = type(item) is np.ndarray and item.ndim and (item.dtype == np.int64 or item.dtype == np.bool_)
    return item if plain else None


@with_user_line
def reject_assignment(x: Any, key: Any, value: Any) -> None:
    """x[key] = value is no operation of immutable tensors."""
    if isinstance(x, Variable):
        raise TraceError(
            "a Variable is assigned as a whole: x[i] = v is not possible",
            got=f"{x.name}: {x.type}",
            hint=f"{x.name}.assign(gx.where(mask, v, {x.name})); or assign a NumPy copy that was changed",
        )
    raise TraceError(
        "tensors are immutable: x[i] = v is not possible",
        hint="build the result with gx.where(mask, v, x) or gx.concat, and keep state in a gx.Variable",
    )


def _selections(key: Any, x: Tensor) -> tuple[Tensor, list[_Selection], bool]:
    """One selection for each axis of x, and one for each new axis, in the order they are written; and whether anything
    stands between arrays of positions, if only a `...` that stands for no axis.

    x itself gets an axis of size 1 for each mask of rank 0, from which that takes one element or none.
    """
    items = [part for i in (key if isinstance(key, tuple) else (key,)) for part in _parts(i)]
    scalar_masks = sum(isinstance(i, _ScalarMask) for i in items)
    used = sum(i is not None and i is not Ellipsis for i in items) - scalar_masks
    dots = sum(i is Ellipsis for i in items)
    if used > x.ndim or dots > 1:
        raise AxisError(
            f"a tensor of rank {x.ndim} takes at most as many indices, and one `...`", got=_text(key)
        )
    if not dots:
        items.append(Ellipsis)
    result: list[_Selection] = []
    axis, rest = 0, x.ndim - used
    for item in items:
        if isinstance(item, EllipsisType):
            result += [_Selection(slice(None), axis + i) for i in range(rest)]
            axis += rest
        elif item is None:
            result.append(_Selection(None, -1))
        else:
            if isinstance(item, _ScalarMask):
                x = expand_dims(x, axis)
            elif isinstance(item, _MaskAxis) and item.size not in (x.shape[axis], 0):
                raise GraphcIndexError(
                    f"a mask is as large as the axes it selects from: {item.size} elements for axis {axis}",
                    got=str(x.type),
                )
            positions = item.positions if isinstance(item, _ScalarMask | _MaskAxis) else item
            result.append(_Selection(positions, axis))
            axis += 1
    advanced = [isinstance(i, int | Tensor | _ScalarMask | _MaskAxis) for i in items]
    first = advanced.index(True) if any(advanced) else 0
    return x, result, not all(advanced[first : first + sum(advanced)])


class _ScalarMask(NamedTuple):
    """A mask of rank 0 selects from an axis of size 1 that is made for it."""

    positions: Tensor


class _MaskAxis(NamedTuple):
    """Where a mask is true, along one of its axes, which has `size` elements."""

    positions: Tensor
    size: int


def _parts(item: Any) -> Sequence[Any]:
    """What an index says about the axes it belongs to, one after the other: an int, a slice, `...`, None, positions,
    or the axes of a mask. Raises DTypeError for what is none of them."""
    if item is None or isinstance(item, slice | EllipsisType) or type(item) is int:
        return (item,)
    if isinstance(item, bool | np.bool_):
        return _mask_parts(np.asarray(item))
    if isinstance(item, int | np.integer):
        return (int(item),)
    if not (isinstance(item, Tensor | Variable | list) or is_foreign_array(item)):
        raise DTypeError(
            "an index is an int, a slice, `...`, None, an integer array, or a mask", got=_text(item)
        )
    known = _known_mask(item)
    return (as_indices(item),) if known is None else _mask_parts(known)


def _known_mask(item: Any) -> np.ndarray | None:
    """The elements of a mask, or None for an array that is none. Raises DTypeError for a symbolic mask."""
    if isinstance(item, Tensor | Variable):
        if not item.dtype.is_bool:
            return None
        if isinstance(item, Variable):
            item = item.value
        if item.is_symbolic:
            raise DTypeError(
                "a mask that is not known while tracing selects an unknown number of elements, and shapes are static",
                got=_text(item),
                hint="use gx.where(mask, x, other), or multiply by the mask before a reduction",
            )
        return item._array
    if isinstance(item, list) and not _holds_bools(item):
        return None
    array = native_array(item)
    return array if array.dtype == np.bool_ else None


def _holds_bools(item: Any) -> bool:
    """Whether the first element of nested lists is a bool; then all are, or it is no mask."""
    while isinstance(item, list | tuple) and item:
        item = item[0]
    return isinstance(item, bool | np.bool_) or getattr(item, "dtype", None) in (np.bool_, bool_)


def _mask_parts(mask: np.ndarray) -> Sequence[_ScalarMask | _MaskAxis]:
    if not mask.ndim:
        return (_ScalarMask(as_tensor(np.zeros(int(mask), np.int64))),)
    return [_MaskAxis(as_tensor(p), size) for p, size in zip(np.nonzero(mask), mask.shape, strict=True)]


def _basic(x: Tensor, selections: list[_Selection]) -> Tensor:
    """Slices and ints: reverse where a step is negative, one strided slice, then drop and insert axes."""
    starts, stops, steps, reverse = [], [], [], []
    for s in selections:
        if s.axis < 0:
            continue
        start, stop, step = _range(s, x)
        if step < 0:
            size = x.shape[s.axis]
            start, stop, step = size - 1 - start, size - 1 - stop, -step
            reverse.append(s.axis)
        starts.append(start)
        stops.append(max(start, stop))
        steps.append(step)
    if reverse:
        x = emit(ops.flip, x, axes=tuple(reverse))
    if (starts, stops, steps) != ([0] * x.ndim, list(x.shape), [1] * x.ndim):
        x = emit(ops.slice, x, start=tuple(starts), stop=tuple(stops), step=tuple(steps))
    sizes = [1 if s.item is None else x.shape[s.axis] for s in selections if not isinstance(s.item, int)]
    return reshape(x, sizes)


def _range(s: _Selection, x: Tensor) -> tuple[int, int, int]:
    """start, stop and step of the slice, all within the axis; an int is a slice of one element."""
    size = x.shape[s.axis]
    if isinstance(s.item, int):
        if not -size <= s.item < size:
            raise GraphcIndexError(
                f"index {s.item} is outside of axis {s.axis}, which has {size} elements", got=str(x.type)
            )
        start = s.item % size
        return start, start + 1, 1
    start, stop, step = s.item.indices(size)
    return start, max(start, stop) if step > 0 else min(start, stop), step


def _gather(x: Tensor, selections: list[_Selection], is_apart: bool) -> Tensor:
    """Arrays of positions: slices first, then one gather, then the gathered axes to the place NumPy gives them.

    With arrays present ints count as arrays. Their axes stand where the first array is, or in front of all others
    where anything else stands between the arrays.
    """
    rest = [_Selection(slice(None), s.axis) if s.is_advanced else s for s in selections]
    x = _basic(x, [s for s in rest if s.axis >= 0])
    advanced = [s for s in selections if s.is_advanced]
    indices = broadcast(*(positions(_checked(s, x), x.shape[s.axis]) for s in advanced))
    found = emit(ops.gather, x, *indices, axes=tuple(s.axis for s in advanced))
    n = indices[0].ndim
    place = 0 if is_apart else next(i for i, s in enumerate(selections) if s.is_advanced)
    # `found` has the gathered axes first, then the sliced ones; the new axes are inserted when all are in place.
    before = sum(s.axis >= 0 for s in selections[:place])
    found = moveaxis(found, list(range(n)), list(range(before, before + n))) if before and n else found
    sizes, sliced = [], iter(found.shape[:before] + found.shape[before + n :])
    for i, s in enumerate(selections):
        if i == place:
            sizes += list(indices[0].shape)
        if not s.is_advanced:
            sizes.append(1 if s.axis < 0 else next(sliced))
    return reshape(found, sizes)


def _checked(s: _Selection, x: Tensor) -> Tensor:
    """The positions as a tensor; an int outside of the axis is known now."""
    if isinstance(s.item, int):
        _range(s, x)
    return as_tensor(s.item)


def _text(key: Any) -> str:
    """An index as it is written, but arrays by their types and long ones in short."""
    if isinstance(key, tuple):
        return f"({', '.join(map(_text, key))})"
    if isinstance(key, Tensor | Variable):
        return str(key.type)
    return f"{key.dtype}{list(key.shape)}" if isinstance(key, np.ndarray) else brief(key)


__all__ = ["index", "reject_assignment"]
