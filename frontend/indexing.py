"""Indexing: x[...] as in NumPy, but for bool masks (whose result has no static shape) and for assignment."""

from __future__ import annotations

from types import EllipsisType
from typing import Any, NamedTuple

import numpy as np

from graphc import ops
from graphc.errors import DTypeError, GraphcIndexError, ShapeError, TraceError

from .emit import as_tensor, broadcast, emit, operation
from .exchange import is_foreign_array
from .location import with_user_line
from .searching import as_indices, positions
from .shapes import moveaxis, reshape
from .tensor import Tensor
from .variable import Variable


class _Selection(NamedTuple):
    """What is done along one axis of x, or None for a new axis: a slice, an int, or an array of positions."""

    item: Any
    axis: int


@operation
def index(x: Any, key: Any) -> Tensor:
    """x[key], for ints, slices, `...`, None, and integer arrays or lists.

    Both ints outside the axis, while tracing, and positions in arrays, at run time, raise IndexError.
    """
    x = as_tensor(x)
    selections = _selections(key, x)
    if any(_is_array(s.item) for s in selections):
        return _gather(x, selections)
    return _basic(x, selections)


@with_user_line
def reject_assignment(x: Any, key: Any, value: Any) -> None:
    """x[key] = value is no operation of immutable tensors."""
    raise TraceError(
        "tensors are immutable: x[i] = v is not possible",
        hint="build the result with gx.where(mask, v, x) or gx.concat, and keep state in a gx.Variable",
    )


def _selections(key: Any, x: Tensor) -> list[_Selection]:
    """One selection for each axis of x, and one with axis −1 for each new axis, in the order they are written."""
    items = list(key) if isinstance(key, tuple) else [key]
    used = sum(i is not None and i is not Ellipsis for i in items)
    dots = sum(i is Ellipsis for i in items)
    if used > x.ndim or dots > 1:
        raise ShapeError(
            f"a tensor of rank {x.ndim} takes at most as many indices, and one `...`", got=_text(key)
        )
    if not dots:
        items.append(Ellipsis)
    result, axis = [], 0
    for item in items:
        if isinstance(item, EllipsisType):
            for _ in range(x.ndim - used):
                result.append(_Selection(slice(None), axis))
                axis += 1
        elif item is None:
            result.append(_Selection(None, -1))
        else:
            result.append(_Selection(_plain(item), axis))
            axis += 1
    return result


def _plain(item: Any) -> Any:
    """The index as an int, a slice, or a tensor of positions. Raises DTypeError for what is none of them."""
    if isinstance(item, bool | np.bool_):
        raise _mask_error(item)
    if isinstance(item, int | slice):
        return item
    if isinstance(item, np.integer):
        return int(item)
    if isinstance(item, Tensor | Variable | list) or is_foreign_array(item):
        tensor = as_indices(item)
        if tensor.dtype.is_bool:
            raise _mask_error(item)
        return tensor
    raise DTypeError("an index is an int, a slice, `...`, None, or an integer array", got=repr(item))


def _mask_error(mask: Any) -> DTypeError:
    return DTypeError(
        "a bool mask selects an unknown number of elements, and shapes are static",
        got=_text(mask),
        hint="use gx.where(mask, x, other), or multiply by the mask before a reduction",
    )


def _is_array(item: Any) -> bool:
    return isinstance(item, Tensor)


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


def _gather(x: Tensor, selections: list[_Selection]) -> Tensor:
    """Arrays of positions: slices first, then one gather, then the gathered axes to the place NumPy gives them.

    With arrays present ints count as arrays. Their axes stand where the first array is, or in front of all others
    where slices or None come between the arrays.
    """
    is_advanced = [isinstance(s.item, int | Tensor) for s in selections]
    rest = [_Selection(slice(None), s.axis) if a else s for s, a in zip(selections, is_advanced, strict=True)]
    x = _basic(x, [s for s in rest if s.axis >= 0])
    advanced = [s for s, a in zip(selections, is_advanced, strict=True) if a]
    indices = broadcast(*(positions(_checked(s, x), x.shape[s.axis]) for s in advanced))
    found = emit(ops.gather, x, *indices, axes=tuple(s.axis for s in advanced))
    first = is_advanced.index(True)
    adjacent = all(is_advanced[first : first + len(advanced)])
    n = indices[0].ndim
    place = first if adjacent else 0
    # `found` has the gathered axes first, then the sliced ones; the new axes are inserted when all are in place.
    before = sum(s.axis >= 0 for s in selections[:place])
    found = moveaxis(found, list(range(n)), list(range(before, before + n))) if before and n else found
    sizes, sliced = [], iter(found.shape[:before] + found.shape[before + n :])
    for i, s in enumerate(selections):
        if i == place:
            sizes += list(indices[0].shape)
        if not is_advanced[i]:
            sizes.append(1 if s.axis < 0 else next(sliced))
    return reshape(found, sizes)


def _checked(s: _Selection, x: Tensor) -> Tensor:
    """The positions as a tensor; an int outside of the axis is known now."""
    if isinstance(s.item, int):
        _range(s, x)
    return as_tensor(s.item)


def _text(key: Any) -> str:
    return str(key.type) if isinstance(key, Tensor | Variable) else repr(key)


__all__ = ["index", "reject_assignment"]
