"""A graph as a list of references: what functions of few numbers, which run often, are carried out by.

In: a graph without state. Out: an object that is called with arrays and gives what `evaluate_graph` would, bit by bit.
What is the same each time is done once, views are made where they are needed, and axes are repeated only where NumPy
would not do so by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from . import ops
from .errors import UnsupportedError
from .evaluate import apply, evaluate
from .ir import Graph, Node
from .op import Kind
from .types import TensorType, Type

Function = Callable[..., Any]
MOST: Final = 1 << 14  # elements of a constant


class Replay:
    """Raises UnsupportedError for a graph with state, for large constants, and for ops with several results, or
    none of their own."""

    def __init__(self, graph: Graph) -> None:
        if graph.variables:
            raise UnsupportedError("what has state is not replayed")
        # Each value has a place: the inputs first, then constants, then what each step gives.
        self._constants: list[np.ndarray] = []
        self._steps: list[tuple[Function, tuple[int, ...]]] = []
        self._places: dict[tuple[Node, bool], int] = {(n, False): i for i, n in enumerate(graph.inputs)}
        self._inputs = len(graph.inputs)
        rest = [n for n in graph.nodes if n.op.kind is not Kind.SOURCE or n.op is not ops.input]
        varying = self._fold(rest)
        for node in varying:
            if node.op not in _VIEWS:
                self._add(node)
        self._outputs = tuple([self._place(node) for node in graph.outputs])
        self.is_input = tuple([place < self._inputs for place in self._outputs])

    def __call__(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs, which may be views of the inputs. The list becomes that of all values."""
        arrays += self._constants
        with np.errstate(all="ignore"):
            for function, places in self._steps:
                arrays.append(function(*[arrays[i] for i in places]))
        return [arrays[i] for i in self._outputs]

    def _fold(self, nodes: Sequence[Node]) -> list[Node]:
        """Compute what depends on no input; give the others."""
        values: dict[Node, Any] = {}
        varying = []
        for node in nodes:
            if not isinstance(node.type, TensorType) or node.op.reference is None:
                raise UnsupportedError("a replayed op has one result", got=node.op.name)
            if all(i in values for i in node.inputs):
                if node.type.size > MOST:
                    raise UnsupportedError("constants of a replay are small", got=str(node.type))
                values[node] = evaluate(node, [values[i] for i in node.inputs])
                self._places[node, False] = self._inputs + len(self._constants)
                self._constants.append(values[node])
            else:
                varying.append(node)
        return varying

    def _add(self, node: Node) -> None:
        thin = [i.op is ops.broadcast and (i, False) not in self._places for i in node.inputs]
        if any(thin) and not _stretches_by_itself(node, thin):
            thin = [False] * len(thin)
        places = [self._place(i, t) for i, t in zip(node.inputs, thin, strict=True)]
        self._places[node, False] = self._step(_function(node), places)

    def _step(self, function: Function, places: Sequence[int]) -> int:
        self._steps.append((function, tuple(places)))
        return self._inputs + len(self._constants) + len(self._steps) - 1

    def _place(self, node: Node, thin: bool = False) -> int:
        """Where the node's value is; `thin`: with 1 for the sizes of axes that it repeats."""
        place = self._places.get((node, thin))
        if place is None:
            place = self._places[node, thin] = self._placed(node, thin)
        return place

    def _placed(self, node: Node, thin: bool) -> int:
        """Make a view where it is needed; of several reshapes one after the other only the last."""
        source = node.inputs[0]
        if node.op is ops.broadcast and not (thin and _in_order(node)):
            function = partial(_thin, sizes=_thin_shape(node), dims=node.attrs["dims"]) if thin else _function(node)
            return self._step(function, [self._place(source)])
        while source.op in _RESHAPES and (source, False) not in self._places:
            source = source.inputs[0]
        shape = _thin_shape(node) if thin else node.shape
        place = self._place(source)
        return place if source.shape == shape else self._step(partial(_reshape, shape=shape), [place])


_RESHAPES = frozenset({ops.reshape, ops.stop_gradient})
_VIEWS = _RESHAPES | {ops.broadcast}  # made where they are needed


def _reshape(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return x.reshape(shape)


def _in_order(broadcast: Node) -> bool:
    dims = broadcast.attrs["dims"]
    return dims == tuple(sorted(dims))


def _stretches_by_itself(node: Node, thin: Sequence[bool]) -> bool:
    """Whether NumPy gives the node's shape for operands that are thin."""
    if node.op.kind is not Kind.ELEMENTWISE:
        return False
    shapes = [_thin_shape(i) if t else i.shape for i, t in zip(node.inputs, thin, strict=True)]
    return np.broadcast_shapes(*shapes) == node.shape


def _thin_shape(node: Node) -> tuple[int, ...]:
    shape, dims = node.attrs["shape"], node.attrs["dims"]
    return tuple([shape[d] if d in dims else 1 for d in range(min(dims, default=len(shape)), len(shape))])


def _thin(x: np.ndarray, sizes: tuple[int, ...], dims: tuple[int, ...]) -> np.ndarray:
    return x.transpose(np.argsort(dims)).reshape(sizes)


def _function(node: Node) -> Function:
    """What the node computes, for arrays of its inputs' types."""
    types = [node.type, *(i.type for i in node.inputs)]
    if any(map(_is_widened, types)):
        return partial(_apply, node)
    assert node.op.reference is not None
    plain = partial(node.op.reference, **node.attrs) if node.attrs else node.op.reference
    return plain if node.shape else partial(_as_array, plain)


def _is_widened(type_: Type) -> bool:
    return isinstance(type_, TensorType) and type_.dtype.computes_as is not type_.dtype


def _apply(node: Node, *arrays: np.ndarray) -> Any:
    return apply(node.op, node.type, arrays, node.attrs)


def _as_array(function: Function, *arrays: np.ndarray) -> np.ndarray:
    """NumPy's functions give scalars where arrays have no axes."""
    return np.asarray(function(*arrays))
