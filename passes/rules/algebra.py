"""Elementwise identities, mostly as two sides. They hold bit for bit unless they say `ROUNDING`.

So x + 0 is not simplified for floats (−0.0 + 0.0 is 0.0), x + (−0.0) is; x · 0 and x − x are not, because of NaN.
"""

from __future__ import annotations

import builtins

from graphc.ir import Node
from graphc.ops import (
    abs,
    add,
    ceil,
    divide,
    equal,
    floor,
    floor_divide,
    full_like,
    maximum,
    minimum,
    multiply,
    negative,
    ones_like,
    power,
    reciprocal,
    remainder,
    round,
    select,
    sqrt,
    square,
    stop_gradient,
    subtract,
    trunc,
    zeros_like,
)
from graphc.types import int32

from ..rewrite import Exactness, Rule, floats, identity, integers, numbers, rule, tensor
from .patterns import FILLS, is_power_of_two, normal_range, value_of

Sides = tuple[Node, Node]


# Sums


@identity(add, integers)
def add_zero(x: Node) -> Sides:
    return add(x, zeros_like(x)), x


@identity(add, floats)
def add_negative_zero(x: Node) -> Sides:
    return add(x, full_like(x, -0.0)), x


@identity(subtract, numbers)
def subtract_zero(x: Node) -> Sides:
    return subtract(x, zeros_like(x)), x


@identity(subtract, integers)
def subtract_itself(x: Node) -> Sides:
    return subtract(x, x), zeros_like(x)


@identity(subtract, integers)
def subtract_from_zero(x: Node) -> Sides:
    return subtract(zeros_like(x), x), negative(x)


@identity(subtract, floats)
def subtract_from_negative_zero(x: Node) -> Sides:
    return subtract(full_like(x, -0.0), x), negative(x)


@identity(negative, numbers)
def negative_twice(x: Node) -> Sides:
    return negative(negative(x)), x


@identity(add, numbers)
def add_negative(x: Node, y: Node) -> Sides:
    return add(x, negative(y)), subtract(x, y)


@identity(subtract, numbers)
def subtract_negative(x: Node, y: Node) -> Sides:
    return subtract(x, negative(y)), add(x, y)


@identity(negative, integers)
def negative_difference(x: Node, y: Node) -> Sides:
    return negative(subtract(x, y)), subtract(y, x)


# Products


@identity(multiply, numbers)
def multiply_one(x: Node) -> Sides:
    return multiply(x, ones_like(x)), x


@identity(multiply, integers)
def multiply_zero(x: Node) -> Sides:
    return multiply(x, zeros_like(x)), zeros_like(x)


@identity(multiply, floats)
def multiply_minus_one(x: Node) -> Sides:
    return multiply(x, full_like(x, -1)), negative(x)


@identity(multiply, numbers)
def multiply_negatives(x: Node, y: Node) -> Sides:
    return multiply(negative(x), negative(y)), multiply(x, y)


@identity(divide, floats)
def divide_negatives(x: Node, y: Node) -> Sides:
    return divide(negative(x), negative(y)), divide(x, y)


@identity(divide, floats)
def divide_by_one(x: Node) -> Sides:
    return divide(x, ones_like(x)), x


@identity(divide, floats)
def divide_by_minus_one(x: Node) -> Sides:
    return divide(x, full_like(x, -1)), negative(x)


@identity(divide, floats)
def divide_one(x: Node) -> Sides:
    return divide(ones_like(x), x), reciprocal(x)


@identity(floor_divide, integers)
def floor_divide_by_one(x: Node) -> Sides:
    return floor_divide(x, ones_like(x)), x


@identity(remainder, integers)
def remainder_by_one(x: Node) -> Sides:
    return remainder(x, ones_like(x)), zeros_like(x)


@rule(
    divide,
    examples=[lambda: divide(tensor(4, 16), full_like(tensor(4, 16), 0.25))],
    over=FILLS,
)
def divide_by_power_of_two(node: Node) -> Node | None:
    """x / 2ᵏ → x · 2⁻ᵏ: both round the same real number. 2⁻ᵏ must be a normal number."""
    x, divisor = node.inputs
    c = value_of(divisor)
    if c is None or not is_power_of_two(c):
        return None
    tiny, huge = normal_range(node.dtype)
    return multiply(x, full_like(x, 1 / c)) if tiny <= builtins.abs(1 / c) <= huge else None


@rule(
    multiply,
    divide,
    examples=[
        lambda: multiply(negative(tensor(4, 16)), full_like(tensor(4, 16), 0.3)),
        lambda: multiply(full_like(tensor(4, 16), 0.3), negative(tensor(4, 16))),
        lambda: divide(negative(tensor(4, 16)), full_like(tensor(4, 16), 0.3)),
    ],
    over=[negative],
)
def negative_times_constant(node: Node) -> Node | None:
    """(−x) · c → x · (−c), and the same for a quotient."""
    x, constant = node.inputs
    if node.op is multiply and value_of(x) is not None:
        x, constant = constant, x
    c = value_of(constant)
    if c is None or x.op is not negative or not node.dtype.is_float:
        return None
    return node.op(x.inputs[0], full_like(constant, -c))


@rule(
    negative,
    examples=[
        lambda: negative(multiply(tensor(4, 16), full_like(tensor(4, 16), 0.3))),
        lambda: negative(divide(tensor(4, 16), full_like(tensor(4, 16), 0.3))),
        lambda: negative(divide(full_like(tensor(4, 16), 0.3), tensor(4, 16))),
    ],
    over=[multiply, divide],
)
def negative_of_scaled(node: Node) -> Node | None:
    """−(x · c) → x · (−c), and the same for a quotient."""
    (scaled,) = node.inputs
    if not node.dtype.is_float:
        return None
    values = [value_of(i) for i in scaled.inputs]
    if all(v is None for v in values):
        return None
    signs = [i if v is None else full_like(i, -v) for i, v in zip(scaled.inputs, values, strict=True)]
    return scaled.op(*signs)


@rule(
    multiply,
    examples=[
        lambda: multiply(multiply(tensor(4, 16), full_like(tensor(4, 16), 0.3)), full_like(tensor(4, 16), 2)),
        lambda: multiply(
            full_like(tensor(4, 16), 0.5), multiply(full_like(tensor(4, 16), 0.3), tensor(4, 16))
        ),
    ],
    exactness=Exactness.ROUNDING,
    over=[multiply],
)
def scaled_twice(node: Node) -> Node | None:
    """(x · c) · 2ᵏ → x · (c · 2ᵏ), the same but where x · c over- or underflows."""
    inner, outer = _scaled(node)
    if outer is None or inner is None or inner.op is not multiply:
        return None
    x, factor = _scaled(inner)
    if x is None or factor is None or not node.dtype.is_float:
        return None
    c, d = value_of(factor), value_of(outer)
    assert c is not None and d is not None
    tiny, huge = normal_range(node.dtype)
    exact = is_power_of_two(c) or is_power_of_two(d)
    return multiply(x, full_like(x, c * d)) if exact and tiny <= builtins.abs(c * d) <= huge else None


def _scaled(product: Node) -> tuple[Node | None, Node | None]:
    """The two factors if just one is a fill, that one last."""
    a, b = product.inputs
    if value_of(b) is not None:
        return a, b
    return (b, a) if value_of(a) is not None else (None, None)


# Powers


@identity(square, numbers)
def square_is_product(x: Node) -> Sides:
    return square(x), multiply(x, x)


@identity(power, floats)
def power_zero(x: Node) -> Sides:
    return power(x, zeros_like(x)), ones_like(x)


@identity(power, numbers)
def power_one(x: Node) -> Sides:
    return power(x, ones_like(x)), x


@identity(power, numbers, Exactness.ROUNDING)
def power_two(x: Node) -> Sides:
    return power(x, full_like(x, 2)), multiply(x, x)


@identity(power, numbers, Exactness.ROUNDING)
def power_three(x: Node) -> Sides:
    return power(x, full_like(x, 3)), multiply(multiply(x, x), x)


@identity(power, numbers, Exactness.ROUNDING)
def power_four(x: Node) -> Sides:
    squared = multiply(x, x)
    return power(x, full_like(x, 4)), multiply(squared, squared)


@identity(power, floats, Exactness.ROUNDING)
def power_minus_one(x: Node) -> Sides:
    return power(x, full_like(x, -1)), reciprocal(x)


@identity(power, floats, Exactness.ROUNDING)
def power_minus_two(x: Node) -> Sides:
    inverse = reciprocal(x)  # squared last: x² may overflow where 1/x² is a subnormal number
    return power(x, full_like(x, -2)), multiply(inverse, inverse)


@identity(power, floats, Exactness.ROUNDING)
def power_half(x: Node) -> Sides:
    """A root, but for (−∞)^½ = ∞ and (−0)^½ = 0."""
    root = sqrt(add(x, zeros_like(x)))
    infinite = equal(x, full_like(x, float("-inf")))
    return power(x, full_like(x, 0.5)), select(infinite, full_like(x, float("inf")), root)


# Signs and extremes


@identity(abs, lambda dtype: dtype.is_float or dtype.is_signed)
def abs_of_negative(x: Node) -> Sides:
    return abs(negative(x)), abs(x)


@identity(abs, numbers)
def abs_twice(x: Node) -> Sides:
    return abs(abs(x)), abs(x)


@identity(maximum)
def maximum_of_itself(x: Node) -> Sides:
    return maximum(x, x), x


@identity(minimum)
def minimum_of_itself(x: Node) -> Sides:
    return minimum(x, x), x


@rule(
    floor,
    ceil,
    trunc,
    round,
    examples=[lambda: floor(tensor(4, 16, dtype=int32))],
    where=lambda node: node.dtype.is_integer,
)
def round_integer(node: Node) -> Node | None:
    return node.inputs[0]


@identity(stop_gradient)
def stopped_gradient(x: Node) -> Sides:
    """Gradients are taken before passes run; from then on it is x."""
    return stop_gradient(x), x


RULES = tuple(r for r in globals().values() if isinstance(r, Rule))
