"""Nodes without memory of their own: views, positions, numbers, and cheap functions of one stored tensor.

In: a graph. Out: which nodes every reader computes for itself, and the stored nodes behind each.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping

from graphc import ops
from graphc.costs import Costs
from graphc.ir import Graph, Node
from graphc.op import Kind

from .recipes import scalar_recipe

MOST_PIECES = 16  # an absorbed concat or pad is traced once for each piece, and so is one inside it


def absorbed(
    graph: Graph, results: Collection[Node], costs: Costs, aliases: Container[Node] = ()
) -> dict[Node, frozenset[Node]]:
    """The nodes that every reader traces through, each with the stored nodes that it is computed from. `results` are
    stored in any case, `aliases` never."""
    behind: dict[Node, frozenset[Node]] = {}
    pieces: dict[Node, int] = {}  # how many loads an element of an absorbed node may take
    for node in graph.nodes:
        if node in results or not _costs_nothing(node, behind, costs):
            continue
        loads = sum([pieces.get(i, 1) for i in node.inputs])
        if loads <= MOST_PIECES or node in aliases:
            pieces[node] = max(loads, 1)
            behind[node] = stored_behind(node, behind)
    return behind


def stored_behind(node: Node, behind: Mapping[Node, frozenset[Node]]) -> frozenset[Node]:
    """The stored nodes that a node reads, through those that are absorbed."""
    return frozenset().union(*[behind.get(i, (i,)) for i in node.inputs])


def _costs_nothing(node: Node, behind: Mapping[Node, frozenset[Node]], costs: Costs) -> bool:
    kind = node.op.kind
    if kind is not Kind.ELEMENTWISE:
        single = node.op is ops.constant and node.tensor_type.size == 1
        return single or kind is Kind.VIEW or kind is Kind.POSITION
    for i in node.inputs:
        if i not in behind and i.op.kind is not Kind.SOURCE:  # mostly so
            return False
    stored = stored_behind(node, behind)
    return (
        all(s.op.kind is Kind.SOURCE for s in stored)
        and sum(s.tensor_type.size > 1 for s in stored) <= 1
        and scalar_recipe(node).cost <= costs.cheap
    )
