"""Sums of what is scattered: scattered over the other summand at once, which needs no zeros and no sum."""

from __future__ import annotations

from graphc.ir import Node
from graphc.ops import add, cast, scatter_add, zeros_like
from graphc.types import bool_, int32

from ..rewrite import Exactness, Rule, rule, tensor
from .patterns import value_of


def _scattered() -> Node:
    x, index = tensor(2, 3), cast(tensor(4, dtype=bool_), dtype=int32)
    return scatter_add(zeros_like(x), tensor(4, 3), index, axes=(0,))


@rule(
    add,
    examples=[lambda: add(tensor(2, 3), _scattered()), lambda: add(_scattered(), tensor(2, 3))],
    exactness=Exactness.ROUNDING,
    over=[scatter_add],
)
def add_scattered(node: Node) -> Node | None:
    for x, other in (node.inputs, node.inputs[::-1]):
        if other.op is scatter_add and _starts_with_zeros(other.inputs[0]):
            base, updates, *indices = other.inputs
            summed = x if value_of(base) == 0 else add(x, base)
            return scatter_add(summed, updates, *indices, **other.attrs)
    return None


def _starts_with_zeros(base: Node) -> bool:
    """Whether a scatter adds to zeros, at last."""
    while base.op is scatter_add:
        base = base.inputs[0]
    return value_of(base) == 0


RULES = tuple(r for r in globals().values() if isinstance(r, Rule))
