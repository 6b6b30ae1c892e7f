"""Loop-invariant work: what a body computes of nothing but its consts moves out of the loop, and is done once.

Graph in, graph out. What is worth it is decided as for `prepare`: reading a result must be no slower than computing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc import ops
from graphc.ir import Graph, Node, make_node, topological_order, with_inputs
from graphc.op import Kind
from graphc.ops.bodies import substitute

from .split_prepare import Choice

MAY_FAIL = frozenset({Kind.INDEXED, Kind.CONTROL})  # a bad index is an error only where it is met


def hoist(graph: Graph) -> Graph:
    """Move work out of the bodies of loops. Work that can fail stays in loops that may have no iteration.

    %0 = scan(%w, %h, %xs) {body = (w, h, x) → dot(h, permute(w)) + x, …}   →   %0 = permute(%w)
                                                                                %1 = scan(%0, %h, %xs) {body = …
    """
    if not any(node.op in (ops.scan, ops.while_loop) for node in graph.nodes):
        return graph

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is ops.scan or node.op is ops.while_loop:
            return _without_invariants(node, inputs)
        return with_inputs(node, inputs)

    return graph.rebuild(make)


def _without_invariants(node: Node, inputs: tuple[Node, ...]) -> Node:
    first = int(node.attrs.get("counted", False))
    count = node.attrs["consts"]
    outer = inputs[first : first + count]
    names = ["body", "cond"] if node.op is ops.while_loop else ["body"]
    begins = node.op is ops.scan and not first and node.attrs["length"] > 0
    kept = {name: _invariants(node.attrs[name], count, begins) for name in names}
    if not any(kept.values()):
        return with_inputs(node, inputs)
    moved: list[Node] = []
    for name in names:
        known = dict(zip(node.attrs[name].inputs, outer, strict=False))
        moved += substitute(kept[name], known)
    attrs: dict[str, Any] = dict(node.attrs)
    for name in names:
        own = [ops.input(type=n.tensor_type, name=f"invariant{i}") for i, n in enumerate(moved)]
        at = 0 if name == "body" else len(kept["body"])
        attrs[name] = _with_consts(node.attrs[name], count, own, kept[name], at)
    attrs["consts"] = count + len(moved)
    return make_node(node.op, [*inputs[: first + count], *moved, *inputs[first + count :]], attrs, node.loc)


def _with_consts(body: Graph, count: int, own: Sequence[Node], nodes: Sequence[Node], at: int) -> Graph:
    """The body with further consts, from number `at` on of which the nodes are."""
    outputs = substitute(body.outputs, dict(zip(nodes, own[at:], strict=False)))
    return Graph((*body.inputs[:count], *own, *body.inputs[count:]), (), (), outputs)


def _invariants(body: Graph, count: int, begins: bool) -> list[Node]:
    """What to compute once. `begins`: whether there is an iteration for sure."""
    found = Choice(body, frozenset(body.inputs[count:])).made()
    fixed = frozenset(body.inputs[:count])
    return [n for n in found if (begins or not _may_fail(n)) and not fixed.isdisjoint(topological_order((n,)))]


def _may_fail(node: Node) -> bool:
    return any(n.op.kind in MAY_FAIL for n in topological_order((node,)))
