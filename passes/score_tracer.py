"""Traces sums of scores at symbolic indices: several products and reductions, each over axes of its own, as values.

In: a region, and those of its sums that one kernel is to make. Out: values. The axes of the kernel are those of the
region, and for each product more: those that it sums over, or those that its other operand adds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from graphc.index import Axis, Bound, Index
from graphc.ir import Node
from graphc.kernel import Dot, Reduce, Value, sorted_axes
from graphc.op import Kind, Piece

from .kernel_tracer import CannotFuse, Domain, Indices, KernelTracer, contracted_sizes, describe, types_of
from .scores import Region, forwards


class ScoreTracer(KernelTracer):
    """`inside`: what it computes, of the region, its sums, and what lies between them and behind them. Beyond that it
    computes what is elementwise and varies along both operands of the scores, such as masks. `behind`: nodes that every
    reader computes for itself."""

    def __init__(
        self, domain: Domain, region: Region, inside: Collection[Node], behind: Mapping[Node, frozenset[Node]]
    ) -> None:
        super().__init__(domain, {*region.nodes, *inside})
        self.region = region
        self.behind = behind
        self.own_indices.update(region.own_indices(self.at))
        self.more: list[Axis] = []  # axes that are not the region's
        self._own: dict[Node, tuple[Axis, ...]] = {}
        first, second = (i.tensor_type.ndim for i in region.seed.inputs)
        summed = len(contracted_sizes(region.seed))
        batches = first + second - 2 * summed - len(region.seed.shape)
        middle = first - summed
        self._sides = tuple(
            frozenset[Axis]().union(*(i.axes for i in part)) for part in (self.at[batches:middle], self.at[middle:])
        )

    # What is computed here

    def _trace(self, node: Node, index: Indices, bounds: tuple[Bound, ...]) -> int:
        if node not in self.members and (node in self.behind or self._is_beside(node, index)):
            self.members.add(node)
        return super()._trace(node, index, bounds)

    def _is_beside(self, node: Node, index: Indices) -> bool:
        if node.op.kind is not Kind.ELEMENTWISE:
            return False
        axes = frozenset[Axis]().union(*(i.axes for i in index))
        return all(axes & side for side in self._sides)

    # Sums

    def place(self, node: Node) -> Indices:
        """The index at which a sum's elements are computed, or those of what is elementwise of one that has a place."""
        found = self.own_indices.get(node)
        if found is None:
            if node.op.kind is Kind.REDUCTION:
                at, axes = self.own_indices[node.inputs[0]], node.attrs["axes"]
                found = tuple(index for d, index in enumerate(at) if d not in axes)
            elif node.op.kind is Kind.ELEMENTWISE:
                found = next(self.own_indices[i] for i in node.inputs if i in self.own_indices)
            elif node.op.kind is Kind.VIEW:
                found = forwards(node, node.inputs[0], self.own_indices[node.inputs[0]])
            else:
                found, _, _ = self._outer(node)
            self.own_indices[node] = found
        return found

    def over(self, node: Node) -> frozenset[Axis]:
        """The axes of the region that a sum runs over."""
        if node.op.kind is Kind.REDUCTION:
            return frozenset(self.reduced_axes(node)[0])
        _, contracted, _ = self._outer(node)
        return frozenset[Axis]().union(*(i.axes for i in contracted))

    def _reduction(self, node: Node, index: Indices, bounds: tuple[Bound, ...]) -> int:
        if bounds or index != self.place(node):
            raise CannotFuse(f"{describe(node)} is used at another index than it is computed at")
        over, _ = self.reduced_axes(node)
        return self.reduced(node, self._ordered(over))

    def _contraction(self, node: Node, index: Indices, bounds: tuple[Bound, ...]) -> int:
        if bounds:
            raise CannotFuse(f"{describe(node)} is used inside a pad or concat")
        lowering = node.op.contraction
        assert lowering is not None
        if node in self.region.nodes:
            axes = self._axes_of(node, contracted_sizes(node))
            pieces = lowering.operands(index, tuple(map(Index.of, axes)), *types_of(node), **node.attrs)
        else:
            place, contracted, pieces = self._outer(node)
            if index != place:
                raise CannotFuse(f"{describe(node)} is used at another index than it is computed at")
            axes = self._ordered(frozenset[Axis]().union(*(i.axes for i in contracted)))
        return self.product(node, pieces, tuple(a for a in axes if a.size != 1))

    def _outer(self, node: Node) -> tuple[Indices, Indices, tuple[Piece, Piece]]:
        """Of a product with scores: the index of its elements, that of what it sums over, and its operands. They follow
        from where the scores are; the other operand's free axes are new ones."""
        sides = [side for side, i in enumerate(node.inputs[:2]) if i in self.region.nodes]
        if len(sides) != 1:
            raise CannotFuse(f"{describe(node)} is a product of scores with scores")
        lowering, sizes = node.op.contraction, contracted_sizes(node)
        assert lowering is not None
        axes = self._axes_of(node, (*node.shape, *sizes))
        index, contracted = (tuple(map(Index.of, part)) for part in (axes[: len(node.shape)], axes[len(node.shape) :]))
        pieces = lowering.operands(index, contracted, *types_of(node), **node.attrs)
        table: dict[Axis, Index] = {}
        for own, own_index in zip(pieces[sides[0]].index, self.own_indices[node.inputs[sides[0]]], strict=True):
            match own.terms:
                case ((Axis() as axis, 1),) if not own.constant:
                    table[axis] = own_index
                case () if not own.constant:
                    pass
                case _:
                    raise CannotFuse(f"{describe(node)} goes along its scores in steps")
        return (
            tuple(i.substitute(table) for i in index),
            tuple(i.substitute(table) for i in contracted),
            (_moved(pieces[0], table), _moved(pieces[1], table)),
        )

    # Axes

    def indices(self) -> list[Index]:
        """All that values are indexed by."""
        return [i for v in self.values for i in v.indices]

    def _axes_of(self, node: Node, sizes: tuple[int, ...]) -> tuple[Axis, ...]:
        found = self._own.get(node)
        if found is None:
            number = len(self._own)
            found = self._own[node] = tuple(Axis(f"x{number}_{n}", size) for n, size in enumerate(sizes))
            self.more += found
        return found

    def _ordered(self, axes: Collection[Axis]) -> tuple[Axis, ...]:
        return tuple(a for a in (*self.axes, *self.more) if a in axes)

    def groups(
        self, values: tuple[Value, ...], used: frozenset[Axis]
    ) -> tuple[tuple[Axis, ...], tuple[Axis, ...], tuple[Axis, ...]]:
        reduced = frozenset(a for v in values if isinstance(v, Reduce | Dot) for a in v.axes)
        return sorted_axes(self._ordered(used | reduced), values)


def _moved(piece: Piece, table: Mapping[Axis, Index]) -> Piece:
    bounds = tuple(Bound(b.index.substitute(table), b.low, b.high) for b in piece.bounds)
    return Piece(piece.input, tuple(i.substitute(table) for i in piece.index), bounds)
