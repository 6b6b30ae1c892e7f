"""Dead code: graph in, graph out without work that no result needs.

A graph reaches its nodes from its results, so a node that nothing needs is gone by construction. What is left is
state: an update that stores what the variable holds already; and results of loops and branches that nobody asks for,
with what bodies compute, and take, for them alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc import ops
from graphc.dataclass import dataclass
from graphc.ir import Graph, Node, make_node, sub_graphs, topological_order, with_inputs
from graphc.op import Kind
from graphc.ops.bodies import LoopInputs


def dce(graph: Graph) -> Graph:
    """Drop updates that change nothing, and results, inputs and outputs of bodies that nothing needs. Inputs and
    variables of the graph stay: callers count on their positions.

    update @w = @w             →    (nothing)

    %0 = scan(%c, %h, %xs) {consts = 1, body = (c, h, x) → (exp(h), sin(x)), …}   →   %0 = scan(%xs) {consts = 0, …
    %1 = item(%0) {index = 1}                                                         %1 = item(%0) {index = 0}
    """
    if has_dead_updates(graph):
        updates = (None if u is v else u for v, u in zip(graph.variables, graph.updates, strict=True))
        graph = Graph(graph.inputs, graph.variables, tuple(updates), graph.outputs)
    while (fewer := _without_dead_results(graph)) is not graph:
        graph = fewer
    return graph


def has_dead_updates(graph: Graph) -> bool:
    return any(u is v for v, u in zip(graph.variables, graph.updates, strict=True))


def has_dead_code(graph: Graph) -> bool:
    return has_dead_updates(graph) or _without_dead_results(graph) is not graph


def _without_dead_results(graph: Graph) -> Graph:
    """One walk from results to inputs, and one into the bodies of what is left; the graph itself if nothing is dead."""
    if not any(node.op.kind is Kind.CONTROL for node in graph.nodes):
        return graph
    needed, shorter = _needed(graph)
    changed = False

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        nonlocal changed
        if node not in needed:
            return node
        if node in shorter:
            changed = True
            short = shorter[node]
            return make_node(node.op, [inputs[i] for i in short.inputs], short.attrs, node.loc)
        if node.op is ops.item and node.inputs[0] in shorter:
            places = shorter[node.inputs[0]].places
            return make_node(node.op, inputs, {"index": places[node.attrs["index"]]}, node.loc)
        bodies = {name: _without_dead_results(body) for name, body in sub_graphs(node).items()}
        if any(body is not node.attrs[name] for name, body in bodies.items()):
            changed = True
            return with_inputs(node, inputs, {**node.attrs, **bodies})
        return with_inputs(node, inputs)

    fewer = graph.rebuild(make)
    return fewer if changed else graph


def _needed(graph: Graph) -> tuple[set[Node], dict[Node, _Shorter]]:
    """The nodes that results need, and control nodes of which less is needed."""
    needed: set[Node] = set(graph.results)
    used: dict[Node, set[int]] = {}
    shorter: dict[Node, _Shorter] = {}
    for node in reversed(graph.nodes):
        if node not in needed:
            continue
        inputs = node.inputs
        if node.op is ops.item:
            used.setdefault(node.inputs[0], set()).add(node.attrs["index"])
        elif node in used and (short := _shorter(node, used[node])) is not None:
            shorter[node] = short
            inputs = tuple(node.inputs[i] for i in short.inputs)
        needed.update(inputs)
    return needed, shorter


@dataclass(frozen=True)
class _Shorter:
    """A control node with less: which inputs are left, its attrs, and where results are now, by where they were."""

    inputs: tuple[int, ...]
    attrs: dict[str, Any]
    places: dict[int, int]


def _shorter(node: Node, used: set[int]) -> _Shorter | None:
    """Without what nobody needs of it; None where all is needed."""
    found = None
    if node.op is ops.scan or node.op is ops.while_loop:
        found = _shorter_loop(node, used)
    elif node.op is ops.switch:
        found = _shorter_switch(node, used)
    if found is None or (len(found.inputs) == len(node.inputs) and len(found.places) == _count(node)):
        return None
    return found


def _count(node: Node) -> int:
    return len(node.type.items)  # type: ignore[union-attr]


def _shorter_loop(node: Node, used: set[int]) -> _Shorter:
    """A carry is needed if its last value is, or if a value that is needed depends on it in any iteration."""
    body: Graph = node.attrs["body"]
    consts, carries = node.attrs["consts"], node.attrs["carries"]
    inner: LoopInputs[Node] = LoopInputs.of(body.inputs, consts, carries)
    is_while = node.op is ops.while_loop
    first = carries + is_while  # of the stacks among the results
    rows = [i - first for i in sorted(used) if i >= first]
    live = {i for i in used if i < carries}
    looked = _reached(node.attrs["cond"].outputs) if is_while else set()
    cond_inputs = node.attrs["cond"].inputs if is_while else ()
    live |= {j for j in range(carries) if is_while and cond_inputs[consts + j] in looked}
    while True:
        reached = _reached([*(body.outputs[j] for j in sorted(live)), *(body.outputs[carries + i] for i in rows)])
        more = {j for j, n in enumerate(inner.carries) if n in reached} - live
        if not more:
            break
        live |= more
    kept = [i for i, n in enumerate(inner.consts) if n in reached or (is_while and cond_inputs[i] in looked)]
    state = sorted(live)
    slices = [i for i, n in enumerate(inner.slices) if n in reached]
    numbers = [*kept, *(consts + j for j in state), *(consts + carries + i for i in slices)]
    outputs = (*(body.outputs[j] for j in state), *(body.outputs[carries + i] for i in rows))
    attrs = {
        **node.attrs, "consts": len(kept), "carries": len(state),
        "body": Graph(tuple(body.inputs[i] for i in numbers), (), (), outputs),
    }  # fmt: skip
    places = {j: n for n, j in enumerate(state)}
    if is_while:
        cond = node.attrs["cond"]
        attrs["cond"] = Graph(tuple(cond.inputs[i] for i in numbers), (), (), cond.outputs)
        places[carries] = len(state)
    places |= {first + i: len(state) + is_while + n for n, i in enumerate(rows)}
    steps = int(node.attrs.get("counted", False))
    return _Shorter((*range(steps), *(steps + i for i in numbers)), attrs, places)


def _shorter_switch(node: Node, used: set[int]) -> _Shorter:
    branches = sub_graphs(node)
    results = sorted(used)
    reached = {name: _reached([b.outputs[i] for i in results]) for name, b in branches.items()}
    numbers = [
        i for i in range(len(node.inputs) - 1) if any(b.inputs[i] in reached[name] for name, b in branches.items())
    ]
    attrs = {
        name: Graph(tuple(b.inputs[i] for i in numbers), (), (), tuple(b.outputs[i] for i in results))
        for name, b in branches.items()
    }
    return _Shorter((0, *(1 + i for i in numbers)), attrs, {i: n for n, i in enumerate(results)})


def _reached(outputs: Sequence[Node]) -> set[Node]:
    return set(topological_order(outputs))
