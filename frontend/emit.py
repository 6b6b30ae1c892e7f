"""Making nodes from tensors: what every array function is written with.

Operands come in as anything array-like and leave as tensors of one dtype and shape, since the graph has neither
promotion nor broadcasting. `operation` runs a function that meets concrete values at once, as one small graph.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np

from graphc import ops
from graphc.driver import call_lock, driver
from graphc.errors import CompileError, DTypeError, ShapeError
from graphc.ir import Node, make_node
from graphc.op import Op
from graphc.types import DType, TensorType

from .context import current_frame, current_settings, entered
from .exchange import native_array
from .location import user_location, with_user_line
from .promotion import Number, common_dtype, in_range
from .tensor import Tensor, concrete, symbolic
from .tracer import Frame, FrameKind
from .variable import Variable

ArrayLike: TypeAlias = (
    Any  # a Tensor, a Variable, a Python number, a NumPy array or scalar, anything with DLPack
)
P = ParamSpec("P")
R = TypeVar("R")


def frame() -> Frame:
    """The frame that is being traced; array functions always have one."""
    found = current_frame()
    if found is None:
        raise CompileError("an array function ran without @operation, so nothing receives its nodes")
    return found


def emit(op: Op, *inputs: Tensor, **attrs: Any) -> Tensor:
    """Apply an op to tensors, at the user's line."""
    here = frame()
    return symbolic(make_node(op, [here.node(i) for i in inputs], attrs, user_location()), here)


def emit_items(op: Op, inputs: Sequence[Tensor], **attrs: Any) -> tuple[Tensor, ...]:
    """Apply an op with several results."""
    here, where = frame(), user_location()
    node = make_node(op, [here.node(i) for i in inputs], attrs, where)
    count = len(node.type.items)  # type: ignore[union-attr]
    return tuple(symbolic(make_node(ops.item, [node], {"index": i}, where), here) for i in range(count))


def wrap(node: Node) -> Tensor:
    """The tensor that stands for a node of the current frame."""
    return symbolic(node, frame())


# Operands


def is_number(x: object) -> bool:
    """Whether it is a Python number, weak in promotion. NumPy's scalars are arrays, though float64 is a float too."""
    return isinstance(x, bool | int | float) and not isinstance(x, np.generic)


def as_tensor(x: Any, dtype: DType | None = None) -> Tensor:
    """A tensor of the current frame: from a tensor, Variable, array, or Python number (of the given dtype)."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, Variable):
        return x.value
    if is_number(x):
        chosen = dtype or common_dtype((), (x,))
        return wrap(frame().scalar(in_range(x, chosen), chosen))
    return wrap(frame().constant(native_array(x, dtype)))


def operands(*xs: Any, dtype: DType | None = None) -> tuple[Tensor, ...]:
    """The operands as tensors of their common dtype (or of `dtype`), each still of its own shape."""
    strong = {i: as_tensor(x) for i, x in enumerate(xs) if not is_number(x)}
    if not xs:
        raise ShapeError("expected at least one array")
    common = dtype or common_dtype((t.dtype for t in strong.values()), (x for x in xs if is_number(x)))
    return tuple(cast(strong[i], common) if i in strong else as_tensor(x, common) for i, x in enumerate(xs))


def cast(x: Tensor, dtype: DType) -> Tensor:
    return x if x.dtype is dtype else emit(ops.cast, x, dtype=dtype)


def float_dtype(*xs: Any) -> DType:
    """The float dtype that functions like exp and mean compute in: float32 for integers and bools."""
    common = common_dtype(
        (as_tensor(x).dtype for x in xs if not is_number(x)), (x for x in xs if is_number(x))
    )
    return common if common.is_float else common_dtype((common,), (0.0,))


def wide(x: ArrayLike) -> Tensor:
    """As a tensor of the float dtype to compute in: 16-bit floats as float32, whose range sums and counts fit."""
    x = as_tensor(x)
    return cast(x, float_dtype(x).computes_as)


def rounded_once(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """For a function of floats in several steps: it computes with `wide` values, and what it gives is rounded to the
    float dtype of its first argument. So nothing on the way passes through the range of 16 bits, fused or not."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        result = function(*args, **kwargs)
        own = float_dtype(args[0] if args else next(iter(kwargs.values())))
        return cast(result, own) if own.computes_as is result.dtype else result

    return call


def require(dtype: DType, legal: bool, function: str, what: str) -> None:
    """Raise DTypeError unless the dtype is one of those that the function takes."""
    if not legal:
        raise DTypeError(f"gx.{function} takes {what}", got=str(dtype))


# Shapes


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all broadcast to, by NumPy's rule. Raises ShapeError."""
    rank = max(map(len, shapes), default=0)
    result = []
    for axis in range(-rank, 0):
        sizes = {s[axis] for s in shapes if -axis <= len(s)} - {1}
        if len(sizes) > 1:
            raise ShapeError(
                "shapes broadcast where sizes are equal or 1, counted from the last axis",
                got=" and ".join(map(str, shapes)),
                hint="reshape, or insert axes with gx.expand_dims",
            )
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def stretch(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Broadcast to a shape that `broadcast_shape` gave: axes of size 1 are dropped, then all missing axes repeated."""
    if x.shape == shape:
        return x
    offset = len(shape) - len(x.shape)
    kept = [axis for axis, size in enumerate(x.shape) if size == shape[axis + offset]]
    if len(kept) < len(x.shape):
        x = emit(ops.reshape, x, shape=tuple(x.shape[a] for a in kept))
    return emit(ops.broadcast, x, shape=shape, dims=tuple(a + offset for a in kept))


def broadcast(*xs: Tensor) -> tuple[Tensor, ...]:
    """All stretched to their common shape."""
    shape = broadcast_shape(*(x.shape for x in xs))
    return tuple(stretch(x, shape) for x in xs)


def filled(value: Number, type_: TensorType) -> Tensor:
    """A tensor of one repeated number."""
    scalar = wrap(frame().scalar(in_range(value, type_.dtype), type_.dtype))
    return stretch(scalar, type_.shape)


def whole(value: Any, rule: str) -> int:
    """A whole number, Python's or NumPy's, as an int. Raises ShapeError with this rule for all else: bools too."""
    if not isinstance(value, bool | np.bool_):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise ShapeError(rule, got=repr(value))


def wholes(values: Any, rule: str) -> tuple[int, ...]:
    """One whole number, or a sequence of them, as a tuple of ints. Raises ShapeError with this rule for all else."""
    try:
        items = tuple(values)
    except TypeError:  # no sequence; NumPy's and our arrays of rank 0 say so only here
        items = (values,)
    return tuple(whole(i, rule) for i in items)


def normal_axis(axis: int, rank: int) -> int:
    """The axis counted from the front. Raises ShapeError for one that does not exist."""
    axis = whole(axis, "an axis is a whole number")
    if not -rank <= axis < rank:
        raise ShapeError(
            f"an axis of a tensor of rank {rank} is between {-rank} and {rank - 1}", got=str(axis)
        )
    return axis + rank if axis < 0 else axis


def normal_axes(axes: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Axes counted from the front, sorted; None for all. Raises ShapeError for repeated ones."""
    if axes is None:
        return tuple(range(rank))
    result = sorted(normal_axis(a, rank) for a in wholes(axes, "an axis is a whole number"))
    if len(set(result)) < len(result):
        raise ShapeError("each axis may be named once", got=str(axes))
    return tuple(result)


# Concrete values


def operation(function: Callable[P, R]) -> Callable[P, R]:
    """An array function: adds nodes to the trace it is called in, or runs at once where there is none.

    Then the nodes it makes are a graph of their own, with all values it meets as inputs; equal graphs are compiled
    once. So one call is one program, however many ops the function is written with. Errors get the user's line.
    """

    @with_user_line
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if current_frame() is not None:
            return function(*args, **kwargs)
        return _run_now(functools.partial(function, *args, **kwargs))

    return call


def _run_now(function: Callable[[], Any]) -> Any:
    here = Frame(FrameKind.EAGER)
    with entered(here):
        result = function()
        several = isinstance(result, tuple | list)
        results = list(result) if several else [result]
        pending = [i for i, r in enumerate(results) if isinstance(r, Tensor) and r.is_symbolic]
        body = here.close([here.node(results[i]) for i in pending])
    if body.graph.outputs:
        with call_lock:
            state = [v.storage.array for v in body.variables]
            arrays = driver().execute(body.graph, [*here.arrays, *state], current_settings())
            for variable, array in zip(body.assigned, arrays[len(pending) :], strict=True):
                variable.storage.write(array)
        for i, array in zip(pending, arrays, strict=False):
            results[i] = concrete(array)
    return type(result)(results) if several else results[0]
