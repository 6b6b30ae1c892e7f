"""Views that move nothing: what loops, branches and calls are given, and results of them, may lie in memory that there
is already, seen with another shape or from some row on.

In: a graph. Out: for such nodes, the node whose memory it is, and from which byte on. Knows no memory.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc import ops
from graphc.ir import Graph, Node
from graphc.op import Kind
from graphc.ops.bodies import LoopInputs

from .planned import Key, key
from .pulled import first_element

STEERS = frozenset({Kind.CONTROL, Kind.CALL})  # kinds that are steps of their own, and no kernels


class Aliases:
    """Whose memory the nodes of a graph lie in, of those that no kernel stores.

    All that is given to a loop, branch or call may be another node as a whole; what a scan takes slices of may also be
    rows of a node that is stored whoever reads it. Results of the graph may be those of such steps as a whole.
    """

    def __init__(self, graph: Graph) -> None:
        self._whole: dict[Node, Node] = {}
        self._rows: dict[Node, tuple[Node, int]] = {}
        steps = [n for n in graph.nodes if n.op.kind in STEERS]
        if not steps:
            return
        for step in steps:
            for node in step.inputs:
                self._note(node, lambda base: True)
            for node in _sliced(step):
                base, offset = _behind(node, rows=True)
                if base is not self.base(node) and base.op.kind in (Kind.SOURCE, Kind.ITEM):
                    self._rows[node] = base, offset
        for node in graph.results:
            self._note(node, lambda base: base.op.kind is Kind.ITEM)

    def _note(self, node: Node, may_be: Callable[[Node], bool]) -> None:
        base, _ = _behind(node, rows=False)
        if base is not node and may_be(base):
            self._whole[node] = base

    def __contains__(self, node: object) -> bool:
        """Whether it is no work of its own, unless a kernel computes it for itself."""
        return node in self._whole or node in self._rows

    def base(self, node: Node) -> Node:
        """The node whose memory it is, as a whole."""
        return self._whole.get(node, node)

    def key(self, node: Node) -> Key:
        """What it is placed by."""
        return key(self.base(node))

    def rows(self, node: Node) -> tuple[Node, int]:
        """For what a scan takes slices of: the node whose memory it is, and from which byte on."""
        return self._rows.get(node) or (self.base(node), 0)

    def read(self, step: Node) -> tuple[Node, ...]:
        """What a loop, branch or call reads, for each of its inputs."""
        rows = set(_sliced(step)).intersection(self._rows)
        return tuple(self.rows(n)[0] if n in rows else self.base(n) for n in step.inputs)


def _sliced(step: Node) -> tuple[Node, ...]:
    """What a step takes slices of, and does not take as a whole as well."""
    if step.op is not ops.scan:
        return ()
    given = LoopInputs.of(step.inputs, step.attrs["consts"], step.attrs["carries"], step.attrs["counted"])
    others = {*given.steps, *given.consts, *given.carries}
    return tuple(n for n in given.slices if n not in others)


def _behind(node: Node, rows: bool) -> tuple[Node, int]:
    """The node that lies in memory as this one does, and from which byte on. `rows`: whether it may be some rows of
    the other."""
    offset = 0
    while node.tensor_type.size:
        first = 0 if node.op.in_order else first_element(node) if rows else None
        if first is None:
            break
        offset += first * node.dtype.itemsize
        node = node.inputs[0]
    return node, offset
