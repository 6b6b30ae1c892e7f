"""A choice between closed graphs, of which one is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..errors import CompileError
from ..evaluate import evaluate_graph
from ..hook import driver
from ..ir import Graph, Node
from ..op import Kind
from ..types import TensorType, TupleType, Type, int32
from .bodies import require_closed, substitute
from .control import item
from .declare import op
from .residuals import residuals
from .values import zeros_for, zeros_like


def branch_attrs(branches: Sequence[Graph]) -> dict[str, Any]:
    """The attrs of a switch between these."""
    return {f"branch{i}": branch for i, branch in enumerate(branches)}


def branches_of(attrs: Mapping[str, Graph]) -> tuple[Graph, ...]:
    """The branches of a switch in their order, which is not that of their names."""
    return tuple(attrs[f"branch{i}"] for i in range(len(attrs)))


def _switch_type(index: Type, *types: TensorType, **branches: Graph) -> TupleType:
    if index != TensorType(int32, ()):
        raise CompileError("the index of switch is one int32", got=str(index))
    if set(branches) != {f"branch{i}" for i in range(max(len(branches), 1))}:
        raise CompileError("switch has branches that are numbered from 0", got=str(list(branches)))
    results = []
    for name, branch in branches.items():
        require_closed("switch", name, branch, types)
        results.append(tuple(o.tensor_type for o in branch.outputs))
    if len(set(results)) > 1:
        raise CompileError("the branches of switch give results of the same types",
                           got=" and ".join(str(TupleType(r)) for r in results))  # fmt: skip
    return TupleType(results[0])


def _switch_vjp(
    g: Sequence[Node | None], y: Node, index: Node, *inputs: Node, wanted: Sequence[bool], **branches: Graph
) -> tuple[Node | None, ...]:
    """A switch of the branches' gradients by the same index. What one of them saves has a place among the results of
    all, which is 0 where another one ran. The pass `join` makes one switch of it and the first.
    """
    graphs = branches_of(branches)
    given = [i for i, x in enumerate(g) if x is not None]
    cotangents = [ops.input(type=g[i].type, name=f"gradient{i}") for i in given]  # type: ignore[union-attr]
    found = [_gradients(graph, given, cotangents, wanted[1:]) for graph in graphs]
    reached = [i for i in range(len(inputs)) if any(i in one for one in found)]
    if not reached:
        return (None,) * (len(inputs) + 1)
    kept = [
        residuals(list(one.values()), cotangents, graph.inputs) for graph, one in zip(graphs, found, strict=True)
    ]
    types = _in_common([[n.tensor_type for n in nodes] for nodes in kept])
    slots = [ops.input(type=t, name=f"saved{i}") for i, t in enumerate(types)]
    wider, back = [], []
    for graph, one, nodes in zip(graphs, found, kept, strict=True):
        places = _placed(nodes, slots)
        filling = [next((n for n, s in places.items() if s is slot), None) for slot in slots]
        saved = [zeros_like(slot) if n is None else n for n, slot in zip(filling, slots, strict=True)]
        wider.append(Graph(graph.inputs, (), (), (*graph.outputs, *saved)))
        results = [one.get(i) or zeros_for(graph.inputs[i]) for i in reached]
        back.append(Graph((*graph.inputs, *slots, *cotangents), (), (), substitute(results, places)))
    again = switch(index, *inputs, **branch_attrs(wider)) if slots else y
    stored = [item(again, index=len(g) + i) for i in range(len(slots))]
    made = switch(index, *inputs, *stored, *(x for x in g if x is not None), **branch_attrs(back))
    gradients = {i: item(made, index=n) for n, i in enumerate(reached)}
    return (None, *(gradients.get(i) for i in range(len(inputs))))


def _gradients(
    graph: Graph, given: Sequence[int], cotangents: Sequence[Node], wanted: Sequence[bool]
) -> dict[int, Node]:
    """Gradients of one branch for its inputs, by number, where there are any."""
    wrt = [i for i, w in enumerate(wanted) if w]
    nodes = [graph.inputs[i] for i in wrt]
    found = driver().differentiate([graph.outputs[i] for i in given], nodes, cotangents, wide=True)
    return {i: x for i, x in zip(wrt, found, strict=True) if x is not None}


def _in_common(types: Sequence[Sequence[TensorType]]) -> list[TensorType]:
    """The shortest list in which each of the lists has a place for every type."""
    counts = [Counter(each) for each in types]
    return [t for t in dict.fromkeys(t for each in types for t in each) for _ in range(max(c[t] for c in counts))]


def _placed(nodes: Sequence[Node], slots: Sequence[Node]) -> dict[Node, Node]:
    """A slot of its type for each node."""
    free = list(slots)
    places = {}
    for node in nodes:
        places[node] = next(s for s in free if s.type == node.type)
        free.remove(places[node])
    return places


# The results of one of the branches, for the same inputs; no other one is run.
#
#     switch(index, *inputs) {branch0, branch1, …} → (*results)
#
# The index, an int32, is taken as the nearest branch's. A condition is a switch between what to do if it is false, the
# first branch, and if it is true.
@op(Kind.CONTROL, _switch_type, _switch_vjp)
def switch(index: np.ndarray, *arrays: np.ndarray, **branches: Graph) -> tuple[np.ndarray, ...]:
    chosen = min(max(int(index), 0), len(branches) - 1)
    results, _ = evaluate_graph(branches[f"branch{chosen}"], arrays)
    return tuple(results)
