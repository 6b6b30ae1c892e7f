"""Bodies of loops and branches: a user's function is run once on symbolic tensors, in a frame of its own.

In: a function and what it is given. Out: its results in the frame, and a closed graph with what it takes from around.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphc import ops
from graphc.brief import brief
from graphc.dataclass import dataclass
from graphc.errors import ShapeError, TraceError
from graphc.evaluate import evaluate_call
from graphc.hook import call_lock, tracing
from graphc.ir import Graph, Node
from graphc.types import DType, TensorType

from . import pytree
from .arguments import Arguments
from .context import current_settings, within
from .emit import as_tensor, frame, is_number
from .exchange import is_foreign_array
from .promotion import Number, in_range, weak_dtype
from .signatures import check_call
from .tensor import Tensor, symbolic
from .trace import trace_call
from .tracer import Body, Frame, FrameKind
from .variable import Variable

Leaf: TypeAlias = "Node | Number"  # a result of a body: Python numbers wait for a dtype


@dataclass(frozen=True)
class Leaves:
    """A nest of arrays, taken apart. `paths`: what the user calls each of the leaves."""

    tree: Any
    values: list[Any]
    paths: list[str]

    @staticmethod
    def of(tree: Any, root: str) -> Leaves:
        if isinstance(tree, Tensor | Variable):
            return Leaves(tree, [tree], [root])
        paths = ["".join([root, *(f"[{step!r}]" for step in path)]) for path in pytree.paths(tree)]
        return Leaves(tree, pytree.leaves(tree), paths)

    def filled(self, values: Sequence[Any]) -> Any:
        """The nest with other leaves."""
        return pytree.unflatten(self.tree, values)


def is_array(x: Any) -> bool:
    return isinstance(x, Tensor | Variable) or is_foreign_array(x)


def array_leaf(x: Any, path: str, what: str) -> Tensor | Number:
    """A leaf that is to be an array: as a tensor, but for Python numbers. Raises TraceError for anything else."""
    if is_number(x):
        return x
    if is_array(x):
        return as_tensor(x)
    hint = "what is no array is simply used inside: functions see what is around them"
    raise TraceError(f"{what} is made of arrays and numbers", got=f"{brief(x)} at {path}", hint=hint)


def call(function: Callable[..., Any], args: Sequence[Any], note: str) -> Any:
    """The function's result. Raises ArgumentError, with the note, where it takes other arguments; TraceError where
    it is no function."""
    try:
        return function(*args)
    except TypeError:
        if not callable(function):
            hint = "lambda: x is a function that gives x; gx.where(p, x, y) chooses between arrays"
            raise TraceError(f"{note}: that is a function", got=brief(function), hint=hint) from None
        check_call(function, args, {}, note)
        raise


class BodyTrace:
    """One user's function in a frame of its own."""

    def __init__(self, function: Callable[..., Any], note: str) -> None:
        """`note`: who calls the function with what, for where it takes something else."""
        self.function = function
        self.note = note
        self.frame = Frame(FrameKind.BODY, frame())
        self.result: Any = None

    def inputs(self, leaves: Leaves, types: Sequence[TensorType]) -> Any:
        """The nest with symbolic tensors of these types."""
        names = zip(types, leaves.paths, strict=True)
        return leaves.filled([symbolic(self.frame.input(type_, name), self.frame) for type_, name in names])

    def run(self, *args: Any) -> None:
        """Call the function, once."""
        within(self.frame, self._run, args)

    def _run(self, args: tuple[Any, ...]) -> None:
        self.result = call(self.function, args, self.note)

    def leaves(self, values: Leaves, what: str) -> list[Leaf]:
        """Leaves of the result as nodes of the frame. Raises TraceError for what is no array."""
        return within(self.frame, self._leaves, values, what)

    def _leaves(self, values: Leaves, what: str) -> list[Leaf]:
        found = [array_leaf(x, path, what) for x, path in zip(values.values, values.paths, strict=True)]
        return [self.frame.node(x) if isinstance(x, Tensor) else x for x in found]

    def nodes(self, values: Leaves, what: str) -> list[Node]:
        """Leaves of the result as nodes, also Python numbers."""
        return [x if isinstance(x, Node) else self.number(x, weak_dtype(x)) for x in self.leaves(values, what)]

    def number(self, x: Number, dtype: DType) -> Node:
        """A Python number as a node of the frame."""
        return self.frame.scalar(in_range(x, dtype), dtype)

    def close(self, results: Sequence[Node]) -> Body:
        """The closed graph. What Variables are assigned are leaves to gradients, as they are after each call."""
        body = self.frame.close(results)
        count = len(results)
        assigned = [ops.stop_gradient(x) if x.dtype.is_float else x for x in body.graph.outputs[count:]]
        graph = Graph(body.graph.inputs, (), (), (*results, *assigned))
        return Body(graph, body.captured, body.variables, body.assigned)


class Surroundings:
    """What several bodies take from the frame around them: tensors and Variables, each once."""

    def __init__(self, bodies: Sequence[Body]) -> None:
        self.captured = tuple(dict.fromkeys(node for body in bodies for node in body.captured))
        self.variables = tuple({id(v): v for body in bodies for v in body.variables}.values())
        written = {id(v) for body in bodies for v in body.assigned}
        self.assigned = tuple(v for v in self.variables if id(v) in written)
        self.read = tuple(v for v in self.variables if id(v) not in written)

    @property
    def fixed(self) -> list[Tensor]:
        """What is captured, and Variables that are read only, as tensors of the frame around."""
        here = frame()
        return [symbolic(node, here) for node in self.captured] + [v.value for v in self.read]

    @property
    def changing(self) -> list[Tensor]:
        """The Variables that are assigned, as they are before."""
        return [v.value for v in self.assigned]

    def inputs_of(self, body: Body) -> tuple[tuple[Node, ...], tuple[Node, ...], tuple[Node, ...]]:
        """The body's own inputs, and one for each of `fixed` and of `changing`: new ones where it has none."""
        count = len(body.graph.inputs) - len(body.captured) - len(body.variables)
        own, rest = body.graph.inputs[:count], body.graph.inputs[count:]
        nodes = dict(zip(body.captured, rest, strict=False))
        known = {id(v): node for v, node in zip(body.variables, rest[len(body.captured) :], strict=True)}

        def of(v: Variable) -> Node:
            if id(v) not in known:
                known[id(v)] = ops.input(type=v.type, name=v.name)
            return known[id(v)]

        captured = [nodes.get(n) or ops.input(type=n.tensor_type, name="captured") for n in self.captured]
        return own, (*captured, *map(of, self.read)), tuple(map(of, self.assigned))

    def outputs_of(self, body: Body, changing: Sequence[Node]) -> tuple[Node, ...]:
        """The body's outputs, then what each of `changing` is after it, given what it is before."""
        count = len(body.graph.outputs) - len(body.assigned)
        new = {id(v): node for v, node in zip(body.assigned, body.graph.outputs[count:], strict=True)}
        after = [new.get(id(v), node) for v, node in zip(self.assigned, changing, strict=True)]
        return (*body.graph.outputs[:count], *after)

    def commit(self, values: Sequence[Tensor]) -> None:
        """Assign what the op gave for `changing`."""
        here = frame()
        for variable, value in zip(self.assigned, values, strict=True):
            here.assign(variable, here.node(value))


def require_structure(what: str, given: Any, like: str, wanted: Any) -> None:
    """Raise ShapeError where a nest has other keys or lengths than it should. (A list is as good as a tuple.)"""
    found, expected = set(pytree.paths(given)), set(pytree.paths(wanted))
    if found != expected:
        differing = min((found - expected) or (expected - found), key=str)
        place = "".join(f"[{step!r}]" for step in differing) or "the top"
        count = "another" if differing in found else "no"
        raise ShapeError(f"{what} the structure of {like}", got=f"{count} leaf at {place}")


def at_once(function: Callable[[], Any]) -> Any:
    """Outside of a trace: the result of a function that makes control ops, computed by their references."""
    with tracing():
        trace = trace_call(function, Arguments.of(function, (), {}))
    storages = [v.storage for v in trace.variables]

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        with call_lock:
            return evaluate_call(trace.graph, arrays, storages)

    if current_settings().check_nan:
        from graphc.not_finite import CheckedProgram

        return trace.result.restore()(CheckedProgram(run, trace.graph, storages)(()))
    return trace.result.restore()(run(()))
