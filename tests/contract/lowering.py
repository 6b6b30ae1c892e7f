"""Carries an op's lowering out on NumPy arrays, without fusion or kernels: what `reference` is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.index import Axis, Floor, Index, Mod
from graphc.ir import Node
from graphc.kernel import Const
from graphc.op import Kind, Monoid, Piece
from graphc.passes.recipes import running_recipes
from graphc.scalar import Builder, Scalar, record, to_bits
from graphc.types import DType, int64
from tests.kernel_interpreter import convert, run_recipe


def run_lowering(node: Node, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The node's value, by the lowering of its kind."""
    wide = [_widened(a, i.dtype) for a, i in zip(arrays, node.inputs, strict=True)]
    with np.errstate(all="ignore"):
        match node.op.kind:
            case Kind.ELEMENTWISE:
                assert node.op.scalar is not None
                dtypes = [i.dtype.computes_as for i in node.inputs]
                (result,) = run_recipe(record(node.op.name, node.op.scalar, dtypes, node.attrs), wide)
                result = np.broadcast_to(result, node.shape)
            case Kind.REDUCTION:
                result = _reduce(node, wide[0])
            case Kind.CUMULATIVE:
                result = _cumulate(node, wide)
            case Kind.POSITION:
                assert node.op.position is not None
                index, at = _domain(node.shape)
                position = node.op.position(index, **node.attrs)
                result = np.broadcast_to(_Reader(at, wide).value(position), node.shape)
            case Kind.VIEW | Kind.INDEXED if node.op.pull:
                result = _pull(node, wide)
            case Kind.INDEXED:
                result = _push(node, wide)
            case Kind.CONTRACTION:
                result = _contract(node, wide)
            case kind:
                raise AssertionError(kind)
    return convert(np.asarray(result), node.dtype).reshape(node.shape)


def _widened(x: np.ndarray, dtype: DType) -> np.ndarray:
    return x.astype(dtype.computes_as.numpy)


def _types(node: Node) -> list[Any]:
    return [i.type for i in node.inputs]


def _domain(shape: Sequence[int], prefix: str = "i") -> tuple[tuple[Index, ...], dict[Axis, np.ndarray]]:
    """An axis for each dimension: as indices, and their positions, shaped to broadcast against one another."""
    axes = [Axis(f"{prefix}{n}", size) for n, size in enumerate(shape)]
    grids = np.meshgrid(*(np.arange(s) for s in shape), indexing="ij", sparse=True)
    return tuple(map(Index.of, axes)), dict(zip(axes, grids, strict=True))


class _Reader:
    """Values of index expressions, and of the arrays' elements at them."""

    def __init__(self, at: dict[Axis, np.ndarray], arrays: Sequence[np.ndarray]) -> None:
        self.at = at
        self.arrays = arrays
        self.read_terms: dict[Axis, np.ndarray] = {}

    def value(self, index: Index) -> np.ndarray:
        return evaluate_index(index, {**self.at, **self.read_terms})

    def element(self, number: int, index: Sequence[Index], where: np.ndarray | bool = True) -> np.ndarray:
        """The elements at an index that lies inside wherever `where` holds."""
        array = self.arrays[number]
        positions = [np.asarray(self.value(i)) for i in index]
        for p, size in zip(positions, array.shape, strict=True):
            assert np.all(((p >= 0) & (p < size)) | ~np.asarray(where)), (
                "the lowering reads outside its input"
            )
        if 0 in array.shape:
            return np.zeros((), array.dtype)
        return array[tuple(np.clip(p, 0, s - 1) for p, s in zip(positions, array.shape, strict=True))]

    def read(self, number: int, index: tuple[Index, ...], size: int) -> Index:
        """`read` of an indexed op: the element stands in as an axis of its own."""
        term = Axis(f"read{len(self.read_terms)}", max(size, 2))
        self.read_terms[term] = self.element(number, index)
        return Index.of(term)


def evaluate_index(index: Index, at: dict[Axis, np.ndarray]) -> np.ndarray:
    """The value of an index expression at positions of its axes."""
    total = np.asarray(index.constant)
    for term, coefficient in index.terms:
        match term:
            case Axis():
                part = at[term]
            case Floor(index=inner, divisor=k):
                part = evaluate_index(inner, at) // k
            case Mod(index=inner, divisor=k):
                part = evaluate_index(inner, at) % k
            case _:
                raise AssertionError("reads are axes here")
        total = total + np.asarray(part, np.int64) * coefficient
    return total


def _inside(reader: _Reader, piece: Piece) -> np.ndarray:
    result = np.asarray(True)
    for bound in piece.bounds:
        position = reader.value(bound.index)
        result = result & (bound.low <= position) & (position < bound.high)
    return result


def _pull(node: Node, arrays: Sequence[np.ndarray]) -> np.ndarray:
    index, at = _domain(node.shape)
    reader = _Reader(at, arrays)
    arguments = (index, reader.read) if node.op.kind is Kind.INDEXED else (index,)
    pieces = node.op.pull(*arguments, *_types(node), **node.attrs)  # type: ignore[misc]
    result: Any = None
    for number, piece in reversed(list(enumerate(pieces))):
        inside = np.broadcast_to(_inside(reader, piece), node.shape)
        earlier = [np.broadcast_to(_inside(reader, p), node.shape) for p in pieces[:number]]
        counts = inside & ~np.any(earlier, axis=0) if earlier else inside
        value = np.broadcast_to(reader.element(piece.input, piece.index, inside), node.shape)
        result = value if result is None else np.where(counts, value, result)
    return result


def _push(node: Node, arrays: Sequence[np.ndarray]) -> np.ndarray:
    index, at = _domain(arrays[1].shape)
    reader = _Reader(at, arrays)
    place = node.op.push(index, reader.read, *_types(node), **node.attrs)  # type: ignore[misc]
    result = np.array(arrays[0])
    if arrays[1].size:
        positions = tuple(np.broadcast_to(reader.value(i), arrays[1].shape) for i in place)
        np.add.at(result, positions, arrays[1])
    return result


def _contract(node: Node, arrays: Sequence[np.ndarray]) -> np.ndarray:
    lowering = node.op.contraction
    assert lowering is not None
    sizes = lowering.sizes(*_types(node), **node.attrs)
    n = len(node.shape)
    both, at = _domain((*node.shape, *sizes))
    pieces = lowering.operands(both[:n], both[n:], *_types(node), **node.attrs)
    reader = _Reader(at, arrays)
    wide = np.float64 if node.dtype.is_float else node.dtype.numpy
    a, b = (
        np.where(inside := _inside(reader, p), reader.element(p.input, p.index, inside), 0).astype(wide)
        for p in pieces
    )
    product = np.broadcast_to(a * b, (*node.shape, *sizes))
    return product.sum(tuple(range(n, n + len(sizes))), dtype=wide).astype(node.dtype.computes_as.numpy)


def _reduce(node: Node, x: np.ndarray) -> np.ndarray:
    axes = node.attrs["axes"]
    kept = [a for a in range(x.ndim) if a not in axes]
    rows = x.transpose([*axes, *kept])
    sizes = rows.shape[: len(axes)]
    count = int(np.prod(sizes, dtype=np.int64))
    rows = rows.reshape((count, *(x.shape[a] for a in kept)))
    monoid = node.op.monoid
    assert monoid is not None
    place = np.broadcast_to(np.arange(count).reshape((count,) + (1,) * len(kept)), rows.shape)
    return MonoidRunner(monoid, node.inputs[0].dtype).reduce(rows, place)


def _cumulate(node: Node, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Places joined with those 1, 2, 4, … before them; the neutral state joins from the left at last."""
    assert node.op.running is not None
    parts = running_recipes(node.op, len(arrays), node.dtype.computes_as)
    rows = [np.moveaxis(a, node.attrs["axis"], 0) for a in arrays]
    state = [np.broadcast_to(run_recipe(lift, rows)[0], rows[0].shape) for lift in parts.lift]
    distance = 1
    while distance < len(rows[0]):
        joined = run_recipe(parts.combine, [s[:-distance] for s in state] + [s[distance:] for s in state])
        state = [np.concatenate([s[:distance], j]) for s, j in zip(state, joined, strict=True)]
        distance *= 2
    init = [np.full(rows[0].shape, np.array(c.value).astype(c.dtype.numpy)) for c in parts.init]
    return np.moveaxis(run_recipe(parts.finish, run_recipe(parts.combine, [*init, *state]))[0], 0, node.attrs["axis"])


class MonoidRunner:
    """A monoid's functions, recorded for one dtype and run on arrays."""

    def __init__(self, monoid: Monoid, dtype: DType) -> None:
        builder = Builder((dtype.computes_as, int64))
        state = monoid.lift(builder, *builder.params)
        self.dtypes = tuple(x.dtype for x in state)
        n = len(self.dtypes)
        self.lift = builder.finish("lift", state)
        builder = Builder(self.dtypes * 2)
        joined: tuple[Scalar, ...] = monoid.combine(builder, builder.params[:n], builder.params[n:])
        assert tuple(x.dtype for x in joined) == self.dtypes, "combine keeps the dtypes of the state"
        self.combine = builder.finish("combine", joined)
        builder = Builder(self.dtypes)
        self.finish = builder.finish("finish", [monoid.finish(builder, builder.params)])
        init = zip(monoid.init(dtype), self.dtypes, strict=True)
        self.init = [np.array(Const(to_bits(v, d), d).value).astype(d.numpy) for v, d in init]

    def reduce(self, rows: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Over the first axis; in halves, each joined with the neutral state from either side."""
        shape = rows.shape[1:]
        init = [np.broadcast_to(i, shape) for i in self.init]
        state = [np.broadcast_to(x, rows.shape) for x in run_recipe(self.lift, [rows, place])]
        while len(state[0]) > 1:
            half = len(state[0]) // 2
            both = run_recipe(self.combine, [s[half : 2 * half] for s in state] + [s[:half] for s in state])
            state = [np.concatenate([b, s[2 * half :]]) for b, s in zip(both, state, strict=True)]
        single = [s[0] for s in state] if len(state[0]) else init
        single = list(run_recipe(self.combine, [*init, *single]))
        single = list(run_recipe(self.combine, [*single, *init]))
        return run_recipe(self.finish, single)[0]
