"""Scatter-adds, deterministic and without atomics: programs own what they add to.

Axes that the target index walks plainly, such that different points along them never meet, become lanes, spread
over programs. The others are walked in order by each program, so sums are added up in the kernel's own order.
"""

from __future__ import annotations

from graphc.errors import UnsupportedError
from graphc.index import Axis, Gathered, Index, axes_size
from graphc.kernel import Kernel, Store
from graphc.types import DType

from .plan import LOOP_BLOCK, Blocks, power_of_two
from .primitives import Operand, cast
from .tile import Coordinates, Dim, Scope
from .values import ALWAYS, Statements


def lower_scatter(kernel: Kernel, values: Statements, plan: Blocks | None) -> tuple[int, Blocks]:
    """Write the kernel's body. Returns the number of programs, and the plan it was written for.

    Raises UnsupportedError for a kernel that also reduces or contracts."""
    if kernel.row or kernel.contracted or kernel.accumulates:
        raise UnsupportedError(
            "the triton backend has no kernel that both scatters and reduces",
            got=str(kernel).splitlines()[0],
            hint="store what is scattered first, in a kernel of its own",
        )
    lanes = owned_axes(kernel)
    walked = tuple(a for a in kernel.parallel if a not in lanes)
    # One stage: loads must not be moved ahead of the stores of earlier points.
    plan = plan or Blocks(1, min(LOOP_BLOCK, power_of_two(axes_size(lanes))), stages=1)
    scope, code = Scope(rank=1), values.code
    coordinates = Coordinates(code, values.used, values.wide)
    programs = coordinates.spread((Dim("outer", lanes, plan.inner, 0),), scope)
    roots = [s.value for s in kernel.stores]
    values.emit(roots, scope, lambda n: not kernel.axes[n] & set(walked))
    with code.block(f"for start in range(0, {axes_size(walked)})"):
        inside = scope.child()
        coordinates.place(Dim("point", walked), "start", inside)
        values.emit(roots, inside)
        for store in kernel.stores:
            if store.scatter:
                _add(store, kernel, values, inside)
            else:
                values.store(store, inside)
        code.line("tl.debug_barrier()")
    return programs, plan


def owned_axes(kernel: Kernel) -> tuple[Axis, ...]:
    """The parallel axes along which all scattered stores keep to elements of their own; none if that is not plain."""
    stores = [s for s in kernel.stores if s.scatter]
    plain = tuple(a for a in kernel.parallel if all(s.index.coefficient(a) for s in stores))
    return plain if all(_is_injective(s.index, plain) for s in stores) else ()


def _is_injective(index: Index, axes: tuple[Axis, ...]) -> bool:
    """Whether equal positions imply equal coordinates along `axes`: the index is a number in mixed radix, every
    coefficient greater than what the terms of smaller ones can add up to."""
    reach = 0
    for term, factor in sorted(index.terms, key=lambda t: abs(t[1])):
        if not isinstance(term, Gathered) and term not in axes:
            continue
        if abs(factor) <= reach:
            return False
        reach += abs(factor) * term.range()[1]
    others = [t for t, _ in index.terms if not isinstance(t, Gathered) and t not in axes]
    return not others


def _add(store: Store, kernel: Kernel, values: Statements, scope: Scope) -> None:
    """slot[index] += value, at the lanes' own elements."""
    slot = kernel.slots[store.slot]
    dtype = slot.dtype.computes_as
    guards = scope.guard(store.index.axes)
    place = values.index(store.index, scope, " & ".join(guards) or ALWAYS)
    axes = store.index.axes | kernel.axes[store.value]
    address = values.names.unique(f"{slot.name or 'slot'}_at")
    values.code.line(
        f"{address} = {values.address(values.slots[store.slot], place, store.index.axes, axes, scope)}"
    )
    mask = f", mask={' & '.join(guards)}" if guards else ""
    old = values.names.unique("old")
    values.code.line(f"{old} = {_widened(f'tl.load({address}{mask})', slot.dtype, values)}")
    added = values.recipes.note(cast(values.operand(store.value, scope), dtype))
    total = values.memory_form(Operand(f"({old} + {added})", dtype), slot.dtype)
    values.code.line(f"tl.store({address}, {total}{mask})")


def _widened(text: str, dtype: DType, values: Statements) -> str:
    return values.recipes.note(cast(Operand(text, dtype), dtype.computes_as))
