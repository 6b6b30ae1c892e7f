"""Functions and loops whose gradients compute values once more instead of keeping them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from graphc import ops
from graphc.brief import brief
from graphc.errors import ShapeError, TraceError
from graphc.ir import Graph, Node
from graphc.ops.bodies import LoopInputs, loop_attrs

from . import pytree
from .bodies import BodyTrace, Leaves, Surroundings
from .context import current_frame
from .emit import emit_items, whole
from .location import with_user_line
from .shapes import concat, reshape, slice_axis
from .tensor import Tensor

TRIED = 10_000  # sizes of segments, at most

F = TypeVar("F", bound=Callable[..., Any])


@with_user_line
def checkpoint(function: F) -> F:
    """The function, which gives the same, but whose gradient keeps nothing of it but its arguments: what it needs of
    the values inside, it computes once more. So the memory that a program needs grows less with its length.

    It may assign Variables and draw random numbers, which are the same ones when they are drawn again. Its results are
    pytrees of arrays. For loops there is `gx.scan(..., remat=True)`.
    """
    if not callable(function):
        raise TraceError("gx.checkpoint takes a function, and gives one", got=brief(function),
                         hint="gx.checkpoint(f)(x)")  # fmt: skip

    @with_user_line
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if current_frame() is None:
            return function(*args, **kwargs)
        trace = BodyTrace(lambda: function(*args, **kwargs), "")
        trace.run()
        body = trace.close(trace.nodes(Leaves.of(trace.result, "the result"), "what a checkpoint gives"))
        around = Surroundings([body])
        own, fixed, changing = around.inputs_of(body)
        graph = Graph((*own, *fixed, *changing), (), (), around.outputs_of(body, changing))
        found = emit_items(ops.checkpoint, [*around.fixed, *around.changing], body=graph) if graph.outputs else ()
        count = len(found) - len(around.assigned)
        around.commit(found[count:])
        return pytree.unflatten(trace.result, found[:count])

    return call  # type: ignore[return-value]


def segment_size(remat: bool | int, length: int) -> int:
    """The steps of a segment whose inner values are computed again; all of them where that is not asked for."""
    rule = "remat is True, or the number of steps in a segment"
    if isinstance(remat, bool):
        return _balanced(length) if remat else max(1, length)
    size = whole(remat, rule)
    if size < 1:
        raise ShapeError(rule, got=str(size))
    return size


def _balanced(length: int) -> int:
    """About √length; a divisor of the length where there is one near it, so that no steps are left."""
    root = math.ceil(math.sqrt(length))
    near = min(root, TRIED)
    sizes = range(max(1, root - near // 2), root + near + 1)
    found = [size for size in sizes if length % size == 0]
    return min(found, key=lambda size: size + length // size, default=max(1, root))


def scan_in_segments(
    inputs: LoopInputs[Tensor], body: Graph, length: int, reverse: bool, size: int
) -> tuple[Tensor, ...]:
    """The results of a scan: a scan over segments of so many steps, each a checkpointed scan, and one of what is left.

    The gradient keeps what is carried from one segment to the next, and the inner values of one segment at a time:
    of the order of √length if `size` is.
    """
    count = length // size
    if count < 2:
        return emit_items(ops.scan, inputs.all, **loop_attrs(inputs, body, length, reverse=reverse))
    left = length - count * size
    first, rest = (left, 0) if reverse else (0, count * size)  # where whole segments, and what is left, begin
    rows = [slice_axis(x, 0, first, first + count * size) for x in inputs.slices]
    segments = tuple(reshape(x, (count, size, *x.shape[1:])) for x in rows)
    whole_ones = LoopInputs(inputs.consts, inputs.carries, segments)
    attrs = loop_attrs(whole_ones, _segment(whole_ones, body, size, reverse), count, reverse=reverse)
    found = emit_items(ops.scan, whole_ones.all, **attrs)
    carries = len(inputs.carries)
    stacks = [reshape(y, (count * size, *y.shape[2:])) for y in found[carries:]]
    if not left:
        return (*found[:carries], *stacks)
    tail = tuple(slice_axis(x, 0, rest, rest + left) for x in inputs.slices)
    last = LoopInputs(inputs.consts, found[:carries], tail)
    graph = _checkpointed([x.type for x in last.all], last, body, left, reverse)
    more = emit_items(ops.checkpoint, last.all, body=graph)
    pairs = zip(stacks, more[carries:], strict=True)
    joined = (concat([b, a] if reverse else [a, b], axis=0) for a, b in pairs)
    return (*more[:carries], *joined)


def _segment(inputs: LoopInputs[Tensor], body: Graph, size: int, reverse: bool) -> Graph:
    """The body of the loop over segments: one checkpoint."""
    types = [x.type for x in (*inputs.consts, *inputs.carries)]
    types += [x.type.with_shape(x.shape[1:]) for x in inputs.slices]
    nodes = [ops.input(type=t, name=f"x{i}") for i, t in enumerate(types)]
    made = ops.checkpoint(*nodes, body=_checkpointed(types, inputs, body, size, reverse))
    return Graph(tuple(nodes), (), (), _items(made))


def _checkpointed(
    types: Sequence[Any], inputs: LoopInputs[Tensor], body: Graph, length: int, reverse: bool
) -> Graph:
    """The body of a checkpoint: one scan with the loop's own body."""
    nodes = [ops.input(type=t, name=f"x{i}") for i, t in enumerate(types)]
    made = ops.scan(*nodes, **loop_attrs(inputs, body, length, reverse=reverse))
    return Graph(tuple(nodes), (), (), _items(made))


def _items(node: Node) -> tuple[Node, ...]:
    return tuple(ops.item(node, index=i) for i in range(len(node.type.items)))  # type: ignore[union-attr]
