"""Type rules that many declarations share, and the gradient rule of ops that pass none on.

In: the dtype families an op accepts. Out: `infer` functions. Knows no op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..dataclass import dataclass
from ..errors import DTypeError, ShapeError
from ..ir import Node
from ..op import same_types
from ..types import DType, TensorType, bool_


@dataclass(frozen=True)
class Family:
    """A set of dtypes as rules and messages speak of it."""

    text: str
    holds: Callable[[DType], bool]
    hint: str | None = None


ANY = Family("any dtype", lambda d: True)
FLOATS = Family("a float dtype", lambda d: d.is_float, "cast to float32 first")
NUMBERS = Family("a number dtype", lambda d: not d.is_bool, "cast the bool, or use a logical op")
INTEGERS = Family("an integer dtype", lambda d: d.is_integer)
BITS = Family("an integer dtype or bool", lambda d: not d.is_float)
BOOL = Family("bool", lambda d: d.is_bool, "compare with 0 first")

Rule = Callable[..., TensorType]


def require(op: str, family: Family, *types: TensorType) -> None:
    """Raise DTypeError unless all dtypes are of the family."""
    for t in types:
        if not family.holds(t.dtype):
            raise DTypeError(f"{op} needs {family.text}", got=str(t), hint=family.hint)


def unary(op: str, family: Family, result: DType | None = None) -> Rule:
    """x → a tensor of x's shape; of x's dtype unless `result` names another."""

    def infer(x: TensorType) -> TensorType:
        require(op, family, x)
        return x if result is None else x.with_dtype(result)

    return infer


def binary(op: str, family: Family, result: DType | None = None) -> Rule:
    """a, b of one type → that type, or its shape with the dtype `result`."""

    def infer(a: TensorType, b: TensorType) -> TensorType:
        common = same_types(op, (a, b))
        require(op, family, common)
        return common if result is None else common.with_dtype(result)

    return infer


def check_axes(op: str, axes: Sequence[int], ndim: int) -> None:
    """Raise ShapeError unless the axes are sorted, distinct and lie inside."""
    if list(axes) != sorted(set(axes)) or any(not 0 <= a < ndim for a in axes):
        raise ShapeError(
            f"{op} needs sorted, distinct axes of its input", got=f"axes {tuple(axes)} of {ndim} dimensions"
        )


def reduced(op: str, family: Family, result: DType | None = None, *, of_nothing: bool = True) -> Rule:
    """x without `axes`. `of_nothing`: whether reducing no elements at all has a value."""

    def infer(x: TensorType, axes: tuple[int, ...]) -> TensorType:
        require(op, family, x)
        check_axes(op, axes, x.ndim)
        if not of_nothing and any(x.shape[a] == 0 for a in axes):
            raise ShapeError(f"{op} of no elements has no value", got=f"{x} over axes {axes}")
        kept = tuple(s for a, s in enumerate(x.shape) if a not in axes)
        return TensorType(x.dtype if result is None else result, kept)

    return infer


def no_gradient(g: Node, y: Node, *inputs: Node, **attrs: object) -> tuple[None, ...]:
    """The rule of ops that are constant wherever they are smooth."""
    return (None,) * len(inputs)


predicate = bool_  # the dtype of results that answer yes or no
