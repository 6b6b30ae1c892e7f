"""Splits a graph into work that needs doing once, until a Variable changes, and work for every call.

In: an optimized graph. Out: two graphs that together compute the same. Knows kinds of ops, and costs of recipes.
"""

from __future__ import annotations

from graphc import ops
from graphc.costs import CPU, Costs
from graphc.dataclass import dataclass
from graphc.ir import Graph, Node, is_tuple, with_inputs
from graphc.op import Kind

from .pulled import is_copying
from .recipes import scalar_recipe

WORTH = 1 << 10  # simple instructions, below which a buffer more is not worth it
HEAVY = frozenset({
    Kind.REDUCTION, Kind.CUMULATIVE, Kind.CONTRACTION, Kind.INDEXED, Kind.CALL, Kind.CONTROL, Kind.ITEM,
})  # fmt: skip


def split_prepare(
    graph: Graph, costs: Costs = CPU, stored: frozenset[Node] = frozenset()
) -> tuple[Graph, Graph]:
    """The graphs `prepare` and `main`.

    A node is *invariant* if it depends on nothing but constants and variables that the graph does not update. Of those,
    `prepare` computes, as its outputs, what the rest asks for and what is worth keeping:

    - sums, products of matrices, gathers of invariant tensors always;
    - elementwise work, copies (concat, pad) and transpositions if the result takes no more memory than what it is
      made of, so that reading it is no slower, unless it is too small to matter;
    - elementwise work with expensive functions also where the result is larger by what fits the cache (a table of
      sines).

    - what is to be `stored` as it is laid out.

    Cheap views stay with their readers, where they are only other indices; so does a cast to a wider dtype, since
    converting in registers beats reading twice the bytes. Where a node is not worth keeping, its inputs may be.

    `prepare` has the graph's variables and no inputs or updates. `main` has the graph's inputs, then one for each
    of prepare's outputs, and everything else as it was.

        graph(%x: float32[8, 4]) variables(@w: float32[4, 4]) {
          %0 = exp(@w) : float32[4, 4]
          %1 = dot_general(%x, %0) {batch = ((), ()), contract = ((1,), (0,))} : float32[8, 4]
          return %1
        }
                                                ↓
        graph() variables(@w: float32[4, 4]) {
          %0 = exp(@w) : float32[4, 4]
          return %0
        }
        graph(%x: float32[8, 4], %prepared0: float32[4, 4]) variables(@w: float32[4, 4]) {
          %0 = dot_general(%x, %prepared0) {batch = ((), ()), contract = ((1,), (0,))} : float32[8, 4]
          return %0
        }
    """
    kept = Choice(graph, _changing(graph), costs, stored).made()
    if not kept:
        return Graph((), graph.variables, (None,) * len(graph.variables), ()), graph
    inputs = {node: ops.input(type=node.tensor_type, name=f"prepared{i}") for i, node in enumerate(kept)}
    prepare = Graph((), graph.variables, (None,) * len(graph.variables), tuple(kept))
    if not kept:
        return prepare, graph
    rest = graph.rebuild(lambda node, new: inputs.get(node) or with_inputs(node, new))
    return prepare, Graph((*graph.inputs, *inputs.values()), rest.variables, rest.updates, rest.outputs)


def invariant(graph: Graph) -> frozenset[Node]:
    """The nodes that are the same in every call."""
    changing, found = _changing(graph), set[Node]()
    for node in graph.nodes:
        if node not in changing and found.issuperset(node.inputs):
            found.add(node)
    return frozenset(found)


def _changing(graph: Graph) -> frozenset[Node]:
    """The sources that differ from call to call."""
    updated = (v for v, u in zip(graph.variables, graph.updates, strict=True) if u is not None)
    return frozenset((*graph.inputs, *updated))


@dataclass(frozen=True)
class _Effort:
    """What computing an element of a invariant node takes, if only the heavy nodes before it are kept."""

    cost: int  # simple instructions
    reads: frozenset[Node]  # constants, variables and heavy nodes

    @property
    def nbytes(self) -> int:
        """Bytes of all that is read."""
        return sum(node.tensor_type.nbytes for node in self.reads)


class Choice:
    """Which invariant nodes of a graph are worth keeping: of those that depend on none of the sources that change."""

    def __init__(
        self, graph: Graph, changing: frozenset[Node], costs: Costs = CPU, stored: frozenset[Node] = frozenset()
    ) -> None:
        self.graph = graph
        self.costs = costs
        self.stored = stored
        self.efforts = self._invariant(changing)

    def _invariant(self, changing: frozenset[Node]) -> dict[Node, _Effort]:
        """All invariant nodes, inputs first, with the effort that they take."""
        invariant: dict[Node, _Effort] = {}
        for node in self.graph.nodes:
            if node not in changing and all(i in invariant for i in node.inputs):
                invariant[node] = self._effort(node, [invariant[i] for i in node.inputs])
        return invariant

    def _effort(self, node: Node, inputs: list[_Effort]) -> _Effort:
        if node.op.kind is Kind.SOURCE or _is_heavy(node):
            return _Effort(0, frozenset({node}))
        return _Effort(
            _own_cost(node) + sum(i.cost for i in inputs), frozenset().union(*(i.reads for i in inputs))
        )

    def made(self) -> list[Node]:
        """The nodes to keep, in the graph's order. Those that only other kept nodes need are not among them."""
        kept: set[Node] = set()
        asked = [i for node in self.graph.nodes if node not in self.efforts for i in node.inputs]
        pending = [node for node in (*asked, *self.graph.results) if node in self.efforts]
        seen = set(pending)
        while pending:
            node = pending.pop()
            if self._is_worth_keeping(node):
                kept.add(node)
            elif node.op.kind is not Kind.SOURCE:
                pending.extend(i for i in node.inputs if i not in seen)
                seen.update(node.inputs)
        return [node for node in self.graph.nodes if node in kept]

    def _is_worth_keeping(self, node: Node) -> bool:
        if _is_heavy(node):
            return not is_tuple(node)  # its items are
        if node in self.stored:
            return True
        if _own_cost(node) == 0:
            return False
        effort, type_ = self.efforts[node], node.tensor_type
        growth = type_.nbytes - effort.nbytes
        limit = self.costs.cache if effort.cost >= self.costs.expensive else 0
        return effort.cost * type_.size >= WORTH and growth <= limit


def _is_heavy(node: Node) -> bool:
    return node.op.kind in HEAVY


def _own_cost(node: Node) -> int:
    """Simple instructions for an element, or 1 for moving it; 0 for what is only another way to look at memory."""
    match node.op.kind:
        case Kind.ELEMENTWISE:
            return scalar_recipe(node).cost
        case Kind.VIEW:
            return int(is_copying(node))
    return 0
