"""Finds scores: what lies between products of matrices and sums of it, larger than all that it is made of.

In: a graph. Out: regions. In attention, softmax(q kᵀ) v, the scores are as large as the square of the sequence is long,
and so are all nodes from q kᵀ to the product with v, and those of its gradient. Where nothing of that size leaves
a region, but what is summed over some of its axes, no such array has to be in memory: `cut_scores.py` makes kernels
of it. Nothing is known of softmax here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from graphc.dataclass import dataclass, field
from graphc.ir import Graph, Node, is_tuple
from graphc.op import Kind
from graphc.ops.scores import alike, goes_on, is_large, is_weight, scores

from .kernel_tracer import Indices, describe, types_of


class Link(NamedTuple):
    """A node of a region and a neighbour in it that was found before: `of` is an input of `node`, or the other way."""

    node: Node
    of: Node


@dataclass(eq=False)
class Region:
    """Nodes of the size of the scores. `seed`: the product that it was found by. `links`: its other nodes, each with a
    neighbour. `sums`: what sums it over some of its axes, in the order of the graph. `reason`: why it can't be kernels.
    """

    seed: Node
    nodes: set[Node]
    links: list[Link] = field(default_factory=list)
    sums: list[Node] = field(default_factory=list)
    reason: str = ""

    @property
    def products(self) -> list[Node]:
        """The products of matrices that are of its size."""
        return [n for n in self.nodes if n.op.kind is Kind.CONTRACTION]

    def own_indices(self, at: Indices) -> dict[Node, Indices]:
        """Where each node's elements lie, if those of the seed are at `at`: elements that are made of each other are at
        one place."""
        found = {self.seed: at}
        for node, of in self.links:
            where = found[of]
            found[node] = forwards(node, of, where) if of in node.inputs else backwards(of, node, where)
        return found


def forwards(view: Node, of: Node, at: Indices) -> Indices:
    """Where a view's elements lie, or those of an elementwise node, from those of what it is of."""
    return at if view.op.inverse is None else view.op.inverse(at, *types_of(view), **view.attrs)


def backwards(view: Node, of: Node, at: Indices) -> Indices:
    """The other way round."""
    if view.op.pull is None:
        return at
    (piece,) = view.op.pull(at, *types_of(view), **view.attrs)
    return piece.index


def find_regions(graph: Graph, results: Collection[Node]) -> Iterator[Region]:
    """The regions of a graph that products sum, also those with a `reason`. `results` are stored in any case."""
    found = scores(graph.nodes)
    if not found:
        return
    number = {n: i for i, n in enumerate(graph.nodes)}
    taken: set[Node] = set()
    for node in graph.nodes:
        if node in found and node not in taken and is_large(node):
            region = _grown(graph, found, node)
            taken |= region.nodes
            region.sums = sorted(_sums(graph, region), key=number.__getitem__)
            region.reason = _why_not(graph, region, results)
            if any(n.op.kind is Kind.CONTRACTION for n in region.sums) and any(map(is_weight, region.nodes)):
                yield region


def _grown(graph: Graph, found: Collection[Node], seed: Node) -> Region:
    """The region of a product: all scores that are made of one another."""
    region = Region(seed, {seed})
    pending = [seed]
    while pending:
        node = pending.pop()
        users = [u for u in graph.users[node] if goes_on(u)]
        for near in (*users, *(node.inputs if goes_on(node) else ())):
            if near in found and near not in region.nodes and alike(near, node):
                region.nodes.add(near)
                region.links.append(Link(near, node))
                pending.append(near)
    return region


def _sums(graph: Graph, region: Region) -> set[Node]:
    """What sums a region's nodes."""
    size = region.seed.tensor_type.size
    users = {u for n in region.nodes for u in graph.users[n]}
    return {u for u in users if u.op.kind in (Kind.REDUCTION, Kind.CONTRACTION) and u.tensor_type.size < size}


def _why_not(graph: Graph, region: Region, results: Collection[Node]) -> str:
    """Why a region can't be kernels: something of its size leaves it."""
    for node in region.nodes:
        if node in results:
            return f"{describe(node)} is a result"
        for user in graph.users[node]:
            if user not in region.nodes and user not in region.sums:
                return f"{user.op.name if is_tuple(user) else describe(user)} takes {describe(node)} whole"
    return ""
