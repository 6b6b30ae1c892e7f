"""Sums of scores, the nodes between two products of matrices that are larger than both: factors that are the same all
along a sum move out of it, and sums of products of matrices become products of small ones.

They apply where scores are not to be in memory (`passes/cut_scores.py`): so of the softmax and its gradient nothing is
left but what can be summed in one walk along the scores. Sums may be reassociated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphc.ir import Node
from graphc.op import Op
from graphc.ops import (
    add,
    broadcast,
    cast,
    divide,
    dot_general,
    exp,
    multiply,
    negative,
    permuted,
    subtract,
    sum,
)
from graphc.ops.scores import is_large
from graphc.types import DType, float16

from ..rewrite import Exactness, Rule, rule, tensor

Axes = tuple[int, ...]
FACTORS = (multiply, divide, negative, cast)


class _Factor(NamedTuple):
    """x = op(rest, row spread along some axes); or op(rest) where there is no row. `dims`: the axes of x that the row
    has."""

    op: Op
    rest: Node
    row: Node | None = None
    dims: Axes = ()

    def of(self, total: Node, axes: Sequence[int]) -> Node:
        """The factor on a sum instead; `axes`: the sum's axis for each of the row's."""
        if self.row is None:
            return self.op(total)
        row = self.row if self.row.dtype is total.dtype else cast(self.row, dtype=total.dtype)
        return self.op(total, _spread(row, tuple(axes), total.shape))


def _spread(row: Node, axes: Axes, shape: Axes) -> Node:
    """A row along these axes of a shape, in any order."""
    order = sorted(range(len(axes)), key=axes.__getitem__)
    return broadcast(permuted(row, tuple(order)), dims=tuple(axes[i] for i in order), shape=shape)


def _factor(x: Node, over: Axes) -> _Factor | None:
    """A factor of x that is the same all along these axes."""
    if x.op is negative:
        return _Factor(negative, x.inputs[0])
    if x.op is multiply or x.op is divide:
        for position in (1, 0) if x.op is multiply else (1,):
            row = x.inputs[position]
            if row.op is broadcast and not set(row.attrs["dims"]) & set(over):
                return _Factor(x.op, x.inputs[1 - position], row.inputs[0], row.attrs["dims"])
    return None


def _free(ndim: int, *taken: Axes) -> Axes:
    return tuple(a for a in range(ndim) if all(a not in axes for axes in taken))


def _result_axes(node: Node, side: int) -> dict[int, int]:
    """For each axis of an input of a product that its result has: which one it is there."""
    (contract, batch), inputs = (node.attrs["contract"], node.attrs["batch"]), node.inputs
    free = [_free(len(x.shape), contract[s], batch[s]) for s, x in enumerate(inputs)]
    first = len(batch[side]) + (len(free[0]) if side else 0)
    return {a: i for i, a in enumerate(batch[side])} | {a: first + i for i, a in enumerate(free[side])}


def _narrowed(x: Node, dtype: DType) -> Node:
    return x if x.dtype is dtype else cast(x, dtype=dtype)


def _product(a: Node, b: Node, contract: tuple[Axes, Axes], batch: tuple[Axes, Axes], wide: DType) -> Node:
    """Summed in the wider dtype, which is the result's."""
    if a.dtype is wide:
        return dot_general(a, b, contract=contract, batch=batch)
    return dot_general(a, b, contract=contract, batch=batch, result=wide)


def _weights(*shape: int) -> Node:
    return exp(tensor(*shape))


@rule(
    dot_general,
    examples=[
        lambda: dot_general(
            multiply(_weights(2, 5, 9), broadcast(tensor(2, 5), dims=(0, 1), shape=(2, 5, 9))),
            tensor(2, 9, 4), contract=((2,), (1,)), batch=((0,), (0,)),
        ),
        lambda: dot_general(
            tensor(2, 9, 4), divide(_weights(2, 5, 9), broadcast(tensor(2, 5), dims=(0, 1), shape=(2, 5, 9))),
            contract=((1,), (2,)), batch=((0,), (0,)),
        ),
        lambda: dot_general(
            cast(multiply(_weights(6, 9), broadcast(tensor(6), dims=(0,), shape=(6, 9))), dtype=float16),
            tensor(9, 4, dtype=float16), contract=((1,), (0,)), batch=((), ()),
        ),
    ],
    exactness=Exactness.ROUNDING,
    over=FACTORS,
)  # fmt: skip
def row_factor_of_product(node: Node) -> Node | None:
    """Σ_j (e_ij · r_i) · v_jc → r_i · Σ_j e_ij · v_jc, where e is larger than the sum."""
    for side in (0, 1):
        x, wide = node.inputs[side], node.dtype.computes_as
        if x.tensor_type.size <= node.tensor_type.size:
            continue
        inner = x.inputs[0] if x.op is cast and x.inputs[0].dtype.is_float else x
        found = _factor(inner, node.attrs["contract"][side])
        if found is None or not node.dtype.is_float:
            continue
        inputs = list(node.inputs)
        inputs[side] = _narrowed(found.rest, x.dtype)
        product = dot_general(*inputs, **{**node.attrs, "result": wide} if wide is not x.dtype else node.attrs)
        axes = _result_axes(node, side)
        return _narrowed(found.of(product, [axes[d] for d in found.dims]), node.dtype)
    return None


@rule(
    sum,
    examples=[
        lambda: sum(multiply(_weights(5, 9), broadcast(tensor(5), dims=(0,), shape=(5, 9))), axes=(1,)),
        lambda: sum(divide(_weights(5, 9, 2), broadcast(tensor(9), dims=(1,), shape=(5, 9, 2))), axes=(0, 2)),
        lambda: sum(negative(_weights(5, 9)), axes=(1,)),
    ],
    exactness=Exactness.ROUNDING,
    over=FACTORS,
)
def row_factor_of_sum(node: Node) -> Node | None:
    """Σ_j x_ij · r_i → r_i · Σ_j x_ij"""
    axes = node.attrs["axes"]
    found = _factor(node.inputs[0], axes)
    if found is None:
        return None
    kept = _free(len(node.inputs[0].shape), axes)
    return found.of(sum(found.rest, axes=axes), [kept.index(d) for d in found.dims])


@rule(
    multiply,
    examples=[
        lambda: multiply(
            _weights(5, 9), multiply(tensor(5, 9), broadcast(tensor(5), dims=(0,), shape=(5, 9)))
        ),
        lambda: multiply(divide(tensor(5, 9), broadcast(tensor(9), dims=(1,), shape=(5, 9))), _weights(5, 9)),
    ],
    exactness=Exactness.ROUNDING,
    over=FACTORS,
)  # fmt: skip
def row_factor_last(node: Node) -> Node | None:
    """y · (x · r) → (y · x) · r: factors of rows are outermost, where sums find them."""
    for x, y in (node.inputs, node.inputs[::-1]):
        if x.op is multiply or x.op is divide:
            row = x.inputs[1]
            if row.op is broadcast and _is_row(row) and not _is_row(y):
                return x.op(multiply(y, x.inputs[0]), row)
    return None


def _is_row(node: Node) -> bool:
    """Whether it is the same along one of its axes at least."""
    return node.op is broadcast and len(node.attrs["dims"]) < len(node.shape)


@rule(
    sum,
    examples=[
        lambda: sum(
            multiply(
                dot_general(tensor(2, 5, 3), tensor(2, 9, 3), contract=((2,), (2,)), batch=((0,), (0,))),
                _weights(2, 5, 9),
            ),
            axes=(2,),
        ),
        lambda: sum(
            multiply(
                _weights(5, 9),
                dot_general(tensor(3, 5), tensor(3, 9), contract=((0,), (0,)), batch=((), ())),
            ),
            axes=(0,),
        ),
    ],
    exactness=Exactness.ROUNDING,
    over=[multiply],
)
def sum_of_product(node: Node) -> Node | None:
    """Σ_j (Σ_c g_ic · v_jc) · e_ij → Σ_c g_ic · Σ_j e_ij · v_jc: the product with e is there already, in attention."""
    (x,), axes = node.inputs, node.attrs["axes"]
    for dot, weights in (x.inputs, x.inputs[::-1]):
        if dot.op is cast and dot.inputs[0].dtype.is_float and dot.dtype.is_float:
            (dot,) = dot.inputs
        if dot.op is dot_general and is_large(dot):
            for side in (0, 1):
                ndim = len(dot.inputs[side].shape)
                free = _free(ndim, dot.attrs["contract"][side], dot.attrs["batch"][side])
                at = _result_axes(dot, side)
                if free and axes == tuple(at[a] for a in free):
                    return _narrowed(_other_way_round(dot, weights, side, free, axes), node.dtype)
    return None


def _other_way_round(dot: Node, weights: Node, side: int, free: Axes, axes: Axes) -> Node:
    """Sum weights with the operand whose free axes are summed, then with the other one over the contracted axes."""
    v, g = dot.inputs[side], dot.inputs[1 - side]
    if v.op is cast and v.inputs[0].dtype.is_float and v.inputs[0].dtype.computes_as is v.dtype:
        v = v.inputs[0]  # what the product of the weights takes
    wide = dot.dtype.computes_as
    batch = (tuple(range(len(dot.attrs["batch"][0]))), dot.attrs["batch"][side])
    product = _product(_narrowed(weights, v.dtype), v, (axes, free), batch, wide)
    # Its axes: the batch, the weights' others, and the contracted ones in the order in which v has them.
    own, other = dot.attrs["contract"][side], dot.attrs["contract"][1 - side]
    ascending = sorted(range(len(own)), key=own.__getitem__)
    order = (
        *dot.attrs["batch"][1 - side],
        *_free(len(g.shape), other, dot.attrs["batch"][1 - side]),
        *(other[i] for i in ascending),
    )
    terms = multiply(_narrowed(permuted(g, order), wide), product)
    kept = len(product.shape) - len(own)
    total = sum(terms, axes=tuple(range(kept, len(product.shape))))
    return total


@rule(
    sum,
    examples=[
        lambda: sum(
            multiply(
                add(
                    dot_general(tensor(5, 3), tensor(9, 3), contract=((1,), (1,)), batch=((), ())),
                    broadcast(tensor(5), dims=(0,), shape=(5, 9)),
                ),
                _weights(5, 9),
            ),
            axes=(1,),
        ),
        lambda: sum(
            multiply(_weights(5, 9), subtract(tensor(5, 9), broadcast(tensor(5), dims=(0,), shape=(5, 9)))),
            axes=(1,),
        ),
    ],
    exactness=Exactness.ROUNDING,
    over=[multiply],
)
def row_added_in_sum(node: Node) -> Node | None:
    """Σ_j (x_ij + r_i) · y_ij → Σ_j x_ij · y_ij + r_i · Σ_j y_ij"""
    (x,), axes = node.inputs, node.attrs["axes"]
    kept = _free(len(x.shape), axes)
    for both, y in (x.inputs, x.inputs[::-1]):
        if both.op is not add and both.op is not subtract:
            continue
        for position in (1, 0) if both.op is add else (1,):
            row = both.inputs[position]
            if row.op is broadcast and not set(row.attrs["dims"]) & set(axes):
                first = sum(multiply(both.inputs[1 - position], y), axes=axes)
                total = sum(y, axes=axes)
                spread = _spread(row.inputs[0], tuple(kept.index(d) for d in row.attrs["dims"]), total.shape)
                return both.op(first, multiply(total, spread))
    return None


RULES = tuple(r for r in globals().values() if isinstance(r, Rule))
