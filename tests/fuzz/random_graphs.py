"""Random well-typed graphs, drawn from the op registry: every op that is declared takes part.

In: a seed. Out: a graph with arrays for its sources; with the gradients of its floats, on request.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphc import ops
from graphc.errors import UnsupportedError
from graphc.ir import Graph, Node, topological_order, with_inputs
from graphc.op import Kind, Op, registry
from graphc.passes.differentiate import differentiate
from graphc.types import TensorType

from .maker import Maker
from .samplers import draw, draw_row

# Sources and items come with the graph; control ops have tests of their own.
DRAWN = (
    Kind.POSITION, Kind.ELEMENTWISE, Kind.REDUCTION, Kind.CUMULATIVE, Kind.VIEW, Kind.INDEXED, Kind.CONTRACTION,
    Kind.CALL,
)  # fmt: skip
# How often each kind is drawn: what real models are made of, and everything now and then.
_KINDS = (
    *[Kind.ELEMENTWISE] * 4, *[Kind.VIEW] * 3, *[Kind.REDUCTION] * 2, Kind.CONTRACTION, *DRAWN,
)  # fmt: skip


@dataclass
class Case:
    """A graph with arrays for its inputs and variables."""

    graph: Graph
    inputs: list[np.ndarray]
    variables: list[np.ndarray]


def drawable() -> list[Op]:
    """All ops of graphc's own that the fuzzer draws; those that other tests declare are theirs."""
    return [op for op in registry().values() if op.kind in DRAWN and not op.name.startswith("user_")]


def random_case(seed: int, size: int = 12) -> Case:
    """A graph of about `size` ops with several outputs and, half of the time, variables with updates.

    As seeds are counted up, each op in turn is in a graph for sure.
    """
    m = Maker(np.random.default_rng(seed))
    choices = drawable()
    by_kind = {kind: [op for op in choices if op.kind is kind] for kind in DRAWN}
    for _ in range(m.integer(1, 4)):
        m.source(TensorType(m.dtype(), m.shape()))
    sure = choices[seed % len(choices)]
    turn = m.integer(0, size)
    for i in range(size):
        if i == turn:
            found = draw(m, sure)
            assert found is not None, f"seed {seed}: {sure.name} could not be drawn"
        elif m.chance(0.15):
            draw_row(m)
        else:
            draw(m, m.choose(by_kind[m.choose(_KINDS)]))
    outputs = [found, *(m.choose(m.nodes) for _ in range(m.integer(0, 3))), m.nodes[-1]]
    m.rng.shuffle(outputs)
    return case_of(m, outputs)


def case_of(m: Maker, outputs: list[Node]) -> Case:
    """The graph with these outputs; half of the time some of its sources are variables, with updates."""
    return _with_variables(m, outputs) if m.chance(0.5) else _case(m, outputs, {})


def _with_variables(m: Maker, outputs: list[Node]) -> Case:
    """Turn some inputs into variables that are assigned whatever node has their type."""
    updates: dict[Node, Node | None] = {}
    for source, _ in m.sources:
        if m.chance(0.4):
            updates[source] = m.like(lambda n, t=source.type: n.type == t) if m.chance(0.8) else None  # type: ignore[misc]
    return _case(m, outputs, updates)


def _case(m: Maker, outputs: list[Node], updates: dict[Node, Node | None]) -> Case:
    """Sources in `updates` become variable nodes everywhere."""
    new: dict[Node, Node] = {
        s: ops.variable(type=s.tensor_type, name=s.attrs["name"]) if s in updates else s for s, _ in m.sources
    }
    for node in topological_order([*outputs, *(u for u in updates.values() if u is not None)]):
        if node not in new:
            new[node] = with_inputs(node, tuple(new[i] for i in node.inputs))
    graph = Graph(
        tuple(s for s, _ in m.sources if s not in updates),
        tuple(new[s] for s in updates),
        tuple(None if u is None else new[u] for u in updates.values()),
        tuple(new[o] for o in outputs),
    )
    arrays = dict(m.sources)
    return Case(graph, [arrays[s] for s in graph.inputs], [arrays[s] for s in updates])


def with_gradients(case: Case, seed: int) -> Case | None:
    """The case with, as further outputs, gradients of its float results for all float sources.

    Cotangents are further inputs. None where no gradient flows.
    """
    graph, m = case.graph, Maker(np.random.default_rng(seed))
    wrt = [n for n in (*graph.inputs, *graph.variables) if n.dtype.is_float]
    results = [n for n in dict.fromkeys(graph.results) if n.dtype.is_float]
    cotangents = [ops.input(type=n.tensor_type, name=f"g{i}") for i, n in enumerate(results)]
    try:
        found = [g for g in differentiate(results, wrt, cotangents) if g is not None]
    except UnsupportedError:  # a loop without a limit
        return None
    if not found:
        return None
    wider = Graph((*graph.inputs, *cotangents), graph.variables, graph.updates, (*graph.outputs, *found))
    return Case(wider, [*case.inputs, *(m.array(c.tensor_type) for c in cotangents)], case.variables)
