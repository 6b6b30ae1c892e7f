"""How much a kernel does: operations and bytes, counted from what it says. Knows no machine."""

from __future__ import annotations

from collections.abc import Iterable

from .index import axes_size
from .kernel import Accumulate, Apply, Dot, Kernel, Reduce, Scan, Slot


def flops(kernel: Kernel) -> int:
    """Floating-point and integer operations of one run, counting a fused multiply-add as two and a function as its
    rough number of instructions. A value is counted once for each point of the axes that it varies over."""
    total = 0
    for number, value in enumerate(kernel.values):
        points = axes_size(kernel.axes[number])
        match value:
            case Apply(recipe=recipe):
                total += recipe.cost * points
            case Reduce(combine=combine, axes=axes) | Accumulate(combine=combine, axes=axes):
                total += max(combine.cost, 1) * points * axes_size(axes)
            case Scan(combine=combine):
                total += max(combine.cost, 1) * points
            case Dot(axes=axes):
                total += 2 * points * axes_size(axes)
    return total


def nbytes(kernel: Kernel) -> int:
    """Bytes that one run must move at least: every slot read once, every result written once."""
    return slot_bytes(kernel.slots[s] for s in (*kernel.loaded, *kernel.written))


def slot_bytes(slots: Iterable[Slot]) -> int:
    """The size of all of them."""
    return sum(slot.size * slot.dtype.itemsize for slot in slots)
