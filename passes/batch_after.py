"""Products that a loop only stacks are one product of all that it stacks instead, after the loop.

The mirror of `batch`: what slices get from the steps of a recurrent network's gradient. Graph in, graph out.

    %0 = scan(%w, %h, %xs) {body = (w, h, x) → …, dot(a, w)}   →   %0 = scan(%w, %h, %xs) {body = (w, h, x) → …, a}
    %1 = item(%0) {index = 1}                                      %1 = item(%0) {index = 1}
                                                                   %2 = dot(%1, %w)
"""

from __future__ import annotations

from typing import Any

from graphc import ops
from graphc.ir import Graph, Node, make_node, with_inputs
from graphc.ops.bodies import LoopInputs

from .batch import is_product_of_few, of_all, of_const


def batch_after(graph: Graph) -> Graph:
    """Move products that are only stacked out of the bodies of scans. One of which parts are stacked, and parts are
    wanted inside, is made one for each first; what nobody reads of one is not computed."""
    if not any(node.op is ops.scan for node in graph.nodes):
        return graph
    instead: dict[Node, dict[int, Node]] = {}  # by scan as it was: results that are products now

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is ops.scan:
            made, instead[node] = _without_products(node, inputs)
            return made
        if node.op is ops.item and node.inputs[0] in instead:
            found = instead[node.inputs[0]].get(node.attrs["index"])
            if found is not None:
                return found
        return with_inputs(node, inputs)

    return graph.rebuild(make)


def _without_products(node: Node, inputs: tuple[Node, ...]) -> tuple[Node, dict[int, Node]]:
    """The scan without them, and by the number of the result, what there is instead of it."""
    attrs = node.attrs
    count, length = attrs["carries"], attrs["length"]
    body = _in_columns(attrs["body"], attrs["consts"], count)
    inner: LoopInputs[Node] = LoopInputs.of(body.inputs, attrs["consts"], count)
    outer = LoopInputs.of(inputs, attrs["consts"], count, attrs["counted"])
    known = dict(zip(inner.consts, outer.consts, strict=True))
    stacks = list(body.outputs)
    moved = {}
    for number, y in enumerate(body.outputs[count:], count):
        product = _converted(y)
        alone = body.outputs.count(y) == 1 and not body.users[y] and len(body.users[product]) == int(product is not y)
        if alone and _may_leave(product, body, inner, length):
            stacks[number], moved[number] = product.inputs[0], y
    if not moved and body is attrs["body"]:
        return with_inputs(node, inputs), {}
    changed: dict[str, Any] = {**attrs, "body": Graph(body.inputs, (), (), tuple(stacks))}
    made = make_node(node.op, inputs, changed, node.loc)
    return made, {n: _of_all(y, ops.item(made, index=n), known) for n, y in moved.items()}


def _converted(y: Node) -> Node:
    """What a result was before its dtype was changed, as those of 16-bit floats' gradients are."""
    return y.inputs[0] if y.op is ops.cast else y


def _of_all(y: Node, stack: Node, known: dict[Node, Node]) -> Node:
    """The product of all rows in a stack, instead of a stack of products."""
    product = _converted(y)
    made = of_all(product, {product.inputs[0]: stack, **known})
    return made if product is y else with_inputs(y, (made,))


def _may_leave(product: Node, body: Graph, inner: LoopInputs[Node], length: int) -> bool:
    """Whether it is a product of few rows with a const, and what it is made of is stacked anyway, or hardly larger."""
    if not is_product_of_few(product, inner.consts, length) or product.inputs[0] in inner.consts:
        return False
    x = product.inputs[0]
    stacked = body.outputs[len(inner.carries) :]
    return x in stacked or x.tensor_type.nbytes <= 2 * product.tensor_type.nbytes


def _in_columns(body: Graph, consts: int, carries: int) -> Graph:
    """The body with products with a const of which only parts are read as a product for each part, where that is less
    work, or lets some leave."""
    found: dict[Node, Node] = {}  # by part: the product that it is of
    stacked = set(body.outputs[carries:])
    for node in body.nodes:
        parts = body.users[node]
        if node.op is not ops.dot_general or node in body.outputs or not parts:
            continue
        if of_const(node.inputs[1]) not in body.inputs[:consts] or not all(_is_of_columns(node, p) for p in parts):
            continue
        size = sum(p.tensor_type.size for p in parts)
        leaves = any(p in stacked and not body.users[p] for p in parts)
        if size < node.tensor_type.size or (leaves and size == node.tensor_type.size):
            found |= dict.fromkeys(parts, node)

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        return _columns(inputs[0], node) if node in found else with_inputs(node, inputs)

    return body.rebuild(make) if found else body


def _own(node: Node) -> list[int]:
    """The axes of a product's second input that are axes of the result, the last ones, in their order."""
    taken = (*node.attrs["contract"][1], *node.attrs["batch"][1])
    return [a for a in range(len(node.inputs[1].shape)) if a not in taken]


def _is_of_columns(node: Node, part: Node) -> bool:
    """Whether a slice of a product takes a part of the second input's axes and all of the first one's."""
    if part.op is not ops.slice or set(part.attrs["step"]) != {1}:
        return False
    first = len(node.shape) - len(_own(node))
    bounds = zip(part.attrs["start"], part.attrs["stop"], node.shape, strict=True)
    return all((a, b) == (0, n) for a, b, n in list(bounds)[:first])


def _columns(node: Node, part: Node) -> Node:
    """The product of which a part is taken, with that part of its second input."""
    x, w = node.inputs
    own = _own(node)
    first = len(node.shape) - len(own)
    start, stop = [0] * len(w.shape), list(w.shape)
    for place, axis in enumerate(own, first):
        start[axis], stop[axis] = part.attrs["start"][place], part.attrs["stop"][place]
    columns = ops.slice(w, start=tuple(start), stop=tuple(stop), step=(1,) * len(w.shape))
    return make_node(node.op, [x, columns], node.attrs, node.loc)
