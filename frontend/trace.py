"""Running a function once on symbolic tensors: a function and a description of its arguments in, a `Trace` out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphc.collector import rare_collections
from graphc.dataclass import dataclass
from graphc.errors import TraceError
from graphc.ir import Graph
from graphc.types import TensorType

from . import pytree
from .arguments import Arguments
from .context import current_frame, within
from .emit import as_tensor
from .exchange import is_foreign_array
from .guards import Guard
from .location import with_user_line
from .printing import Printed
from .signatures import check_call
from .tensor import Tensor, concrete, symbolic
from .tracer import Frame
from .variable import Variable
from .watch import captured_values


@dataclass(frozen=True)
class Result:
    """The structure of what the function returned: which leaves are outputs, in order, and what the others are."""

    tree: Any
    outputs: tuple[int, ...]
    printed: tuple[Printed, ...] = ()  # whose values are outputs of the graph behind those

    def restore(self, tensor: Callable[[Any], Tensor] = concrete) -> Callable[[Sequence[Any]], Any]:
        """A function from what a program gives to what the caller gets; it prints what is to be printed. `tensor` makes
        a Tensor of an output."""
        plain = self._restore(tensor)
        if not self.printed:
            return plain

        def restore(arrays: Sequence[Any]) -> Any:
            place = len(self.outputs)
            for one in self.printed:
                one.show([np.asarray(a) for a in arrays[place : place + one.count]])
                place += one.count
            return plain(arrays[: len(self.outputs)])

        return restore

    def _restore(self, tensor: Callable[[Any], Tensor]) -> Callable[[Sequence[Any]], Any]:
        """Common shapes of results have short ways."""
        if isinstance(self.tree, Tensor):
            return lambda arrays: tensor(arrays[0])
        if type(self.tree) is tuple and all(isinstance(t, Tensor) for t in self.tree):
            return lambda arrays: tuple([tensor(a) for a in arrays])
        if self.tree is None:
            return lambda arrays: None
        return lambda arrays: self.filled([tensor(a) for a in arrays])

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each output: the keys that lead to it in dicts, joined, or "output" and the numbers."""
        paths = dict(pytree.written_order(self.tree))
        found = (".".join(map(str, paths[place] or (0,))) for place in self.outputs)
        return tuple(f"output{name}" if name[:1].isdigit() else name for name in found)

    def filled(self, values: Sequence[Any]) -> Any:
        """The structure with these in place of the outputs."""
        leaves = pytree.leaves(self.tree)
        for place, value in zip(self.outputs, values, strict=True):
            leaves[place] = value
        return pytree.unflatten(self.tree, leaves)


@dataclass(frozen=True)
class Trace:
    """What tracing found: the graph, the Variables behind its variables, what it depends on that may change."""

    graph: Graph
    variables: tuple[Variable, ...]
    guards: tuple[Guard, ...]
    result: Result


def trace_call(function: Callable[..., Any], arguments: Arguments) -> Trace:
    """Trace a call. Arrays among the arguments become inputs, everything else is seen as it is."""
    frame = Frame()
    frame.traced_by = _run.__code__
    with rare_collections():
        tree, outputs, nodes = within(frame, _run, frame, function, arguments)
    graph, variables = frame.finish([*nodes, *(node for _, values in frame.printed for node in values)])
    captured_values(frame, function, [x for x in arguments.leaves if not isinstance(x, TensorType)])
    result = Result(tree, outputs, tuple(p for p, _ in frame.printed))
    return Trace(graph, variables, tuple(frame.guards.values()), result)


def _run(frame: Frame, function: Callable[..., Any], arguments: Arguments) -> tuple[Any, tuple[int, ...], list[Any]]:
    """Call the function on symbolic tensors; see `_result`."""
    leaves = [
        symbolic(frame.input(leaf, name), frame) if isinstance(leaf, TensorType) else leaf
        for name, leaf in zip(arguments.names, arguments.leaves, strict=True)
    ]
    args, kwargs = arguments.rebuild(leaves)
    return _result(function(*args, **kwargs), frame)


def _result(result: Any, frame: Frame) -> tuple[Any, tuple[int, ...], list[Any]]:
    """The result with placeholders for its arrays, their places among the leaves, and their nodes."""
    if isinstance(result, Tensor | Variable):
        return _placeholder, (0,), [frame.node(as_tensor(result))]
    if type(result) is tuple and all(isinstance(x, Tensor | Variable) for x in result):
        nodes = [frame.node(as_tensor(x)) for x in result]
        return (_placeholder,) * len(nodes), tuple(range(len(nodes))), nodes
    leaves = pytree.leaves(result)
    if (late := next((x for x in leaves if isinstance(x, LATE)), None)) is not None:
        raise TraceError(
            "a compiled function returns what it has computed, not what will be computed later",
            got=f"a {type(late).__name__}",
            hint="return a list or a tuple; what yields or is async does not run when it is called",
        )
    order = [i for i, _ in pytree.written_order(result)]
    places = [i for i in order if isinstance(leaves[i], Tensor | Variable) or is_foreign_array(leaves[i])]
    nodes = [frame.node(as_tensor(leaves[i])) for i in places]
    for i in places:
        leaves[i] = _placeholder
    return pytree.unflatten(result, leaves), tuple(places), nodes


LATE = Iterator, Awaitable, AsyncIterator  # generators and coroutines, map and zip

_placeholder = concrete(np.zeros((), np.bool_))


@with_user_line
def trace(function: Callable[..., Any], *examples: Any, **named: Any) -> Graph:
    """The graph of `function` for arguments like these: arrays, `gx.spec`s with fixed sizes, Python values.

    The graph is as traced: no pass has changed it. Raises TraceError inside of another trace.
    """
    if current_frame() is not None:
        raise TraceError("gx.trace makes a graph of its own, outside of other traces")
    check_call(function, examples, named)
    return trace_call(function, Arguments.of(function, examples, named)).graph
