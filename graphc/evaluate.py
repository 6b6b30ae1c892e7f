"""What a node, or a graph, means on arrays: `op.reference`, plus the rule for 16-bit floats.

In: nodes and NumPy arrays of their inputs' types. Out: arrays of the nodes' types. Knows no op.
The reference backend and constant folding are made of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .errors import CompileError, GraphcError
from .ir import Attrs, Graph, Node
from .op import Kind, Op
from .storage import Storage, write_all
from .types import TensorType, TupleType, Type, require_size


def apply(op: Op, type_: Type, inputs: Sequence[Any], attrs: Attrs) -> Any:
    """What the op gives for these arrays: an array of the type that its rule gave, or a tuple of them.

    16-bit floats are widened to float32 before an op sees them, and the result is rounded. It may be a view of an
    input. Nothing is warned of, whatever NumPy is told to do about floating-point errors.
    Raises GraphcIndexError where an index lies outside its axis, ShapeError for more elements than there can be.
    """
    if op.reference is None:
        raise CompileError(f"{op.name} has no value of its own")
    wide = inputs if op.kind is Kind.CONTROL else list(map(_widened, inputs))  # the ops in bodies widen for themselves
    with np.errstate(all="ignore"):
        try:
            result = op.reference(*wide, **attrs)
        except (ValueError, IndexError):
            require_size(type_)  # what NumPy says of arrays that it can't have is not about tensors
            raise
        if type(type_) is TensorType:
            return _stored(result, type_, op)
        assert isinstance(type_, TupleType)
        return tuple(_stored(r, t, op) for r, t in zip(result, type_.items, strict=True))


def evaluate(node: Node, inputs: Sequence[Any]) -> Any:
    """The value of one node, as `apply` gives it; errors have the node's line."""
    try:
        return apply(node.op, node.type, inputs, node.attrs)
    except GraphcError as error:
        raise error.at(node.loc) from None


def _widened(x: Any) -> Any:
    if isinstance(x, tuple):
        return x
    dtype = x.dtype
    return x.astype(np.float32) if dtype.itemsize == 2 and dtype.kind not in "iu" else x


def _stored(result: Any, type_: TensorType, op: Op) -> np.ndarray:
    """The result as the type says. Only the rounding to a 16-bit float changes a dtype."""
    array = np.asarray(result)
    found, dtype = array.dtype, type_.dtype
    if array.shape != type_.shape or (found is not dtype.numpy and found not in (dtype.numpy, dtype.computes_as.numpy)):
        got = f"{found}{list(array.shape)} for {type_}"
        raise CompileError(f"the reference of {op.name} does not give the type its rule promises", got=got)
    return array.astype(dtype.numpy, copy=False)


# Who wants to see each graph that is evaluated, with its arrays, before it is: bodies in each iteration.
_watcher: ContextVar[Callable[[Graph, Sequence[np.ndarray]], None] | None] = ContextVar("graphc_watcher", default=None)


@contextmanager
def watching(watcher: Callable[[Graph, Sequence[np.ndarray]], None]) -> Iterator[None]:
    """Inside, the watcher is called for each graph that is evaluated."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def evaluate_graph(
    graph: Graph, inputs: Sequence[np.ndarray], variables: Sequence[np.ndarray] = ()
) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """The outputs, and the new values of the variables that are updated. Nothing given is written to.

    Results may be views of the arguments and of one another. A value is let go after its last use.
    """
    if (watcher := _watcher.get()) is not None:
        watcher(graph, inputs)
    values: dict[Node, Any] = dict(zip(graph.inputs, inputs, strict=True))
    values |= zip(graph.variables, variables, strict=True)
    waiting = {node: len(users) for node, users in graph.users.items()}
    for result in graph.results:
        waiting[result] += 1
    for node in graph.nodes:
        if node not in values:
            values[node] = evaluate(node, [values[i] for i in node.inputs])
        for i in node.inputs:
            waiting[i] -= 1
            if not waiting[i]:
                del values[i]
    updates = [None if u is None else values[u] for u in graph.updates]
    return [values[o] for o in graph.outputs], updates


def evaluate_call(graph: Graph, arrays: Sequence[np.ndarray], variables: Sequence[Storage]) -> list[np.ndarray]:
    """The outputs, as arrays of their own; the variables get their new values.

    Again if a signal handler has changed what a run had read, so that the call comes before it or after it. An
    interrupt that comes meanwhile leaves all variables as they were.
    """
    while True:
        seen = [(s, s.version) for s in variables]
        outputs, updates = evaluate_graph(graph, arrays, [s.array for s in variables])
        fresh = [np.array(o, order="C") for o in outputs]
        # An update may be a view of another variable's old value, as in a swap: copy all before writing any.
        changes = [(s, np.array(u)) for s, u in zip(variables, updates, strict=True) if u is not None]
        if write_all(changes, seen):
            return fresh
