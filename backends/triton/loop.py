"""Loops: every program computes a block of independent points.

A loop that reads along one axis and writes along another gets square tiles, so that both sides are contiguous.
"""

from __future__ import annotations

from graphc.index import Axis, axes_size
from graphc.kernel import Kernel

from .plan import SIDE, Blocks, contiguous_axes, plan_loop
from .tile import Coordinates, Dim, Scope
from .values import Statements


def lower_loop(kernel: Kernel, values: Statements, plan: Blocks | None) -> tuple[int, Blocks]:
    """Write the kernel's body. Returns the number of programs, and the plan it was written for."""
    square = square_axes(kernel) if plan is None else None
    if square is not None:
        plan = Blocks(SIDE, SIDE)
        rest = tuple(a for a in kernel.parallel if a not in square)
        dims = [Dim("rest", rest), Dim("outer", square[:1], SIDE, 0), Dim("inner", square[1:], SIDE, 1)]
    else:
        plan = plan or plan_loop(axes_size(kernel.parallel))
        dims = [Dim("point", kernel.parallel, plan.inner, 0)]
    scope = Scope(rank=1 if square is None else 2)
    programs = Coordinates(values.code, values.used, values.wide).spread(dims, scope)
    values.emit([s.value for s in kernel.stores], scope)
    for store in kernel.stores:
        values.store(store, scope)
    return programs, plan


def square_axes(kernel: Kernel) -> tuple[Axis, Axis] | None:
    """Two axes that are both contiguous somewhere and long enough for a tile; the one of the last store is inner."""
    found = [a for a in contiguous_axes(kernel, kernel.parallel) if a.size >= SIDE]
    if len(found) < 2:
        return None
    stored = [a for a in found if abs(kernel.stores[-1].index.coefficient(a)) == 1]
    inner = stored[0] if stored else found[0]
    outer = next(a for a in found if a is not inner)
    return outer, inner
