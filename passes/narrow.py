"""What bodies are given: numbers that are known go into them, and what they are given twice, or carry without changing
it, they are given once.

Graph in, graph out; bodies are seen to after the graph around them, so that what is known reaches the innermost one.
"""

from __future__ import annotations

from typing import Any

from graphc import ops
from graphc.ir import Graph, Literal, Node, make_node, sub_graphs, with_inputs
from graphc.op import Kind
from graphc.ops.bodies import LoopInputs, substitute
from graphc.types import TensorType

from .rules.patterns import fill_of


def narrow(graph: Graph) -> Graph:
    """Give bodies less.

    %0 = broadcast(1.0) {shape = (9, 4)}                                    %0 = scan(%w, %h) {body = (w, h) →
    %1 = scan(%w, %w, %h, %xs, %0) {body = (a, b, h, x, g) →          →           h · w + w · 1.0, …, length = 9}
              h · a + b · g, …}
    """
    if not any(node.op.kind is Kind.CONTROL for node in graph.nodes):
        return graph
    instead: dict[Node, dict[int, Node]] = {}  # by control node as it was: what its results are now

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is ops.item and node.inputs[0] in instead:
            return instead[node.inputs[0]][node.attrs["index"]]
        made = with_inputs(node, inputs)
        if node.op is ops.scan or node.op is ops.while_loop:
            made, instead[node] = _Loop(made).narrowed()
        elif node.op is ops.switch:
            made = _narrow_switch(made)
        bodies = {name: narrow(body) for name, body in sub_graphs(made).items()}
        if all(body is made.attrs[name] for name, body in bodies.items()):
            return made
        inner = with_inputs(made, made.inputs, {**made.attrs, **bodies})
        if node in instead:  # the items that were made are those of the node before
            instead[node] = {i: _item_of(made, inner, item) for i, item in instead[node].items()}
        return inner

    return graph.rebuild(make)


def _item_of(before: Node, after: Node, item: Node) -> Node:
    return with_inputs(item, (after,)) if item.inputs[:1] == (before,) and item.op is ops.item else item


def _number(node: Node) -> Literal | None:
    """The scalar that all elements of a node are, if it is known."""
    scalar = fill_of(node)
    return None if scalar is None else scalar.attrs["value"]


def _filled(value: Literal, type_: TensorType) -> Node:
    """A node of its own that is this number everywhere."""
    scalar = ops.constant(value=value)
    return ops.broadcast(scalar, shape=type_.shape, dims=()) if type_.shape else scalar


class _Loop:
    """A loop that is given less, step by step. `known`: inputs of bodies that are something else instead."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.is_while = node.op is ops.while_loop
        self.body: Graph = node.attrs["body"]
        consts, carries = node.attrs["consts"], node.attrs["carries"]
        outer = LoopInputs.of(node.inputs, consts, carries, node.attrs.get("counted", False))
        inner: LoopInputs[Node] = LoopInputs.of(self.body.inputs, consts, carries)
        self.steps = outer.steps
        self.consts = list(zip(inner.consts, outer.consts, strict=True))
        self.carries = list(zip(inner.carries, outer.carries, self.body.outputs[:carries], strict=True))
        self.slices = list(zip(inner.slices, outer.slices, strict=True))
        self.results: dict[int, Node] = {}  # of those that are no longer the loop's
        self.known: dict[Node, Node] = {}
        self.state = list(range(carries))  # which results the carries are

    def narrowed(self) -> tuple[Node, dict[int, Node]]:
        """The loop, and what its results are."""
        before = self.node
        self._see_to_carries()
        self._see_to_slices()
        self._see_to_consts()
        if not self.known and len(self.state) == before.attrs["carries"]:
            count = len(before.type.items)  # type: ignore[union-attr]
            return before, {i: ops.item(before, index=i, where=before.loc) for i in range(count)}
        node = self._made()
        carries, stacks = before.attrs["carries"], len(self.body.outputs) - before.attrs["carries"]
        after = {old: new for new, old in enumerate(self.state)}
        if self.is_while:
            after[carries] = len(self.state)
        shift = int(self.is_while)
        after |= {carries + shift + i: len(self.state) + shift + i for i in range(stacks)}
        results = {old: ops.item(node, index=new, where=node.loc) for old, new in after.items()}
        return node, results | self.results

    def _see_to_carries(self) -> None:
        """A carry that does not change is a const, or a number that is known."""
        for j, (inner, outer, after) in list(zip(self.state, self.carries, strict=True)):
            number = _number(outer)
            if after is inner:
                self.consts.append((inner, outer))
            elif number is not None and _number(after) == number:
                self.known[inner] = _filled(number, inner.tensor_type)
            else:
                continue
            self.results[j] = outer
            place = self.state.index(j)
            del self.state[place], self.carries[place]

    def _see_to_slices(self) -> None:
        """Slices that are all the same are a const, or a number that is known."""
        left: dict[Node, Node] = {}
        for inner, outer in self.slices:
            number = _number(outer)
            if number is not None:
                self.known[inner] = _filled(number, inner.tensor_type)
            elif outer.op is ops.broadcast and 0 not in outer.attrs["dims"]:
                row = ops.input(type=outer.inputs[0].tensor_type, name=str(inner.attrs["name"]))
                self.consts.append((row, outer.inputs[0]))
                dims = tuple(d - 1 for d in outer.attrs["dims"])
                self.known[inner] = ops.broadcast(row, shape=inner.shape, dims=dims)
            elif outer in left:
                self.known[inner] = left[outer]
            else:
                left[outer] = inner
        self.slices = [(inner, outer) for outer, inner in left.items()]

    def _see_to_consts(self) -> None:
        left: dict[Node, Node] = {}
        for inner, outer in self.consts:
            number = _number(outer)
            if number is not None:
                self.known[inner] = _filled(number, inner.tensor_type)
            elif outer in left:
                self.known[inner] = left[outer]
            else:
                left[outer] = inner
        self.consts = [(inner, outer) for outer, inner in left.items()]

    def _made(self) -> Node:
        consts, carries = [n for n, _ in self.consts], [n for n, _, _ in self.carries]
        outputs = (*(after for _, _, after in self.carries), *self.body.outputs[self.node.attrs["carries"] :])
        attrs: dict[str, Any] = {**self.node.attrs, "consts": len(consts), "carries": len(carries)}
        inputs = (*consts, *carries, *(n for n, _ in self.slices))
        attrs["body"] = Graph(inputs, (), (), substitute(outputs, self.known))
        if self.is_while:
            attrs["cond"] = self._cond(self.node.attrs["cond"], (*consts, *carries))
        outer = [o for _, o in self.consts] + [o for _, o, _ in self.carries] + [o for _, o in self.slices]
        return make_node(self.node.op, [*self.steps, *outer], attrs, self.node.loc)

    def _cond(self, cond: Graph, inputs: tuple[Node, ...]) -> Graph:
        """The same changes for the condition, whose inputs are nodes of its own."""
        own = dict(zip(self.body.inputs, cond.inputs, strict=True))
        for node in inputs:
            own.setdefault(node, ops.input(type=node.tensor_type, name=str(node.attrs["name"])))
        known = {own[n]: substitute((new,), own)[0] for n, new in self.known.items() if n in own}
        return Graph(tuple(own[n] for n in inputs), (), (), substitute(cond.outputs, known))


def _narrow_switch(node: Node) -> Node:
    """Inputs that are numbers, or other inputs, again."""
    index, *outer = node.inputs
    first: dict[Node, int] = {}
    for i, n in enumerate(outer):
        if _number(n) is None:
            first.setdefault(n, i)
    if len(first) == len(outer):
        return node
    kept = list(first.values())
    attrs: dict[str, Any] = {}
    for name, branch in sub_graphs(node).items():
        known = {}
        for own, n in zip(branch.inputs, outer, strict=True):
            number = _number(n)
            if number is not None:
                known[own] = _filled(number, own.tensor_type)
            elif branch.inputs[first[n]] is not own:
                known[own] = branch.inputs[first[n]]
        attrs[name] = Graph(tuple(branch.inputs[i] for i in kept), (), (), substitute(branch.outputs, known))
    return make_node(node.op, [index, *(outer[i] for i in kept)], attrs, node.loc)
