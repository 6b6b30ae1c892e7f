"""Array functions that move elements around, with the names and signatures of the Python array API standard."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphc import ops
from graphc.brief import brief
from graphc.errors import OptionError, ShapeError

from .emit import (
    ArrayLike,
    as_tensor,
    broadcast,
    broadcast_shape,
    cast,
    emit,
    filled,
    normal_axes,
    normal_axis,
    operands,
    operation,
    stretch,
    whole,
    wholes,
)
from .location import with_user_line
from .promotion import Number
from .recorded import recorded
from .tensor import Tensor
from .variable import Variable

_AXIS = "an axis is a whole number"


@operation
def reshape(x: ArrayLike, /, shape: int | Sequence[int], *, copy: bool | None = None) -> Tensor:
    """The elements in row-major order in another shape; one size may be −1 and is computed."""
    x = as_tensor(x)
    sizes = list(wholes(shape, "a shape is made of whole numbers"))
    known = math.prod(s for s in sizes if s != -1)
    if sizes.count(-1) == 1 and known and x.size % known == 0:
        sizes[sizes.index(-1)] = x.size // known
    if math.prod(sizes) != x.size or any(s < 0 for s in sizes):
        raise ShapeError(
            "reshape keeps the number of elements",
            got=f"{x.type} to shape {wholes(shape, '')}",
        )
    return x if tuple(sizes) == x.shape else emit(ops.reshape, x, shape=tuple(sizes))


@operation
def permute_dims(x: ArrayLike, /, axes: Sequence[int]) -> Tensor:
    """Axis i of the result is axis axes[i] of x."""
    x = as_tensor(x)
    order = tuple(normal_axis(a, x.ndim) for a in axes)
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(f"permute_dims names each of {x.ndim} axes once", got=str(tuple(axes)))
    return x if order == tuple(range(x.ndim)) else emit(ops.permute, x, axes=order)


def matrix_transpose(x: ArrayLike, /) -> Tensor:
    """The last two axes exchanged."""
    return swap_axes(x, -1, -2)


@operation
def swap_axes(x: ArrayLike, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged."""
    x = as_tensor(x)
    order = list(range(x.ndim))
    a, b = normal_axis(axis1, x.ndim), normal_axis(axis2, x.ndim)
    order[a], order[b] = b, a
    return x if a == b else emit(ops.permute, x, axes=tuple(order))


@recorded
def moveaxis(x: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int], /) -> Tensor:
    """The source axes at the destination places, the others in their order."""
    x = as_tensor(x)
    sources = [normal_axis(a, x.ndim) for a in wholes(source, _AXIS)]
    places = [normal_axis(a, x.ndim) for a in wholes(destination, _AXIS)]
    if len(sources) != len(places) or len(set(sources)) < len(sources) or len(set(places)) < len(places):
        raise ShapeError("moveaxis takes as many different places as axes", got=f"{source} and {destination}")
    order = [a for a in range(x.ndim) if a not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return permute_dims(x, order)


@operation
def expand_dims(x: ArrayLike, /, axis: int | Sequence[int]) -> Tensor:
    """New axes of size 1, at these places of the result."""
    x = as_tensor(x)
    places = wholes(axis, _AXIS)
    new = normal_axes(places, x.ndim + len(places))
    sizes = iter(x.shape)
    shape = [1 if i in new else next(sizes) for i in range(x.ndim + len(places))]
    return emit(ops.reshape, x, shape=tuple(shape)) if new else x


@recorded
def squeeze(x: ArrayLike, /, axis: int | Sequence[int] | None = None) -> Tensor:
    """Without these axes, which have size 1; without all such axes by default."""
    x = as_tensor(x)
    gone = [a for a, s in enumerate(x.shape) if s == 1] if axis is None else normal_axes(axis, x.ndim)
    if any(x.shape[a] != 1 for a in gone):
        raise ShapeError("only axes of size 1 can be squeezed", got=f"axis {axis} of {x.type}")
    return reshape(x, [s for a, s in enumerate(x.shape) if a not in gone])


@operation
def broadcast_to(x: ArrayLike, /, shape: Sequence[int]) -> Tensor:
    """x repeated along new axes and axes of size 1. Raises ShapeError where it does not fit."""
    x, rule = as_tensor(x), "a shape is made of whole numbers ≥ 0"
    wanted = tuple(as_count(n, rule) for n in wholes(shape, rule))
    if broadcast_shape(x.shape, wanted) != wanted:
        raise ShapeError("broadcast_to needs a shape that x broadcasts to", got=f"{x.type} to {wanted}")
    return stretch(x, wanted)


@recorded
def broadcast_arrays(*arrays: ArrayLike) -> list[Tensor]:
    """All of them at their common shape."""
    return list(broadcast(*map(as_tensor, arrays)))


@with_user_line
def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that arrays of these shapes have in common. Raises ShapeError where there is none."""
    rule = "a shape is made of whole numbers ≥ 0"
    return broadcast_shape(*(tuple(as_count(n, rule) for n in wholes(s, rule)) for s in shapes))


@operation
def flip(x: ArrayLike, /, *, axis: int | Sequence[int] | None = None) -> Tensor:
    """The elements in reverse along these axes; along all by default."""
    x = as_tensor(x)
    axes = normal_axes(axis, x.ndim)
    return emit(ops.flip, x, axes=axes) if axes else x


@recorded
def concat(arrays: Sequence[ArrayLike], /, *, axis: int | None = 0) -> Tensor:
    """The arrays one after the other along an axis; None for their flattened elements."""
    if not len(arrays):
        raise ShapeError("concat needs at least one array")
    xs = operands(*arrays)
    if axis is None:
        return concat([reshape(x, -1) for x in xs], axis=0)
    place = normal_axis(axis, xs[0].ndim)
    rest = {x.shape[:place] + x.shape[place + 1 :] for x in xs if x.ndim == xs[0].ndim}
    if len(rest) > 1 or any(x.ndim != xs[0].ndim for x in xs):
        raise ShapeError(
            f"concat needs arrays that are equally large but along axis {axis}",
            got=" and ".join(str(x.type) for x in xs),
        )
    return emit(ops.concat, *xs, axis=place) if len(xs) > 1 else xs[0]


@recorded
def stack(arrays: Sequence[ArrayLike], /, *, axis: int = 0) -> Tensor:
    """Arrays of one shape along a new axis."""
    if not len(arrays):
        raise ShapeError("stack needs at least one array")
    return concat([expand_dims(x, axis) for x in operands(*arrays)], axis=axis)


@recorded
def unstack(x: ArrayLike, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis, without it."""
    x = as_tensor(x)
    place = normal_axis(axis, x.ndim)
    return tuple(squeeze(slice_axis(x, place, i, i + 1), place) for i in range(x.shape[place]))


@recorded
def split(x: ArrayLike, sections: int | Sequence[int], /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """x cut along an axis: into so many equal parts, or before each of these positions, as in NumPy.

    Positions are as in slices: negative ones count from the end, those outside are its ends.
    """
    x = as_tensor(x)
    place = normal_axis(axis, x.ndim)
    size = x.shape[place]
    rule = "split takes a number of parts, or the positions to cut at"
    if _is_single(sections):
        parts = whole(sections, rule)
        if parts <= 0 or size % parts:
            raise ShapeError(f"{size} elements can't be split into {parts} equal parts")
        cuts = [i * (size // parts) for i in range(parts)]
    else:
        cuts = [0, *wholes(sections, rule)]
    pieces = [slice(a, b).indices(size) for a, b in zip(cuts, [*cuts[1:], size], strict=True)]
    return tuple(slice_axis(x, place, start, max(start, stop)) for start, stop, _ in pieces)


def slice_axis(x: Tensor, axis: int, start: int, stop: int, step: int = 1) -> Tensor:
    """x[start:stop:step] along one axis, all within it and step > 0."""
    if (start, stop, step) == (0, x.shape[axis], 1):
        return x
    starts, stops, steps = [0] * x.ndim, list(x.shape), [1] * x.ndim
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return emit(ops.slice, x, start=tuple(starts), stop=tuple(stops), step=tuple(steps))


@recorded
def roll(x: ArrayLike, /, shift: int | Sequence[int], *, axis: int | Sequence[int] | None = None) -> Tensor:
    """The elements moved on by `shift`; those that leave at the end come in at the start.

    One shift is applied to every axis; otherwise there is one for each.
    """
    x = as_tensor(x)
    if axis is None:
        return reshape(roll(reshape(x, -1), shift, axis=0), x.shape)
    shifts, axes = wholes(shift, "a shift is a whole number"), wholes(axis, _AXIS)
    if len(shifts) == 1:
        shifts *= len(axes)
    elif len(axes) == 1:
        axes *= len(shifts)
    if len(shifts) != len(axes):
        raise ShapeError("roll takes one shift, or one for each axis", got=f"shift {shift} for axis {axis}")
    for by, a in zip(shifts, axes, strict=True):
        place = normal_axis(a, x.ndim)
        size = x.shape[place]
        cut = -by % size if size else 0
        if cut:
            x = concat([slice_axis(x, place, cut, size), slice_axis(x, place, 0, cut)], axis=place)
    return x


@recorded
def repeat(x: ArrayLike, repeats: int | ArrayLike, /, *, axis: int | None = None) -> Tensor:
    """Each element `repeats` times in a row; the flattened elements by default.

    With an array of numbers each element has one of its own. They decide about the shape of the result, so in a trace
    they are a list, a NumPy array or a concrete tensor. Raises ShapeError for others.
    """
    x = as_tensor(x)
    if axis is None:
        return repeat(reshape(x, -1), repeats, axis=0)
    place = normal_axis(axis, x.ndim)
    rule = "repeat takes a whole number of repetitions ≥ 0, or one for each element along the axis"
    if not _is_single(repeats):
        counts = _known_counts(repeats, rule)
        if len(counts) != 1:
            if len(counts) != x.shape[place]:
                raise ShapeError(rule, got=f"{len(counts)} numbers for axis {axis} of {x.type}")
            places = as_tensor(np.repeat(np.arange(len(counts)), counts))
            return moveaxis(emit(ops.gather, x, places, axes=(place,)), 0, place)
        repeats = counts[0]
    count = as_count(repeats, rule)
    wide = stretch(expand_dims(x, place + 1), (*x.shape[: place + 1], count, *x.shape[place + 1 :]))
    return reshape(wide, (*x.shape[:place], x.shape[place] * count, *x.shape[place + 1 :]))


def _known_counts(values: ArrayLike, rule: str) -> tuple[int, ...]:
    """Whole numbers ≥ 0, known while tracing, of a sequence or an array of one axis."""
    if isinstance(values, Tensor | Variable):
        if isinstance(values, Variable):
            values = values.value
        if values.is_symbolic:
            raise ShapeError(rule, got=f"{values.type}, which is not known while tracing", hint="pass a NumPy array")
        values = values.numpy()
    if np.ndim(values) != 1:
        raise ShapeError(rule, got=f"numbers of shape {np.shape(values)}")
    return tuple(as_count(n, rule) for n in values)


@recorded
def tile(x: ArrayLike, repetitions: int | Sequence[int], /) -> Tensor:
    """The whole array repeated so often along each axis; a single number is for the last one."""
    x = as_tensor(x)
    rule = "tile takes whole numbers of repetitions ≥ 0"
    counts = tuple(as_count(n, rule) for n in wholes(repetitions, rule))
    counts = (1,) * (x.ndim - len(counts)) + counts
    x = reshape(x, (1,) * (len(counts) - x.ndim) + x.shape)
    pairs = list(zip(counts, x.shape, strict=True))
    # Only where elements are repeated as a whole, an axis of its own is needed for it.
    spread = [n for count, size in pairs for n in ((size,) if 1 in (count, size) else (1, size))]
    wide = [n for count, size in pairs for n in ((count * size,) if 1 in (count, size) else (count, size))]
    return reshape(stretch(reshape(x, spread), tuple(wide)), [count * size for count, size in pairs])


@recorded
def pad(
    x: ArrayLike, widths: int | Sequence[int] | Sequence[tuple[int, int]], /, *, constant: Number = 0
) -> Tensor:
    """x within a frame of a constant. Widths as in NumPy: one number, (before, after), or a pair for each axis."""
    x = as_tensor(x)
    rule = "pad takes widths ≥ 0, a pair for each axis"
    if _is_single(widths):
        pairs = [wholes(widths, rule) * 2] * x.ndim
    elif len(widths) == 2 and all(map(_is_single, widths)):  # type: ignore[arg-type]
        pairs = [wholes(widths, rule)] * x.ndim
    else:
        pairs = [wholes(w, rule) for w in widths]  # type: ignore[union-attr]
    if len(pairs) != x.ndim or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise ShapeError(rule, got=f"{widths} for {x.type}")
    fill = filled(constant, x.type.with_shape(()))
    return emit(ops.pad, x, fill, low=tuple(p[0] for p in pairs), high=tuple(p[1] for p in pairs))


@recorded
def meshgrid(*arrays: ArrayLike, indexing: str = "xy") -> list[Tensor]:
    """Coordinate arrays of a grid; "xy" has the first two axes exchanged, "ij" has not."""
    if not arrays:
        return []
    xs = list(operands(*arrays))
    if indexing not in ("xy", "ij"):
        raise OptionError("there is no such indexing", got=brief(indexing), hint="use 'xy' or 'ij'")
    order = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        order[0], order[1] = 1, 0
    placed = [reshape(x, [x.size if order[i] == a else 1 for a in range(len(xs))]) for i, x in enumerate(xs)]
    return list(broadcast(*placed))


@recorded
def diff(
    x: ArrayLike,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: ArrayLike | None = None,
    append: ArrayLike | None = None,
) -> Tensor:
    """Differences of neighbours along an axis, n times; `prepend` and `append` are put at its ends before.

    Those are arrays of x's shape but along the axis, or single values, which stand for an axis of size 1.
    """
    from .binary import subtract

    times = as_count(n, "diff is taken a whole number of times ≥ 0")
    x = as_tensor(x)
    place = normal_axis(axis, x.ndim)
    single = (*x.shape[:place], 1, *x.shape[place + 1 :])
    parts = operands(*(part for part in (prepend, x, append) if part is not None))
    x = concat([part if part.shape else stretch(part, single) for part in parts], axis=place)
    for _ in range(min(times, x.shape[place])):  # then nothing is left
        size = x.shape[place]
        x = subtract(slice_axis(x, place, min(1, size), size), slice_axis(x, place, 0, max(size - 1, 0)))
    return x


def _is_single(x: object) -> bool:
    """Whether it is no sequence; an array of rank 0 is none."""
    return not isinstance(x, list | tuple) and np.ndim(x) == 0  # type: ignore[arg-type]


def as_count(value: int, rule: str) -> int:
    """A whole number ≥ 0. Raises ShapeError with this rule for anything else."""
    count = whole(value, rule)
    if count < 0:
        raise ShapeError(rule, got=brief(value))
    return count


__all__ = [
    "broadcast_arrays", "broadcast_shapes", "broadcast_to", "cast", "concat", "diff", "expand_dims", "flip",
    "matrix_transpose", "meshgrid", "moveaxis", "pad", "permute_dims", "repeat", "reshape", "roll", "split", "squeeze",
    "stack", "swap_axes", "tile", "unstack",
]  # fmt: skip
