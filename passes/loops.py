"""Loops and branches, as they are traced and differentiated, to such as are worth running. Graph in, graph out."""

from __future__ import annotations

from graphc import ops
from graphc.ir import Graph, Node, map_graphs, with_inputs
from graphc.ops.bodies import substitute

from .batch import batch
from .batch_after import batch_after
from .hoist import hoist
from .join import join
from .narrow import narrow


def loops(graph: Graph) -> Graph:
    """Put bodies of checkpoints in their places (`without_checkpoints`), and make one loop of several that do the same
    (`join`). Then give bodies less (`narrow`), so that numbers that are known do not count as work for one, and move
    work out that is the same each time (`hoist`), from inner loops to outer ones, and products of slices
    (`batch`), and of what is stacked (`batch_after`).
    """
    graph = narrow(join(map_graphs(graph, without_checkpoints)))
    return map_graphs(graph, lambda g: batch_after(batch(hoist(g))))


def without_checkpoints(graph: Graph) -> Graph:
    """The bodies of checkpoints in their places: only gradients know a difference, and those are there by now."""
    if not any(node.op is ops.checkpoint for node in graph.nodes):
        return graph
    results: dict[Node, tuple[Node, ...]] = {}

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is ops.checkpoint:
            body: Graph = node.attrs["body"]
            results[node] = substitute(body.outputs, dict(zip(body.inputs, inputs, strict=True)))
            return node
        if node.op is ops.item and node.inputs[0] in results:
            return results[node.inputs[0]][node.attrs["index"]]
        return with_inputs(node, inputs)

    return graph.rebuild(make)
