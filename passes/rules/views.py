"""Views of views, views that change nothing, and elementwise work moved to before a broadcast. All hold bit for bit.

Axes of size 1 that a reshape adds or drops are `unit axes`; a broadcast from a scalar constant is a `fill`.
"""

from __future__ import annotations

import math

from graphc import ops
from graphc.ir import Node
from graphc.op import Kind
from graphc.ops import broadcast, flip, full_like, permute, permuted, reshape, reshaped, slice
from graphc.types import int64

from ..rewrite import Rule, rule, tensor
from .patterns import FILLS, fill_of, filled, is_range

Shape = tuple[int, ...]


# Reshape


@rule(
    reshape,
    examples=[
        lambda: reshape(tensor(2, 6), shape=(2, 6)),
        lambda: reshape(reshape(tensor(2, 6), shape=(3, 4)), shape=(12,)),
        lambda: reshape(tensor(), shape=(1, 1)),
    ],
)
def reshape_of_reshape(node: Node) -> Node | None:
    (x,) = node.inputs
    if x.op is reshape:
        return reshaped(x.inputs[0], node.shape)
    if x.shape == node.shape:
        return x
    return None if x.shape else filled(x, node.shape)


# Permute


@rule(
    permute,
    examples=[
        lambda: permute(tensor(2, 3), axes=(0, 1)),
        lambda: permute(permute(tensor(2, 3, 4), axes=(2, 0, 1)), axes=(0, 2, 1)),
        lambda: permute(permute(tensor(2, 3, 4), axes=(2, 0, 1)), axes=(1, 2, 0)),
    ],
)
def permute_of_permute(node: Node) -> Node | None:
    (x,) = node.inputs
    axes = node.attrs["axes"]
    if x.op is permute:
        return permuted(x.inputs[0], tuple(x.attrs["axes"][a] for a in axes))
    return x if is_range(axes) else None


@rule(
    permute,
    examples=[lambda: permute(broadcast(tensor(2, 3), shape=(2, 5, 3), dims=(0, 2)), axes=(2, 0, 1))],
    over=[broadcast],
)
def permute_of_broadcast(node: Node) -> Node | None:
    (x,) = node.inputs
    axes = node.attrs["axes"]
    return broadcast(x.inputs[0], shape=node.shape, dims=tuple(axes.index(d) for d in x.attrs["dims"]))


# Broadcast


@rule(
    broadcast,
    examples=[
        lambda: broadcast(tensor(2, 3), shape=(2, 3), dims=(0, 1)),
        lambda: broadcast(tensor(2, 3), shape=(3, 2), dims=(1, 0)),
        lambda: broadcast(tensor(2, 3), shape=(1, 2, 3), dims=(1, 2)),
    ],
)
def broadcast_that_repeats_nothing(node: Node) -> Node | None:
    """Only axes change places, or unit axes are added. A scalar's broadcast is the form that fills have."""
    (x,) = node.inputs
    dims = node.attrs["dims"]
    if len(dims) == len(node.shape):
        return permuted(x, tuple(dims.index(a) for a in range(len(dims))))
    if dims and list(dims) == sorted(dims) and math.prod(node.shape) == math.prod(x.shape):
        return reshape(x, shape=node.shape)
    return None


@rule(
    broadcast,
    examples=[
        lambda: broadcast(broadcast(tensor(3), shape=(2, 3), dims=(1,)), shape=(2, 5, 3), dims=(0, 2)),
        lambda: broadcast(permute(tensor(2, 3), axes=(1, 0)), shape=(3, 5, 2), dims=(0, 2)),
    ],
    over=[broadcast, permute],
)
def broadcast_of_broadcast(node: Node) -> Node | None:
    """An input axis goes straight to where the second view puts it."""
    (x,) = node.inputs
    dims = node.attrs["dims"]
    if x.op is broadcast:
        return broadcast(x.inputs[0], shape=node.shape, dims=tuple(dims[d] for d in x.attrs["dims"]))
    inner = x.attrs["axes"]
    return broadcast(
        x.inputs[0], shape=node.shape, dims=tuple(dims[inner.index(a)] for a in range(len(dims)))
    )


@rule(
    broadcast,
    examples=[
        lambda: broadcast(reshape(tensor(3), shape=(3, 1)), shape=(3, 1, 5), dims=(0, 1)),
        lambda: broadcast(tensor(3, 1), shape=(3, 1, 5), dims=(0, 1)),
    ],
    where=lambda node: 1 in node.inputs[0].shape,
)
def broadcast_of_unit_axes(node: Node) -> Node | None:
    """Unit axes need no axis to come from."""
    (x,) = node.inputs
    kept = [(size, dim) for size, dim in zip(x.shape, node.attrs["dims"], strict=True) if size != 1]
    squeezed = reshape(x, shape=tuple(size for size, _ in kept))
    return broadcast(squeezed, shape=node.shape, dims=tuple(dim for _, dim in kept))


# Views of a fill


@rule(
    reshape,
    permute,
    flip,
    slice,
    examples=[
        lambda: reshape(full_like(tensor(2, 3), 7), shape=(6,)),
        lambda: reshape(full_like(tensor(1, 1), 7), shape=()),
        lambda: permute(full_like(tensor(2, 3), 7), axes=(1, 0)),
        lambda: flip(full_like(tensor(2, 3), 7), axes=(1,)),
        lambda: slice(full_like(tensor(2, 3), 7), start=(0, 1), stop=(1, 3), step=(1, 2)),
    ],
    over=FILLS,
)
def view_of_fill(node: Node) -> Node | None:
    fill = fill_of(node.inputs[0])
    return None if fill is None else filled(fill, node.shape)


# Slice and flip


@rule(
    slice,
    examples=[
        lambda: slice(tensor(4, 5), start=(0, 0), stop=(4, 5), step=(1, 1)),
        lambda: slice(tensor(1, 5), start=(0, 0), stop=(1, 5), step=(3, 1)),
        lambda: slice(
            slice(tensor(20, 5), start=(2, 1), stop=(19, 5), step=(3, 1)),
            start=(1, 0),
            stop=(5, 3),
            step=(2, 2),
        ),
    ],
)
def slice_of_slice(node: Node) -> Node | None:
    (x,) = node.inputs
    if x.shape == node.shape:
        return x
    if x.op is not slice:
        return None
    start, step = [], []
    for a, s, b, t in zip(
        x.attrs["start"], x.attrs["step"], node.attrs["start"], node.attrs["step"], strict=True
    ):
        start.append(a + s * b)
        step.append(s * t)
    return sliced(x.inputs[0], tuple(start), node.shape, tuple(step))


def sliced(x: Node, start: Shape, sizes: Shape, step: Shape) -> Node:
    """`sizes` elements along each axis, from `start` in steps. No size is 0."""
    stop = tuple(a + s * (n - 1) + 1 for a, s, n in zip(start, step, sizes, strict=True))
    return slice(x, start=start, stop=stop, step=step)


@rule(
    slice,
    examples=[
        lambda: slice(
            broadcast(tensor(4, 6), shape=(6, 9, 4), dims=(2, 0)),
            start=(1, 2, 0),
            stop=(6, 4, 3),
            step=(2, 1, 1),
        )
    ],
    over=[broadcast],
)
def slice_of_broadcast(node: Node) -> Node | None:
    (x,) = node.inputs
    dims = x.attrs["dims"]
    start, stop, step = (tuple(node.attrs[name][d] for d in dims) for name in ("start", "stop", "step"))
    return broadcast(slice(x.inputs[0], start=start, stop=stop, step=step), shape=node.shape, dims=dims)


@rule(
    flip,
    examples=[
        lambda: flip(tensor(4, 1), axes=(1,)),
        lambda: flip(tensor(4, 5), axes=()),
        lambda: flip(flip(tensor(4, 5, 6), axes=(0, 1)), axes=(1, 2)),
    ],
)
def flip_of_flip(node: Node) -> Node | None:
    (x,) = node.inputs
    axes = {a for a in node.attrs["axes"] if node.shape[a] > 1}
    if x.op is flip:
        axes, x = axes ^ set(x.attrs["axes"]), x.inputs[0]
    elif len(axes) == len(node.attrs["axes"]) > 0:
        return None
    return flip(x, axes=tuple(sorted(axes))) if axes else x


# Elementwise work before a view


def _repeated() -> Node:
    return broadcast(tensor(3), shape=(3, 4), dims=(0,))


@rule(
    examples=[
        lambda: ops.exp(_repeated()),
        lambda: ops.add(_repeated(), _repeated()),
        lambda: ops.multiply(_repeated(), full_like(tensor(3, 4), 2.5)),
        lambda: ops.less(full_like(tensor(3, 4), 2.5), full_like(tensor(3, 4), 3.5)),
        lambda: ops.cast(full_like(tensor(3, 4), 2.5), dtype=int64),
        lambda: ops.exp(reshape(tensor(3), shape=(3, 1))),
        lambda: ops.multiply(full_like(tensor(4, 3), 2.5), permute(tensor(3, 4), axes=(1, 0))),
        lambda: ops.add(permute(tensor(3, 4), axes=(1, 0)), permute(tensor(3, 4), axes=(1, 0))),
    ],
    kinds=[Kind.ELEMENTWISE],
    over=[broadcast, reshape, permute],
)
def elementwise_before_view(node: Node) -> Node | None:
    """exp(view(x)) → view(exp(x)), where all inputs are seen through the same view, or are scalars repeated.

    Less work before a broadcast. A permute or reshape comes nearer to the contraction or view that absorbs it.
    """
    scalars = [_repeated_scalar(i) for i in node.inputs]
    views = [i for i, scalar in zip(node.inputs, scalars, strict=True) if scalar is None]
    view = (views or node.inputs)[0]
    if view.op not in (broadcast, reshape, permute):
        return None
    if any(
        v.op is not view.op or v.attrs != view.attrs or v.inputs[0].shape != view.inputs[0].shape
        for v in views
    ):
        return None
    shape = view.inputs[0].shape
    inputs = (
        i.inputs[0] if s is None else filled(s, shape) for i, s in zip(node.inputs, scalars, strict=True)
    )
    return view.op(node.op(*inputs, **node.attrs), **view.attrs)


def _repeated_scalar(node: Node) -> Node | None:
    """The scalar that a tensor repeats, if that can be seen."""
    if node.op is broadcast:
        return None if node.attrs["dims"] else node.inputs[0]
    return fill_of(node)


RULES = tuple(r for r in globals().values() if isinstance(r, Rule))
