"""Random well-typed graphs, drawn from the op registry.

Every op that is declared takes part: its inputs are drawn from what the graph already holds, its attrs from a sampler
of its kind; what the op's own type rule refuses is drawn again. Inputs are arrays of tame numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc import ops
from graphc.errors import GraphcError
from graphc.ir import Graph, Literal, Node
from graphc.op import Kind, Op, registry
from graphc.types import DType, TensorType, bool_, float32, float64, int32, int64, uint8, uint32

DTYPES = (float32, float32, float32, float32, float64, int32, int64, uint8, uint32, bool_)
SIZES = (0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33)
MOST_ELEMENTS = 4096
# Nothing outside these kinds can be drawn as a node; sources and items come with the graph.
DRAWN = (
    Kind.POSITION, Kind.ELEMENTWISE, Kind.REDUCTION, Kind.VIEW, Kind.INDEXED, Kind.CONTRACTION,
)  # fmt: skip


@dataclass
class Case:
    """A graph with arrays for its inputs and variables."""

    graph: Graph
    inputs: list[np.ndarray]
    variables: list[np.ndarray]


@dataclass
class Maker:
    """Draws one graph. `nodes` are candidates for inputs of later ones."""

    rng: np.random.Generator
    nodes: list[Node] = field(default_factory=list)
    sources: list[tuple[Node, np.ndarray]] = field(default_factory=list)

    def integer(self, low: int, high: int) -> int:
        """low ≤ n < high."""
        return int(self.rng.integers(low, high))

    def choose(self, items: Any) -> Any:
        return items[self.integer(0, len(items))]

    def shape(self, ndim: int | None = None) -> tuple[int, ...]:
        ndim = self.integer(0, 4) if ndim is None else ndim
        sizes = SIZES if self.rng.random() < 0.15 else SIZES[1:]
        shape = tuple(self.choose(sizes) for _ in range(ndim))
        return shape if np.prod(shape) <= MOST_ELEMENTS else self.shape(ndim)

    def source(self, type_: TensorType, high: int | None = None) -> Node:
        """A new input. Integers lie below `high`, if given: an index."""
        node = ops.input(type=type_, name=f"x{len(self.sources)}")
        self.sources.append((node, self.array(type_, high)))
        self.nodes.append(node)
        return node

    def array(self, type_: TensorType, high: int | None = None) -> np.ndarray:
        dtype = type_.dtype
        if dtype.is_bool:
            return np.asarray(self.rng.random(type_.shape) < 0.5)
        if dtype.is_integer:
            low = 0 if high is not None or dtype.is_unsigned else -9
            return np.asarray(self.rng.integers(low, high or 10, type_.shape), dtype.numpy)
        return np.asarray(self.rng.uniform(-2, 2, type_.shape), dtype.numpy)

    def like(self, accept: Callable[[Node], bool]) -> Node | None:
        """A node that is acceptable, more often a late one."""
        found = [n for n in self.nodes if accept(n)]
        return found[max(self.integer(0, len(found)), self.integer(0, len(found)))] if found else None

    def any_node(self) -> Node:
        return self.like(lambda n: True) or self.source(TensorType(float32, self.shape()))

    def same(self, type_: TensorType) -> Node:
        """A node of the type: one that exists, or a new input."""
        found = self.like(lambda n: n.type == type_) if self.rng.random() < 0.7 else None
        return found or self.source(type_)

    def draw(self, op: Op) -> Node | None:
        """A node of that op, or None where nothing suitable was found."""
        sampler = SAMPLERS.get(op.name) or BY_KIND.get(op.kind)
        assert sampler is not None, f"op {op.name} is {op.kind.value}: give the fuzzer a sampler for its attrs"
        for _ in range(8):
            try:
                node = sampler(self, op)
            except GraphcError:
                continue
            if node is not None and node.tensor_type.size <= MOST_ELEMENTS:
                self.nodes.append(node)
                return node
        return None


def _elementwise(m: Maker, op: Op) -> Node:
    assert op.scalar is not None
    arity = len(inspect.signature(op.infer).parameters)
    first = m.any_node()
    return op(first, *(m.same(first.tensor_type) for _ in range(arity - 1)))


def _select(m: Maker, op: Op) -> Node:
    a = m.any_node()
    return op(m.same(a.tensor_type.with_dtype(bool_)), a, m.same(a.tensor_type))


def _with_dtype(m: Maker, op: Op) -> Node:
    return op(m.any_node(), dtype=m.choose(DTYPES))


def _philox(m: Maker, op: Op) -> Node:
    type_ = TensorType(uint32, m.shape())
    return op(*(m.same(type_) for _ in range(4)))


def _iota(m: Maker, op: Op) -> Node:
    type_ = TensorType(m.choose((float32, int32, int64)), m.shape(m.integer(1, 4)))
    return op(type=type_, axis=m.integer(0, type_.ndim))


def _reduction(m: Maker, op: Op) -> Node:
    x = m.any_node()
    count = m.integer(0, len(x.shape) + 1)
    return op(x, axes=tuple(sorted(int(a) for a in m.rng.permutation(len(x.shape))[:count])))


def _reshape(m: Maker, op: Op) -> Node:
    x = m.any_node()
    factors = [p for s in x.shape for p in _prime_factors(s)]
    m.rng.shuffle(factors)
    shape = [1] * m.integer(1, 5)
    for f in factors:
        shape[m.integer(0, len(shape))] *= f
    return op(x, shape=tuple(shape) if factors or x.tensor_type.size == 1 else x.shape)


def _prime_factors(n: int) -> list[int]:
    result, p = [], 2
    while n > 1:
        while n % p == 0:
            result.append(p)
            n //= p
        p += 1
    return result if n else [0]


def _permute(m: Maker, op: Op) -> Node:
    x = m.any_node()
    return op(x, axes=tuple(int(a) for a in m.rng.permutation(len(x.shape))))


def _broadcast(m: Maker, op: Op) -> Node:
    x = m.any_node()
    ndim = len(x.shape) + m.integer(0, 3)
    dims = tuple(sorted(int(d) for d in m.rng.permutation(ndim)[: len(x.shape)]))
    sizes = dict(zip(dims, x.shape, strict=True))
    return op(x, shape=tuple(sizes[d] if d in sizes else m.choose(SIZES[1:8]) for d in range(ndim)), dims=dims)


def _slice(m: Maker, op: Op) -> Node:
    x = m.any_node()
    start = tuple(m.integer(0, s + 1) for s in x.shape)
    stop = tuple(m.integer(a, s + 1) for a, s in zip(start, x.shape, strict=True))
    return op(x, start=start, stop=stop, step=tuple(m.choose((1, 1, 2, 3)) for _ in x.shape))


def _flip(m: Maker, op: Op) -> Node:
    x = m.any_node()
    return op(x, axes=tuple(a for a in range(len(x.shape)) if m.rng.random() < 0.5))


def _pad(m: Maker, op: Op) -> Node:
    x = m.any_node()
    low, high = (tuple(m.integer(0, 3) for _ in x.shape) for _ in range(2))
    return op(x, m.same(TensorType(x.dtype, ())), low=low, high=high)


def _concat(m: Maker, op: Op) -> Node | None:
    x = m.like(lambda n: bool(n.shape))
    if x is None:
        return None
    axis = m.integer(0, len(x.shape))

    def fits(n: Node) -> bool:
        return n.dtype is x.dtype and len(n.shape) == len(x.shape) and _but(n.shape, axis) == _but(x.shape, axis)

    return op(*(m.like(fits) or x for _ in range(m.integer(1, 4))), axis=axis)


def _but(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _selector(m: Maker, shape: tuple[int, ...], size: int) -> Node:
    """An index tensor whose elements lie below `size`."""
    return m.source(TensorType(m.choose((int32, int64)), shape), size)


def _gather(m: Maker, op: Op) -> Node | None:
    x = m.like(lambda n: bool(n.shape) and 0 not in n.shape)
    if x is None:
        return None
    count = m.integer(1, min(len(x.shape), 2) + 1)
    axes = tuple(sorted(int(a) for a in m.rng.permutation(len(x.shape))[:count]))
    shape = m.shape(m.integer(0, 3))
    return op(x, *(_selector(m, shape, x.shape[a]) for a in axes), axes=axes)


def _scatter(m: Maker, op: Op) -> Node | None:
    x = m.like(lambda n: bool(n.shape) and 0 not in n.shape)
    if x is None:
        return None
    axis = m.integer(0, len(x.shape))
    shape = m.shape(m.integer(0, 2))
    updates = m.same(TensorType(x.dtype, shape + _but(x.shape, axis)))
    return op(x, updates, _selector(m, shape, x.shape[axis]), axes=(axis,))


def _pick(m: Maker, op: Op) -> Node | None:
    x = m.like(lambda n: bool(n.shape) and 0 not in n.shape)
    return None if x is None else op(x, _selector(m, x.shape[:-1], x.shape[-1]))


def _dot(m: Maker, op: Op) -> Node:
    """Random batch, contracted and free axes, in random order in both operands."""
    batch, shared, left, right = (
        [m.choose(SIZES[1:9]) for _ in range(m.integer(0, n))] for n in (2, 3, 3, 3)
    )  # fmt: skip
    dtype = m.choose((float32, float32, float32, float64, int32))
    operands, axes = [], []
    for free in (left, right):
        sizes = [*batch, *shared, *free]
        order = [int(i) for i in m.rng.permutation(len(sizes))]
        operands.append(m.same(TensorType(dtype, tuple(sizes[i] for i in order))))
        place = {i: n for n, i in enumerate(order)}
        axes.append(
            (tuple(place[i] for i in range(len(batch))), tuple(place[len(batch) + i] for i in range(len(shared))))
        )
    return op(*operands, batch=(axes[0][0], axes[1][0]), contract=(axes[0][1], axes[1][1]))


Sampler = Callable[[Maker, Op], Node | None]
BY_KIND: dict[Kind, Sampler] = {Kind.ELEMENTWISE: _elementwise, Kind.REDUCTION: _reduction}
SAMPLERS: dict[str, Sampler] = {
    "select": _select, "cast": _with_dtype, "bitcast": _with_dtype, "philox": _philox, "iota": _iota,
    "reshape": _reshape, "permute": _permute, "broadcast": _broadcast, "slice": _slice, "flip": _flip, "pad": _pad,
    "concat": _concat, "gather": _gather, "scatter_add": _scatter, "pick": _pick, "dot_general": _dot,
}  # fmt: skip


def drawable() -> list[Op]:
    """All ops that the fuzzer draws."""
    return [op for op in registry().values() if op.kind in DRAWN]


def random_case(seed: int, size: int = 14) -> Case:
    """A graph of about `size` ops with several outputs and, half of the time, variables with updates."""
    m = Maker(np.random.default_rng(seed))
    by_kind: dict[Kind, list[Op]] = {}
    for op in drawable():
        by_kind.setdefault(op.kind, []).append(op)
    for _ in range(m.integer(1, 4)):
        m.source(TensorType(m.choose(DTYPES), m.shape()))
    kinds = [Kind.ELEMENTWISE] * 4 + [Kind.VIEW] * 3 + [Kind.REDUCTION] * 2 + list(DRAWN)
    drawn = [n for _ in range(size) if (n := m.draw(m.choose(by_kind[m.choose(kinds)]))) is not None]
    drawn = drawn or [m.any_node()]
    outputs = [drawn[-1], *(m.choose(drawn) for _ in range(m.integer(0, 3)))]
    return _with_variables(m, outputs) if m.rng.random() < 0.5 else _case(m, outputs, {})


def _with_variables(m: Maker, outputs: list[Node]) -> Case:
    """Turn some inputs into variables that are assigned whatever node has their type."""
    updates: dict[Node, Node | None] = {}
    for source, _ in m.sources:
        if m.rng.random() < 0.4:
            updates[source] = m.like(lambda n, t=source.type: n.type == t) if m.rng.random() < 0.8 else None
    return _case(m, outputs, updates)


def _case(m: Maker, outputs: list[Node], updates: dict[Node, Node | None]) -> Case:
    """Sources in `updates` become variable nodes everywhere."""
    new: dict[Node, Node] = {
        s: ops.variable(type=s.tensor_type, name=s.attrs["name"]) if s in updates else s for s, _ in m.sources
    }
    results = [*outputs, *(u for u in updates.values() if u is not None)]
    from graphc.ir import topological_order, with_inputs

    for node in topological_order(results):
        if node not in new:
            new[node] = with_inputs(node, tuple(new[i] for i in node.inputs))
    graph = Graph(
        tuple(s for s, _ in m.sources if s not in updates),
        tuple(new[s] for s in updates),
        tuple(None if u is None else new[u] for u in updates.values()),
        tuple(new[o] for o in outputs),
    )
    arrays = dict(m.sources)
    return Case(graph, [arrays[s] for s in graph.inputs], [arrays[s] for s in updates])


def literal(array: np.ndarray) -> Node:
    return ops.constant(value=Literal(array))


def loss_of(graph: Graph, dtype: DType = float32) -> Node | None:
    """The sum of all elements of the graph's `dtype` results; None where there are none."""
    total: Node | None = None
    for node in dict.fromkeys(graph.results):
        if node.dtype is dtype and node.tensor_type.size:
            part = ops.sum(node, axes=tuple(range(len(node.shape))))
            total = part if total is None else ops.add(total, part)
    return total
