"""How sums over scores follow a maximum that is not known yet: what they are multiplied by where it has grown.

In: a kernel whose scores are taken relative to statistics of their rows, such as exp(t - m). Out: for each value, how
it depends on those: w + c·g, or w·exp(c·g), with g one of the row's values and w free of them. A sum of values of the
second kind that was made with g₀ is what it would be with g₁ when multiplied by exp(c·(g₁ - g₀)). Knows no backend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from graphc.dataclass import dataclass
from graphc.index import Axis
from graphc.kernel import Apply, Const, Kernel, Reduce, dependencies
from graphc.scalar import Prim, Recipe, Step


@dataclass(frozen=True)
class Free:
    """Without statistics; `number`, where it is a known one."""

    number: float | None = None


@dataclass(frozen=True)
class Shifted:
    """w + factor·g, of value number `by`."""

    by: int
    factor: float


@dataclass(frozen=True)
class Scaled:
    """w·exp(factor·g), of value number `by`."""

    by: int
    factor: float


Form: TypeAlias = "Free | Shifted | Scaled | None"  # None: something else


def forms(kernel: Kernel, walked: frozenset[Axis]) -> tuple[Form, ...]:
    """How each value depends on reductions over the axes `walked`."""
    result: list[Form] = []
    depends: list[bool] = []
    for number, value in enumerate(kernel.values):
        found = isinstance(value, Reduce) or any(depends[i] for i in dependencies(value))
        depends.append(found)
        if not found:
            known = float(value.value) if isinstance(value, Const) and value.dtype.is_float else None
            result.append(Free(known))
        elif not kernel.axes[number] & walked:
            result.append(Shifted(number, 1.0))
        elif isinstance(value, Apply):
            result.append(_applied(value.recipe, [result[i] for i in value.inputs]))
        else:
            result.append(None)
    return tuple(result)


def _applied(recipe: Recipe, inputs: Sequence[Form]) -> Form:
    found = list(inputs)
    for step in recipe.steps:
        same = _difference(recipe, step)
        found.append(_step(step, [found[i] for i in step.inputs]) if same is None else found[same])
    return found[recipe.results[0]]


def _difference(recipe: Recipe, step: Step) -> int | None:
    """If it is x - y, but 0 where both are the same infinity: the number of x - y, which it is of finite numbers."""
    count = len(recipe.params)
    if step.prim is not Prim.SELECT or min(step.inputs) < count:
        return None
    equal, zero, rest = (recipe.steps[i - count] for i in step.inputs)
    is_it = equal.prim is Prim.EQ and rest.prim is Prim.SUB and equal.inputs == rest.inputs
    return step.inputs[2] if is_it and zero.prim is Prim.CONST and zero.value == 0 else None


def _step(step: Step, x: Sequence[Form]) -> Form:
    if step.prim is Prim.CONST:
        return Free(float(step.value) if step.dtype.is_float else None)
    if all(isinstance(f, Free) for f in x):
        return Free()
    match step.prim:
        case Prim.ADD:
            return _plus(x[0], x[1])
        case Prim.SUB:
            return _plus(x[0], _times(x[1], Free(-1.0)))
        case Prim.NEG:
            return _times(x[0], Free(-1.0))
        case Prim.MUL:
            return _times(x[0], x[1])
        case Prim.FMA:
            return _plus(_times(x[0], x[1]), x[2])
        case Prim.DIV if isinstance(x[0], Scaled) and isinstance(x[1], Free):
            return x[0]
        case Prim.EXP | Prim.EXP2 if isinstance(x[0], Shifted):
            return Scaled(x[0].by, x[0].factor * (1.0 if step.prim is Prim.EXP else math.log(2)))
        case Prim.CAST if step.dtype.is_float:
            return x[0]
        case Prim.SELECT if isinstance(x[0], Free):
            return _either(x[1], x[2])
    return None


def _plus(a: Form, b: Form) -> Form:
    match a, b:
        case (Shifted(), Free()) | (Free(), Shifted()):
            return a if isinstance(a, Shifted) else b
        case (Scaled(), Free(number=0.0)) | (Free(number=0.0), Scaled()):
            return a if isinstance(a, Scaled) else b
        case (Scaled(), Scaled()) if a == b:
            return a
        case (Free(), Free()):
            return Free()
    return None


def _times(a: Form, b: Form) -> Form:
    if isinstance(a, Free):
        a, b = b, a
    match a, b:
        case Free(number=x), Free(number=y):
            return Free(x * y if x is not None and y is not None else None)
        case Scaled(), Free():
            return a
        case Shifted(by=by, factor=factor), Free(number=float() as number):
            return Shifted(by, factor * number)
    return None


def _either(a: Form, b: Form) -> Form:
    """One of two, chosen by a mask that is free of statistics: 0 is 0·exp(c·g), and −inf is −inf + c·g."""
    for x, y in ((a, b), (b, a)):
        if x == y or (isinstance(x, Scaled) and y == Free(0.0)) or (isinstance(x, Shifted) and y == Free(-math.inf)):
            return x
    return None
