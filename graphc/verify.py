"""Checks that a graph is well formed and well typed: comes in finished, goes out as it was or as a CompileError.

The same type rules that made the nodes judge them again, so a pass that built a node by other means is found.
Knows no op but sources and `item`.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import ops
from .errors import CompileError, GraphcError
from .ir import Graph, Node, is_tuple, sub_graphs
from .op import Kind


def verify(graph: Graph) -> None:
    """Check the graph and the bodies in it. Raises CompileError with the statements around the fault.

    Sources are declared once and only where they belong; every node comes after its inputs; every type is what the
    op's rule gives; tuples are consumed by `item` only; an update has its variable's type; bodies are closed.
    """
    _verify(graph, frozenset())


def _verify(graph: Graph, outer: frozenset[Node]) -> None:
    _check_sources(graph)
    _check_order(graph)
    nodes = frozenset(graph.nodes)
    for node in graph.nodes:
        if node in outer:
            raise _fault("a body is closed, but this node belongs to the graph around it", graph, node)
        _check_node(node, graph)
    _check_results(graph)
    for node in graph.nodes:
        for body in sub_graphs(node).values():
            _verify(body, outer | nodes)


def _check_sources(graph: Graph) -> None:
    sources = (*graph.inputs, *graph.variables)
    for source in _repeated(sources):
        raise _fault("a source is declared twice", graph, source)
    for source in sources:
        if source.op not in (ops.input, ops.variable):
            raise _fault("only an input or a variable can be declared", graph, source)
    declared = set(sources)
    for node in graph.nodes:
        if node.op in (ops.input, ops.variable) and node not in declared:
            raise _fault("a source is used but not declared", graph, node)


def _check_order(graph: Graph) -> None:
    """`Graph.nodes` visits depth first, so a node stands before one of its inputs only on a cycle."""
    position = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        for i in node.inputs:
            if position[i] >= position[node]:
                raise _fault("a node depends on itself", graph, node)


def _check_node(node: Node, graph: Graph) -> None:
    for i in node.inputs:
        if is_tuple(i) and node.op.kind is not Kind.ITEM:
            raise _fault("only `item` consumes a tuple", graph, node)
    try:
        type_ = node.op.infer(*(i.type for i in node.inputs), **node.attrs)
    except GraphcError as error:
        raise _fault(
            f"the type rule of {node.op.name} refuses this node: {error.rule}", graph, node
        ) from error
    except TypeError as error:
        raise _fault(f"{node.op.name} has other inputs or attrs: {error}", graph, node) from error
    if type_ != node.type:
        raise _fault(f"the type rule of {node.op.name} gives {type_}", graph, node)


def _check_results(graph: Graph) -> None:
    for result in graph.results:
        if is_tuple(result):
            raise _fault("a result of a graph is a tensor", graph, result)
    for variable, update in zip(graph.variables, graph.updates, strict=True):
        if update is not None and update.type != variable.type:
            raise _fault(f"a {variable.type} variable is updated by a {update.type}", graph, update)


def _repeated(nodes: Iterable[Node]) -> list[Node]:
    seen: set[Node] = set()
    return [n for n in nodes if n in seen or seen.add(n)]  # type: ignore[func-returns-value]


def _fault(rule: str, graph: Graph, node: Node) -> CompileError:
    from .text import window

    return CompileError(rule, got=f"{node!r} in\n{window(graph, node)}", where=node.loc)
