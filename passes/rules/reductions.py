"""Reductions: over nothing, of what is repeated, of reductions. Sums may be reassociated; the rest is exact."""

from __future__ import annotations

import math

import numpy as np

from graphc.ir import Node
from graphc.op import Op
from graphc.ops import (
    all,
    any,
    argmax,
    argmin,
    broadcast,
    converted,
    full,
    full_like,
    max,
    min,
    multiply,
    negative,
    permute,
    permuted,
    prod,
    reshaped,
    sum,
)
from graphc.types import float16, int32

from ..rewrite import Exactness, Rule, rule, tensor

Shape = tuple[int, ...]

# Reductions of one element that give the element, and whose nested forms are one.
PLAIN: tuple[Op, ...] = (sum, prod, max, min, any, all)
# Those for which repeated elements count once.
IDEMPOTENT: tuple[Op, ...] = (max, min, any, all)


def _kept(ndim: int, axes: Shape) -> Shape:
    return tuple(a for a in range(ndim) if a not in axes)


@rule(*PLAIN, examples=[lambda: sum(tensor(2, 3), axes=())], exactness=Exactness.ROUNDING)
def reduce_no_axes(node: Node) -> Node | None:
    return None if node.attrs["axes"] else node.inputs[0]


@rule(
    argmax, argmin, examples=[lambda: argmax(tensor(2, 3), axes=()), lambda: argmin(tensor(2, 1), axes=(1,))]
)
def position_among_one(node: Node) -> Node | None:
    (x,) = node.inputs
    return full_like(node, 0) if math.prod(x.shape[a] for a in node.attrs["axes"]) == 1 else None


@rule(
    *PLAIN,
    examples=[lambda: sum(tensor(0, 3), axes=(0,)), lambda: prod(tensor(2, 0, dtype=int32), axes=(0, 1))],
    where=lambda node: 0 in node.inputs[0].shape and 0 not in node.shape,
)
def reduce_no_elements(node: Node) -> Node | None:
    """The neutral element."""
    (x,) = node.inputs
    if node.op.reference is None:
        return None
    neutral = node.op.reference(np.zeros(0, x.dtype.numpy), axes=(0,))
    return full(neutral.item(), node.tensor_type)


@rule(
    *PLAIN,
    examples=[lambda: sum(tensor(4, 1, 5), axes=(1,)), lambda: max(tensor(4, 1, 5), axes=(0, 1))],
    exactness=Exactness.ROUNDING,
    where=lambda node: 1 in node.inputs[0].shape,
)
def reduce_unit_axes(node: Node) -> Node | None:
    """Axes of size 1 are dropped by a reshape. A sum leaves out its 0, so that −0.0 stays."""
    (x,) = node.inputs
    axes = node.attrs["axes"]
    kept = [a for a in range(len(x.shape)) if x.shape[a] != 1 or a not in axes]
    if len(kept) == len(x.shape):
        return None
    squeezed = reshaped(x, tuple(x.shape[a] for a in kept))
    rest = tuple(i for i, a in enumerate(kept) if a in axes)
    return node.op(squeezed, axes=rest) if rest else squeezed


@rule(
    *PLAIN,
    examples=[
        lambda: sum(sum(tensor(4, 2, 3, 5), axes=(1,)), axes=(0, 2)),
        lambda: max(max(tensor(4, 2, 3), axes=(0,)), axes=(1,)),
    ],
    exactness=Exactness.ROUNDING,
    where=lambda node: node.inputs[0].op is node.op,
)
def reduce_of_reduce(node: Node) -> Node | None:
    (inner,) = node.inputs
    (x,) = inner.inputs
    left = _kept(len(x.shape), inner.attrs["axes"])
    return node.op(x, axes=tuple(sorted((*inner.attrs["axes"], *(left[a] for a in node.attrs["axes"])))))


@rule(
    *PLAIN,
    examples=[lambda: sum(permute(tensor(4, 2, 3, 5), axes=(3, 1, 0, 2)), axes=(1, 2))],
    exactness=Exactness.ROUNDING,
    over=[permute],
)
def reduce_of_permute(node: Node) -> Node | None:
    """sum(permute(x)) → permute(sum(x)), or no permute at all."""
    (permuted_x,) = node.inputs
    (x,) = permuted_x.inputs
    order = permuted_x.attrs["axes"]
    axes = tuple(sorted(order[a] for a in node.attrs["axes"]))
    left = _kept(len(x.shape), axes)
    return permuted(
        node.op(x, axes=axes), tuple(left.index(order[a]) for a in _kept(len(order), node.attrs["axes"]))
    )


@rule(
    sum,
    examples=[lambda: sum(negative(tensor(4, 5)), axes=(1,))],
    exactness=Exactness.ROUNDING,
    over=[negative],
)
def sum_of_negative(node: Node) -> Node | None:
    """The same but for the sign of a zero."""
    (x,) = node.inputs
    return negative(sum(x.inputs[0], axes=node.attrs["axes"]))


def _apart(node: Node) -> tuple[Node, int] | None:
    """A reduction of a broadcast as (the reduction of what is repeated, in the node's shape; how often it is)."""
    (repeated,) = node.inputs
    axes = node.attrs["axes"]
    if not axes:
        return None
    (x,) = repeated.inputs
    dims = repeated.attrs["dims"]
    count = math.prod(repeated.shape[a] for a in axes if a not in dims)
    own = tuple(i for i, d in enumerate(dims) if d in axes)
    if len(own) == len(axes):
        return None
    inner = node.op(x, axes=own) if own else x
    left = _kept(len(repeated.shape), axes)
    return broadcast(inner, shape=node.shape, dims=tuple(left.index(d) for d in dims if d not in axes)), count


@rule(
    sum,
    examples=[
        lambda: sum(broadcast(tensor(4, 5), shape=(5, 3, 4), dims=(2, 0)), axes=(0, 1)),
        lambda: sum(broadcast(tensor(4, dtype=int32), shape=(3, 4), dims=(1,)), axes=(0,)),
        lambda: sum(full_like(tensor(4, 5), 3), axes=(1,)),
        lambda: sum(broadcast(tensor(4, dtype=float16), shape=(70_000, 4), dims=(1,)), axes=(0,)),
    ],
    exactness=Exactness.ROUNDING,
    over=[broadcast],
)
def sum_of_broadcast(node: Node) -> Node | None:
    """n equal terms are n times the term. Integers wrap around, the factor with them; 16-bit floats may not hold it."""
    apart = _apart(node)
    if apart is None:
        return None
    once, count = apart
    if node.dtype.is_integer:
        count = int(np.array(count, np.int64).astype(node.dtype.numpy))
    wide = converted(once, node.dtype.computes_as)
    return converted(multiply(wide, full_like(wide, count)), node.dtype)


@rule(
    *IDEMPOTENT,
    examples=[lambda: max(broadcast(tensor(4, 5), shape=(5, 3, 4), dims=(2, 0)), axes=(0, 1))],
    over=[broadcast],
)
def extreme_of_broadcast(node: Node) -> Node | None:
    apart = _apart(node)
    return None if apart is None else apart[0]


RULES = tuple(r for r in globals().values() if isinstance(r, Rule))
