"""Comparisons, logic, selections and casts. All rules hold bit for bit, NaN included."""

from __future__ import annotations

from graphc.ir import Node
from graphc.op import Kind, Op
from graphc.ops import (
    bitcast,
    bitwise_and,
    bitwise_invert,
    bitwise_or,
    cast,
    equal,
    full_like,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    multiply,
    negative,
    not_equal,
    select,
    zeros_like,
)
from graphc.types import DType, bool_, float32, float64, int8, int32

from ..rewrite import Rule, floats, identity, integers, rule, tensor
from .patterns import false_like, fill_of, true_like

Sides = tuple[Node, Node]


def exact(dtype: DType) -> bool:
    """Dtypes without NaN."""
    return not dtype.is_float


# Comparisons


@identity(equal, exact)
def equal_to_itself(x: Node) -> Sides:
    return equal(x, x), true_like(x)


@identity(not_equal, exact)
def not_equal_to_itself(x: Node) -> Sides:
    return not_equal(x, x), false_like(x)


@identity(not_equal, floats)
def not_equal_to_itself_is_nan(x: Node) -> Sides:
    return not_equal(x, x), isnan(x)


@identity(less)
def less_than_itself(x: Node) -> Sides:
    return less(x, x), false_like(x)


@identity(greater)
def greater_than_itself(x: Node) -> Sides:
    return greater(x, x), false_like(x)


@identity(isnan, integers)
def integer_is_no_nan(x: Node) -> Sides:
    return isnan(x), false_like(x)


@identity(isinf, integers)
def integer_is_not_infinite(x: Node) -> Sides:
    return isinf(x), false_like(x)


@identity(isfinite, integers)
def integer_is_finite(x: Node) -> Sides:
    return isfinite(x), true_like(x)


# Negated, with floats: NOT (a < b) is true for NaN, a ≥ b is not.
NEGATED: dict[Op, Op] = {equal: not_equal, not_equal: equal}
NEGATED_EXACT: dict[Op, Op] = {
    less: greater_equal,
    greater_equal: less,
    greater: less_equal,
    less_equal: greater,
}


@rule(
    logical_not,
    examples=[
        lambda: logical_not(equal(tensor(4, 16), tensor(4, 16))),
        lambda: logical_not(not_equal(tensor(4, 16), tensor(4, 16))),
        lambda: logical_not(less(tensor(4, 16, dtype=int8), tensor(4, 16, dtype=int8))),
        lambda: logical_not(greater_equal(tensor(4, 16, dtype=int8), tensor(4, 16, dtype=int8))),
    ],
)
def negated_comparison(node: Node) -> Node | None:
    (comparison,) = node.inputs
    opposite = NEGATED.get(comparison.op)
    if opposite is None and comparison.inputs and exact(comparison.inputs[0].dtype):
        opposite = NEGATED_EXACT.get(comparison.op)
    return None if opposite is None else opposite(*comparison.inputs)


# Logic


@identity(logical_not)
def not_twice(mask: Node) -> Sides:
    return logical_not(logical_not(mask)), mask


@identity(logical_and)
def and_true(mask: Node) -> Sides:
    return logical_and(mask, true_like(mask)), mask


@identity(logical_and)
def and_false(mask: Node) -> Sides:
    return logical_and(mask, false_like(mask)), false_like(mask)


@identity(logical_and)
def and_itself(mask: Node) -> Sides:
    return logical_and(mask, mask), mask


@identity(logical_or)
def or_true(mask: Node) -> Sides:
    return logical_or(mask, true_like(mask)), true_like(mask)


@identity(logical_or)
def or_false(mask: Node) -> Sides:
    return logical_or(mask, false_like(mask)), mask


@identity(logical_or)
def or_itself(mask: Node) -> Sides:
    return logical_or(mask, mask), mask


@identity(logical_xor)
def xor_true(mask: Node) -> Sides:
    return logical_xor(mask, true_like(mask)), logical_not(mask)


@identity(logical_xor)
def xor_false(mask: Node) -> Sides:
    return logical_xor(mask, false_like(mask)), mask


@identity(logical_xor)
def xor_itself(mask: Node) -> Sides:
    return logical_xor(mask, mask), false_like(mask)


@identity(bitwise_invert)
def bits_inverted_twice(x: Node) -> Sides:
    return bitwise_invert(bitwise_invert(x)), x


@identity(bitwise_and)
def bits_and_themselves(x: Node) -> Sides:
    return bitwise_and(x, x), x


@identity(bitwise_or)
def bits_or_themselves(x: Node) -> Sides:
    return bitwise_or(x, x), x


@identity(bitwise_and, integers)
def bits_and_zero(x: Node) -> Sides:
    return bitwise_and(x, zeros_like(x)), zeros_like(x)


@identity(bitwise_or, integers)
def bits_or_zero(x: Node) -> Sides:
    return bitwise_or(x, zeros_like(x)), x


# Selections


@identity(select)
def select_where_true(x: Node, y: Node) -> Sides:
    return select(true_like(x), x, y), x


@identity(select)
def select_where_false(x: Node, y: Node) -> Sides:
    return select(false_like(x), x, y), y


@identity(select)
def select_the_same(mask: Node, x: Node) -> Sides:
    return select(mask, x, x), x


@identity(select)
def select_where_not(mask: Node, x: Node, y: Node) -> Sides:
    return select(logical_not(mask), x, y), select(mask, y, x)


@identity(select)
def select_again_among_the_first(mask: Node, x: Node, y: Node, z: Node) -> Sides:
    return select(mask, select(mask, x, y), z), select(mask, x, z)


@identity(select)
def select_again_among_the_second(mask: Node, x: Node, y: Node, z: Node) -> Sides:
    return select(mask, x, select(mask, y, z)), select(mask, x, z)


@identity(select, lambda dtype: dtype.is_bool)
def select_true_or_false(mask: Node) -> Sides:
    return select(mask, true_like(mask), false_like(mask)), mask


@identity(select, lambda dtype: dtype.is_bool)
def select_false_or_true(mask: Node) -> Sides:
    return select(mask, false_like(mask), true_like(mask)), logical_not(mask)


@rule(
    examples=[
        lambda: negative(select(tensor(4, dtype=bool_), full_like(tensor(4), 3), full_like(tensor(4), 0))),
        lambda: multiply(full_like(tensor(4), 0.5), cast(tensor(4, dtype=bool_), dtype=float32)),
        lambda: not_equal(cast(tensor(4, dtype=bool_), dtype=float32), zeros_like(tensor(4))),
    ],
    kinds=[Kind.ELEMENTWISE],
    over=[cast, select],
)
def elementwise_of_a_choice(node: Node) -> Node | None:
    """−select(mask, 1, 0) → select(mask, −1, −0): with two fills to choose from, both results are known.

    All other inputs are fills. The number of a bool is such a choice, too.
    """
    open_inputs = [i for i in node.inputs if fill_of(i) is None]
    if len(open_inputs) != 1 or (choice := _choice(open_inputs[0])) is None:
        return None
    mask, *branches = choice
    results = (
        node.op(*(b if i is open_inputs[0] else i for i in node.inputs), **node.attrs) for b in branches
    )
    return select(mask, *results)


def _choice(node: Node) -> tuple[Node, Node, Node] | None:
    """(mask, fill where it holds, fill elsewhere) of a node that is one of two fills."""
    if node.op is cast and node.inputs[0].dtype.is_bool:
        return node.inputs[0], full_like(node, 1), full_like(node, 0)
    if node.op is select and fill_of(node.inputs[1]) is not None and fill_of(node.inputs[2]) is not None:
        mask, a, b = node.inputs
        return mask, a, b
    return None


# Casts


@rule(
    cast,
    bitcast,
    examples=[lambda: cast(tensor(4), dtype=float32), lambda: bitcast(tensor(4), dtype=float32)],
    where=lambda node: node.inputs[0].dtype is node.dtype,
)
def cast_to_same(node: Node) -> Node | None:
    return node.inputs[0]


@rule(
    cast,
    examples=[
        lambda: cast(cast(tensor(4), dtype=float64), dtype=int32),
        lambda: cast(cast(tensor(4, dtype=int8), dtype=float32), dtype=float64),
        lambda: cast(cast(tensor(4, dtype=bool_), dtype=int32), dtype=float32),
    ],
    over=[cast],
)
def cast_twice(node: Node) -> Node | None:
    """cast(cast(x, wide), dtype) → cast(x, dtype), where `wide` holds every value of x.

    A detour over floats saturates where integers wrap, so then the last dtype must hold every value too.
    """
    (middle,) = node.inputs
    (x,) = middle.inputs
    wraps = x.dtype.is_integer and middle.dtype.is_float and node.dtype.is_integer
    if not holds_every(middle.dtype, x.dtype) or (wraps and not holds_every(node.dtype, x.dtype)):
        return None
    return cast(x, dtype=node.dtype)


PRECISION = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}  # bits, the hidden one included
EXPONENT = {"float16": 5, "bfloat16": 8, "float32": 8, "float64": 11}


def holds_every(wide: DType, narrow: DType) -> bool:
    """Whether each value of `narrow` is one of `wide`."""
    if narrow.is_bool:
        return not wide.is_bool
    if narrow.is_float:
        return (
            wide.is_float
            and PRECISION[wide.name] >= PRECISION[narrow.name]
            and EXPONENT[wide.name] >= EXPONENT[narrow.name]
        )
    if wide.is_float:
        # The largest power of two must be in range, too: float16 ends at 65504.
        return PRECISION[wide.name] >= narrow.bits - narrow.is_signed and narrow.bits < 2 ** (
            EXPONENT[wide.name] - 1
        )
    return wide.is_integer and wide.min <= narrow.min and narrow.max <= wide.max


RULES = tuple(r for r in globals().values() if isinstance(r, Rule))
