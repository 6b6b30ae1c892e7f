"""Frames: what is being traced right now. Tensors and Variables come in, a closed graph goes out.

The root frame of a trace makes Variables into state of the graph. A body frame (of a control op) is closed: every
tensor and Variable that it takes from outside becomes an explicit input, every Variable that it assigns an output.
A frame knows nothing about particular array functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from types import CodeType, FunctionType
from typing import TYPE_CHECKING

import numpy as np

from graphc import ops
from graphc.dataclass import dataclass
from graphc.errors import TraceError
from graphc.ir import Graph, Literal, Node, located
from graphc.types import DType, TensorType

from .location import user_location

if TYPE_CHECKING:
    from .guards import Guard
    from .printing import Printed
    from .tensor import Tensor
    from .variable import Variable


class FrameKind(Enum):
    TRACE = "trace"  # a user's function: concrete values are constants
    BODY = "body"  # a control op's sub-graph


@dataclass
class _State:
    """A Variable as one frame sees it.

    source  the node of the value that it has at the start.
    leaves  what reads have given: the source, and one for each assigned value that was read.
    value   what was assigned last. Reads give not this node but a leaf, so that no gradient flows from a later loss
            into the computation of the value: steps in one trace are to give what they give in traces of their own.
    """

    variable: Variable
    source: Node
    leaves: list[Node]
    value: Node | None = None
    is_read: bool = True  # whether the last of the leaves is the current value

    def read(self) -> Node:
        if not self.is_read:
            assert self.value is not None
            with located(self.value.loc):
                self.leaves.append(ops.stop_gradient(self.value))
            self.is_read = True
        return self.leaves[-1]

    def assign(self, value: Node) -> None:
        self.value, self.is_read = value, False


@dataclass(frozen=True)
class Body:
    """The closed graph of a control op.

    Its inputs are the frame's own, then `captured` (nodes of the parent frame), then one for each of `variables`;
    its outputs are the results, then the new value of each of `assigned`.
    """

    graph: Graph
    captured: tuple[Node, ...]
    variables: tuple[Variable, ...]
    assigned: tuple[Variable, ...]


class Frame:
    """One graph under construction."""

    def __init__(self, kind: FrameKind = FrameKind.TRACE, parent: Frame | None = None) -> None:
        self.kind = kind
        self.parent = parent
        self.inputs: list[Node] = []
        self.traced_by: CodeType | None = None  # of the call in which the traced function runs
        # See `interrupts`: the code of signal handlers; of those met, by id, whether it interrupts, makes the trace
        # (False), or neither; those, so that ids stay theirs; the ids of the frames of running calls.
        self.handlers: tuple[CodeType, ...] | None = None
        self.codes: dict[int, bool | None] = {}
        self.met: list[CodeType] = []
        self.running: set[int] = set()
        # What the trace of a root frame depends on, by id (a guard keeps its owner alive) and name; the attributes
        # that it has set itself; the functions that it has called of what it watched.
        self.printed: list[tuple[Printed, list[Node]]] = []  # what calls will print, with its values
        self.guards: dict[tuple[int, str], Guard] = {}
        self.set_here: set[tuple[int, str]] = set()
        self.functions: dict[FunctionType, None] = {}
        self._states: dict[int, _State] = {}  # by id of the Variable, which the state keeps alive
        self._captured: dict[Node, Node] = {}  # BODY: the parent's node → our input
        self._constants: dict[int, tuple[object, Node]] = {}

    @property
    def root(self) -> Frame:
        frame = self
        while frame.parent is not None:
            frame = frame.parent
        return frame

    # Sources

    def input(self, type_: TensorType, name: str) -> Node:
        """A new input of the graph."""
        node = ops.input(type=type_, name=name)
        self.inputs.append(node)
        return node

    def node(self, tensor: Tensor) -> Node:
        """The node that stands for the tensor in this frame. Raises TraceError for one of another trace."""
        if tensor._node is None:
            return self._concrete(tensor, tensor._constant)
        if tensor._frame is self:
            return tensor._node
        if self.parent is None:
            raise leaked(tensor._node)
        return self._capture(self.parent.node(tensor))

    def constant(self, array: np.ndarray) -> Node:
        """A constant; the array is copied once in a trace, however often it is used."""
        return self._concrete(array, lambda: _frozen(array))

    def scalar(self, value: bool | int | float, dtype: DType) -> Node:
        """A rank-0 constant."""
        return ops.scalar_constant(value, dtype)

    def _concrete(self, key: object, elements: Callable[[], np.ndarray]) -> Node:
        """The node for a concrete value, one for each however often it is met."""
        known = self._constants.get(id(key))
        if known is None:
            if self.kind is FrameKind.BODY:
                assert self.parent is not None
                node = self._capture(self.parent._concrete(key, elements))
            else:
                node = ops.constant(value=Literal(elements()))
            known = self._constants[id(key)] = (key, node)
        return known[1]

    def _capture(self, outer: Node) -> Node:
        inner = self._captured.get(outer)
        if inner is None:
            inner = self._captured[outer] = ops.input(
                type=outer.tensor_type, name=f"captured{len(self._captured)}"
            )
        return inner

    # Variables

    def _state(self, variable: Variable) -> _State:
        state = self._states.get(id(variable))
        if state is None:
            if self.parent is not None:
                self.parent._state(variable)
            make = ops.variable if self.kind is FrameKind.TRACE else ops.input
            source = make(type=variable.storage.type, name=variable.name)
            state = self._states[id(variable)] = _State(variable, source, [source])
        return state

    def read(self, variable: Variable) -> Node:
        """The Variable's value at this point of the trace: the same node until the next `assign`."""
        return self._state(variable).read()

    def assign(self, variable: Variable, value: Node) -> None:
        """Later reads give this value; it is committed when the call ends."""
        self._state(variable).assign(value)

    @contextmanager
    def reading(self, nodes: Sequence[tuple[Variable, Node]]) -> Iterator[None]:
        """Inside, until they are assigned, reads of these Variables give these nodes, which have the current values."""
        states = [self._state(variable) for variable, _ in nodes]
        for state, (_, node) in zip(states, nodes, strict=True):
            state.read()
            state.leaves.append(node)
        try:
            yield
        finally:
            for state, (_, node) in zip(states, nodes, strict=True):
                if state.is_read and state.leaves[-1] is node:
                    state.leaves.pop()

    def earlier_values(self, variable: Variable) -> Sequence[Node]:
        """What reads of the Variable have given in this frame before its current value."""
        state = self._state(variable)
        return [leaf for leaf in state.leaves if leaf is not state.read()]

    def assigned_leaves(self) -> list[tuple[Variable, Node]]:
        """What reads of Variables have given after an assignment in this frame."""
        pairs = ((s.variable, leaf) for s in self._states.values() for leaf in s.leaves[1:])
        return [(variable, leaf) for variable, leaf in pairs if leaf.op is ops.stop_gradient]

    def assigned_value(self, variable: Variable) -> Node | None:
        """The node that was assigned to the Variable last, in this frame."""
        return self._state(variable).value

    # Finishing

    def finish(self, outputs: Sequence[Node]) -> tuple[Graph, tuple[Variable, ...]]:
        """The graph of a trace, and the Variables that its variables stand for."""
        states = self._states.values()
        graph = Graph(
            inputs=tuple(self.inputs),
            variables=tuple(s.source for s in states),
            updates=tuple(s.value for s in states),
            outputs=tuple(outputs),
        )
        return graph, tuple(s.variable for s in states)

    def close(self, outputs: Sequence[Node]) -> Body:
        """The closed graph of a body."""
        states = list(self._states.values())
        assigned = [(s.variable, s.value) for s in states if s.value is not None]
        graph = Graph(
            inputs=(*self.inputs, *self._captured.values(), *(s.source for s in states)),
            variables=(),
            updates=(),
            outputs=(*outputs, *(value for _, value in assigned)),
        )
        return Body(
            graph,
            tuple(self._captured),
            tuple(s.variable for s in states),
            tuple(variable for variable, _ in assigned),
        )


def leaked(node: Node) -> TraceError:
    """What there is to say of a symbolic tensor that is used where its node means nothing."""
    return TraceError(
        "a symbolic tensor means something only inside the function whose trace made it",
        got=f"a {node.type} made at {node.loc}" if node.loc else f"an argument of it, {node.type}",
        where=user_location(),
        hint="return it from the traced function, or keep it in a gx.Variable with .assign",
    )


def _frozen(array: np.ndarray) -> np.ndarray:
    """A copy that cannot change: a read-only array may still be a view of one that does."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy
