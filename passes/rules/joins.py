"""Pads and concatenations, and slices that need only some of their parts. All rules hold bit for bit."""

from __future__ import annotations

from graphc.ir import Node
from graphc.ops import concat, full_like, pad, scalar_constant, slice
from graphc.types import float32

from ..rewrite import Rule, rule, tensor
from .patterns import fill_of, filled
from .views import sliced

Shape = tuple[int, ...]
MOST_PARTS = 64  # of a concatenation


def _zero() -> Node:
    return scalar_constant(0, float32)


# Pad


@rule(pad, examples=[lambda: pad(tensor(2, 3), _zero(), low=(0, 0), high=(0, 0))])
def pad_by_nothing(node: Node) -> Node | None:
    return node.inputs[0] if node.shape == node.inputs[0].shape else None


@rule(pad, examples=[lambda: pad(full_like(tensor(2, 3), 0), _zero(), low=(1, 0), high=(0, 2))])
def pad_of_fill(node: Node) -> Node | None:
    """A fill that is padded with its own value."""
    x, fill = node.inputs
    return filled(fill, node.shape) if fill_of(x) is fill else None


def _padded_twice() -> Node:
    zero = _zero()
    return pad(pad(tensor(2, 3), zero, low=(1, 0), high=(0, 2)), zero, low=(0, 3), high=(1, 1))


@rule(pad, examples=[_padded_twice], over=[pad])
def pad_of_pad(node: Node) -> Node | None:
    x, fill = node.inputs
    if x.op is not pad or x.inputs[1] is not fill:
        return None
    low, high = (
        tuple(a + b for a, b in zip(x.attrs[name], node.attrs[name], strict=True)) for name in ("low", "high")
    )
    return pad(x.inputs[0], fill, low=low, high=high)


@rule(
    slice,
    examples=[
        lambda: slice(
            pad(tensor(4, 5), _zero(), low=(2, 1), high=(3, 1)), start=(3, 1), stop=(6, 6), step=(2, 1)
        ),
        lambda: slice(
            pad(tensor(4, 5), _zero(), low=(2, 0), high=(3, 0)), start=(1, 1), stop=(8, 4), step=(1, 2)
        ),
        lambda: slice(
            pad(tensor(4, 5), _zero(), low=(2, 0), high=(3, 0)), start=(6, 0), stop=(9, 5), step=(1, 1)
        ),
    ],
    over=[pad],
)
def slice_of_pad(node: Node) -> Node | None:
    """The slice of what was padded, padded by what is left. An axis with a step must lie wholly inside."""
    (padded,) = node.inputs
    x, fill = padded.inputs
    start, stop, step = (node.attrs[name] for name in ("start", "stop", "step"))
    begin, end, low, high = [], [], [], []
    for a, b, s, n, before in zip(start, stop, step, x.shape, padded.attrs["low"], strict=True):
        begin.append(min(max(a - before, 0), n))
        end.append(min(max(b - before, 0), n))
        if begin[-1] == end[-1]:
            return filled(fill, node.shape)
        low.append(max(before - a, 0))
        high.append(max(b - before - n, 0))
        if s > 1 and (low[-1] or high[-1]):
            return None
    if tuple(low) == padded.attrs["low"] and tuple(high) == padded.attrs["high"]:
        return None
    return pad(
        slice(x, start=tuple(begin), stop=tuple(end), step=step), fill, low=tuple(low), high=tuple(high)
    )


# Concatenation


@rule(
    concat,
    examples=[
        lambda: concat(tensor(2, 3), axis=0),
        lambda: concat(tensor(2, 3), tensor(2, 0), tensor(2, 1), axis=1),
        lambda: concat(tensor(2, 3), concat(tensor(2, 4), tensor(2, 1), axis=1), axis=1),
    ],
)
def concat_flattened(node: Node) -> Node | None:
    """Parts of parts are parts, unless they would be too many; empty ones are none, and a single one is the whole."""
    axis = node.attrs["axis"]
    parts: list[Node] = []
    for x in node.inputs:
        if x.op is concat and x.attrs["axis"] == axis:
            parts.extend(x.inputs)
        elif x.shape[axis]:
            parts.append(x)
    if len(parts) > MOST_PARTS:
        parts = [x for x in node.inputs if x.shape[axis]]
    if len(parts) == 1:
        return parts[0]
    return concat(*parts, axis=axis) if tuple(parts) != node.inputs else None


def _split_and_joined() -> Node:
    x = tensor(2, 7)
    first = slice(x, start=(0, 1), stop=(2, 3), step=(1, 1))
    second = slice(x, start=(0, 3), stop=(2, 7), step=(1, 1))
    return concat(tensor(2, 3), first, second, axis=1)


@rule(concat, examples=[_split_and_joined], over=[slice])
def concat_of_neighbours(node: Node) -> Node | None:
    """Slices that follow one another in one tensor are one slice."""
    axis = node.attrs["axis"]
    parts: list[Node] = []
    for x in node.inputs:
        joined = _joined(parts[-1], x, axis) if parts else None
        parts[-1:] = [joined] if joined is not None else [*parts[-1:], x]
    return concat(*parts, axis=axis) if len(parts) < len(node.inputs) else None


@rule(concat, examples=[lambda: concat(*[tensor(2, 1 + n % 2) for n in range(2 * MOST_PARTS + 1)], axis=1)])
def concat_of_many(node: Node) -> Node | None:
    """Many parts are joined in two steps: a kernel looks at all parts for each element, and for n of them two times √n
    is less. The first steps are alike, too, where parts are."""
    axis, parts = node.attrs["axis"], node.inputs
    if len(parts) <= MOST_PARTS:
        return None
    some = [parts[i : i + MOST_PARTS] for i in range(0, len(parts), MOST_PARTS)]
    return concat(*(concat(*few, axis=axis) if len(few) > 1 else few[0] for few in some), axis=axis)


def _joined(a: Node, b: Node, axis: int) -> Node | None:
    if a.op is not slice or b.op is not slice or a.inputs != b.inputs or a.attrs["step"] != b.attrs["step"]:
        return None
    start, step = a.attrs["start"], a.attrs["step"]
    follows = list(start)
    follows[axis] += step[axis] * a.shape[axis]
    if tuple(follows) != b.attrs["start"] or 0 in a.shape:
        return None
    sizes = list(a.shape)
    sizes[axis] += b.shape[axis]
    if any(x != y for i, (x, y) in enumerate(zip(a.shape, b.shape, strict=True)) if i != axis):
        return None
    return sliced(a.inputs[0], start, tuple(sizes), step)


@rule(
    slice,
    examples=[
        lambda: slice(concat(tensor(2, 3), tensor(2, 9), axis=1), start=(0, 4), stop=(2, 12), step=(1, 3)),
        lambda: slice(
            concat(tensor(2, 3), tensor(2, 4), tensor(2, 5), axis=1), start=(0, 4), stop=(1, 9), step=(1, 1)
        ),
    ],
    over=[concat],
)
def slice_of_concat(node: Node) -> Node | None:
    """A slice of those parts that it touches. Several parts need step 1 along the axis."""
    (joined,) = node.inputs
    axis = joined.attrs["axis"]
    start, stop, step = (node.attrs[name] for name in ("start", "stop", "step"))
    last = start[axis] + (node.shape[axis] - 1) * step[axis]
    touched, at, offset = [], 0, 0
    for x in joined.inputs:
        end = at + x.shape[axis]
        if end <= start[axis]:
            offset = end
        elif at <= last:
            touched.append(x)
        at = end
    if len(touched) == len(joined.inputs):
        return None
    begin = tuple(a - offset * (i == axis) for i, a in enumerate(start))
    part = touched[0] if len(touched) == 1 else concat(*touched, axis=axis)
    return sliced(part, begin, node.shape, step)


RULES = tuple(r for r in globals().values() if isinstance(r, Rule))
