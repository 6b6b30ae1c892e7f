"""Random graphs with loops and branches: bodies are drawn as graphs are, of what is around them.

In: a seed. Out: a graph with arrays for its sources.
"""

from __future__ import annotations

import numpy as np

from graphc import ops
from graphc.ir import Graph, Node
from graphc.ops.branches import branch_attrs
from graphc.types import TensorType, float32, int32

from .maker import SMALL, Maker
from .random_graphs import DRAWN, Case, case_of, drawable
from .samplers import draw, draw_row

DEPTH = 2  # of bodies in one another
LENGTHS = (0, 1, 2, 3, 4)


def random_control_case(seed: int, size: int = 4) -> Case:
    """A graph of a few ops around one or two control ops, which may have others in their bodies."""
    m = Maker(np.random.default_rng(seed))
    for _ in range(m.integer(1, 4)):
        m.source(TensorType(m.dtype(), m.shape()))
    m.source(TensorType(float32, (m.choose(SMALL), m.choose(SMALL))))
    made: list[Node] = []
    for _ in range(m.integer(1, 3)):
        draw_some(m, m.integer(0, size))
        made += draw_control(m, DEPTH)
    draw_some(m, m.integer(0, size))
    outputs = [m.choose(made), *(m.choose(m.nodes) for _ in range(m.integer(0, 3))), m.nodes[-1]]
    return case_of(m, outputs)


def draw_some(m: Maker, count: int) -> None:
    """So many ops of any kind."""
    choices = drawable()
    by_kind = {kind: [op for op in choices if op.kind is kind] for kind in DRAWN}
    for _ in range(count):
        if m.chance(0.2):
            draw_row(m)
        else:
            draw(m, m.choose(by_kind[m.choose(DRAWN)]))


def draw_control(m: Maker, depth: int) -> list[Node]:
    """The results of one control op."""
    node = m.choose((_scan, _scan, _while, _switch, _checkpoint))(m, depth)
    results = [ops.item(node, index=i) for i in range(len(node.type.items))]
    m.nodes += results
    return results


class _Body:
    """A body that is being drawn, from some of the nodes around it, and from sources of its own."""

    def __init__(self, m: Maker, given: list[Node], depth: int) -> None:
        self.m = m
        self.given = given  # nodes around it that it takes
        self.inner = Maker(m.rng)
        self.inputs = [self.add(n.tensor_type) for n in given]
        self.depth = depth

    def add(self, type_: TensorType) -> Node:
        node = ops.input(type=type_, name=f"i{len(self.inner.nodes)}")
        self.inner.nodes.append(node)
        return node

    def fill(self) -> None:
        """Draw what it computes."""
        draw_some(self.inner, self.m.integer(1, 5))
        if self.depth and self.m.chance(0.4):
            draw_control(self.inner, self.depth - 1)
            draw_some(self.inner, self.m.integer(0, 3))

    def of_type(self, type_: TensorType, otherwise: Node) -> Node:
        """A result of that type: one that was drawn, if there is one."""
        return self.inner.like(lambda n: n.type == type_ and n not in self.inputs) or otherwise

    def some(self) -> list[Node]:
        return [self.m.choose(self.inner.nodes) for _ in range(self.m.integer(0, 3))]

    def close(self) -> tuple[list[Node], list[Node]]:
        """Sources that were drawn inside, and what stands for them outside."""
        outside = []
        for source, array in self.inner.sources:
            outside.append(ops.input(type=source.tensor_type, name=f"x{len(self.m.sources)}"))
            self.m.sources.append((outside[-1], array))
        return [source for source, _ in self.inner.sources], outside


def _around(m: Maker) -> list[Node]:
    return [m.choose(m.nodes) for _ in range(m.integer(0, 3))]


def _scan(m: Maker, depth: int) -> Node:
    length = m.choose(LENGTHS)
    init = [m.choose(m.nodes) for _ in range(m.integer(0, 3))]
    rows = [m.same(TensorType(m.dtype(), (length, *m.shape(m.integer(0, 3))))) for _ in range(m.integer(0, 3))]
    body = _Body(m, _around(m), depth)
    carries = [body.add(n.tensor_type) for n in init]
    slices = [body.add(n.tensor_type.with_shape(n.shape[1:])) for n in rows]
    if not body.inner.nodes:
        body.add(TensorType(float32, ()))
        body.given.append(m.source(TensorType(float32, ())))
        body.inputs = list(body.inner.nodes)
    body.fill()
    after = [body.of_type(c.tensor_type, c) for c in carries]
    made = body.some() or ([] if after else [body.inner.nodes[-1]])
    own, outside = body.close()
    counted = m.chance(0.2)
    steps = [ops.array_constant(np.asarray(m.integer(-1, length + 2), np.int64))] if counted else []
    graph = Graph((*body.inputs, *own, *carries, *slices), (), (), (*after, *made))
    return ops.scan(
        *steps, *body.given, *outside, *init, *rows, body=graph, consts=len(body.given) + len(own),
        carries=len(init), length=length, reverse=m.chance(0.5), counted=counted,
    )  # fmt: skip


def _while(m: Maker, depth: int) -> Node:
    """A loop that counts, to a limit that is known, or that a source says."""
    init = [m.choose(m.nodes) for _ in range(m.integer(1, 3))]
    body = _Body(m, _around(m), depth)
    carries = [body.add(n.tensor_type) for n in init]
    counter = ops.input(type=TensorType(int32, ()), name="counter")
    body.fill()
    after = [body.of_type(c.tensor_type, c) for c in carries]
    most = m.choose(LENGTHS) if m.chance(0.6) else None
    made = body.some() if most is not None else []
    own, outside = body.close()
    limit = m.source(TensorType(int32, ()), 5)
    bound = ops.input(type=TensorType(int32, ()), name="limit")
    fixed = (*body.inputs, *own, bound)
    one = ops.scalar_constant(1, int32)
    graph = Graph((*fixed, *carries, counter), (), (), (*after, ops.add(counter, one), *made))
    others = [ops.input(type=n.tensor_type, name="c") for n in graph.inputs]
    cond = Graph(tuple(others), (), (), (ops.less(others[-1], others[len(fixed) - 1]),))
    zero = ops.scalar_constant(0, int32)
    return ops.while_loop(
        *body.given, *outside, limit, *init, zero, cond=cond, body=graph, consts=len(fixed),
        carries=len(init) + 1, max_steps=most,
    )  # fmt: skip


def _switch(m: Maker, depth: int) -> Node:
    given = [m.choose(m.nodes) for _ in range(m.integer(1, 4))]
    types = [m.choose(given).tensor_type for _ in range(m.integer(1, 3))]
    bodies = [_Body(m, given, depth) for _ in range(m.integer(1, 4))]
    sources = []
    for body in bodies:
        body.fill()
        sources.append(body.close())
    outside = [n for _, o in sources for n in o]
    branches = []
    for number, body in enumerate(bodies):
        own = [
            i if n == number else ops.input(type=i.tensor_type, name="other")
            for n, (inner, _) in enumerate(sources)
            for i in inner
        ]
        results = [
            body.of_type(t, body.inputs[next(i for i, x in enumerate(given) if x.type == t)]) for t in types
        ]
        branches.append(Graph((*body.inputs, *own), (), (), tuple(results)))
    index = m.source(TensorType(int32, ()), 4)
    return ops.switch(index, *given, *outside, **branch_attrs(branches))


def _checkpoint(m: Maker, depth: int) -> Node:
    body = _Body(m, [m.choose(m.nodes) for _ in range(m.integer(1, 4))], depth)
    body.fill()
    results = (*body.some(), body.inner.nodes[-1])
    own, outside = body.close()
    return ops.checkpoint(*body.given, *outside, body=Graph((*body.inputs, *own), (), (), results))
