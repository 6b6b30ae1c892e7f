"""The lowering of reductions: which mode a kernel takes, and what surrounds its sweeps.

In: a kernel's values and its plan. Out: the body of a function that does the work units [%low, %high).
"""

from __future__ import annotations

from graphc.kernel import Store

from .columns import Columns, WideColumns
from .loops import Span, along, axis_loops, unit_loop
from .modes import Mode
from .places import Chunk, Point
from .plan import NestPlan
from .rows import Rows
from .values import Values


def emit_reduction(values: Values, plan: NestPlan) -> None:
    """The whole function."""
    mode = mode_of(values, plan)
    first = mode.numbers(mode.sweeps[0])
    with unit_loop(values, plan) as unit:
        for store in values.kernel.stores:
            if values.kernel.accumulated(store):
                clear(values, plan, unit.frame, unit.span, store)
        stores = [s for s in values.kernel.stores if not values.kernel.accumulated(s)]
        with axis_loops(values, unit.frame, plan.inner, first, stores) as frame:
            mode.emit(frame, unit.span)


def clear(values: Values, plan: NestPlan, frame: Point, span: Span | None, store: Store) -> None:
    """Store neutral elements wherever this unit will accumulate something."""
    axes = [a for a in (*plan.inner, *values.kernel.row) if a in store.index.axes and a != plan.axis]

    def body(here: Point, parts: list[Chunk], carried: list[str]) -> list[str]:
        for chunk in parts:
            values.clear(chunk, store)
        return carried

    with axis_loops(values, frame, axes, (), (store,)) as here:
        if plan.axis in store.index.axes:
            along(values, plan, here, span, body)
        else:
            values.clear(Chunk(here, 0, 0, 1), store)


def mode_of(values: Values, plan: NestPlan) -> Mode:
    if plan.axis is None or plan.axis in values.kernel.row:
        return Rows(values, plan)
    return WideColumns(values, plan) if plan.rows_at_once else Columns(values, plan)
