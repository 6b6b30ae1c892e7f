"""How a node of each op is drawn: inputs from what the graph holds, attrs at random.

Elementwise ops and reductions, whatever their names, are drawn alike; others have a sampler of their own, since nobody
can guess what their attrs mean. What the op's own type rule refuses raises its error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from graphc import ops
from graphc.errors import GraphcError
from graphc.ir import Node
from graphc.op import Kind, Op
from graphc.types import (
    DTYPES,
    DType,
    TensorType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
    uint32,
)  # fmt: skip

from .maker import MOST_ELEMENTS, SIZES, SMALL, Maker

Sampler = Callable[[Maker, Op], Node | None]
MOST_PRODUCTS = 1 << 18


@cache
def accepts(op: Op, dtype: DType) -> bool:
    """Whether an elementwise op or reduction takes inputs of the dtype."""
    x = TensorType(dtype, (2,))
    try:
        if op.kind is Kind.REDUCTION:
            op.infer(x, axes=(0,))
        elif op.kind is Kind.CUMULATIVE:
            op.infer(*(x,) * _arity(op), axis=0)
        else:
            op.infer(*(x,) * _arity(op))
    except GraphcError:
        return False
    return True


def _arity(op: Op) -> int:
    return len(inspect.signature(op.infer).parameters) - (op.kind is Kind.CUMULATIVE)  # the last one is its axis


def _elementwise(m: Maker, op: Op) -> Node:
    first = m.any_node(lambda d: accepts(op, d))
    return op(first, *(m.same(first.tensor_type, first) for _ in range(_arity(op) - 1)))


def _reduction(m: Maker, op: Op) -> Node:
    x = m.any_node(lambda d: accepts(op, d))
    axes = m.some_axes(len(x.shape))
    long = [a for a, size in enumerate(x.shape) if size > 1]
    if long and not set(axes) & set(long) and m.chance(0.8):
        axes = (m.choose(long),)
    return op(x, axes=axes)


def _cumulative(m: Maker, op: Op) -> Node:
    first = m.like(lambda n: bool(n.shape) and accepts(op, n.dtype))
    if first is None:
        dtypes = [d for d in (float32, float64, int32, uint8) if accepts(op, d)]
        first = m.source(TensorType(m.choose(dtypes), m.shape(m.integer(1, 4))))
    others = [m.same(first.tensor_type, first) for _ in range(_arity(op) - 1)]
    return op(first, *others, axis=m.integer(0, len(first.shape)))


def _select(m: Maker, op: Op) -> Node:
    a = m.any_node()
    return op(m.same(a.tensor_type.with_dtype(bool_)), a, m.same(a.tensor_type, a))


def _cast(m: Maker, op: Op) -> Node:
    x = m.any_node()
    floats = x.dtype.is_float and m.chance(0.5)  # which have gradients
    return op(x, dtype=m.choose((float16, bfloat16, float32, float64)) if floats else m.dtype())


def _bitcast(m: Maker, op: Op) -> Node:
    x = m.any_node(lambda d: not d.is_bool)
    return op(x, dtype=m.choose([d for d in DTYPES.values() if d.bits == x.dtype.bits]))


def _philox(m: Maker, op: Op) -> Node:
    type_ = TensorType(uint32, m.shape())
    word = ops.remainder(m.same(type_), ops.full(4, type_))
    return op(*(m.same(type_) for _ in range(3)), word)


def _iota(m: Maker, op: Op) -> Node:
    type_ = TensorType(m.choose((float32, int32, int64)), m.shape(m.integer(1, 4)))
    return op(type=type_, axis=m.integer(0, type_.ndim))


def _reshape(m: Maker, op: Op) -> Node:
    x = m.any_node()
    if x.tensor_type.size == 0:
        return op(x, shape=x.shape[::-1])
    factors = [p for s in x.shape for p in _prime_factors(s)]
    if m.chance(0.5):
        m.rng.shuffle(factors)
    shape = [1] * m.integer(1, 5)
    place = sorted(m.integer(0, len(shape)) for _ in factors)
    for f, at in zip(factors, place, strict=True):
        shape[at] *= f
    return op(x, shape=tuple(shape))


def _prime_factors(n: int) -> list[int]:
    result, p = [], 2
    while n > 1:
        while n % p == 0:
            result.append(p)
            n //= p
        p += 1
    return result


def _permute(m: Maker, op: Op) -> Node:
    x = m.any_node()
    return op(x, axes=m.order(len(x.shape)))


def _broadcast(m: Maker, op: Op) -> Node:
    x = m.any_node()
    ndim = len(x.shape) + m.integer(0, 3)
    dims = m.order(ndim)[: len(x.shape)]
    dims = dims if m.chance(0.3) else tuple(sorted(dims))
    sizes = dict(zip(dims, x.shape, strict=True))
    return op(x, shape=tuple(sizes[d] if d in sizes else m.choose(SMALL[1:]) for d in range(ndim)), dims=dims)


def _slice(m: Maker, op: Op) -> Node:
    x = m.any_node()
    start, stop = [], []
    for size in x.shape:
        empty_too = m.chance(0.05)
        start.append(m.integer(0, size + 1 if empty_too or not size else size))
        stop.append(m.integer(start[-1] if empty_too else min(start[-1] + 1, size), size + 1))
    return op(x, start=tuple(start), stop=tuple(stop), step=tuple(m.choose((1, 1, 2, 3)) for _ in x.shape))


def _flip(m: Maker, op: Op) -> Node:
    x = m.any_node()
    return op(x, axes=m.some_axes(len(x.shape)))


def _delay(m: Maker, op: Op) -> Node:
    return op(m.any_node(), m.any_node())


def _pad(m: Maker, op: Op) -> Node:
    x = m.any_node()
    low, high = (tuple(m.integer(0, 3) for _ in x.shape) for _ in range(2))
    return op(x, m.same(TensorType(x.dtype, ())), low=low, high=high)


def _concat(m: Maker, op: Op) -> Node | None:
    x = m.like(lambda n: bool(n.shape)) or m.source(TensorType(float32, m.shape(2)))
    axis = m.integer(0, len(x.shape))

    def fits(n: Node) -> bool:
        return (
            n.dtype is x.dtype and len(n.shape) == len(x.shape) and _but(n.shape, axis) == _but(x.shape, axis)
        )

    return op(*(m.like(fits) or x for _ in range(m.integer(1, 4))), axis=axis)


def _but(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _selectable(m: Maker, accept: Callable[[DType], bool] = lambda d: True) -> Node:
    """A tensor with axes to select from."""
    found = m.like(lambda n: bool(n.shape) and 0 not in n.shape and accept(n.dtype))
    return found or m.source(TensorType(float32, (m.choose(SMALL), m.choose(SIZES))))


def _selector(m: Maker, shape: tuple[int, ...], size: int) -> Node:
    """An index tensor whose elements lie below `size`: given, or computed."""
    computed = m.like(lambda n: n.dtype in (int32, int64, uint32) and n.shape == shape)
    if computed is not None and m.chance(0.6):
        return ops.remainder(computed, ops.full(size, computed.tensor_type))
    return m.source(TensorType(m.choose((int32, int64, uint32)), shape), size)


def _gather(m: Maker, op: Op) -> Node:
    x = _selectable(m)
    axes = tuple(sorted(m.order(len(x.shape))[: m.integer(1, min(len(x.shape), 2) + 1)]))
    shape = m.shape(m.integer(0, 3))
    return op(x, *(_selector(m, shape, x.shape[a]) for a in axes), axes=axes)


def _scatter(m: Maker, op: Op) -> Node:
    x = _selectable(m, lambda d: not d.is_bool)
    axis = m.integer(0, len(x.shape))
    shape = m.shape(m.integer(0, 2))
    updates = m.same(TensorType(x.dtype, shape + _but(x.shape, axis)))
    return op(x, updates, _selector(m, shape, x.shape[axis]), axes=(axis,))


def _pick(m: Maker, op: Op) -> Node:
    x = _selectable(m)
    return op(x, _selector(m, x.shape[:-1], x.shape[-1]))


def _dot(m: Maker, op: Op) -> Node | None:
    """Random batch, contracted and free axes, in random order in both operands."""
    sizes = SIZES if m.chance(0.5) else SMALL
    batch, shared, left, right = ([m.choose(sizes) for _ in range(m.integer(0, n))] for n in (2, 3, 3, 3))
    products = 1
    for size in (*batch, *shared, *left, *right):
        products *= size
    if products > MOST_PRODUCTS:
        return None
    dtype = m.choose((float32, float32, float32, float64, int32, bfloat16, float16, int8))
    others = (int8, uint8) if dtype is int8 else (dtype,)
    operands, axes = [], []
    for free, dtype_ in ((left, dtype), (right, m.choose(others))):
        own = [*batch, *shared, *free]
        order = m.order(len(own))
        operands.append(m.same(TensorType(dtype_, tuple(own[i] for i in order))))
        place = {i: n for n, i in enumerate(order)}
        axes.append(
            (
                tuple(place[i] for i in range(len(batch))),
                tuple(place[len(batch) + i] for i in range(len(shared))),
            )
        )
    attrs: dict[str, Any] = {"batch": (axes[0][0], axes[1][0]), "contract": (axes[0][1], axes[1][1])}
    wide = int32 if dtype is int8 else dtype.computes_as
    if operands[0].dtype is not operands[1].dtype or (wide is not dtype and m.chance(0.5)):
        attrs["result"] = wide
    return op(*operands, **attrs)


def _sort(m: Maker, op: Op) -> Node:
    return _one_of_both(m, op(_selectable(m), descending=m.chance(0.5)))


def _top_k(m: Maker, op: Op) -> Node:
    x = _selectable(m)
    return _one_of_both(m, op(x, k=m.integer(1, x.shape[-1] + 1)))


def _one_of_both(m: Maker, both: Node) -> Node:
    """The indices or the values, and maybe the other as well."""
    items = [ops.item(both, index=i) for i in m.order(2)]
    if m.chance(0.5):
        m.nodes.append(items[1])
    return items[0]


BY_KIND: dict[Kind, Sampler] = {
    Kind.ELEMENTWISE: _elementwise, Kind.REDUCTION: _reduction, Kind.CUMULATIVE: _cumulative,
}  # fmt: skip
SAMPLERS: dict[str, Sampler] = {
    "select": _select, "cast": _cast, "bitcast": _bitcast, "philox": _philox, "iota": _iota, "reshape": _reshape,
    "permute": _permute, "broadcast": _broadcast, "slice": _slice, "flip": _flip, "pad": _pad, "concat": _concat,
    "gather": _gather, "scatter_add": _scatter, "pick": _pick, "dot_general": _dot, "delay": _delay,
    "sort": _sort, "top_k": _top_k,
}  # fmt: skip


def draw(m: Maker, op: Op) -> Node | None:
    """A node of that op, or None where nothing suitable was found."""
    sampler = SAMPLERS.get(op.name) or BY_KIND.get(op.kind)
    assert sampler is not None, f"op {op.name} is {op.kind.value}: give the fuzzer a sampler for its attrs"
    for _ in range(32):
        try:
            node = sampler(m, op)
        except GraphcError:
            continue
        if node is not None and node.tensor_type.size <= MOST_ELEMENTS:
            m.nodes.append(node)
            return node
    return None


def draw_row(m: Maker) -> Node | None:
    """x with what its rows come to: a reduction spread again over the axes that it lacks, as in softmax."""
    x = m.like(lambda n: bool(n.shape) and 0 not in n.shape and n.dtype in (float32, float64, int32))
    if x is None:
        return None
    axes = m.some_axes(len(x.shape))
    kept = tuple(a for a in range(len(x.shape)) if a not in axes)
    reduced = m.choose((ops.sum, ops.max, ops.min, ops.prod))(x, axes=axes)
    spread = ops.broadcast(reduced, shape=x.shape, dims=kept)
    node = m.choose((ops.add, ops.subtract, ops.multiply, ops.maximum))(x, spread)
    m.nodes += [reduced, node]
    return node
