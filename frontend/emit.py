"""Applying ops to tensors: what every array function is written with.

Operands come in as anything array-like and leave as tensors of one dtype and shape, since the graph has neither
promotion nor broadcasting. In a trace an op becomes a node; outside of one it is evaluated at once, by its reference.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np

from graphc import ops
from graphc.brief import brief
from graphc.errors import AxisError, CompileError, DTypeError, GraphcError, ShapeError
from graphc.evaluate import apply as plain_apply
from graphc.ir import Node, make_node
from graphc.op import Op
from graphc.storage import aligned_copy
from graphc.types import DType, TensorType, as_dtype, float16, float32, float64, require_size

from .context import current_context, current_frame, current_settings
from .exchange import native_array
from .interrupts import interrupts, run_outside
from .location import present, user_location
from .promotion import Number, common_dtype, in_range
from .signatures import check_call
from .tensor import Adopted, Borrowed, Tensor, adopted, borrowed, concrete, symbolic
from .tracer import Frame, leaked
from .variable import Variable

ArrayLike: TypeAlias = Any  # a Tensor, a Variable, a Python number, a NumPy array or scalar, anything with DLPack
P = ParamSpec("P")
R = TypeVar("R")


# One op at once, on arrays.
if current_settings().check_nan:
    from graphc.not_finite import checked_apply as apply
else:
    apply = plain_apply


def frame() -> Frame:
    """The frame that is being traced, for functions that mean something only there."""
    found = current_frame()
    if found is None:
        raise CompileError("nodes are made in a trace only")
    return found


def emit(op: Op, *inputs: Tensor, **attrs: Any) -> Tensor:
    """Apply an op to tensors: as a node, at the user's line, or at once where nothing is traced."""
    here = current_frame()
    if here is not None:
        return symbolic(make_node(op, [here.node(i) for i in inputs], attrs, user_location()), here)
    arrays = [elements(x) for x in inputs]
    return holding(apply(op, op.infer(*[x.type for x in inputs], **attrs), arrays, attrs), inputs)


def emit_items(op: Op, inputs: Sequence[Tensor], **attrs: Any) -> tuple[Tensor, ...]:
    """Apply an op with several results."""
    here, where = current_frame(), user_location()
    if here is None:
        arrays = [elements(x) for x in inputs]
        results = apply(op, op.infer(*[x.type for x in inputs], **attrs), arrays, attrs)
        return tuple(holding(r, inputs) for r in results)
    node = make_node(op, [here.node(i) for i in inputs], attrs, where)
    count = len(node.type.items)  # type: ignore[union-attr]
    return tuple(symbolic(make_node(ops.item, [node], {"index": i}, where), here) for i in range(count))


def elementwise(op: Op, *inputs: Tensor) -> Tensor:
    """Apply an elementwise op of graphc's to tensors that broadcast; at once, that is the reference's business."""
    if current_frame() is not None:
        return emit(op, *broadcast(*inputs))
    arrays = [elements(x) for x in inputs]
    shape = arrays[0].shape
    for array in arrays:
        if array.shape != shape and array.shape:
            shape = broadcast_shape(shape, array.shape) if shape else array.shape
    dtype = _dtype_of_elements(op, tuple([a.dtype for a in arrays]))
    if dtype is None:  # the rule says why not
        dtype = op.infer(*[TensorType(x.dtype, shape) for x in inputs]).dtype  # type: ignore[union-attr]
    return holding(apply(op, TensorType(dtype, shape), arrays, {}), inputs)


@functools.lru_cache(maxsize=4096)
def _dtype_of_elements(op: Op, dtypes: tuple[np.dtype, ...]) -> DType | None:
    """The dtype of an elementwise op's results, which depends on nothing else; None where its rule refuses."""
    try:
        return op.infer(*[TensorType(as_dtype(d), ()) for d in dtypes]).dtype  # type: ignore[union-attr]
    except GraphcError:
        return None


def elements(x: Tensor) -> np.ndarray:
    """The elements of a concrete tensor. Raises TraceError for a symbolic one, whose trace has ended."""
    if x._node is not None:
        raise leaked(x._node)
    return x._array


def holding(array: np.ndarray, inputs: Sequence[Tensor]) -> Tensor:
    """A tensor over a result, which may be a view of an input, and then is borrowed or adopted if that is."""
    if array.base is not None:
        for x in inputs:
            kind = type(x)
            if (kind is Borrowed or kind is Adopted) and np.may_share_memory(array, x._array):
                return borrowed(array) if kind is Borrowed else adopted(array)
    return concrete(array)


def wrap(node: Node) -> Tensor:
    """The tensor that stands for a node of the current frame."""
    return symbolic(node, frame())


# Operands


def is_number(x: object) -> bool:
    """Whether it is a Python number, weak in promotion. NumPy's scalars are arrays, though float64 is a float too."""
    return isinstance(x, _NUMBERS) and not isinstance(x, np.generic)


_NUMBERS = (int, float)  # bool is an int


def as_tensor(x: Any, dtype: DType | None = None) -> Tensor:
    """A tensor to work with: from a tensor, Variable, array, or Python number (of the given dtype)."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, Variable):
        return x.value
    here = current_frame()
    if is_number(x):
        chosen = dtype or common_dtype((), (x,))
        if here is None:
            return _number(x, chosen) if x else concrete(np.asarray(in_range(x, chosen), chosen.numpy))
        return wrap(here.scalar(in_range(x, chosen), chosen))
    array = native_array(x, dtype)
    return borrowed(array) if here is None else wrap(here.constant(array))


@functools.lru_cache(maxsize=64, typed=True)
def _number(value: Number, dtype: DType) -> Tensor:
    """A Python number as a tensor; not for 0, which may have a sign that no key shows."""
    return concrete(np.asarray(in_range(value, dtype), dtype.numpy))


def operands(*xs: Any, dtype: DType | None = None) -> tuple[Tensor, ...]:
    """The operands as tensors of their common dtype (or of `dtype`), each still of its own shape."""
    if not xs:
        raise ShapeError("expected at least one array")
    if dtype is None:
        if _kind_in_common(xs):
            return xs
        if len(xs) == 2 and (found := _beside_number(*xs)) is not None:
            return found
    known = _strong(xs)
    return _converted(known, dtype or _common(known))


def floats(*xs: Any) -> tuple[Tensor, ...]:
    """The operands as tensors of the float dtype that functions like exp compute in: float32 for integers and bools."""
    if _kind_in_common(xs) == "f":
        return xs
    known = _strong(xs)
    return _converted(known, _float(_common(known)))


def _kind_in_common(xs: Sequence[Any]) -> str | None:
    """NumPy's name for the kind of dtype of concrete tensors of one dtype: the case that is to be quick."""
    dtype = None
    for x in xs:
        if type(x) is not Tensor or x._node is not None:
            return None
        if dtype is None:
            dtype = x._array.dtype
        elif x._array.dtype is not dtype:
            return None
    return None if dtype is None else dtype.kind


def _beside_number(a: Any, b: Any) -> tuple[Tensor, Tensor] | None:
    """A concrete tensor and a Python number that takes its dtype, in either order, as `operands` gives them."""
    x, number = (a, b) if type(a) is Tensor else (b, a)
    if type(x) is not Tensor or x._node is not None or current_frame() is not None:
        return None
    kind = x._array.dtype.kind
    if not (type(number) is int and kind in "fi") and not (type(number) is float and kind == "f"):
        return None
    other = as_tensor(number, x.dtype)
    return (x, other) if x is a else (other, x)


def _strong(xs: Sequence[Any]) -> list[Tensor | Number]:
    """The operands as tensors, but for Python numbers, whose dtype depends on the others."""
    return [x if is_number(x) else as_tensor(x) for x in xs]


def _common(xs: Sequence[Tensor | Number]) -> DType:
    return common_dtype(
        [x.dtype for x in xs if isinstance(x, Tensor)], [x for x in xs if not isinstance(x, Tensor)]
    )


def _float(dtype: DType) -> DType:
    return dtype if dtype.is_float else float32


def _converted(xs: Sequence[Tensor | Number], dtype: DType) -> tuple[Tensor, ...]:
    return tuple([cast(x, dtype) if isinstance(x, Tensor) else as_tensor(x, dtype) for x in xs])


def cast(x: Tensor, dtype: DType) -> Tensor:
    return x if x.dtype is dtype else emit(ops.cast, x, dtype=dtype)


def float_dtype(*xs: Any) -> DType:
    """The float dtype that functions like exp and mean compute in: float32 for integers and bools."""
    if len(xs) == 1 and isinstance(xs[0], Tensor):
        return _float(xs[0].dtype)
    return _float(_common(_strong(xs)))


def wide(x: ArrayLike) -> Tensor:
    """As a tensor of the float dtype to compute in: 16-bit floats as float32, whose range sums and counts fit."""
    x = as_tensor(x)
    return cast(x, float_dtype(x).computes_as)


def for_squares(x: ArrayLike) -> Tensor:
    """As floats whose squares neither overflow nor vanish: float64, and float16 as float32. Those of float64 itself do
    beyond 10^±154. Beside reading memory the wider arithmetic costs little."""
    x = as_tensor(x)
    return cast(x, float32 if x.dtype is float16 else float64)


def rounded_once(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """For a function of floats in several steps: it computes with `wide` values, and what it gives is rounded to the
    float dtype of its first argument. So nothing on the way passes through the range of 16 bits, fused or not."""

    first = next(iter(inspect.signature(function).parameters))

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        result = function(*args, **kwargs)
        own = float_dtype(args[0] if args else kwargs[first])
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
    if current_frame() is None:
        try:
            return holding(np.broadcast_to(elements(x), shape), (x,))
        except ValueError:
            require_size(TensorType(x.dtype, shape))
            raise
    offset = len(shape) - len(x.shape)
    kept = [axis for axis, size in enumerate(x.shape) if size == shape[axis + offset]]
    if len(kept) < len(x.shape):
        x = emit(ops.reshape, x, shape=tuple(x.shape[a] for a in kept))
    return emit(ops.broadcast, x, shape=shape, dims=tuple(a + offset for a in kept))


def broadcast(*xs: Tensor) -> tuple[Tensor, ...]:
    """All stretched to their common shape."""
    shapes = [x.shape for x in xs]
    if len(set(shapes)) == 1:
        return xs
    shape = broadcast_shape(*shapes)
    return tuple([stretch(x, shape) for x in xs])


def filled(value: Number, type_: TensorType) -> Tensor:
    """A tensor of one repeated number."""
    return stretch(as_tensor(value, type_.dtype), type_.shape)


def whole(value: Any, rule: str) -> int:
    """A whole number, Python's or NumPy's, as an int. Raises ShapeError with this rule for all else: bools too."""
    if type(value) is int:
        return value
    if not isinstance(value, bool | np.bool_):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise ShapeError(rule, got=brief(value))


def wholes(values: Any, rule: str) -> tuple[int, ...]:
    """One whole number, or a sequence of them, as a tuple of ints. Raises ShapeError with this rule for all else."""
    if type(values) is int:
        return (values,)
    try:
        items = tuple(values)
    except TypeError:  # no sequence; NumPy's and our arrays of rank 0 say so only here
        items = (values,)
    return tuple([whole(i, rule) for i in items])


def normal_axis(axis: int, rank: int) -> int:
    """The axis counted from the front. Raises AxisError for one that does not exist."""
    axis = whole(axis, "an axis is a whole number")
    if not -rank <= axis < rank:
        raise AxisError(
            f"an axis of a tensor of rank {rank} is between {-rank} and {rank - 1}", got=str(axis)
        )
    return axis + rank if axis < 0 else axis


def normal_axes(axes: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Axes counted from the front, sorted; None for all. Raises ShapeError for repeated ones."""
    if axes is None:
        return tuple(range(rank))
    result = sorted([normal_axis(a, rank) for a in wholes(axes, "an axis is a whole number")])
    if len(set(result)) < len(result):
        raise ShapeError("each axis may be named once", got=str(axes))
    return tuple(result)


# Functions for users


def operation(function: Callable[P, R]) -> Callable[P, R]:
    """An array function, `with_user_line`; no result shares memory that someone may write to."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            try:
                here = current_context().frame
                if here is not None and interrupts(here, 2):
                    return run_outside(call, *args, **kwargs)
                result = function(*args, **kwargs)
            except TypeError:
                check_call(function, args, kwargs)
                raise
            return result if type(result) is Tensor else _owned(result)
        except Exception as error:
            present(error)
            raise

    return call


def carried_out(function: Callable[..., R], args: Sequence[Any], kwargs: Mapping[str, Any]) -> R:
    """What an `operation` does, for callers that present errors themselves."""
    try:
        result = function(*args, **kwargs)
    except TypeError:
        check_call(function, args, kwargs)
        raise
    return result if type(result) is Tensor else _owned(result)


def _owned(result: Any) -> Any:
    if isinstance(result, Borrowed):
        return concrete(aligned_copy(result._array))
    if isinstance(result, tuple | list):
        owned = map(_owned, result)
        return type(result)(*owned) if hasattr(result, "_fields") else type(result)(owned)
    return result
