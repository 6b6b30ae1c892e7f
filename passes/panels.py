"""Weights laid out in panels, once: a product reads what few rows are multiplied with as one stream.

In: an optimized graph. Out: one in which products read large factors that no call changes panel by panel, and the nodes
that are to lie in memory so. A layout is no concept of its own: other axes, in another order, are views, which index
arithmetic takes in.
"""

from __future__ import annotations

from graphc import ops
from graphc.costs import Costs
from graphc.ir import Graph, Node, located, with_inputs

from .split_prepare import invariant


def in_panels(graph: Graph, costs: Costs) -> tuple[Graph, frozenset[Node]]:
    """The graph with products' invariant right factors in panels of `costs.panel` columns, where these are larger than
    the cache, and these panels.

    Row by row, each tile of columns is a stream with a jump for each k, which is a page if rows are long: 4 × 2048 by
    2048² takes 590 µs in panels and 670 in rows (28 and 25 GB/s), 32 × 1024 by 1024² 445 and 565. What fits the cache
    is no faster, and one row alone goes along the rows anyway.

        %0 = dot_general(%x, @w) {contract = ((1,), (0,)), …} : float32[8, 2048]
                                                ↓
        %0 = reshape(@w) {shape = (2048, 32, 64)} : float32[2048, 32, 64]
        %1 = permute(%0) {axes = (1, 0, 2)} : float32[32, 2048, 64]
        %2 = dot_general(%x, %1) {contract = ((1,), (1,)), …} : float32[8, 32, 64]
        %3 = reshape(%2) {shape = (8, 2048)} : float32[8, 2048]
    """
    large = [n for n in graph.nodes if n.op is ops.dot_general and _is_better_in_panels(n, costs)]
    kept = invariant(graph) if large else frozenset()
    chosen = {n for n in large if n.inputs[1] in kept and n.inputs[0] not in kept}
    if not chosen:
        return graph, frozenset()
    panels: set[Node] = set()

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node not in chosen:
            return with_inputs(node, inputs)
        with located(node.loc):
            return _by_panels(*inputs, product=node, width=costs.panel, panels=panels)

    return graph.rebuild(make), frozenset(panels)


def _is_better_in_panels(node: Node, costs: Costs) -> bool:
    """Whether the right factor is a large matrix of whole panels, and there are rows to multiply it with."""
    (a, b), (contracted, k) = node.inputs, node.attrs["contract"]
    is_matrix = len(b.shape) == 2 and len(k) == 1 and not node.attrs["batch"][1]
    if not costs.panel or not is_matrix or node.dtype.computes_as is not b.dtype:
        return False
    columns, rows = b.shape[1 - k[0]], a.tensor_type.size // max(1, a.shape[contracted[0]])
    is_large = b.tensor_type.nbytes > costs.cache
    return rows > 1 and is_large and columns % costs.panel == 0 and columns > costs.panel


def _by_panels(a: Node, b: Node, *, product: Node, width: int, panels: set[Node]) -> Node:
    """The product of a and of the panels of b, which are noted."""
    contracted, (k,) = product.attrs["contract"]
    depth, count = b.shape[k], b.shape[1 - k] // width
    split = ops.reshape(b, shape=(count, width, depth) if k else (depth, count, width))
    in_order = ops.permute(split, axes=(0, 2, 1) if k else (1, 0, 2))
    panels.add(in_order)
    by_panels = ops.dot_general(a, in_order, **{**product.attrs, "contract": (contracted, (1,))})
    return ops.reshape(by_panels, shape=product.shape)
