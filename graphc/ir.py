"""The static computation graph: typed nodes, and graphs with variables and their updates.

A node is typed by its op's own rule, never by its caller, and is compared by identity. Shared work comes from
the `cse` pass, not from a cache here. This module knows neither any particular op nor how graphs are run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from itertools import repeat
from operator import is_
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .cached import cached_property
from .dataclass import dataclass
from .errors import CompileError, GraphcError, Location
from .types import TensorType, TupleType, Type, require_size, type_of

if TYPE_CHECKING:
    import networkx

    from .op import Op

_location: ContextVar[Location | None] = ContextVar("graphc_location", default=None)


class located:  # a class takes half the time of a generator, and this is entered for many nodes
    """Nodes made inside come from this line of the user's program."""

    __slots__ = ("_token", "_where")

    def __init__(self, where: Location | None) -> None:
        self._where = where

    def __enter__(self) -> None:
        self._token = _location.set(self._where)

    def __exit__(self, *error: object) -> None:
        _location.reset(self._token)


class Literal:
    """An immutable array inside a graph, equal and hashed by dtype, shape and bytes."""

    __slots__ = ("_digest", "array")

    def __init__(self, array: np.ndarray) -> None:
        array = np.ascontiguousarray(array).reshape(array.shape)
        if array.flags.writeable:
            array = array.copy()
            array.flags.writeable = False
        self.array = array
        self._digest: str | None = None

    @property
    def type(self) -> TensorType:
        return type_of(self.array)

    @property
    def digest(self) -> str:
        """SHA-256 over type and bytes, in hex."""
        if self._digest is None:
            self._digest = hashlib.sha256(str(self.type).encode() + self.array.tobytes()).hexdigest()
        return self._digest

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Literal) and self.type == other.type and self.array.tobytes() == other.array.tobytes()
        )

    def __hash__(self) -> int:
        return hash((self.type, self.array.tobytes() if self.array.nbytes <= 64 else self.digest))

    def __repr__(self) -> str:
        return f"Literal({self.type}, {self.digest[:12]})"


Attrs: TypeAlias = Mapping[str, Any]
NO_ATTRS: Attrs = MappingProxyType({})


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Node:
    """One op applied to nodes. `loc` is the user's line that it was traced at.

    Attrs are hashable: ints, floats, strings, tuples, dtypes, `Literal`s, and `Graph`s (the bodies of control ops).
    """

    op: Op
    inputs: tuple[Node, ...]
    attrs: Attrs
    type: Type
    loc: Location | None

    @property
    def tensor_type(self) -> TensorType:
        """The type of a node that is known to be no tuple."""
        if not isinstance(self.type, TensorType):
            raise CompileError(f"{self.op.name} has several results; take one with `item`")
        return self.type

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor_type.shape

    @property
    def dtype(self) -> Any:
        return self.tensor_type.dtype

    def __repr__(self) -> str:
        return f"<{self.op.name} : {self.type}>"


def make_node(op: Op, inputs: Sequence[Node], attrs: Attrs, where: Location | None = None) -> Node:
    """Apply the op's type rule and make the node; errors of the rule get the user's line."""
    where = where or _location.get()
    types = [i.type for i in inputs]
    try:
        type_ = op.infer(*types, **attrs)
        if not any(map(is_, types, repeat(type_))):
            require_size(type_)
    except GraphcError as error:
        raise error.at(where) from None
    return Node(op, tuple(inputs), MappingProxyType(dict(attrs)) if attrs else NO_ATTRS, type_, where)


@dataclass(frozen=True, eq=False)
class Graph:
    """A function on tensors with state.

    `inputs` and `variables` are source nodes. `updates[i]` is the new value of `variables[i]`, or None where the
    variable is only read; all updates commit together when the graph has run, so any node that reads a variable
    sees its old value. `outputs` may hold inputs, variables and repeated nodes.
    """

    inputs: tuple[Node, ...]
    variables: tuple[Node, ...]
    updates: tuple[Node | None, ...]
    outputs: tuple[Node, ...]

    def __post_init__(self) -> None:
        if len(self.updates) != len(self.variables):
            raise CompileError("a graph has one update, or None, for each variable")

    @property
    def results(self) -> tuple[Node, ...]:
        """Outputs, then the updates that exist: all that the graph is run for."""
        return (*self.outputs, *(u for u in self.updates if u is not None))

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes that results depend on and all sources, inputs before their users, in a stable order."""
        return topological_order((*self.inputs, *self.variables, *self.results))

    @cached_property
    def users(self) -> Mapping[Node, tuple[Node, ...]]:
        """For each node, the nodes that have it as an input (once for each time)."""
        found: dict[Node, list[Node]] = {n: [] for n in self.nodes}
        for node in self.nodes:
            for i in node.inputs:
                found[i].append(node)
        return {n: tuple(u) for n, u in found.items()}

    @cached_property
    def digest(self) -> str:
        """The canonical hash, computed once: passes ask for those of bodies again and again."""
        from .text import canonical_hash

        return canonical_hash(self)

    def rebuild(self, make: Callable[[Node, tuple[Node, ...]], Node]) -> Graph:
        """The graph with every node but the sources replaced by `make(node, new inputs)`, inputs first."""
        new: dict[Node, Node] = {s: s for s in (*self.inputs, *self.variables)}
        for node in self.nodes:
            if node not in new:
                new[node] = make(node, tuple(new[i] for i in node.inputs))
        return self.replace(new)

    def replace(self, new: Mapping[Node, Node]) -> Graph:
        """The graph with other outputs and updates; sources stay."""
        return Graph(
            self.inputs,
            self.variables,
            tuple(None if u is None else new[u] for u in self.updates),
            tuple(new[o] for o in self.outputs),
        )

    def to_networkx(self) -> networkx.MultiDiGraph:
        """As a `networkx.MultiDiGraph`: numbers with the attributes `op`, `type`, `attrs`, `loc` and `node`."""
        import networkx

        result = networkx.MultiDiGraph()
        numbers = {n: i for i, n in enumerate(self.nodes)}
        for node, i in numbers.items():
            result.add_node(i, op=node.op.name, type=str(node.type), attrs=dict(node.attrs), loc=node.loc, node=node)
        for node, i in numbers.items():
            for position, source in enumerate(node.inputs):
                result.add_edge(numbers[source], i, input=position)
        return result

    def __str__(self) -> str:
        from .text import print_graph

        return print_graph(self)

    def __repr__(self) -> str:
        return str(self)


def topological_order(
    results: Sequence[Node], passes: Callable[[Node], bool] | None = None
) -> tuple[Node, ...]:
    """All nodes that `results` depend on, inputs first; depth first, so the order is stable. Without recursion.

    What lies behind a node that does not pass is left out.
    """
    done: set[Node] = set()
    order: list[Node] = []
    for result in results:
        if result in done:
            continue
        done.add(result)
        stack = [(result, iter(result.inputs if passes is None or passes(result) else ()))]
        while stack:
            node, rest = stack[-1]
            for i in rest:
                if i not in done:
                    done.add(i)
                    stack.append((i, iter(i.inputs if passes is None or passes(i) else ())))
                    break
            else:
                stack.pop()
                order.append(node)
    return tuple(order)


def sub_graphs(node: Node) -> dict[str, Graph]:
    """The graphs in a control node's attrs."""
    return {name: value for name, value in node.attrs.items() if isinstance(value, Graph)}


def has_graphs(node: Node) -> bool:
    """Whether it is a control node, with graphs in its attrs."""
    return bool(node.attrs) and Graph in map(type, node.attrs.values())


def everywhere(graph: Graph) -> Iterator[Node]:
    """The nodes of the graph, each followed by those of its bodies."""
    for node in graph.nodes:
        yield node
        if has_graphs(node):
            for body in sub_graphs(node).values():
                yield from everywhere(body)


def map_graphs(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """Apply a graph → graph function to the bodies of all control nodes (innermost first), then to the graph."""
    if any(map(has_graphs, graph.nodes)):

        def make(node: Node, inputs: tuple[Node, ...]) -> Node:
            bodies = {name: map_graphs(body, change) for name, body in sub_graphs(node).items()}
            return with_inputs(node, inputs, {**node.attrs, **bodies} if bodies else None)

        graph = graph.rebuild(make)
    return change(graph)


def with_inputs(node: Node, inputs: Sequence[Node], attrs: Attrs | None = None) -> Node:
    """The node with other inputs (and attrs); itself where nothing changes."""
    if attrs is not None:
        return make_node(node.op, inputs, attrs, node.loc)
    if [i.type for i in inputs] == [i.type for i in node.inputs]:
        return on_equal_inputs(node, tuple(inputs))
    return make_node(node.op, inputs, node.attrs, node.loc)


def on_equal_inputs(node: Node, inputs: tuple[Node, ...]) -> Node:
    """The node with other inputs of the same types, for which its op's rule says the same; itself if none differs."""
    if all(map(is_, inputs, node.inputs)):
        return node
    return Node(node.op, inputs, node.attrs, node.type, node.loc)


def is_tuple(node: Node) -> bool:
    return isinstance(node.type, TupleType)
