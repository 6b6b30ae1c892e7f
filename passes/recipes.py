"""What an op's declaration says of scalars, recorded as recipes for the dtypes that it computes in.

In: nodes, or ops and dtypes. Out: recipes, which is all that kernels hold of an op. Knows no kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from graphc.dataclass import dataclass, replace
from graphc.ir import Node
from graphc.kernel import Const
from graphc.op import Monoid, Op, Running
from graphc.scalar import Builder, Recipe, Step, record, to_bits
from graphc.types import DType, int64


def scalar_recipe(node: Node) -> Recipe:
    """The recipe of an elementwise node at its compute dtypes."""
    assert node.op.scalar is not None
    return record(node.op.name, node.op.scalar, [i.dtype.computes_as for i in node.inputs], node.attrs)


@dataclass(frozen=True)
class StateRecipes:
    """How states are made of elements, joined and finished. `lift` has a recipe for each component of the state."""

    init: tuple[Const, ...]
    lift: tuple[Recipe, ...]
    combine: Recipe
    finish: Recipe


@lru_cache(maxsize=1024)
def reduction_recipes(op: Op, dtype: DType) -> StateRecipes:
    """The monoid of a reduction, for elements of `dtype`. A lift is of the element alone, or of it and its position."""
    assert op.monoid is not None
    found = _state_recipes(op.name, op.monoid, (dtype, int64), dtype)
    return replace(found, lift=tuple(map(_without_position, found.lift)))


@lru_cache(maxsize=1024)
def running_recipes(op: Op, count: int, dtype: DType) -> StateRecipes:
    """How a cumulative op of so many inputs runs, for elements of `dtype`."""
    assert op.running is not None
    return _state_recipes(op.name, op.running, (dtype,) * count, dtype)


def _state_recipes(name: str, of: Monoid | Running, lifted: Sequence[DType], dtype: DType) -> StateRecipes:
    """Record it; `lifted`: the dtypes that a state is made of."""
    builder = Builder(lifted)
    state = _as_tuple(of.lift(builder, *builder.params))
    dtypes = tuple(x.dtype for x in state)
    lift = tuple(builder.finish(f"{name}.lift", [x]) for x in state)
    init = tuple(Const(to_bits(v, d), d) for v, d in zip(of.init(dtype), dtypes, strict=True))
    builder = Builder(dtypes + dtypes)
    n = len(dtypes)
    joined = _as_tuple(of.combine(builder, builder.params[:n], builder.params[n:]))
    combine = builder.finish(f"{name}.combine", joined)
    builder = Builder(dtypes)
    finish = builder.finish(name, [of.finish(builder, builder.params)])
    return StateRecipes(init, lift, combine, finish)


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def _without_position(lift: Recipe) -> Recipe:
    """A lift recipe with the parameter for the position taken out, where it ignores it."""
    if 1 in lift.results or any(1 in s.inputs for s in lift.steps):
        return lift

    def move(number: int) -> int:
        return number - (number > 1)

    steps = tuple(Step(s.prim, tuple(map(move, s.inputs)), s.dtype, s.bits) for s in lift.steps)
    return Recipe(lift.name, lift.params[:1], steps, tuple(map(move, lift.results)))
