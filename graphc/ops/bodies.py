"""What control ops share: how the inputs of loops are ordered, and that bodies are closed. Declares no op."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from .. import ops
from ..dataclass import dataclass
from ..errors import CompileError
from ..ir import Graph, Node, make_node, topological_order
from ..types import TensorType

T = TypeVar("T")


@dataclass(frozen=True)
class LoopInputs(Generic[T]):
    """The inputs of a loop, or anything that there is one of for each of them. `steps`: of a counted scan."""

    consts: tuple[T, ...]
    carries: tuple[T, ...]
    slices: tuple[T, ...]
    steps: tuple[T, ...] = ()

    @staticmethod
    def of(inputs: Sequence[T], consts: int, carries: int, counted: bool = False) -> LoopInputs[T]:
        """The inputs of a node in their order: steps, consts, carries, slices. Of a body there are no steps."""
        first = int(counted)
        middle, last = first + consts, first + consts + carries
        steps, rest = tuple(inputs[:first]), tuple(inputs[last:])
        return LoopInputs(tuple(inputs[first:middle]), tuple(inputs[middle:last]), rest, steps)

    @property
    def all(self) -> tuple[T, ...]:
        """In the order of the node's inputs."""
        return (*self.steps, *self.consts, *self.carries, *self.slices)


def stacked(type_: TensorType, length: int) -> TensorType:
    """The type of so many of these, along a new first axis."""
    return type_.with_shape((length, *type_.shape))


def require_closed(op: str, name: str, graph: Graph, inputs: Sequence[TensorType]) -> None:
    """Raise CompileError unless the graph has no state, and inputs of these types."""
    found = [i.type for i in graph.inputs]
    if graph.variables or found != list(inputs):
        got = f"({', '.join(map(str, found))}) for ({', '.join(map(str, inputs))})"
        raise CompileError(f"the {name} of {op} is closed, and takes what {op} gives it", got=got)


def loop_attrs(inputs: LoopInputs[Any], body: Graph, length: int, *, reverse: bool = False) -> dict[str, Any]:
    """The attrs of a scan over these inputs."""
    return {
        "body": body, "consts": len(inputs.consts), "carries": len(inputs.carries), "length": length,
        "reverse": reverse, "counted": bool(inputs.steps),
    }  # fmt: skip


def substitute(results: Sequence[Node], known: Mapping[Node, Node]) -> tuple[Node, ...]:
    """The results with these nodes in place of those, for another graph: whatever is not known is made anew, also
    constants, but for inputs, which are that graph's as well."""
    new = dict(known)
    for node in topological_order(results, lambda n: n not in known):
        if node not in new:
            is_source = node.op is ops.input or node.op is ops.variable
            new[node] = node if is_source else make_node(node.op, [new[i] for i in node.inputs], node.attrs, node.loc)
    return tuple(new[r] for r in results)
