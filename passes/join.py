"""Loops over the same inputs that do the same, and choices by the same index, are made one.

A gradient makes the loop that it goes back through once more, with what is to be saved as further results: here both
become one again. Graph in, graph out; bodies are seen to after the graph around them.
"""

from __future__ import annotations

from collections.abc import Hashable

from graphc import ops
from graphc.ir import Graph, Node, make_node, sub_graphs, with_inputs
from graphc.op import Kind
from graphc.ops.bodies import substitute
from graphc.text import attrs_key, canonical_hash

from .cse import cse


def join(graph: Graph) -> Graph:
    """Make one control node of those that differ only in their results.

    %0 = scan(%x, %xs) {body = (h, x) → h'}                %0 = scan(%x, %xs) {body = (h, x) → h', saved}
    %1 = item(%0) {index = 0}                         →    %1 = item(%0) {index = 0}
    %2 = scan(%x, %xs) {body = (h, x) → h', saved}         %2 = item(%0) {index = 1}
    %3 = item(%2) {index = 1}
    """
    if not any(node.op.kind is Kind.CONTROL for node in graph.nodes):
        return graph
    graph = cse(graph)
    groups = [_Group(members) for members in _alike(graph) if len(members) > 1]
    if groups:
        graph = cse(_joined(graph, {node: group for group in groups for node in group.members}))

    def inside(node: Node, inputs: tuple[Node, ...]) -> Node:
        bodies = {name: join(body) for name, body in sub_graphs(node).items()}
        return with_inputs(node, inputs, {**node.attrs, **bodies} if bodies else None)

    return graph.rebuild(inside)


def _alike(graph: Graph) -> list[list[Node]]:
    """The control nodes, those together that can be one."""
    first: dict[Hashable, list[Node]] = {}
    for node in graph.nodes:
        if node.op in (ops.scan, ops.while_loop, ops.switch):
            plain = {name: value for name, value in node.attrs.items() if not isinstance(value, Graph)}
            first.setdefault((node.op, node.inputs, attrs_key(plain)), []).append(node)
    groups: dict[Hashable, list[Node]] = {}
    for key, nodes in first.items():
        for node in nodes:
            groups.setdefault((key, _carried(node) if len(nodes) > 1 else ""), []).append(node)
    return list(groups.values())


def _carried(node: Node) -> Hashable:
    """Equal for loops that carry the same, of those with the same inputs."""
    if node.op is ops.switch:
        return len(sub_graphs(node))
    body, count = node.attrs["body"], node.attrs["carries"]
    carried = canonical_hash(Graph(body.inputs, (), (), body.outputs[:count]))
    return carried, canonical_hash(node.attrs["cond"]) if node.op is ops.while_loop else ""


def _joined(graph: Graph, groups: dict[Node, _Group]) -> Graph:
    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node in groups:
            return groups[node].node(inputs)
        if node.op is ops.item and node.inputs[0] in groups:
            index = groups[node.inputs[0]].places[node.inputs[0]][node.attrs["index"]]
            return make_node(node.op, inputs, {"index": index}, node.loc)
        return with_inputs(node, inputs)

    return graph.rebuild(make)


class _Group:
    """Control nodes that become one. `places`: for each of them, which results of the one its results are."""

    def __init__(self, members: list[Node]) -> None:
        self.members = members
        self.places: dict[Node, list[int]] = {}
        self._made: Node | None = None
        first = members[0]
        names = list(sub_graphs(first)) if first.op is ops.switch else ["body"]
        own: dict[str, Graph] = {name: first.attrs[name] for name in names}
        columns = list(zip(*(own[name].outputs for name in names), strict=True))
        fixed = 0 if first.op is ops.switch else first.attrs["carries"]
        for member in members:
            found = []
            results = [_outputs_on(own[name], member.attrs[name]) for name in names]
            for number, column in enumerate(zip(*results, strict=True)):
                place = number
                if number >= fixed:
                    if column not in columns[fixed:]:
                        columns.append(column)
                    place = columns.index(column, fixed)
                found.append(place)
            self.places[member] = self._with_steps(found, fixed) if first.op is ops.while_loop else found
        rows = zip(*columns, strict=True) if columns else ((),) * len(names)
        graphs = {name: Graph(own[name].inputs, (), (), tuple(row)) for name, row in zip(names, rows, strict=True)}
        self.attrs = {**first.attrs, **graphs}

    @staticmethod
    def _with_steps(places: list[int], carries: int) -> list[int]:
        """The count of steps comes between what is carried and what is stacked."""
        return [*places[:carries], carries, *(p + 1 for p in places[carries:])]

    def node(self, inputs: tuple[Node, ...]) -> Node:
        """The one, for these inputs; made once."""
        if self._made is None:
            first = self.members[0]
            self._made = make_node(first.op, inputs, self.attrs, first.loc)
        return self._made


def _outputs_on(base: Graph, other: Graph) -> tuple[Node, ...]:
    """The outputs of another graph, on the inputs of this one."""
    if base.inputs == other.inputs:
        return other.outputs
    return substitute(other.outputs, dict(zip(other.inputs, base.inputs, strict=True)))
