"""Products of slices with what does not change are one product of all slices, before the loop.

A small product in each iteration reads the whole matrix for a few rows; one product of all rows reads it a few times.
A product of what a slice and something else are joined to, as recurrent cells have it, is first made one of each.
Graph in, graph out. It takes memory for the results of all iterations.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import reduce
from itertools import groupby
from typing import Any

from graphc import ops
from graphc.ir import Graph, Node, make_node, with_inputs
from graphc.ops.bodies import LoopInputs, substitute

FEW = 256  # rows, from which on a product is as fast by itself
MOST = 1 << 26  # bytes of results


def batch(graph: Graph) -> Graph:
    """Move products out of the bodies of scans.

    %0 = scan(%w, %h, %xs) {body = (w, h, x) → tanh(h + dot(x, w))}   →  %0 = dot(%xs, %w)
                                                                         %1 = scan(%h, %0) {body = (h, y) → tanh(h + y)}
    """
    if not any(node.op is ops.scan for node in graph.nodes):
        return graph

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        return _batched(node, inputs) if node.op is ops.scan else with_inputs(node, inputs)

    return graph.rebuild(make)


def _batched(node: Node, inputs: tuple[Node, ...]) -> Node:
    attrs = node.attrs
    body: Graph = attrs["body"]
    inner: LoopInputs[Node] = LoopInputs.of(body.inputs, attrs["consts"], attrs["carries"])
    body = _with_parts(body, inner, attrs["length"])
    outer = LoopInputs.of(inputs, attrs["consts"], attrs["carries"], attrs["counted"])
    known = dict(zip((*inner.consts, *inner.slices), (*outer.consts, *outer.slices), strict=True))
    found = [n for n in body.nodes if _is_small_product(n, inner, attrs["length"])]
    if not found or outer.steps:
        return with_inputs(node, inputs)
    rows = [ops.input(type=n.tensor_type, name=f"product{i}") for i, n in enumerate(found)]
    outputs = substitute(body.outputs, dict(zip(found, rows, strict=True)))
    products = [of_all(n, known) for n in found]
    changed = {**attrs, "body": Graph((*body.inputs, *rows), (), (), outputs)}
    return make_node(node.op, [*inputs, *products], changed, node.loc)


def _with_parts(body: Graph, inner: LoopInputs[Node], length: int) -> Graph:
    """The body with products of joined inputs, of which one is a slice, as sums of products.

    dot(concat(x, h), w)   →   dot(x, w[:n]) + dot(h, w[n:])
    """
    made: dict[Node, Node] = {}
    for node in body.nodes:
        if node.op is ops.dot_general and node.inputs[0].op is ops.concat and node.dtype.is_float:
            parts = _parts(node, inner)
            if any(_is_small_product(p, inner, length) for p in parts):
                made[node] = reduce(ops.add, parts)
    return Graph(body.inputs, (), (), substitute(body.outputs, made)) if made else body


def _parts(node: Node, inner: LoopInputs[Node]) -> list[Node]:
    """Products that a product of a concat is the sum of: one for each slice, and one for what is joined between two."""
    joined, w = node.inputs
    axis = joined.attrs["axis"]
    left, right = node.attrs["contract"]
    if axis not in left:
        return []
    rows = right[left.index(axis)]
    at, found = 0, []
    for _, group in groupby(joined.inputs, lambda x: x if x in inner.slices else None):
        some = list(group)
        x = some[0] if len(some) == 1 else ops.concat(*some, axis=axis)
        end = at + x.shape[axis]
        start = tuple(at * (a == rows) for a in range(len(w.shape)))
        stop = tuple(end if a == rows else n for a, n in enumerate(w.shape))
        part = ops.slice(w, start=start, stop=stop, step=(1,) * len(w.shape))
        found.append(make_node(node.op, [x, part], node.attrs, node.loc))
        at = end
    return found


def _is_small_product(node: Node, inner: LoopInputs[Node], length: int) -> bool:
    """Whether it is a product of few rows of a slice with a const."""
    return node.inputs[:1] != () and node.inputs[0] in inner.slices and is_product_of_few(node, inner.consts, length)


def is_product_of_few(node: Node, consts: Collection[Node], length: int) -> bool:
    """Whether it is a product of few rows, the free axes of its first input, with a const, or part of one; such that
    one product of all takes a bearable amount of memory."""
    if node.op is not ops.dot_general or of_const(node.inputs[1]) not in consts:
        return False
    contract, shared = node.attrs["contract"][0], node.attrs["batch"][0]
    rows = math.prod(n for axis, n in enumerate(node.inputs[0].shape) if axis not in contract)
    return not shared and length > 1 and rows < FEW and node.tensor_type.nbytes * length <= MOST


def of_const(node: Node) -> Node:
    """What a part is taken of."""
    while node.op is ops.slice:
        node = node.inputs[0]
    return node


def of_all(node: Node, known: Mapping[Node, Node]) -> Node:
    """The product of all rows that there are of its first input: their axis is the first of the result. `known`: what
    its inputs are outside of the loop, of the first one as a stack."""
    attrs: dict[str, Any] = dict(node.attrs)
    left, right = attrs["contract"]
    attrs["contract"] = tuple(axis + 1 for axis in left), right
    x, w = node.inputs
    return make_node(node.op, [known[x], substitute([w], known)[0]], attrs, node.loc)
